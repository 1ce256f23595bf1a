"""The Retrain section: from exported corrections to a model in the list of the Inputs section."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import qt
from slicer.i18n import tr as _

from ..bundle import known_models, user_folder
from ..errors import InputError
from . import dialogs
from .engine_failure import explain
from .engine_process import Ended, EngineProcess
from .engine_python import TRAIN
from .run_progress import time_left
from .section import Section
from .settings import remember, remembered
from .training_cases import ExportedCase, exported_cases, summary
from .training_plot import TrainingPlot
from .training_table import TrainingTable

if TYPE_CHECKING:
    from .panel import Panel

DEFAULT_RECIPE = "retrain"
_CHECKPOINT = "checkpoint.pt"  # that `lesion-train fit` resumes from
_LAST_LINES = 4


class RetrainSection(Section):
    """Trains in a child process, and makes a bundle of what was learned."""

    ui_file = "Retrain.ui"

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._folder = Path()
        self._table = TrainingTable(self.ui.casesTable, self.slot(self._show_summary))
        self._plot = TrainingPlot()
        self._process, self._recipes = EngineProcess(), EngineProcess()
        self._process.event.connect(self.slot(self._take))
        self._process.lines.connect(self.slot(self._log))
        self._process.finished.connect(self.slot(self._finished))
        self._recipes.finished.connect(self.slot(self._fill_recipes))
        self._doing: Literal["", "fit", "bundle"] = ""
        self._began: tuple[float, int] | None = None  # seconds and step of the first step told
        self._told = ""
        ui = self.ui
        ui.recipeComboBox.addItem(DEFAULT_RECIPE, DEFAULT_RECIPE)
        ui.runsLineEdit.text = remembered("runs") or str(Path.home() / "LesionSegmenter" / "training")
        ui.casesButton.clicked.connect(self.slot(self._choose_cases))
        ui.allButton.clicked.connect(self.slot(self._tick_all))
        ui.reviewedButton.clicked.connect(self.slot(self._tick_reviewed))
        ui.noneButton.clicked.connect(self.slot(self._tick_none))
        ui.nameLineEdit.textChanged.connect(self.slot(self._propose_version))
        ui.versionLineEdit.textChanged.connect(self.slot(self._show))
        ui.runsLineEdit.textChanged.connect(self.slot(self._show))
        ui.runsButton.clicked.connect(self.slot(self._choose_runs))
        ui.trainButton.clicked.connect(self.slot(self.train))
        ui.stopButton.clicked.connect(self.slot(self._stop))
        ui.curveButton.clicked.connect(self.slot(self._show_curves))
        ui.trainingLogButton.toggled.connect(self.slot(self._show_log))
        for widget in (ui.trainingLogView, ui.trainingLogButton, ui.failureLabel):
            widget.hide()
        self._fill_models()
        self._show_summary()
        self._show()

    @property
    def running(self) -> bool:
        """Whether a training run, or the making of its bundle, is under way."""
        return self._process.running

    @property
    def run_folder(self) -> Path:
        """Where the run of the new model keeps its state."""
        name = f"{self.ui.nameLineEdit.text.strip()}-{self.ui.versionLineEdit.text.strip()}"
        return Path(self.ui.runsLineEdit.text.strip()).expanduser() / name

    def train(self, _checked: bool = False) -> None:
        """Train on the chosen cases, or go on with a run that was stopped."""
        self._check()
        run, start = self.run_folder, self.ui.startComboBox.currentData
        remember("runs", self.ui.runsLineEdit.text.strip())
        arguments = ["fit", self.ui.recipeComboBox.currentData, "--data", *self._data(), "--out", str(run)]
        arguments += ["--device", self.panel.inputs.device, "--progress", "json"]
        if start:
            arguments += ["--start", start]
        self.ui.trainingLogView.clear()
        self.ui.failureLabel.hide()
        self._plot.begin(run)
        self._began = None
        self._start("fit", arguments)
        self.ui.trainingBar.value = 0
        self.ui.trainingLabel.text = _("Starting")

    def enter(self) -> None:
        """Models may have been added meanwhile."""
        self._fill_models()

    def cleanup(self) -> None:
        """Stop the training; it can be resumed."""
        self._process.cleanup()
        self._recipes.cleanup()

    def _check(self) -> None:
        """InputError where there is nothing to train on, or with, or for."""
        name, version = self.ui.nameLineEdit.text.strip(), self.ui.versionLineEdit.text.strip()
        state = self.panel.inputs.engine.state
        if state is not None and not state.training:
            raise InputError(
                _("this Python cannot train: it lacks lesion-train or what that needs"),
                todo=_("Choose one in Inputs that has lesion-segmenter[train]"),
            )
        if not self._table.chosen:
            raise InputError(_("no case is chosen to learn from"), todo=_("Tick some in the table"))
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
            raise InputError(
                _("the new model has no usable name"), todo=_("Use letters, digits, '.', '_' and '-'")
            )
        if not re.fullmatch(r"\d{1,9}(\.\d{1,9})*", version):
            raise InputError(_("the version is not of the form 1.2.3"), todo=_("State one such as 1.0.0"))
        known = known_models().get(name)
        if (user_folder() / f"{name}-{version}").exists() or (known and known[0].version == version):
            raise InputError(
                _("there is a model {name} {version} already").format(name=name, version=version),
                todo=_("Give the new one another version"),
            )

    def _data(self) -> list[str]:
        """The folder where all of its cases are chosen, else those cases' own."""
        chosen = self._table.chosen
        if len(chosen) == len(self._table.cases):
            return [str(self._folder)]
        return [str(self._folder / f"sub-{case.subject}") for case in chosen]

    def _start(self, doing: Literal["fit", "bundle"], arguments: list[str]) -> None:
        engine = self.panel.inputs.engine
        self._told = ""
        self._process.start(engine.command(TRAIN, *arguments), engine.environment())
        self._doing = doing
        self._log([f"lesion-train {' '.join(arguments)}"])
        self._show()

    def _make_bundle(self) -> None:
        name, version = self.ui.nameLineEdit.text.strip(), self.ui.versionLineEdit.text.strip()
        arguments = ["bundle", str(self.run_folder), "--name", name, "--version", version]
        arguments += ["--out", str(user_folder() / f"{name}-{version}")]
        start = known_models().get(self.ui.startComboBox.currentData or "")
        if start is not None:  # what the new model shares with the one that it was made of
            spec, folder = start
            if spec.classifier:
                arguments += ["--classifier", str(folder / spec.classifier)]
        self.ui.trainingLabel.text = _("Making the model's bundle")
        self._start("bundle", arguments)

    def _take(self, told: dict[str, Any]) -> None:
        """An event of ``lesion-train``."""
        if told["event"] == "step":
            self._take_step(told)
        elif told["event"] == "progress":
            self.ui.trainingBar.value = round(1000 * float(told.get("fraction", 0)))
            self.ui.trainingLabel.text = _("Reading cases: {done} of {total}").format(
                done=told.get("done"), total=told.get("total")
            )
        elif told["event"] == "warning":
            self._log([_("Warning: {text}").format(text=told.get("message"))])
        elif told["event"] == "error":
            self._told = str(told.get("message"))

    def _take_step(self, told: dict[str, Any]) -> None:
        step, steps, loss = int(told["step"]), int(told["steps"]), float(told["loss"])
        validation = told.get("validation")
        self._plot.add(step, loss, validation)
        now = time.monotonic()
        began, first = self._began = self._began or (now, step)
        text = _("Step {step} of {steps}, loss {loss:.3f}").format(step=step, steps=steps, loss=loss)
        if self._plot.points["validation"]:
            text += _(", validation {score:.3f}").format(score=self._plot.points["validation"][-1][1])
        if step > first and now - began > 2:
            text += ", " + time_left((step - first) / max(steps - first, 1), now - began)
        self.ui.trainingBar.value = round(1000 * step / max(steps, 1))
        self.ui.trainingLabel.text = text

    def _finished(self, ended: Ended) -> None:
        doing, self._doing = self._doing, ""
        self._plot.draw()
        if ended.stopped:
            saved = (self.run_folder / _CHECKPOINT).is_file()
            self.ui.trainingLabel.text = (
                _("Stopped; it can be resumed.") if saved else _("Stopped before there was anything to keep.")
            )
        elif ended.status != 0:
            self._fail(ended)
        elif doing == "fit":
            self._make_bundle()
        else:
            name = self.ui.nameLineEdit.text.strip()
            self.panel.inputs.refresh_models(name)
            self._fill_models()
            self.ui.trainingLabel.text = _("The model {name} is in the list of Inputs.").format(name=name)
            self._propose_version()
        self._show()

    def _fail(self, ended: Ended) -> None:
        failure = explain(ended.status, self._told, self._process.log, self.panel.inputs.device)
        message = failure.message
        if failure.remedy == "cpu":
            message += " " + _("Choose cpu as the device in Inputs, and resume.")
        last = [line for line in self._process.log[-_LAST_LINES:] if line not in message]
        self.ui.failureLabel.text = "\n".join([message, *last])
        self.ui.failureLabel.show()
        self.ui.trainingLabel.text = _("Failed")

    def _stop(self, _checked: bool = False) -> None:
        self._process.stop()
        self.ui.trainingLabel.text = _("Stopping, once the step under way is saved…")

    def _choose_cases(self, _checked: bool = False) -> None:
        folder = dialogs.ask_folder(_("Folder of exported cases"), self.ui.casesLineEdit.text)
        if folder is None:
            return
        self._folder, cases = exported_cases(folder)
        self._table.fill(cases)
        self.ui.casesLineEdit.text = str(self._folder)
        self._show_summary()
        engine = self.panel.inputs.engine
        if engine.state is None or engine.state.training:
            self._recipes.end()
            self._recipes.start(engine.command(TRAIN, "recipes"), engine.environment())

    def _tick_all(self, _checked: bool = False) -> None:
        self._tick(lambda _case: True)

    def _tick_reviewed(self, _checked: bool = False) -> None:
        self._tick(lambda case: case.is_reviewed)

    def _tick_none(self, _checked: bool = False) -> None:
        self._tick(lambda _case: False)

    def _tick(self, wanted: Callable[[ExportedCase], bool]) -> None:
        self._table.tick(wanted)
        self._show_summary()

    def _fill_recipes(self, ended: Ended) -> None:
        """Recipes as ``lesion-train recipes`` lists them, a line each: ``name: purpose``."""
        found = dict(re.findall(r"^([\w.-]+): (.+)$", "\n".join(self._recipes.log), re.MULTILINE))
        if ended.status != 0 or not found:
            return
        combo = self.ui.recipeComboBox
        chosen = combo.currentData
        combo.clear()
        for name in sorted(found, key=lambda name: (name != DEFAULT_RECIPE, name)):
            combo.addItem(name, name)
            combo.setItemData(combo.count - 1, found[name], qt.Qt.ToolTipRole)
        combo.setCurrentIndex(max(combo.findData(chosen), 0))

    def _fill_models(self) -> None:
        combo, models = self.ui.startComboBox, known_models()
        chosen = combo.currentData if combo.count else self.panel.inputs.model
        combo.clear()
        for name, (spec, _folder) in sorted(models.items()):
            combo.addItem(f"{name} {spec.version}", name)
        combo.addItem(_("nothing: new weights"), "")
        combo.setCurrentIndex(max(combo.findData(chosen), 0))
        if not self.ui.nameLineEdit.text:
            self.ui.nameLineEdit.text = f"{combo.currentData or 'flair'}-retrained"

    def _propose_version(self, _text: str = "") -> None:
        """The next minor version of a name that is known, else 1.0.0."""
        known = known_models().get(self.ui.nameLineEdit.text.strip())
        if known is None:
            self.ui.versionLineEdit.text = "1.0.0"
            return
        major, minor = [*map(int, known[0].version.split(".")), 0][:2]
        self.ui.versionLineEdit.text = f"{major}.{minor + 1}.0"

    def _choose_runs(self, _checked: bool = False) -> None:
        folder = dialogs.ask_folder(_("Folder for training runs"), self.ui.runsLineEdit.text)
        if folder is not None:
            self.ui.runsLineEdit.text = str(folder)

    def _show_curves(self, _checked: bool = False) -> None:
        self._plot.show()

    def _log(self, lines: list[str]) -> None:
        self.ui.trainingLogView.appendPlainText("\n".join(lines))
        self.ui.trainingLogButton.show()

    def _show_log(self, shown: bool) -> None:
        self.ui.trainingLogView.visible = shown

    def _show_summary(self, _item: Any = None) -> None:
        ui, cases = self.ui, self._table.cases
        for widget in (ui.casesTable, ui.allButton, ui.reviewedButton, ui.noneButton):
            widget.visible = bool(cases)
        ui.casesSummaryLabel.text = (
            summary(self._table.chosen) if cases else _("Choose a folder of corrected cases to learn from.")
        )

    def _show(self, _text: str = "") -> None:
        ui, running = self.ui, self.running
        resumes = (self.run_folder / _CHECKPOINT).is_file()
        ui.trainButton.text = _("Resume") if resumes else _("Train")
        ui.trainButton.enabled = not running
        ui.stopButton.enabled = running
        ui.trainingBar.visible = running
        for widget in (ui.nameLineEdit, ui.versionLineEdit, ui.runsLineEdit, ui.runsButton):
            widget.enabled = not running  # they say where the run is
