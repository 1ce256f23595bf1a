"""A brain mask of a whole head's FLAIR, to compare a head with and without its skull."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from LesionSegmenterLib.engine.brain import depth_within
from LesionSegmenterLib.engine.preprocessing import foreground, prepare

WHOLE_HEAD_ML = 2000.0  # no brain fills as much, and every head with its scalp more
_TISSUE = (-2.0, 3.5)  # normalised intensities of brain tissue and lesions; fat of the scalp lies above
_NECK_MM = 4.0  # thinner bridges in plane, as to the scalp and the orbits, are cut
_SCALP_MM = 12.0  # from the skin: what lies within is no core of the brain
_SULCUS_MM = 8.0  # half the width of sulci and ventricles that are filled
_CRUMB_MM2 = 150.0


def is_whole_head(flair: NDArray, spacing: tuple[float, float, float]) -> bool:
    """Whether the foreground of an image (i, j, k) is too large to be a brain alone."""
    mask, factors = foreground(flair, spacing)
    voxel_ml = float(np.prod([f * s for f, s in zip(factors, spacing, strict=True)])) / 1000
    return float(mask.sum()) * voxel_ml > WHOLE_HEAD_ML


def brain_mask(flair: NDArray, spacing: tuple[float, float, float]) -> NDArray[np.bool_]:
    """The brain of a whole head, (i, j, k) in RAS axis order with axial slices; spacing in mm.

    In each slice, tissue is eroded until bridges to scalp and orbits break. The largest piece of what
    remains away from the skin is followed from its widest slice up and down: a slice's brain lies over the
    last one's, no farther out than a slice is thick. It is grown back, and its sulci are filled. Good to
    some 3 mm; at the vertex and the skull base, where scalp and neck touch the brain, less.
    """
    (image,), grid, _ = prepare(np.ascontiguousarray(flair), spacing)
    step, thick = grid.spacing[:2], grid.spacing[2]
    smooth = ndimage.gaussian_filter(image, (0.7, 0.7, 0))
    tissue = (smooth > _TISSUE[0]) & (smooth < _TISSUE[1])
    cores = np.stack([depth_within(plane, step) > _NECK_MM for plane in np.moveaxis(tissue, 2, 0)], axis=2)
    pieces, count = ndimage.label(cores & (_depth_in_head(image, grid.spacing) > _SCALP_MM))
    brain = np.zeros(image.shape, bool)
    if not count:
        return grid.scatter(brain.astype(np.float32)) > 0.5
    core = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    widest = int(core.sum(axis=(0, 1)).argmax())
    _follow(core, brain, range(widest, image.shape[2]), step, thick)
    _follow(core, brain, range(widest - 1, -1, -1), step, thick)
    return grid.scatter(brain.astype(np.float32)) > 0.5


def _follow(
    core: NDArray[np.bool_],
    brain: NDArray[np.bool_],
    slices: Iterable[int],
    step: tuple[float, float],
    thick: float,
) -> None:
    """Grow the core back slice by slice into ``brain``, each within reach of the last slice's brain."""
    for k in slices:
        neighbours = np.logical_or.reduce(brain[..., max(k - 1, 0) : k + 2], axis=2)
        reach = _within(neighbours, thick, step) if neighbours.any() else np.ones_like(neighbours)
        pieces, _ = ndimage.label(core[..., k] & reach)
        area = np.bincount(pieces.ravel()) * step[0] * step[1]
        area[0] = 0
        seeds: NDArray[np.bool_] = np.isin(pieces, np.flatnonzero(area > _CRUMB_MM2))
        if not seeds.any():
            return
        brain[..., k] = _closed(_within(seeds, _NECK_MM + 1, step) & reach, step)


def _closed(mask: NDArray[np.bool_], step: tuple[float, float]) -> NDArray[np.bool_]:
    margin = int(np.ceil(1.5 * _SULCUS_MM / min(step)))
    wide = _within(np.pad(mask, margin), _SULCUS_MM, step)
    closed = ndimage.distance_transform_edt(wide, step) > _SULCUS_MM
    return ndimage.binary_fill_holes(closed[margin:-margin, margin:-margin] | mask)


def _within(mask: NDArray[np.bool_], mm: float, step: tuple[float, float]) -> NDArray[np.bool_]:
    return ndimage.distance_transform_edt(~mask, step) <= mm


def _depth_in_head(image: NDArray[np.float32], spacing: tuple[float, float, float]) -> NDArray[np.float64]:
    """Distance in mm to the air; the lowest slice is cut through the neck and has none below."""
    mask, factors = foreground(image, spacing)
    for axis, (factor, size) in enumerate(zip(factors, image.shape, strict=True)):
        mask = np.repeat(mask, factor, axis).take(range(size), axis)
    air = np.pad(mask, ((1, 1), (1, 1), (0, 1)))
    return ndimage.distance_transform_edt(air, spacing)[1:-1, 1:-1, :-1]
