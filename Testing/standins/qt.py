"""``qt`` as PythonQt offers it: the classes of QtCore, QtGui and QtWidgets in one module."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets

from . import qt6_only
from .pythonqt import class_of
from .ui_loader import QUiLoader

_GONE = {"Signal", "Slot", "Property", "QRegExp", "QTextCodec", "QDesktopWidget"}


class _QDialogButtonBox(QtWidgets.QDialogButtonBox):
    """Its constructors that take buttons, as flags, are broken under PythonQt."""

    _cpp_name = "QDialogButtonBox"
    _refuses_numbers = True


_OWN: dict[str, type] = {"QUiLoader": QUiLoader, "QDialogButtonBox": _QDialogButtonBox}


class QtModule(ModuleType):
    """Looks a class up when it is first named."""

    def __getattr__(self, name: str) -> Any:
        if name in _GONE or qt6_only.refuses_class(name) or name.startswith("_"):
            raise AttributeError(f"module 'qt' has no attribute '{name}'")
        found = _OWN.get(name)
        for module in (QtCore, QtGui, QtWidgets):
            found = found or getattr(module, name, None)
        if not isinstance(found, type):
            raise AttributeError(f"module 'qt' has no attribute '{name}'")
        setattr(self, name, class_of(found))
        return class_of(found)
