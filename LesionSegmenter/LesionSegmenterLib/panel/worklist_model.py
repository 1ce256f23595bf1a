"""The rows of the Worklist's table, and the reading of each case's state, a little at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from ..flairs import find_flairs
from ..worklist import WorkItem, work_item
from .tables import fill_row


class WorklistModel:
    """The FLAIRs of a folder with the states of their cases, in a table widget of four columns.

    The states are read one by one while the user goes on: each takes the reading of a journal.

    items : in the table's order; those not read yet say only which FLAIR they are.
    """

    def __init__(self, table: Any, read: Callable[[], None], slot: Callable[..., Any]) -> None:
        self._table, self._told = table, read
        self.items: list[WorkItem] = []
        self._cases = Path()
        self._unread: list[int] = []
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._reading = slot(self._read_next)
        self._timer.timeout.connect(self._reading)

    def load(self, flairs: Path, cases: Path) -> None:
        """List the FLAIRs of a folder and begin to read their cases; InputError as `find_flairs`."""
        self.clear()
        self._cases = cases
        self.items = [WorkItem(subject, path) for subject, path in find_flairs(flairs).items()]
        self._table.setRowCount(len(self.items))
        for row in range(len(self.items)):
            self._show(row, is_read=False)
        self._unread = list(range(len(self.items)))
        self._timer.start()

    def clear(self) -> None:
        """Show nothing."""
        self._timer.stop()
        self.items, self._unread = [], []
        self._table.setRowCount(0)

    def read_all(self) -> None:
        """Read at once what is not read yet."""
        while self._unread:
            self._read_next()

    def reread(self, subject: str) -> None:
        """Read one case again, if it is on the list, and those that were not segmented."""
        for row, item in enumerate(self.items):
            if row not in self._unread and (item.subject == subject or not item.segmented):
                self._read(row)
        self._told()

    def cleanup(self) -> None:
        """Let the timer go."""
        self._timer.stop()
        self._timer.timeout.disconnect(self._reading)

    def _read_next(self) -> None:
        if self._unread:
            self._read(self._unread.pop(0))
        if not self._unread:
            self._timer.stop()
            self._told()

    def _read(self, row: int) -> None:
        item = self.items[row]
        self.items[row] = work_item(item.subject, item.flair, self._cases)
        self._show(row, is_read=True)

    def _show(self, row: int, is_read: bool) -> None:
        item = self.items[row]
        texts = _texts(item) if is_read else ("…", "", "")
        fill_row(self._table, row, (item.subject, *texts), item.trouble or str(item.flair))


def _texts(item: WorkItem) -> tuple[str, str, str]:
    """Segmented, reviewed, exported."""
    if item.trouble:
        return _("damaged"), "", ""
    if not item.segmented:
        return _("no"), "", ""
    reviewed = _("{done} of {total}").format(done=item.reviewed, total=item.total)
    return _("yes"), reviewed, _("yes") if item.exported else _("no")
