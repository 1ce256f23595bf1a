"""What the network sees of a volume: one slice and its neighbours as channels."""

from __future__ import annotations

import numpy as np

CONTEXT_MM = 2.0  # neighbours lie about this far away, or one slice if slices are thicker
CONTEXT_SLICES = 1  # neighbours on each side


def context_indices(size: int, spacing_mm: float, *, context_slices: int = CONTEXT_SLICES) -> np.ndarray:
    """Slice numbers (size, 1 + 2 * context_slices) of each slice and its neighbours; the edges repeat."""
    step = max(1, round(CONTEXT_MM / spacing_mm))
    offsets = step * np.arange(-context_slices, context_slices + 1)
    return np.clip(np.arange(size)[:, None] + offsets, 0, size - 1)
