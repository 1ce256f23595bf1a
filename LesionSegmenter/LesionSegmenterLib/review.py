"""A review session: edits that can be undone, recorded as they are made, and resumed after a crash."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from . import actions
from .actions import Action, Kind, Progress
from .atomic import writing_error
from .errors import InputError
from .export import case_paths
from .journal import Entry, Journal
from .lesions import Change, LesionMap, LesionRecord
from .snapshot import CaseState, restore, snapshot

IDLE_SECONDS = 120.0
"""The most that counts as work between two actions: whoever does nothing for longer was not there."""

AUTOSAVE_ACTIONS = 50  # replaying so many takes a fraction of a second

_EDITING = ("do", "undo", "redo")
_Recorded = tuple[Action, Entry]


class ReviewSession:
    """A lesion map under review. Make one with `open`; plan edits with `edits` and make them with `do`.

    An action is on the disk before it counts: where it cannot be recorded it is not done, so what the screen
    shows and what the journal holds never differ. Undo and redo read their change back from the journal, so
    they are as deep as it is long, reach back before a crash, and cost no memory.

    lesions : the map, changed by this session alone.
    rater : whose actions these are.
    journal : where they are recorded; its ``path`` and ``end`` say where a saved scene stood, its ``torn``
        that the last action before a crash was cut off and is lost.
    actions : all of the case's, the earliest first, earlier sessions' and other raters' included.
    last_edit : where in the journal the last edit, undo or redo begins (bytes); 0 where there is none.
    """

    def __init__(self, lesions: LesionMap, journal: Journal, recorded: list[_Recorded], rater: str):
        """Bring the lesions to the state that a journal's records lead to; `open` is the way in."""
        self.lesions, self.journal, self.rater = lesions, journal, rater
        self.actions: list[Action] = []
        self.last_edit = 0
        self._done: list[_Recorded] = []
        self._undone: list[_Recorded] = []
        self._unsaved = 0  # edits since the state was last stored as a whole
        self._replay(recorded)
        self._last_action = time.monotonic()

    @classmethod
    def open(cls, lesions: LesionMap, folder: str | Path, rater: str, subject: str) -> ReviewSession:
        """Begin the review of a case, or resume it where its journal ends.

        Parameters
        ----------
        lesions : the case as it was when the review began, or as it was at any `save`
            The session takes the map over and brings it to the state of the last action. A journal has the
            lesions of its own beginning in it, so the records given may have been rounded by a table.
        folder : where the journal stands, as `journal_path`; made if there is none
        rater : name of the person
        subject : letters and digits

        Raises
        ------
        InputError : if no rater is named, the folder cannot be written to, or its journal is of another case,
            damaged before its last record, or of another schema version.
        """
        _check_rater(rater)
        path = journal_path(folder, subject)
        state = CaseState.of(lesions)
        resumed = path.exists()
        if not resumed:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise writing_error(path.parent, error) from error
            begin = Action("begin", "Begin the review", "", rater.strip(), _now(), 0.0, state=state)
            Journal.begin(path, begin.to_json(), snapshot(lesions).to_bytes())
        journal, recorded = _read(path)
        if not any(action.state and state.same_as(action.state) for action, _ in recorded):
            raise InputError(
                "this journal is of another case, or this case was segmented anew since",
                path,
                "Open the case that it belongs to, or move it away to begin a new review",
            )
        session = cls(lesions, journal, recorded, rater.strip())
        if resumed:
            session._resume()
        return session

    @classmethod
    def resume(cls, path: Path, rater: str) -> ReviewSession:
        """Resume a review from its journal alone: its lesions have no probability map.

        Raises InputError as `open`.
        """
        _check_rater(rater)
        session = cls.read(path)
        session.rater = rater.strip()
        session._resume()
        return session

    @classmethod
    def read(cls, path: Path) -> ReviewSession:
        """The review that a journal holds, to look at: nothing is written, and no rater goes on with it.

        Its lesions are the case as the last action left it, without a probability map.

        Raises InputError as `open` does for a journal.
        """
        journal, recorded = _read(path)
        first, state = next((entry, action.state) for action, entry in recorded if action.state)
        shape = Change.from_bytes(journal.payload(first)).shape
        # Not from_arrays, which would go through every voxel of an empty volume.
        lesions = LesionMap(np.zeros(shape[::-1], np.int32).T, np.array(state.affine), {}, 1)
        return cls(lesions, journal, recorded, "")

    def do(self, name: str, change: Change, tool: str = "") -> None:
        """Make an edit and record it; what was undone before can no longer be redone.

        Parameters
        ----------
        name : as the user reads it, such as "Split L0012 by seeds"
        change : planned on the lesions as they are now
        tool : with which it was made

        Raises
        ------
        InputError : if the change does not fit the lesions, or cannot be recorded; they stay as they are.
        """
        self._move("do", name, tool, change, change.to_bytes())

    def undo(self) -> Change:
        """Take back the last action that is done; returns its change, whose lesions are to be shown anew.

        Raises InputError if there is none, or it cannot be recorded; the lesions stay as they are.
        """
        if not self._done:
            raise InputError("there is nothing to undo")
        return self._step("undo", *self._done[-1])

    def redo(self) -> Change:
        """Do again what was undone last; as `undo`."""
        if not self._undone:
            raise InputError("there is nothing to redo")
        return self._step("redo", *self._undone[-1])

    @property
    def undo_name(self) -> str | None:
        """Name of the action that `undo` would take back; None if there is none."""
        return self._done[-1][0].name if self._done else None

    @property
    def redo_name(self) -> str | None:
        """Name of the action that `redo` would do again; None if there is none."""
        return self._undone[-1][0].name if self._undone else None

    def note(self, text: str, tool: str = "") -> None:
        """Record a remark on the case, or that something was done outside of the lesions (an export)."""
        self._record(self._action("note", text, tool))

    def save(self) -> None:
        """Store the lesions as a whole, unless they are so already: resuming starts from there.

        Done by itself every `AUTOSAVE_ACTIONS` edits. Call it before an export: the exported case is then
        known, when it is opened again, as one of this journal's.

        Raises InputError where it cannot be written; no action is lost.
        """
        if self._unsaved:
            action = self._action("save", "Save the lesions", "", state=CaseState.of(self.lesions))
            self._record(action, snapshot(self.lesions).to_bytes())

    def audit(self) -> list[Action]:
        """Who did what to which lesions, when, for how long and with which tool, the earliest first."""
        return [action for action in self.actions if action.kind != "save"]

    def progress(self) -> Progress:
        """Lesions reviewed, of how many, and the seconds spent by all raters."""
        return actions.progress(self.lesions.records.values(), self.actions)

    def seconds_by_lesion(self) -> dict[int, float]:
        """Seconds spent on each lesion; see `actions.seconds_by_lesion`."""
        return actions.seconds_by_lesion(self.actions)

    def history(self) -> dict[str, Any]:
        """What the sidecar of an exported case says of its review: plain JSON."""
        return {
            "rater": self.rater,
            "seconds_spent": self.progress().seconds,
            "history": [action.to_json() for action in self.audit()],
        }

    def _resume(self) -> None:
        """Record who goes on, which tells at once whether the journal can be written to."""
        self._record(self._action("resume", "Resume the review", ""))

    def _step(self, kind: Kind, action: Action, entry: Entry) -> Change:
        change = self._stored(entry)
        self._move(kind, action.name, action.tool, change)
        return change

    def _stored(self, entry: Entry) -> Change:
        return Change.from_bytes(self.journal.payload(entry))

    def _move(self, kind: Kind, name: str, tool: str, change: Change, payload: bytes = b"") -> None:
        """Change the lesions and record it; should either fail, neither has happened."""
        next_id = self.lesions.next_id
        before, after = _ids(change.records_before), _ids(change.records_after)
        if kind == "undo":
            before, after = after, before
        self._change_lesions(kind, change)
        try:
            self._record(self._action(kind, name, tool, before, after), payload)
        except BaseException:
            self._change_lesions("do" if kind == "undo" else "undo", change)
            self.lesions.next_id = next_id
            raise
        if self._unsaved >= AUTOSAVE_ACTIONS:
            with suppress(InputError):  # the action itself is recorded; the next one reports a full disk
                self.save()

    def _change_lesions(self, kind: Kind, change: Change) -> None:
        if kind == "undo":
            self.lesions.revert(change)
        else:
            self.lesions.apply(change)

    def _action(
        self,
        kind: Kind,
        name: str,
        tool: str,
        before: list[int] | None = None,
        after: list[int] | None = None,
        state: CaseState | None = None,
    ) -> Action:
        seconds = round(min(time.monotonic() - self._last_action, IDLE_SECONDS), 3)
        return Action(kind, name, tool, self.rater, _now(), seconds, before or [], after or [], state)

    def _record(self, action: Action, payload: bytes = b"") -> None:
        self._follow(action, self.journal.append(action.to_json(), payload))
        self._last_action = time.monotonic()

    def _follow(self, action: Action, entry: Entry) -> None:
        """Keep up with a record that now stands in the journal: what can be undone, redone, and was done."""
        self.actions.append(action)
        if action.state:
            self._unsaved = 0
        if action.kind not in _EDITING:
            return
        self.last_edit = entry.start
        self._unsaved += 1
        if action.kind == "do":
            self._done.append((action, entry))
            self._undone.clear()
        elif action.kind == "undo":
            self._undone.append(self._done.pop())
        else:
            self._done.append(self._undone.pop())

    def _replay(self, recorded: list[_Recorded]) -> None:
        """Follow all records; the lesions go from the last stored state on."""
        start = max(place for place, (action, _) in enumerate(recorded) if action.state)
        restore(self.lesions, self._stored(recorded[start][1]))
        for place, (action, entry) in enumerate(recorded):
            self._follow(action, entry)
            if place > start and action.kind in _EDITING:
                _, moved = (self._undone if action.kind == "undo" else self._done)[-1]
                self._change_lesions(action.kind, self._stored(moved))


def _check_rater(rater: str) -> None:
    if not rater.strip():
        raise InputError("no rater is named", todo="State who reviews the case")


def _read(path: Path) -> tuple[Journal, list[_Recorded]]:
    """A journal and its actions; InputError as `ReviewSession.open`."""
    journal, entries = Journal.open(path)
    try:
        return journal, [(Action.from_json(entry.content), entry) for entry in entries]
    except ValueError as error:
        raise InputError(f"this journal holds an action that is unknown here ({error})", path) from error


def journal_path(folder: str | Path, subject: str) -> Path:
    """Where the journal of a case stands in a folder; InputError for an ID that is not letters and digits."""
    case_paths(folder, subject)  # checks the ID
    return Path(folder) / f"sub-{subject}_desc-review_journal.bin"


def _ids(records: Mapping[int, LesionRecord | None]) -> list[int]:
    return sorted(lesion_id for lesion_id, record in records.items() if record is not None)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
