"""The engine against MONAI's sliding windows, with the same network and weights, on the CPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from benchmarks.images import flair
from benchmarks.tables import Table, in_turn
from LesionSegmenterLib.bundle import DEFAULT_MODEL, resolve_bundle
from LesionSegmenterLib.engine.device import Device, choose_device
from LesionSegmenterLib.engine.model import Model, load_model
from LesionSegmenterLib.engine.normalisation import CLIP, without_outliers
from LesionSegmenterLib.engine.prediction import predict
from LesionSegmenterLib.engine.preprocessing import prepare
from LesionSegmenterLib.engine.slicing import context_indices
from LesionSegmenterLib.networks import build

_SHAPE = (256, 256, 48)
_SLICE_MM = 3.0
_WINDOW = (256, 256)
_OVERLAP = 0.25
_MONAI_4 = "MONAI, fp32, sw_batch_size=4"
_MONAI_1 = "MONAI, fp32, sw_batch_size=1"
_ENGINE_FP32 = "engine, fp32: the same, and cropped to the brain, 1 mm in plane"


def run(repetitions: int) -> Table:
    bundle = resolve_bundle(DEFAULT_MODEL)
    plain = build(bundle.spec.architecture.name, bundle.spec.architecture.arguments)
    plain.load_state_dict(load_file(bundle.weights))
    plain.eval()
    automatic, fp32 = (load_model(bundle, choose_device("cpu", p)) for p in ("auto", "fp32"))
    spacing = (0.9, 0.9, _SLICE_MM)
    image = flair(_SHAPE, spacing)
    stack = _slices(image, spacing, automatic)
    channels_last = build(bundle.spec.architecture.name, bundle.spec.architecture.arguments)
    channels_last.load_state_dict(plain.state_dict())
    channels_last.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    precision = automatic.device.precision
    engine_auto = _ENGINE_FP32.replace("fp32", f"{precision} (auto)")
    candidates: dict[str, Callable] = {
        _MONAI_4: lambda: _monai(plain, stack, 4),
        _MONAI_1: lambda: _monai(plain, stack, 1),
        "whole slices, fp32: one a batch, channels_last": lambda: _one_by_one(
            channels_last, stack, fp32.device
        ),
        "whole slices, fp32: the same, elements fused": lambda: _one_by_one(fp32.network, stack, fp32.device),
        _ENGINE_FP32: lambda: _engine(fp32, image, spacing),
    }
    if precision != "fp32":
        fused = f"whole slices, {precision}: the same, elements fused"
        candidates[fused] = lambda: _one_by_one(automatic.network, stack, automatic.device)
        candidates[engine_auto] = lambda: _engine(automatic, image, spacing)
    timings, _ = in_turn(candidates, repetitions)
    rows = [
        (name, str(timing), *(timing.times_faster_than(timings[other]) for other in (_MONAI_4, _MONAI_1)))
        for name, timing in timings.items()
    ]
    return Table(
        "Prediction",
        f"A whole-head FLAIR of {_SHAPE[2]} slices of {_SHAPE[0]}x{_SHAPE[1]}, {spacing[0]} mm in plane and "
        f"{_SLICE_MM:g} mm thick; {bundle.spec.architecture.name} with the shipped weights. MONAI's "
        f"`sliding_window_inference` gets the uncropped slices, normalised beforehand, with window "
        f"{_WINDOW[0]}x{_WINDOW[1]} and overlap {_OVERLAP}. The engine's time runs from the image to the "
        "probability on the image's own grid: finding the head, normalising and resampling both ways are in "
        "it. The rows between take the engine's measures one by one. Goal: at least 3x.",
        ("what", "time", "against MONAI 4", "against MONAI 1"),
        rows,
        _agreement(plain, automatic, fp32),
    )


def _slices(image: NDArray, spacing: tuple[float, ...], model: Model) -> torch.Tensor:
    """Uncropped normalised slices with their neighbours as channels: (slices, channels, i, j)."""
    _, grid, brain = prepare(image, spacing, normalisation=model.preprocessing.normalisation)
    assert brain is not None, "the model reads other intensities than these"
    median, scale = without_outliers(grid.gather(image)[brain])
    normalised = np.clip((image.astype(np.float32) - median) / scale, *CLIP)
    context = context_indices(image.shape[2], spacing[2], context_slices=model.preprocessing.context_slices)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(normalised, 2, 0)[context]))


@torch.inference_mode()
def _monai(network: nn.Module, stack: torch.Tensor, batch: int) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI's own use of torch
        logits = sliding_window_inference(stack, _WINDOW, batch, network, overlap=_OVERLAP)
    assert isinstance(logits, torch.Tensor)  # tuples and dicts are for networks that return those
    return torch.softmax(logits, 1)


@torch.inference_mode()
def _one_by_one(network: nn.Module, stack: torch.Tensor, device: Device) -> torch.Tensor:
    with device.autocast():
        each = [network(s[None].contiguous(memory_format=torch.channels_last)) for s in stack]
    return torch.softmax(torch.cat(each).float(), 1)


def _engine(model: Model, image: NDArray, spacing: tuple[float, ...]) -> NDArray[np.float32]:
    """Lesion probability on the image's grid."""
    images, grid, brain = prepare(image, spacing, normalisation=model.preprocessing.normalisation)
    return grid.scatter(predict(model, images, grid, lambda *_: None, brain=brain).channels.sum(axis=0))


def _agreement(plain: nn.Module, automatic: Model, fp32: Model) -> list[str]:
    """How far the engine's probabilities lie from MONAI's, on 1 mm pixels, which neither resamples.

    A network that pools answers a little differently when its input is shifted. Here MONAI's input starts at
    the same phase of the pooling as the engine's crop, so that only crop and precision make a difference.
    """
    spacing = (1.0, 1.0, _SLICE_MM)
    image = flair(_SHAPE, spacing)
    _, grid, brain = prepare(image, spacing, normalisation=fp32.preprocessing.normalisation)
    assert brain is not None
    i, j = (start % fp32.divisor for start, _ in grid.box[:2])
    shifted = torch.full_like(stack := _slices(image, spacing, fp32), CLIP[0])
    shifted[:, :, : _SHAPE[0] - i, : _SHAPE[1] - j] = stack[:, :, i:, j:]
    expected = np.zeros(_SHAPE, np.float32)
    lesion = _monai(plain, shifted, 1)[:, 1:].sum(1).numpy().transpose(1, 2, 0)
    expected[i:, j:] = lesion[: _SHAPE[0] - i, : _SHAPE[1] - j]
    inside = grid.scatter(brain.astype(np.float32)) > 0.5
    return [_difference(m, image, spacing, expected, inside) for m in (fp32, automatic)]


def _difference(
    model: Model, image: NDArray, spacing: tuple[float, ...], expected: NDArray, brain: NDArray[np.bool_]
) -> str:
    found = _engine(model, image, spacing)
    apart = np.abs(found - expected)[brain]
    threshold = model.bundle.spec.output.threshold
    a, b = (found >= threshold) & brain, (expected >= threshold) & brain
    dice = 2 * np.count_nonzero(a & b) / max(1, int(a.sum() + b.sum()))
    return (
        f"Lesion probability in the brain, engine in {model.device.precision} against MONAI in fp32, the "
        f"same head at 1 mm: mean absolute difference {apart.mean():.1e}, largest {apart.max():.1e}; Dice of "
        f"the two masks {dice:.4f} ({np.count_nonzero(b)} voxels)."
    )
