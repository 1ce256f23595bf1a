"""How far each FLAIR of a folder is: segmented, reviewed, exported. Needs no engine and no window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .actions import Action
from .errors import InputError
from .export import case_paths
from .lesions_tsv import read_lesions_tsv
from .review import ReviewSession, journal_path

EXPORT = "Export"
"""Tool of the note that an export leaves in the journal."""


@dataclass(frozen=True)
class WorkItem:
    """One FLAIR and the case that is made of it.

    segmented : there is a complete case.
    reviewed, total : lesions, of how many; both 0 before it is segmented.
    exported : a rater exported the case, and nothing was edited since.
    trouble : why the case cannot be read; empty where it can.
    """

    subject: str
    flair: Path
    segmented: bool = False
    reviewed: int = 0
    total: int = 0
    exported: bool = False
    trouble: str = ""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do: all lesions are reviewed, and that was exported."""
        return self.exported and self.reviewed == self.total


def work_item(subject: str, flair: Path, cases: Path) -> WorkItem:
    """How far one FLAIR is, by the files in the folder of cases; what is damaged is told in ``trouble``."""
    paths, journal = case_paths(cases, subject), journal_path(cases, subject)
    if not paths["sidecar"].is_file():
        return WorkItem(subject, flair)
    try:
        if journal.is_file():
            session = ReviewSession.read(journal)
            progress = session.progress()
            exported = is_exported(session.actions)
            return WorkItem(subject, flair, True, progress.reviewed, progress.total, exported)
        return WorkItem(subject, flair, True, 0, len(read_lesions_tsv(paths["lesions"])))
    except InputError as error:
        return WorkItem(subject, flair, True, trouble=str(error))


def next_work(items: Sequence[WorkItem], current: str | None) -> WorkItem | None:
    """The first that is not done after the current subject, from the top again behind the last; else None."""
    subjects = [item.subject for item in items]
    start = subjects.index(current) + 1 if current in subjects else 0
    order = [*items[start:], *items[:start]]
    return next((item for item in order if not item.is_done and item.subject != current), None)


def is_exported(actions: Sequence[Action]) -> bool:
    """Whether a review was exported after its last edit."""
    for action in reversed(actions):
        if action.kind == "note" and action.tool == EXPORT:
            return True
        if action.kind in ("do", "undo", "redo"):
            return False
    return False
