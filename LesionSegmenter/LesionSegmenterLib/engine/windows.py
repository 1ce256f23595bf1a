"""Overlapping windows over a volume and the weight with which each counts."""

from __future__ import annotations

from itertools import product

import numpy as np

_OVERLAP = 0.5
_SIGMA = 0.125  # of the window's side, as in nnU-Net (Isensee et al. 2021)


def window_starts(shape: tuple[int, ...], window: tuple[int, ...]) -> list[tuple[int, ...]]:
    """First voxels of windows that cover ``shape`` evenly, half a window apart or less, in C order."""
    axes = []
    for size, side in zip(shape, window, strict=True):
        count = 1 + -(-(size - side) // max(1, int(side * (1 - _OVERLAP))))
        axes.append(np.round(np.linspace(0, size - side, count)).astype(int).tolist())
    return list(product(*axes))


def gaussian_window(window: tuple[int, ...]) -> np.ndarray:
    """Weights (float32, 1 at the middle, at least 0.001) that count a window's middle above its rim."""
    weight = np.ones(window, np.float32)
    for axis, side in enumerate(window):
        place = (np.arange(side) - (side - 1) / 2) / (_SIGMA * side)
        weight *= np.exp(-0.5 * place**2).reshape([-1 if a == axis else 1 for a in range(len(window))])
    return np.maximum(weight / weight.max(), 1e-3).astype(np.float32)
