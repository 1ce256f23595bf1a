"""The table of lesions: a model of the rows that are shown, sorted and filtered here.

Qt asks only for the cells on the screen, so that filling it costs nothing but sorting its records; a proxy
model or an item a cell would cost a call into Qt for every cell of every row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import qt
from slicer.i18n import tr as _

from ..lesions import LesionRecord
from ..scene.tags import Colour, segment_id
from .lesion_filter import LesionFilter
from .signal import Signal
from .swatches import swatch

STATUS_TEXTS = {
    "proposed": _("proposed"),
    "accepted": _("accepted"),
    "rejected": _("rejected"),
    "edited": _("edited"),
}
_GREY = (128, 128, 128)  # of rejected lesions

# Roles arrive as plain numbers.
_DISPLAY, _EDIT, _DECORATION = int(qt.Qt.DisplayRole), int(qt.Qt.EditRole), int(qt.Qt.DecorationRole)
_FOREGROUND, _ALIGNMENT = int(qt.Qt.ForegroundRole), int(qt.Qt.TextAlignmentRole)
_TOOLTIP = int(qt.Qt.ToolTipRole)
_RIGHT = int(qt.Qt.AlignRight) | int(qt.Qt.AlignVCenter)


@dataclass(frozen=True)
class Column:
    """A column: its title, what it says, its text for a lesion and by what it sorts.

    widest : a text as wide as any of its texts, or nearly so.
    """

    title: str
    about: str
    text: Callable[[LesionRecord], str]
    key: Callable[[LesionRecord], Any]
    widest: str
    is_number: bool = False


def place_text(record: LesionRecord) -> str:
    """The centroid in mm, with letters as in Slicer's own coordinates: ``L23 A4 S31``."""
    return " ".join(
        f"{letters[mm < 0]}{abs(mm):.0f}"
        for letters, mm in zip(("RL", "AP", "SI"), record.centroid_ras_mm, strict=True)
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _stated_last(value: float | None) -> tuple[bool, float]:
    """Sorts by a value that may not exist; those come first."""
    return value is not None, value or 0.0


COLUMNS = (
    Column(
        _("Lesion"),
        _("The lesion's id and its colour in the views"),
        lambda record: segment_id(record.lesion_id),
        lambda record: record.lesion_id,
        "■ L0000",
    ),
    Column(
        _("Type"),
        _("Type of the lesion; double-click or right-click to change it"),
        lambda record: record.type.label,
        lambda record: record.type,
        "stroke",
    ),
    Column(
        _("ml"),
        _("Volume in ml"),
        lambda record: f"{record.volume_mm3 / 1000:.3f}",
        lambda record: record.volume_mm3,
        "00.000",
        is_number=True,
    ),
    Column(
        _("Confidence"),
        _(
            "The chance that this is a real lesion: of lesions that the model gives 80%, about 8 in 10 are "
            "real. Empty where the model was not calibrated, or where a person drew or reshaped the lesion"
        ),
        lambda record: _percent(record.confidence),
        lambda record: _stated_last(record.confidence),
        "100%",
        is_number=True,
    ),
    Column(
        _("Of type"),
        _("How sure the model is of the type; empty where it states none or a person chose the type"),
        lambda record: _percent(record.type_confidence),
        lambda record: _stated_last(record.type_confidence),
        "100%",
        is_number=True,
    ),
    Column(
        _("Status"),
        _("Proposed by the model, accepted, rejected, or edited"),
        lambda record: STATUS_TEXTS[record.status],
        lambda record: record.status,
        "proposed",
    ),
    Column(
        _("Centre"),
        _("Centre of the lesion in mm to the right or left, anterior or posterior, superior or inferior"),
        place_text,
        lambda record: record.centroid_ras_mm[::-1],
        "R00 A00 S00",
    ),
    Column(
        _("Note"),
        _("A remark on the lesion; double-click to write one"),
        lambda record: record.note,
        lambda record: record.note.lower(),
        "a remark to read",
    ),
)
TYPE, NOTE = 1, 7


class LesionTable(qt.QAbstractTableModel):
    """The rows that a filter lets through, in the order that a click on a header chose.

    annotate : called with a lesion's id and a note that was typed for it.
    colour : a lesion's colour, RGB in 0..1.
    reordered : emitted when other rows are shown, or in another order; a view's selection is gone then.
    """

    def __init__(self, annotate: Callable[[int, str], Any], colour: Callable[[LesionRecord], Colour]) -> None:
        qt.QAbstractTableModel.__init__(self)
        self._annotate, self._colour = annotate, colour
        self._records: Mapping[int, LesionRecord] = {}
        self._filter = LesionFilter()
        self._column, self._descending = 0, False
        self._rows: list[LesionRecord] = []
        self._places: dict[int, int] = {}
        self._swatches: dict[Colour, Any] = {}
        self.reordered = Signal()

    @property
    def ids(self) -> list[int]:
        """The lesions shown, from the top."""
        return [record.lesion_id for record in self._rows]

    def row_of(self, lesion_id: int) -> int | None:
        """Where a lesion is shown; None where it is not."""
        return self._places.get(lesion_id)

    def show(self, records: Mapping[int, LesionRecord]) -> None:
        """Show other lesions, or these anew; the records are those of a `LesionMap`, which it changes."""
        self._records = records
        self._arrange()

    def filter_by(self, wanted: LesionFilter) -> None:
        """Show what a filter lets through."""
        if wanted != self._filter:
            self._filter = wanted
            self._arrange()

    def touch(self, ids: Iterable[int]) -> None:
        """Lesions were changed, made or taken away: their rows follow, the others only if these move."""
        moved, stayed = False, []
        for lesion_id in ids:
            record, row = self._records.get(lesion_id), self._places.get(lesion_id)
            is_shown = record is not None and self._filter.accepts(record)
            if row is None or record is None or not is_shown:
                moved |= is_shown or row is not None
                continue
            key = COLUMNS[self._column].key
            moved |= key(record) != key(self._rows[row])
            self._rows[row] = record
            stayed.append(row)
        if moved:
            self._arrange()
            return
        for row in stayed:
            self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))

    def recolour(self) -> None:
        """The lesions have other colours."""
        if self._rows:
            self.dataChanged.emit(self.index(0, 0), self.index(len(self._rows) - 1, 0))

    def _swatch(self, rgb: Colour) -> Any:
        if rgb not in self._swatches:
            self._swatches[rgb] = swatch(rgb)
        return self._swatches[rgb]

    def _arrange(self) -> None:
        self.beginResetModel()
        rows = [record for record in self._records.values() if self._filter.accepts(record)]
        self._rows = sorted(rows, key=COLUMNS[self._column].key, reverse=self._descending)
        self._places = {record.lesion_id: row for row, record in enumerate(self._rows)}
        self.endResetModel()
        self.reordered.emit()

    # What Qt calls.

    def rowCount(self, parent: Any = None) -> int:  # noqa: N802
        """Rows of the table; cells have none below them."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: Any = None) -> int:  # noqa: N802
        """Columns of the table; cells have none below them."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Any, role: int = _DISPLAY) -> Any:  # noqa: N802
        """Titles, and what the columns say."""
        if orientation != qt.Qt.Horizontal:
            return None
        return {_DISPLAY: COLUMNS[section].title, _TOOLTIP: COLUMNS[section].about}.get(role)

    def flags(self, index: Any) -> Any:
        """Notes can be typed."""
        usual = qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable
        return usual | qt.Qt.ItemIsEditable if index.column() == NOTE else usual

    def data(self, index: Any, role: int = _DISPLAY) -> Any:
        """Text, colour and alignment of a cell."""
        record, column = self._rows[index.row()], COLUMNS[index.column()]
        if role in (_DISPLAY, _EDIT):
            return column.text(record)
        if role == _DECORATION and index.column() == 0:
            return self._swatch(self._colour(record))
        if role == _ALIGNMENT and column.is_number:
            return _RIGHT
        if role == _FOREGROUND and record.status == "rejected":
            return qt.QColor(*_GREY)
        if role == _TOOLTIP:
            return record.note if index.column() == NOTE and record.note else column.about
        return None

    def setData(self, index: Any, value: Any, role: int = _EDIT) -> bool:  # noqa: N802
        """A note was typed."""
        record = self._rows[index.row()]
        if role != _EDIT or index.column() != NOTE or value == record.note:
            return False
        self._annotate(record.lesion_id, value)
        return True

    def sort(self, column: int, order: Any = None) -> None:
        """A header was clicked."""
        self._column, self._descending = column, order == qt.Qt.DescendingOrder
        self._arrange()
