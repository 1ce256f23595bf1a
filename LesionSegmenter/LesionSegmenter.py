"""The LesionSegmenter module as Slicer loads it: metadata, widget and in-application test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class LesionSegmenter(ScriptedLoadableModule):
    """What Slicer's module finder and help tab show."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        parent.title = _("Lesion Segmenter")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Markups", "Segmentations"]
        parent.contributors = ["LesionSegmenter contributors"]
        parent.helpText = _(
            "Finds white matter hyperintensities, stroke lesions and multiple sclerosis lesions in FLAIR MRI "
            "and gives each lesion as an object of its own. For research: this is not a medical device. "
            'See the <a href="https://github.com/lesionsegmenter/SlicerLesionSegmenter">home page</a>.'
        )
        parent.acknowledgementText = _(
            "Each model's card names the methods behind it and the data sets it was trained on, with their "
            "licences."
        )
        slicer.app.connect("startupCompleted()", _register_sample_data)


def _register_sample_data() -> None:
    from LesionSegmenterLib.panel.sample_data import register

    register(Path(__file__).parent / "Resources")


class LesionSegmenterWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Hands Slicer's calls on to the panel, which does the work."""

    def __init__(self, parent: Any = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.panel: Any = None

    def setup(self) -> None:
        """Build the panel: Slicer calls this once, when the module is first opened."""
        super().setup()
        from LesionSegmenterLib.panel.panel import Panel

        self.panel = Panel(self.layout, Path(self.resourcePath("")), self.parent)
        self.layout.addStretch(1)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._scene_closes)
        self.addObserver(scene, scene.EndCloseEvent, self._scene_was_closed)
        self.addObserver(scene, scene.EndImportEvent, self._scene_was_loaded)
        self._use_parameters()
        if self.parent.isEntered:  # reloaded, after which Slicer does not call enter
            self.panel.enter()

    def enter(self) -> None:
        """The user comes to the module."""
        self._use_parameters()
        self.panel.enter()

    def exit(self) -> None:
        """The user goes to another module."""
        self.panel.exit()

    def cleanup(self) -> None:
        """The module is unloaded or reloaded, or Slicer ends."""
        self.removeObservers()
        self.panel.cleanup()

    def _use_parameters(self) -> None:
        if self.panel.parameters is None:
            self.panel.use_parameters(LesionSegmenterLogic().parameters())

    def _scene_closes(self, _caller: Any = None, _event: Any = None) -> None:
        self.panel.use_parameters(None)
        self.panel.review.close()

    def _scene_was_closed(self, _caller: Any = None, _event: Any = None) -> None:
        if self.parent.isEntered:
            self._use_parameters()

    def _scene_was_loaded(self, _caller: Any = None, _event: Any = None) -> None:
        self.panel.recovery.scene_was_loaded()


class LesionSegmenterLogic(ScriptedLoadableModuleLogic):
    """The scene's parameters; the rest of the logic is in LesionSegmenterLib."""

    def parameters(self) -> Any:
        """The scene's one set of them, made where there is none."""
        from LesionSegmenterLib.panel.parameters import PanelParameters

        return PanelParameters(self.getParameterNode())


class LesionSegmenterTest(ScriptedLoadableModuleTest):
    """The check that Slicer's self-tests and the Test button run: one journey through the panel."""

    def runTest(self) -> None:  # noqa: N802 (Slicer's name)
        """Run every check."""
        from LesionSegmenterLib.panel.self_test import run_self_test

        slicer.mrmlScene.Clear()
        run_self_test(self)
