"""``slicer.modules``: the logics of Slicer's own modules, and scripted modules with their panels."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from .mrml_widgets import qMRMLWidget
from .problems import tell, tell_exception
from .properties import computed, kept

_LOGICS = {
    "Colors": "vtkSlicerColorLogic",
    "Data": "vtkSlicerDataModuleLogic",
    "Units": "vtkSlicerUnitsLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Plots": "vtkSlicerPlotsLogic",
}


class qSlicerLoadableModule(QtCore.QObject):  # noqa: N801
    """A module of C++: its name and its logic."""

    def __init__(self, parent: QtCore.QObject, name: str, logic: Any = None) -> None:
        super().__init__(parent)
        self._values: dict[str, Any] = {"name": name, "title": name}
        self._logic = logic

    def logic(self) -> Any:
        return self._logic

    def mrmlScene(self) -> Any:  # noqa: N802
        return slicer.mrmlScene

    def widgetRepresentation(self) -> Any:  # noqa: N802
        return None

    name = kept("name", "")


class qSlicerScriptedLoadableModule(qSlicerLoadableModule):  # noqa: N801
    """A module of Python, from its file."""

    def __init__(self, parent: QtCore.QObject, path: Path) -> None:
        logic = slicer.vtkSlicerScriptedLoadableModuleLogic()
        super().__init__(parent, path.stem, logic)
        self._values["path"] = str(path)
        self._widget: qSlicerScriptedLoadableModuleWidget | None = None
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        self._source = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = self._source
        if str(path.parent) not in sys.path:
            sys.path.insert(0, str(path.parent))
        spec.loader.exec_module(self._source)

    def _set_up(self) -> None:
        from .pythonqt import wrap

        self._instance = getattr(self._source, self._values["name"])(wrap(self))

    def widgetRepresentation(self) -> Any:  # noqa: N802
        if self._widget is None:
            self._widget = qSlicerScriptedLoadableModuleWidget(self)
            self._widget.setup()
        return self._widget

    title = kept("title", "")
    path = kept("path", "")
    helpText = kept("helpText", "")  # noqa: N815
    acknowledgementText = kept("acknowledgementText", "")  # noqa: N815
    categories = kept("categories", [], "QStringList")
    contributors = kept("contributors", [], "QStringList")
    dependencies = kept("dependencies", [], "QStringList")
    associatedNodeTypes = kept("associatedNodeTypes", [], "QStringList")  # noqa: N815
    hidden = kept("hidden", False)


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):  # noqa: N801
    """The place of a scripted module's panel, and its life."""

    def __init__(self, module: qSlicerScriptedLoadableModule) -> None:
        super().__init__()
        self._module, self._entered = module, False
        self._side: Any = None
        QtWidgets.QVBoxLayout(self).setContentsMargins(4, 4, 4, 4)

    def setup(self) -> None:
        from .pythonqt import wrap

        name = self._module._values["name"]
        self.setMRMLScene(slicer.mrmlScene)
        self._side = getattr(sys.modules[name], f"{name}Widget")(wrap(self))
        setattr(slicer.modules, f"{name}Widget", self._side)
        self._side.setup()

    def reload(self) -> None:
        self.setup()  # and not enter, although the module may be entered

    def self(self) -> Any:
        return self._side

    def enter(self) -> None:
        self._entered = True
        self._call("enter")

    def exit(self) -> None:
        self._entered = False
        self._call("exit")

    def _call(self, name: str) -> None:
        try:
            getattr(self._side, name, lambda: None)()
        except Exception:
            tell_exception(f"{type(self._side).__name__}.{name}")

    isEntered = computed(bool, lambda self: self._entered)  # noqa: N815


class qSlicerModuleFactoryManager(QtCore.QObject):  # noqa: N801
    """The names of the modules."""

    def loadedModuleNames(self) -> list[str]:  # noqa: N802
        return list(self.parent()._modules)  # type: ignore[attr-defined]


class qSlicerModuleManager(QtCore.QObject):  # noqa: N801
    """All modules, and which is selected."""

    moduleAboutToBeUnloaded = QtCore.Signal(str)  # noqa: N815
    moduleLoaded = QtCore.Signal(str)  # noqa: N815

    def __init__(self, parent: QtCore.QObject, application_logic: Any, scene: Any) -> None:
        super().__init__(parent)
        self._modules: dict[str, Any] = {}
        self._factory, self._selected = qSlicerModuleFactoryManager(self), ""
        self._application_logic, self._scene = application_logic, scene
        for name, logic in _LOGICS.items():
            self._add_logic(name, getattr(slicer, logic)())
        scene.AddObserver(scene.NodeAboutToBeRemovedEvent, _node_goes)

    def _add_logic(self, name: str, logic: Any) -> None:
        logic.SetMRMLApplicationLogic(self._application_logic)
        logic.SetMRMLScene(self._scene)
        self._application_logic.SetModuleLogic(name, logic)
        self._modules[name] = qSlicerLoadableModule(self, name, logic)

    def module(self, name: str) -> Any:
        return self._modules.get(name)

    def factoryManager(self) -> qSlicerModuleFactoryManager:  # noqa: N802
        return self._factory

    def _namespace(self) -> SimpleNamespace:
        from .pythonqt import wrap

        return SimpleNamespace(**{name.lower(): wrap(module) for name, module in self._modules.items()})

    def _load(self, path: Path) -> qSlicerScriptedLoadableModule:
        from .pythonqt import wrap

        module = qSlicerScriptedLoadableModule(self, path)
        self._modules[path.stem] = module
        setattr(slicer.modules, path.stem.lower(), wrap(module))
        module._set_up()
        setattr(slicer.modules, f"{path.stem}Instance", module._instance)
        return module

    def _unload(self, name: str) -> None:
        from .pythonqt import connected_subclasses

        if self._selected == name:
            self._select("")
        self.moduleAboutToBeUnloaded.emit(name)
        for left_over in connected_subclasses():
            tell(f"{left_over!r} is still connected after cleanup: it would crash Slicer at exit")
        module = self._modules.pop(name)
        for left in (name.lower(), f"{name}Instance", f"{name}Widget"):
            vars(slicer.modules).pop(left, None)
        if module._widget is not None:
            module._widget.setParent(None)
            module._widget.deleteLater()
        module.deleteLater()

    def _select(self, name: str) -> None:
        """Leave the module that is entered and enter another; an empty name is any other module."""
        left, entered = self._modules.get(self._selected), self._modules.get(name)
        if left is not None and isinstance(left, qSlicerScriptedLoadableModule):
            left.widgetRepresentation().exit()
        self._selected = name
        if isinstance(entered, qSlicerScriptedLoadableModule):
            entered.widgetRepresentation().enter()


@vtk.calldata_type(vtk.VTK_OBJECT)
def _node_goes(_scene: Any, _event: str, node: Any) -> None:
    """The module Subject Hierarchy complains of a node that has no scene any more."""
    if node.GetScene() is None:
        tell(f"{node.GetClassName()} is removed from the scene for the second time")
