"""The table of the Lesions section: its rows and columns, what is typed and chosen in it, its filters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="no PySide6: make .venv/slicer")


from lesions_section import (
    CENTRE,
    COLUMNS,
    CONFIDENCE,
    ID,
    ML,
    NOTE,
    OF_TYPE,
    STATUS,
    TYPE,
    cells,
    click,
    shown,
    sort_by,
)
from LesionSegmenterLib import edits
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.scene.tags import segment_id
from scene_cases import paint

# The table


def test_every_lesion_has_a_row_that_says_what_its_record_says(opened: Any) -> None:
    record = opened.review.lesions.records[3]
    opened.table.show({**opened.review.lesions.records, 3: replace(record, confidence=0.874)})
    row = [cells(opened, column)[2] for column in range(len(COLUMNS))]
    r, a, s = record.centroid_ras_mm
    assert r < 0 and a < 0 < s
    centre = f"L{-r:.0f} P{-a:.0f} S{s:.0f}"
    volume = f"{record.voxels * 2 / 1000:.3f}"  # voxels of 1 x 1 x 2 mm
    of_type = f"{record.type_confidence:.0%}"
    assert row == ["L0003", "MS", volume, "87%", of_type, "proposed", centre, ""]
    assert shown(opened) == list(range(1, 13))


@pytest.mark.parametrize(("column", "field"), [(CONFIDENCE, "confidence"), (OF_TYPE, "type_confidence")])
def test_a_lesion_that_no_model_rated_has_an_empty_cell_and_comes_first_by_it(
    opened: Any, column: int, field: str
) -> None:
    rated = {i: replace(r, **{field: 1 - i / 100}) for i, r in opened.review.lesions.records.items()}
    opened.table.show({**rated, 7: replace(rated[7], **{field: None})})
    sort_by(opened, column)
    assert cells(opened, column)[:3] == ["", "88%", "89%"]
    assert shown(opened) == [7, 12, 11, 10, 9, 8, 6, 5, 4, 3, 2, 1]


def test_a_painted_lesion_loses_its_confidence_and_an_accepted_one_keeps_it(opened: Any) -> None:
    lesions = opened.review.lesions
    for lesion_id, record in lesions.records.items():
        lesions.records[lesion_id] = replace(record, confidence=0.5)
    opened.review.do("Accept", lambda lesions: edits.accept(lesions, [1]))
    opened.review.do("Split", lambda lesions: edits.split_k(lesions, 2, 2))
    assert dict(zip(shown(opened), cells(opened, CONFIDENCE), strict=True)) == {
        i: "" if i > 12 else "50%" for i in (1, *range(3, 15))
    }
    opened.review.undo()
    assert cells(opened, CONFIDENCE) == ["50%"] * 12


def test_titles_and_cells_explain_themselves(opened: Any) -> None:
    import qt

    model = opened.ui.lesionTable.model()
    assert [model.headerData(n, qt.Qt.Horizontal, qt.Qt.DisplayRole) for n in range(len(COLUMNS))] == COLUMNS
    for column in range(len(COLUMNS)):
        about = model.headerData(column, qt.Qt.Horizontal, qt.Qt.ToolTipRole)
        assert about and model.data(model.index(0, column), qt.Qt.ToolTipRole) == about


@pytest.mark.parametrize("column", range(len(COLUMNS)))
def test_a_click_on_a_title_sorts_and_another_sorts_the_other_way(opened: Any, column: int) -> None:
    records = opened.review.lesions.records
    keys: dict[int, Callable[[Any], Any]] = {
        ID: lambda record: record.lesion_id,
        TYPE: lambda record: int(record.type),
        ML: lambda record: record.volume_mm3,
        CONFIDENCE: lambda _: 0,  # the same for all: nothing was calibrated
        OF_TYPE: lambda record: record.type_confidence,
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
    model.dataChanged.disconnect()  # a table that is collected later would count as left over by the panel
    model.modelReset.disconnect()


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
