"""Edits of what is said of lesions: type, status and note. No voxel changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..errors import InputError
from ..labels import LesionType
from ..lesions import Change, LesionMap
from .planning import change_of_records, known

_SETTABLE = ("proposed", "accepted", "rejected")  # "edited" is what an edit leaves behind


def relabel(lesions: LesionMap, ids: Iterable[int], type: LesionType) -> Change:
    """Give lesions another type; those that have it already are left alone.

    The lesions become ``edited`` (rejected ones stay rejected) and their type confidence None: that is a
    classifier's, and a person's word is not one.

    Raises InputError for an unknown lesion, or if all have that type.
    """
    return change_of_records(
        lesions,
        (
            replace(
                record,
                type=LesionType(type),
                type_confidence=None,
                status="rejected" if record.status == "rejected" else "edited",
            )
            for record in known(lesions, ids)
            if record.type != type
        ),
    )


def set_status(lesions: LesionMap, ids: Iterable[int], status: str) -> Change:
    """Set the status of lesions to ``proposed``, ``accepted`` or ``rejected``.

    A rejected lesion keeps its record and its voxels, which others may take; it is left out of what is
    exported.

    Raises InputError for another status, an unknown lesion, one that has no voxels left to come back with,
    or if all have that status.
    """
    if status not in _SETTABLE:
        raise InputError(f"unknown status {status!r}", todo=f"Choose one of {', '.join(_SETTABLE)}")
    records = known(lesions, ids)
    for record in records:
        if status != "rejected" and not lesions.voxels(record.lesion_id).size:
            raise InputError(f"rejected lesion {record.lesion_id} has no voxels left", todo="Draw it anew")
    return change_of_records(lesions, (replace(record, status=status) for record in records))


def accept(lesions: LesionMap, ids: Iterable[int]) -> Change:
    """Accept lesions as they are; as `set_status`."""
    return set_status(lesions, ids, "accepted")


def reject(lesions: LesionMap, ids: Iterable[int]) -> Change:
    """Reject lesions; as `set_status`."""
    return set_status(lesions, ids, "rejected")


def restore(lesions: LesionMap, ids: Iterable[int]) -> Change:
    """Bring rejected lesions back as ``proposed``, to be judged anew.

    Raises InputError as `set_status`, and for a lesion that is not rejected.
    """
    records = known(lesions, ids)
    for record in records:
        if record.status != "rejected":
            raise InputError(f"lesion {record.lesion_id} is not rejected", todo="There is nothing to restore")
    return set_status(lesions, [record.lesion_id for record in records], "proposed")


def annotate(lesions: LesionMap, ids: Iterable[int], note: str) -> Change:
    """Write a note to lesions in place of the one they have; an empty one removes it. Status stays.

    Raises InputError for an unknown lesion, or if all have that note.
    """
    return change_of_records(lesions, (replace(record, note=note) for record in known(lesions, ids)))
