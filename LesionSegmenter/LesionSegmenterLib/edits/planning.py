"""What every edit needs: the lesions asked for, new ids, and a change with its lesions measured again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..instances.components import renumber
from ..lesions import Box, Change, LesionMap, LesionRecord, Voxels, box_of
from ..measure import measured

_LARGEST_ID = int(np.iinfo(np.int32).max)


def known(lesions: LesionMap, ids: Iterable[int]) -> list[LesionRecord]:
    """The records of some lesions, each once, by ascending id; InputError for none or an unknown one."""
    wanted = sorted(set(ids))
    if not wanted:
        raise InputError("no lesion is chosen", todo="Choose at least one")
    for lesion_id in wanted:
        if lesion_id not in lesions.records:
            raise InputError(f"there is no lesion {lesion_id}", todo="Choose one of the table")
    return [lesions.records[lesion_id] for lesion_id in wanted]


def in_use(lesions: LesionMap, ids: Iterable[int]) -> list[LesionRecord]:
    """As `known`, for edits that reshape: InputError for a rejected lesion too."""
    records = known(lesions, ids)
    for record in records:
        if record.status == "rejected":
            raise InputError(f"lesion {record.lesion_id} is rejected", todo="Restore it first")
    return records


def new_ids(lesions: LesionMap, count: int) -> range:
    """Ids never given before; InputError where int32 has none left."""
    ids = range(lesions.next_id, lesions.next_id + count)
    if ids[-1] > _LARGEST_ID:
        raise InputError(f"lesion ids above {_LARGEST_ID} cannot be stored", todo="Renumber the lesions")
    return ids


def crop(
    lesions: LesionMap, lesion_id: int, margin: int | tuple[int, ...] = 0
) -> tuple[npt.NDArray[np.bool_], Box]:
    """A lesion's voxels as a mask, and the box of the volume that the mask covers.

    The box is the lesion's own, wider by a margin in voxels (one, or one an axis) as far as the volume goes.
    """
    voxels = lesions.voxels(lesion_id)
    box = box_of(voxels, lesions.shape)
    assert box is not None, "a lesion in use has voxels"
    margins = (margin,) * 3 if isinstance(margin, int) else margin
    i, j, k = (
        slice(max(side.start - m, 0), min(side.stop + m, size))
        for side, m, size in zip(box, margins, lesions.shape, strict=True)
    )
    mask = np.zeros(tuple(side.stop - side.start for side in (i, j, k)), bool)
    index = np.unravel_index(voxels, lesions.shape)
    mask[tuple(n - side.start for n, side in zip(index, (i, j, k), strict=True))] = True
    return mask, (i, j, k)


def voxels_in(mask: npt.NDArray[Any], box: Box, shape: tuple[int, ...]) -> Voxels:
    """The voxels of a volume that a mask of one of its boxes marks."""
    index = tuple(n + side.start for n, side in zip(np.nonzero(mask), box, strict=True))
    return np.ravel_multi_index(index, shape).astype(np.int64)  # C order, as nonzero: ascending


def points_mm(lesions: LesionMap, voxels: Voxels) -> npt.NDArray[np.float64]:
    """Voxel centres in RAS mm, (n, 3)."""
    index = np.stack(np.unravel_index(voxels, lesions.shape), axis=1)
    return index @ lesions.affine[:3, :3].T + lesions.affine[:3, 3]


def change_of_records(lesions: LesionMap, records: Iterable[LesionRecord]) -> Change:
    """A change of records alone; those that are the same as before do not count.

    Raises InputError if all are.
    """
    after: dict[int, LesionRecord | None] = {
        record.lesion_id: record for record in records if record != lesions.records[record.lesion_id]
    }
    if not after:
        raise InputError("nothing would change: the lesions chosen are so already")
    before: dict[int, LesionRecord | None] = {lesion_id: lesions.records[lesion_id] for lesion_id in after}
    none = np.zeros(0, np.int32)
    return Change(lesions.shape, none.astype(np.int64), none, none, before, after, lesions.next_id)


def change_of_voxels(
    lesions: LesionMap,
    voxels: Voxels,
    after: npt.NDArray[np.integer],
    heirs: Mapping[int, LesionRecord],
    gone: Collection[int] = (),
) -> Change:
    """A change of voxels, with every lesion it touches measured again.

    A lesion left without voxels goes; a rejected one stays as a record, unless it is named in ``gone``. Of
    the others touched, those not named in ``heirs`` become ``edited``, or stay rejected.

    Parameters
    ----------
    voxels : those that get an id, which may be the one they have
    after : (n,) their ids, 0 for none
    heirs : lesion id -> record
        Type, status, parents and the like of lesions that are new, or keep their id with another record.
    gone : lesions that are to have no record afterwards

    Raises
    ------
    InputError : if no voxel changes its id and no lesion goes.
    """
    before = lesions.ids[np.unravel_index(voxels, lesions.shape)]
    moved = before != after
    voxels, before, new = voxels[moved], before[moved], after[moved].astype(np.int32)
    if not voxels.size and not gone:
        raise InputError("nothing would change: the lesion has these voxels already")
    records_after: dict[int, LesionRecord | None] = dict.fromkeys(gone)
    for lesion_id, own in sorted(lesions.voxels_after(voxels, before, new).items()):
        if lesion_id in gone:
            continue
        record = heirs.get(lesion_id) or lesions.records[lesion_id]
        rejected = record.status == "rejected"
        if own.size:
            status = record.status if lesion_id in heirs or rejected else "edited"
            records_after[lesion_id] = measured(
                replace(record, status=status),
                np.unravel_index(own, lesions.shape),
                lesions.affine,
                lesions.probability,
            )
        else:
            records_after[lesion_id] = record if rejected else None
    records_before = {lesion_id: lesions.records.get(lesion_id) for lesion_id in records_after}
    next_id = max(lesions.next_id, *(lesion_id + 1 for lesion_id in records_after))
    return Change(lesions.shape, voxels, before, new, records_before, records_after, next_id)


def change_to_parts(lesions: LesionMap, lesion_id: int, parts: npt.NDArray[np.integer]) -> Change:
    """Replace a lesion by parts of it, each a new lesion: every voxel goes to one, so the volume stays.

    The new ids go by descending number of voxels, ties by first voxel. The parts have the lesion's type, its
    confidence and note, it as their parent, and status ``edited``.

    Parameters
    ----------
    parts : (n,) 1 or more
        The part of each of the lesion's voxels.

    Raises
    ------
    InputError : if there is one part alone.
    """
    parts = renumber(parts)
    count = int(parts.max())
    if count < 2:
        raise InputError(f"lesion {lesion_id} stays in one part this way", todo="Split it another way")
    given = new_ids(lesions, count)
    whole = lesions.records[lesion_id]
    heirs = {new: replace(whole, lesion_id=new, status="edited", parents=(lesion_id,)) for new in given}
    after = np.asarray(given, np.int32)[parts - 1]
    return change_of_voxels(lesions, lesions.voxels(lesion_id), after, heirs, gone=[lesion_id])
