"""A rough brain mask from the FLAIR alone, for positions relative to the brain and volumes per litre."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from ..instances.components import bounding_box
from .resample import resample

_TISSUE = (-2.0, 3.5)  # normalised intensities of brain tissue and most lesions; scalp fat lies above
_GRID_MM = 2.0
_NECK_MM = 5.0  # bridges thinner than twice this, such as those between brain and scalp, are cut
_BESIDE_MM = 8.0  # left over beside the brain: what its mask may be wrong by, and a little more


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
        tissue = without_holes(tissue, thick if step[thick] > _NECK_MM else 2)
    return resample(tissue.astype(np.float32), image.shape) > 0.5  # type: ignore[arg-type]


def sides_around(mask: np.ndarray, spacing: Sequence[float], multiple: int) -> tuple[slice, slice, slice]:
    """The index of a brain mask (i, j, k) without what lies beside it on the left and right, back and front.

    Scalp, nose and air are cut off, with as much left over as the mask may be wrong by. Up and down nothing
    is: there the mask may end with the cerebellum. What is cut off is a ``multiple`` of voxels a side, so
    that pooling by as many falls as it does on the whole image, mirrored or not.
    """
    box = bounding_box(mask) or tuple(slice(0, n) for n in mask.shape)
    sides = []
    for side, size, step in zip(box[:2], mask.shape, spacing, strict=False):
        margin = int(np.ceil(_BESIDE_MM / step))
        low, high = (max(0, n - margin) // multiple * multiple for n in (side.start, size - side.stop))
        sides.append(slice(low, size - high))
    return sides[0], sides[1], slice(None)


def depth_within(mask: np.ndarray, step: Sequence[float]) -> np.ndarray:
    """Distance in mm of each voxel of a mask to what is outside it, the array's edge included."""
    return ndimage.distance_transform_edt(np.pad(mask, 1), step)[(slice(1, -1),) * mask.ndim]


def without_holes(mask: np.ndarray, axis: int) -> np.ndarray:
    """A mask (i, j, k) whose holes are filled plane by plane, the planes lying across ``axis``.

    What `scipy.ndimage.binary_fill_holes` does to each plane, several times as fast.
    """
    planes = np.moveaxis(mask, axis, 0)
    cross = np.zeros((3, 3, 3), bool)
    cross[1] = ndimage.generate_binary_structure(2, 1)
    pieces, count = ndimage.label(~planes, cross)
    open_pieces = np.zeros(count + 1, bool)
    for side in (0, -1):
        open_pieces[pieces[:, side]] = open_pieces[pieces[:, :, side]] = True
    open_pieces[0] = False
    return np.moveaxis(~open_pieces[pieces], 0, axis)
