"""Who is trained on and who is not: splits by patient, stated by a listing or drawn by a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from LesionSegmenterLib.errors import InputError

from .cases import CaseEntry


@dataclass(frozen=True)
class SplitSettings:
    """Shares of the patients that are drawn for validation and for testing; the rest is trained on."""

    validation: float = 0.2
    test: float = 0.0


def check_splits(entries: Iterable[CaseEntry], listing: Path | None = None) -> None:
    """Raise InputError where one patient stands in two splits."""
    splits: dict[str, str] = {}
    for entry in entries:
        if splits.setdefault(entry.patient, entry.split) != entry.split:
            raise InputError(f"patient {entry.patient} stands in two splits", listing, "Keep each in one")


def draw_splits(entries: list[CaseEntry], settings: SplitSettings, seed: int) -> list[CaseEntry]:
    """The entries, each with a split: as stated, or drawn for its patient where none is.

    Patients are put in the order of a hash of seed and name; the first share validates, the next tests. So a
    patient's place depends neither on the order of the folders nor, but at the edges of the shares, on who
    else is there. A patient of whom one case states a split follows it; of two patients or more, one at least
    is drawn for validation.
    """
    stated = {entry.patient: entry.split for entry in entries if entry.split}
    free = sorted(
        {entry.patient for entry in entries} - stated.keys(),
        key=lambda patient: hashlib.sha256(f"{seed}:{patient}".encode()).digest(),
    )
    validate, test = (round(share * len(free)) for share in (settings.validation, settings.test))
    if settings.validation and len(free) > 1:
        validate = max(1, validate)
    drawn = dict.fromkeys(free, "train")
    drawn |= dict.fromkeys(free[:validate], "validation")
    drawn |= dict.fromkeys(free[validate : validate + test], "test")
    return [replace(e, split=e.split or stated.get(e.patient) or drawn[e.patient]) for e in entries]
