"""A signal in plain Python: Qt's own, defined in Python, crash under PythonQt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Signal:
    """Calls those that are connected, in the order in which they connected."""

    def __init__(self) -> None:
        self._slots: list[Callable[..., Any]] = []

    def connect(self, slot: Callable[..., Any]) -> None:
        """Call ``slot`` with the arguments of every `emit` from now on."""
        self._slots.append(slot)

    def disconnect(self, slot: Callable[..., Any]) -> None:
        """Call ``slot`` no more; ValueError where it is not connected."""
        self._slots.remove(slot)

    def emit(self, *arguments: Any) -> None:
        """Call everyone connected by now, also where one of them connects or disconnects another."""
        for slot in tuple(self._slots):
            slot(*arguments)
