"""The Run section: the engine on one FLAIR after another, beside the window, and its results opened."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from ..errors import InputError, LesionSegmenterError
from . import dialogs
from .engine_failure import Failure, explain
from .engine_process import Ended, EngineProcess
from .engine_python import SEGMENT
from .rater import rater_name
from .run_progress import stage_text
from .run_queue import Job, RunQueue, has_case, has_review
from .run_table import RunTable
from .section import Section
from .settings import remember, remembered
from .volume_file import check_axes, file_of

if TYPE_CHECKING:
    from .panel import Panel

_LAST_LINES = 4


class RunSection(Section):
    """Segments images one after the other in a child process."""

    ui_file = "Run.ui"

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._queue = RunQueue()
        self._table = RunTable(self.ui.queueTable, self._queue, self.slot)
        self._process = EngineProcess()
        self._process.event.connect(self.slot(self._take))
        self._process.lines.connect(self.slot(self._log))
        self._process.finished.connect(self.slot(self._finished))
        self._job: Job | None = None
        self._scratch: Path | None = None
        self._began = 0.0
        self._told = ""  # the message of an error event
        self._result: dict[str, Any] | None = None
        self._opens_result = False
        ui = self.ui
        ui.outputLineEdit.text = remembered("output") or str(Path.home() / "LesionSegmenter")
        ui.outputButton.clicked.connect(self.slot(self._choose_output))
        ui.addButton.clicked.connect(self.slot(self._add_flair))
        ui.addFilesButton.clicked.connect(self.slot(self._add_files))
        ui.removeButton.clicked.connect(self.slot(self._remove))
        ui.openButton.clicked.connect(self.slot(self._open_selected))
        ui.queueTable.itemSelectionChanged.connect(self.slot(self._show))
        ui.queueTable.cellDoubleClicked.connect(self.slot(self._open_row))
        ui.runButton.clicked.connect(self.slot(self.run))
        ui.cancelButton.clicked.connect(self.slot(self._cancel))
        ui.cpuButton.clicked.connect(self.slot(self._run_on_processor))
        ui.packagesButton.clicked.connect(self.slot(self.panel.inputs.install))
        ui.logButton.toggled.connect(self.slot(self._show_log))
        ui.logView.hide()
        ui.logButton.hide()
        self._tell(Failure(""))
        self._show()

    @property
    def running(self) -> bool:
        """Whether an image is being segmented."""
        return self._process.running

    @property
    def output(self) -> Path:
        """The folder that results go to; InputError where none is named."""
        text = self.ui.outputLineEdit.text.strip()
        if not text:
            raise InputError(_("no output folder is named"), todo=_("Choose one in the Run section"))
        return Path(text).expanduser()

    def queue(self, path: Path) -> None:
        """Put a FLAIR's file at the end of the list; InputError where its name gives no subject ID."""
        self._queue.add(path)
        self._show()

    def run(self, _checked: bool = False) -> None:
        """Segment all that waits, or the chosen FLAIR where nothing does."""
        if self.running:
            return
        self._tell(Failure(""))
        state = self.panel.inputs.engine.state
        if state is not None and not state.ready:
            missing = ", ".join(state.missing)
            self._tell(
                Failure(_("The engine is not installed: {missing}.").format(missing=missing), "install")
            )
            return
        if not self._queue.waiting:
            self._add_flair()
        folder = self.output
        remember("output", str(folder))
        self._ask_to_replace(folder)
        self._opens_result = True
        self.ui.logView.clear()
        self._next()

    def use_parameters(self, parameters: Any) -> None:
        """A run ends with the scene that its images are of."""
        if parameters is None:
            self._abandon()
            self._queue.forget_nodes()
            self._show()

    def cleanup(self) -> None:
        """End the run and let the process go."""
        self._abandon()
        self._process.cleanup()

    def _choose_output(self, _checked: bool = False) -> None:
        folder = dialogs.ask_folder(_("Folder for the results"), self.ui.outputLineEdit.text)
        if folder is not None:
            self.ui.outputLineEdit.text = str(folder)
            remember("output", str(folder))

    def _add_flair(self, _checked: bool = False) -> None:
        inputs = self.panel.inputs
        if inputs.flair is None:
            raise InputError(_("no FLAIR is chosen"), todo=_("Load one and choose it in Inputs"))
        self._queue.add(inputs.flair, inputs.t1)
        self._show()

    def _add_files(self, _checked: bool = False) -> None:
        for path in dialogs.ask_files(_("FLAIR files"), _("NIfTI images (*.nii *.nii.gz)")):
            self._queue.add(path)
        self._show()

    def _remove(self, _checked: bool = False) -> None:
        self._queue.remove(self._table.selected)
        self._show()

    def _ask_to_replace(self, folder: Path) -> None:
        """Cases that are in the folder already are replaced only if the user agrees."""
        there = [
            job
            for job in self._queue.waiting
            if has_case(folder, job.subject) and not has_review(folder, job.subject)
        ]
        if not there:
            return
        names = ", ".join(f"sub-{job.subject}" for job in there)
        agreed = dialogs.confirm(
            _("{names}: segmented in {folder} already. Replace that?").format(names=names, folder=folder)
        )
        for job in there:
            job.replaces = agreed
            if not agreed:
                job.state, job.message = "cancelled", _("what is there was kept")

    def _next(self) -> None:
        """Start the next image that can be started."""
        for job in self._queue.waiting:
            try:
                self._start(job)
                break
            except LesionSegmenterError as error:
                self._clear_scratch()
                self._fail(job, Failure(str(error)))
        self._show()

    def _start(self, job: Job) -> None:
        folder = self.output
        _check_place(folder, job)
        self._scratch = Path(tempfile.mkdtemp(prefix="LesionSegmenter-"))
        if isinstance(job.source, Path):
            flair, is_copy = job.source, False
            check_axes(flair, _("FLAIR"))
        else:
            flair, is_copy = file_of(job.source, _("FLAIR"), f"sub-{job.subject}_FLAIR", self._scratch)
        arguments = ["segment", str(flair), "--out", str(folder), "--subject", job.subject]
        arguments += ["--progress", "json", *self.panel.inputs.engine_arguments(job.device)]
        if is_copy:  # which is taken away: the case needs its own
            arguments += ["--keep-flair", "copy"]
        if job.t1 is not None:
            arguments += ["--t1", str(file_of(job.t1, _("T1"), f"sub-{job.subject}_T1w", self._scratch)[0])]
        engine = self.panel.inputs.engine
        self._told, self._result, self._began = "", None, time.monotonic()
        self._process.start(engine.command(SEGMENT, *arguments), engine.environment())
        self._job, job.state, job.folder = job, "running", folder
        job.flair = None if is_copy or isinstance(job.source, Path) else job.source
        self._log([f"sub-{job.subject}: lesion-segmenter {' '.join(arguments)}"])
        self.ui.progressBar.value = 0
        self.ui.stageLabel.text = _("sub-{subject}: starting").format(subject=job.subject)

    def _take(self, told: dict[str, Any]) -> None:
        """An event of the engine: see `progress.JsonReporter`."""
        if told["event"] == "progress" and self._job is not None:
            fraction = float(told.get("fraction", 0))
            self.ui.progressBar.value = round(100 * fraction)
            stage = stage_text(str(told.get("stage")), fraction, time.monotonic() - self._began)
            self.ui.stageLabel.text = f"sub-{self._job.subject}: {stage}"
        elif told["event"] == "warning":
            self._log([_("Warning: {text}").format(text=told.get("message"))])
            self._tell(Failure(str(told.get("message"))), with_log=False)
        elif told["event"] == "error":
            self._told = str(told.get("message"))
        elif told["event"] == "done":
            self._result = told

    def _finished(self, ended: Ended) -> None:
        job, self._job = self._job, None
        self._clear_scratch()
        if job is None:
            return
        if ended.stopped:
            job.state, job.message = "cancelled", ""
        elif ended.status == 0 and self._result is not None:
            job.state = "done"
            count = self._result.get("lesions")
            job.message = _("1 lesion") if count == 1 else _("{count} lesions").format(count=count)
        else:
            device = job.device or self.panel.inputs.device
            self._fail(job, explain(ended.status, self._told, self._process.log, device))
        if not ended.stopped:
            self._next()
        self._show()
        if job.state == "done" and self._opens_result:
            self._opens_result = False
            self._open(job)

    def _fail(self, job: Job, failure: Failure) -> None:
        job.state, job.message, job.remedy = "failed", failure.message, failure.remedy
        self._tell(failure)

    def _cancel(self, _checked: bool = False) -> None:
        self._process.stop()
        self.ui.stageLabel.text = _("Stopping…")

    def _run_on_processor(self, _checked: bool = False) -> None:
        for job in self._queue.jobs:
            if job.state == "failed" and job.remedy == "cpu":
                job.state, job.device, job.message = "waiting", "cpu", ""
        self.run()

    def _abandon(self) -> None:
        """End the run at once."""
        self._process.end()
        self._clear_scratch()
        if self._job is not None:
            self._job.state, self._job.message, self._job = "cancelled", "", None

    def _clear_scratch(self) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def _open_selected(self, _checked: bool = False) -> None:
        done = [job for job in self._table.selected if job.state == "done"]
        if not done:
            raise InputError(_("no result is selected"), todo=_("Select one that is done"))
        self._open(done[0])

    def _open_row(self, row: int, _column: int) -> None:
        if self._queue.jobs[row].state == "done":
            self._open(self._queue.jobs[row])

    def _open(self, job: Job) -> None:
        assert job.folder is not None
        warnings = self.review.open_case(job.folder, job.subject, rater_name(), job.flair)
        if warnings:
            self.panel.tell("\n".join(warnings))

    def _log(self, lines: list[str]) -> None:
        self.ui.logView.appendPlainText("\n".join(lines))
        self.ui.logButton.show()

    def _show_log(self, shown: bool) -> None:
        self.ui.logView.visible = shown

    def _tell(self, failure: Failure, with_log: bool = True) -> None:
        """Show what went wrong, the end of the log with it, and a button for what can be done about it."""
        ui = self.ui
        last = self._process.log[-_LAST_LINES:] if failure.message and with_log and self._job is None else []
        ui.outcomeLabel.text = "\n".join(
            [failure.message, *(line for line in last if line != failure.message)]
        )
        ui.outcomeLabel.visible = bool(failure.message)
        ui.cpuButton.visible = failure.remedy == "cpu"
        ui.packagesButton.visible = failure.remedy == "install"

    def _show(self) -> None:
        """Bring list and buttons up to date."""
        ui, running = self.ui, self.running
        self._table.show()
        ui.queueTable.visible = bool(self._queue.jobs)
        ui.removeButton.enabled = any(job.state != "running" for job in self._table.selected)
        ui.openButton.enabled = any(job.state == "done" for job in self._table.selected)
        ui.runButton.enabled = not running
        ui.cancelButton.enabled = running
        ui.progressBar.visible = running
        ui.stageLabel.visible = running


def _check_place(folder: Path, job: Job) -> None:
    """InputError where a run would make a review useless, or replace a case that nobody asked about."""
    if has_review(folder, job.subject):
        raise InputError(
            _("sub-{subject} has a review here, which another segmentation would not fit").format(
                subject=job.subject
            ),
            folder,
            _("Choose another output folder, or another subject ID"),
        )
    if has_case(folder, job.subject) and not job.replaces:  # it was added while others ran
        raise InputError(
            _("sub-{subject} is segmented here already").format(subject=job.subject),
            folder,
            _("Add it again to be asked whether to replace that"),
        )
