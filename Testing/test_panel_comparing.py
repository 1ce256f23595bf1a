"""Comparison with another rater in the Export section: the summary, the filter, and the outlines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="no PySide6: make .venv/slicer")

import slicer
import slicer.util

from LesionSegmenterLib import edits
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.scene.nodes import journal_of_scene
from LesionSegmenterLib.scene.outline import OUTLINE_COLOUR
from panel_cases import SHAPE, lesion_ids, make_case, open_section, write_engine_case


@pytest.fixture
def bo(tmp_path: Path) -> Path:
    """Bo's folder: lesions 1 and 2 as the engine has them, not 3, and one of Bo's own."""
    cases = make_case(tmp_path)
    ids = np.where(lesion_ids() == 3, 0, lesion_ids())
    ids[22:25, 4:8, 8:10] = 3
    flair = tmp_path / "flairs" / "sub-01_FLAIR.nii.gz"
    return write_engine_case(cases / "rater-Bo", flair, ids=ids, rater="Bo")


@pytest.fixture
def app(panel: Any, bo: Path) -> Any:
    """The panel on Ada's case, in which lesion 2 has another type than Bo's, compared with Bo's folder."""
    open_section(panel, "Export")
    panel.panel.review.open_case(bo.parent, "01", "Ada")
    panel.panel.review.do("Relabel", lambda lesions: edits.relabel(lesions, [2], LesionType.WMH))
    panel.answer(str(bo))
    panel.click(panel.ui("export").compareButton)
    return panel


def summary(app: Any) -> str:
    return str(app.ui("export").comparisonLabel.text)


def message(app: Any) -> str:
    return str(app.panel.ui.messageLabel.text)


def rows_shown(app: Any) -> list[int]:
    return sorted(app.panel.lesions.table.ids)


def outlines() -> list[Any]:
    """The nodes that are not saved with the scene."""
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [node for node in nodes if not node.GetSaveWithScene()]


def test_the_summary_counts_what_both_one_or_none_have(app):
    assert "You: 3 lesions" in summary(app) and "Bo: 3 lesions" in summary(app)
    assert "2 in both, 1 of them typed differently; 1 only yours, 1 only theirs" in summary(app)
    own, other = lesion_ids() > 0, lesion_ids() % 3 > 0
    theirs = np.count_nonzero(other) + 3 * 4 * 2
    dice = 2 * np.count_nonzero(other) / (np.count_nonzero(own) + theirs)
    assert f"Dice {dice:.2f}" in summary(app)


def test_the_filter_leaves_the_lesions_that_differ_in_the_table(app):
    app.click(app.ui("export").differencesCheck)
    assert rows_shown(app) == [2, 3]  # another type, and only Ada's
    app.click(app.ui("export").differencesCheck)
    assert rows_shown(app) == [1, 2, 3]


def test_the_others_lesions_are_green_outlines_that_can_be_hidden(app):
    (node,) = outlines()
    display = node.GetDisplayNode()
    assert display.GetVisibility() and not display.GetVisibility2DFill() and display.GetVisibility2DOutline()
    segments = node.GetSegmentation()
    assert segments.GetSegment("L0003").GetColor() == pytest.approx(OUTLINE_COLOUR)
    app.click(app.ui("export").outlinesCheck)
    assert not display.GetVisibility()


def test_the_outlines_are_drawn_where_only_the_other_has_a_lesion(app):
    app.choose(app.ui("export").theirsCombo, "L0003 WMH, 0.05 ml")
    i, j, k = 22, 5, 8  # at the lesion's edge
    flair = app.panel.review.scene.flair
    to_ras = slicer.util.arrayFromVTKMatrix(_matrix(flair))
    place = to_ras @ [i, j, SHAPE[2] - 1 - k, 1]  # Slicer holds the file flipped
    around = [app.colour((place[0] + dx, place[1], place[2])) for dx in np.linspace(-0.6, 0.6, 13)]
    assert any(green > red + 40 for red, green, _ in around)


def _matrix(volume: Any) -> Any:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return matrix


def test_choosing_a_lesion_that_only_the_other_has_shows_it_in_the_views(app):
    app.choose(app.ui("export").theirsCombo, "L0003 WMH, 0.05 ml")
    lesion = app.panel.export.comparing.comparison.only_b[0].lesion
    for view in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        matrix = view.GetSliceToRAS()
        centre = [matrix.GetElement(axis, 3) for axis in range(3)]
        assert centre == pytest.approx(lesion.centroid_ras_mm, abs=1.0)


def test_an_edit_makes_the_comparison_stale_until_it_is_made_again(app):
    app.panel.review.do("Relabel", lambda lesions: edits.relabel(lesions, [2], LesionType.STROKE))
    assert "press Again" in summary(app)
    app.click(app.ui("export").compareAgainButton)
    assert "0 of them typed differently" in summary(app) and "press Again" not in summary(app)
    assert len(outlines()) == 1


def test_ending_takes_outlines_and_filter_away(app):
    app.click(app.ui("export").differencesCheck)
    app.click(app.ui("export").endComparisonButton)
    assert outlines() == [] and rows_shown(app) == [1, 2, 3] and summary(app) == ""
    assert not app.ui("export").compareAgainButton.enabled


def test_closing_the_case_ends_the_comparison(app):
    app.click(app.ui("export").differencesCheck)
    app.panel.export.put_away()
    assert outlines() == [] and app.panel.lesions.extra_filter is None


def test_the_others_lesions_are_not_taken_for_the_scenes_case(app):
    app.panel.review.close()
    slicer.mrmlScene.RemoveNode(slicer.util.getNode("01 lesions"))
    assert journal_of_scene() is None


def test_a_folder_without_the_case_is_told_and_the_comparison_before_stays(app, tmp_path):
    (tmp_path / "empty").mkdir()
    app.answer(str(tmp_path / "empty"))
    app.click(app.ui("export").compareButton)
    assert "no complete case" in message(app) and "Bo: 3 lesions" in summary(app)


def test_the_subjects_own_folder_may_be_chosen_too(app, bo):
    app.answer(str(bo / "sub-01"))
    app.click(app.ui("export").compareButton)
    assert "Bo: 3 lesions" in summary(app) and message(app) == ""


def test_nothing_happens_where_the_dialog_is_cancelled(app):
    app.click(app.ui("export").endComparisonButton)
    app.answer("")
    app.click(app.ui("export").compareButton)
    assert summary(app) == ""
