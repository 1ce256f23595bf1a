"""The Edit section: what is said of lesions, their voxels, undo and redo; the tools to split and to paint."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from .. import edits
from ..labels import TYPE_COLOURS, LesionType
from ..lesions import Change, LesionMap, LesionRecord
from ..scene.tags import lesion_id_of, names_of, segment_id, segment_name
from .lesion_table import STATUS_TEXTS
from .painting import Painting
from .section import Section
from .splitting import Splitting
from .swatches import swatch

if TYPE_CHECKING:
    from .panel import Panel

_LONGEST = 20  # characters of an edit's name that fit on half of a narrow panel
_KEYS = {
    "undoButton": "U",
    "redoButton": "Shift+U",
    "wmhButton": "Shift+W",
    "strokeButton": "Shift+S",
    "msButton": "Shift+M",
    "lesionButton": "Shift+L",
    "deleteButton": "Shift+D",
    "mergeButton": "M",
    "splitButton": "K",
    "applyButton": "Shift+K",
    "paintButton": "P",
    "takeInButton": "Shift+P",
}


class EditSection(Section):
    """Buttons that work on the selected lesions, through the case under review.

    splitting, painting : the tools that open below them; one of the two at a time.
    """

    ui_file = "Edit.ui"

    def __init__(self, panel: Panel) -> None:
        super().__init__(panel)
        ui = self.ui
        self._types = {
            LesionType.WMH: ui.wmhButton,
            LesionType.STROKE: ui.strokeButton,
            LesionType.MS: ui.msButton,
            LesionType.LESION: ui.lesionButton,
        }
        for lesion_type, button in self._types.items():
            button.setIcon(swatch(TYPE_COLOURS[lesion_type]))
            ui.newTypeComboBox.addItem(swatch(TYPE_COLOURS[lesion_type]), lesion_type.label)
        for name, key in _KEYS.items():
            panel.shortcuts.press(key, getattr(ui, name))
        self._tips: dict[str, str] = {}
        self._painted = False
        self.splitting = Splitting(self, self._splitting_closed)
        self.painting = Painting(ui.editorWidget.layout(), self._stroke_made)
        ui.splitFrame.hide()
        ui.paintFrame.hide()
        self._connect()
        self._refresh()

    def allow(self, button: Any, reason: str = "") -> None:
        """Enable a button, or disable it and let its tooltip give the reason."""
        tip = self._tips.setdefault(button.objectName, button.toolTip)
        button.enabled = not reason
        button.toolTip = reason or tip

    def exit(self) -> None:
        """The module was left; what was painted has been taken in by then."""
        self.splitting.close()
        self.ui.paintButton.checked = False

    def cleanup(self) -> None:
        """The panel is going for good."""
        self.exit()
        self.splitting.cleanup()

    def _connect(self) -> None:
        ui, slot, review = self.ui, self.slot, self.review
        for lesion_type, button in self._types.items():
            button.clicked.connect(slot(partial(self._relabel, lesion_type)))
        for button, action in (
            (ui.undoButton, review.undo),
            (ui.redoButton, review.redo),
            (ui.acceptButton, partial(self._edit, "Accept", edits.accept)),
            (ui.rejectButton, partial(self._edit, "Reject", edits.reject)),
            (ui.restoreButton, self._restore),
            (ui.deleteButton, partial(self._edit, "Delete", edits.delete)),
            (ui.mergeButton, partial(self._edit, "Merge", edits.merge)),
            (ui.growButton, partial(self._move_border, "Grow", edits.grow)),
            (ui.shrinkButton, partial(self._move_border, "Shrink", edits.shrink)),
            (ui.addButton, self._add),
            (ui.takeInButton, self._take_in),
        ):
            button.clicked.connect(slot(_without_arguments(action)))
        ui.splitButton.toggled.connect(slot(self._split_toggled))
        ui.paintButton.toggled.connect(slot(self._paint_toggled))
        review.opened.connect(slot(self._refresh))
        review.closed.connect(slot(self._closed))
        review.changed.connect(slot(self._changed))
        review.selected.connect(slot(self._selected))

    # What the buttons do

    def _edit(self, verb: str, plan: Callable[[LesionMap, Iterable[int]], Change]) -> None:
        ids = self.review.chosen()
        self.review.do(f"{verb} {names_of(ids)}", lambda lesions: plan(lesions, ids))

    def _relabel(self, lesion_type: LesionType, _checked: bool = False) -> None:
        ids = self.review.chosen()
        name = f"Relabel {names_of(ids)} as {lesion_type.label}"
        self.review.do(name, lambda lesions: edits.relabel(lesions, ids, lesion_type))

    def _restore(self) -> None:
        ids = [record.lesion_id for record in self._records() if record.status == "rejected"]
        self.review.do(f"Restore {names_of(ids)}", lambda lesions: edits.restore(lesions, ids))

    def _move_border(self, verb: str, plan: Callable[[LesionMap, int, float], Change]) -> None:
        (lesion_id,), length = self.review.chosen(), self.ui.lengthSpinBox.value
        name = f"{verb} {segment_id(lesion_id)} by {length:g} mm"
        self.review.do(name, lambda lesions: plan(lesions, lesion_id, length))

    # Splitting

    def _split_toggled(self, wanted: bool) -> None:
        if wanted:
            self.ui.paintButton.checked = False
            self.splitting.open(self.review.current)
        else:
            self.splitting.close()
        self.ui.splitFrame.setVisible(wanted)

    def _splitting_closed(self) -> None:
        self.ui.splitButton.checked = False

    # Painting

    def _paint_toggled(self, wanted: bool) -> None:
        if wanted:
            self.ui.splitButton.checked = False
            self.painting.start(self.review.scene)
            self._paint_in_selected()
        else:
            try:
                if self._painted and self.review.is_open:
                    self._take_in()
            finally:
                self.painting.stop()
        self.ui.paintFrame.setVisible(wanted)
        self._refresh()

    def _add(self) -> None:
        if self._painted:
            self._take_in()
        lesion_type = LesionType.from_label(self.ui.newTypeComboBox.currentText)
        self.painting.paint_in(self.painting.add_segment(lesion_type))
        self._refresh()

    def _take_in(self) -> None:
        """Painted voxels become an edit; a lesion that was added is selected then."""
        change = self.review.take_in_painting()
        added = [i for i, record in change.records_before.items() if record is None] if change else []
        if added:
            self.review.select(added, jump=False)
        self._painting_taken_in()

    def _painting_taken_in(self) -> None:
        self._painted = False
        if self.painting.is_on and (not self.painting.segment or lesion_id_of(self.painting.segment)):
            self._paint_in_selected()
        self._refresh()

    def _paint_in_selected(self) -> None:
        records = self._records()[-1:]
        paintable = [segment_id(r.lesion_id) for r in records if r.status != "rejected"]
        self.painting.paint_in(paintable[0] if paintable else "")

    def _stroke_made(self) -> None:
        if not self._painted:
            self._painted = True
            self._refresh()

    # What the case tells

    def _selected(self) -> None:
        self.splitting.close()
        if self._painted:
            self.review.take_in_painting()
        if self.painting.is_on:
            self._paint_in_selected()
        self._painted = False
        self._refresh()

    def _changed(self, ids: set[int]) -> None:
        self.splitting.lesions_changed(ids)
        self._painting_taken_in()

    def _closed(self) -> None:
        self._painted = False
        self.exit()
        self._refresh()

    # What can be done by now

    def _refresh(self) -> None:
        records = self._records()
        self.ui.selectionLabel.text = self._selection_text(records)
        self._refresh_undo()
        self._refresh_labels(records)
        self._refresh_shapes(records)
        self._refresh_painting(records)

    def _refresh_undo(self) -> None:
        session = self.review.session
        for button, verb, name in (
            (self.ui.undoButton, _("Undo"), session and session.undo_name),
            (self.ui.redoButton, _("Redo"), session and session.redo_name),
        ):
            button.text = f"{verb}: {_shortened(name)}" if name else verb
            self.allow(button, "" if name else _("There is nothing to take back or do again"))
            if name:
                button.toolTip = f"{button.toolTip}: {name}"

    def _refresh_labels(self, records: list[LesionRecord]) -> None:
        none = "" if records else _("Select a lesion in the table or a slice view first")
        for lesion_type, button in self._types.items():
            same = all(record.type == lesion_type for record in records)
            is_it = _("It is {type} already").format(type=lesion_type.label)
            self.allow(button, none or (is_it if same else ""))
        statuses = {record.status for record in records}
        self.allow(
            self.ui.acceptButton, none or (_("It is accepted already") if statuses == {"accepted"} else "")
        )
        self.allow(
            self.ui.rejectButton, none or (_("It is rejected already") if statuses == {"rejected"} else "")
        )
        self.allow(
            self.ui.restoreButton,
            none or ("" if "rejected" in statuses else _("Only what was rejected can be restored")),
        )
        self.allow(self.ui.deleteButton, none)

    def _refresh_shapes(self, records: list[LesionRecord]) -> None:
        rejected = any(record.status == "rejected" for record in records)
        restore = _("Restore the rejected lesion first") if rejected else ""
        one = restore if len(records) == 1 else _("Select one lesion first")
        for button in (self.ui.growButton, self.ui.shrinkButton, self.ui.splitButton):
            self.allow(button, one)
        self.allow(
            self.ui.mergeButton, restore if len(records) > 1 else _("Select two lesions or more first")
        )

    def _refresh_painting(self, records: list[LesionRecord]) -> None:
        segment = self.painting.segment
        added = bool(segment) and lesion_id_of(segment) is None
        if added:
            text = _("Painting a new lesion: voxels of others stay theirs")
        elif segment:
            text = _("Painting in {lesion}: its neighbours keep their voxels").format(
                lesion=segment_name(records[-1])
            )
        else:
            text = _("Select a lesion to paint in it, or add one")
        self.ui.paintLabel.text = text
        self.allow(self.ui.paintButton, self._why_no_painting())
        self.allow(
            self.ui.takeInButton, "" if self._painted else _("Nothing was painted since the last edit")
        )
        self.allow(self.ui.addButton, "" if self.painting.is_on else _("Open the painting tools first"))

    def _why_no_painting(self) -> str:
        if not self.review.is_open:
            return _("Run a model or open a case first")
        if not self.review.scene.node.IsA("vtkMRMLSegmentationNode"):
            return _(
                "There are too many lesions for the Segment Editor: split, grow, shrink and delete still work"
            )
        return ""

    def _selection_text(self, records: list[LesionRecord]) -> str:
        if not self.review.is_open:
            return _("No case is open")
        if not records:
            return _("No lesion is selected")
        volume = sum(record.volume_mm3 for record in records)
        if len(records) > 1:
            return _("{count} lesions, {volume:.0f} mm³").format(count=len(records), volume=volume)
        (record,) = records
        return _("{lesion}, {volume:.0f} mm³, {status}").format(
            lesion=segment_name(record), volume=volume, status=STATUS_TEXTS[record.status]
        )

    def _records(self) -> list[LesionRecord]:
        """The selected lesions, the current one last."""
        return [self.review.lesions.records[i] for i in self.review.selection] if self.review.is_open else []


def _without_arguments(action: Callable[[], Any]) -> Callable[..., None]:
    """``action`` for a signal that says whether its button is checked, which is of no account."""

    def call(*_checked: bool) -> None:
        action()

    return call


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
