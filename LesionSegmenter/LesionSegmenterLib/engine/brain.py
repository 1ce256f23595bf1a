"""A rough brain mask from the FLAIR alone, for positions relative to the brain and volumes per litre."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from .resample import resample

_TISSUE = (-2.0, 3.5)  # normalised intensities of brain tissue and most lesions; scalp fat lies above
_GRID_MM = 2.0
_NECK_MM = 5.0  # bridges thinner than twice this, such as those between brain and scalp, are cut


def rough_brain_mask(image: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Brain voxels (i, j, k) of a normalised working image, of a whole head or a stripped brain.

    On a grid of about 2 mm, voxels as bright as tissue are eroded until skull and scalp come off, the
    largest piece is grown back and its holes are filled. Good to about 5 mm: fit for a bounding box or a
    volume in litres, not for a surface.
    """
    shape = tuple(max(1, round(n * s / max(s, _GRID_MM))) for n, s in zip(image.shape, spacing, strict=True))
    coarse = resample(image, shape)  # type: ignore[arg-type]
    step = [n * s / m for n, s, m in zip(image.shape, spacing, shape, strict=True)]
    tissue = (coarse > _TISSUE[0]) & (coarse < _TISSUE[1])
    thick = int(np.argmax(step))
    if step[thick] > _NECK_MM:  # thick slices: depth is counted within each
        plane_step = [s for axis, s in enumerate(step) if axis != thick]
        depth = np.stack(
            [depth_within(plane, plane_step) for plane in np.moveaxis(tissue, thick, 0)], axis=thick
        )
    else:
        depth = depth_within(tissue, step)
    core, _ = ndimage.label(depth > _NECK_MM)
    if core.any():
        largest = core == np.bincount(core.ravel())[1:].argmax() + 1
        tissue = ndimage.distance_transform_edt(~largest, step) <= _NECK_MM + 1
        for plane in np.moveaxis(tissue, thick if step[thick] > _NECK_MM else 2, 0):
            plane[...] = ndimage.binary_fill_holes(plane)
    return resample(tissue.astype(np.float32), image.shape) > 0.5  # type: ignore[arg-type]


def depth_within(mask: np.ndarray, step: Sequence[float]) -> np.ndarray:
    """Distance in mm of each voxel of a mask to what is outside it, the array's edge included."""
    return ndimage.distance_transform_edt(np.pad(mask, 1), step)[(slice(1, -1),) * mask.ndim]
