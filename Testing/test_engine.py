"""The engine: devices, batches, windows, the working grid, intensities, and what the channels mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import nn

from heads import SPACING, bright_bundle, centred_affine, head, save_head
from LesionSegmenterLib import bundle as bundles
from LesionSegmenterLib.engine import batches, device, preprocessing
from LesionSegmenterLib.engine.model import Model, load_model
from LesionSegmenterLib.engine.prediction import predict
from LesionSegmenterLib.engine.resample import resample
from LesionSegmenterLib.engine.windows import gaussian_window, window_starts
from LesionSegmenterLib.errors import BundleError, InputError
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.networks import NETWORKS, UResNet
from LesionSegmenterLib.progress import NoReporter
from LesionSegmenterLib.segment import SegmentOptions, segment

CPU = device.Device("cpu", "fp32")


def silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


# The device


def test_auto_prefers_cuda_then_mps_then_the_cpu(monkeypatch):
    monkeypatch.setattr(device, "_native_bf16", lambda name: name == "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device.choose_device() == device.Device("cuda", "bf16")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.choose_device() == device.Device("mps", "fp32")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device.choose_device() == device.Device("cpu", "fp32")


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused_by_name(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match=rf"device {name} is not available.*--device auto or cpu"):
        device.choose_device(name)


@pytest.mark.parametrize("options", [("tpu", "auto"), ("cpu", "int8"), ("cpu", "fp16")])
def test_an_unusable_device_or_precision_is_refused(options):
    with pytest.raises(InputError):
        device.choose_device(*options)


# Batches


class Memory:
    """A forward pass on a device that holds so many inputs at a time; doubles its input."""

    def __init__(self, holds: int):
        self.holds, self.sizes = holds, []

    def __call__(self, network: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(batch))
        if len(batch) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 2 * batch


class Gpu(device.Device):
    """Called cuda, computing on the CPU."""

    @property
    def torch_device(self) -> torch.device:
        return torch.device("cpu")


@pytest.fixture
def small_gpu(monkeypatch):
    """A runner whose GPU seems to take eight inputs at once."""
    monkeypatch.setattr(batches.BatchRunner, "_restart_peak", lambda self: 0)
    monkeypatch.setattr(batches.BatchRunner, "_fitting", lambda self, one: 8)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def run_all(runner: batches.BatchRunner, count: int = 20) -> np.ndarray:
    data = np.arange(count * 4, dtype=np.float32).reshape(count, 1, 2, 2)
    outputs = list(runner.run(count, lambda numbers: data[numbers]))
    assert [n for numbers, _ in outputs for n in range(numbers.start, numbers.stop)] == list(range(count))
    result = np.concatenate([output for _, output in outputs])
    np.testing.assert_array_equal(result, 2 * data)
    return result


def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_nothing_is_lost(small_gpu):
    memory = Memory(holds=3)
    runner = batches.BatchRunner(nn.Identity(), Gpu("cuda", "fp32"), memory)
    run_all(runner)
    assert memory.sizes[:4] == [1, 8, 4, 2] and set(memory.sizes[3:-1]) == {2}
    assert runner.notes == [
        "cuda ran out of memory: batch halved to 4",
        "cuda ran out of memory: batch halved to 2",
    ]


def test_an_input_that_does_not_fit_at_all_goes_to_the_cpu_and_this_is_noted(small_gpu):
    class OnlyCpu(Memory):
        def __call__(self, network, batch):
            if runner.device.name == "cuda":
                raise torch.OutOfMemoryError("CUDA out of memory")
            return 2 * batch

    runner = batches.BatchRunner(nn.Identity(), Gpu("cuda", "fp32"), OnlyCpu(0))
    run_all(runner)
    assert runner.device == CPU
    assert runner.notes == ["cuda ran out of memory: continued on the CPU in fp32"]


def test_out_of_memory_on_the_cpu_ends_the_run():
    runner = batches.BatchRunner(nn.Identity(), CPU, Memory(holds=0))
    with pytest.raises(MemoryError):
        run_all(runner)


def test_the_cpu_takes_one_input_at_a_time():
    memory = Memory(holds=1)
    run_all(batches.BatchRunner(nn.Identity(), CPU, memory))
    assert memory.sizes == [1] * 20


def test_what_ran_out_of_memory_stands_in_the_sidecar(tmp_path, small_gpu, monkeypatch):
    real, calls = UResNet.forward, []

    def forward(self, x):
        calls.append(len(x))
        if len(x) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, x)

    monkeypatch.setattr(UResNet, "forward", forward)
    folder = bright_bundle(tmp_path / "bright")
    model = replace(load_model(bundles.load_bundle(folder), CPU), device=Gpu("cuda", "fp32"))
    result = segment(
        save_head(tmp_path / "flair.nii.gz"), tmp_path / "out", SegmentOptions(), NoReporter(), model
    )
    assert result.sidecar["device"] == {
        "name": "cuda",
        "precision": "fp32",
        "notes": ["cuda ran out of memory: batch halved to 4"],
    }
    assert calls[:3] == [1, 8, 4] and len(result.records) == 4


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
        return load_model(bundles.write_bundle(tmp_path / network.__name__, spec, content), CPU)

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


# Resampling and intensities


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("new", [8, 12, 29, 48])
def test_resampling_keeps_a_linear_ramp(axis, new):
    shape, target = [24, 24, 24], [24, 24, 24]
    target[axis] = new
    ramp = np.indices(shape)[axis] + 0.5  # in units of the old voxels, edges at 0 and 24
    result = resample(ramp, tuple(target))
    expected = (np.indices(target)[axis] + 0.5) * 24 / new
    away = [slice(None)] * 3  # from the edge, beyond which nothing is known
    away[axis] = slice(3, -3)
    np.testing.assert_allclose(result[tuple(away)], expected[tuple(away)], rtol=1e-5)


def test_resampling_to_a_finer_grid_and_back_gives_the_same_smooth_volume():
    i, j, k = np.indices((20, 22, 9))
    volume = (np.sin(i / 4) + np.cos(j / 5) + 0.1 * k).astype(np.float32)
    there = resample(volume, (40, 44, 27))
    assert there.shape == (40, 44, 27) and there.dtype == np.float32
    np.testing.assert_allclose(resample(there, volume.shape), volume, atol=0.1)  # the most at the edges


def test_shrinking_averages_instead_of_picking_voxels():
    stripes = np.zeros((32, 4, 4), np.float32)
    stripes[::2] = 1
    np.testing.assert_allclose(resample(stripes, (8, 4, 4))[1:-1], 0.5, atol=0.13)


def test_the_working_grid_scatters_back_to_where_it_gathered_from():
    place = np.indices((48, 60, 16)).T * SPACING
    flair = 100 * np.exp(-(((place - (60, 100, 55)) / 25) ** 2).sum(axis=-1) / 2).T.astype(np.float32)
    _, grid = preprocessing.prepare(flair, SPACING)
    assert grid.spacing[2] == SPACING[2] and grid.slice_axis == 2  # thick slices stay
    assert grid.spacing[:2] == pytest.approx((1, 1), abs=0.02)
    working_image = grid.gather(flair)
    assert working_image.shape == grid.shape
    inside = np.zeros(flair.shape, bool)
    inside[tuple(slice(start + 2, stop - 2) for start, stop in grid.box)] = True
    np.testing.assert_allclose(grid.scatter(working_image)[inside], flair[inside], atol=1.0)


@pytest.mark.parametrize("scalp", [110.0, 300.0])
def test_a_whole_head_and_its_stripped_brain_come_to_about_the_same_scale(scalp):
    affine = centred_affine((64, 72, 20))
    stripped, whole = (head(affine, (64, 72, 20), scalp=bright) for bright in (None, scalp))
    brain = stripped > 50
    seen = []
    for image in (stripped, whole):
        (working_image,), grid = preprocessing.prepare(image, SPACING)
        seen.append(grid.scatter(working_image)[brain])
    assert abs(np.median(seen[0]) - np.median(seen[1])) < 0.15
    assert np.percentile(np.abs(seen[0] - seen[1]), 90) < 0.3


@pytest.mark.parametrize(("gain", "offset"), [(0.01, 0), (37, 0), (2, 500)])
def test_the_scanners_intensity_scale_does_not_matter(gain, offset):
    plain, scaled = (
        preprocessing.prepare(image, SPACING)[0][0] for image in (head(), gain * head() + offset)
    )
    np.testing.assert_allclose(scaled, plain, atol=0.02)


# Models and outputs


def test_uresnet_has_the_papers_number_of_parameters():
    assert sum(weights.numel() for weights in UResNet().parameters()) == 984_963


def test_weights_of_another_network_are_refused(tmp_path):
    folder = bright_bundle(tmp_path / "bright")
    spec = bundles.load_bundle(folder).spec
    other = replace(spec, architecture=bundles.Architecture("uresnet", {"widths": [4, 4]}))
    files = {"weights.safetensors": folder / "weights.safetensors", "MODEL_CARD.md": b"#"}
    with pytest.raises(BundleError, match="weights do not fit"):
        load_model(bundles.write_bundle(tmp_path / "other", other, files), CPU)


def run_with_output(tmp_path: Path, output: bundles.Output):
    """Segment a head with the bright network, its channels named anew."""
    folder = bright_bundle(tmp_path / "bright")
    model = load_model(bundles.load_bundle(folder), CPU)
    spec = replace(model.bundle.spec, output=output)
    model = replace(model, bundle=bundles.Bundle(spec, folder))
    return segment(
        save_head(tmp_path / "flair.nii.gz"), tmp_path / "out", SegmentOptions(), NoReporter(), model
    )


def test_the_label_map_says_what_the_channels_mean(tmp_path):
    result = run_with_output(tmp_path, bundles.Output("types", {0: 0, 1: 4, 2: 3}))
    assert [record.type for record in result.records] == [LesionType.LESION, LesionType.MS] * 2


def test_lesions_of_no_stated_type_have_no_confidence_in_it(tmp_path):
    result = run_with_output(tmp_path, bundles.Output("binary", {1: 4}))
    assert {(record.type, record.type_confidence) for record in result.records} == {(LesionType.LESION, None)}


def test_a_label_map_beyond_the_networks_channels_is_refused(tmp_path):
    with pytest.raises(BundleError, match="channel 3"):
        run_with_output(tmp_path, bundles.Output("types", {1: 1, 3: 2}))
    assert not (tmp_path / "out").exists()
