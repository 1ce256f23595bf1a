"""The table of exported cases, with a tick for each that is learned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from .tables import fill_row, set_up_table
from .training_cases import ExportedCase, counts_text


class TrainingTable:
    """Cases in a table widget of three columns; ``changed`` is called where a tick is set or taken."""

    def __init__(self, table: Any, changed: Callable[..., Any]) -> None:
        self.cases: tuple[ExportedCase, ...] = ()
        self._table = table
        set_up_table(table)
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.ResizeToContents)
        table.horizontalHeader().setSectionResizeMode(1, qt.QHeaderView.Stretch)
        table.itemChanged.connect(changed)

    @property
    def chosen(self) -> list[ExportedCase]:
        """The cases with a tick."""
        return [
            case
            for row, case in enumerate(self.cases)
            if self._table.item(row, 0).checkState() == qt.Qt.Checked
        ]

    def fill(self, cases: Sequence[ExportedCase]) -> None:
        """Show other cases, with a tick on those that are reviewed throughout."""
        self.cases = ()
        blocked = self._table.blockSignals(True)
        self._table.setRowCount(len(cases))
        for row, case in enumerate(cases):
            if case.trouble:
                fill_row(self._table, row, (case.subject, _("cannot be read"), ""), case.trouble)
            else:
                seen = f"{case.reviewed} / {case.total}"
                fill_row(self._table, row, (case.subject, counts_text(case.counts), seen), case.subject)
        self._table.blockSignals(blocked)
        self.cases = tuple(cases)
        self.tick(lambda case: case.is_reviewed)

    def tick(self, wanted: Callable[[ExportedCase], bool]) -> None:
        """Set the ticks of those wanted and take the others'; a case that cannot be read gets none."""
        selectable = qt.Qt.ItemIsSelectable
        blocked = self._table.blockSignals(True)
        for row, case in enumerate(self.cases):
            item = self._table.item(row, 0)
            ticks = wanted(case) and not case.trouble
            item.setFlags(
                selectable if case.trouble else selectable | qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable
            )
            item.setCheckState(qt.Qt.Checked if ticks else qt.Qt.Unchecked)
        self._table.blockSignals(blocked)
