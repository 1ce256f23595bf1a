"""The check that Slicer's own Test button runs, under the stand-ins."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="no PySide6: make .venv/slicer")


def test_the_journey_inside_slicer_passes_and_leaves_nothing_behind(panel: Any) -> None:
    import slicer.util

    from LesionSegmenter import LesionSegmenterTest
    from LesionSegmenterLib.panel.open_reviews import open_reviews

    LesionSegmenterTest().runTest()
    assert not panel.panel.review.is_open
    assert open_reviews() == []
    for kind in ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLMarkupsNode"):
        assert slicer.util.getNodesByClass(kind) == []
    assert panel.panel.ui.messageLabel.text == ""
