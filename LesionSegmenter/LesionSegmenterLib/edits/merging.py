"""Making one lesion of several, and none of some."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..lesions import Change, LesionMap
from .planning import change_of_voxels, in_use, known


def merge(lesions: LesionMap, ids: Iterable[int]) -> Change:
    """Merge lesions, whether they touch or not, into the one with the most voxels (the lowest id of equals).

    It keeps its id, type and type confidence, becomes ``edited``, and gets the others' ids as further parents
    and their notes after its own. The volume is the sum.

    Raises InputError for fewer than two lesions, or an unknown or rejected one.
    """
    records = in_use(lesions, ids)
    if len(records) < 2:
        raise InputError(f"only lesion {records[0].lesion_id} is chosen", todo="Choose two or more to merge")
    first, *rest = sorted(records, key=lambda record: (-record.voxels, record.lesion_id))
    others = sorted(record.lesion_id for record in rest)
    notes = dict.fromkeys(record.note for record in (first, *rest) if record.note)
    heir = replace(first, status="edited", parents=(*first.parents, *others), note="; ".join(notes))
    voxels = np.sort(np.concatenate([lesions.voxels(lesion_id) for lesion_id in others]), kind="stable")
    after = np.full(voxels.size, first.lesion_id)
    return change_of_voxels(lesions, voxels, after, {first.lesion_id: heir}, gone=others)


def delete(lesions: LesionMap, ids: Iterable[int]) -> Change:
    """Remove lesions with their records; their volume is gone and their ids are not given again.

    Raises InputError for an unknown lesion.
    """
    gone = [record.lesion_id for record in known(lesions, ids)]
    voxels = np.sort(np.concatenate([lesions.voxels(lesion_id) for lesion_id in gone]), kind="stable")
    return change_of_voxels(lesions, voxels, np.zeros(voxels.size, np.int32), {}, gone=gone)
