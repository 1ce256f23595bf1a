"""A rater's own copy of a case: written from a review, and read back to go on with.

``OUT/rater-NAME`` is a derivative folder for each rater, whose cases are as the contract of `export` says.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .export import CaseData, CaseFiles, VolumeWriter, bids_label, case_paths, complete_subjects, write_case
from .lesions import LesionMap
from .measure import scan_type
from .review import ReviewSession

KeepFlair = Literal["path", "copy", "link"]
"""Whether the FLAIR's path is recorded alone, or the FLAIR is also copied or linked into the case."""


def rater_folder(out: str | Path, rater: str) -> Path:
    """Where a rater's cases stand: ``rater-NAME`` in ``out``, NAME being its letters and digits.

    Raises InputError where the name has none; where the folder, whatever its upper and lower case, holds
    cases that are not this rater's, as two names may be alike in letters and digits; or where the sidecar of
    one of them is damaged.
    """
    label = bids_label(rater)
    if not label:
        raise InputError(f"the rater's name {rater!r} has no letter A-Z and no digit", todo="Add initials")
    folder = Path(out) / f"rater-{label}"
    for taken in sorted(Path(out).glob("rater-*")):
        if taken.name.casefold() == folder.name.casefold():  # one folder, on many file systems
            for subject in complete_subjects(taken):
                owner = _owner(case_paths(taken, subject)["sidecar"])
                if owner is None or _plain(owner) != _plain(rater):
                    raise InputError(
                        f"this folder holds cases of {'no rater' if owner is None else repr(owner)}",
                        taken,
                        f"Let {rater!r} go by a name that differs in its letters, or choose another folder",
                    )
    return folder


def write_review(
    session: ReviewSession,
    out: str | Path,
    subject: str,
    writer: VolumeWriter,
    flair: str | Path,
    origin: Mapping[str, Any] | None = None,
    qc_png: bytes | None = None,
    keep_flair: KeepFlair = "path",
) -> dict[str, Path]:
    """Write a case under review to the folder of its rater, whose earlier copy of it is replaced.

    Rejected lesions stay in the table and have no voxels in the images. The sidecar is that of the case as it
    came from the model, with the rater, the history of all actions, the seconds spent (in all and by lesion),
    the notes on lesions, the next free id, whether every lesion was reviewed, and the scan's type as it is
    now. The lesions are saved in the journal first, so that the copy, when it is opened, is known as this
    review's.

    Parameters
    ----------
    out : folder in which those of the raters stand
    origin : the sidecar of the case that was opened, if it had one
    writer, flair, keep_flair : as in `export.write_case`
    qc_png : the picture's bytes

    Returns
    -------
    The files by name.

    Raises
    ------
    InputError : as `rater_folder` and `export.write_case`, or if the journal cannot be written.
    """
    folder = rater_folder(out, session.rater)
    session.save()
    lesions = session.lesions
    types, instances = lesions.exported()
    records, progress = list(lesions.records.values()), session.progress()
    kind = scan_type(records)
    seconds = {str(lesion_id): round(s, 3) for lesion_id, s in session.seconds_by_lesion().items()}
    sidecar = {
        **(origin or {}),
        "scan_type": kind.label if kind else None,
        "reviewed": progress.reviewed == progress.total,
        **session.history(),
        "seconds_by_lesion": seconds,
        "next_id": lesions.next_id,
    }
    data = CaseData(subject, types, instances, lesions.probability, records, sidecar, qc_png)
    return write_case(folder, data, writer, flair, keep_flair)


def read_review(
    case: CaseFiles,
    ids: npt.NDArray[np.int32],
    affine: npt.NDArray[Any],
    probability: npt.NDArray[Any] | None = None,
) -> LesionMap:
    """The lesions of a case folder as they were exported: ids, types, statuses, notes and parents.

    The voxels of rejected lesions were not exported: they come back as records alone, and to restore one it
    has to be drawn anew. (A session that is resumed from its journal has them still.) Measures are rounded
    as the table states them.

    Parameters
    ----------
    case : as `export.read_case` gives it
    ids : (i, j, k) int32
        Its image of lesion ids. The map takes the array over.
    affine : (4, 4)
        Voxel indices to RAS mm.
    probability : (i, j, k), 0..1

    Raises
    ------
    InputError : if image, table and probability map do not fit each other.
    """
    try:
        return LesionMap.from_arrays(ids, affine, case.records, case.next_id, probability)
    except InputError as error:
        raise InputError(error.what, case.paths["lesions"], error.todo) from error


def _owner(sidecar: Path) -> str | None:
    """The rater that the sidecar of a case names."""
    try:
        rater = json.loads(sidecar.read_text(encoding="utf-8")).get("rater")
    except (OSError, ValueError, AttributeError) as error:
        raise InputError("this sidecar is damaged", sidecar, "Move its case away, then export") from error
    return rater if isinstance(rater, str) else None


def _plain(name: str) -> str:
    """A name in one spelling of its accents and spaces."""
    return " ".join(unicodedata.normalize("NFC", name).split())
