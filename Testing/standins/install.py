"""Puts the stand-ins where a scripted module imports them from."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import slicer
import slicer.util

from . import problems

_state: dict[str, Any] = {}


def install(on_screen: bool = False) -> None:
    """Make ``qt``, ``ctk``, ``slicer.app`` and the rest importable; the second time, make them current again.

    on_screen : draw in real windows. Otherwise Qt draws off screen, unless QT_QPA_PLATFORM says how.

    There is one application in a process: Qt and the factories of views allow no second.
    """
    if not on_screen:
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    if not _state:
        _make()
    problems.watch()
    for name, value in _state["slicer"].items():
        setattr(slicer, name, value)
    sys.modules.update(_state["modules"])


def _make() -> None:
    from . import mrml_widgets, parameter_node, plot_view, scripted_module, segment_editor, views
    from .application import qSlicerApplication, qSlicerMainWindow
    from .module_manager import qSlicerScriptedLoadableModule, qSlicerScriptedLoadableModuleWidget
    from .packages import Packaging
    from .pythonqt import class_of, wrap
    from .qt import QtModule

    folder = tempfile.TemporaryDirectory(prefix="slicer-standins-")
    application = qSlicerApplication(Path(folder.name))
    widgets = [
        *_classes(mrml_widgets),
        *_classes(segment_editor),
        *_classes(plot_view),
        *_classes(views),
        qSlicerScriptedLoadableModule,
        qSlicerScriptedLoadableModuleWidget,
        qSlicerMainWindow,
    ]
    packaging = _module("slicer.packaging", Packaging())
    i18n = ModuleType("slicer.i18n")
    vars(i18n).update(tr=lambda text: text, translate=lambda context, text: text)
    base = _module("slicer.ScriptedLoadableModule", scripted_module)
    wrapper = _module("slicer.parameterNodeWrapper", parameter_node)
    modules = (QtModule("qt"), _ctk(), packaging, i18n, base, wrapper)
    _state["folder"] = folder
    _state["modules"] = {module.__name__: module for module in modules}
    _state["slicer"] = {
        "app": wrap(application),
        "mrmlScene": application.mrmlScene(),
        "modules": application.moduleManager()._namespace(),
        "packaging": packaging,
        "i18n": i18n,
        "ScriptedLoadableModule": base,
        "parameterNodeWrapper": wrapper,
        **{kind.__name__: class_of(kind) for kind in widgets},
    }
    for name, value in _state["slicer"].items():
        setattr(slicer, name, value)
    sys.modules.update(_state["modules"])
    application._make_views()


def _classes(module: ModuleType) -> list[type]:
    return [v for n, v in vars(module).items() if n.startswith(("qMRML", "qSlicer")) and isinstance(v, type)]


def _module(name: str, source: Any) -> ModuleType:
    made = ModuleType(name)
    names = [n for n in dir(source) if not n.startswith("_")]
    vars(made).update({n: getattr(source, n) for n in names})
    vars(made)["standin"] = source
    return made


def _ctk() -> ModuleType:
    from . import ctk_widgets
    from .pythonqt import class_of

    made = ModuleType("ctk")
    classes = {n: v for n, v in vars(ctk_widgets).items() if n.startswith("ctk") and isinstance(v, type)}
    vars(made).update({name: class_of(kind) for name, kind in classes.items()})
    return made
