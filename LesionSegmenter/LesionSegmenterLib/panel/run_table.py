"""The list of images to segment, as a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from .run_queue import Job, RunQueue
from .tables import set_up_table


class RunTable:
    """Shows a queue; the subject of what waits can be edited in it."""

    def __init__(self, table: Any, queue: RunQueue, slot: Callable[..., Any]) -> None:
        self._table, self._queue = table, queue
        set_up_table(table)
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Interactive)
        table.horizontalHeader().setSectionResizeMode(1, qt.QHeaderView.Stretch)
        table.cellChanged.connect(slot(self._edited))

    @property
    def selected(self) -> list[Job]:
        """The jobs of the selected rows."""
        rows = sorted(index.row() for index in self._table.selectionModel().selectedRows())
        return [self._queue.jobs[row] for row in rows if row < len(self._queue.jobs)]

    def show(self) -> None:
        """Bring the table up to date with the queue."""
        blocked = self._table.blockSignals(True)
        self._table.setRowCount(len(self._queue.jobs))
        for row, job in enumerate(self._queue.jobs):
            waits = job.state == "waiting"
            for column, text in enumerate((job.subject, job.name, state_text(job))):
                self._set(row, column, text, column == 0 and waits)
            if job.message:
                self._table.item(row, 2).setToolTip(job.message)
        self._table.blockSignals(blocked)

    def _set(self, row: int, column: int, text: str, editable: bool) -> None:
        item = self._table.item(row, column)
        if item is None:
            item = qt.QTableWidgetItem()
            self._table.setItem(row, column, item)
        item.setText(text)
        item.setToolTip(text)
        flags = qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled
        item.setFlags(flags | qt.Qt.ItemIsEditable if editable else flags)

    def _edited(self, row: int, column: int) -> None:
        if column != 0:
            return
        try:
            self._queue.rename(self._queue.jobs[row], self._table.item(row, column).text().strip())
        finally:
            self.show()


def state_text(job: Job) -> str:
    """A job's state, and of one that is done what was found."""
    names = {
        "waiting": _("waiting"),
        "running": _("running"),
        "done": _("done: {found}").format(found=job.message),
        "failed": _("failed"),
        "cancelled": _("cancelled"),
    }
    return names[job.state]
