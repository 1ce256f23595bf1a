"""The few names of the Slicer application that a scripted module needs to be imported without it."""

from __future__ import annotations

import unittest
from types import ModuleType
from typing import Any


class Layout:
    """A box layout that remembers its widgets."""

    def __init__(self) -> None:
        self.widgets: list[Any] = []

    def addWidget(self, widget: Any) -> None:  # noqa: N802
        self.widgets.append(widget)

    def addStretch(self, factor: int) -> None:  # noqa: N802
        pass


class QLabel:
    """A label: its text, and setters that are accepted."""

    def __init__(self, text: str) -> None:
        self.text = text

    def setWordWrap(self, wrap: bool) -> None:  # noqa: N802
        pass

    def setTextInteractionFlags(self, flags: int) -> None:  # noqa: N802
        pass


class ScriptedLoadableModule:
    def __init__(self, parent: Any) -> None:
        self.parent = parent


class ScriptedLoadableModuleWidget:
    def __init__(self, parent: Any = None) -> None:
        self.parent, self.layout = parent, Layout()

    def setup(self) -> None:
        pass


def modules() -> dict[str, ModuleType]:
    """Return the stand-ins by module name, to be put into ``sys.modules``."""
    qt, slicer = ModuleType("qt"), ModuleType("slicer")
    i18n, base = ModuleType("slicer.i18n"), ModuleType("slicer.ScriptedLoadableModule")
    vars(qt).update(QLabel=QLabel, Qt=type("Qt", (), {"TextSelectableByMouse": 1}))
    vars(i18n).update(tr=lambda text: text, translate=lambda context, text: text)
    vars(base).update(
        ScriptedLoadableModule=ScriptedLoadableModule,
        ScriptedLoadableModuleWidget=ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleTest=unittest.TestCase,
    )
    return {module.__name__: module for module in (qt, slicer, i18n, base)}
