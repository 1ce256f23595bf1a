"""The Lesions section: every lesion of the case in a table, and the way through them."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast

import qt
import slicer.util
from slicer.i18n import tr as _

from ..edits import annotate, relabel
from ..labels import TYPE_COLOURS, LesionType
from ..lesions import LesionRecord
from ..scene.tags import Colour, Colouring, colour, names_of
from ..visiting import Order
from .lesion_filter import LesionFilter
from .lesion_table import COLUMNS, STATUS_TEXTS, TYPE, LesionTable
from .opening import Opening
from .picking import Picker, Point
from .section import Section
from .swatches import swatch
from .totals import time_text, totals_text

if TYPE_CHECKING:
    from .panel import Panel

_COLOURINGS: tuple[Colouring, ...] = ("type", "lesion")
_CELL_MARGIN = 12  # pixels


class LesionsSection(Section):
    """Lists, filters, selects and judges lesions.

    table : model of the rows that are shown.
    """

    ui_file = "Lesions.ui"

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        self._filter = LesionFilter()
        self._selecting = False  # the table is being told what is selected, not the user telling it
        self.table = LesionTable(self._annotate, self._colour)
        self._opening = Opening(self)
        self._picker = Picker(self.slot(self._pick))
        self._set_up_table()
        self._set_up_choices()
        self._set_up_buttons()
        review = self.review
        review.opened.connect(self._opened)
        review.closed.connect(self._closed)
        review.changed.connect(self._changed)
        review.selected.connect(self._show_selection)
        self._closed()

    @property
    def extra_filter(self) -> Set[int] | None:
        """Ids to which others restrict the table, such as differences from another rater; None for all."""
        return self._filter.among

    @extra_filter.setter
    def extra_filter(self, ids: Set[int] | None) -> None:
        self._filter_by(among=ids)

    def enter(self) -> None:
        """Clicks in slice views select lesions from now on."""
        self._picker.start()

    def exit(self) -> None:
        """Clicks are the views' own again."""
        self._picker.stop()

    def cleanup(self) -> None:
        """Let go of the views, the model and what is connected."""
        self._picker.stop()
        self._selection_model.selectionChanged.disconnect(self._rows_selected)
        self.ui.lesionTable.setModel(None)

    # Setting up

    def _set_up_table(self) -> None:
        view = self.ui.lesionTable
        view.setModel(self.table)
        self._selection_model = view.selectionModel()
        self._rows_selected = self.slot(self._select_rows)
        self._selection_model.selectionChanged.connect(self._rows_selected)
        self.table.reordered.connect(self._show_selection)
        view.clicked.connect(self.slot(self._row_clicked))
        view.doubleClicked.connect(self.slot(self._row_double_clicked))
        view.customContextMenuRequested.connect(self.slot(self._offer_types))
        view.horizontalHeader().setSortIndicator(0, qt.Qt.AscendingOrder)
        view.setSortingEnabled(True)
        metrics = view.fontMetrics()
        view.verticalHeader().setDefaultSectionSize(metrics.height() + _CELL_MARGIN // 2)
        for number, column in enumerate(COLUMNS):
            widest = max((column.title + "  ", column.widest), key=metrics.horizontalAdvance)
            view.setColumnWidth(number, metrics.horizontalAdvance(widest) + _CELL_MARGIN)
        self._type_menu = qt.QMenu(self.widget)
        for lesion_type in LesionType:
            action = self._type_menu.addAction(swatch(TYPE_COLOURS[lesion_type]), lesion_type.label)
            action.triggered.connect(self.slot(lambda *_, t=lesion_type: self._relabel(t)))

    def _set_up_choices(self) -> None:
        ui = self.ui
        for lesion_type in LesionType:
            ui.typeFilterBox.addItem(lesion_type.label)
        for text in STATUS_TEXTS.values():
            ui.statusFilterBox.addItem(text)
        ui.filterEdit.textChanged.connect(self.slot(lambda text: self._filter_by(text=text)))
        for box, chosen in (
            (ui.typeFilterBox, lambda n: self._filter_by(type=[None, *LesionType][n])),
            (ui.statusFilterBox, lambda n: self._filter_by(status=[None, *STATUS_TEXTS][n])),
            (ui.colourBox, self._colour_by),
        ):
            box.connect("currentIndexChanged(int)", self.slot(chosen))

    def _set_up_buttons(self) -> None:
        ui, keys = self.ui, self.panel.shortcuts
        for key, button, action in (
            ("Shift+N", ui.previousButton, lambda: self._go(-1)),
            ("N", ui.nextButton, lambda: self._go(1)),
            ("A", ui.acceptButton, lambda: self._judge("accepted")),
            ("X", ui.rejectButton, lambda: self._judge("rejected")),
        ):
            button.clicked.connect(self.slot(lambda *_, act=action: act()))
            keys.press(key, button)

    # What becomes of the case

    def _opened(self) -> None:
        self._show_flair()
        self.ui.colourBox.currentIndex = _COLOURINGS.index(self.review.scene.colouring)
        self.table.show(self.review.lesions.records)
        self.ui.lesionTable.scrollToTop()  # Qt keeps the place in the table of the case before
        self._tell()

    def _show_flair(self) -> None:
        """In all slice views, unless they show it: then they stay as the user has them."""
        flair = self.review.scene.flair
        layers = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        if any(layer.GetBackgroundVolumeID() != flair.GetID() for layer in layers):
            slicer.util.setSliceViewerLayers(background=flair, fit=True, rotateToVolumePlane=True)
        if self.panel.parameters is not None:
            self.panel.parameters.flair = flair

    def _closed(self) -> None:
        self.table.show({})
        self._tell()

    def _changed(self, ids: set[int]) -> None:
        self.table.touch(ids)
        self._tell()

    def _tell(self) -> None:
        """Totals, progress, and which buttons have anything to act on."""
        ui, review = self.ui, self.review
        records = review.lesions.records.values() if review.is_open else ()
        done = review.session.progress() if review.is_open else None
        ui.totalsLabel.text = totals_text(records) if done else _("No case is open.")
        ui.progressBar.visible = done is not None
        ui.progressBar.maximum = done.total if done and done.total else 1  # 0 would look busy
        ui.progressBar.value = done.reviewed if done else 0
        ui.progressBar.format = (
            _("{reviewed} of {total} reviewed").format(reviewed=done.reviewed, total=done.total)
            if done
            else ""
        )
        ui.timeLabel.text = time_text(done.seconds) if done else ""
        self._tell_shown()
        self._enable()

    def _tell_shown(self) -> None:
        total = len(self.review.lesions.records) if self.review.is_open else 0
        shown = self.table.rowCount()
        self.ui.shownLabel.text = _("{shown} of {total} shown").format(shown=shown, total=total)
        self.ui.shownLabel.visible = shown < total

    def _enable(self) -> None:
        ui, review = self.ui, self.review
        for button in (ui.previousButton, ui.nextButton):
            button.enabled = review.is_open
        for button in (ui.acceptButton, ui.rejectButton):
            button.enabled = bool(review.selection)
        ui.colourBox.enabled = review.is_open

    # What the user does

    def _filter_by(self, **wanted: Any) -> None:
        self._filter = replace(self._filter, **wanted)
        self.table.filter_by(self._filter)
        self._tell_shown()

    def _colour_by(self, index: int) -> None:
        if self.review.is_open and self.review.scene.colouring != _COLOURINGS[index]:
            self.review.take_in_painting()  # colouring shows all lesions anew
            self.review.scene.colour_by(_COLOURINGS[index])
            self.table.recolour()

    def _colour(self, record: LesionRecord) -> Colour:
        return colour(record, self.review.scene.colouring if self.review.is_open else "type")

    def _go(self, step: Literal[1, -1]) -> None:
        self.review.go(self._order(), step, self.table.ids)

    def _judge(self, status: Literal["accepted", "rejected"]) -> None:
        self.review.judge_and_go_on(status, self._order(), self.table.ids)

    def _order(self) -> Order:
        parameters = self.panel.parameters
        return cast(Order, parameters.order) if parameters is not None else "unreviewed"

    def _annotate(self, lesion_id: int, note: str) -> None:
        self.slot(self.review.do)(
            f"Note on {names_of([lesion_id])}", lambda lesions: annotate(lesions, [lesion_id], note)
        )

    def _relabel(self, lesion_type: LesionType) -> None:
        ids = self.review.chosen()
        name = f"Relabel {names_of(ids)} as {lesion_type.label}"
        self.review.do(name, lambda lesions: relabel(lesions, ids, lesion_type))

    def _offer_types(self, position: Any) -> None:
        """The types as a menu, for the lesions selected; a right click has selected the one under it."""
        if self.review.selection:
            self._type_menu.popup(self.ui.lesionTable.viewport().mapToGlobal(position))

    def _row_double_clicked(self, index: Any) -> None:
        if index.column() == TYPE:
            self._offer_types(self.ui.lesionTable.visualRect(index).bottomLeft())

    def _row_clicked(self, _index: Any) -> None:
        """Also on a row that is selected already: the user comes back to its lesion."""
        self.review.select(self.review.selection)

    def _pick(self, place: Point, extend: bool) -> None:
        """A click in a view selects the lesion there, with Ctrl besides or no longer; the views stay."""
        if not self.review.is_open:
            return
        lesion_id = self.review.scene.lesion_at(place)
        if lesion_id is None:
            return
        others = [i for i in self.review.selection if i != lesion_id] if extend else []
        taken_away = extend and lesion_id in self.review.selection
        self.review.select(others if taken_away else [*others, lesion_id], jump=False)

    # The table's selection and the case's

    def _select_rows(self, *_: Any) -> None:
        """The user selected rows; those that came last stand last, the current one at the end."""
        if self._selecting:
            return
        ids = self.table.ids
        chosen = sorted(index.row() for index in self._selection_model.selectedRows())
        now = [ids[row] for row in chosen]
        kept = [lesion_id for lesion_id in self.review.selection if lesion_id in now]
        self.review.select([*kept, *(lesion_id for lesion_id in now if lesion_id not in kept)])

    def _show_selection(self) -> None:
        """Select the rows of the selected lesions, those of them that are shown."""
        self._enable()
        rows = [row for i in self.review.selection if (row := self.table.row_of(i)) is not None]
        self._selecting = True
        try:
            self._select_in_view(rows)
        finally:
            self._selecting = False

    def _select_in_view(self, rows: list[int]) -> None:
        model, flags = self._selection_model, qt.QItemSelectionModel
        if rows != [index.row() for index in model.selectedRows()]:
            model.clearSelection()
            for row in rows:
                model.select(self.table.index(row, 0), flags.Select | flags.Rows)
        if rows:  # the view scrolls there: not away from a column that is double-clicked by now
            column = max(model.currentIndex.column(), 0)
            model.setCurrentIndex(self.table.index(rows[-1], column), flags.NoUpdate)
