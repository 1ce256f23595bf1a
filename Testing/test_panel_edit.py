"""The Edit section's buttons: what they do to the selected lesions, and when they cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="no PySide6: make .venv/slicer")

from edit_cases import BAR, LEFT, LESION, RIGHT, last_action, state, voxels
from LesionSegmenterLib.labels import LesionType
from scene_cases import boxes, shown

LABELLING = {
    "wmhButton": LesionType.WMH,
    "strokeButton": LesionType.STROKE,
    "msButton": LesionType.MS,
    "lesionButton": LesionType.LESION,
}
ACTING = (
    *LABELLING,
    *("acceptButton", "rejectButton", "restoreButton", "deleteButton", "mergeButton", "growButton"),
    *("shrinkButton", "splitButton", "undoButton", "redoButton"),
)
SLICERS_OWN = {*"ZYQW,./*<>I0123456789BFGRTV[]{}", "Space", "Esc", "Ctrl+Z", "Ctrl+Y", "Ctrl+S", "Del"}


def click(app: Any, edit: Any, name: str) -> None:
    app.click(getattr(edit.ui, name))


def enabled(edit: Any) -> set[str]:
    return {name for name in ACTING if getattr(edit.ui, name).enabled}


@pytest.mark.parametrize("name", LABELLING)
def test_a_type_button_gives_the_selected_lesions_its_type(app, edit, name):
    lesion_type = LABELLING[name]
    others = [i for i, r in edit.review.lesions.records.items() if r.type != lesion_type]
    edit.review.select(others)
    click(app, edit, name)
    records = edit.review.lesions.records
    assert {records[i].type for i in others} == {lesion_type}
    assert last_action(edit)[:2] == (
        "do",
        f"Relabel {', '.join(f'L{i:04d}' for i in others[:3])}"
        + (f" and {len(others) - 3} more" if others[3:] else "")
        + f" as {lesion_type.label}",
    )


def test_the_type_that_a_lesion_has_is_not_offered(edit):
    edit.review.select([BAR])  # a stroke lesion
    assert not edit.ui.strokeButton.enabled
    assert "already" in edit.ui.strokeButton.toolTip
    assert edit.ui.msButton.enabled


def test_accept_and_reject_state_what_becomes_of_the_lesions_and_restore_takes_rejecting_back(app, edit):
    records = edit.review.lesions.records
    edit.review.select([LEFT, RIGHT])
    click(app, edit, "acceptButton")
    assert {records[LEFT].status, records[RIGHT].status, records[BAR].status} == {"accepted", "proposed"}
    assert not edit.ui.acceptButton.enabled
    click(app, edit, "rejectButton")
    assert {records[LEFT].status, records[RIGHT].status} == {"rejected"}
    assert not edit.ui.rejectButton.enabled
    edit.review.select([LEFT, BAR])
    click(app, edit, "restoreButton")  # of these two it is about the rejected one alone
    assert [records[i].status for i in (LEFT, RIGHT, BAR)] == ["proposed", "rejected", "proposed"]
    assert last_action(edit)[1] == "Restore L0001"


def test_delete_removes_the_selected_and_undo_brings_them_back(app, edit):
    before = state(edit)
    edit.review.select([LEFT, BAR])
    click(app, edit, "deleteButton")
    assert sorted(edit.review.lesions.records) == [RIGHT, LESION]
    click(app, edit, "undoButton")
    assert state(edit) == before


def test_merge_makes_one_lesion_of_two(app, edit):
    edit.review.select([LEFT])
    assert not edit.ui.mergeButton.enabled and "two" in edit.ui.mergeButton.toolTip
    edit.review.select([LEFT, RIGHT])
    click(app, edit, "mergeButton")
    assert np.array_equal(voxels(edit, LEFT), np.isin(boxes(), [LEFT, RIGHT]))
    assert edit.review.selection == (LEFT,)


def test_grow_and_shrink_move_the_border_by_the_length_that_is_stated(app, edit):
    edit.review.select([BAR])
    click(app, edit, "growButton")  # by 1 mm: slices are 3 mm apart
    assert voxels(edit, BAR).sum() == 12 * 3 + 2
    app.type(edit.ui.lengthSpinBox, "3.0")
    click(app, edit, "growButton")
    slices = np.flatnonzero(voxels(edit, BAR).any(axis=(0, 1)))
    assert slices.tolist() == [5, 6, 7]
    app.type(edit.ui.lengthSpinBox, "1.0")
    before = voxels(edit, BAR).sum()
    click(app, edit, "shrinkButton")
    assert 0 < voxels(edit, BAR).sum() < before
    assert last_action(edit)[1] == "Shrink L0003 by 1 mm"


def test_a_length_that_takes_all_of_a_lesion_is_refused_in_words(app, edit):
    before = state(edit)
    edit.review.select([BAR])
    click(app, edit, "shrinkButton")
    assert edit.panel.told == ["lesion 3 is gone within 1 mm. Shrink it by less, or delete it"]
    assert state(edit) == before


def test_undo_and_redo_name_what_they_would_do(app, edit):
    assert (edit.ui.undoButton.text, edit.ui.redoButton.text) == ("Undo", "Redo")
    edit.review.select([BAR])
    click(app, edit, "acceptButton")
    click(app, edit, "msButton")
    assert edit.ui.undoButton.text == "Undo: Relabel L0003 as MS"
    assert edit.ui.undoButton.toolTip.endswith(": Relabel L0003 as MS")
    click(app, edit, "undoButton")
    assert (edit.ui.undoButton.text, edit.ui.redoButton.text) == (
        "Undo: Accept L0003",
        "Redo: Relabel L0003 as MS",
    )
    click(app, edit, "redoButton")
    assert edit.review.lesions.records[BAR].type == LesionType.MS
    assert not edit.ui.redoButton.enabled


def test_a_long_name_is_cut_on_the_button_and_whole_in_its_tooltip(app, edit):
    edit.review.select([LEFT, RIGHT, BAR, LESION])
    click(app, edit, "lesionButton")
    assert edit.ui.undoButton.text.endswith("…")
    assert "Relabel L0001, L0002, L0003 and 1 more as lesion" in edit.ui.undoButton.toolTip


def test_without_a_case_nothing_can_be_pressed_and_every_button_says_why(section):
    edit = section("edit", "EditSection")
    assert enabled(edit) == set() and not edit.ui.paintButton.enabled
    assert edit.ui.selectionLabel.text == "No case is open"
    assert "first" in edit.ui.deleteButton.toolTip and "first" in edit.ui.paintButton.toolTip


def test_closing_the_case_disables_the_buttons_again(edit):
    edit.review.select([LEFT])
    assert {"acceptButton", "growButton", "splitButton"} <= enabled(edit)
    edit.review.close()
    assert enabled(edit) == set()


def test_a_rejected_lesion_has_to_be_restored_before_it_is_reshaped(app, edit):
    edit.review.select([LEFT])
    click(app, edit, "rejectButton")
    for name in ("growButton", "shrinkButton", "splitButton"):
        assert not getattr(edit.ui, name).enabled
        assert "Restore" in getattr(edit.ui, name).toolTip
    edit.review.select([LEFT, RIGHT])
    assert "Restore" in edit.ui.mergeButton.toolTip


def test_the_selection_is_told_with_its_volume(edit):
    edit.review.select([BAR])
    assert edit.ui.selectionLabel.text == "L0003 stroke, 36 mm³, proposed"
    edit.review.select([BAR, LESION])
    assert edit.ui.selectionLabel.text == "2 lesions, 900 mm³"


def test_keys_press_the_buttons_while_the_module_is_entered(app, edit):
    keys = edit.panel.shortcuts
    edit.review.select([BAR])
    app.key("Shift+M")
    assert edit.review.lesions.records[BAR].type == LesionType.STROKE  # not entered yet
    keys.activate()
    app.key("Shift+M")
    assert edit.review.lesions.records[BAR].type == LesionType.MS
    app.key("U")
    app.key("M")  # merging needs two: nothing happens
    assert edit.review.lesions.records[BAR].type == LesionType.STROKE
    assert sorted(edit.review.lesions.records) == [LEFT, RIGHT, BAR, LESION]


def test_no_key_is_one_of_slicers_and_the_tooltips_tell_them(edit):
    keys = [key.upper() for key, _text in tuple(edit.panel.shortcuts.keys())]
    assert len(keys) == 12
    assert not set(keys) & {own.upper() for own in SLICERS_OWN}
    edit.review.select([BAR])
    told = {"msButton": "(Shift+M)", "splitButton": "(K)", "paintButton": "(P)", "deleteButton": "(Shift+D)"}
    assert all(getattr(edit.ui, name).toolTip.endswith(key) for name, key in told.items())


def test_every_edit_is_shown_as_it_is_made(app, edit):
    edit.review.select([LEFT, RIGHT])
    click(app, edit, "mergeButton")
    node, flair = edit.review.scene.node, edit.review.scene.flair
    assert np.array_equal(shown(node, flair), edit.review.lesions.ids)
    assert node.GetSegmentation().GetNumberOfLayers() == 1


@pytest.mark.parametrize("opened", ["splitButton", "paintButton"])
def test_no_text_is_cut_off_in_a_narrow_panel(app, edit, opened):
    edit.review.select([BAR])
    click(app, edit, "acceptButton")
    click(app, edit, "msButton")
    click(app, edit, "undoButton")
    click(app, edit, opened)
    widget = edit.widget._cpp
    app.window._cpp.centralWidget().setSizes([400, 880])
    app.process()
    assert widget.width() <= 400
    assert widget.minimumSizeHint().width() <= 380
    from PySide6 import QtWidgets

    for button in widget.findChildren(QtWidgets.QPushButton):
        icon = 0 if button.icon().isNull() else button.iconSize().width() + 4
        wanted = button.fontMetrics().horizontalAdvance(button.text()) + icon
        assert not button.isVisible() or wanted <= button.width(), button.text()
