"""Painted lesions: new ones, and others in place of what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..labels import LesionType
from ..lesions import Box, Change, LesionMap, LesionRecord, Voxels
from .planning import change_of_voxels, in_use, new_ids, voxels_in


def add(lesions: LesionMap, mask: npt.NDArray[Any], type: LesionType, box: Box | None = None) -> Change:
    """Make a new lesion of painted voxels; those of other lesions stay theirs, those of rejected ones do not.

    Its status is ``edited`` and it has no parents; its id is ``lesions.next_id``.

    Parameters
    ----------
    mask : (i, j, k)
        Painted voxels are not 0; of the volume's shape, or of the box's.
    type : the new lesion's
    box : (i, j, k) slices with start and stop
        Where the mask lies in the volume; None if it covers all of it.

    Raises
    ------
    InputError : if the mask does not fit, is empty, or lies wholly within other lesions.
    """
    painted = _painted(lesions, mask, box)
    if not painted.size:
        raise InputError("nothing is painted", todo="Paint the lesion first")
    free = painted[_ids_of_others(lesions, painted) == 0]
    if not free.size:
        raise InputError(
            "every painted voxel belongs to a lesion already", todo="Redraw or split that lesion instead"
        )
    (lesion_id,) = new_ids(lesions, 1)
    heir = LesionRecord(lesion_id, LesionType(type), 0.0, 0, (0.0, 0.0, 0.0), 0.0, status="edited")
    return change_of_voxels(lesions, free, np.full(free.size, lesion_id), {lesion_id: heir})


def redraw(
    lesions: LesionMap,
    lesion_id: int,
    mask: npt.NDArray[Any],
    box: Box | None = None,
    may_eat_neighbours: bool = False,
) -> Change:
    """Replace a lesion's voxels, all of them, with what was painted; mask and box are those of `add`.

    Painted voxels of its neighbours stay theirs unless it may eat them; those of rejected lesions are free.
    A neighbour that loses voxels becomes ``edited``; one that loses all goes, and is a parent of this lesion.

    Raises
    ------
    InputError : for an unknown or rejected lesion, a mask that does not fit or leaves the lesion without
        voxels, or if it has these voxels already.
    """
    in_use(lesions, [lesion_id])
    return change_to(lesions, lesion_id, _painted(lesions, mask, box), may_eat_neighbours)


def change_to(lesions: LesionMap, lesion_id: int, wanted: Voxels, may_eat_neighbours: bool) -> Change:
    """Give a lesion other voxels, as `redraw` does; InputError where it would be left without."""
    if not may_eat_neighbours:
        wanted = wanted[_ids_of_others(lesions, wanted, lesion_id) == 0]
    if not wanted.size:
        raise InputError(f"lesion {lesion_id} would have no voxels left", todo="Delete it instead")
    own = lesions.voxels(lesion_id)
    kept = lesions.ids[np.unravel_index(wanted, lesions.shape)] == lesion_id
    lost, gained = np.delete(own, np.searchsorted(own, wanted[kept])), wanted[~kept]
    places = np.searchsorted(lost, gained)
    voxels = np.insert(lost, places, gained)
    after = np.insert(np.zeros(lost.size, np.int32), places, lesion_id)
    record = lesions.records[lesion_id]
    parents = (*record.parents, *_wholly_in(lesions, wanted, lesion_id))
    heir = replace(record, status="edited", parents=parents)
    return change_of_voxels(lesions, voxels, after, {lesion_id: heir})


def _painted(lesions: LesionMap, mask: npt.NDArray[Any], box: Box | None) -> Voxels:
    """The voxels that a mask marks; InputError where it does not fit its box, or that the volume."""
    if box is None:
        box = _whole(lesions.shape)
    inside = all(0 <= side.start <= side.stop <= size for side, size in zip(box, lesions.shape, strict=True))
    if not inside or mask.shape != tuple(side.stop - side.start for side in box):
        raise InputError(
            f"a mask of shape {mask.shape} does not fit there in lesions of shape {lesions.shape}",
            todo="Resample it onto the grid of the FLAIR",
        )
    return voxels_in(mask, box, lesions.shape)


def _whole(shape: Sequence[int]) -> Box:
    i, j, k = (slice(0, size) for size in shape)
    return i, j, k


def _ids_of_others(lesions: LesionMap, voxels: Voxels, lesion_id: int = 0) -> npt.NDArray[np.int32]:
    """The ids of voxels, with 0 for those of the lesion itself and of rejected ones."""
    ids = lesions.ids[np.unravel_index(voxels, lesions.shape)]
    rejected = [
        other for other in np.unique(ids).tolist() if other and lesions.records[other].status == "rejected"
    ]
    return np.where(np.isin(ids, [lesion_id, *rejected]), 0, ids)


def _wholly_in(lesions: LesionMap, voxels: Voxels, lesion_id: int) -> list[int]:
    """The other lesions, not rejected, that have no voxel outside of these."""
    others, counts = np.unique(_ids_of_others(lesions, voxels, lesion_id), return_counts=True)
    pairs = zip(others.tolist(), counts.tolist(), strict=True)
    return [other for other, count in pairs if other and count == lesions.records[other].voxels]
