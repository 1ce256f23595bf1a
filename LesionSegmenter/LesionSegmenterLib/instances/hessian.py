"""Where a smoothed image peaks in all directions: the sign of its Hessian, box by box."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Box = tuple[slice, slice, slice]

_TRUNCATE = 4.0  # reach of the Gaussian in standard deviations, scipy's and scikit-image's default
_SLAB_VOXELS = 2**21  # larger boxes are worked through in slabs: 16 MB for each float64 temporary


def negative_definite(
    image: npt.NDArray[Any],
    inside: npt.NDArray[np.bool_],
    box: Box,
    sigma: float,
    support: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.bool_]:
    """Find the voxels of a box where all three eigenvalues of the image's Hessian are negative.

    The Hessian is the one of ``skimage.feature.hessian_matrix(image, sigma, mode="constant",
    use_gaussian_derivatives=False)``: Gaussian smoothing, then central differences applied twice. The box
    is widened by the reach of both, so that the result equals that of the full volume, at its borders too.
    All eigenvalues are negative exactly where the leading principal minors of the negated Hessian are
    positive (Sylvester's criterion), which needs no eigenvalues. A flat region has none.

    Parameters
    ----------
    image : (i, j, k)
        The whole volume.
    inside : booleans, shape of the box
        The voxels asked for.
    box : 3 slices
        The box in the image, with explicit start and stop.
    sigma : voxels
        Standard deviation of the Gaussian along each axis.
    support : (i, j, k) booleans
        Outside it the image counts as 0; None takes the image as it is.

    Returns
    -------
    Boolean array of the box's shape; False outside ``inside``.
    """
    peaks = np.zeros(inside.shape, bool)
    if min(image.shape) < 2:
        return peaks  # an image of one slice has no curvature across it
    reach = int(_TRUNCATE * sigma + 0.5) + 2  # two more: a second central difference spans i-2..i+2
    for rows, slab in _slabs(box, reach):
        padded = tuple(
            slice(max(side.start - reach, 0), min(side.stop + reach, size))
            for side, size in zip(slab, image.shape, strict=True)
        )
        values = image[padded].astype(np.float64)
        if support is not None:
            values[~support[padded]] = 0
        part = inside[rows]
        voxels = tuple(
            index + side.start - outer.start
            for index, side, outer in zip(np.nonzero(part), slab, padded, strict=True)
        )
        smooth = ndimage.gaussian_filter(values, sigma, mode="constant", truncate=_TRUNCATE)
        peaks[rows][part] = _negative_definite_at(smooth, voxels)
    return peaks


def _slabs(box: Box, reach: int) -> Iterator[tuple[slice, Box]]:
    """Cut a box along its first axis; yields the rows within the box and the slab in the volume."""
    first, second, third = box
    plane = (second.stop - second.start + 2 * reach) * (third.stop - third.start + 2 * reach)
    step = max(1, _SLAB_VOXELS // plane)
    for start in range(first.start, first.stop, step):
        stop = min(start + step, first.stop)
        yield slice(start - first.start, stop - first.start), (slice(start, stop), second, third)


def _negative_definite_at(
    smooth: npt.NDArray[np.float64], voxels: tuple[npt.NDArray[np.intp], ...]
) -> npt.NDArray[np.bool_]:
    """Sylvester's criterion on the negated Hessian at the given voxels of a smoothed block."""
    h: dict[tuple[int, int], npt.NDArray[np.float64]] = {}
    for a in range(3):
        slope = np.gradient(smooth, axis=a)
        for b in range(a, 3):
            h[a, b] = -np.gradient(slope, axis=b)[voxels]
    minor = h[0, 0] * h[1, 1] - h[0, 1] ** 2
    determinant = (
        h[2, 2] * minor
        - h[1, 2] * (h[0, 0] * h[1, 2] - h[0, 1] * h[0, 2])
        + h[0, 2] * (h[0, 1] * h[1, 2] - h[0, 2] * h[1, 1])
    )
    return (h[0, 0] > 0) & (minor > 0) & (determinant > 0)
