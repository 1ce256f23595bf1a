"""The Worklist section: the FLAIRs of a folder, how far each is, and the way from one to the next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slicer.i18n import tr as _

from ..errors import InputError, LesionSegmenterError
from ..worklist import WorkItem, next_work
from . import dialogs
from .rater import rater_name
from .section import Section
from .settings import remember, remembered
from .tables import set_up_table
from .worklist_model import WorklistModel

if TYPE_CHECKING:
    from .panel import Panel


class WorklistSection(Section):
    """Opens, queues and finishes the cases of a folder one after the other.

    Their cases stand in the output folder of Run.
    """

    ui_file = "Worklist.ui"

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._last = ""  # the subject that was opened last
        ui = self.ui
        ui.flairsFolderEdit.text = str(remembered("flairs_folder", ""))
        set_up_table(ui.casesTable)
        self.model = WorklistModel(ui.casesTable, self._tell, self.slot)
        ui.flairsFolderEdit.editingFinished.connect(self.slot(self._take_folder))
        ui.flairsFolderButton.clicked.connect(self.slot(self._choose_folder))
        ui.casesTable.connect("cellDoubleClicked(int,int)", self.slot(self._open_row))
        ui.refreshButton.clicked.connect(self.slot(self.refresh))
        ui.segmentButton.clicked.connect(self.slot(self._segment))
        ui.nextCaseButton.clicked.connect(self.slot(self._next_case))
        self.review.opened.connect(self.reread)
        self.review.closed.connect(lambda: self.model.reread(self._last))
        self._tell()

    def enter(self) -> None:
        """The module was entered: cases may have been made or reviewed elsewhere."""
        self.refresh()

    def cleanup(self) -> None:
        """Let the timer go."""
        self.model.cleanup()

    def refresh(self, _checked: bool = False) -> None:
        """List the folder's FLAIRs anew."""
        folder = self.ui.flairsFolderEdit.text.strip()
        self.model.clear()
        self._tell()
        if folder:
            try:
                self.model.load(Path(folder), self._cases)
            except LesionSegmenterError as error:  # the folder is remembered: it may be on a disk that is out
                self.ui.worklistLabel.text = str(error)

    def reread(self) -> None:
        """Bring the row of the open case up to date."""
        self._last = self.review.subject
        self.model.reread(self._last)

    @property
    def _cases(self) -> Path:
        output: Path = self.panel.run.output
        return output

    def _open_row(self, row: int, _column: int) -> None:
        self.model.read_all()
        item = self.model.items[row]
        if item.segmented:
            self._open(item)
        else:
            self._segment_now(item)

    def _open(self, item: WorkItem) -> None:
        """Open a case in place of the one that is open, whose review is in its journal."""
        if item.trouble:
            raise InputError(item.trouble)
        if self.review.is_open and self.review.subject != item.subject:
            self.panel.export.put_away()
        warnings = self.review.open_case(self._cases, item.subject, rater_name())
        if warnings:
            self.panel.tell("\n".join(warnings))

    def _segment_now(self, item: WorkItem) -> None:
        """Queue a case and let Run begin, which opens the first that it has done."""
        self._last = item.subject
        self.panel.run.queue(item.flair)
        self.panel.run.run()
        self.panel.tell(_("{subject} is segmented in Run.").format(subject=f"sub-{item.subject}"))

    def _segment(self, _checked: bool = False) -> None:
        self.model.read_all()
        items = self.model.items
        rows = {index.row() for index in self.ui.casesTable.selectedIndexes()}
        chosen = [items[row] for row in sorted(rows)] or items
        missing = [item for item in chosen if not item.segmented]
        if not missing:
            raise InputError(_("every case is segmented"), todo=_("Double-click one to open it"))
        for item in missing:
            self.panel.run.queue(item.flair)
        self.panel.tell(_("{n} cases are queued: press Segment in Run.").format(n=len(missing)))

    def _next_case(self, _checked: bool = False) -> None:
        self.model.read_all()
        current = self.review.subject if self.review.is_open else self._last
        if self.review.is_open:
            self.panel.export.finish()
        item = next_work(self.model.items, current or None)
        if item is None:
            raise InputError(
                _("no other case is left to do"), todo=_("Add FLAIRs to the folder, or choose another")
            )
        if item.segmented:
            self._open(item)
        else:
            self._segment_now(item)

    def _take_folder(self) -> None:
        folder = self.ui.flairsFolderEdit.text.strip()
        if folder != remembered("flairs_folder", ""):
            remember("flairs_folder", folder)
            self.refresh()

    def _choose_folder(self, _checked: bool = False) -> None:
        chosen = dialogs.ask_folder(_("Folder of FLAIRs"), self.ui.flairsFolderEdit.text)
        if chosen is not None:
            self.ui.flairsFolderEdit.text = str(chosen)
            self._take_folder()

    def _tell(self) -> None:
        """How far the list is, and which buttons have anything to act on."""
        items = self.model.items
        ui = self.ui
        ui.segmentButton.enabled = any(not item.segmented for item in items)
        ui.nextCaseButton.enabled = bool(items)
        ui.worklistLabel.text = (
            _("{n} cases: {segmented} segmented, {done} reviewed and exported.").format(
                n=len(items),
                segmented=sum(item.segmented for item in items),
                done=sum(item.is_done for item in items),
            )
            if items
            else _("Choose a folder of FLAIRs.")
        )
