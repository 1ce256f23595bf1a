"""The Export section: the case folder, a segmentation file, the table, and the end of a case."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import slicer
import slicer.util
from slicer.i18n import tr as _

from ..errors import InputError, LesionSegmenterError
from ..export import complete_subjects, read_case
from ..export_plan import Fate, plan_export
from ..lesions_tsv import lesions_text
from ..rater_copy import KeepFlair, write_review
from ..scene.export import SceneWriter, flair_file, write_segmentation
from ..scene.nodes import is_on_disk, remove_node
from ..worklist import EXPORT, is_exported
from . import dialogs
from .comparing import Comparing
from .rater import rater_name, remember_rater
from .section import Section
from .settings import remember, remembered
from .signal import Signal
from .tables import fill_row, set_up_table

if TYPE_CHECKING:
    from .panel import Panel

_KEEPS: tuple[KeepFlair, ...] = get_args(KeepFlair)


class ExportSection(Section):
    """Writes the case under review, once it has shown what will be written.

    exported : signal; the case was written; no arguments.
    comparing : with another rater's case.
    """

    ui_file = "Export.ui"

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self.exported = Signal()
        self.exported.connect(panel.worklist.reread)
        ui = self.ui
        ui.raterEdit.text = rater_name()
        ui.exportFolderEdit.text = str(remembered("export_folder", ""))
        keep = remembered("keep_flair", "path")
        ui.keepFlairCombo.currentIndex = _KEEPS.index(keep) if keep in _KEEPS else 0
        set_up_table(ui.filesTable)
        ui.raterEdit.editingFinished.connect(self.slot(self._take_rater))
        ui.exportFolderEdit.editingFinished.connect(self.slot(self._take_folder))
        ui.exportFolderButton.clicked.connect(self.slot(self._choose_folder))
        ui.keepFlairCombo.connect("currentIndexChanged(int)", self.slot(self._take_keep))
        ui.exportButton.clicked.connect(self.slot(self._export))
        ui.finishButton.clicked.connect(self.slot(self._finish))
        ui.saveSegmentationButton.clicked.connect(self.slot(self._save_segmentation))
        ui.copyTableButton.clicked.connect(self.slot(self._copy_table))
        self.comparing = Comparing(self)
        for signal in (self.review.opened, self.review.closed):
            signal.connect(self._show_new_case)
        self._show_new_case()

    def enter(self) -> None:
        """The module was entered: files may have come or gone."""
        self.show_plan()

    @property
    def folder(self) -> Path:
        """Where the raters' folders stand: the folder chosen, else beside the case that was opened."""
        chosen = self.ui.exportFolderEdit.text.strip()
        own: Path = self.review.folder
        return Path(chosen) if chosen else own.parent if own.name.startswith("rater-") else own

    @property
    def keep_flair(self) -> KeepFlair:
        """What becomes of the FLAIR."""
        return _KEEPS[self.ui.keepFlairCombo.currentIndex]

    def export_case(self) -> dict[str, Path]:
        """Write the case to its rater's folder, and a note of that to its journal; returns the files.

        Raises InputError where no case is open, or it cannot be written.
        """
        review = self.review
        review.take_in_painting()
        writer = SceneWriter(review.scene.flair, self._flair_file())
        with slicer.util.WaitCursor():
            files = write_review(
                review.session,
                self.folder,
                review.subject,
                writer,
                writer.path,
                review.origin,
                keep_flair=self.keep_flair,
            )
        folder = files["description"].parent
        review.session.note(f"Export to {folder}", EXPORT)
        self.ui.doneLabel.text = _("Exported {n} files to {folder}").format(n=len(files), folder=folder)
        self.show_plan()
        self.exported.emit()
        return files

    def finish(self) -> None:
        """Export the case if there is anything new in it, then let it go and take it off the open reviews.

        A case of which nothing was judged is not exported. Raises InputError as `export_case`; the case stays
        open then.
        """
        review = self.review
        review.take_in_painting()
        progress = review.session.progress()
        untouched = not review.session.last_edit and progress.reviewed < progress.total
        if not untouched and not is_exported(review.session.actions):
            self.export_case()
        self.panel.recovery.forget(review.folder, review.subject)
        self.put_away()

    def put_away(self) -> None:
        """Close the case and take its lesions, and its FLAIR where the file has it, out of the scene.

        The journal keeps the review, which is offered again until it is finished.
        """
        review = self.review
        if not review.is_open:
            return
        review.take_in_painting()
        node, flair = review.scene.node, review.scene.flair
        review.close()
        remove_node(node)
        if is_on_disk(flair):
            remove_node(flair)

    def show_plan(self) -> None:
        """Show what an export would do to the files, or why it cannot be done."""
        plan: dict[Path, Fate] = {}
        text = _("Open a case to export it.")
        if self.review.is_open:
            try:
                plan = self._plan()
                text = _("{subject} will be written to {folder}:").format(
                    subject=f"sub-{self.review.subject}", folder=self._rater_folder(plan)
                )
            except LesionSegmenterError as error:
                text = str(error)
        self.ui.filesLabel.text = text
        self._fill(plan)
        for button in (self.ui.exportButton, self.ui.finishButton):
            button.enabled = bool(plan)

    def cleanup(self) -> None:
        """Let the other rater's outlines go."""
        self.comparing.end()

    def _plan(self) -> dict[Path, Fate]:
        review = self.review
        return plan_export(
            self.folder,
            review.session.rater,
            review.subject,
            self._flair_file(),
            review.lesions.probability is not None,
            self.keep_flair,
        )

    def _flair_file(self) -> Path:
        """The file of the FLAIR: the case's own, as a saved scene has one in a form of Slicer's."""
        review = self.review
        if review.subject in complete_subjects(review.folder):
            path = read_case(review.folder, review.subject).flair
            if path.is_file():
                return path
        return flair_file(review.scene.flair)

    def _rater_folder(self, plan: dict[Path, Fate]) -> Path:
        return next(path for path in plan if path.suffix == ".tsv").parents[2]

    def _fill(self, plan: dict[Path, Fate]) -> None:
        table = self.ui.filesTable
        fates = {"new": _("new"), "replaced": _("replaced"), "removed": _("removed")}
        table.setRowCount(len(plan))
        for row, (path, fate) in enumerate(plan.items()):
            fill_row(table, row, (path.name, fates[fate]), str(path))

    def _show_new_case(self) -> None:
        ui = self.ui
        is_open = self.review.is_open
        for button in (ui.saveSegmentationButton, ui.copyTableButton):
            button.enabled = is_open
        if is_open:
            ui.doneLabel.text = ""
            ui.raterEdit.text = self.review.session.rater
        self.show_plan()

    def _export(self, _checked: bool = False) -> None:
        self.export_case()

    def _finish(self, _checked: bool = False) -> None:
        self.finish()

    def _take_rater(self) -> None:
        remember_rater(self.ui.raterEdit.text)
        self.ui.raterEdit.text = rater_name()
        if self.review.is_open:
            self.review.session.rater = rater_name()
        self.show_plan()

    def _take_folder(self) -> None:
        remember("export_folder", self.ui.exportFolderEdit.text.strip())
        self.show_plan()

    def _choose_folder(self, _checked: bool = False) -> None:
        chosen = dialogs.ask_folder(_("Folder for exports"), str(self.folder))
        if chosen is not None:
            self.ui.exportFolderEdit.text = str(chosen)
            self._take_folder()

    def _take_keep(self, _index: int) -> None:
        remember("keep_flair", self.keep_flair)
        self.show_plan()

    def _save_segmentation(self, _checked: bool = False) -> None:
        review = self.review
        review.take_in_painting()
        if not review.scene.node.IsA("vtkMRMLSegmentationNode"):
            raise InputError(
                _("so many lesions are shown as a label volume, not as a segmentation"),
                todo=_("Export the case instead"),
            )
        start = review.folder / f"sub-{review.subject}_lesions.seg.nrrd"
        kinds = _("Slicer segmentation") + " (*.seg.nrrd)"
        path = dialogs.ask_new_file(_("Save the lesions"), kinds, str(start))
        if path is not None:
            self._write_segmentation(path)

    def _write_segmentation(self, path: Path) -> None:
        if not path.name.endswith(".seg.nrrd"):  # not every system's dialog adds the ending
            path = path.with_name(f"{path.name.removesuffix('.nrrd')}.seg.nrrd")
            if path.exists() and not dialogs.confirm(_("Replace {path}?").format(path=path)):
                return
        write_segmentation(self.review.scene.node, path)
        self.ui.doneLabel.text = _("Saved {path}").format(path=path)

    def _copy_table(self, _checked: bool = False) -> None:
        self.review.take_in_painting()
        records: Any = self.review.lesions.records.values()
        slicer.app.clipboard().setText(lesions_text(records, separator=","))
        self.ui.doneLabel.text = _("Copied a table of {n} lesions").format(n=len(records))
