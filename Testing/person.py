"""What a person does with mouse and keyboard, by Qt's own test events."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import slicer
import slicer.util
import vtk
from PySide6 import QtCore, QtGui, QtTest, QtWidgets

Point = tuple[float, float, float]

_LEFT = QtCore.Qt.MouseButton.LeftButton


class Person:
    """Sits before ``window``, the application's main window."""

    window: Any

    def process(self, seconds: float = 0.0) -> None:
        """Let Qt handle its events, for a time."""
        end = time.monotonic() + seconds
        while True:
            slicer.app.processEvents()
            QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)
            if time.monotonic() >= end:
                return
            time.sleep(0.005)

    def wait(self, condition: Callable[[], Any], seconds: float = 60.0) -> None:
        """Handle events until a condition holds; AssertionError if it does not in time."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "what was waited for did not happen"
            self.process(0.01)

    def click(self, button: Any) -> None:
        """Click a button with the left mouse button; AssertionError where a user could not."""
        cpp = self._reachable(button)
        assert not _opens_menu(cpp), f"{cpp.objectName()} opens a menu: use choose_from_menu"
        inside = cpp.rect().center()
        if isinstance(cpp, QtWidgets.QCheckBox | QtWidgets.QRadioButton):
            inside = QtCore.QPoint(8, cpp.height() // 2)
        self._mouse(cpp, inside)

    def choose_from_menu(self, button: Any, text: str) -> None:
        """Choose an item of a button's menu by its text."""
        cpp = self._reachable(button)
        cpp.menu().aboutToShow.emit()
        found = [action for action in cpp.menu().actions() if action.text().replace("&", "") == text]
        assert len(found) == 1, f"{cpp.objectName()}'s menu has {len(found)} items {text!r}"
        assert found[0].isEnabled(), f"{text} is disabled"
        found[0].trigger()
        self.process()

    def click_row(self, view: Any, row: int, column: int = 0, modifiers: Any = None) -> None:
        """Click a cell of a table, with Ctrl or Shift held if given as Qt's modifier."""
        viewport, where = self._cell(view, row, column)
        self._mouse(viewport, where, modifiers)

    def double_click_row(self, view: Any, row: int, column: int = 0) -> None:
        """Double-click a cell of a table, to edit it in place or to open what it stands for."""
        viewport, where = self._cell(view, row, column)
        self._mouse(viewport, where)
        QtTest.QTest.mouseDClick(viewport, _LEFT, QtCore.Qt.KeyboardModifier.NoModifier, where)
        self.process()

    def choose(self, combo: Any, text: str) -> None:
        """Choose an item of a combo box by its text, as a user: activated is emitted too."""
        cpp = self._reachable(combo)
        index = cpp.findText(text)
        assert index >= 0, f"{cpp.objectName()} has no item {text!r}"
        cpp.setCurrentIndex(index)
        cpp.activated.emit(index)
        self.process()

    def key(self, keys: str, widget: Any = None) -> None:
        """Press a key such as ``N`` or ``Ctrl+Shift+Z``; in a widget, else where the focus is."""
        self.window._cpp.show()
        self.window._cpp.activateWindow()
        target = _cpp(widget) if widget is not None else QtWidgets.QApplication.focusWidget()
        combination = QtGui.QKeySequence(keys)[0]  # type: ignore[index]
        QtTest.QTest.keyClick(target or self.window._cpp, combination.key(), combination.keyboardModifiers())
        self.process()

    def type(self, widget: Any, text: str) -> None:
        """Replace what stands in a line edit or spin box by typing."""
        cpp = self._reachable(widget)
        cpp.setFocus()
        cpp.selectAll()
        QtTest.QTest.keyClicks(cpp, text)
        self.process()

    def pick(self, ras: Point, view: str = "Red", modifiers: Any = None) -> None:
        """Click a point of the scene in a slice view, which is first moved to its slice."""
        self.drag([ras], view, modifiers)

    def drag(self, stroke: Sequence[Point], view: str = "Red", modifiers: Any = None) -> None:
        """Press in a slice view, moved to the first point's slice; go on to the other points; let go."""
        cpp, held = _slice_view(view), _modifiers(modifiers)
        cpp.mrmlSliceNode().JumpSliceByCentering(*stroke[0])
        self.process()
        places = [QtCore.QPoint(*self.position_of(ras, view)) for ras in stroke]
        QtTest.QTest.mouseMove(cpp, places[0] - QtCore.QPoint(3, 3))  # the mouse comes from somewhere
        QtTest.QTest.mouseMove(cpp, places[0])
        QtTest.QTest.mousePress(cpp, _LEFT, held, places[0])
        for place in places[1:]:
            QtTest.QTest.mouseMove(cpp, place)
        QtTest.QTest.mouseRelease(cpp, _LEFT, held, places[-1])
        self.process()

    def position_of(self, ras: Point, view: str = "Red") -> tuple[int, int]:
        """The pixel of a slice view, from its top left, where a point of the scene is drawn."""
        cpp = _slice_view(view)
        to_view = vtk.vtkMatrix4x4()
        to_view.DeepCopy(cpp.mrmlSliceNode().GetXYToRAS())
        to_view.Invert()
        x, y, _, _ = to_view.MultiplyPoint((*ras, 1.0))
        return round(x), cpp.height() - 1 - round(y)

    def colour(self, ras: Point, view: str = "Red") -> tuple[int, int, int]:
        """RGB of what a slice view draws at a point of the scene, which has to lie on its slice."""
        cpp = _slice_view(view)
        cpp.forceRender()
        pixel = cpp._picture.pixelColor(*self.position_of(ras, view))
        return pixel.red(), pixel.green(), pixel.blue()

    def _reachable(self, widget: Any) -> Any:
        """A widget scrolled to; AssertionError where a user cannot use it."""
        cpp, area = _cpp(widget), self.window._cpp._panel
        if area.isAncestorOf(cpp):
            area.ensureWidgetVisible(cpp)
        self.process()
        assert cpp.isVisible(), f"{cpp.objectName()} is not visible: open its section first"
        assert cpp.isEnabled(), f"{cpp.objectName()} is disabled"
        return cpp

    def _cell(self, view: Any, row: int, column: int) -> tuple[QtWidgets.QWidget, QtCore.QPoint]:
        cpp = self._reachable(view)
        index = cpp.model().index(row, column)
        cpp.scrollTo(index)
        return cpp.viewport(), cpp.visualRect(index).center()

    def _mouse(self, cpp: Any, where: QtCore.QPoint, modifiers: Any = None) -> None:
        QtTest.QTest.mouseClick(cpp, _LEFT, _modifiers(modifiers), where)
        self.process()


def _cpp(widget: Any) -> Any:
    return getattr(widget, "_cpp", widget)


def _modifiers(held: Any) -> QtCore.Qt.KeyboardModifier:
    return QtCore.Qt.KeyboardModifier(int(held or 0))


def _opens_menu(cpp: Any) -> bool:
    if isinstance(cpp, QtWidgets.QToolButton):
        return cpp.menu() is not None and cpp.popupMode() == cpp.ToolButtonPopupMode.InstantPopup
    return isinstance(cpp, QtWidgets.QPushButton) and cpp.menu() is not None


def _slice_view(name: str) -> Any:
    return slicer.app._cpp.layoutManager().sliceWidget(name).sliceView()
