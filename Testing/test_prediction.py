"""Prediction: windows over a volume, whole volumes, and the mirrored image averaged in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from LesionSegmenterLib import bundle as bundles
from LesionSegmenterLib.engine import preprocessing
from LesionSegmenterLib.engine.brain import sides_around
from LesionSegmenterLib.engine.device import Device
from LesionSegmenterLib.engine.model import Model, load_model
from LesionSegmenterLib.engine.prediction import predict
from LesionSegmenterLib.engine.scan import _astray
from LesionSegmenterLib.engine.windows import gaussian_window, window_starts
from LesionSegmenterLib.networks import NETWORKS

CPU = Device("cpu", "fp32")


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


# Windows


@settings(deadline=None, max_examples=40)
@given(st.tuples(*[st.integers(4, 30)] * 3), st.tuples(*[st.integers(1, 4)] * 3))
def test_windows_cover_every_voxel_and_stay_inside(shape, window):
    covered = np.zeros(shape, bool)
    for start in window_starts(shape, window):
        assert all(s >= 0 and s + w <= n for s, w, n in zip(start, window, shape, strict=True))
        covered[tuple(slice(s, s + w) for s, w in zip(start, window, strict=True))] = True
    assert covered.all()


def test_a_window_weighs_most_in_its_middle_is_symmetric_and_nowhere_zero():
    weight = gaussian_window((9, 7, 5))
    assert weight.max() == weight[4, 3, 2]
    assert weight.max() == 1 and weight.min() > 0
    for axis in range(3):
        np.testing.assert_array_equal(weight, np.flip(weight, axis))
    # One eighth of the side is one standard deviation, as in nnU-Net.
    assert weight[5, 3, 2] == pytest.approx(np.exp(-0.5 * (8 / 9) ** 2))


class Pointwise(nn.Module):
    """A 3D network that looks at one voxel at a time; its norm is never reached."""

    norm: type[nn.Module] = nn.BatchNorm3d

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.unused = nn.Conv3d(1, 2, 1), self.norm(2)
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(x.shape))
        return self.conv(x)


class PointwiseInstance(Pointwise):
    norm = nn.InstanceNorm3d


@pytest.fixture
def volume_model(tmp_path, monkeypatch):
    """Makes a 3D model of a network class, with a patch of 16x12x8."""

    def make(network: type[Pointwise]) -> Model:
        monkeypatch.setitem(NETWORKS, "pointwise", network)
        made = network()
        with torch.no_grad():
            made.conv.weight[:, 0, 0, 0, 0] = torch.tensor([0.0, 1.5])
            made.conv.bias[:] = torch.tensor([0.0, -1.0])
        spec = bundles.BundleSpec(
            name="pointwise",
            version="1",
            title="",
            architecture=bundles.Architecture("pointwise", {}),
            inputs=[bundles.ModelInput("FLAIR")],
            preprocessing={"normalisation": "deep-median-mad", "patch": [16, 12, 8]},
            output=bundles.Output("binary", {1: 4}),
            shape="patch",
            training_data=[],
            licence="CC0-1.0",
        )
        content = {"weights.safetensors": save(made.state_dict()), "MODEL_CARD.md": b"#"}
        model = load_model(bundles.write_bundle(tmp_path / network.__name__, spec, content), CPU)
        model.network.shapes.clear()  # loading tries the network out
        return model

    return make


def working(shape=(30, 20, 9)) -> tuple[np.ndarray, preprocessing.WorkingGrid]:
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    box = tuple((0, n) for n in shape)
    return image, preprocessing.WorkingGrid(shape, box, shape, (1.0, 1.0, 1.0), 2)


@pytest.mark.parametrize("shape", [(30, 20, 9), (10, 40, 8), (5, 5, 5)])
def test_windows_of_a_pointwise_network_give_what_the_whole_volume_gives(volume_model, shape):
    image, grid = working(shape)
    whole = predict(volume_model(Pointwise), [image], grid, silent).channels
    windowed = predict(volume_model(PointwiseInstance), [image], grid, silent).channels
    np.testing.assert_allclose(whole[0], 1 / (1 + np.exp(1 - 1.5 * image)), atol=1e-6)
    np.testing.assert_allclose(windowed, whole, atol=1e-6)


def test_batch_norm_goes_whole_and_instance_norm_through_windows(volume_model):
    image, grid = working()
    whole, windowed = volume_model(Pointwise), volume_model(PointwiseInstance)
    predict(whole, [image], grid, silent)
    predict(windowed, [image], grid, silent)
    assert whole.network.shapes == [(1, 1, 30, 20, 9)]
    assert set(windowed.network.shapes) == {(1, 1, 16, 12, 8)} and len(windowed.network.shapes) > 8


def test_progress_of_windows_rises_to_the_end(volume_model):
    image, grid = working()
    told: list[float] = []
    predict(volume_model(PointwiseInstance), [image], grid, lambda _, done, total: told.append(done / total))
    assert told == sorted(told) and told[-1] == 1 and len(told) > 3


def test_what_lies_beside_the_brain_is_not_read(volume_model):
    image, grid = working((50, 40, 9))
    grid = replace(grid, spacing=(1.0, 2.0, 1.0))
    brain = np.zeros(image.shape, bool)
    brain[20:25, 10:30, 3:5] = True
    model = volume_model(Pointwise)
    near = predict(model, [image], grid, silent, brain=brain).channels
    inside = np.s_[:, 12:33, 6:34]  # 8 mm more on either side
    whole = predict(model, [image], grid, silent).channels
    np.testing.assert_allclose(near[inside], whole[inside], atol=1e-6)
    assert model.network.shapes == [(1, 1, 21, 28, 9), (1, 1, 50, 40, 9)]
    near[inside] = 0
    assert near.shape == whole.shape and not near.any()
    nowhere = predict(model, [image], grid, silent, brain=np.zeros_like(brain)).channels
    np.testing.assert_array_equal(nowhere, whole)


def test_whole_steps_of_the_pooling_are_cut_off_on_every_side():
    brain = np.zeros((60, 70, 9), bool)
    brain[29:31, 20:22] = True
    assert sides_around(brain, (1.0, 1.0, 3.0), 8) == (slice(16, 44), slice(8, 30), slice(None))
    assert sides_around(brain[:, :30], (1.0, 1.0, 3.0), 8)[1] == slice(8, 30)
    assert sides_around(np.zeros_like(brain), (1.0, 1.0, 3.0), 8) == (slice(0, 60), slice(0, 70), slice(None))


# Test-time flip


class LeftIsLesion(nn.Module):
    """A 2D network that calls lesion what is brighter than its neighbour one row before."""

    def __init__(self, in_channels: int = 1) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        lesion = x[:, :1] - x[:, :1].roll(1, dims=2) + (x[:, 1:2] if x.shape[1] > 1 else 0)
        return torch.cat([torch.zeros_like(lesion), lesion], 1)


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
def test_flip_averages_with_the_image_mirrored_left_to_right_whatever_the_slices(
    tmp_path, monkeypatch, slice_axis
):
    monkeypatch.setitem(NETWORKS, "sided", LeftIsLesion)
    spec = bundles.BundleSpec(
        name="sided",
        version="1",
        title="",
        architecture=bundles.Architecture("sided", {"in_channels": 3}),
        inputs=[bundles.ModelInput("FLAIR")],
        preprocessing={"normalisation": "deep-median-mad", "context_slices": 1},
        output=bundles.Output("binary", {1: 4}),
        shape="slice",
        training_data=[],
        licence="CC0-1.0",
    )
    content = {"weights.safetensors": save({"unused": torch.zeros(1)}), "MODEL_CARD.md": b"#"}
    model = load_model(bundles.write_bundle(tmp_path / "sided", spec, content), CPU)
    image, grid = working((8, 9, 10))
    grid = replace(grid, slice_axis=slice_axis)
    plain = predict(model, [image], grid, silent).channels
    mirrored = predict(model, [image[::-1]], grid, silent).channels[:, ::-1]
    told: list[float] = []
    both = predict(model, [image], grid, lambda _, done, total: told.append(done / total), flip=True).channels
    np.testing.assert_allclose(both, (plain + mirrored) / 2, atol=1e-6)
    assert np.abs(both - plain).max() > 0.1
    assert told == sorted(told) and told[-1] == 1


# Planes


def test_what_planes_agree_on_is_their_least_probability_of_a_lesion(tmp_path):
    """Types keep the shares that their mean has; a thick-sliced volume has one plane alone."""
    torch.manual_seed(3)
    arguments = {"in_channels": 3, "out_channels": 3, "widths": [4, 8]}
    network = NETWORKS["uresnet"](**arguments)
    network.train()(torch.randn(4, 3, 16, 16))
    spec = bundles.BundleSpec(
        "random",
        "1.0",
        "Random",
        bundles.Architecture("uresnet", arguments),
        [bundles.ModelInput("FLAIR")],
        {"normalisation": "deep-median-mad", "context_slices": 1, "planes": "slices"},
        bundles.Output("types", {1: 4, 2: 2}),
        "slice",
        [],
        "CC0-1.0",
    )
    content = {"weights.safetensors": save(network.state_dict()), "MODEL_CARD.md": b"# Random\n"}
    by_slices = load_model(bundles.write_bundle(tmp_path / "random", spec, content), CPU)
    agreed = replace(by_slices, preprocessing=replace(by_slices.preprocessing, planes="agreed"))
    image, grid = working((12, 16, 8))
    each = [predict(by_slices, [image], replace(grid, slice_axis=axis), silent).channels for axis in range(3)]
    found = predict(agreed, [image], grid, silent).channels
    least = np.min([channels.sum(axis=0) for channels in each], axis=0)
    np.testing.assert_allclose(found.sum(axis=0), least, atol=1e-6)
    mean = np.mean(each, axis=0)
    np.testing.assert_allclose(found[1] / found.sum(axis=0), mean[1] / mean.sum(axis=0), atol=1e-5)
    assert (least < mean.sum(axis=0) - 0.02).any(), "the planes agree everywhere: nothing was tested"
    thick = replace(grid, spacing=(1.0, 1.0, 5.0))
    np.testing.assert_array_equal(
        predict(agreed, [image], thick, silent).channels, predict(by_slices, [image], thick, silent).channels
    )


def test_a_finding_that_touches_the_brain_nowhere_is_left_out():
    lesion, brain = np.zeros((12, 6, 6), np.float32), np.zeros((12, 6, 6), bool)
    brain[:5] = True
    lesion[4:8, 2:4, 2:4], lesion[10:, 2:4, 2:4] = (
        0.9,
        0.9,
    )  # one grows out of the brain, one lies in the neck
    lesion[6, 0, 0] = 0.05
    expected = np.zeros(lesion.shape, bool)
    expected[10:, 2:4, 2:4] = True
    np.testing.assert_array_equal(_astray(lesion, brain), expected)
    assert not _astray(lesion, np.zeros(brain.shape, bool)).any(), "without a brain nothing is known"
