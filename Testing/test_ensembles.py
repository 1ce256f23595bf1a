"""Several bundles as one: their probabilities averaged, by the same panel and the same commands."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from lesion_training.cli import main
from lesion_training.ensembling import make_ensemble
from lesion_training.recipe import load_recipe
from lesion_training.specification import completed
from LesionSegmenterLib import bundle as bundles
from LesionSegmenterLib.confidence import LesionConfidence
from LesionSegmenterLib.engine import prediction
from LesionSegmenterLib.engine.device import Device
from LesionSegmenterLib.engine.model import load_model
from LesionSegmenterLib.engine.prediction import predict
from LesionSegmenterLib.engine.preprocessing import WorkingGrid
from LesionSegmenterLib.engine.resample import resample
from LesionSegmenterLib.errors import BundleError, InputError
from LesionSegmenterLib.networks import build

ARGUMENTS = {"in_channels": 3, "out_channels": 3, "widths": [4, 8]}
DEEPER = {"in_channels": 3, "out_channels": 3, "widths": [4, 6, 8]}
IN_VOLUMES = {"in_channels": 1, "out_channels": 3, "widths": [4, 6], "dimensions": 3}
OF_VOLUMES = {"preprocessing": {"normalisation": "deep-median-mad", "patch": [16, 16, 16]}, "shape": "patch"}


def write_model(folder: Path, arguments: dict, seed: int, **changes) -> bundles.Bundle:
    """A bundle of an untrained network whose norms have seen something."""
    torch.manual_seed(seed)
    network = build("uresnet", arguments)
    network.train()(torch.randn(4, arguments["in_channels"], *[16] * arguments.get("dimensions", 2)))
    spec = bundles.BundleSpec(
        folder.name,
        "1.0.0",
        "random",
        bundles.Architecture("uresnet", arguments),
        [bundles.ModelInput("FLAIR")],
        {"normalisation": "deep-median-mad", "context_slices": 1, "planes": "all"},
        bundles.Output("types", {1: 4, 2: 2}, 0.6),
        "slice",
        [bundles.TrainingData("both", "CC0", ""), bundles.TrainingData(folder.name, "CC0", "")],
        "Apache-2.0",
    )
    content = {
        "weights.safetensors": save(network.state_dict()),
        "MODEL_CARD.md": f"# Random\n\n## Training\n\nWith seed {seed}.\n\n## Scores\n".encode(),
    }
    return bundles.write_bundle(folder, replace(spec, **changes), content)


@pytest.fixture
def two(tmp_path) -> list[bundles.Bundle]:
    return [write_model(tmp_path / "one", ARGUMENTS, 0), write_model(tmp_path / "other", DEEPER, 1)]


@pytest.fixture
def volume(tmp_path) -> bundles.Bundle:
    return write_model(tmp_path / "volume", IN_VOLUMES, 4, **OF_VOLUMES)


def predicted(bundle: bundles.Bundle, image: np.ndarray, *, slice_mm: float = 1.0, **options) -> np.ndarray:
    box = tuple((0, n) for n in image.shape)
    grid = WorkingGrid(image.shape, box, image.shape, (1.0, 1.0, slice_mm), 2)
    model = load_model(bundle, Device("cpu", "fp32"))
    return predict(model, [image], grid, lambda *_: None, **options).channels


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1.5, (12, 16, 8)).astype(np.float32)


def test_its_probabilities_are_the_mean_of_its_members_though_their_depths_differ(two, image, tmp_path):
    made = make_ensemble(two, tmp_path / "both", name="both", version="1.0.0")
    wanted = (predicted(two[0], image) + predicted(two[1], image)) / 2
    np.testing.assert_allclose(predicted(made, image), wanted, atol=5e-3)  # weights in half precision
    assert np.abs(predicted(two[0], image) - wanted).max() > 0.05, "the members agree: nothing was tested"


def test_one_that_mirrors_always_gives_what_flip_gives(two, image, tmp_path):
    plain = make_ensemble(two, tmp_path / "plain", name="plain", version="1.0.0")
    mirrored = make_ensemble(two, tmp_path / "mirrored", name="mirrored", version="1.0.0", flip=True)
    flipped = predicted(plain, image, flip=True)
    np.testing.assert_array_equal(predicted(mirrored, image), flipped)
    np.testing.assert_array_equal(predicted(mirrored, image, flip=True), flipped)
    assert np.abs(predicted(plain, image) - flipped).max() > 0.01


def test_one_that_magnifies_gives_the_mean_of_slices_as_they_are_and_larger(two, image, tmp_path):
    plain = make_ensemble(two, tmp_path / "plain", name="plain", version="1.0.0")
    made = make_ensemble(two, tmp_path / "made", name="made", version="1.0.0", zoom=1.5)
    # As a user would: the scan itself on finer pixels, read slice by slice, and back.
    larger = predicted(plain, resample(image, (18, 24, 8)), slice_mm=4.0)
    larger = np.stack([resample(channel, image.shape) for channel in larger])
    as_it_is = predicted(plain, image, slice_mm=4.0)
    assert np.abs(as_it_is - larger).max() > 0.05, "they agree: nothing was tested"
    np.testing.assert_allclose(predicted(made, image, slice_mm=4.0), (as_it_is + larger) / 2, atol=1e-6)
    assert "1.5 times as large" in (made.folder / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize("zoom", [0.4, 2.5, float("nan")])
def test_another_magnification_is_refused(two, tmp_path, zoom):
    with pytest.raises(InputError, match="--zoom"):
        make_ensemble(two, tmp_path / "made", name="made", version="1.0.0", zoom=zoom)


def test_a_bundle_with_an_impossible_magnification_is_refused(two):
    two[0].spec.preprocessing["zooms"] = [1.0, 0]
    with pytest.raises(BundleError, match="zooms"):
        load_model(two[0], Device("cpu", "fp32"))


def test_a_network_of_volumes_leaves_isotropic_scans_to_the_others(two, volume, image, tmp_path):
    plain = make_ensemble(two, tmp_path / "plain", name="plain", version="1.0.0")
    made = make_ensemble(two, tmp_path / "made", name="made", version="1.0.0", volume=volume)
    np.testing.assert_array_equal(predicted(made, image), predicted(plain, image))
    assert "reads scans of thick slices as a volume" in (made.folder / "MODEL_CARD.md").read_text()
    assert [data.name for data in made.spec.training_data] == ["both", "one", "other", "volume"]


def test_a_network_of_volumes_counts_as_one_member_more_and_reads_voxels_of_a_millimetre(
    two, volume, tmp_path
):
    thick = np.random.default_rng(3).normal(0, 1.5, (12, 16, 4)).astype(np.float32)
    made = make_ensemble(two, tmp_path / "made", name="made", version="1.0.0", volume=volume)
    plain = make_ensemble(two, tmp_path / "plain", name="plain", version="1.0.0")
    fine = resample(thick, (12, 16, 16))
    for options in ({}, {"flip": True}):
        whole = np.stack([resample(c, thick.shape) for c in predicted(volume, fine, **options)])
        slices = predicted(plain, thick, slice_mm=4.0, **options)
        assert np.abs(slices - whole).max() > 0.05, "they agree: nothing was tested"
        found = predicted(made, thick, slice_mm=4.0, **options)
        np.testing.assert_allclose(found, (2 * slices + whole) / 3, atol=5e-3)


@pytest.mark.parametrize(("slice_mm", "multiple"), [(4.0, 8), (1.0, 4)])
def test_what_is_cut_off_beside_the_brain_suits_the_pooling_of_slices_and_volume(
    two, tmp_path, monkeypatch, slice_mm, multiple
):
    deep = write_model(tmp_path / "deep", {**IN_VOLUMES, "widths": [4, 6, 6, 8]}, 4, **OF_VOLUMES)
    made = make_ensemble(two, tmp_path / "made", name="made", version="1.0.0", volume=deep)
    asked: list[int] = []
    cut = prediction.sides_around
    monkeypatch.setattr(
        prediction,
        "sides_around",
        lambda mask, mm, multiple: asked.append(multiple) or cut(mask, mm, multiple),
    )
    image = np.random.default_rng(3).normal(0, 1.5, (48, 56, 8)).astype(np.float32)
    brain = np.zeros(image.shape, bool)
    brain[20:30, 20:30] = True
    predicted(made, image, slice_mm=slice_mm, brain=brain)
    assert asked == [multiple]


@pytest.mark.parametrize(
    ("arguments", "changes", "word"),
    [
        (ARGUMENTS, {}, "no model of lesions in volumes"),
        (IN_VOLUMES, OF_VOLUMES | {"output": bundles.Output("types", {1: 4, 2: 3})}, "classes"),
        (
            IN_VOLUMES,
            OF_VOLUMES | {"preprocessing": {"normalisation": "brain-median-mad", "patch": [16, 16, 16]}},
            "intensities",
        ),
    ],
)
def test_a_volume_that_reads_or_means_something_else_is_refused(two, tmp_path, arguments, changes, word):
    other = write_model(tmp_path / "third", arguments, 2, **changes)
    with pytest.raises(InputError, match=word):
        make_ensemble(two, tmp_path / "made", name="made", version="1.0.0", volume=other)
    assert not (tmp_path / "made").exists()


def test_volumes_within_an_ensemble_and_as_its_members_are_refused(two, volume, tmp_path):
    made = make_ensemble(two, tmp_path / "made", name="made", version="1.0.0", volume=volume)
    with pytest.raises(InputError, match="of its own"):
        make_ensemble([made, *two], tmp_path / "more", name="more", version="1.0.0")
    with pytest.raises(InputError, match="reads volumes itself"):
        make_ensemble([volume, volume], tmp_path / "more", name="more", version="1.0.0", volume=volume)


def test_its_first_members_confidence_and_threshold_are_not_its_own(two, tmp_path):
    sure = replace(two[0].spec.output, confidence=LesionConfidence(0.0, 1.0, 0.0), least_confidence=0.4)
    first = write_model(tmp_path / "sure", ARGUMENTS, 0, output=sure)
    output = make_ensemble([first, two[1]], tmp_path / "both", name="both", version="1.0.0").spec.output
    assert (output.threshold, output.confidence, output.least_confidence) == (0.5, None, 0.0)


def test_a_variance_beyond_half_precision_is_kept(two, image, tmp_path):
    weights = load_file(two[0].weights)
    weights["before_skip.norm.running_var"] *= 1e6
    content = {"weights.safetensors": save(weights), "MODEL_CARD.md": b"#"}
    large = bundles.write_bundle(tmp_path / "large", replace(two[0].spec, files={}), content)
    made = make_ensemble([large, two[1]], tmp_path / "both", name="both", version="1.0.0")
    kept = load_file(made.weights)["members.0.before_skip.norm.running_var"]
    assert kept.isfinite().all() and kept.max() > torch.finfo(torch.half).max
    wanted = (predicted(large, image) + predicted(two[1], image)) / 2
    np.testing.assert_allclose(predicted(made, image), wanted, atol=5e-3)


def test_it_says_what_it_is_made_of_and_takes_half_the_room(two, tmp_path):
    made = make_ensemble(two, tmp_path / "both", name="both", version="1.2.0")
    assert made.spec.output == two[0].spec.output
    assert [data.name for data in made.spec.training_data] == ["both", "one", "other"]
    members = made.spec.architecture.arguments["members"]
    assert members == [asdict(bundle.spec.architecture) for bundle in two]
    card = (made.folder / "MODEL_CARD.md").read_text()
    assert "- one 1.0.0: With seed 0." in card and "- other 1.0.0: With seed 1." in card
    size = sum(bundle.weights.stat().st_size for bundle in two)
    assert made.weights.stat().st_size < 0.75 * size
    kinds = {tensor.dtype for tensor in load_file(made.weights).values()}
    assert kinds == {torch.float16, torch.int64}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"preprocessing": {"normalisation": "deep-median-mad", "context_slices": 1}}, "preprocessing"),
        ({"output": bundles.Output("types", {1: 4, 2: 3})}, "classes"),
    ],
)
def test_models_of_different_kinds_are_not_averaged(two, tmp_path, changes, word):
    other = write_model(tmp_path / "third", ARGUMENTS, 2, **changes)
    with pytest.raises(InputError, match=word):
        make_ensemble([two[0], other], tmp_path / "both", name="both", version="1.0.0")
    assert not (tmp_path / "both").exists()


def test_one_model_is_no_ensemble(two, tmp_path, capsys):
    assert main(["ensemble", str(two[0].folder), "--out", str(tmp_path / "both"), "--name", "both"]) == 2
    assert "ensemble" in capsys.readouterr().err
    with pytest.raises(BundleError, match="members"):
        build("ensemble", {"members": []})


def test_the_command_writes_a_bundle_that_loads(two, volume, tmp_path, capsys):
    folders = [str(bundle.folder) for bundle in two]
    out = tmp_path / "both"
    command = ["ensemble", *folders, "--out", str(out), "--name", "both", "--version", "2.0.0", "--flip"]
    assert main([*command, "--volume", str(volume.folder), "--zoom", "1.25"]) == 0, capsys.readouterr().err
    model = load_model(bundles.load_bundle(out), Device("cpu", "fp32"))
    assert model.preprocessing.flip and model.in_volumes is not None
    assert model.preprocessing.zooms == [1.0, 1.25]


def test_an_ensemble_is_not_trained_further(two, tmp_path):
    made = make_ensemble(two, tmp_path / "both", name="both", version="1.0.0")
    with pytest.raises(InputError, match="one of its members"):
        completed(load_recipe("retrain"), made.spec)
