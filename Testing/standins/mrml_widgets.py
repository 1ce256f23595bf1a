"""The widgets of Slicer that show MRML nodes, as plain PySide6 widgets."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtWidgets
from PySide6.QtCore import Signal

from .properties import computed


class qMRMLWidget(QtWidgets.QWidget):  # noqa: N801
    """A widget that hands its scene on, through the connections of the .ui file."""

    mrmlSceneChanged = Signal(object)  # noqa: N815
    _cpp_signals = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged(PyObject)"}  # noqa: RUF012

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def mrmlScene(self) -> Any:  # noqa: N802
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:  # noqa: N802
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


class qSlicerWidget(qMRMLWidget):  # noqa: N801
    """As qMRMLWidget."""


def _flag(name: str, default: bool) -> Any:
    def read(self: qMRMLNodeComboBox) -> bool:
        return self._flags.get(name, default)

    def write(self: qMRMLNodeComboBox, value: bool) -> None:
        self._flags[name] = value
        self._refresh()

    return computed(bool, read, write)


class qMRMLNodeComboBox(QtWidgets.QWidget):  # noqa: N801
    """Chooses one of the scene's nodes of some classes."""

    currentNodeChanged = Signal(object)  # noqa: N815
    currentNodeIDChanged = Signal(str)  # noqa: N815
    nodeAddedByUser = Signal(object)  # noqa: N815
    nodeActivated = Signal(object)  # noqa: N815
    _cpp_signals = {  # noqa: RUF012
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged(PyObject)",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser(PyObject)",
        "nodeActivated(vtkMRMLNode*)": "nodeActivated(PyObject)",
    }

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._combo = QtWidgets.QComboBox(self)
        self._combo.setMinimumContentsLength(8)
        layout.addWidget(self._combo)
        self._types: list[str] = []
        self._base_name = ""
        self._flags: dict[str, bool] = {}
        self._scene: Any = None
        self._observed: list[tuple[Any, int]] = []
        self._filling, self._last = False, ""
        self._combo.currentIndexChanged.connect(lambda _index: self._chosen())
        self._combo.activated.connect(lambda _index: self.nodeActivated.emit(self.currentNode()))
        self.destroyed.connect(lambda: self._forget())

    def mrmlScene(self) -> Any:  # noqa: N802
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:  # noqa: N802
        self._forget()
        self._scene = scene
        if scene is not None:
            added, removed = slicer.vtkMRMLScene.NodeAddedEvent, slicer.vtkMRMLScene.NodeRemovedEvent
            for event in (added, removed, slicer.vtkMRMLScene.EndBatchProcessEvent):
                self._observed.append((scene, scene.AddObserver(event, self._scene_changed)))
        self._refresh()

    def currentNode(self) -> Any:  # noqa: N802
        node_id = self._current_id()
        return self._scene.GetNodeByID(node_id) if self._scene is not None and node_id else None

    def setCurrentNode(self, node: Any) -> None:  # noqa: N802
        self.setCurrentNodeID("" if node is None else node.GetID())

    def setCurrentNodeID(self, node_id: str) -> None:  # noqa: N802
        index = self._combo.findData(node_id or "")
        self._combo.setCurrentIndex(index if index >= 0 or not node_id else self._combo.currentIndex())

    def nodeCount(self) -> int:  # noqa: N802
        return self._combo.count() - self._flags.get("noneEnabled", False)

    def nodeFromIndex(self, index: int) -> Any:  # noqa: N802
        node_id = self._combo.itemData(index + self._flags.get("noneEnabled", False))
        return self._scene.GetNodeByID(node_id) if node_id else None

    def addNode(self) -> Any:  # noqa: N802
        node = self._scene.AddNewNodeByClass(self._types[0], self._base_name)
        self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def _set_types(self, types: list[str]) -> None:
        self._types = list(types)
        self._refresh()

    def _set_base_name(self, name: str) -> None:
        self._base_name = name

    nodeTypes = computed("QStringList", lambda self: self._types, _set_types)  # noqa: N815
    baseName = computed(str, lambda self: self._base_name, _set_base_name)  # noqa: N815
    currentNodeID = computed(str, lambda self: self._current_id(), setCurrentNodeID)  # noqa: N815
    noneEnabled = _flag("noneEnabled", False)  # noqa: N815
    addEnabled = _flag("addEnabled", True)  # noqa: N815
    removeEnabled = _flag("removeEnabled", True)  # noqa: N815
    renameEnabled = _flag("renameEnabled", False)  # noqa: N815
    editEnabled = _flag("editEnabled", False)  # noqa: N815
    showHidden = _flag("showHidden", False)  # noqa: N815
    showChildNodeTypes = _flag("showChildNodeTypes", True)  # noqa: N815
    hideChildNodeTypes = computed("QStringList", lambda self: [], lambda self, value: None)  # noqa: N815
    selectNodeUponCreation = _flag("selectNodeUponCreation", True)  # noqa: N815

    def _current_id(self) -> str:
        data = self._combo.currentData()
        return data if isinstance(data, str) else ""

    def _scene_changed(self, _caller: Any = None, event: str = "") -> None:
        if self._scene is not None and not self._scene.IsBatchProcessing():
            self._refresh()

    def _refresh(self) -> None:
        keep, self._filling = self._current_id(), True
        self._combo.clear()
        if self._flags.get("noneEnabled", False):
            self._combo.addItem("None", "")
        for node in self._nodes():
            self._combo.addItem(node.GetName() or node.GetID(), node.GetID())
        self._combo.setCurrentIndex(max(self._combo.findData(keep), 0) if self._combo.count() else -1)
        self._filling = False
        self._chosen()

    def _nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        nodes = [node for name in self._types for node in slicer.util.getNodesByClass(name, self._scene)]
        shown = self._flags.get("showHidden", False)
        children = self._flags.get("showChildNodeTypes", True)
        return [
            node
            for node in nodes
            if (shown or not node.GetHideFromEditors()) and (children or node.GetClassName() in self._types)
        ]

    def _chosen(self) -> None:
        if self._filling or self._current_id() == self._last:
            return
        self._last = self._current_id()
        self.currentNodeChanged.emit(self.currentNode())
        self.currentNodeIDChanged.emit(self._last)

    def _forget(self) -> None:
        for scene, tag in self._observed:
            scene.RemoveObserver(tag)
        self._observed = []
