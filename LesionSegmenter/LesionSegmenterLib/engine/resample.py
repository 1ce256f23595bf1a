"""Separable linear resampling of a volume, anti-aliased where it shrinks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=32)
def _weights(size: int, new_size: int) -> np.ndarray:
    """Triangle-kernel weights (new_size, size); the kernel widens with the step, so that shrinking averages.

    Both grids cover the same extent: voxel edges, not voxel centres, coincide.
    """
    step = size / new_size
    centres = (np.arange(new_size) + 0.5) * step - 0.5
    weights = 1 - np.abs(np.arange(size) - centres[:, None]) / max(step, 1.0)
    np.clip(weights, 0, None, out=weights)
    weights /= weights.sum(axis=1, keepdims=True)
    return weights.astype(np.float32)


def resample(array: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """The volume ``array`` (i, j, k) on a grid of ``shape`` over the same physical extent, float32."""
    array = np.asarray(array, dtype=np.float32)
    # The axis that shrinks most goes first, the one that grows most last: the smallest intermediates.
    for axis in sorted(range(3), key=lambda a: shape[a] / array.shape[a]):
        size, new_size = array.shape[axis], shape[axis]
        if size == new_size:
            continue
        weights = _weights(size, new_size)
        if axis == 0:
            array = (weights @ array.reshape(size, -1)).reshape(new_size, *array.shape[1:])
        elif axis == 1:
            array = np.matmul(weights, array)
        else:
            array = np.matmul(array, weights.T)
    return array
