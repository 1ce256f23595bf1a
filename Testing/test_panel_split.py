"""Splitting in the Edit section: a live preview in the views, points clicked there, apply or discard."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="no PySide6: make .venv/slicer")

import slicer
import slicer.util

from edit_cases import BAR, LEFT, LESION, RIGHT, centre, last_action, state, voxels
from LesionSegmenterLib import edits
from scene_cases import boxes

PREVIEW, POINTS = "Split preview", "Split points"
PARTS = "Compact parts of about equal extent"
NEAREST, WATERSHED, WALKER = "Seeds: nearest", "Seeds: watershed", "Seeds: random walker"
LINE = "Line in a slice view"


def begin(app: Any, edit: Any, lesion_id: int, method: str) -> None:
    """Open the tools for a lesion and choose a method."""
    edit.review.select([lesion_id])
    if not edit.ui.splitButton.checked:
        app.click(edit.ui.splitButton)
    app.choose(edit.ui.methodComboBox, method)


def settle(app: Any, edit: Any) -> None:
    """Wait until the preview has caught up with what was moved."""
    app.wait(lambda: not edit.splitting._timer.active)


def node(name: str) -> Any:
    """The scene's node of a name; None where there is none."""
    found = slicer.mrmlScene.GetNodesByName(name)
    return found.GetItemAsObject(0) if found.GetNumberOfItems() else None


def previewed(edit: Any) -> npt.NDArray[np.int32]:
    """The part of every voxel of the FLAIR, as Slicer exports the preview's segments."""
    flair, preview = edit.review.scene.flair, node(PREVIEW)
    parts = np.zeros(flair.GetImageData().GetDimensions(), np.int32)
    for number, name in enumerate(preview.GetSegmentation().GetSegmentIDs(), 1):
        parts[slicer.util.arrayFromSegmentBinaryLabelmap(preview, name, flair).T > 0] = number
    return parts


def points(edit: Any) -> list[str]:
    listed = edit.ui.pointsList
    return [listed.item(row).text() for row in range(listed.count)]


def place(app: Any, edit: Any, *offsets: float, lesion_id: int = LESION) -> None:
    """Click points beside a lesion's centre in the axial view, by offsets in mm to the right."""
    r, a, s = centre(edit, lesion_id)
    for offset in offsets:
        app.pick((r + offset, a, s))
    settle(app, edit)


def test_the_preview_shows_what_apply_then_does_and_nothing_is_recorded_before(app, edit):
    before, recorded = state(edit), len(edit.review.session.actions)
    begin(app, edit, LESION, PARTS)
    app.type(edit.ui.partsSpinBox, "3")
    settle(app, edit)
    seen = previewed(edit)
    assert state(edit) == before and len(edit.review.session.actions) == recorded
    assert edit.ui.previewLabel.text == "3 parts: 288, 288, 288 mm³"
    app.click(edit.ui.applyButton)
    ids = edit.review.lesions.ids
    assert np.array_equal(seen > 0, boxes() == LESION)
    assert [np.unique(ids[seen == part]).tolist() for part in (1, 2, 3)] == [[40001], [40002], [40003]]
    assert last_action(edit) == ("do", "Split L40000 by parts", "parts")
    assert edit.review.selection == (40001, 40002, 40003)
    assert node(PREVIEW) is None and not edit.ui.splitButton.checked
    assert not edit.ui.splitFrame.visible


def test_undo_takes_the_split_back(app, edit):
    before = state(edit)
    begin(app, edit, LESION, PARTS)
    app.click(edit.ui.applyButton)
    app.click(edit.ui.undoButton)
    assert state(edit) == before
    assert edit.review.selection == (LESION,)


def test_connected_components_part_what_does_not_touch(app, edit):
    edit.review.do("Merge", lambda lesions: edits.merge(lesions, [BAR, LESION]))
    begin(app, edit, LESION, "Connected components")
    assert edit.ui.previewLabel.text == "2 parts: 864, 36 mm³"
    app.click(edit.ui.applyButton)
    assert np.array_equal(voxels(edit, 40001), boxes() == LESION)


@pytest.mark.parametrize(
    ("method", "key"),
    [
        ("Peaks of the probability (ACLS)", "acls"),
        ("Peaks of the probability (ACLS as in ConfLUNet)", "acls-conflunet"),
    ],
)
def test_the_peaks_of_the_probability_part_a_confluent_lesion(app, edit, method, key):
    edit.review.do("Merge", lambda lesions: edits.merge(lesions, [LEFT, RIGHT]))
    whole = voxels(edit, LEFT)
    i, j, k = np.indices(whole.shape)
    peaks = [np.exp(-((i - n) ** 2 + (j - 6) ** 2 + (k - 4.5) ** 2) / 12) for n in (6, 11)]
    edit.review.lesions.probability = np.maximum(*peaks)
    begin(app, edit, LEFT, method)
    app.click(edit.ui.applyButton)
    first, second = edit.review.selection
    ids = edit.review.lesions.ids
    assert {ids[6, 6, 4], ids[11, 6, 4]} == {first, second}
    assert np.array_equal(np.isin(ids, [first, second]), whole)
    assert last_action(edit)[1:] == (f"Split L0001 by {key}", key)


def test_a_lesion_that_stays_whole_is_told_and_cannot_be_applied(app, edit):
    begin(app, edit, LESION, "Connected components")
    assert "stays in one part" in edit.ui.previewLabel.text
    assert not edit.ui.applyButton.enabled
    assert edit.ui.applyButton.toolTip == edit.ui.previewLabel.text
    assert node(PREVIEW) is None


def test_points_clicked_in_a_view_are_seeds_and_the_preview_follows_each(app, edit):
    begin(app, edit, LESION, NEAREST)
    assert edit.ui.placeButton.checked  # clicks place points at once
    place(app, edit, -2.4)
    assert "two seeds or more" in edit.ui.previewLabel.text
    place(app, edit, 2)
    assert edit.ui.previewLabel.text == "2 parts: 432, 432 mm³"
    assert len(points(edit)) == 2
    seeds = edit.splitting._points.points
    assert np.allclose(np.array(seeds) - centre(edit, LESION), [[-2.4, 0, 0], [2, 0, 0]], atol=0.5)
    app.click(edit.ui.applyButton)
    lower, upper = (voxels(edit, i) for i in edit.review.selection)
    assert {np.flatnonzero(side.any(axis=(1, 2)))[0] for side in (lower, upper)} == {20, 23}
    assert node(POINTS) is None


def test_a_point_can_be_dragged_and_removed(app, edit):
    begin(app, edit, LESION, NEAREST)
    place(app, edit, -2, 2)
    whole = previewed(edit)
    app.click(edit.ui.placeButton)  # no more points: the mouse moves those that are there
    markups = node(POINTS)
    r, a, s = markups.GetNthControlPointPositionWorld(1)
    app.drag([(r, a, s), (r, a + 1.5, s), (r, a + 3, s)])
    settle(app, edit)
    assert np.allclose(edit.splitting._points.points[1], (r, a + 3, s), atol=0.6)
    assert not np.array_equal(previewed(edit), whole)
    assert len(points(edit)) == 2
    app.click_row(edit.ui.pointsList, 1)
    app.click(edit.ui.removePointButton)
    settle(app, edit)
    assert len(points(edit)) == 1 and len(edit.splitting._points.points) == 1
    assert "two seeds or more" in edit.ui.previewLabel.text


def test_the_mouse_that_only_moves_over_a_view_plans_nothing_anew(app, edit):
    from PySide6 import QtCore, QtTest

    begin(app, edit, LESION, NEAREST)
    place(app, edit, -2, 2)
    r, a, s = centre(edit, LESION)
    QtTest.QTest.mouseMove(
        slicer.app._cpp.layoutManager().sliceWidget("Red").sliceView(),
        QtCore.QPoint(*app.position_of((r + 1, a + 2, s))),
    )
    assert node(POINTS).GetNumberOfControlPoints() == 3  # the third is the one under the mouse
    assert not edit.splitting._timer.active and edit.ui.applyButton.enabled
    assert len(points(edit)) == 2


def test_ending_to_place_in_the_views_releases_the_button(app, edit):
    begin(app, edit, LESION, NEAREST)
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)  # what a right click in a view does
    assert not edit.ui.placeButton.checked
    app.click(edit.ui.placeButton)
    assert interaction.GetCurrentInteractionMode() == interaction.Place


@pytest.mark.parametrize("method", [WATERSHED, WALKER])
def test_watershed_and_random_walker_split_by_the_same_points(app, edit, method):
    flair = slicer.util.arrayFromVolume(edit.review.scene.flair)
    flair[:] = 100
    flair[:, :, 24:] = 200  # of the box from 20 to 25
    begin(app, edit, LESION, method)
    place(app, edit, -2, 2)
    assert edit.ui.applyButton.enabled, edit.ui.previewLabel.text
    app.click(edit.ui.applyButton)
    parts = [voxels(edit, i) for i in edit.review.selection]
    assert np.array_equal(parts[0] | parts[1], boxes() == LESION)
    if method == WALKER:
        assert {np.flatnonzero(part.any(axis=(1, 2)))[0] for part in parts} == {20, 24}


def test_a_line_in_a_view_cuts_through_all_slices(app, edit):
    begin(app, edit, LESION, LINE)
    assert "a line has two points" in edit.ui.previewLabel.text
    r, a, s = centre(edit, LESION)
    app.pick((r - 5, a + 1, s))  # beside the lesion, on either side
    app.pick((r + 5, a + 1, s))
    settle(app, edit)
    assert edit.ui.applyButton.enabled, edit.ui.previewLabel.text
    app.click(edit.ui.applyButton)
    behind, front = sorted(
        (voxels(edit, i) for i in edit.review.selection), key=lambda part: part.nonzero()[1][0]
    )
    assert np.flatnonzero(behind.any(axis=(0, 2))).tolist() == [14, 15, 16, 17, 18]
    assert np.flatnonzero(front.any(axis=(0, 2))).tolist() == [19, 20, 21]
    assert behind.any(axis=(0, 1)).sum() == 6


def test_points_that_no_view_shows_together_make_no_line(app, edit):
    begin(app, edit, LESION, LINE)
    r, a, s = centre(edit, LESION)
    markups = node(POINTS)
    markups.AddControlPoint(r - 5, a + 1, s)
    markups.AddControlPoint(r + 5, a + 4, s + 7)
    settle(app, edit)
    assert "no slice view shows both points" in edit.ui.previewLabel.text


def leave_by_discard(app: Any, edit: Any) -> None:
    app.click(edit.ui.discardButton)


def leave_by_the_button(app: Any, edit: Any) -> None:
    app.click(edit.ui.splitButton)


def leave_by_selecting_another(app: Any, edit: Any) -> None:
    edit.review.select([BAR])


def leave_by_painting(app: Any, edit: Any) -> None:
    app.click(edit.ui.paintButton)


def leave_by_another_module(app: Any, edit: Any) -> None:
    edit.exit()


def leave_by_closing_the_case(app: Any, edit: Any) -> None:
    edit.review.close()


def leave_by_rejecting(app: Any, edit: Any) -> None:
    app.click(edit.ui.rejectButton)


def leave_by_deleting(app: Any, edit: Any) -> None:
    app.click(edit.ui.deleteButton)


@pytest.mark.parametrize(
    "leave",
    [
        leave_by_discard,
        leave_by_the_button,
        leave_by_selecting_another,
        leave_by_painting,
        leave_by_another_module,
        leave_by_closing_the_case,
        leave_by_rejecting,
        leave_by_deleting,
    ],
)
def test_nothing_is_left_of_a_preview(app, edit, leave):
    before = voxels(edit, LEFT)
    begin(app, edit, LESION, NEAREST)
    place(app, edit, -2, 2)
    assert node(PREVIEW) is not None and node(POINTS) is not None
    lesions = edit.review.lesions
    leave(app, edit)
    app.process(0.2)  # nor does one come back
    assert node(PREVIEW) is None and node(POINTS) is None
    assert not edit.ui.splitButton.checked and not edit.ui.splitFrame.visible
    interaction = slicer.app.applicationLogic().GetInteractionNode()
    assert interaction.GetCurrentInteractionMode() == interaction.ViewTransform
    assert points(edit) == []
    assert np.array_equal(lesions.ids == LEFT, before)
    assert 40001 not in lesions.records


def test_preview_and_points_stand_in_no_list_of_nodes_and_no_saved_scene(app, edit, tmp_path):
    begin(app, edit, LESION, NEAREST)
    place(app, edit, -2, 2)
    for name in (PREVIEW, POINTS):
        made = node(name)
        assert made.GetHideFromEditors() and not made.GetSaveWithScene()
        assert not made.GetDisplayNode().GetSaveWithScene()
    saved = tmp_path / "scene.mrml"
    slicer.mrmlScene.SetURL(str(saved))
    slicer.mrmlScene.Commit(str(saved))
    text = saved.read_text()
    assert PREVIEW not in text and POINTS not in text
    assert "01 lesions" in text


def test_the_preview_is_seen_in_the_view(app, edit):
    begin(app, edit, LESION, PARTS)
    app.type(edit.ui.partsSpinBox, "2")
    settle(app, edit)
    i, j, k = np.argwhere(previewed(edit) == 1)[0]
    to_ras = edit.review.lesions.affine
    place_ras = tuple((to_ras @ [i, j, k, 1])[:3])
    edit.review.scene.jump_to(LESION)
    slicer.app._cpp.layoutManager().sliceWidget("Red").mrmlSliceNode().JumpSlice(*place_ras)
    shown = app.colour(place_ras)
    app.click(edit.ui.discardButton)
    assert app.colour(place_ras) != shown


def test_an_edit_of_the_lesion_makes_the_preview_follow(app, edit):
    begin(app, edit, LESION, PARTS)
    edit.review.do("Shrink", lambda lesions: edits.shrink(lesions, LESION, 1.0))
    settle(app, edit)
    assert (previewed(edit) > 0).sum() == voxels(edit, LESION).sum() < 288
    app.click(edit.ui.applyButton)
    assert len(edit.review.selection) == 2


def test_splitting_needs_one_lesion(edit):
    assert not edit.ui.splitButton.enabled
    edit.review.select([LEFT, RIGHT])
    assert not edit.ui.splitButton.enabled and "one lesion" in edit.ui.splitButton.toolTip


def test_another_method_forgets_points_only_where_it_needs_none(app, edit):
    begin(app, edit, LESION, NEAREST)
    place(app, edit, -2, 2)
    app.choose(edit.ui.methodComboBox, WATERSHED)
    assert len(points(edit)) == 2
    app.choose(edit.ui.methodComboBox, PARTS)
    assert points(edit) == [] and node(POINTS) is None
    assert edit.ui.partsSpinBox.visible and not edit.ui.pointsWidget.visible


def test_keys_open_the_tools_and_apply(app, edit):
    edit.panel.shortcuts.activate()
    edit.review.select([LESION])
    app.key("Shift+K")  # nothing is open: nothing happens
    app.key("K")
    app.choose(edit.ui.methodComboBox, PARTS)
    app.key("Shift+K")
    assert sorted(edit.review.lesions.records) == [LEFT, RIGHT, BAR, 40001, 40002]
