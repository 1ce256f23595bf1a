"""What was done in a review: who did what to which lesions, when, with which tool, and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .lesions import LesionRecord
from .snapshot import CaseState
from .strict_json import parse

Kind = Literal["begin", "resume", "do", "undo", "redo", "note", "save"]


@dataclass(frozen=True)
class Action:
    """One line of a review's history.

    kind : the review was begun or resumed; an edit was done, undone or redone; a note; the state was saved.
    name : of the edit as the user reads it, or the note.
    time : UTC, ISO 8601.
    seconds : since the action before it, or the opening; see `review.IDLE_SECONDS`.
    before, after : ids of the lesions touched that existed before and after it.
    state : of the lesions, where the whole of them is stored with this action.
    """

    kind: Kind
    name: str
    tool: str
    rater: str
    time: str
    seconds: float
    before: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    state: CaseState | None = None

    @property
    def lesions(self) -> list[int]:
        """Ids of all lesions touched, ascending."""
        return sorted({*self.before, *self.after})

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` gives the action back."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Action:
        """What `to_json` gave; ValueError, naming the key, for anything else."""
        return parse(content, cls)


@dataclass(frozen=True)
class Progress:
    """Lesions reviewed (accepted, rejected or edited), of how many there are, and seconds spent."""

    reviewed: int
    total: int
    seconds: float


def progress(records: Iterable[LesionRecord], actions: Iterable[Action]) -> Progress:
    """How far a review is."""
    reviewed = [record.status != "proposed" for record in records]
    return Progress(sum(reviewed), len(reviewed), round(sum(action.seconds for action in actions), 3))


def seconds_by_lesion(actions: Iterable[Action]) -> dict[int, float]:
    """Seconds spent on each lesion, by ascending id, lesions that no longer exist included.

    The time of an action goes in equal parts to the lesions that it found; that of one which found none (a
    lesion was added) to those it made. Notes and the like count for no lesion.
    """
    seconds: dict[int, float] = {}
    for action in actions:
        found = action.before or action.after
        for lesion_id in found:
            seconds[lesion_id] = seconds.get(lesion_id, 0.0) + action.seconds / len(found)
    return dict(sorted(seconds.items()))
