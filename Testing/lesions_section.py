"""What the Lesions section shows, and clicks on its table, for the section's tests."""

from __future__ import annotations

from typing import Any

import slicer

COLUMNS = ["Lesion", "Type", "ml", "Confidence", "Of type", "Status", "Centre", "Note"]
ID, TYPE, ML, CONFIDENCE, OF_TYPE, STATUS, CENTRE, NOTE = range(8)


def cells(section: Any, column: int) -> list[str]:
    """A column as it is shown, from the top."""
    model = section.ui.lesionTable.model()
    return [model.data(model.index(row, column)) for row in range(model.rowCount())]


def shown(section: Any) -> list[int]:
    """The ids of the rows, from the top."""
    return [int(text[1:]) for text in cells(section, ID)]


def selected_rows(section: Any) -> list[int]:
    """The rows that are selected, in ascending order."""
    return sorted(index.row() for index in section.ui.lesionTable.selectionModel().selectedRows())


def sort_by(section: Any, column: int) -> None:
    """Click on a column's title."""
    from PySide6 import QtCore

    header = section.ui.lesionTable.horizontalHeader()._cpp
    x = header.sectionViewportPosition(column) + header.sectionSize(column) // 2
    section.app._mouse(header.viewport(), QtCore.QPoint(x, header.height() // 2))


def click(section: Any, lesion_id: int, *, ctrl: bool = False) -> None:
    """Click on a lesion's row, with the control key or without."""
    from PySide6 import QtCore

    control = QtCore.Qt.KeyboardModifier.ControlModifier.value if ctrl else None
    section.app.click_row(section.ui.lesionTable, shown(section).index(lesion_id), ID, control)


def slice_node(view: str) -> Any:
    """The node of a slice view: "Red", "Green" or "Yellow"."""
    return slicer.app.layoutManager().sliceWidget(view).mrmlSliceNode()
