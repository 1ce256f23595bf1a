"""The panel as a whole: its sections, the case they share, and how trouble is told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer.util
from slicer.i18n import tr as _

from ..errors import LesionSegmenterError
from .case_review import CaseReview
from .edit import EditSection
from .export import ExportSection
from .inputs import InputsSection
from .lesions import LesionsSection
from .recovery import Recovery
from .retrain import RetrainSection
from .run import RunSection
from .section import Section
from .shortcuts import Shortcuts
from .worklist import WorklistSection


class Panel:
    """Builds the sections into a layout and hands the module's life on to them.

    resources : the module's Resources folder.
    review : the case under review.
    parameters : what the scene remembers; None while no scene is at hand.
    shortcuts : keys, active while the module is entered.
    inputs, run, lesions, edit, export, retrain, worklist : the sections.
    sections : all of them, from the top.
    recovery : offers sessions that were not closed.
    """

    def __init__(self, layout: Any, resources: Path, window: Any) -> None:
        self.resources = resources
        self.review = CaseReview()
        self.parameters: Any = None  # PanelParameters, which Slicer's wrapper gives its methods
        self._tags: list[Any] = []
        self.shortcuts = Shortcuts(window)
        self.widget = slicer.util.loadUI(str(resources / "UI" / "Panel.ui"))
        self.ui = slicer.util.childWidgetVariables(self.widget)
        layout.addWidget(self.widget)
        self.ui.messageLabel.hide()
        self.ui.dismissButton.clicked.connect(self._dismiss)
        self.ui.dismissButton.hide()
        self.inputs = InputsSection(self)
        self.run = RunSection(self)
        self.worklist = WorklistSection(self)
        self.lesions = LesionsSection(self)
        self.edit = EditSection(self)
        self.export = ExportSection(self)
        self.retrain = RetrainSection(self)
        self.recovery = Recovery(self)
        self._buttons: list[Any] = []
        from_the_top = (
            (_("Inputs"), self.inputs, True),
            (_("Run"), self.run, True),
            (_("Worklist"), self.worklist, False),
            (_("Lesions"), self.lesions, True),
            (_("Edit"), self.edit, True),
            (_("Export"), self.export, False),
            (_("Retrain"), self.retrain, False),
        )
        self.sections: tuple[Section, ...] = tuple(section for _title, section, _open in from_the_top)
        for title, section, is_open in from_the_top:
            self._add(title, section, is_open)
        self.widget.setMRMLScene(slicer.mrmlScene)

    def slot(self, action: Callable[..., Any]) -> Callable[..., None]:
        """``action`` as a slot: what goes wrong in it is told in the panel, never swallowed.

        Qt prints an exception in a slot and goes on as if nothing had happened.
        """

        @wraps(action)
        def safe(*arguments: Any) -> None:
            try:
                action(*arguments)
            except LesionSegmenterError as error:
                self.tell(str(error))
            except Exception as error:
                logging.exception("LesionSegmenter: %s", error)
                self.tell(_("Unexpected: {error}. The Python console has the details.").format(error=error))

        return safe

    def tell(self, message: str) -> None:
        """Show a message at the top of the panel until it is dismissed or another comes."""
        self.ui.messageLabel.text = message
        self.ui.messageLabel.show()
        self.ui.dismissButton.show()

    def enter(self) -> None:
        """The module was entered: keys and sections wake up."""
        self.shortcuts.activate()
        for section in self.sections:
            section.enter()
        self.slot(self.recovery.offer)()

    def exit(self) -> None:
        """The module was left: keys are given back; what was painted is taken in."""
        self.shortcuts.deactivate()
        if self.review.is_open:
            self.slot(self.review.take_in_painting)()
        for section in self.sections:
            section.exit()

    def use_parameters(self, parameters: Any) -> None:
        """Connect the widgets to a scene's parameters, or with None disconnect them."""
        if self.parameters is not None:
            for tag in self._tags:
                self.parameters.disconnectGui(tag)
        self.parameters = parameters
        if parameters is not None:
            self._tags = [parameters.connectGui(section.ui) for section in self.sections]
        for section in self.sections:
            section.use_parameters(parameters)

    def cleanup(self) -> None:
        """The panel is going for good."""
        self.slot(self.recovery.cleanup)()
        self.use_parameters(None)
        self.shortcuts.cleanup()
        for section in self.sections:
            section.cleanup()

    def _add(self, title: str, section: Section, is_open: bool) -> None:
        button = ctk.ctkCollapsibleButton()
        button.text = title
        button.collapsed = not is_open
        inside = qt.QVBoxLayout(button)
        inside.setContentsMargins(6, 6, 6, 6)
        inside.addWidget(section.widget)
        self.ui.sectionsWidget.layout().addWidget(button)
        self._buttons.append(button)

    def _dismiss(self, _checked: bool = False) -> None:
        self.ui.messageLabel.hide()
        self.ui.dismissButton.hide()
