"""Growing and shrinking a lesion by a distance in mm."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from ..errors import InputError
from ..lesions import Change, LesionMap
from .drawing import change_to
from .planning import crop, in_use, voxels_in

_TOLERANCE = 1e-5  # spacings come from float32 headers: 0.9999998 mm is 1 mm


def grow(lesions: LesionMap, lesion_id: int, mm: float, may_eat_neighbours: bool = False) -> Change:
    """Add the voxels whose centre lies at most ``mm`` from the centre of one of the lesion's voxels.

    Distances are Euclidean, whatever the spacing. Neighbours are treated as `redraw` does.

    Raises InputError for an unknown or rejected lesion, a length that is not above 0, or where no voxel is
    gained: the length is shorter than a voxel, or neighbours are all around.
    """
    reach = _length(mm)
    in_use(lesions, [lesion_id])
    margin = tuple(math.floor(reach / size) for size in lesions.spacing)
    mask, box = crop(lesions, lesion_id, margin)
    grown = (
        ndimage.distance_transform_edt(~mask, sampling=lesions.spacing) <= reach if not mask.all() else mask
    )
    try:
        return change_to(lesions, lesion_id, voxels_in(grown, box, lesions.shape), may_eat_neighbours)
    except InputError as error:
        raise InputError(
            f"lesion {lesion_id} gains no voxel within {mm:g} mm",
            todo="Grow it by more than a voxel, or let it take its neighbours' voxels",
        ) from error


def shrink(lesions: LesionMap, lesion_id: int, mm: float) -> Change:
    """Remove the voxels whose centre lies at most ``mm`` from the centre of a voxel outside the lesion.

    Distances are Euclidean, whatever the spacing; beyond the volume counts as outside.

    Raises InputError for an unknown or rejected lesion, a length that is not above 0, or where no voxel or
    every voxel would go.
    """
    reach = _length(mm)
    in_use(lesions, [lesion_id])
    mask, box = crop(lesions, lesion_id)
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=lesions.spacing)[1:-1, 1:-1, 1:-1]
    kept = depth > reach
    if not kept.any():
        raise InputError(
            f"lesion {lesion_id} is gone within {mm:g} mm", todo="Shrink it by less, or delete it"
        )
    if np.array_equal(kept, mask):
        raise InputError(f"lesion {lesion_id} loses no voxel within {mm:g} mm", todo="Shrink it by more")
    return change_to(lesions, lesion_id, voxels_in(kept, box, lesions.shape), False)


def _length(mm: float) -> float:
    if not (math.isfinite(mm) and mm > 0):
        raise InputError(f"{mm:g} mm is not a length to grow or shrink by", todo="Give one above 0")
    return mm * (1 + _TOLERANCE)
