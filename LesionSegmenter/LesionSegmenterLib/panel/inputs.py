"""The Inputs section: which image, which model, on what, and whether models can run at all."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import vtk
from slicer.i18n import tr as _

from ..bundle import CARD, DEFAULT_MODEL, INSTANCE_MODEL, BundleSpec, known_models
from ..errors import InputError
from ..labels import LesionType
from . import dialogs, packages
from .engine_process import Ended, EngineProcess
from .engine_python import SEGMENT, Engine
from .section import Section

if TYPE_CHECKING:
    from .panel import Panel


class InputsSection(Section):
    """What a run is made of.

    engine : the Python that runs models.
    """

    ui_file = "Inputs.ui"

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self.engine = Engine(panel.resources / "requirements.txt")
        self._models = known_models()
        self._parameters: Any = None  # a PanelParameters, while a scene is at hand
        self._observer: int | None = None
        self._installing = False
        self._adding = EngineProcess()
        self._adding.finished.connect(self.slot(self._added))
        self.engine.changed.connect(self.slot(self._show_engine))
        ui = self.ui
        ui.modelComboBox.currentIndexChanged.connect(self.slot(self._choose_model))
        ui.detailsButton.toggled.connect(self.slot(self._show_card))
        ui.addModelButton.clicked.connect(self.slot(self._add_model))
        ui.installButton.clicked.connect(self.slot(self.install))
        ui.pythonButton.clicked.connect(self.slot(self._choose_python))
        ui.ownPythonButton.clicked.connect(self.slot(self._use_own_python))
        ui.cardBrowser.hide()
        self._fill_models()
        self._show_engine()

    @property
    def flair(self) -> Any:
        """The chosen FLAIR's node; None where none is."""
        return self.ui.flairSelector.currentNode()

    @property
    def t1(self) -> Any:
        """The chosen T1's node; None where none is."""
        return self.ui.t1Selector.currentNode()

    @property
    def model(self) -> str:
        """Name of the chosen model; empty where none is."""
        return self.ui.modelComboBox.currentData or ""

    @property
    def device(self) -> str:
        """What the model is to run on."""
        return self._parameters.device if self._parameters else "auto"

    @property
    def models(self) -> dict[str, BundleSpec]:
        """The models on this machine by name."""
        return {name: spec for name, (spec, _folder) in self._models.items()}

    def engine_arguments(self, device: str | None = None) -> list[str]:
        """The options of ``lesion-segmenter segment`` that this section decides."""
        split = self._parameters.split if self._parameters else "auto"
        return ["--model", self.model, "--split", split, "--device", device or self.device]

    def refresh_models(self, choose: str | None = None) -> None:
        """Look for models again, and choose one if asked."""
        self._models = known_models()
        if choose is not None and self._parameters is not None:
            self._parameters.model = choose
        self._fill_models()

    def install(self, _checked: bool = False) -> None:
        """Install or repair the engine's packages in Slicer's Python, if the user agrees."""
        if self._installing:
            raise InputError(_("packages are being installed already"), todo=_("Wait for it"))
        if self.engine.other_python:
            raise InputError(
                _("packages are installed into Slicer's Python alone"),
                self.engine.other_python,
                _("Install them there yourself, or go back to Slicer's Python"),
            )
        missing = self.engine.state.missing if self.engine.state else ()
        arguments = packages.to_install(self.engine.requirements, missing)
        if not dialogs.confirm(packages.question(arguments)):
            return
        self._installing = True
        self._show_engine()
        packages.install(arguments, self._show_installing, self.slot(self._installed))

    def enter(self) -> None:
        """See what there is, until the engine was found ready once."""
        ready = self.engine.state is not None and self.engine.state.ready
        if not ready and not self.engine.checking:
            self.engine.check()

    def use_parameters(self, parameters: Any) -> None:
        """Follow the model of a scene's parameters."""
        if self._parameters is not None and self._observer is not None:
            self._parameters.RemoveObserver(self._observer)
        self._parameters, self._observer = parameters, None
        if parameters is not None:
            self._observer = parameters.AddObserver(vtk.vtkCommand.ModifiedEvent, self._parameters_changed)
            self._fill_models()

    def cleanup(self) -> None:
        """Let the child processes go."""
        self.engine.cleanup()
        self._adding.cleanup()

    def _fill_models(self) -> None:
        """Show what there is; a model that a scene names stays its choice also where it is not there."""
        combo = self.ui.modelComboBox
        chosen = self._parameters.model if self._parameters else self.model or DEFAULT_MODEL
        blocked = combo.blockSignals(True)
        combo.clear()
        for name, (spec, _folder) in sorted(self._models.items()):
            combo.addItem(f"{name} {spec.version}", name)
        if chosen and chosen not in self._models:
            combo.addItem(_("{name} (not on this machine)").format(name=chosen), chosen)
        combo.setCurrentIndex(max(combo.findData(chosen), 0))
        combo.blockSignals(blocked)
        self._show_model()

    def _parameters_changed(self, _caller: Any = None, _event: Any = None) -> None:
        if self._parameters is not None and self._parameters.model != self.model:
            self.slot(self._fill_models)()

    def _choose_model(self, _index: int = 0) -> None:
        if self._parameters is not None:
            self._parameters.model = self.model
        self._show_model()

    def _show_model(self) -> None:
        known = self._models.get(self.model)
        spec = known[0] if known else None
        self.ui.modelSummaryLabel.text = summary(spec) if spec else _("Add this model, or choose another.")
        self.ui.detailsButton.enabled = spec is not None
        self._show_card(self.ui.detailsButton.checked)
        self._offer_splits(spec)

    def _show_card(self, shown: bool) -> None:
        known = self._models.get(self.model)
        self.ui.cardBrowser.visible = bool(shown and known)
        if shown and known:
            try:
                text = (known[1] / CARD).read_text(encoding="utf-8", errors="replace")
            except OSError as error:
                text = _("The card cannot be read: {error}").format(error=error.strerror)
            self.ui.cardBrowser.setMarkdown(text)

    def _offer_splits(self, spec: BundleSpec | None) -> None:
        """Offsets to split by come from the network itself, or from the instance model if it is there."""
        combo = self.ui.splitComboBox
        place = combo.findText("offsets")
        offered = INSTANCE_MODEL in self._models or (spec is not None and spec.output.kind == "instances")
        if place < 0:
            return
        combo.model().item(place).setEnabled(offered)
        if combo.currentIndex == place and not offered:
            combo.setCurrentIndex(combo.findText("auto"))

    def _add_model(self, _checked: bool = False) -> None:
        """In a child process, as looking into the weights takes a package that Slicer need not have."""
        folder = dialogs.ask_folder(_("Folder of a model bundle"))
        if folder is None:
            return
        command = self.engine.command(SEGMENT, "models", "add", str(folder))
        self._adding.start(command, self.engine.environment())
        self.ui.addModelButton.enabled = False

    def _added(self, ended: Ended) -> None:
        self.ui.addModelButton.enabled = True
        log = self._adding.log
        if ended.status == 0 and log:  # NAME VERSION is in FOLDER
            self.refresh_models(log[-1].split()[0])
        elif not ended.stopped:
            raise InputError(
                _("the model was not added ({why})").format(why=log[-1] if log else ended.status),
                todo=_("See whether the engine is ready, and whether this is the folder of a bundle"),
            )

    def _choose_python(self, _checked: bool = False) -> None:
        path = dialogs.ask_file(_("Python that has the engine's packages"), _("Python (*)"))
        if path is not None:
            self.engine.choose(str(path))

    def _use_own_python(self, _checked: bool = False) -> None:
        self.engine.choose("")

    def _show_engine(self) -> None:
        ui, engine = self.ui, self.engine
        other = engine.other_python
        where = other or _("Slicer's Python")
        if engine.trouble:
            text = engine.trouble
        elif engine.state is None:
            text = _("Looking at {where}…").format(where=where) if engine.checking else _("Not looked at yet")
        elif engine.state.ready:
            text = _("Ready: PyTorch {torch} in {where}").format(torch=engine.state.torch, where=where)
        else:
            text = _("Not installed: {missing} (in {where})").format(
                missing=", ".join(engine.state.missing), where=where
            )
        ready = engine.state is not None and engine.state.ready
        ui.engineLabel.text = _("Installing…") if self._installing else text
        ui.installButton.text = _("Repair…") if ready else _("Install…")
        ui.installButton.enabled = not other and not self._installing
        ui.ownPythonButton.enabled = bool(other)

    def _show_installing(self, line: str) -> None:
        logging.info(line)
        self.ui.engineLabel.text = _("Installing: {line}").format(line=line.strip()[:120])

    def _installed(self, status: int) -> None:
        self._installing = False
        self.engine.check()
        if status != 0:
            raise InputError(
                _("the packages were not installed (pip ended with {status})").format(status=status),
                todo=_(
                    "The Python console has pip's messages; see docs/administrators.md for offline computers"
                ),
            )


def summary(spec: BundleSpec) -> str:
    """What a model is and what it finds, in two lines."""
    if spec.classifier:  # it tells the lesions' types apart, whatever the network's channels are
        kinds = set(LesionType) - {LesionType.LESION}
    else:
        kinds = {LesionType(value) for value in spec.output.label_map.values() if value}
    found = ", ".join(kind.label for kind in sorted(kinds))
    needs = _("FLAIR and T1") if any(i.modality == "T1" for i in spec.inputs) else _("FLAIR")
    return _("{title}\nFinds {found} in {needs}; version {version}").format(
        title=spec.title[:1].upper() + spec.title[1:], found=found, needs=needs, version=spec.version
    )
