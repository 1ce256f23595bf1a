"""Exported cases, and how much each holds to learn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from ..errors import InputError
from ..export import complete_subjects, read_case
from ..labels import LesionType


@dataclass(frozen=True)
class ExportedCase:
    """One case of a folder.

    counts : lesions by type, without those that were rejected.
    reviewed, total : lesions that somebody has looked at, and all.
    trouble : why the case cannot be read; empty where it can.
    """

    subject: str
    counts: Counter[LesionType]
    reviewed: int = 0
    total: int = 0
    trouble: str = ""

    @property
    def is_reviewed(self) -> bool:
        """Whether somebody has looked at every lesion."""
        return not self.trouble and self.reviewed == self.total


def exported_cases(folder: Path) -> tuple[Path, list[ExportedCase]]:
    """The folder that holds the cases, and these by subject; for one of a single rater's folder that folder.

    Raises InputError where there is no case, or more than one rater.
    """
    subjects = complete_subjects(folder)
    raters = [] if subjects else [path for path in sorted(folder.glob("rater-*")) if complete_subjects(path)]
    if len(raters) > 1:
        names = ", ".join(path.name for path in raters)
        raise InputError(
            _("this folder holds cases of several raters"),
            folder,
            _("Choose one: {names}").format(names=names),
        )
    if raters:
        folder, subjects = raters[0], complete_subjects(raters[0])
    if not subjects:
        raise InputError(
            _("there is no exported case in this folder"),
            folder,
            _("Choose the folder of the Export section"),
        )
    return folder, [_case(folder, subject) for subject in subjects]


def _case(folder: Path, subject: str) -> ExportedCase:
    try:
        case = read_case(folder, subject)
    except InputError as error:
        return ExportedCase(subject, Counter(), trouble=str(error))
    records = case.records
    seen = sum(record.status != "proposed" for record in records)
    # A case without lesions is reviewed where its sidecar says so: there is nothing to look at one by one.
    if not records and not case.sidecar.get("reviewed"):
        return ExportedCase(subject, Counter(), 0, 1)
    counts = Counter(record.type for record in records if record.status != "rejected")
    return ExportedCase(subject, counts, seen, len(records))


def counts_text(counts: Counter[LesionType]) -> str:
    """Lesions by type: ``12 WMH, 3 stroke``."""
    return ", ".join(f"{counts[kind]} {kind.label}" for kind in LesionType if counts[kind]) or _("none")


def summary(cases: Iterable[ExportedCase]) -> str:
    """What some cases hold together."""
    cases = list(cases)
    counts = sum((case.counts for case in cases), Counter[LesionType]())
    reviewed = sum(case.is_reviewed for case in cases)
    return _("Chosen cases: {cases}, reviewed throughout: {reviewed}. Lesions: {counts}").format(
        cases=len(cases), reviewed=reviewed, counts=counts_text(counts)
    )
