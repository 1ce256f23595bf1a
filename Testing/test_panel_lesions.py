"""The Lesions section: the table, its filters, the way through the lesions, clicks in the views, opening."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="no PySide6: make .venv/slicer")

import slicer
import slicer.util
from scipy.spatial.transform import Rotation

from LesionSegmenterLib import edits
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import LesionMap
from LesionSegmenterLib.measure import measure_lesions
from LesionSegmenterLib.scene_io import Opened
from LesionSegmenterLib.scene_tags import segment_id
from panel_cases import make_case
from panel_lesions import flair_of, grid_of_lesions, review
from scene_cases import paint

COLUMNS = ["Lesion", "Type", "ml", "Sure", "Status", "Centre", "Note"]
ID, TYPE, ML, SURE, STATUS, CENTRE, NOTE = range(7)


@pytest.fixture
def lesions(section: Any) -> Any:
    """The section with no case open."""
    made = section("lesions", "LesionsSection")
    made.app = section.app
    made.enter()
    made.panel.shortcuts.activate()
    yield made
    made.panel.shortcuts.cleanup()


@pytest.fixture
def opened(lesions: Any, tmp_path: Path) -> Any:
    """The section with twelve lesions under review."""
    review(lesions.review, tmp_path)
    lesions.app.process()
    return lesions


def cells(section: Any, column: int) -> list[str]:
    """A column as it is shown, from the top."""
    model = section.ui.lesionTable.model()
    return [model.data(model.index(row, column)) for row in range(model.rowCount())]


def shown(section: Any) -> list[int]:
    return [int(text[1:]) for text in cells(section, ID)]


def selected_rows(section: Any) -> list[int]:
    return sorted(index.row() for index in section.ui.lesionTable.selectionModel().selectedRows())


def sort_by(section: Any, column: int) -> None:
    """Click on a column's title."""
    from PySide6 import QtCore

    header = section.ui.lesionTable.horizontalHeader()._cpp
    x = header.sectionViewportPosition(column) + header.sectionSize(column) // 2
    section.app._mouse(header.viewport(), QtCore.QPoint(x, header.height() // 2))


def click(section: Any, lesion_id: int, *, ctrl: bool = False) -> None:
    from PySide6 import QtCore

    control = QtCore.Qt.KeyboardModifier.ControlModifier.value if ctrl else None
    section.app.click_row(section.ui.lesionTable, shown(section).index(lesion_id), ID, control)


def slice_node(view: str) -> Any:
    return slicer.app.layoutManager().sliceWidget(view).mrmlSliceNode()


def statuses(section: Any) -> dict[int, str]:
    return {i: record.status for i, record in section.review.lesions.records.items()}


# The table


def test_every_lesion_has_a_row_that_says_what_its_record_says(opened: Any) -> None:
    record = opened.review.lesions.records[3]
    row = [cells(opened, column)[2] for column in range(len(COLUMNS))]
    doubt = max(1 - abs(2 * record.mean_probability - 1), 1 - record.type_confidence)
    r, a, s = record.centroid_ras_mm
    assert r < 0 and a < 0 < s
    centre = f"L{-r:.0f} P{-a:.0f} S{s:.0f}"
    volume = f"{record.voxels * 2 / 1000:.3f}"  # voxels of 1 x 1 x 2 mm
    assert row == ["L0003", "MS", volume, f"{1 - doubt:.0%}", "proposed", centre, ""]
    assert shown(opened) == list(range(1, 13))


def test_a_lesion_that_no_model_judged_has_no_confidence_and_comes_first_by_it(opened: Any) -> None:
    drawn = replace(opened.review.lesions.records[12], mean_probability=None, type_confidence=None)
    opened.table.show({**opened.review.lesions.records, 12: drawn})
    sort_by(opened, SURE)
    assert (cells(opened, SURE)[0], shown(opened)[0]) == ("", 12)


def test_titles_and_cells_explain_themselves(opened: Any) -> None:
    import qt

    model = opened.ui.lesionTable.model()
    assert [model.headerData(n, qt.Qt.Horizontal, qt.Qt.DisplayRole) for n in range(7)] == COLUMNS
    for column in range(7):
        about = model.headerData(column, qt.Qt.Horizontal, qt.Qt.ToolTipRole)
        assert about and model.data(model.index(0, column), qt.Qt.ToolTipRole) == about


@pytest.mark.parametrize("column", range(7))
def test_a_click_on_a_title_sorts_and_another_sorts_the_other_way(opened: Any, column: int) -> None:
    from LesionSegmenterLib.panel.lesion_table import confidence

    records = opened.review.lesions.records
    keys: dict[int, Callable[[Any], Any]] = {
        ID: lambda record: record.lesion_id,
        TYPE: lambda record: int(record.type),
        ML: lambda record: record.volume_mm3,
        SURE: confidence,
        STATUS: lambda record: record.status,
        CENTRE: lambda record: record.centroid_ras_mm[::-1],
        NOTE: lambda record: record.note,
    }
    opened.review.do("Accept", lambda lesions: edits.accept(lesions, [2, 9]))
    opened.review.do("Note", lambda lesions: edits.annotate(lesions, [4], "zebra"))
    sort_by(opened, column)
    first = shown(opened)
    sort_by(opened, column)
    ascending, descending = (first, shown(opened)) if column else (shown(opened), first)
    assert ascending == sorted(records, key=lambda i: keys[column](records[i]))
    assert descending == sorted(records, key=lambda i: keys[column](records[i]), reverse=True)


def test_volumes_sort_as_numbers_and_not_as_texts(opened: Any) -> None:
    mask = np.zeros(opened.review.lesions.shape, bool)
    mask[:, :, -4:] = True
    mask[opened.review.lesions.ids > 0] = False
    opened.review.do("Add", lambda lesions: edits.add(lesions, mask, LesionType.MS))
    sort_by(opened, ML)
    assert float(cells(opened, ML)[-1]) > 10, "10.0 sorts before 2.0 as a text"
    assert shown(opened)[-1] == 13


def test_the_swatch_has_the_lesions_colour_in_the_views_and_follows_the_colouring(opened: Any) -> None:
    def swatches() -> list[tuple[int, ...]]:
        import qt

        model = opened.ui.lesionTable.model()
        icons = [model.data(model.index(row, ID), qt.Qt.DecorationRole) for row in range(12)]
        colours = [icon.pixmap(12, 12).toImage().pixelColor(6, 6) for icon in icons]
        return [(c.red(), c.green(), c.blue()) for c in colours]

    def segments() -> list[tuple[int, ...]]:
        node = opened.review.scene.node.GetSegmentation()
        colours = [node.GetSegment(segment_id(i)).GetColor() for i in shown(opened)]
        return [tuple(round(255 * share) for share in colour) for colour in colours]

    by_type = swatches()
    assert by_type == segments()
    opened.app.choose(opened.ui.colourBox, "lesion")
    assert swatches() == segments() != by_type
    opened.app.choose(opened.ui.colourBox, "type")
    assert swatches() == segments() == by_type


def test_what_was_painted_is_kept_when_the_colouring_changes(opened: Any) -> None:
    lesions = opened.review.lesions
    voxel = tuple(np.argwhere(lesions.ids == 1)[0])
    smaller = lesions.ids == 1
    smaller[voxel] = False
    paint(opened.review.scene.node, 1, smaller)
    opened.app.choose(opened.ui.colourBox, "lesion")
    assert lesions.ids[voxel] == 0
    assert opened.review.session.undo_name == "Paint L0001"


def test_an_edit_changes_the_rows_it_touches_and_no_others(opened: Any) -> None:
    model, touched, resets = opened.ui.lesionTable.model(), [], []
    model.dataChanged.connect(lambda first, last, *_: touched.append((first.row(), last.row())))
    model.modelReset.connect(lambda: resets.append(1))
    opened.review.do("Relabel", lambda lesions: edits.relabel(lesions, [3, 7], LesionType.STROKE))
    assert (touched, resets) == ([(2, 2), (6, 6)], [])
    assert [cells(opened, TYPE)[row] for row in (2, 6)] == ["stroke", "stroke"]
    opened.review.undo()
    assert [cells(opened, TYPE)[row] for row in (2, 6)] == ["MS", "MS"]


def test_split_merged_and_deleted_lesions_come_and_go(opened: Any) -> None:
    opened.review.do("Split", lambda lesions: edits.split_k(lesions, 5, 2))
    assert shown(opened) == [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14]
    opened.review.undo()
    assert shown(opened) == list(range(1, 13))
    opened.review.do("Delete", lambda lesions: edits.delete(lesions, [1, 2, 3]))
    assert shown(opened) == list(range(4, 13))


def test_a_change_of_what_the_table_is_sorted_by_moves_the_row(opened: Any) -> None:
    sort_by(opened, TYPE)
    opened.review.do("Relabel", lambda lesions: edits.relabel(lesions, [1], LesionType.LESION))
    assert shown(opened) == [5, 9, 2, 6, 10, 3, 7, 11, 1, 4, 8, 12]


def test_a_note_is_typed_in_place_and_recorded(opened: Any) -> None:
    table = opened.ui.lesionTable
    opened.app.double_click_row(table, 4, NOTE)
    (editor,) = [w for w in table._cpp.viewport().children() if w.inherits("QLineEdit")]
    opened.app.type(editor, "may be an artefact")
    opened.app.key("Return", editor)
    assert opened.review.lesions.records[5].note == "may be an artefact"
    assert cells(opened, NOTE)[4] == "may be an artefact"
    assert opened.review.session.undo_name == "Note on L0005"
    opened.review.undo()
    assert cells(opened, NOTE)[4] == ""


def test_a_double_click_reaches_a_note_that_the_table_was_scrolled_to(opened: Any) -> None:
    table = opened.ui.lesionTable
    table._cpp.setFixedWidth(200)
    opened.app.process()
    opened.app.double_click_row(table, 4, NOTE)
    assert [w for w in table._cpp.viewport().children() if w.inherits("QLineEdit")]


def test_only_notes_are_typed_in_place(opened: Any) -> None:
    for column in range(6):
        opened.app.double_click_row(opened.ui.lesionTable, 2, column)
        opened._type_menu.hide()
        assert not [w for w in opened.ui.lesionTable._cpp.viewport().children() if w.inherits("QLineEdit")]


def test_a_note_that_cannot_be_recorded_is_told_and_not_shown(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from LesionSegmenterLib.errors import InputError

    def refuse(*_: Any) -> None:
        raise InputError("the disk is full")

    monkeypatch.setattr(opened.review.session.journal, "append", refuse)
    model = opened.ui.lesionTable.model()
    model.setData(model.index(0, NOTE), "lost")
    assert opened.panel.told == ["the disk is full"]
    assert cells(opened, NOTE)[0] == ""


@pytest.mark.parametrize("way", ["double click", "right click"])
def test_the_type_of_the_selected_lesions_is_chosen_from_a_menu(opened: Any, way: str) -> None:
    click(opened, 1)
    click(opened, 4, ctrl=True)
    if way == "right click":
        opened.ui.lesionTable._cpp.customContextMenuRequested.emit(opened.ui.lesionTable._cpp.pos())
    else:
        opened.app.double_click_row(opened.ui.lesionTable, 3, TYPE)
    menu = opened._type_menu
    assert menu.visible
    assert [action.text for action in menu.actions()] == ["WMH", "stroke", "MS", "lesion"]
    menu.actions()[2].trigger()
    relabelled = [4] if way == "double click" else [1, 4]  # a double click selects the one under it
    records = opened.review.lesions.records
    assert [i for i, r in records.items() if r.status == "edited"] == relabelled
    assert {records[i].type for i in relabelled} == {LesionType.MS}
    assert opened.review.session.undo_name == f"Relabel {', '.join(map(segment_id, relabelled))} as MS"
    menu.hide()


def test_without_a_selection_there_is_no_menu(opened: Any) -> None:
    opened.ui.lesionTable._cpp.customContextMenuRequested.emit(opened.ui.lesionTable._cpp.pos())
    assert not opened._type_menu.visible


# Filters


def test_words_in_the_filter_have_to_stand_in_id_type_status_or_note(opened: Any) -> None:
    opened.review.do("Note", lambda lesions: edits.annotate(lesions, [6, 7], "Near the Ventricle"))
    for text, expected in (
        ("l0003", [3]),
        ("ms", [3, 7, 11]),
        ("ventricle", [6, 7]),
        ("ms near", [7]),
        ("nothing has this", []),
    ):
        opened.app.type(opened.ui.filterEdit, text)
        assert shown(opened) == expected
        assert opened.ui.shownLabel.text == f"{len(expected)} of 12 shown"
    opened.ui.filterEdit.clear()
    assert shown(opened) == list(range(1, 13))
    assert not opened.ui.shownLabel.visible


def test_type_and_status_filters_hold_together(opened: Any) -> None:
    opened.review.do("Accept", lambda lesions: edits.accept(lesions, [1, 2, 5]))
    opened.app.choose(opened.ui.typeFilterBox, "WMH")
    assert shown(opened) == [1, 5, 9]
    opened.app.choose(opened.ui.statusFilterBox, "accepted")
    assert shown(opened) == [1, 5]
    opened.app.choose(opened.ui.typeFilterBox, "All types")
    assert shown(opened) == [1, 2, 5]
    opened.app.choose(opened.ui.statusFilterBox, "Any status")
    assert shown(opened) == list(range(1, 13))


def test_others_restrict_the_table_to_lesions_of_their_choice(opened: Any) -> None:
    opened.extra_filter = {2, 3, 99}
    opened.app.choose(opened.ui.typeFilterBox, "MS")
    assert shown(opened) == [3]
    opened.extra_filter = None
    assert shown(opened) == [3, 7, 11]


def test_a_lesion_leaves_the_table_when_the_filter_no_longer_lets_it_through(opened: Any) -> None:
    opened.app.choose(opened.ui.statusFilterBox, "proposed")
    opened.review.do("Accept", lambda lesions: edits.accept(lesions, [1]))
    assert shown(opened) == list(range(2, 13))
    opened.review.undo()
    assert shown(opened) == list(range(1, 13))


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


# The way through


@pytest.mark.parametrize(
    ("order", "expected"), [("size", [5, 10, 4]), ("type", [5, 9, 1]), ("position", [1, 2, 3])]
)
def test_next_and_previous_go_in_the_chosen_order(opened: Any, order: str, expected: list[int]) -> None:
    opened.panel.parameters = SimpleNamespace(order=order, flair=None)
    gone = []
    for _ in range(3):
        opened.app.click(opened.ui.nextButton)
        gone.append(opened.review.current)
    assert gone == expected
    opened.app.click(opened.ui.previousButton)
    assert opened.review.current == expected[1]


def test_next_goes_among_the_lesions_that_are_shown(opened: Any) -> None:
    opened.panel.parameters = SimpleNamespace(order="position", flair=None)
    opened.app.choose(opened.ui.typeFilterBox, "MS")
    gone = []
    for _ in range(4):
        opened.app.key("N")
        gone.append(opened.review.current)
    assert gone == [3, 7, 11, 3]
    opened.app.key("Shift+N")
    assert opened.review.current == 11


@pytest.mark.parametrize(("key", "status"), [("A", "accepted"), ("X", "rejected")])
def test_all_lesions_are_judged_by_one_key_each(opened: Any, key: str, status: str) -> None:
    opened.app.key("N")
    for reviewed in range(12):
        assert opened.ui.progressBar.value == reviewed
        opened.app.key(key)
    assert set(statuses(opened).values()) == {status}
    assert (opened.ui.progressBar.value, opened.ui.progressBar.format) == (12, "12 of 12 reviewed")


def test_judging_goes_on_although_the_filter_takes_the_lesion_away(opened: Any) -> None:
    opened.panel.parameters = SimpleNamespace(order="position", flair=None)
    opened.app.choose(opened.ui.statusFilterBox, "proposed")
    click(opened, 5)
    opened.app.click(opened.ui.acceptButton)
    assert opened.review.selection == (6,)
    opened.app.click(opened.ui.rejectButton)
    assert opened.review.selection == (7,)
    assert (statuses(opened)[5], statuses(opened)[6]) == ("accepted", "rejected")
    assert shown(opened) == [1, 2, 3, 4, 7, 8, 9, 10, 11, 12]


def test_accepting_what_is_accepted_goes_on_without_an_edit(opened: Any) -> None:
    opened.review.select([4])
    opened.app.key("A")
    opened.review.select([4])
    before = opened.review.session.undo_name
    opened.app.key("A")
    assert opened.review.current != 4
    assert (opened.review.session.undo_name, opened.panel.told) == (before, [])


def test_several_lesions_are_accepted_in_one_action(opened: Any) -> None:
    opened.review.select([2, 3, 4, 5])
    opened.app.key("A")
    assert opened.review.session.undo_name == "Accept L0002, L0003, L0004 and 1 more"
    opened.review.undo()
    assert set(statuses(opened).values()) == {"proposed"}


def test_buttons_are_enabled_where_they_have_something_to_act_on(lesions: Any, tmp_path: Path) -> None:
    ui = lesions.ui
    going, judging = (ui.previousButton, ui.nextButton), (ui.acceptButton, ui.rejectButton)
    assert not any(button.enabled for button in (*going, *judging, ui.colourBox))
    review(lesions.review, tmp_path)
    assert all(button.enabled for button in (*going, ui.colourBox))
    assert not any(button.enabled for button in judging)
    lesions.review.select([1])
    assert all(button.enabled for button in judging)
    lesions.review.close()
    assert not any(button.enabled for button in (*going, *judging, ui.colourBox))
    assert shown(lesions) == [] and ui.totalsLabel.text == "No case is open."


def test_tooltips_tell_the_keys(opened: Any) -> None:
    for name, key in (("previous", "Shift+N"), ("next", "N"), ("accept", "A"), ("reject", "X")):
        assert getattr(opened.ui, f"{name}Button").toolTip.endswith(f" ({key})")


# Totals


def test_totals_count_what_is_not_rejected_and_name_the_scans_type(opened: Any) -> None:
    records = opened.review.lesions.records

    def text() -> str:
        return opened.ui.totalsLabel.text.replace("&nbsp;", " ")

    def ml(ids: list[int]) -> str:
        return f"{sum(records[i].volume_mm3 for i in ids) / 1000:.2f} ml"

    assert f"12 lesions, {ml(list(records))}" in text() and "<b>WMH</b>" in text()
    assert f"MS 3 ({ml([3, 7, 11])})" in text()
    opened.review.do("Reject", lambda lesions: edits.reject(lesions, [1, 3, 5]))
    assert f"9 lesions, {ml([2, 4, *range(6, 13)])}" in text()
    assert f"MS 2 ({ml([7, 11])})" in text() and "<b>WMH</b>" not in text()
    opened.review.do("Reject", lambda lesions: edits.reject(lesions, [2, 4, *range(6, 13)]))
    assert text() == "No lesions."


def test_the_time_spent_is_shown(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    later = 7.0 + opened.review.session._last_action
    monkeypatch.setattr("LesionSegmenterLib.review.time.monotonic", lambda: later)
    opened.review.do("Accept", lambda lesions: edits.accept(lesions, [1]))
    assert opened.ui.timeLabel.text == "0:00:07"


# Opening


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Answer the questions for folders and files."""
    from LesionSegmenterLib.panel import dialogs

    def answer(folder: Path | None = None, file: Path | None = None) -> None:
        monkeypatch.setattr(dialogs, "ask_folder", lambda *_: folder)
        monkeypatch.setattr(dialogs, "ask_file", lambda *_: file)

    return answer


def menu(section: Any, holds: str) -> dict[str, Any]:
    """The entries of the button for segmentations, under one of its meanings."""
    section._opening._menu.aboutToShow.emit()
    return {action.text: action for action in section._opening._submenus[holds].actions()}


@pytest.mark.parametrize("inside", [False, True])
def test_a_case_folder_or_its_sub_folder_is_opened_and_its_flair_shown(
    lesions: Any, tmp_path: Path, ask: Callable[..., None], inside: bool
) -> None:
    case = make_case(tmp_path)
    ask(case / "sub-01" if inside else case)
    lesions.app.click(lesions.ui.openCaseButton)
    assert lesions.panel.told == []
    assert (shown(lesions), lesions.review.folder, lesions.review.subject) == ([1, 2, 3], case, "01")
    flair = lesions.review.scene.flair
    layers = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {layer.GetBackgroundVolumeID() for layer in layers} == {flair.GetID()}


def test_views_that_show_the_flair_already_stay_as_the_user_has_them(opened: Any, tmp_path: Path) -> None:
    flair, red = opened.review.scene.flair, slice_node("Red")
    red.SetFieldOfView(10, 10, 1)
    opened.review.open(Opened(grid_of_lesions(12), flair, ()), tmp_path / "second", "02", "Ada")
    assert red.GetFieldOfView() == (10, 10, 1)
    other = flair_of(grid_of_lesions(12), "other")
    slicer.util.setSliceViewerLayers(background=other)
    opened.review.open(Opened(grid_of_lesions(12), flair, ()), tmp_path / "third", "03", "Ada")
    assert red.GetFieldOfView() != (10, 10, 1)


def test_a_folder_without_a_case_or_with_many_is_refused(
    lesions: Any, tmp_path: Path, ask: Callable[..., None]
) -> None:
    ask(tmp_path)
    lesions.app.click(lesions.ui.openCaseButton)
    for subject in ("01", "02"):
        make_case(tmp_path, subject)
    ask(tmp_path / "cases")
    lesions.app.click(lesions.ui.openCaseButton)
    none, many = lesions.panel.told
    assert "no complete case" in none and "several cases" in many and "Worklist" in many
    assert not lesions.review.is_open


def test_cancelled_questions_open_nothing(lesions: Any, ask: Callable[..., None]) -> None:
    ask(None)
    lesions.app.click(lesions.ui.openCaseButton)
    lesions.panel.parameters = SimpleNamespace(flair=flair_of(grid_of_lesions(4)), order="size")
    menu(lesions, "lesions")["File…"].trigger()
    assert not lesions.review.is_open and lesions.panel.told == []


def other_segmentation(lesions: Any) -> Any:
    """A segmentation node with lesions 1 to 4 of the grid as segments of its own."""
    from LesionSegmenterLib.scene import LesionScene

    node = LesionScene.show(grid_of_lesions(4), lesions.panel.parameters.flair, "Drawn by hand").node
    node.SetName("Drawn by hand")
    return node


def test_a_segmentation_of_the_scene_is_reviewed_as_lesions(
    lesions: Any, tmp_path: Path, ask: Callable[..., None]
) -> None:
    lesions.panel.parameters = SimpleNamespace(
        flair=flair_of(grid_of_lesions(4), "sub-07_FLAIR"), order="size"
    )
    other_segmentation(lesions)
    ask(tmp_path)
    menu(lesions, "lesions")["Drawn by hand"].trigger()
    assert lesions.panel.told == []
    assert (shown(lesions), lesions.review.subject) == ([1, 2, 3, 4], "07")
    assert cells(lesions, TYPE) == ["WMH", "stroke", "MS", "lesion"]
    assert list(tmp_path.glob("*journal.bin")), "what is done is recorded in the folder that was chosen"
    own = lesions.review.scene.node.GetName()
    assert own not in menu(lesions, "lesions"), "the case under review is not offered again"


def test_a_label_image_of_types_is_opened_from_a_file(
    lesions: Any, tmp_path: Path, ask: Callable[..., None]
) -> None:
    import nibabel as nib

    labels = grid_of_lesions(4)
    lesions.panel.parameters = SimpleNamespace(flair=flair_of(labels), order="size")
    types = np.where(labels.ids > 2, 3, labels.ids > 0).astype(np.uint8)
    nib.save(nib.Nifti1Image(types, labels.affine), tmp_path / "types.nii.gz")
    ask(tmp_path, tmp_path / "types.nii.gz")
    menu(lesions, "types")["File…"].trigger()
    assert lesions.panel.told == []
    assert sorted(cells(lesions, TYPE)) == ["MS", "MS", "WMH", "WMH"]


def test_without_a_flair_the_user_is_told_to_choose_one(lesions: Any) -> None:
    menu(lesions, "lesions")["File…"].trigger()
    (told,) = lesions.panel.told
    assert "no FLAIR is chosen" in told and "under Inputs" in told


# In the whole panel


def test_the_chosen_order_is_the_scenes_and_the_keys_work_while_the_module_is_entered(
    panel: Any, tmp_path: Path
) -> None:
    review(panel.panel.review, tmp_path)
    panel.choose(panel.ui("lesions").orderBox, "size")
    assert panel.panel.parameters.order == "size"
    panel.key("N")
    assert panel.panel.review.current == 5, "the first of the largest"
    slicer.util.selectModule("Data")
    panel.key("N")
    panel.pick(panel.panel.review.lesions.records[2].centroid_ras_mm)
    assert panel.panel.review.current == 5, "keys and clicks are another module's"


def test_the_flair_of_a_case_that_is_opened_becomes_the_scenes(
    panel: Any, tmp_path: Path, ask: Callable[..., None]
) -> None:
    ask(make_case(tmp_path))
    panel.click(panel.ui("lesions").openCaseButton)
    flair = panel.panel.review.scene.flair
    assert panel.ui("inputs").flairSelector.currentNode() is flair


def test_a_closed_scene_leaves_an_empty_table(panel: Any, tmp_path: Path) -> None:
    review(panel.panel.review, tmp_path)
    slicer.mrmlScene.Clear(0)
    panel.process()
    assert shown(panel.panel.lesions) == []
    assert panel.ui("lesions").totalsLabel.text == "No case is open."
