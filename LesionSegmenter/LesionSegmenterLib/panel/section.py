"""What every section of the panel has in common: its widgets from a Qt Designer file, and its life."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import slicer.util

if TYPE_CHECKING:
    from .panel import Panel
    from .parameters import PanelParameters


class Section:
    """A collapsible part of the panel. Subclasses name their ``.ui`` file and connect its widgets.

    panel : the whole, with the case under review (``panel.review``) and the other sections.
    widget : top-level widget of the file.
    ui : its children by object name.
    """

    ui_file = ""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.widget = slicer.util.loadUI(str(panel.resources / "UI" / self.ui_file))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        if self.widget.inherits("qMRMLWidget"):
            self.widget.setMRMLScene(slicer.mrmlScene)

    @property
    def review(self) -> Any:
        """The case under review, a `CaseReview`."""
        return self.panel.review

    def slot(self, action: Callable[..., Any]) -> Callable[..., None]:
        """``action`` as a slot: see `Panel.slot`."""
        return self.panel.slot(action)

    def enter(self) -> None:
        """The module was entered."""

    def exit(self) -> None:
        """The module was left."""

    def use_parameters(self, parameters: PanelParameters | None) -> None:
        """A scene's parameters were connected to the widgets that name one; None: its scene closes."""

    def cleanup(self) -> None:
        """The panel is going for good: disconnect and let go of processes, timers and observers."""
