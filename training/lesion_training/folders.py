"""Cases of the folders that a user names: listings, exported case folders, and BIDS data sets."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.export import CaseFiles, complete_subjects, read_case
from LesionSegmenterLib.labels import LesionType

from .cases import CaseEntry
from .listing import LISTING, LISTINGS, read_listing
from .splits import SplitSettings, check_splits, draw_splits

Unreviewed = Literal["ignore", "count"]
_WHAT = f"Give a folder with {LISTING}, of exported cases, or a BIDS data set with lesion masks"
_NIFTI = re.compile(r"\.nii(\.gz)?$")


def find_entries(
    folders: Sequence[Path],
    *,
    listing: str | None = None,
    unreviewed: Unreviewed = "ignore",
    split: SplitSettings | None = None,
    seed: int = 0,
    warn: Callable[[str], None] = lambda _: None,
) -> list[CaseEntry]:
    """All cases of the folders, each with its split.

    A folder is, whichever it first is: one with a listing of its own, one exported case (``sub-ID``), one of
    exported cases, a BIDS data set or derivative with masks, or the root of the package's ``listing``.

    Of exported cases, lesions that were rejected are background; those that nobody has looked at are left
    out of the loss, or counted as they are with ``unreviewed`` = ``count``; a case in which nothing was
    reviewed is left out. InputError for a folder without a case, an image without its mask, and where one
    patient stands in two splits.
    """
    entries = []
    for folder in folders:
        if not folder.is_dir():
            raise InputError("no such folder of cases", folder)
        entries += _of_folder(folder, listing, unreviewed, warn)
    if not entries:  # only exported cases are ever left out
        raise InputError(
            "no exported case here has been reviewed",
            ", ".join(map(str, folders)),
            "Review and export some in Slicer, or count unreviewed lesions with --unreviewed count",
        )
    entries = draw_splits(entries, split or SplitSettings(), seed)
    check_splits(entries)
    return entries


def of_split(entries: list[CaseEntry], split: str, folders: Sequence[Path]) -> list[CaseEntry]:
    """The entries of one split; InputError where there are none."""
    chosen = [entry for entry in entries if entry.split == split]
    if not chosen:
        raise InputError(f"no case of split {split!r}", ", ".join(map(str, folders)), "Add cases")
    return chosen


def _of_folder(
    folder: Path, listing: str | None, unreviewed: Unreviewed, warn: Callable[[str], None]
) -> list[CaseEntry]:
    if (folder / LISTING).is_file():
        return read_listing(folder / LISTING, folder)
    if exported := _exports(folder):
        return _exported(*exported, unreviewed, warn)
    if images := _bids_images(folder):
        return [_bids_entry(folder, image) for image in images]
    if listing is None:
        raise InputError("there is no case in this folder", folder, _WHAT)
    if (LISTINGS / listing).is_file() and not _holds_any(folder, LISTINGS / listing):
        raise InputError(f"there is no case in this folder, nor any that {listing} lists", folder, _WHAT)
    return read_listing(LISTINGS / listing, folder)


def _holds_any(folder: Path, listing: Path) -> bool:
    with listing.open(newline="", encoding="utf-8") as file:
        return any((folder / row["image"]).is_file() for row in csv.DictReader(file, delimiter="\t"))


# Exported cases


def _exports(folder: Path) -> tuple[Path, list[str]] | None:
    """Where exported cases stand and which: in the folder, in that of its only rater, or it is one itself."""
    if subjects := complete_subjects(folder):
        return folder, subjects
    subject = folder.name.removeprefix("sub-")
    if subject != folder.name and subject in complete_subjects(folder.parent):
        return folder.parent, [subject]
    raters = [path for path in sorted(folder.glob("rater-*")) if complete_subjects(path)]
    if len(raters) > 1:
        names = ", ".join(path.name for path in raters)
        raise InputError(f"this folder holds cases of several raters: {names}", folder, "Name one of them")
    return (raters[0], complete_subjects(raters[0])) if raters else None


def _exported(
    folder: Path, subjects: list[str], unreviewed: Unreviewed, warn: Callable[[str], None]
) -> list[CaseEntry]:
    entries = []
    for subject in subjects:
        case = read_case(folder, subject)
        seen = any(record.status != "proposed" for record in case.records)
        if not seen and not case.sidecar.get("reviewed") and unreviewed == "ignore":
            warn(f"{folder}: subject {subject} was left out: nobody has reviewed it")
            continue
        entries.append(_exported_entry(folder, case, unreviewed))
    return entries


def _exported_entry(folder: Path, case: CaseFiles, unreviewed: Unreviewed) -> CaseEntry:
    if not case.flair.is_file():
        raise InputError(
            f"the FLAIR of subject {case.subject} is not where it was: {case.flair}",
            case.paths["sidecar"],
            "Put it back, or export with a copy of it",
        )
    settings = case.sidecar.get("settings")
    t1 = settings.get("t1") if isinstance(settings, dict) else None
    ids = {
        status: tuple(record.lesion_id for record in case.records if record.status == status)
        for status in ("proposed", "rejected")
    }
    own = {int(kind): kind for kind in LesionType}
    return CaseEntry(
        case=case.subject,
        patient=_patient(case.subject),
        split="",
        image=case.flair,
        mask=case.paths["types"],
        type=LesionType.LESION,
        dataset=folder.name,
        lesion_values=tuple(own),
        typed=own,
        t1=Path(t1) if isinstance(t1, str) and Path(t1).is_file() else None,
        instances=case.paths["instances"],
        unreviewed=ids["proposed"] if unreviewed == "ignore" else (),
        rejected=ids["rejected"],
    )


def _patient(subject: str) -> str:
    """The patient of a case: a subject without the session that ``batch`` appends (``01ses02`` is ``01``)."""
    return re.sub(r"(?<=.)ses[A-Za-z0-9]+$", "", subject)


# BIDS


def _bids_images(folder: Path) -> list[Path]:
    """FLAIRs of a data set, or of the raw data that a derivative in it was made of."""
    for root in (folder, *([folder.parents[1]] if folder.parent.name == "derivatives" else [])):
        found = [
            path
            for pattern in ("sub-*/anat/*_FLAIR.nii*", "sub-*/ses-*/anat/*_FLAIR.nii*")
            for path in sorted(root.glob(pattern))
            if _NIFTI.search(path.name)
        ]
        if found:
            return found
    return []


def _bids_entry(folder: Path, image: Path) -> CaseEntry:
    """The case of a BIDS image, whose mask stands in the data set or in one of its derivatives.

    A ``_mask`` is of the type that its ``label-`` entity names; a ``_dseg`` holds the values that its table
    (``_dseg.tsv`` with index and name) names, else the case folder's. A T1 beside the image is taken too.
    """
    entities = re.match(r"sub-([A-Za-z0-9]+)(?:_ses-([A-Za-z0-9]+))?", image.name)
    if entities is None:
        raise InputError("the file name does not begin with sub-", image, "Name it as BIDS does")
    subject, session = entities.groups()
    anat = Path(f"sub-{subject}", *([f"ses-{session}"] if session else []), "anat")
    mask = _bids_mask(folder, anat, entities[0], image)
    entry = CaseEntry(
        case=subject + (f"ses{session}" if session else ""),
        patient=subject,
        split="",
        image=image,
        mask=mask,
        type=LesionType.LESION,
        dataset=folder.name,
        t1=next((path for path in sorted(image.parent.glob(f"{entities[0]}*_T1w.nii*"))), None),
    )
    if _NIFTI.sub("", mask.name).endswith("_mask"):
        label = re.search(r"_label-([A-Za-z0-9]+)", mask.name)
        kind = _known_type(label[1], mask) if label else LesionType.LESION
        return replace(entry, lesion_values=(1,), type=kind)
    typed = _dseg_types(mask)
    return replace(entry, lesion_values=tuple(typed), typed=typed)


def _bids_mask(folder: Path, anat: Path, prefix: str, image: Path) -> Path:
    found = [
        path
        for root in (folder, *sorted((folder / "derivatives").glob("*")))
        for path in sorted((root / anat).glob(f"{prefix}_*.nii*"))
        if _NIFTI.sub("", path.name).endswith(("_mask", "_dseg"))
        and not re.search("instance|brain", path.name)
    ]
    if not found:
        raise InputError("this image has no lesion mask", image, "Add its _mask or _dseg, or take it away")
    if len(found) > 1:
        names = f"{found[0].name} and {found[1].name}"
        raise InputError(f"this image has several lesion masks: {names}", image, "Name one in a cases.tsv")
    return found[0]


def _dseg_types(mask: Path) -> dict[int, LesionType]:
    table = mask.with_name(_NIFTI.sub(".tsv", mask.name))
    if not table.is_file():
        return {int(kind): kind for kind in LesionType}
    with table.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    try:
        named = {int(row["index"]): row["name"] for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("this table needs whole numbers in index and text in name", table) from error
    return {
        value: _known_type(name, table)
        for value, name in named.items()
        if value and name.strip().lower() != "background"
    }


def _known_type(label: str, where: Path) -> LesionType:
    try:
        return LesionType.from_label(label)
    except ValueError as error:
        raise InputError(str(error), where) from error
