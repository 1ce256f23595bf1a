"""The module's panel outside Slicer: for a person (``make panel``) and for tests (the fixture ``panel``).

In a test, the whole panel as a user has it open::

    def test_it(panel):                                # a PanelApp, and a Person
        panel.click(panel.ui("run").cancelButton)      # a real mouse click
        panel.wait(lambda: panel.widget.panel.review.is_open)

A section can be built alone, on a stub of the panel::

    def test_it(section):
        inputs = section("inputs", "InputsSection")    # LesionSegmenterLib.panel.inputs.InputsSection
        section.app.click(inputs.ui.someButton)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import slicer
import slicer.util

import standins
from person import Person
from standins import modal

MODULE_FOLDER = Path(__file__).resolve().parents[1] / "LesionSegmenter"
NAME = "LesionSegmenter"
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")


class PanelApp(Person):
    """The stand-in application with a main window, and a `Person` who clicks and types.

    window : the main window. widget : the module's ``LesionSegmenterWidget`` once `open` was called.
    """

    def __init__(self, on_screen: bool = False) -> None:
        standins.install(on_screen)
        from standins.application import qSlicerMainWindow
        from standins.pythonqt import wrap

        self.widget: Any = None
        self.window = wrap(qSlicerMainWindow())
        self.window._cpp.resize(1280, 900)

    def open(self) -> Any:
        """Load the module, enter it and show it; returns its widget."""
        manager = slicer.app._cpp.moduleManager()
        module = manager._load(MODULE_FOLDER / f"{NAME}.py")
        place = module.widgetRepresentation()
        self.widget = place.self()
        self.window._cpp._panel.setWidget(place)
        self.window.show()
        slicer.util.selectModule(NAME)
        self.process()
        return self.widget

    @property
    def panel(self) -> Any:
        """The module's Panel."""
        return self.widget.panel

    def ui(self, section: str) -> Any:
        """A section's widgets by object name."""
        return getattr(self.panel, section).ui

    def show(self, widget: Any) -> None:
        """Show a widget by itself in the place of the panel."""
        self.window._cpp._panel.setWidget(getattr(widget, "_cpp", widget))
        self.window.show()
        self.process()

    def screenshot(self, path: Path | str, widget: Any = None) -> Path:
        """Write a picture of the window, or of one widget."""
        self.process()
        cpp = (self.window if widget is None else widget)._cpp
        for view in slicer.app._cpp.layoutManager()._views():
            view.forceRender()
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        assert cpp.grab().save(str(path)), f"cannot write {path}"
        return Path(path)

    def answer(self, *answers: Any) -> None:
        """Answer the next boxes that wait for the user, in order.

        An answer is what the call returns: ``qt.QMessageBox.Yes``, a path, ``""`` for cancelled; or a
        function that is called with the box, or with the arguments of a static call.
        """
        modal.answer_from_now_on(*answers)

    @property
    def questions(self) -> list[str]:
        """The texts of the boxes that came up."""
        return modal.questions

    def close(self) -> None:
        """Leave and unload the module, and empty the scene."""
        if self.widget is not None:
            slicer.app._cpp.moduleManager()._unload(NAME)
            self.widget = None
        slicer.app._cpp.layoutManager().viewport().setParent(None)
        self.window._cpp.close()
        self.window.deleteLater()
        self.process()
        slicer.mrmlScene.Clear(0)
        slicer.app._cpp.userSettings().clear()


def main() -> int:
    """Open the panel in a window and stay until it is closed."""
    if sys.platform.startswith("linux") and not any(map(os.environ.get, _DISPLAYS)):
        print("There is no display to open a window on. Set DISPLAY, or try: xvfb-run -a make panel")
        return 2
    app = PanelApp(on_screen=True)
    app.open()
    app.window.resize(1500, 950)
    slicer.app._cpp.exec()
    app.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
