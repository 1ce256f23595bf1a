"""The widgets of CTK that a panel uses, as plain PySide6 widgets."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Signal

from .properties import computed

_HEADER = 26


class ctkCollapsibleButton(QtWidgets.QAbstractButton):  # noqa: N801
    """A header that shows or hides what lies below it."""

    contentsCollapsed = Signal(bool)  # noqa: N815

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*(a for a in arguments if isinstance(a, QtWidgets.QWidget)))
        self._collapsed = False
        self.setText("".join(a for a in arguments if isinstance(a, str)))
        self.setCheckable(True)
        self.setChecked(True)
        self.setContentsMargins(0, _HEADER, 0, 0)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Preferred)
        self.toggled.connect(lambda checked: self.setCollapsed(not checked))

    def _is_collapsed(self) -> bool:
        return self._collapsed

    def setCollapsed(self, collapsed: bool) -> None:  # noqa: N802
        if collapsed == self._collapsed:
            return
        self._collapsed = collapsed
        self.setChecked(not collapsed)
        self._show_contents()
        self.contentsCollapsed.emit(collapsed)

    collapsed = computed(bool, _is_collapsed, setCollapsed)

    def _show_contents(self) -> None:
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(not self._collapsed)
        self.setMaximumHeight(_HEADER if self._collapsed else 16777215)

    def childEvent(self, event: QtCore.QChildEvent) -> None:  # noqa: N802
        if event.added() and event.child().isWidgetType() and self._collapsed:
            QtCore.QTimer.singleShot(0, self, self._show_contents)
        super().childEvent(event)

    def event(self, event: QtCore.QEvent) -> bool:
        if event.type() == QtCore.QEvent.Type.PolishRequest:
            self._show_contents()
        return super().event(event)

    def hitButton(self, position: QtCore.QPoint) -> bool:  # noqa: N802
        return position.y() < _HEADER

    def paintEvent(self, _event: Any) -> None:  # noqa: N802
        painter, option = QtWidgets.QStylePainter(self), _option()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width(), _HEADER - 2)
        painter.drawControl(QtWidgets.QStyle.ControlElement.CE_PushButtonBevel, option)
        option.rect.setLeft(8)
        painter.setPen(option.palette.buttonText().color())
        arrow = (
            "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}"
            if self._collapsed
            else ("\N{BLACK DOWN-POINTING SMALL TRIANGLE}")
        )
        painter.drawText(option.rect, QtCore.Qt.AlignmentFlag.AlignVCenter, f"{arrow}  {self.text()}")

    def sizeHint(self) -> QtCore.QSize:  # noqa: N802
        layout = self.layout()
        inside = QtCore.QSize() if layout is None or self._collapsed else layout.sizeHint()
        return QtCore.QSize(max(inside.width(), 120), max(inside.height(), _HEADER))


def _option() -> Any:  # PySide6's annotations lack what it has of its base
    return QtWidgets.QStyleOptionButton()


class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):  # noqa: N801
    """A group box that its title folds."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._collapsed = False
        self.setCheckable(True)
        self.toggled.connect(lambda checked: self.setCollapsed(not checked))

    def setCollapsed(self, collapsed: bool) -> None:  # noqa: N802
        self._collapsed = collapsed
        self.setChecked(not collapsed)
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(not collapsed)

    collapsed = computed(bool, lambda self: self._collapsed, setCollapsed)


class _Number(QtWidgets.QWidget):
    """What the slider and the spin box have in common: a double with a range."""

    valueChanged = Signal(float)  # noqa: N815
    _cpp_signals = {"valueChanged(double)": "valueChanged(double)"}  # noqa: RUF012

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._box = QtWidgets.QDoubleSpinBox(self)
        layout.addWidget(self._box)
        self._box.valueChanged.connect(self._changed)

    def _changed(self, value: float) -> None:
        self.valueChanged.emit(value)

    def setValue(self, value: float) -> None:  # noqa: N802
        self._box.setValue(value)

    def setRange(self, low: float, high: float) -> None:  # noqa: N802
        self._box.setRange(low, high)

    value = computed(float, lambda self: self._box.value(), setValue)
    minimum = computed(float, lambda self: self._box.minimum(), lambda self, v: self._box.setMinimum(v))
    maximum = computed(float, lambda self: self._box.maximum(), lambda self, v: self._box.setMaximum(v))
    singleStep = computed(  # noqa: N815
        float, lambda self: self._box.singleStep(), lambda self, v: self._box.setSingleStep(v)
    )
    decimals = computed(int, lambda self: self._box.decimals(), lambda self, v: self._box.setDecimals(v))
    suffix = computed(str, lambda self: self._box.suffix(), lambda self, v: self._box.setSuffix(v))
    prefix = computed(str, lambda self: self._box.prefix(), lambda self, v: self._box.setPrefix(v))


class ctkDoubleSpinBox(_Number):  # noqa: N801
    """A spin box of doubles."""


class ctkSliderWidget(_Number):  # noqa: N801
    """A slider with a spin box beside it."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self)
        self._slider.setRange(0, 1000)
        self._box.setMaximum(99)
        self.layout().insertWidget(0, self._slider)  # type: ignore[union-attr]
        self._slider.sliderMoved.connect(
            lambda at: self.setValue(self._box.minimum() + self._span() * at / 1000)
        )

    def _span(self) -> float:
        return (self._box.maximum() - self._box.minimum()) or 1.0

    def _changed(self, value: float) -> None:
        self._slider.setValue(round(1000 * (value - self._box.minimum()) / self._span()))
        super()._changed(value)

    tracking = computed(bool, lambda self: True, lambda self, value: None)


class ctkPathLineEdit(QtWidgets.QWidget):  # noqa: N801
    """A path that can be typed or browsed for."""

    currentPathChanged = Signal(str)  # noqa: N815

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._line, self._browse = QtWidgets.QLineEdit(self), QtWidgets.QToolButton(self)
        self._browse.setText("...")
        layout.addWidget(self._line)
        layout.addWidget(self._browse)
        self._line.textChanged.connect(self.currentPathChanged)
        self._filters, self._settings_key = 0, ""
        self._history: list[str] = []

    def setCurrentPath(self, path: str) -> None:  # noqa: N802
        self._line.setText(path)

    def addCurrentPathToHistory(self) -> None:  # noqa: N802
        self._history.append(self._line.text())

    def _set_filters(self, filters: int) -> None:
        self._filters = filters

    def _set_key(self, key: str) -> None:
        self._settings_key = key

    currentPath = computed(str, lambda self: self._line.text(), setCurrentPath)  # noqa: N815
    filters = computed(int, lambda self: self._filters, _set_filters)
    settingKey = computed(str, lambda self: self._settings_key, _set_key)  # noqa: N815


class ctkDirectoryButton(QtWidgets.QWidget):  # noqa: N801
    """A button that shows and chooses a folder."""

    directoryChanged = Signal(str)  # noqa: N815

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._button = QtWidgets.QPushButton(self)
        layout.addWidget(self._button)
        self._directory = ""

    def setDirectory(self, directory: str) -> None:  # noqa: N802
        changed, self._directory = directory != self._directory, directory
        self._button.setText(directory)
        if changed:
            self.directoryChanged.emit(directory)

    directory = computed(str, lambda self: self._directory, setDirectory)


class ctkComboBox(QtWidgets.QComboBox):  # noqa: N801
    """A combo box."""


class ctkSearchBox(QtWidgets.QLineEdit):  # noqa: N801
    """A line edit for a filter."""

    showSearchIcon = computed(bool, lambda self: True, lambda self, value: None)  # noqa: N815


class ctkFittedTextBrowser(QtWidgets.QTextBrowser):  # noqa: N801
    """A text browser as high as its text."""


class ctkMessageBox(QtWidgets.QMessageBox):  # noqa: N801
    """A message box that need not come again."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._visible, self._key, self._dont = False, "", False

    def _set_visible(self, value: bool) -> None:
        self._visible = value

    def _set_key(self, value: str) -> None:
        self._key = value

    def _set_dont(self, value: bool) -> None:
        self._dont = value

    dontShowAgainVisible = computed(bool, lambda self: self._visible, _set_visible)  # noqa: N815
    dontShowAgain = computed(bool, lambda self: self._dont, _set_dont)  # noqa: N815
    dontShowAgainSettingsKey = computed(str, lambda self: self._key, _set_key)  # noqa: N815
