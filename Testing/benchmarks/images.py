"""What the benchmarks run on: a synthetic head in any field of view, and maps full of lesions."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from LesionSegmenterLib.engine.resample import resample
from LesionSegmenterLib.synthesis.scan import synthetic_scan

Triple = tuple[int, int, int]


@lru_cache(maxsize=1)
def _head() -> NDArray[np.int16]:
    return synthetic_scan(0, slice_mm=1).flair


def flair(shape: Triple, spacing: tuple[float, float, float]) -> NDArray[np.int16]:
    """A whole-head FLAIR with lesions, (i, j, k) in RAS axis order, centred in a field of view.

    ``shape`` and ``spacing`` (mm) make the field of view; what of the head lies outside it is cut off.
    """
    image = _head()
    for axis, wanted in enumerate(round(n * s) for n, s in zip(shape, spacing, strict=True)):
        surplus = image.shape[axis] - wanted
        if surplus > 0:
            image = image.take(range(surplus // 2, surplus // 2 + wanted), axis)
        else:
            margins = [(0, 0)] * 3
            margins[axis] = (-surplus // 2, -surplus - -surplus // 2)
            image = np.pad(image, margins)
    return np.rint(resample(image, shape)).astype(np.int16)


def lesions(shape: Triple, count: int, *, confluent: bool) -> NDArray[np.float64]:
    """A probability map (i, j, k) with ``count`` lesions, apart from each other, over 0.5.

    Each is a ball that falls linearly from 1 at its centre; ``confluent`` ones are two or three such balls
    that overlap.
    """
    rng = np.random.default_rng(0)
    cell = 24
    corners = list(product(*(range(0, size - cell + 1, cell) for size in shape)))
    result = np.zeros(shape)
    for number in rng.choice(len(corners), count, replace=False):
        box = tuple(slice(start, start + cell) for start in corners[number])
        centre, radius = np.full(3, cell / 2) + rng.uniform(-1, 1, 3), rng.uniform(2, 5)
        for step in range(rng.integers(1, 4) if confluent else 1):
            shift = np.zeros(3)
            shift[step - 1] = 1.4 * radius if step else 0
            offsets = np.indices((cell,) * 3) - (centre + shift).reshape(3, 1, 1, 1)
            ball = 1 - 0.5 * np.sqrt((offsets**2).sum(axis=0)) / radius
            np.maximum(result[box], ball, out=result[box])
    return result
