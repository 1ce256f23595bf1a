"""``slicer.app``: the scene with its logics, reading and writing, settings, and the views."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import slicer
import slicer.util
import vtk
from PySide6 import QtCore, QtWidgets

from .layout_manager import qSlicerLayoutManager
from .module_manager import qSlicerModuleManager
from .properties import computed

_SEGMENTATIONS = (".seg.nrrd", ".seg.nhdr")
_VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")


class qSlicerIOManager(QtCore.QObject):  # noqa: N801
    """Reads and writes nodes with Slicer's storage nodes."""

    def fileType(self, path: str) -> str:  # noqa: N802
        name = str(path).lower()
        if name.endswith(_SEGMENTATIONS):
            return "SegmentationFile"
        if name.endswith((".mrml", ".mrb")):
            return "SceneFile"
        return "VolumeFile" if name.endswith(_VOLUMES) else "NoFile"

    def loadNodes(  # noqa: N802
        self, kind: str, properties: dict[str, Any], loaded: Any = None, messages: Any = None
    ) -> bool:
        path = str(properties["fileName"])
        name = properties.get("name") or Path(path).name.split(".")[0]
        if kind == "VolumeFile":
            options = int(bool(properties.get("labelmap"))) | 4 * int(bool(properties.get("singleFile")))
            node = slicer.modules.volumes.logic().AddArchetypeVolume(path, name, options)
        elif kind == "SegmentationFile":
            node = slicer.modules.segmentations.logic().LoadSegmentationFromFile(path, True, name)
        elif kind == "SceneFile":
            return self.loadScene(path, properties)
        else:
            return False
        if node is not None and loaded is not None:
            loaded.AddItem(node)
        return node is not None

    def loadScene(self, path: str, properties: dict[str, Any] | None = None) -> bool:  # noqa: N802
        scene, application = slicer.mrmlScene, slicer.app._cpp
        if path.endswith(".mrb"):
            return application.applicationLogic().OpenSlicerDataBundle(path, application._temporary)
        scene.SetURL(path)
        return bool(scene.Connect() if (properties or {}).get("clear", True) else scene.Import())

    def fileWriterFileType(self, node: Any) -> str:  # noqa: N802
        return "NodeFile"

    def saveNodes(self, kind: str, properties: dict[str, Any], messages: Any = None) -> bool:  # noqa: N802
        path = str(properties["fileName"])
        if kind == "SceneFile":
            return self._save_scene(path)
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        if node is None or not node.AddDefaultStorageNode():
            return False
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        storage.SetUseCompression(int(properties.get("useCompression", True)))
        return bool(storage.WriteData(node))

    def saveScene(self, path: str, image: Any = None) -> bool:  # noqa: N802
        return self._save_scene(path)

    def _save_scene(self, path: str) -> bool:
        if path.endswith(".mrb"):
            return bool(slicer.mrmlScene.WriteToMRB(path))
        slicer.mrmlScene.SetURL(path)
        return bool(slicer.mrmlScene.Commit(path))


class qSlicerCommandOptions(QtCore.QObject):  # noqa: N801
    """How Slicer was started."""

    noMainWindow = computed(bool, lambda self: False)  # noqa: N815
    isTestingEnabled = computed(bool, lambda self: False)  # noqa: N815


class qSlicerApplication(QtWidgets.QApplication):  # noqa: N801
    """The one application of a process."""

    mrmlSceneChanged = QtCore.Signal(object)  # noqa: N815
    startupCompleted = QtCore.Signal()  # noqa: N815
    _cpp_signals = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged(PyObject)"}  # noqa: RUF012

    def __init__(self, folder: Path) -> None:
        super().__init__([])
        self._temporary, self._folder = str(folder / "temporary"), folder
        Path(self._temporary).mkdir(parents=True, exist_ok=True)
        self.setApplicationName("Slicer")
        self.setOrganizationName("slicer-standins")
        self.setQuitOnLastWindowClosed(True)
        self._settings = QtCore.QSettings(str(folder / "Slicer.ini"), QtCore.QSettings.Format.IniFormat, self)
        self._scene = slicer.vtkMRMLScene()
        self._logic = slicer.vtkSlicerApplicationLogic()
        self._logic.SetMRMLScene(self._scene)
        self._logic.SetTemporaryPath(self._temporary)
        self._logic.SetHomeDirectory(str(folder))
        self._logic.SetShareDirectory("share")
        (folder / "share" / "ColorFiles").mkdir(parents=True)
        self._logic.SetSliceLogics(vtk.vtkCollection())
        self._io, self._options = qSlicerIOManager(self), qSlicerCommandOptions(self)
        self._modules = qSlicerModuleManager(self, self._logic, self._scene)
        self._layout: Any = None
        self._paused = 0

    def _make_views(self) -> None:
        """Once ``slicer.app`` is set: the views refer to it."""
        self._layout = qSlicerLayoutManager(self)

    def mrmlScene(self) -> Any:  # noqa: N802
        return self._scene

    def applicationLogic(self) -> Any:  # noqa: N802
        return self._logic

    def moduleManager(self) -> qSlicerModuleManager:  # noqa: N802
        return self._modules

    def moduleLogic(self, name: str) -> Any:  # noqa: N802
        return self._modules.module(name).logic()

    def coreIOManager(self) -> qSlicerIOManager:  # noqa: N802
        return self._io

    def ioManager(self) -> qSlicerIOManager:  # noqa: N802
        return self._io

    def layoutManager(self) -> Any:  # noqa: N802
        return self._layout

    def commandOptions(self) -> qSlicerCommandOptions:  # noqa: N802
        return self._options

    def userSettings(self) -> QtCore.QSettings:  # noqa: N802
        return self._settings

    def settings(self) -> QtCore.QSettings:
        return self._settings

    def testingEnabled(self) -> bool:  # noqa: N802
        return False  # boxes are answered by the test, see modal.py

    def startupEnvironment(self) -> QtCore.QProcessEnvironment:  # noqa: N802
        return QtCore.QProcessEnvironment.systemEnvironment()

    def environment(self) -> QtCore.QProcessEnvironment:
        return QtCore.QProcessEnvironment.systemEnvironment()

    def pauseRender(self) -> None:  # noqa: N802
        self._paused += 1

    def resumeRender(self) -> None:  # noqa: N802
        self._paused = max(self._paused - 1, 0)

    def restart(self) -> None:
        raise RuntimeError("the application was asked to restart")

    temporaryPath = computed(str, lambda self: self._temporary)  # noqa: N815
    cachePath = computed(str, lambda self: str(self._folder / "cache"))  # noqa: N815
    slicerHome = computed(str, lambda self: str(self._folder))  # noqa: N815
    majorVersion = computed(int, lambda self: 5)  # noqa: N815
    minorVersion = computed(int, lambda self: 12)  # noqa: N815
    revision = computed(str, lambda self: "0")
    os = computed(str, lambda self: {"posix": "linux"}.get(os.name, os.name))
    arch = computed(str, lambda self: "amd64")


class qSlicerModuleSelectorToolBar(QtWidgets.QToolBar):  # noqa: N801
    """Goes from module to module."""

    moduleSelected = QtCore.Signal(str)  # noqa: N815

    def selectModule(self, name: str) -> None:  # noqa: N802
        slicer.app._cpp.moduleManager()._select(name)
        self.moduleSelected.emit(name)

    selectedModule = computed(str, lambda self: slicer.app._cpp.moduleManager()._selected)  # noqa: N815


class qSlicerMainWindow(QtWidgets.QMainWindow):  # noqa: N801
    """The panel of the module at the left, the views at the right."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.setWindowTitle("3D Slicer (stand-in)")
        self._selector = qSlicerModuleSelectorToolBar()
        self._panel = QtWidgets.QScrollArea()
        self._panel.setWidgetResizable(True)
        self._panel.setHorizontalScrollBarPolicy(QtCore.Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        splitter = QtWidgets.QSplitter()
        splitter.addWidget(self._panel)
        splitter.addWidget(slicer.app._cpp.layoutManager().viewport())
        splitter.setSizes([480, 800])
        splitter.setStretchFactor(1, 1)
        self.setCentralWidget(splitter)
        self.statusBar()

    def moduleSelector(self) -> qSlicerModuleSelectorToolBar:  # noqa: N802
        return self._selector
