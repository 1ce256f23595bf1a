"""The case that the panel reviews: its session, its place in the scene, and which lesions are selected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from ..edits import set_status
from ..errors import InputError
from ..export import complete_subjects, read_case
from ..lesions import Change, LesionMap
from ..review import ReviewSession
from ..scene.files import read_probability
from ..scene.grid import Grid, flair_grid, same_grid
from ..scene.io import Opened, open_case
from ..scene.lesion_scene import LesionScene
from ..scene.nodes import journal_of_scene
from ..scene.tags import names_of
from ..visiting import Order, next_lesion
from .signal import Signal


class CaseReview:
    """One case at a time, or none. All sections of the panel stand on it and follow its signals.

    Signals
    -------
    opened : a case was opened; no arguments
    closed : the case was closed; no arguments
    changed : lesions were changed, made or taken away; a set of their ids
    selected : other lesions are selected; no arguments, see `selection`

    Attributes
    ----------
    session, scene : of the open case, else None
    subject, folder : ID of the case and the folder that its journal stands in
    origin : sidecar of the case folder that was opened; empty where there was none
    """

    def __init__(self) -> None:
        self.opened, self.closed, self.changed, self.selected = Signal(), Signal(), Signal(), Signal()
        self.session: ReviewSession | None = None
        self.scene: LesionScene | None = None
        self.subject, self.folder = "", Path()
        self.origin: Mapping[str, Any] = {}
        self.selection: tuple[int, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether a case is under review."""
        return self.session is not None

    @property
    def lesions(self) -> LesionMap:
        """The open case's lesions; InputError where none is open."""
        return self._session().lesions

    @property
    def current(self) -> int | None:
        """The lesion that was selected last; None where none is."""
        return self.selection[-1] if self.selection else None

    def open_case(
        self, folder: str | Path, subject: str | None, rater: str, flair: Any = None
    ) -> tuple[str, ...]:
        """Review a case folder, or go on where its journal ends; returns warnings.

        Raises InputError as `scene.io.open_case` and `ReviewSession.open`; the case open before stays then.
        """
        case = read_case(folder, subject)
        opened = open_case(folder, case.subject, flair)
        self.open(opened, folder, case.subject, rater, case.sidecar)
        return opened.warnings

    def open(
        self,
        opened: Opened,
        folder: str | Path,
        subject: str,
        rater: str,
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        """Review lesions from anywhere, recorded in a journal in ``folder``; InputError as above."""
        if self.is_open:
            self.take_in_painting()
        session = ReviewSession.open(opened.lesions, folder, rater, subject)
        scene = LesionScene.show(session.lesions, opened.flair, f"{subject} lesions")
        self.close()
        self._take(session, scene, Path(folder), subject, origin)

    def resume(self, journal: Path, rater: str, flair: Any) -> None:
        """Go on with a review where its journal ends, over the node of its FLAIR; InputError as above.

        The journal holds the lesions, so this needs no case folder; they have no probability map then.
        """
        if self.is_open:
            self.take_in_painting()
        session = ReviewSession.resume(journal, rater)
        subject = _subject(journal)
        scene = LesionScene.show(session.lesions, flair, f"{subject} lesions")
        self.close()
        self._take(session, scene, journal.parent, subject, None)

    def restore(self, rater: str) -> tuple[str, ...] | None:
        """Go on with the case of a scene that was saved and loaded, where it has one; returns warnings.

        None where the scene has no case or does not say where its journal is. Raises InputError where the
        journal or the FLAIR is missing or of another case.
        """
        found = LesionScene.restore() if journal_of_scene() is not None else None
        if found is None or found[0].journal is None:
            return None
        scene, warnings = found
        path, position = found[0].journal
        if not path.is_file():
            raise InputError("the journal of this review is gone", path, "Open the case folder instead")
        subject, grid = _subject(path), flair_grid(scene.flair)
        # The lesions are the journal's: those of the scene are as they were when it was saved.
        session = ReviewSession.resume(path, rater)
        if not same_grid(Grid(session.lesions.shape, session.lesions.affine), grid):
            raise InputError("this journal is of another case", path, "Open the case folder instead")
        origin: Mapping[str, Any] = {}
        if subject in complete_subjects(path.parent):
            case = read_case(path.parent, subject)
            origin = case.sidecar
            if "probability" in case.paths:
                session.lesions.probability = read_probability(case.paths["probability"], grid)
        scene = scene.showing(session.lesions)
        self.close()
        self._take(session, scene, path.parent, subject, origin)
        if session.last_edit < position:
            self.take_in_painting()  # the scene was saved after the last edit: what differs was painted
        else:
            scene.refresh()
        return warnings

    def close(self) -> None:
        """Let the case go; its journal keeps all that was done. Its node stays in the scene, hidden."""
        if self.session is None:
            return
        self._scene().leave()
        self.session, self.scene, self.selection = None, None, ()
        self.origin = {}
        self.closed.emit()

    def do(self, name: str, plan: Callable[[LesionMap], Change], tool: str = "") -> Change:
        """Make an edit, record it and show it; what was painted is taken in first.

        plan : one of `edits`, given the lesions.

        Raises InputError where the edit cannot be made or recorded; nothing has changed then.
        """
        session = self._session()
        self.take_in_painting()
        change = plan(session.lesions)
        session.do(name, change, tool)
        self._show(change)
        return change

    def take_in_painting(self) -> Change | None:
        """Record what was painted in the Segment Editor since the last edit as an edit; None for nothing."""
        session, scene = self._session(), self._scene()
        change = scene.read_back()
        if change is not None:
            touched = sorted(change.records_before)
            session.do(f"Paint {names_of(touched)}", change, "Segment Editor")
            self._show(change)
        return change

    def undo(self) -> None:
        """Take back the last action; InputError if there is none."""
        self.take_in_painting()
        self._show(self._session().undo())

    def redo(self) -> None:
        """Do again what was undone last; InputError if there is nothing."""
        self.take_in_painting()
        self._show(self._session().redo())

    def select(self, ids: Iterable[int], jump: bool = True) -> None:
        """Select lesions, the current one last: they stand out and, if asked, the views go to the current.

        Ids that are no lesion's are left out.
        """
        known = self.lesions.records
        selection = tuple(lesion_id for lesion_id in dict.fromkeys(ids) if lesion_id in known)
        if selection != self.selection:
            self.selection = selection
            self._scene().emphasise(selection or None)
            self.selected.emit()
        if jump and self.current is not None:
            self._scene().jump_to(self.current)

    def go(self, order: Order, step: Literal[1, -1] = 1, among: Iterable[int] | None = None) -> None:
        """Select the next lesion in an order, or the one before; of ``among`` only, if given."""
        records = self.lesions.records
        ids = records if among is None else [i for i in among if i in records]
        lesion_id = next_lesion([records[i] for i in ids], order, self.current, step)
        if lesion_id is not None:
            self.select([lesion_id])

    def judge_and_go_on(
        self, status: Literal["accepted", "rejected"], order: Order, among: Iterable[int] | None = None
    ) -> None:
        """Accept or reject what is selected and select the next lesion.

        Raises InputError where nothing is selected.
        """
        chosen = self.chosen()
        ids = None if among is None else tuple(among)  # as long as a filter still lets them through
        new = [i for i in chosen if self.lesions.records[i].status != status]
        if new:
            verb = "Accept" if status == "accepted" else "Reject"
            self.do(f"{verb} {names_of(new)}", lambda lesions: set_status(lesions, new, status))
        self.go(order, 1, ids)

    def chosen(self) -> tuple[int, ...]:
        """What is selected; InputError where nothing is."""
        if not self.selection:
            raise InputError("no lesion is selected", todo="Select one in the table or a slice view")
        return self.selection

    def _take(
        self,
        session: ReviewSession,
        scene: LesionScene,
        folder: Path,
        subject: str,
        origin: Mapping[str, Any] | None,
    ) -> None:
        self.session, self.scene, self.folder, self.subject = session, scene, folder, subject
        self.origin = dict(origin or {})
        self._remember_journal()
        self.opened.emit()

    def _show(self, change: Change) -> None:
        """Show a change that was made; where it took selected lesions away, what came of them is selected."""
        scene = self._scene()
        scene.push(change)
        self._remember_journal()
        records = self.lesions.records
        stays = tuple(i for i in self.selection if i in records)
        if len(stays) < len(self.selection):
            stays = tuple(i for i in change.records_before if i in records) or stays
            self.selection = stays
            scene.emphasise(stays or None)
            self.selected.emit()
        self.changed.emit(set(change.records_before))

    def _remember_journal(self) -> None:
        session, scene = self._session(), self._scene()
        scene.remember_journal(session.journal.path, session.journal.end)

    def _session(self) -> ReviewSession:
        if self.session is None:
            raise InputError("no case is open", todo="Run a model or open a case folder")
        return self.session

    def _scene(self) -> LesionScene:
        self._session()
        assert self.scene is not None
        return self.scene


def _subject(journal: Path) -> str:
    """The case that a journal is of, by the file's name."""
    return journal.name.removeprefix("sub-").split("_")[0]
