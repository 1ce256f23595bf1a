"""Lesions are selected in the table of the Lesions section or by clicks in the views; either shows it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="no PySide6: make .venv/slicer")

import slicer
import slicer.util
from scipy.spatial.transform import Rotation

from lesions_section import ID, click, selected_rows, shown, slice_node, sort_by
from LesionSegmenterLib.lesions import LesionMap
from LesionSegmenterLib.measure import measure_lesions
from LesionSegmenterLib.scene.io import Opened
from LesionSegmenterLib.scene.tags import segment_id
from panel_lesions import flair_of, grid_of_lesions, review

# Selecting


def test_selecting_a_row_centres_all_views_on_its_lesion_outlines_it_and_dims_the_others(opened: Any) -> None:
    click(opened, 6)
    assert opened.review.selection == (6,)
    place = opened.review.lesions.records[6].centroid_ras_mm
    for view in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        matrix = view.GetSliceToRAS()
        centre = [matrix.GetElement(axis, 3) for axis in range(3)]
        assert centre == pytest.approx(place, abs=1)
    display = opened.review.scene.node.GetDisplayNode()
    outlines = {i: display.GetSegmentOpacity2DOutline(segment_id(i)) for i in shown(opened)}
    assert outlines.pop(6) == 1
    assert max(outlines.values()) < 0.5


def test_opening_a_case_turns_the_views_into_the_slices_of_its_scan(lesions: Any, tmp_path: Path) -> None:
    straight = grid_of_lesions(4)
    oblique = straight.affine.copy()
    oblique[:3, :3] = Rotation.from_euler("x", 20, degrees=True).as_matrix() @ oblique[:3, :3]
    tilted = LesionMap.from_arrays(straight.ids, oblique, measure_lesions(straight.ids, oblique))
    flair = flair_of(tilted)
    for layer in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        layer.SetBackgroundVolumeID(None)
    lesions.review.open(Opened(tilted, flair, ()), tmp_path, "01", "Ada")
    to_ras = slicer.util.arrayFromVTKMatrix(slice_node("Red").GetSliceToRAS())
    through = oblique[:3, 2] / np.linalg.norm(oblique[:3, 2])
    assert abs(to_ras[:3, 2] @ through) == pytest.approx(1)


def test_the_table_of_a_case_that_is_opened_begins_at_its_first_row(lesions: Any, tmp_path: Path) -> None:
    review(lesions.review, tmp_path / "first", 60)
    lesions.app.process()
    bar = lesions.ui.lesionTable.verticalScrollBar()
    bar.value = bar.maximum
    assert bar.value > 0
    review(lesions.review, tmp_path / "second", 60)
    lesions.app.process()
    assert bar.value == 0


def test_a_click_on_the_row_that_is_selected_comes_back_to_its_lesion(opened: Any) -> None:
    click(opened, 6)
    red = slice_node("Red")
    red.JumpSliceByCentering(0, 0, 0)
    click(opened, 6)
    assert red.GetSliceToRAS().GetElement(0, 3) == pytest.approx(
        opened.review.lesions.records[6].centroid_ras_mm[0], abs=1
    )


def test_several_rows_are_selected_and_the_last_is_the_current_one(opened: Any) -> None:
    click(opened, 9)
    click(opened, 2, ctrl=True)
    click(opened, 5, ctrl=True)
    assert (opened.review.selection, opened.review.current) == ((9, 2, 5), 5)
    click(opened, 2, ctrl=True)
    assert opened.review.selection == (9, 5)


def test_what_others_select_is_selected_in_the_table_in_view_and_once(opened: Any) -> None:
    told: list[int] = []
    opened.review.selected.connect(lambda: told.append(1))
    opened.review.select([3, 12])
    assert selected_rows(opened) == [2, 11]
    table = opened.ui.lesionTable._cpp
    assert table.currentIndex().row() == 11
    assert table.viewport().rect().contains(table.visualRect(table.currentIndex()).center())
    assert told == [1], "the table has not answered with a selection of its own"
    opened.review.select([])
    assert selected_rows(opened) == []


@pytest.mark.parametrize("change", ["sort", "filter"])
def test_the_selection_stays_when_rows_move(opened: Any, change: str) -> None:
    opened.review.select([3, 11])
    if change == "sort":
        sort_by(opened, ID)
    else:
        opened.app.choose(opened.ui.typeFilterBox, "MS")
    assert [shown(opened)[row] for row in selected_rows(opened)] in ([3, 11], [11, 3])
    assert opened.review.selection == (3, 11)


def test_lesions_hidden_by_a_filter_stay_selected(opened: Any) -> None:
    opened.review.select([3])
    opened.app.choose(opened.ui.typeFilterBox, "WMH")
    assert (selected_rows(opened), opened.review.selection) == ([], (3,))
    opened.app.choose(opened.ui.typeFilterBox, "All types")
    assert selected_rows(opened) == [2]


# Clicks in the views


def test_a_click_in_a_slice_view_selects_the_lesion_there_and_leaves_the_views(opened: Any) -> None:
    place = opened.review.lesions.records[7].centroid_ras_mm
    green = slice_node("Green")
    before = [green.GetSliceToRAS().GetElement(axis, 3) for axis in range(3)]
    opened.app.pick(place, "Red")
    assert (opened.review.selection, selected_rows(opened)) == ((7,), [6])
    assert [green.GetSliceToRAS().GetElement(axis, 3) for axis in range(3)] == before
    opened.app.pick(opened.review.lesions.records[2].centroid_ras_mm, "Green")
    assert opened.review.selection == (2,)


def test_a_click_with_ctrl_adds_a_lesion_or_takes_it_away(opened: Any) -> None:
    from PySide6 import QtCore

    ctrl = QtCore.Qt.KeyboardModifier.ControlModifier.value
    records = opened.review.lesions.records
    opened.app.pick(records[7].centroid_ras_mm)
    opened.app.pick(records[3].centroid_ras_mm, modifiers=ctrl)
    assert opened.review.selection == (7, 3)
    opened.app.pick(records[7].centroid_ras_mm, modifiers=ctrl)
    assert opened.review.selection == (3,)


def test_a_click_beside_the_lesions_changes_nothing(opened: Any) -> None:
    opened.review.select([3])
    r, a, s = opened.review.lesions.records[3].centroid_ras_mm
    opened.app.pick((r, a + 4, s))
    assert opened.review.selection == (3,)


def drag(section: Any, pixels: int) -> None:
    """Press on lesion 7 in the red view and release some pixels to the right."""
    interactor = slicer.app.layoutManager().sliceWidget("Red").sliceView().interactor()
    place = section.review.lesions.records[7].centroid_ras_mm
    slice_node("Red").JumpSliceByCentering(*place)
    section.app.process()
    x, y = section.app.position_of(place)
    y = slicer.app.layoutManager().sliceWidget("Red").sliceView().height - 1 - y
    for event, at in (("Press", x), ("Release", x + pixels)):
        interactor.SetEventInformation(at, y, 0, 0)
        interactor.InvokeEvent(f"LeftButton{event}Event")


def test_a_drag_is_the_views_own_and_selects_nothing(opened: Any) -> None:
    drag(opened, 4)
    assert opened.review.selection == ()
    drag(opened, 1)
    assert opened.review.selection == (7,)


def test_a_click_goes_on_to_the_view(opened: Any) -> None:
    seen: list[str] = []
    interactor = slicer.app.layoutManager().sliceWidget("Red").sliceView().interactor()
    tags = [
        interactor.AddObserver(f"LeftButton{e}Event", lambda _, name: seen.append(name), 0.1)
        for e in ("Press", "Release")
    ]
    drag(opened, 0)
    for tag in tags:
        interactor.RemoveObserver(tag)
    assert seen == ["LeftButtonPressEvent", "LeftButtonReleaseEvent"]


def test_a_click_that_an_effect_of_the_segment_editor_takes_selects_nothing(opened: Any) -> None:
    interactor = slicer.app.layoutManager().sliceWidget("Red").sliceView().interactor()

    def paint(*_: Any) -> None:
        interactor.GetCommand(tag).SetAbortFlag(1)

    tag = interactor.AddObserver("LeftButtonPressEvent", paint, 1.0)
    drag(opened, 0)
    interactor.RemoveObserver(tag)
    assert opened.review.selection == ()


def test_a_click_that_places_a_point_selects_nothing(opened: Any) -> None:
    mode = slicer.app.applicationLogic().GetInteractionNode()
    mode.SetCurrentInteractionMode(mode.Place)
    drag(opened, 0)
    mode.SetCurrentInteractionMode(mode.ViewTransform)
    assert opened.review.selection == ()


def test_clicks_are_the_views_own_once_the_module_is_left(opened: Any) -> None:
    opened.exit()
    drag(opened, 0)
    assert opened.review.selection == ()
    opened.enter()
    drag(opened, 0)
    assert opened.review.selection == (7,)


def test_a_click_without_a_case_does_nothing(lesions: Any) -> None:
    flair_of(grid_of_lesions(4))
    lesions.app.pick((-36.0, -46.0, 14.0))
    assert (lesions.review.selection, lesions.panel.told) == ((), [])
