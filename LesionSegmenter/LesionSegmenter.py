"""The LesionSegmenter module as Slicer loads it: metadata, widget and in-application test."""

from __future__ import annotations

import sys
from typing import Any

import qt
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

from LesionSegmenterLib import __version__


class LesionSegmenter(ScriptedLoadableModule):
    """What Slicer's module finder and help tab show."""

    def __init__(self, parent: Any) -> None:
        super().__init__(parent)
        parent.title = _("Lesion Segmenter")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
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


class LesionSegmenterWidget(ScriptedLoadableModuleWidget):
    """Says what works today; the panel takes its place."""

    def setup(self) -> None:
        """Fill the module's panel: Slicer calls this once, when the module is first opened."""
        super().setup()
        label = qt.QLabel(
            _(
                "<p><b>LesionSegmenter {version}</b></p>"
                "<p>Segmentation runs from a terminal today; the panel to run a model and to correct its "
                "lesions in Slicer is being built and will stand here.</p>"
                "<p>In the repository's folder, make a synthetic case:</p>"
                "<pre>make demo</pre>"
                "<p>or segment a FLAIR of your own:</p>"
                "<pre>.venv/bin/lesion-segmenter segment FLAIR.nii.gz --out CASES</pre>"
                "<p>Then drag the FLAIR into Slicer, and the case's desc-type_dseg.nii.gz with Segmentation "
                "chosen as its description.</p>"
                "<p>For research: this is not a medical device.</p>"
            ).format(version=__version__)
        )
        label.setWordWrap(True)
        label.setTextInteractionFlags(qt.Qt.TextSelectableByMouse)  # the commands are there to be copied
        self.layout.addWidget(label)
        self.layout.addStretch(1)


class LesionSegmenterTest(ScriptedLoadableModuleTest):
    """The check that Slicer's self-tests and the Test button run."""

    def runTest(self) -> None:  # noqa: N802 (Slicer's name)
        """Run every check."""
        self.test_the_library_loads_without_torch()

    def test_the_library_loads_without_torch(self) -> None:
        """Slicer's own Python is enough: importing torch into its process can crash it."""
        before = set(sys.modules)
        from LesionSegmenterLib.labels import LesionType
        from LesionSegmenterLib.lesions import LesionRecord

        record = LesionRecord(1, LesionType.from_label("ms"), 14.0, 14, (0.0, 0.0, 0.0), 3.0)
        self.assertEqual((int(record.type), record.type.label), (3, "MS"))
        self.assertNotIn("torch", set(sys.modules) - before)
