"""The module's check of itself inside Slicer: a case's way through the panel, without a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import TestCase

import numpy as np
import slicer
import slicer.util

from ..labels import LesionType
from ..lesions import LesionMap
from ..measure import measure_lesions
from ..scene.files import load_flair
from ..scene.io import Opened
from ..scene.tags import segment_id

_SUBJECT, _RATER = "SelfTest", "Self test"
_AFFINE = np.array([[-1.0, 0, 0, 30], [0, -1.0, 0, 28], [0, 0, 3.0, -18], [0, 0, 0, 1]])
_SIDE, _PITCH = 6, 10  # lesions along either side of the grid, and voxels from one to the next
_PATIENCE = 20.0  # seconds


def run_self_test(test: TestCase) -> None:
    """Review thirty lesions, split, merge and paint, undo and redo all of it, export, close, reopen, compare.

    Uses the module's own panel, in a scene that is empty, and leaves nothing in it or in the user's settings.
    """
    slicer.util.selectModule("LesionSegmenter")
    panel = slicer.util.getModuleWidget("LesionSegmenter").panel
    with TemporaryDirectory(dir=slicer.app.temporaryPath) as folder:
        journey = _Journey(test, panel, Path(folder))
        try:
            journey.run()
        finally:
            journey.leave()


class _Journey:
    def __init__(self, test: TestCase, panel: Any, folder: Path) -> None:
        self._test, self._panel, self._folder = test, panel, folder
        self._review, self._ui = panel.review, panel.edit.ui
        self._export_folder = panel.export.ui.exportFolderEdit.text

    def run(self) -> None:
        test, review, ui = self._test, self._review, self._ui
        self._open()
        found = self._state()
        for lesion_id in range(1, 31):
            review.select([lesion_id])
            ui.acceptButton.click()
        test.assertEqual(review.session.progress().reviewed, 30)
        self._split()
        self._merge()
        self._paint()
        edited = self._state()
        self._press_all(ui.undoButton)
        test.assertEqual(self._state(), found)
        self._press_all(ui.redoButton)
        test.assertEqual(self._state(), edited)
        self._export_and_reopen()
        test.assertEqual(self._state()[0], edited[0])
        test.assertEqual(_kept(self._state()[1]), _kept(edited[1]))

    def leave(self) -> None:
        """The panel and the user's settings as they were, whatever went wrong."""
        panel = self._panel
        for folder in {self._folder, self._review.folder}:
            panel.recovery.forget(folder, _SUBJECT)
        panel.export.put_away()
        panel.export.ui.exportFolderEdit.text = self._export_folder
        slicer.mrmlScene.Clear()

    def _open(self) -> None:
        lesions = _lesions()
        flair = load_flair(_write_flair(lesions, self._folder / f"sub-{_SUBJECT}_FLAIR.nii.gz"))
        slicer.util.setSliceViewerLayers(background=flair, fit=True)
        self._review.open(Opened(lesions, flair, ()), self._folder, _SUBJECT, _RATER)
        self._test.assertEqual(self._review.scene.node.GetSegmentation().GetNumberOfLayers(), 1)

    def _split(self) -> None:
        """By seeds in either half of lesion 31, a bar."""
        ui, review = self._ui, self._review
        review.select([31])
        ui.splitButton.click()
        ui.methodComboBox.currentIndex = ui.methodComboBox.findData("nearest")
        r, a, s = review.lesions.records[31].centroid_ras_mm
        markups = slicer.util.getNode("Split points")
        for offset in (-2.0, 2.0):
            markups.AddControlPoint(r + offset, a, s)
        self._wait(lambda: ui.applyButton.enabled)
        self._test.assertIsNotNone(slicer.mrmlScene.GetFirstNodeByName("Split preview"))
        ui.applyButton.click()
        self._test.assertNotIn(31, review.lesions.records)
        self._test.assertEqual(len(review.selection), 2)
        self._test.assertIsNone(slicer.mrmlScene.GetFirstNodeByName("Split preview"))

    def _merge(self) -> None:
        self._review.select([32, 33])
        self._ui.mergeButton.click()
        self._test.assertEqual(len({32, 33} & self._review.lesions.records.keys()), 1)

    def _paint(self) -> None:
        """Paint a block over lesion 34 and its neighbour 35, as an effect hands it to the segmentation."""
        review, ui = self._review, self._ui
        review.select([34])
        ui.paintButton.click()
        self._test.assertEqual(self._panel.edit.painting.editor.currentSegmentID(), segment_id(34))
        painted = review.lesions.ids == 34
        first = np.argwhere(painted).min(axis=0)
        painted[first[0] - _PITCH : first[0] + _PITCH + 4, first[1] : first[1] + 3, first[2]] = True
        others = review.lesions.ids.copy()
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            painted.T.astype(np.uint8), review.scene.node, segment_id(34), review.scene.flair
        )
        self._wait(lambda: ui.takeInButton.enabled)
        ui.takeInButton.click()
        kept = (others > 0) & (others != 34)
        self._test.assertTrue(np.array_equal(review.lesions.ids[kept], others[kept]))
        self._test.assertGreater(int((review.lesions.ids == 34).sum()), int((others == 34).sum()))
        self._test.assertEqual(review.scene.node.GetSegmentation().GetNumberOfLayers(), 1)
        ui.paintButton.click()

    def _export_and_reopen(self) -> None:
        panel, review = self._panel, self._review
        panel.export.ui.exportFolderEdit.text = str(self._folder / "exports")
        written = panel.export.export_case()["description"].parent
        panel.export.put_away()
        self._test.assertFalse(review.is_open)
        slicer.mrmlScene.Clear()
        review.open_case(written, _SUBJECT, _RATER)

    def _press_all(self, button: Any) -> None:
        while button.enabled:
            button.click()

    def _state(self) -> tuple[bytes, dict[int, Any]]:
        return self._review.lesions.ids.tobytes(), dict(self._review.lesions.records)

    def _wait(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + _PATIENCE
        while not condition():
            self._test.assertLess(time.monotonic(), end, "what was waited for did not happen")
            slicer.app.processEvents()


def _lesions() -> LesionMap:
    """Small boxes on a grid, of all types in turn; their neighbours lie a few voxels away."""
    ids = np.zeros((12, _SIDE * _PITCH, _SIDE * _PITCH), np.int32).T
    for n in range(_SIDE * _SIDE):
        i, j = n % _SIDE * _PITCH + 2, n // _SIDE * _PITCH + 3
        ids[i : i + 6, j : j + 3, 4:7] = n + 1
    types = {n + 1: list(LesionType)[n % 4] for n in range(_SIDE * _SIDE)}
    return LesionMap.from_arrays(ids, _AFFINE, measure_lesions(ids, _AFFINE, types=types))


def _write_flair(lesions: LesionMap, path: Path) -> Path:
    """A file on which the lesions are bright."""
    array = np.random.default_rng(0).integers(60, 100, lesions.shape).astype(np.int16)
    array[lesions.ids > 0] += 100
    node = slicer.util.addVolumeFromArray(
        np.ascontiguousarray(array.T), slicer.util.vtkMatrixFromArray(lesions.affine)
    )
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    storage.WriteData(node)
    slicer.mrmlScene.RemoveNode(node)
    return path


def _kept(records: dict[int, Any]) -> dict[int, Any]:
    """Of each record what an export keeps exactly."""
    return {i: (r.type, r.status, r.voxels, r.parents, r.note) for i, r in records.items()}
