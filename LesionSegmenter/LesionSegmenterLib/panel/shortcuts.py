"""The panel's keys: active only while the module is entered, so that no other module loses one of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt


class Shortcuts:
    """Keys of one window. None of them may be Slicer's own: Qt calls neither of two shortcuts of one key.

    window : a widget; the keys work wherever the focus is in its window, but not where text is typed.
    """

    def __init__(self, window: Any) -> None:
        self._window = window
        self._shortcuts: dict[str, tuple[Any, Callable[[], Any]]] = {}
        self._texts: dict[str, str] = {}

    def add(self, key: str, text: str, slot: Callable[[], Any]) -> None:
        """Call ``slot`` when a key is pressed while the module is entered.

        key : as Qt writes it, such as ``N`` or ``Shift+N``.
        text : what it does, for the user.

        Raises ValueError where the key is given already.
        """
        if key in self._shortcuts:
            raise ValueError(f"the key {key} is given to {self._texts[key]!r}")
        shortcut = qt.QShortcut(qt.QKeySequence(key), self._window)
        shortcut.enabled = False
        shortcut.activated.connect(slot)
        self._shortcuts[key], self._texts[key] = (shortcut, slot), text

    def press(self, key: str, button: Any) -> None:
        """Let a key press a button, which does nothing while it is disabled; its tooltip tells the key."""
        self.add(key, button.toolTip, lambda: button.click())
        button.toolTip = f"{button.toolTip} ({key})"

    def keys(self) -> tuple[tuple[str, str], ...]:
        """Every key and what it does, in the order in which they were added."""
        return tuple(self._texts.items())

    def activate(self) -> None:
        """The module was entered."""
        self._enable(True)

    def deactivate(self) -> None:
        """The module was left: every key is again what it is without it."""
        self._enable(False)

    def cleanup(self) -> None:
        """Let the keys go for good; a shortcut that stays connected can crash Slicer while it shuts down."""
        for shortcut, slot in self._shortcuts.values():
            shortcut.enabled = False
            shortcut.activated.disconnect(slot)
            shortcut.deleteLater()
        self._shortcuts.clear()
        self._texts.clear()

    def _enable(self, enabled: bool) -> None:
        for shortcut, _ in self._shortcuts.values():
            shortcut.enabled = enabled
