"""Makes the pictures of the panel in docs/pictures: run by ``make screenshots``.

The panel is driven as a person drives it, on the synthetic scan, with the shipped model: some minutes.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from LesionSegmenterLib.image import Volume, write_volume
from LesionSegmenterLib.synthesis.scan import synthetic_scan
from panel_app import PanelApp
from panel_cases import open_section

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
WINDOW = (1400, 900)
_COLOURS = 256  # of a picture, by octree, in which small swatches keep theirs
_MINUTES = 60.0
_STEPS = 60  # of a training run before its picture is taken


class Photographer:
    """Goes through the tutorial, and takes its pictures."""

    def __init__(self, app: PanelApp, folder: Path, pictures: Path) -> None:
        self.app, self.folder, self.pictures = app, folder, pictures
        self.flairs, self.cases, self.exports = folder / "flairs", folder / "cases", folder / "exports"

    def tour(self) -> None:
        """Take all of them."""
        self._make_scans()
        for visit in (
            self.inputs,
            self.run,
            self.lesions,
            self.edit,
            self.export,
            self.compare,
            self.worklist,
            self.retrain,
            self.recovery,
        ):
            print(visit.__name__, flush=True)
            visit()

    def inputs(self) -> None:
        from LesionSegmenterLib.scene.files import load_flair

        self._open("Inputs")
        self.app.ui("inputs").flairSelector.setCurrentNode(load_flair(self.flairs / "sub-01_FLAIR.nii.gz"))
        self.app.wait(lambda: "Ready" in self.app.ui("inputs").engineLabel.text, 2 * _MINUTES)
        self._take("panel_inputs", self.app.panel.inputs.widget.parent())

    def run(self) -> None:
        self._open("Run")
        ui = self.app.ui("run")
        self.app.type(ui.outputLineEdit, str(self.cases))
        self.app.click(ui.runButton)
        self.app.wait(lambda: ui.progressBar.value >= 40 or not self.app.panel.run.running, 10 * _MINUTES)
        self._take("panel_run", self.app.panel.run.widget.parent())
        self.app.wait(lambda: not self.app.panel.run.running, 10 * _MINUTES)
        assert self.app.panel.review.is_open, ui.outcomeLabel.text

    def lesions(self) -> None:
        for button in self.app.panel._buttons:
            button.collapsed = button.text != "Lesions"
        self.app.key("N")
        for _ in range(4):
            self.app.key("A")
        self._take("panel_lesions")
        for button in self.app.panel._buttons:
            button.collapsed = button.text not in ("Lesions", "Edit")
        self._take("panel")

    def edit(self) -> None:
        records = self.app.panel.review.lesions.records
        self.app.panel.review.select([max(records, key=lambda lesion_id: records[lesion_id].voxels)])
        self._open("Edit")
        ui = self.app.ui("edit")
        self.app.click(ui.splitButton)
        self.app.choose(ui.methodComboBox, "Compact parts of about equal extent")
        self.app.wait(lambda: ui.applyButton.enabled)
        self._take("panel_edit")
        self.app.click(ui.discardButton)

    def export(self) -> None:
        self._export_as("Ada")
        self._take("panel_export", self.app.panel.export.widget.parent())
        self.app.click(self.app.ui("export").exportButton)

    def compare(self) -> None:
        """Another rater joins two lesions, deletes one and calls one otherwise; then they are compared."""
        records = self.app.panel.review.lesions.records
        by_size = sorted(records, key=lambda lesion_id: -records[lesion_id].voxels)
        for chosen, action in ((by_size[2:4], "merge"), (by_size[4:5], "delete"), (by_size[5:6], "stroke")):
            self.app.panel.review.select(chosen)
            self._open("Edit")
            self.app.click(getattr(self.app.ui("edit"), f"{action}Button"))
        self._export_as("Bo")
        self.app.click(self.app.ui("export").exportButton)
        self.app.answer(str(self.exports / "rater-Ada"))
        self.app.click(self.app.ui("export").compareButton)
        combo = self.app.ui("export").theirsCombo
        self.app.choose(combo, combo.itemText(min(1, combo.count - 1)))
        self._take("panel_compare")
        self.app.click(self.app.ui("export").endComparisonButton)

    def worklist(self) -> None:
        self._open("Worklist")
        self.app.type(self.app.ui("worklist").flairsFolderEdit, str(self.flairs))
        self.app.key("Return", self.app.ui("worklist").flairsFolderEdit)
        self.app.wait(lambda: self.app.ui("worklist").casesTable.rowCount > 0)
        self._take("panel_worklist", self.app.panel.worklist.widget.parent())

    def recovery(self) -> None:
        """The scene is closed, and the module is left and entered again."""
        import slicer

        slicer.mrmlScene.Clear(0)
        slicer.util.selectModule("Data")
        slicer.util.selectModule("LesionSegmenter")
        self.app.wait(lambda: self.app.panel.recovery.widget.visible)
        self._take("panel_recovery", self.app.panel.recovery.widget)

    def retrain(self) -> None:
        self._open("Retrain")
        ui = self.app.ui("retrain")
        self.app.answer(str(self.exports / "rater-Ada"))
        self.app.click(ui.casesButton)
        self.app.wait(lambda: not self.app.panel.retrain._recipes.running)
        self.app.click(ui.allButton)
        self.app.type(ui.runsLineEdit, str(self.folder / "training"))
        self.app.click(ui.trainButton)
        self.app.click(ui.curveButton)
        losses = self.app.panel.retrain._plot.points["loss"]
        self.app.wait(lambda: len(losses) >= _STEPS or not self.app.panel.retrain.running, 20 * _MINUTES)
        self.app.panel.retrain._plot.draw()
        self._take("panel_retrain")
        self.app.click(ui.stopButton)
        self.app.wait(lambda: not self.app.panel.retrain.running, 2 * _MINUTES)

    def _make_scans(self) -> None:
        """The synthetic scan, and two others that wait in the folder."""
        self.flairs.mkdir(parents=True)
        for number in (1, 2, 3):
            path = self.flairs / f"sub-{number:02d}_FLAIR.nii.gz"
            if number == 1:
                scan = synthetic_scan(0)
                write_volume(path, scan.flair, Volume.from_array(scan.flair, scan.affine))
            else:
                shutil.copy(self.flairs / "sub-01_FLAIR.nii.gz", path)

    def _export_as(self, rater: str) -> None:
        self._open("Export")
        ui = self.app.ui("export")
        self.app.type(ui.exportFolderEdit, str(self.exports))
        self.app.key("Return", ui.exportFolderEdit)
        self.app.type(ui.raterEdit, rater)
        self.app.key("Return", ui.raterEdit)
        self.app.wait(lambda: ui.exportButton.enabled)

    def _open(self, title: str) -> None:
        open_section(self.app, title)

    def _take(self, name: str, widget: Any = None) -> None:
        self.app.process(0.2)
        with self._nobodys_paths():
            path = self.app.screenshot(self.pictures / f"{name}.png", widget)
        with Image.open(path) as picture:
            octree, plain = Image.Quantize.FASTOCTREE, Image.Dither.NONE
            few = picture.convert("RGB").quantize(_COLOURS, octree, dither=plain)
        few.save(path, optimize=True)

    @contextmanager
    def _nobodys_paths(self) -> Iterator[None]:
        """Let texts that name the folder of this run show a home folder instead."""
        from PySide6 import QtWidgets

        changed: list[tuple[Any, str]] = []
        for kind in (QtWidgets.QLineEdit, QtWidgets.QLabel):
            for widget in self.app.window._cpp.findChildren(kind):
                if str(self.folder) in widget.text():
                    changed.append((widget, widget.text()))
                    _set_quietly(widget, widget.text().replace(str(self.folder), "/home/ada/study"))
        yield
        for widget, text in changed:
            _set_quietly(widget, text)


def _set_quietly(widget: Any, text: str) -> None:
    was_blocked = widget.blockSignals(True)
    widget.setText(text)
    widget.blockSignals(was_blocked)


def main() -> int:
    """Take the pictures in a folder of their own, which is removed."""
    from standins import problems

    folder = Path(tempfile.mkdtemp(prefix="screenshots-"))
    app = PanelApp()
    try:
        app.window._cpp.resize(*WINDOW)
        app.open()
        Photographer(app, folder, PICTURES).tour()
        app.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if problems.take() else 0


if __name__ == "__main__":
    sys.exit(main())
