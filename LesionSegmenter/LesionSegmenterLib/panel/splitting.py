"""The split of the selected lesion: its method and parameters, planned and shown live, done when applied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import qt
from slicer.i18n import tr as _

from .. import edits
from ..errors import InputError
from ..lesions import Change, LesionMap
from ..scene.grid import array_of
from ..scene.tags import segment_id
from .split_preview import SplitPreview
from .split_seeds import SplitSeeds

if TYPE_CHECKING:
    from .edit import EditSection

Needs = Literal["", "parts", "seeds", "line"]
_PAUSE_MS = 100  # after which a preview follows a point that is being dragged


@dataclass(frozen=True)
class Method:
    """A way to split: what the journal calls it, its name and when it is right, and what it asks for."""

    key: str
    text: str
    when: str
    needs: Needs = ""


def methods() -> tuple[Method, ...]:
    """Every way to split that the panel offers, texts in the user's language."""
    return (
        Method(
            "components",
            _("Connected components"),
            _("Right where the pieces do not touch: one lesion for each piece."),
        ),
        Method(
            "acls",
            _("Peaks of the probability (ACLS)"),
            _("Right for confluent lesions with a centre of their own each. Automatic."),
        ),
        Method(
            "acls-conflunet",
            _("Peaks of the probability (ACLS as in ConfLUNet)"),
            _("As ACLS, with the centres found as the authors of ConfLUNet do."),
        ),
        Method(
            "parts",
            _("Compact parts of about equal extent"),
            _("Right for long or large lesions without a waist, when their number is known."),
            "parts",
        ),
        Method(
            "line",
            _("Line in a slice view"),
            _("Right for a bridge between two lesions: place two points, one at either end of the cut."),
            "line",
        ),
        Method(
            "nearest",
            _("Seeds: nearest"),
            _("Place a point in each part. Every voxel goes to the nearest one: quick, straight borders."),
            "seeds",
        ),
        Method(
            "watershed",
            _("Seeds: watershed"),
            _("Place a point in each part. The parts meet where the lesion is narrow."),
            "seeds",
        ),
        Method(
            "random-walker",
            _("Seeds: random walker"),
            _("Place a point in each part. The borders follow the FLAIR's contrast within the lesion."),
            "seeds",
        ),
    )


class Splitting:
    """The Split tools of the Edit section, open for one lesion at a time.

    section : whose widgets these are.
    closed : called when the tools were closed, by the user or because the lesion is gone.
    """

    def __init__(self, section: EditSection, closed: Callable[[], None]) -> None:
        self._section, self._closed = section, closed
        self._ui = section.ui
        self._lesion_id: int | None = None
        self._methods = {method.key: method for method in methods()}
        self._preview = SplitPreview()
        self._points = SplitSeeds(section.slot(self._points_moved), section.slot(self._show_placing))
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE_MS)
        self._preview_later = section.slot(self.show_preview)
        self._timer.timeout.connect(self._preview_later)
        ui = self._ui
        for method in self._methods.values():
            ui.methodComboBox.addItem(method.text, method.key)
        ui.methodComboBox.connect("currentIndexChanged(int)", section.slot(self._method_chosen))
        ui.partsSpinBox.connect("valueChanged(int)", section.slot(self._later))
        ui.placeButton.toggled.connect(section.slot(self._points.place))
        ui.pointsList.currentRowChanged.connect(section.slot(self._point_marked))
        ui.removePointButton.clicked.connect(section.slot(self._remove_point))
        ui.applyButton.clicked.connect(section.slot(self._apply))
        ui.discardButton.clicked.connect(section.slot(self.close))
        self._method_chosen()
        self._say("", False)

    @property
    def is_open(self) -> bool:
        """Whether the tools are open."""
        return self._lesion_id is not None

    def open(self, lesion_id: int) -> None:
        """Begin to split a lesion: the preview follows from here on."""
        self.close()
        self._lesion_id = lesion_id
        self._method_chosen()

    def close(self, _checked: bool = False) -> None:
        """Leave the lesion as it is: preview and points go."""
        if self._lesion_id is None:
            return
        self._lesion_id = None
        self._forget_points()
        self._preview.clear()
        self._say("", False)
        self._closed()

    def cleanup(self) -> None:
        """The panel is going for good."""
        self.close()
        self._timer.stop()
        self._timer.timeout.disconnect(self._preview_later)

    def lesions_changed(self, ids: set[int]) -> None:
        """Lesions were edited: the preview follows, or the tools close where the lesion is gone."""
        if self._lesion_id not in ids:
            return
        record = self._section.review.lesions.records.get(self._lesion_id)
        if record is None or record.status == "rejected":
            self.close()
        else:
            self._later()

    def show_preview(self) -> None:
        """Plan the split as the widgets state it, and show its parts, or say why there is none."""
        self._timer.stop()
        if self._lesion_id is None:
            return
        lesions: LesionMap = self._section.review.lesions
        try:
            change = self._plan(lesions)
        except InputError as error:
            self._preview.clear()
            self._say(str(error), False)
            return
        self._preview.show(lesions, change)
        parts = [record for record in change.records_after.values() if record is not None]
        volumes = ", ".join(f"{record.volume_mm3:.0f}" for record in parts[:6]) + (", …" if parts[6:] else "")
        self._say(_("{count} parts: {volumes} mm³").format(count=len(parts), volumes=volumes), True)

    def _plan(self, lesions: LesionMap) -> Change:
        """The change that the widgets state; InputError where it cannot be made."""
        lesion_id, key = self._lesion_id, self._method.key
        assert lesion_id is not None, "the tools are open"
        if key == "components":
            return edits.split_components(lesions, lesion_id)
        if key == "parts":
            return edits.split_k(lesions, lesion_id, self._ui.partsSpinBox.value)
        if key == "line":
            return self._plan_line(lesions, lesion_id)
        if self._method.needs == "seeds":
            flair = array_of(self._section.review.scene.flair.GetImageData())
            return edits.split_seeds(lesions, lesion_id, self._points.points, key, flair)  # type: ignore[arg-type]
        return edits.split_acls(lesions, lesion_id, method=key)

    def _plan_line(self, lesions: LesionMap, lesion_id: int) -> Change:
        points = self._points.points
        if len(points) != 2:
            raise InputError("a line has two points", todo=_("Place one at either end of the cut"))
        start, end = points
        normal = self._points.line_of_sight()
        if normal is None:
            raise InputError("no slice view shows both points", todo=_("Place both in one slice view"))
        return edits.split_plane(lesions, lesion_id, start, end, normal)

    def _apply(self, _checked: bool = False) -> None:
        assert self._lesion_id is not None, "the button is disabled otherwise"
        name = f"Split {segment_id(self._lesion_id)} by {self._method.key}"
        self._section.review.do(name, self._plan, self._method.key)
        self.close()

    @property
    def _method(self) -> Method:
        return self._methods[self._ui.methodComboBox.currentData]

    def _method_chosen(self, _index: int = 0) -> None:
        method, ui = self._method, self._ui
        ui.methodLabel.text = method.when
        ui.partsSpinBox.setVisible(method.needs == "parts")
        ui.pointsWidget.setVisible(method.needs in ("seeds", "line"))
        if method.needs not in ("seeds", "line"):
            self._forget_points()
        if self.is_open:
            ui.placeButton.checked = method.needs in ("seeds", "line")
            self.show_preview()

    def _later(self, _value: Any = None) -> None:
        if self.is_open:
            self._section.allow(self._ui.applyButton, _("The preview is being made"))
            self._timer.start()

    def _points_moved(self) -> None:
        """The list says where the points are; the mark stays where it was."""
        listed = self._ui.pointsList
        row, points = listed.currentRow, self._points.points
        listed.clear()
        for number, point in enumerate(points, 1):
            r, a, s = (round(length, 1) + 0.0 for length in point)  # + 0.0: no -0.0
            listed.addItem(f"{number}:  R {r}  A {a}  S {s}")
        listed.currentRow = min(row, len(points) - 1)
        self._point_marked()
        self._later()

    def _point_marked(self, _row: int = 0) -> None:
        self._ui.removePointButton.enabled = self._ui.pointsList.currentRow >= 0

    def _remove_point(self, _checked: bool = False) -> None:
        self._points.remove(self._ui.pointsList.currentRow)

    def _show_placing(self, placing: bool) -> None:
        self._ui.placeButton.checked = placing

    def _forget_points(self) -> None:
        self._points.clear()
        self._timer.stop()
        self._ui.placeButton.checked = False
        self._ui.pointsList.clear()
        self._point_marked()

    def _say(self, text: str, can_apply: bool) -> None:
        self._ui.previewLabel.text = text
        self._section.allow(
            self._ui.applyButton, "" if can_apply else text or _("Open the Split tools first")
        )
