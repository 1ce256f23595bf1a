"""Nothing is lost: reviews that were not finished are offered again, and those of a scene are taken up."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt
import slicer
import slicer.util
import vtk
from slicer.i18n import tr as _

from ..errors import InputError, LesionSegmenterError
from ..export import complete_subjects
from ..review import ReviewSession
from ..scene.files import load_flair
from ..scene.nodes import is_on_disk, journal_of_scene
from .open_reviews import OpenReview, forget, open_reviews, remember_open
from .rater import rater_name

if TYPE_CHECKING:
    from .panel import Panel

_FIRST = 10.0  # before the observers of nodes, which empty the segmentation that is to be read


class Recovery:
    """Keeps the list of open reviews and offers them in a row at the top of the panel.

    A review is on the list from its opening until it is finished or forgotten, whatever ends in between: the
    case, the scene, the module, Slicer.
    """

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._offered: list[OpenReview] = []
        self.widget = slicer.util.loadUI(str(panel.resources / "UI" / "Recovery.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        panel.ui.sectionsWidget.layout().insertWidget(0, self.widget)
        self.widget.hide()
        self.ui.resumeButton.clicked.connect(panel.slot(self._resume))
        self.ui.forgetButton.clicked.connect(panel.slot(self._forget))
        panel.review.opened.connect(self._remember)
        # Not at once: the next case may be opened right away, and each journal offered has to be read.
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._offering = panel.slot(self._show_offer)
        self._timer.timeout.connect(self._offering)
        panel.review.closed.connect(self._timer.start)
        scene = slicer.mrmlScene
        self._scene = scene
        self._observers = [
            scene.AddObserver(scene.StartCloseEvent, self._scene_closes, _FIRST),
            scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._node_goes, _FIRST),
        ]

    def offer(self) -> None:
        """Go on with the scene's case if it was left by a reload, else offer what was not finished."""
        review = self._panel.review
        if not review.is_open:
            journal = journal_of_scene()
            if journal is not None and journal in [each.journal for each in open_reviews()]:
                self._take_up()
        self._show_offer()

    def scene_was_loaded(self) -> None:
        """Take up the case of a scene that was saved, unless another is under review."""
        if not self._panel.review.is_open and journal_of_scene() is not None:
            self._panel.slot(self._take_up)()

    def forget(self, folder: Path, subject: str) -> None:
        """Take a review off the list: it was finished."""
        forget(folder, subject)

    def cleanup(self) -> None:
        """The panel is going: what was painted is taken in, and nothing observes the scene any more."""
        for observer in self._observers:
            self._scene.RemoveObserver(observer)
        self._observers = []
        self._timer.stop()
        self._timer.timeout.disconnect(self._offering)
        if self._panel.review.is_open:
            self._panel.review.take_in_painting()

    def _take_up(self) -> None:
        warnings = self._panel.review.restore(rater_name())
        if warnings:
            self._panel.tell("\n".join(warnings))

    def _remember(self) -> None:
        review = self._panel.review
        flair = review.scene.flair if review.scene is not None else None
        path = None
        if flair is not None and is_on_disk(flair):
            path = flair.GetStorageNode().GetFullNameFromFileName()
        remember_open(OpenReview(review.folder.absolute(), review.subject, Path(path) if path else None))
        self._show_offer()

    def _show_offer(self) -> None:
        self._offered = [] if self._panel.review.is_open else open_reviews()
        combo = self.ui.reviewCombo
        combo.clear()
        for each in self._offered:
            combo.addItem(_description(each))
        self.ui.recoveryLabel.text = (
            _("A review was not finished. Nothing of it is lost.")
            if len(self._offered) == 1
            else _("{n} reviews were not finished. Nothing of them is lost.").format(n=len(self._offered))
        )
        self.widget.setVisible(bool(self._offered))

    def _resume(self, _checked: bool = False) -> None:
        review = self._panel.review
        chosen = self._offered[self.ui.reviewCombo.currentIndex]
        flair = self._loaded(chosen.flair)
        warnings: tuple[str, ...] = ()
        if chosen.subject in complete_subjects(chosen.folder):
            warnings = review.open_case(chosen.folder, chosen.subject, rater_name(), flair)
        else:
            review.resume(chosen.journal, rater_name(), flair or self._flair(chosen))
        if warnings:
            self._panel.tell("\n".join(warnings))

    def _forget(self, _checked: bool = False) -> None:
        chosen = self._offered[self.ui.reviewCombo.currentIndex]
        forget(chosen.folder, chosen.subject)
        self._show_offer()

    def _loaded(self, path: Path | None) -> Any:
        """The volume of the scene that is this file's, unaltered; None where there is none."""
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if path is not None else ():
            if is_on_disk(node) and Path(node.GetStorageNode().GetFullNameFromFileName() or "") == path:
                return node
        return None

    def _flair(self, chosen: OpenReview) -> Any:
        """The FLAIR of a review of no case folder: its file, or what the user has chosen under Inputs."""
        parameters = self._panel.parameters
        if chosen.flair is not None and chosen.flair.is_file():
            return load_flair(chosen.flair)
        if parameters is not None and parameters.flair is not None:
            return parameters.flair
        raise InputError(
            _("the FLAIR of this review is not at hand"),
            chosen.flair,
            _("Load it and choose it under Inputs"),
        )

    def _scene_closes(self, _caller: Any = None, _event: Any = None) -> None:
        self._leave()

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _node_goes(self, _caller: Any = None, _event: Any = None, node: Any = None) -> None:
        scene = self._panel.review.scene
        if node is not None and scene is not None and node in (scene.node, scene.flair):
            self._leave()

    def _leave(self) -> None:
        """Close the case while its nodes still hold what was painted."""
        review = self._panel.review
        if review.is_open:
            self._panel.slot(review.take_in_painting)()
            review.close()


def _description(each: OpenReview) -> str:
    """What the list says of a review: whose, how far, and when it was worked on."""
    try:
        session = ReviewSession.read(each.journal)
    except LesionSegmenterError:
        return _("{subject}: its journal is damaged").format(subject=f"sub-{each.subject}")
    progress = session.progress()
    when = datetime.fromisoformat(session.actions[-1].time).astimezone()
    return _("{subject}: {reviewed} of {total} reviewed, {when}").format(
        subject=f"sub-{each.subject}",
        reviewed=progress.reviewed,
        total=progress.total,
        when=f"{when:%Y-%m-%d %H:%M}",
    )
