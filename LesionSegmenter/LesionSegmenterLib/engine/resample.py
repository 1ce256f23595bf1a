"""Separable linear resampling of a volume, anti-aliased where it shrinks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=32)
def _taps(size: int, new_size: int) -> tuple[np.ndarray, np.ndarray]:
    """What makes up each new voxel along an axis: its first old one (new_size,), weights (taps, new_size).

    The weights are a triangle that widens with the step, so that shrinking averages. Both grids cover the
    same extent: voxel edges, not voxel centres, coincide.
    """
    step = size / new_size
    centres = (np.arange(new_size) + 0.5) * step - 0.5
    weights = np.clip(1 - np.abs(np.arange(size) - centres[:, None]) / max(step, 1.0), 0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    count = int((weights > 0).sum(axis=1).max())
    first = np.minimum((weights > 0).argmax(axis=1), size - count)
    taps = np.take_along_axis(weights, first[:, None] + np.arange(count), axis=1)
    return first, np.ascontiguousarray(taps.T, np.float32)


def resample(array: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """The volume ``array`` (i, j, k) on a grid of ``shape`` over the same physical extent, float32."""
    array = np.asarray(array, dtype=np.float32)
    # The axis that shrinks most goes first, the one that grows most last: the smallest intermediates.
    for axis in sorted(range(3), key=lambda a: shape[a] / array.shape[a]):
        size, new_size = array.shape[axis], shape[axis]
        if size == new_size:
            continue
        # A matrix product would be mostly zeros, and its threads hold cores that the network needs next.
        first, weights = _taps(size, new_size)
        along = tuple(-1 if a == axis else 1 for a in range(3))
        total = array.take(first, axis)
        total *= weights[0].reshape(along)
        for number, weight in enumerate(weights[1:], start=1):
            part = array.take(first + number, axis)
            part *= weight.reshape(along)
            total += part
        array = total
    return array
