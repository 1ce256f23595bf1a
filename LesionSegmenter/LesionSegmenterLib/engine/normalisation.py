"""Which intensities a network reads: centred on a median, divided by the deviation around it.

"brain-median-mad" takes both from a rough brain mask, so that a whole head and its stripped brain come to the
same intensities. "deep-median-mad", of older bundles, takes them from all that lies at least 15 mm inside the
head's surface, where bone, air and muscle widen a whole head's deviation by a fifth to four fifths. The
deviation is 1.4826 times the median absolute deviation (MAD), which is sigma for a normal distribution.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy import ndimage

from ..errors import InputError
from .brain import rough_brain_mask

Normalisation = Literal["brain-median-mad", "deep-median-mad"]
NORMALISATION: Normalisation = "brain-median-mad"  # of what is trained now
CLIP = (-4.0, 10.0)  # of normalised intensities
DEEP_MM = 15.0
_OUTLYING = 3.0  # deviations from the median beyond which fluid, fat and air are left out
_NARROW = 2.0  # the same, where these widen the deviation so much that they count as tissue
_BRAIN_ML = (50.0, 2500.0)  # least and most of a rough brain mask that intensities can be taken from


def deep_values(
    array: np.ndarray, spacing: tuple[float, ...], mask: np.ndarray, factors: tuple[int, ...]
) -> np.ndarray:
    """Intensities of an image (i, j, k) at least DEEP_MM inside the surface of the coarse foreground."""
    sampling = [f * s for f, s in zip(factors, spacing, strict=True)]
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling)[1:-1, 1:-1, 1:-1]
    deep = depth >= min(DEEP_MM, 0.5 * depth.max())
    fine = deep
    for axis, (factor, size) in enumerate(zip(factors, array.shape, strict=True)):
        fine = np.repeat(fine, factor, axis=axis).take(range(size), axis=axis)
    return array[fine]


def median_and_deviation(values: np.ndarray) -> tuple[float, float]:
    """(median, 1.4826 * median absolute deviation); InputError where all values are one."""
    return _of_sorted(_sorted_sample(values))


def without_outliers(values: np.ndarray, outlying: float = _OUTLYING) -> tuple[float, float]:
    """Median and deviation of what lies within so many deviations of the median, found by iteration."""
    values = _sorted_sample(values)
    median, scale = _of_sorted(values)
    for _ in range(20):
        before, near = scale, values[np.abs(values - median) <= outlying * scale]
        if near[0] == near[-1]:
            break
        median, scale = _of_sorted(near)
        if abs(scale - before) < 1e-3 * before:
            break
    return median, scale


def _sorted_sample(values: np.ndarray) -> np.ndarray:
    return np.sort(values[:: max(1, values.size // 500_000)])


def _of_sorted(values: np.ndarray) -> tuple[float, float]:
    """`median_and_deviation` of sorted values, without sorting deviations at each step of an iteration."""
    count = values.size
    median = float(values[[(count - 1) // 2, count // 2]].mean())

    def reach(held: int) -> np.number:
        # The values nearest to the median follow one another: the window whose farther end is nearest.
        return np.maximum(median - values[: count - held + 1], values[held - 1 :] - median).min()

    scale = 1.4826 * float((reach((count + 1) // 2) + reach(count // 2 + 1)) / 2)
    if scale <= 0:
        scale = float(values.std())
    if scale <= 0:
        raise InputError("the brain has one constant intensity", todo="Check that it is a FLAIR volume")
    return median, scale


def brain_of(image: np.ndarray, spacing: tuple[float, ...], deep: np.ndarray) -> np.ndarray | None:
    """A rough brain mask of a working image in its own units, None where there is none of a brain's size.

    deep : intensities deep in the head, from which a first scale is taken.
    """
    for outlying in (_OUTLYING, _NARROW):
        median, scale = without_outliers(deep, outlying)
        mask = rough_brain_mask(np.clip((image - median) / scale, *CLIP), spacing)
        if _BRAIN_ML[0] < mask.sum() * np.prod(spacing) / 1000 < _BRAIN_ML[1]:
            return mask
    return None
