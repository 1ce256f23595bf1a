"""Painting in the Edit section: strokes in the views change one lesion alone and become edits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="no PySide6: make .venv/slicer")

import slicer
import slicer.util

from edit_cases import BAR, LEFT, LESION, RIGHT, centre, last_action, open_edit, state, voxels
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.scene.grid import array_of
from scene_cases import boxes, shown

FREE = (5.5, 18.0, 22.0)
"""A place, RAS mm, in no lesion: near the bar, on another slice."""


def paint(app: Any, edit: Any, lesion_id: int | None, effect: str = "Paint") -> None:
    """Open the painting tools for a lesion, with a brush of 4 mm at hand."""
    edit.review.select([] if lesion_id is None else [lesion_id])
    if not edit.ui.paintButton.checked:
        app.click(edit.ui.paintButton)
    node = edit.painting.editor.mrmlSegmentEditorNode()
    node.SetAttribute("BrushAbsoluteDiameter", "4")
    node.SetAttribute("BrushDiameterIsRelative", "0")
    edit.painting.editor.setActiveEffectByName(effect)


def beside(edit: Any, lesion_id: int, offset: float) -> tuple[float, float, float]:
    r, a, s = centre(edit, lesion_id)
    return r + offset, a, s


def one_layer(edit: Any) -> bool:
    node, flair = edit.review.scene.node, edit.review.scene.flair
    assert np.array_equal(shown(node, flair), edit.review.lesions.ids)
    return bool(node.GetSegmentation().GetNumberOfLayers() == 1)


def test_a_stroke_grows_the_selected_lesion_once_it_is_taken_in(app, edit):
    paint(app, edit, LESION)
    assert not edit.ui.takeInButton.enabled and "Nothing was painted" in edit.ui.takeInButton.toolTip
    app.pick(beside(edit, LESION, 4))
    assert np.array_equal(edit.review.lesions.ids, boxes())  # not yet
    app.click(edit.ui.takeInButton)
    grown = voxels(edit, LESION)
    assert grown.sum() > 288 and np.array_equal(grown & (boxes() == LESION), boxes() == LESION)
    assert last_action(edit) == ("do", "Paint L40000", "Segment Editor")
    assert one_layer(edit) and not edit.ui.takeInButton.enabled
    assert edit.review.lesions.records[LESION].status == "edited"


def test_the_neighbour_keeps_every_voxel_that_is_painted_over(app, edit):
    paint(app, edit, LEFT)
    app.pick(centre(edit, RIGHT))
    app.pick(beside(edit, LEFT, 5))
    app.click(edit.ui.takeInButton)
    assert np.array_equal(voxels(edit, RIGHT), boxes() == RIGHT)
    assert edit.review.lesions.records[RIGHT].status == "proposed"
    assert one_layer(edit)


def test_slicers_own_editor_logic_leaves_every_other_segment_as_it_is(app, edit):
    """With the choices that the panel makes in the editor node: this is what the effects call."""
    paint(app, edit, LEFT)
    node, shape = edit.painting.editor.mrmlSegmentEditorNode(), edit.review.lesions.shape
    logic = slicer.vtkSlicerSegmentEditorLogic()
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.SetSegmentEditorNode(node)
    brush = slicer.vtkOrientedImageData()
    brush.SetDimensions(*shape)
    brush.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(edit.review.lesions.affine))
    brush.AllocateScalars(3, 1)  # VTK_UNSIGNED_CHAR
    array_of(brush)[:] = 1
    segmentation = node.GetSegmentationNode()
    name = node.GetSelectedSegmentID()
    logic.ModifySegmentByLabelmap(segmentation, name, brush, logic.ModificationModeAdd, False, False)
    for lesion_id in (RIGHT, BAR, LESION):
        other = slicer.util.arrayFromSegmentBinaryLabelmap(
            segmentation, f"L{lesion_id:04d}", edit.review.scene.flair
        )
        assert np.array_equal(other.T > 0, boxes() == lesion_id)
    app.click(edit.ui.takeInButton)
    assert np.array_equal(voxels(edit, LEFT), (boxes() == LEFT) | (boxes() == 0))


def test_erase_takes_voxels_of_the_selected_lesion_alone(app, edit):
    paint(app, edit, LEFT, "Erase")
    app.pick(centre(edit, RIGHT))
    app.pick(centre(edit, LEFT))
    app.click(edit.ui.takeInButton)
    assert 0 < voxels(edit, LEFT).sum() < 100
    assert np.array_equal(voxels(edit, RIGHT), boxes() == RIGHT)


def test_undo_takes_back_what_was_painted_and_not_taken_in_yet(app, edit):
    before = state(edit)
    paint(app, edit, LESION)
    app.pick(beside(edit, LESION, 4))
    edit.review.undo()  # the button follows
    assert state(edit) == before and one_layer(edit)
    assert edit.ui.redoButton.text == "Redo: Paint L40000"
    app.click(edit.ui.redoButton)
    assert voxels(edit, LESION).sum() > 288
    app.click(edit.ui.undoButton)
    app.pick(beside(edit, LESION, 4))  # the brush is still at hand
    app.click(edit.ui.takeInButton)
    assert voxels(edit, LESION).sum() > 288


def another_edit(app: Any, edit: Any) -> None:
    app.click(edit.ui.acceptButton)


def selecting_another(app: Any, edit: Any) -> None:
    edit.review.select([BAR])


def closing_the_tools(app: Any, edit: Any) -> None:
    app.click(edit.ui.paintButton)


def opening_the_split_tools(app: Any, edit: Any) -> None:
    app.click(edit.ui.splitButton)


def leaving_the_module(app: Any, edit: Any) -> None:
    edit.exit()


@pytest.mark.parametrize(
    "leave",
    [another_edit, selecting_another, closing_the_tools, opening_the_split_tools, leaving_the_module],
)
def test_what_was_painted_is_taken_in_before(app, edit, leave):
    paint(app, edit, LESION)
    app.pick(beside(edit, LESION, 4))
    leave(app, edit)
    assert "Paint L40000" in [action.name for action in edit.review.session.audit()]
    assert voxels(edit, LESION).sum() > 288
    assert not edit.ui.takeInButton.enabled and one_layer(edit)


def test_the_brush_follows_the_selection(app, edit):
    paint(app, edit, LEFT)
    assert edit.ui.paintLabel.text.startswith("Painting in L0001 WMH")
    edit.review.select([BAR])
    assert edit.painting.editor.currentSegmentID() == "L0003"
    assert edit.ui.paintLabel.text.startswith("Painting in L0003 stroke")
    edit.review.select([])
    assert edit.painting.editor.currentSegmentID() == "" and edit.painting.editor.activeEffect() is None
    assert edit.ui.paintLabel.text == "Select a lesion to paint in it, or add one"


def test_a_lesion_that_is_added_gets_its_type_and_id_when_it_is_taken_in(app, edit):
    paint(app, edit, LEFT)
    app.choose(edit.ui.newTypeComboBox, "MS")
    app.click(edit.ui.addButton)
    assert edit.ui.paintLabel.text.startswith("Painting a new lesion")
    app.pick(FREE)
    app.click(edit.ui.takeInButton)
    record = edit.review.lesions.records[40001]
    assert (record.type, record.status) == (LesionType.MS, "edited")
    assert edit.review.selection == (40001,)
    assert edit.painting.editor.currentSegmentID() == "L40001"  # to be painted on
    assert np.linalg.norm(np.subtract(record.centroid_ras_mm, FREE)) < 2
    assert np.array_equal(np.where(edit.review.lesions.ids == 40001, 0, edit.review.lesions.ids), boxes())
    app.click(edit.ui.undoButton)
    assert np.array_equal(edit.review.lesions.ids, boxes())


def test_a_second_added_lesion_takes_in_the_first(app, edit):
    paint(app, edit, None)
    app.click(edit.ui.addButton)
    app.pick(FREE)
    app.click(edit.ui.addButton)
    app.pick((FREE[0], FREE[1] + 8, FREE[2]))
    app.click(edit.ui.takeInButton)
    assert {40001, 40002} <= edit.review.lesions.records.keys()


def test_an_added_lesion_that_stays_empty_leaves_nothing(app, edit):
    paint(app, edit, LEFT)
    app.click(edit.ui.addButton)
    app.click(edit.ui.acceptButton)
    assert sorted(edit.review.lesions.records) == [LEFT, RIGHT, BAR, LESION]
    assert edit.review.scene.node.GetSegmentation().GetNumberOfSegments() == 4
    assert edit.painting.editor.currentSegmentID() == "L0001"


def test_options_that_reach_other_segments_are_switched_off_again(app, edit):
    paint(app, edit, LEFT, "Erase")
    node = edit.painting.editor.mrmlSegmentEditorNode()
    for option in ("Erase.EraseAllSegments", "Scissors.ApplyToAllVisibleSegments"):
        node.SetAttribute(option, "1")
        assert node.GetAttribute(option) == "0"


def test_the_editor_has_four_effects_and_nothing_to_choose_other_segments_with(app, edit):
    paint(app, edit, LEFT)
    editor = edit.painting.editor
    assert list(editor.effectNameOrder()) == ["Paint", "Draw", "Erase", "Scissors"]
    hidden = (
        *("unorderedEffectsVisible", "segmentationNodeSelectorVisible", "sourceVolumeNodeSelectorVisible"),
        *("addRemoveSegmentButtonsVisible", "maskingSectionVisible", "undoEnabled"),
    )
    assert not any(getattr(editor, name) for name in hidden)
    tables = [*slicer.util.findChildren(editor, "SegmentsTableResizableFrame")]
    assert len(tables) == 1 and not tables[0].visible
    node = editor.mrmlSegmentEditorNode()
    assert node.GetOverwriteMode() == node.OverwriteNone
    assert not node.GetSaveWithScene()


def test_a_rejected_lesion_is_not_painted_in(app, edit):
    edit.review.select([BAR])
    app.click(edit.ui.rejectButton)
    paint(app, edit, BAR)
    assert edit.painting.editor.currentSegmentID() == ""
    app.click(edit.ui.restoreButton)
    assert edit.painting.editor.currentSegmentID() == "L0003"


def test_closed_tools_leave_the_editor_without_a_segmentation(app, edit):
    paint(app, edit, LEFT)
    app.click(edit.ui.paintButton)
    assert edit.painting.editor.segmentationNode() is None
    assert not edit.ui.paintFrame.visible
    edit.review.select([BAR])
    before = state(edit)
    app.pick(beside(edit, BAR, 3))  # a click in a view paints no more
    assert edit.review.take_in_painting() is None and state(edit) == before


def test_closing_the_case_closes_the_tools_and_the_next_case_can_be_painted(app, edit, tmp_path):
    paint(app, edit, LEFT)
    edit.review.close()
    assert not edit.ui.paintButton.checked and edit.painting.editor.segmentationNode() is None
    slicer.mrmlScene.Clear(0)
    from LesionSegmenterLib.scene.io import Opened
    from panel_lesions import flair_of
    from scene_cases import affine, lesion_map

    lesions = lesion_map(boxes(), affine())
    edit.review.open(Opened(lesions, flair_of(lesions), ()), tmp_path / "next", "02", "Ada")
    paint(app, edit, LESION)
    app.pick(beside(edit, LESION, 4))
    app.click(edit.ui.takeInButton)
    assert voxels(edit, LESION).sum() > 288


def test_too_many_lesions_for_the_segment_editor_are_told(section, tmp_path, monkeypatch):
    monkeypatch.setattr("LesionSegmenterLib.scene.lesion_scene.MOST_SEGMENTS", 2)
    edit = open_edit(section, tmp_path)
    assert not edit.ui.paintButton.enabled
    assert "too many lesions" in edit.ui.paintButton.toolTip
    edit.review.select([BAR])
    section.app.click(edit.ui.growButton)  # the rest works
    assert voxels(edit, BAR).sum() == 38


def test_a_stroke_that_cannot_be_recorded_is_told_and_kept(app, edit, monkeypatch):
    paint(app, edit, LESION)
    app.pick(beside(edit, LESION, 4))

    def full(*_: Any) -> None:
        from LesionSegmenterLib.errors import InputError

        raise InputError("the disk is full")

    monkeypatch.setattr(edit.review.session.journal, "append", full)
    app.click(edit.ui.takeInButton)
    assert edit.panel.told == ["the disk is full"]
    monkeypatch.undo()
    painted: npt.NDArray[np.bool_] = voxels(edit, LESION)
    assert painted.sum() == 288
    app.click(edit.ui.takeInButton)
    assert voxels(edit, LESION).sum() > 288
