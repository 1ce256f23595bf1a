"""The reviews of this user that were begun and neither finished nor forgotten."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..review import journal_path
from .settings import remember, remembered

_NAME = "open_reviews"
_MOST = 8  # the oldest is no longer offered then


@dataclass(frozen=True)
class OpenReview:
    """A review: the folder and subject of its journal, and its FLAIR's file where it has one."""

    folder: Path
    subject: str
    flair: Path | None

    @property
    def journal(self) -> Path:
        """Where its journal stands."""
        return journal_path(self.folder, self.subject)


def open_reviews() -> list[OpenReview]:
    """Those whose journal is there, the one that was opened last first."""
    return [each for each in _stored() if each.journal.is_file()]


def remember_open(review: OpenReview) -> None:
    """Put a review at the head of the list."""
    others = [each for each in _stored() if (each.folder, each.subject) != (review.folder, review.subject)]
    _store([review, *others][:_MOST])


def forget(folder: Path, subject: str) -> None:
    """Take a review off the list, if it is on it."""
    gone = (folder.absolute(), subject)
    _store([each for each in _stored() if (each.folder, each.subject) != gone])


def _stored() -> list[OpenReview]:
    """All of the list; what another version or a person wrote into it and makes no sense is left out."""
    found = remembered(_NAME, [])
    return [
        OpenReview(Path(row[0]), row[1], Path(row[2]) if row[2] else None)
        for row in (found if isinstance(found, list) else [])
        if _makes_sense(row)
    ]


def _makes_sense(row: Any) -> bool:
    return (
        isinstance(row, list)
        and len(row) == 3
        and all(isinstance(cell, str) for cell in row)
        and row[1].isascii()
        and row[1].isalnum()
    )


def _store(reviews: list[OpenReview]) -> None:
    remember(_NAME, [[str(each.folder), each.subject, str(each.flair or "")] for each in reviews])
