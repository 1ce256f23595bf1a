"""Loads Qt Designer's files: it knows the stand-in widgets, and refuses what would go wrong in Slicer."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import ctk_widgets, mrml_widgets, plot_view, segment_editor
from .meta import properties
from .signals import connect_by_signature

_FOREIGN = ("qMRML", "qSlicer", "ctk")
_OF_THE_FILE = {"buddy"}  # known to the file format, not to the class


def widget_class(name: str) -> type | None:
    """The class of a widget by its C++ name; None where there is none."""
    for module in (mrml_widgets, segment_editor, plot_view, ctk_widgets):
        found = getattr(module, name, None)
        if isinstance(found, type):
            return found
    return None if name.startswith(_FOREIGN) else getattr(QtWidgets, name, None)


class QUiLoader(QtUiTools.QUiLoader):
    """Makes the widgets of a file; ValueError where Slicer would print a warning and go on."""

    def createWidget(self, className: str, parent: Any = None, name: str = "") -> Any:  # noqa: N802, N803
        made = widget_class(className)
        if made is None or not issubclass(made, QtWidgets.QWidget):
            return super().createWidget(className, parent, name)
        widget = made(parent)
        widget.setObjectName(name)
        return widget

    def load(self, device: Any, parent: QtWidgets.QWidget | None = None) -> Any:  # type: ignore[override]
        """The top-level widget of a file, its connections made."""
        root = ElementTree.fromstring(bytes(device.readAll().data()))
        for widget in root.iter("widget"):
            _check(widget)
        connections = root.find("connections")
        if connections is not None:
            root.remove(connections)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(root))
        buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
        loaded = super().load(buffer, parent)
        for connection in connections if connections is not None else ():
            _connect(loaded, connection)
        return loaded


def _check(widget: ElementTree.Element) -> None:
    """Refuse a widget of a class without a stand-in, or with a property that its class does not have."""
    class_name, name = widget.get("class", ""), widget.get("name")
    made = widget_class(class_name)
    if made is None:
        if class_name == "Line":  # Qt Designer's own name for a QFrame
            return
        raise ValueError(f"no stand-in for the widget class {class_name} of {name}")
    for attribute in widget.findall("property"):
        wanted = attribute.get("name", "")
        if wanted not in properties(made) and wanted not in _OF_THE_FILE and attribute.get("stdset") != "0":
            raise ValueError(f"{name}: a {class_name} has no property {wanted}")


def _connect(top: QtWidgets.QWidget, connection: ElementTree.Element) -> None:
    sender, signal, receiver, slot = (
        connection.findtext(t) or "" for t in ("sender", "signal", "receiver", "slot")
    )
    from_widget, to_widget = _named(top, sender), _named(top, receiver)
    method = getattr(to_widget, slot.split("(")[0], None)
    if method is None:
        raise ValueError(f"{receiver} has no slot {slot}")
    if not connect_by_signature(from_widget, signal, _Raw(method)):
        raise ValueError(f"{sender} has no signal {signal}")


class _Raw:
    """A slot of C++: called with C++'s own objects."""

    def __init__(self, method: Any) -> None:
        self._method = method

    def __call__(self, *arguments: Any) -> None:
        from .pythonqt import unwrap

        self._method(*(unwrap(argument) for argument in arguments))


def _named(top: QtWidgets.QWidget, name: str) -> Any:
    found = top if top.objectName() == name else top.findChild(QtCore.QObject, name)
    if found is None:
        raise ValueError(f"a connection names {name}, which is not in the file")
    return found
