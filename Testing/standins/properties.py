"""Qt properties of the stand-in widgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6 import QtCore


def computed(kind: Any, read: Callable[[Any], Any], write: Callable[[Any, Any], None] | None = None) -> Any:
    """A property from two functions; PySide6's own annotations do not know it without its decorators."""
    return QtCore.Property(kind, read, write)  # type: ignore[call-arg]


def kept(name: str, default: Any, kind: Any = None) -> Any:
    """A property that keeps what it is given in ``_values`` of the widget, and does nothing with it."""

    def write(self: Any, value: Any) -> None:
        self._values[name] = value

    return computed(kind or type(default), lambda self: self._values.get(name, default), write)
