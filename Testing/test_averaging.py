"""One bundle whose weights are the mean of others'."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from lesion_training.averaging import make_average
from lesion_training.cli import main
from LesionSegmenterLib import bundle as bundles
from LesionSegmenterLib.engine.device import Device
from LesionSegmenterLib.engine.model import load_model
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.networks import build

ARGUMENTS = {"in_channels": 3, "out_channels": 3, "widths": [4, 8]}
DATA = {"patient": "CC-BY", "other patient": "MIT"}


def stage(folder: Path, seed: int, data: str, **changes) -> bundles.Bundle:
    """A network of random weights whose batch norms have counted ``seed`` batches."""
    rng = np.random.default_rng(seed)
    weights = {
        name: np.full(value.shape, seed, np.int64)
        if not value.dtype.is_floating_point
        else rng.uniform(0.5, 1.5, tuple(value.shape)).astype(np.float32)
        for name, value in build("uresnet", ARGUMENTS).state_dict().items()
    }
    spec = replace(
        bundles.BundleSpec(
            name=f"stage{seed}",
            version="1.0",
            title="a stage",
            architecture=bundles.Architecture("uresnet", ARGUMENTS),
            inputs=[bundles.ModelInput("FLAIR")],
            preprocessing={"normalisation": "deep-median-mad", "context_slices": 1},
            output=bundles.Output("types", {1: 4, 2: 2}, threshold=0.3, least_confidence=0.0),
            shape="slice",
            training_data=[bundles.TrainingData(data, DATA[data], "")],
            licence="CC0-1.0",
        ),
        **changes,
    )
    card = f"# Card\n\n## Training\n\nSeed {seed}.\n\n## Scores\n"
    return bundles.write_bundle(
        folder, spec, {"weights.safetensors": save(weights), "MODEL_CARD.md": card.encode()}
    )


@pytest.fixture
def two(tmp_path) -> list[bundles.Bundle]:
    return [stage(tmp_path / "a", 1, "patient"), stage(tmp_path / "b", 2, "other patient")]


def test_each_weight_is_the_mean_and_the_count_is_the_first_ones(two, tmp_path):
    made = make_average(two, tmp_path / "mean", name="mean", version="2.0")
    first, second, mean = (load_file(one.weights) for one in (*two, made))
    assert mean.keys() == first.keys()
    for name, values in mean.items():
        if np.issubdtype(values.dtype, np.integer):
            assert (values == first[name]).all()
        else:
            np.testing.assert_allclose(values, (first[name] + second[name]) / 2, rtol=2e-3)  # half precision
    assert made.spec.output.threshold == 0.3
    assert [data.name for data in made.spec.training_data] == ["patient", "other patient"]
    load_model(made, Device("cpu", "fp32"))


def test_the_card_says_how_each_stage_was_trained(two, tmp_path):
    made = make_average(two, tmp_path / "mean", name="mean", version="2.0")
    card = (made.folder / "MODEL_CARD.md").read_text()
    assert "- stage1 1.0: Seed 1." in card and "- stage2 1.0: Seed 2." in card


def test_the_card_names_every_stage_of_a_mean_of_means_even_of_one_name(two, tmp_path):
    mean = make_average(two, tmp_path / "mean", name="mean", version="2.0")
    namesake = stage(tmp_path / "c", 3, "patient", name="mean", version="2.0")
    made = make_average([mean, namesake], tmp_path / "again", name="again", version="3.0")
    card = (made.folder / "MODEL_CARD.md").read_text()
    assert "- mean 2.0:\n  - stage1 1.0: Seed 1.\n  - stage2 1.0: Seed 2.\n- mean 2.0: Seed 3." in card


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"preprocessing": {"normalisation": "brain-median-mad", "context_slices": 1}}, "preprocessing"),
        ({"output": bundles.Output("types", {1: 4, 2: 3})}, "classes"),
    ],
)
def test_stages_that_differ_in_more_than_their_weights_are_refused(two, tmp_path, changes, word):
    other = stage(tmp_path / "c", 3, "patient", **changes)
    with pytest.raises(InputError, match=word):
        make_average([two[0], other], tmp_path / "mean", name="mean", version="1")
    assert not (tmp_path / "mean").exists()


def test_the_command_writes_the_bundle_and_refuses_one_alone(two, tmp_path, capsys):
    folders = [str(one.folder) for one in two]
    end = ["--out", str(tmp_path / "mean"), "--name", "mean"]
    assert main(["average", folders[0], *end]) == 2
    assert "one model has no mean" in capsys.readouterr().err
    assert main(["average", *folders, *end]) == 0, capsys.readouterr().err
    assert bundles.load_bundle(tmp_path / "mean").spec.version == "0.1.0"
