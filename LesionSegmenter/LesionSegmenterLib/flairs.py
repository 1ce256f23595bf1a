"""The FLAIRs of a folder: a BIDS data set, or plain NIfTI files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from .errors import InputError
from .export import subject_id

_BIDS = ("sub-*/anat/*_FLAIR.nii*", "sub-*/ses-*/anat/*_FLAIR.nii*")
_ENDINGS = (".nii", ".nii.gz")


def find_flairs(folder: Path) -> dict[str, Path]:
    """The FLAIRs of a BIDS data set, or all NIfTI files of a plain folder, by subject, sorted by path.

    The subject is that of the file's name: BIDS subject and session together (``sub-01_ses-02`` is
    ``01ses02``), else the name's letters and digits. InputError where there are none, or where two files
    give one subject.
    """
    if not folder.is_dir():
        raise InputError("there is no such folder of FLAIRs", folder, "For a single image use segment")
    paths = _images(path for pattern in _BIDS for path in folder.glob(pattern)) or _images(folder.iterdir())
    if not paths:
        raise InputError(
            "no FLAIR here: neither NIfTI files nor sub-*/anat/*_FLAIR.nii.gz", folder, "Check the path"
        )
    flairs: dict[str, Path] = {}
    for path in paths:
        subject = flair_subject(path)
        if subject in flairs:
            raise InputError(
                f"{flairs[subject].name} and {path.name} would both be subject {subject}",
                folder,
                "Rename one, or move what is not a FLAIR elsewhere",
            )
        flairs[subject] = path
    return flairs


def flair_subject(path: Path) -> str:
    """The subject that a FLAIR's file name gives; see `find_flairs`. InputError where it gives none."""
    session = re.match(r"(sub-[A-Za-z0-9]+)_ses-([A-Za-z0-9]+)", path.name)
    return subject_id(session[1]) + f"ses{session[2]}" if session else subject_id(path.name)


def _images(paths: Iterable[Path]) -> Sequence[Path]:
    return sorted(
        path for path in paths if path.name.lower().endswith(_ENDINGS) and not path.name.startswith(".")
    )
