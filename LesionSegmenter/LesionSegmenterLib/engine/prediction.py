"""Class probabilities of a working image: slice by slice in one or three planes, or in 3D."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from ..errors import BundleError
from ..networks.conflunet import INSTANCE_CHANNELS
from .batches import BatchRunner
from .brain import sides_around
from .model import Model
from .normalisation import CLIP
from .preprocessing import WORKING_MM, WorkingGrid
from .resample import resample
from .slicing import context_indices
from .windows import gaussian_window, window_starts

Progress = Callable[[str, int, int], None]
_AIR = CLIP[0]
_EMPTY_BELOW = -2.5  # a slice without a voxel above this holds no tissue


@dataclass
class ClassProbabilities:
    """Probabilities (classes - 1, i, j, k) float32 on the working grid, background left out.

    A network of instances also gives the heat of lesion centres (i, j, k) and offsets (3, i, j, k) to them,
    in voxels of the working grid.
    """

    channels: np.ndarray
    notes: list[str] = field(default_factory=list)
    heat: np.ndarray | None = None
    offsets: np.ndarray | None = None


def predict(
    model: Model,
    images: list[np.ndarray],
    grid: WorkingGrid,
    progress: Progress,
    *,
    flip: bool = False,
    brain: np.ndarray | None = None,
) -> ClassProbabilities:
    """Run the network over the working images (one a modality, each (i, j, k)).

    With ``flip``, or where the model always does so, the prediction is averaged with that of the image
    mirrored left to right. With ``brain``, a mask (i, j, k), what lies beside it gets 0 without being read
    (`sides_around`), which takes a quarter off the time of a whole head. ``progress`` is called with
    ("predicting", done, total) and may raise to stop. BundleError where an output is nan.
    """
    runner = BatchRunner(model.network, model.device, _instances if model.gives_instances else _probabilities)
    # Isotropic scans are read in three planes already.
    volume = None if grid.isotropic else model.in_volumes
    multiple = model.divisor if volume is None else math.lcm(model.divisor, volume.divisor)
    near = np.s_[:, :, :] if brain is None else sides_around(brain, grid.spacing, multiple)
    stack = np.stack([image[near] for image in images])
    flip = flip or model.preprocessing.flip
    passes = 2 if flip else 1

    def run(stack: np.ndarray, number: int) -> np.ndarray:
        def part(number: int, of: int) -> Progress:
            return lambda stage, done, total: progress(stage, number * total + done, of * total)

        if not model.is_2d:
            return _volume(model, stack, runner, part(number, passes))
        if volume is None:
            return _slices(model, stack, grid, runner, part(number, passes))
        channels = _slices(model, stack, grid, runner, part(2 * number, 2 * passes))
        whole = BatchRunner(volume.network, model.device, _probabilities)
        other = _in_millimetres(volume, stack, grid, whole, part(2 * number + 1, 2 * passes))
        runner.notes += whole.notes
        return channels + model.volume_share * (other - channels)

    channels = run(stack, 0)
    if flip:
        # The volume is mirrored, not each slice: in sagittal ones, left and right are the order of slices.
        mirrored = run(stack[:, ::-1], 1)[:, ::-1]
        if model.gives_instances:
            mirrored[-3] *= -1  # the offsets along the mirrored axis
        channels += mirrored
        channels /= 2
    if not np.isfinite(channels).all():  # else it would read as no lesion
        raise BundleError(
            "the network gave values that are not numbers", model.bundle.folder, "Try --precision fp32"
        )
    answer = np.zeros((len(channels), *images[0].shape), np.float32)
    answer[(slice(None), *near)] = channels
    if model.gives_instances:
        classes = len(answer) - INSTANCE_CHANNELS
        return ClassProbabilities(
            answer[:classes], runner.notes, heat=answer[classes], offsets=answer[classes + 1 :]
        )
    return ClassProbabilities(answer, runner.notes)


def _instances(network: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """Probabilities of the classes but background, then centre heat and offsets as they are."""
    output = network(batch).float()
    classes = output[:, :-INSTANCE_CHANNELS]
    return torch.cat([torch.softmax(classes, 1)[:, 1:], output[:, -INSTANCE_CHANNELS:]], 1)


def _probabilities(network: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    logits = network(batch).float()
    # One channel is a binary network's lesion logit; more are classes, the first of them background.
    return torch.sigmoid(logits) if logits.shape[1] == 1 else torch.softmax(logits, 1)[:, 1:]


def _padded_shape(shape: tuple[int, ...], divisor: int) -> tuple[int, ...]:
    return tuple(-(-n // divisor) * divisor for n in shape)


def _slices(
    model: Model, stack: np.ndarray, grid: WorkingGrid, runner: BatchRunner, progress: Progress
) -> np.ndarray:
    """2D prediction in the planes in which the volume is read: their mean, or what they agree on."""
    planes = model.preprocessing.planes
    axes = (0, 1, 2) if planes != "slices" and grid.isotropic else (grid.slice_axis,)
    zooms = model.preprocessing.zooms
    total = sum(stack.shape[1 + axis] for axis in axes) * len(zooms)
    agreed = planes == "agreed" and len(axes) > 1
    done, mean, least = 0, None, None
    for axis in axes:
        result = None
        for zoom in zooms:
            plane = _Plane(np.moveaxis(stack, 1 + axis, 0), grid.spacing[axis], model, zoom)
            found = plane.run(runner, progress, done, total)
            if found is not None:
                if result is None:
                    result = np.zeros((found.shape[1], *stack.shape[1:]), np.float32)
                # (slice, classes, a, b) into (classes, slice, a, b) of the plane's order
                ordered = np.moveaxis(result, 1 + axis, 1)
                ordered += found.swapaxes(0, 1)
            done += stack.shape[1 + axis]
            progress("predicting", done, total)
        if result is not None:
            result /= len(zooms)
            if agreed:
                lesion = result.sum(axis=0)
                least = lesion if least is None else np.minimum(least, lesion, out=least)
            mean = result if mean is None else np.add(mean, result, out=mean)
    if mean is None:
        outputs = max(1, *model.bundle.spec.output.label_map)
        return np.zeros((outputs, *stack.shape[1:]), np.float32)
    mean /= len(axes)
    if least is not None:
        mean *= least / np.maximum(mean.sum(axis=0), 1e-6)  # the types' shares stay the mean's
    return mean


class _Plane:
    """The slices of one plane, (slice, modality, a, b), magnified, with their neighbours and padding."""

    def __init__(self, slices: np.ndarray, spacing_mm: float, model: Model, zoom: float):
        self.sides = slices.shape[2:]
        self.slices = slices = _magnified(slices, tuple(max(1, round(n * zoom)) for n in self.sides))
        self.neighbours = context_indices(
            len(slices), spacing_mm, context_slices=model.preprocessing.context_slices
        )
        patch = model.preprocessing.patch if normalises_by_instance(model.network) else None
        sides = [max(n, p) for n, p in zip(slices.shape[2:], patch or (1, 1), strict=True)]
        self.padded = _padded_shape(tuple(sides), model.divisor)
        self.occupied = np.flatnonzero(slices.max(axis=(1, 2, 3)) > _EMPTY_BELOW)

    def inputs(self, numbers: slice) -> np.ndarray:
        """(n, modalities * neighbours, A, B); a modality's neighbours are consecutive channels."""
        wanted = self.neighbours[self.occupied[numbers]]
        chosen = self.slices[wanted]  # (n, neighbours, modalities, a, b)
        n, near, modalities, a, b = chosen.shape
        batch = np.full((n, modalities * near, *self.padded), _AIR, np.float32)
        batch[:, :, :a, :b] = chosen.swapaxes(1, 2).reshape(n, modalities * near, a, b)
        return batch

    def run(self, runner: BatchRunner, progress: Progress, done: int, total: int) -> np.ndarray | None:
        """Outputs (slice, classes, a, b) of the slices' own size, 0 where one is empty; None where all are.

        ``done`` of ``total`` slices were read before. They are brought back to size at once: between passes
        of the network numpy's threads would hold the cores that it needs.
        """
        found = None
        runner.batch = 1
        a, b = self.slices.shape[2:]
        for numbers, output in runner.run(len(self.occupied), self.inputs):
            if found is None:
                found = np.zeros((len(self.slices), output.shape[1], a, b), np.float32)
            found[self.occupied[numbers]] = output[:, :, :a, :b]
            progress("predicting", done + int(self.occupied[numbers][-1]) + 1, total)
        return None if found is None else _magnified(found, self.sides)


def _magnified(slices: np.ndarray, sides: tuple[int, ...]) -> np.ndarray:
    """Slices (n, channels, a, b) resampled to other sides."""
    if slices.shape[2:] == sides:
        return slices
    shape: tuple[int, int, int] = (len(slices), *sides)  # type: ignore[assignment]
    return np.stack([resample(channel, shape) for channel in slices.swapaxes(0, 1)], axis=1)


def _volume(model: Model, stack: np.ndarray, runner: BatchRunner, progress: Progress) -> np.ndarray:
    """3D prediction: the whole volume where the norms allow it, else Gaussian-weighted windows.

    Batch norm at test time is a fixed scaling, so that a whole volume gives what its patches would. An
    instance norm's statistics depend on the field of view: such a network needs windows of its patch.
    """
    shape = stack.shape[1:]
    patch = model.preprocessing.patch if normalises_by_instance(model.network) else None
    if patch is None:
        padded = _padded_shape(shape, model.divisor)
    else:
        padded = tuple(max(n, p) for n, p in zip(shape, patch, strict=True))
    inside = _window((0, 0, 0), shape)
    image = np.full((len(stack), *padded), _AIR, np.float32)
    image[inside] = stack
    if patch is None:
        progress("predicting", 0, 1)
        (_, (output,)), *_ = runner.run(1, lambda _: image[None])
        progress("predicting", 1, 1)
    else:
        output = _in_windows(image, tuple(patch), runner, progress)
    return np.ascontiguousarray(output[inside])


def _in_millimetres(
    model: Model, stack: np.ndarray, grid: WorkingGrid, runner: BatchRunner, progress: Progress
) -> np.ndarray:
    """3D prediction of a stack of thick slices: in voxels of 1 mm, as in training, and back."""
    shape = stack.shape[1:]
    fine = tuple(max(1, round(n * step / WORKING_MM)) for n, step in zip(shape, grid.spacing, strict=True))
    output = _volume(model, np.stack([resample(image, fine) for image in stack]), runner, progress)
    return np.stack([resample(channel, shape) for channel in output])


def _in_windows(
    image: np.ndarray, patch: tuple[int, ...], runner: BatchRunner, progress: Progress
) -> np.ndarray:
    """The network's outputs for overlapping windows of an image, (channels, i, j, k), averaged by weight."""
    shape = image.shape[1:]
    starts = window_starts(shape, patch)
    weight = gaussian_window(patch)
    total = np.zeros(shape, np.float32)
    summed: np.ndarray | None = None

    def windows(numbers: slice) -> np.ndarray:
        return np.stack([image[_window(start, patch)] for start in starts[numbers]])

    for numbers, output in runner.run(len(starts), windows):
        if summed is None:
            summed = np.zeros((output.shape[1], *shape), np.float32)
        for start, probabilities in zip(starts[numbers], output, strict=True):
            summed[_window(start, patch)] += probabilities * weight
            total[_window(start, patch)[1:]] += weight
        progress("predicting", numbers.stop, len(starts))
    assert summed is not None, "there is always a window"
    summed /= total
    return summed


def _window(start: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    """The index of a window in an array (channels, i, j, k)."""
    return slice(None), *(slice(s, s + n) for s, n in zip(start, shape, strict=True))


def normalises_by_instance(network: nn.Module) -> bool:
    """Whether a network has norms whose statistics depend on the field of view."""
    kinds = (nn.InstanceNorm2d, nn.InstanceNorm3d, nn.GroupNorm, nn.LayerNorm)
    return any(isinstance(module, kinds) for module in network.modules())
