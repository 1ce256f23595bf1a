"""Every recipe: its small variant learns four heads by heart and runs in the engine; its full one steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from lesion_training.batches import PatchBatches, SliceBatches
from lesion_training.cases import Preparation
from lesion_training.cli import main
from lesion_training.folders import find_entries
from lesion_training.pool import read_cases
from lesion_training.recipe import load_recipe, recipe_names
from lesion_training.trainer import Trainer
from LesionSegmenterLib.bundle import load_bundle
from LesionSegmenterLib.engine.device import Device
from LesionSegmenterLib.image import read_labels
from LesionSegmenterLib.metrics.overlap import dice
from LesionSegmenterLib.progress import NoReporter
from LesionSegmenterLib.segment import SegmentOptions, load, segment
from training_cases import write_listed

CPU = Device("cpu", "fp32")
FULL = [name for name in recipe_names() if name != "retrain"]  # which has the network of the bundle
ENOUGH_GB = 8


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Callable[[bool], Path]:
    """The four heads in slices of 5 mm, as networks of slices read them, or of 1 mm."""
    folder = tmp_path_factory.mktemp("heads")
    made = {thick: write_listed(folder / f"thick-{thick}", thick=thick) for thick in (True, False)}
    return lambda thick: made[thick]


def fit(name: str, data: Path, out: Path, *options: str) -> Path:
    """Train a recipe's small variant and bundle it; returns the bundle."""
    fixed = ("--small", "--device", "cpu", "--precision", "fp32", "--workers", "0", "--progress", "none")
    assert main(["fit", name, "--data", str(data), "--out", str(out / "run"), *fixed, *options]) == 0
    assert main(["bundle", str(out / "run"), "--out", str(out / "bundle"), "--name", name]) == 0
    return out / "bundle"


def found_and_true(bundle: Path, data: Path, out: Path, number: int) -> tuple[np.ndarray, ...]:
    """Types and ids that the engine finds with a bundle in one head, and the true ones."""
    options = SegmentOptions(model=str(bundle), device="cpu", precision="fp32", small_lesions="keep")
    model = load(options)
    if len(model.bundle.spec.inputs) > 1:
        options = replace(options, t1=data / f"{number}_t1.nii.gz")
    files = segment(data / f"{number}_flair.nii.gz", out, options, NoReporter(), model).files
    truth = (data / f"{number}_{what}.nii.gz" for what in ("types", "ids"))
    return tuple(read_labels(path).array for path in (files["types"], files["instances"], *truth))


@pytest.mark.parametrize("name", FULL)
def test_a_small_variant_learns_four_heads_by_heart_and_segments_them(name, data, tmp_path):
    recipe = load_recipe(name, small=True)
    heads = data(not recipe.volumetric)
    bundle = fit(name, heads, tmp_path)
    cases = [found_and_true(bundle, heads, tmp_path / "out", number) for number in range(4)]
    scores = [dice(found, true) for found, _, true, _ in cases]
    print(name, np.round(scores, 3))
    assert np.mean(scores) > 0.9
    spec = load_bundle(bundle).spec
    if recipe.instances:
        # Of six lesions two touch: components find five, the offsets six.
        assert np.mean([ids.max() for _, ids, _, _ in cases]) > 5.4
    if spec.output.kind == "types":
        kinds = {label for label in spec.output.label_map.values() if label != 4}
        right = [(found[true == k] == k).mean() for found, _, true, _ in cases for k in kinds]
        print(name, kinds, np.round(right, 2))
        assert np.mean(right) > 0.6


@pytest.mark.skipif(
    psutil.virtual_memory().available < ENOUGH_GB * 1e9,
    reason=f"needs {ENOUGH_GB} GB of free memory for the papers' sizes",
)
@pytest.mark.parametrize("name", [name for name in FULL if name != "conflunet-semantic"])
def test_a_full_variant_takes_one_step_with_the_papers_shapes(name, data, tmp_path):
    """The network and the slices or volumes of the paper; of its batch, one item.

    The semantic baseline's body is conflunet's, whose step takes half a minute.
    """
    recipe = load_recipe(name)
    preparation = Preparation(
        recipe.types, "T1" in recipe.inputs, recipe.instances, keep_slices=not recipe.volumetric
    )
    cases = read_cases(find_entries([data(not recipe.volumetric)]), preparation, lambda *_: None)
    optimisation = replace(recipe.optimisation, steps=1, epochs=None, batch=1, warmup=0)
    trainer = Trainer(
        replace(recipe, optimisation=optimisation, stages=[], start=None), cases, tmp_path, 0, CPU
    )
    before = trainer.network.head.weight.detach().clone()  # type: ignore[union-attr, operator]
    losses: list[float] = []
    trainer.fit(lambda step, steps, loss, _: losses.append(loss))
    assert np.isfinite(losses).all() and len(losses) == 1
    assert not torch.equal(trainer.network.head.weight, before)  # type: ignore[union-attr, arg-type]
    source = trainer.source
    assert isinstance(source, (PatchBatches, SliceBatches))
    size = recipe.patches.size if recipe.patches else [recipe.sampling.size] * 2  # type: ignore[union-attr]
    assert list(source[0].images.shape[2:]) == size


def test_fine_tuning_from_a_bundle_of_the_same_body_changes_the_head_alone_in_shape(data, tmp_path):
    heads = data(True)
    binary = fit("llambias-binary", heads, tmp_path / "binary", "--steps", "2")
    tuned = fit("llambias-multiclass", heads, tmp_path / "tuned", "--steps", "2", "--start", str(binary))
    assert load_bundle(tuned).spec.output.label_map == {1: 1, 2: 2, 3: 3}
    card = (tuned / "MODEL_CARD.md").read_text()
    assert "It began with the weights of llambias-binary 0.1.0" in card
    assert "--small --start llambias-binary" in card
