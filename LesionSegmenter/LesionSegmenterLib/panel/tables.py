"""What the panel's small tables have in common."""

from __future__ import annotations

from typing import Any

import qt

_ROW_MARGIN = 6  # pixels


def set_up_table(table: Any) -> None:
    """Let the first column of a table widget take the room that is left, and its rows no more than a line."""
    header = table.horizontalHeader()
    header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
    header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
    table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + _ROW_MARGIN)


def fill_row(table: Any, row: int, texts: tuple[str, ...], tip: str) -> None:
    """Put texts into the cells of a row, with one tooltip."""
    for column, text in enumerate(texts):
        cell = qt.QTableWidgetItem(text)
        cell.setToolTip(tip)
        table.setItem(row, column, cell)
