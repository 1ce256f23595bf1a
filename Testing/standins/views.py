"""Slice and 3D views: Slicer's own drawing, off screen, in Qt widgets that hand clicks and keys on."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

if sys.platform.startswith("linux"):
    os.environ.setdefault(
        "VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow"
    )  # off screen, whatever Qt draws on

_SLICE_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)
_3D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager3D",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
)
_BUTTONS = {
    QtCore.Qt.MouseButton.LeftButton: "LeftButton",
    QtCore.Qt.MouseButton.RightButton: "RightButton",
    QtCore.Qt.MouseButton.MiddleButton: "MiddleButton",
}


class _View(QtWidgets.QWidget):
    """A VTK window drawn off screen: its picture is fetched when Qt paints, and its events come from Qt."""

    def __init__(self, parent: QtWidgets.QWidget | None, factory: Any, managers: tuple[str, ...]) -> None:
        super().__init__(parent)
        self.setMinimumSize(64, 64)
        self.setMouseTracking(True)
        self.setFocusPolicy(QtCore.Qt.FocusPolicy.ClickFocus)
        self._window, self._renderer = vtk.vtkRenderWindow(), vtk.vtkRenderer()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetSize(64, 64)
        self._window.AddRenderer(self._renderer)
        self._interactor = vtk.vtkGenericRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        # VTK's default style would take every event that follows a press: Slicer's would see no release.
        self._interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        self._managers = self._make_managers(factory, managers)
        self._managers.AddObserver(vtk.vtkCommand.UpdateEvent, lambda *_: self.scheduleRender())
        self._needs_drawing, self._picture, self._style = True, QtGui.QImage(), None

    def _make_managers(self, factory: Any, managers: tuple[str, ...]) -> Any:
        factory.SetMRMLApplicationLogic(slicer.app._cpp.applicationLogic())
        for name in managers:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        group = slicer.vtkMRMLDisplayableManagerGroup()
        group.SetRenderer(self._renderer)
        group.Initialize(factory, self._renderer)
        return group

    def renderWindow(self) -> Any:  # noqa: N802
        return self._window

    def interactor(self) -> Any:
        return self._interactor

    def interactorStyle(self) -> Any:  # noqa: N802
        return self._style

    def displayableManagerByClassName(self, name: str) -> Any:  # noqa: N802
        return self._managers.GetDisplayableManagerByClassName(name)

    def scheduleRender(self) -> None:  # noqa: N802
        self._needs_drawing = True
        self.update()

    def forceRender(self) -> None:  # noqa: N802
        self._draw()
        self.repaint()

    def _draw(self) -> None:
        ratio = 1
        self._window.SetSize(max(self.width() * ratio, 1), max(self.height() * ratio, 1))
        self._window.Render()
        self._needs_drawing = False
        pixels = self._pixels()
        height, width, _ = pixels.shape
        flipped = np.ascontiguousarray(pixels[::-1])
        self._picture = QtGui.QImage(
            flipped.data, width, height, 3 * width, QtGui.QImage.Format.Format_RGB888
        ).copy()

    def _pixels(self) -> npt.NDArray[np.uint8]:
        """The picture, (y, x, RGB), y upwards."""
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self._window)
        grab.SetShouldRerender(0)
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        width, height, _ = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[..., :3]

    def paintEvent(self, _event: Any) -> None:  # noqa: N802
        if self._needs_drawing:
            self._draw()
        QtGui.QPainter(self).drawImage(0, 0, self._picture)

    def _at(self, event: QtGui.QMouseEvent, repeat: int = 0) -> None:
        keys = event.modifiers()
        where = event.position()
        self._interactor.SetEventInformation(
            int(where.x()),
            self.height() - 1 - int(where.y()),
            int(bool(keys & QtCore.Qt.KeyboardModifier.ControlModifier)),
            int(bool(keys & QtCore.Qt.KeyboardModifier.ShiftModifier)),
            "\0",
            repeat,
            None,
        )

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:  # noqa: N802
        self._mouse(event, "PressEvent")

    def mouseReleaseEvent(self, event: QtGui.QMouseEvent) -> None:  # noqa: N802
        self._mouse(event, "ReleaseEvent")

    def mouseDoubleClickEvent(self, event: QtGui.QMouseEvent) -> None:  # noqa: N802
        self._mouse(event, "DoubleClickEvent")

    def mouseMoveEvent(self, event: QtGui.QMouseEvent) -> None:  # noqa: N802
        self._at(event)
        self._interactor.InvokeEvent("MouseMoveEvent")

    def _mouse(self, event: QtGui.QMouseEvent, what: str) -> None:
        if event.button() in _BUTTONS:
            self._at(event, int(what == "DoubleClickEvent"))
            self._interactor.InvokeEvent(_BUTTONS[event.button()] + what)

    def enterEvent(self, _event: Any) -> None:  # noqa: N802
        self._interactor.InvokeEvent("EnterEvent")

    def leaveEvent(self, _event: Any) -> None:  # noqa: N802
        self._interactor.InvokeEvent("LeaveEvent")

    def keyPressEvent(self, event: QtGui.QKeyEvent) -> None:  # noqa: N802
        key = QtGui.QKeySequence(event.key()).toString()
        self._interactor.SetKeyEventInformation(0, 0, event.text() or "\0", 0, key)
        self._interactor.InvokeEvent("KeyPressEvent")
        super().keyPressEvent(event)


class qMRMLSliceView(_View):  # noqa: N801
    """What a slice view draws and is clicked on."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        super().__init__(parent, factory, _SLICE_MANAGERS)
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        self._slices = vtk.vtkImageMapper()
        self._slices.SetColorWindow(255)
        self._slices.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._slices)
        self._actor.GetProperty().SetDisplayLocationToBackground()
        self._actor.VisibilityOff()
        self._renderer.AddViewProp(self._actor)  # first of all: what is transparent is drawn over it
        self._logic: Any = None

    def _attach(self, logic: Any, application_logic: Any) -> None:
        self._logic = logic
        style = slicer.vtkMRMLSliceViewInteractorStyle()
        style.SetSliceLogic(logic)
        style.SetDisplayableManagers(self._managers)
        style.SetInteractor(self._interactor)
        self._style = style
        self._managers.SetMRMLDisplayableNode(logic.GetSliceNode())
        logic.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self.scheduleRender())

    def mrmlSliceNode(self) -> Any:  # noqa: N802
        return self._logic.GetSliceNode()

    def _draw(self) -> None:
        connection = self._logic.GetImageDataConnection()
        self._slices.SetInputConnection(connection)
        self._actor.SetVisibility(connection is not None)
        super()._draw()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802
        if self._logic is not None:
            self._window.SetSize(self.width(), self.height())
            self._logic.ResizeSliceNode(self.width(), self.height())
        self.scheduleRender()
        super().resizeEvent(event)


class qMRMLSliceWidget(QtWidgets.QWidget):  # noqa: N801
    """A slice view with its logic."""

    def __init__(self, name: str, orientation: str, application: Any) -> None:
        super().__init__()
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        colour = {"Red": "#d9726b", "Yellow": "#e0c24a", "Green": "#6fb06a"}.get(name, "gray")
        bar = QtWidgets.QLabel(f" {name[0]}  {orientation}", self)
        bar.setStyleSheet(f"background: {colour}; color: black;")
        bar.setMaximumHeight(18)
        layout.addWidget(bar)
        self._view = qMRMLSliceView(self)
        layout.addWidget(self._view, 1)
        self._logic = slicer.vtkMRMLSliceLogic()
        logic = application.applicationLogic()
        self._logic.SetMRMLApplicationLogic(logic)
        logic.GetSliceLogics().AddItem(self._logic)
        self._logic.SetMRMLScene(application.mrmlScene())
        node = self._logic.AddSliceNode(name)
        node.SetLayoutName(name)
        node.SetOrientation(orientation)
        node.SetSingletonTag(name)
        self._view._attach(self._logic, logic)

    def sliceLogic(self) -> Any:  # noqa: N802
        return self._logic

    def sliceView(self) -> qMRMLSliceView:  # noqa: N802
        return self._view

    def mrmlSliceNode(self) -> Any:  # noqa: N802
        return self._logic.GetSliceNode()

    def mrmlSliceCompositeNode(self) -> Any:  # noqa: N802
        return self._logic.GetSliceCompositeNode()

    def interactorStyle(self) -> Any:  # noqa: N802
        return self._view.interactorStyle()

    def fitSliceToBackground(self) -> None:  # noqa: N802
        self._logic.FitSliceToBackground()


class qMRMLThreeDView(_View):  # noqa: N801
    """What a 3D view draws."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        super().__init__(parent, factory, _3D_MANAGERS)
        self._renderer.SetBackground(0.76, 0.76, 0.91)
        self._logic: Any = None

    def _attach(self, logic: Any) -> None:
        self._logic = logic
        style = slicer.vtkMRMLThreeDViewInteractorStyle()
        style.SetDisplayableManagers(self._managers)
        style.SetInteractor(self._interactor)
        self._style = style
        self._managers.SetMRMLDisplayableNode(logic.GetViewNode())

    def mrmlViewNode(self) -> Any:  # noqa: N802
        return self._logic.GetViewNode()

    def resetFocalPoint(self) -> None:  # noqa: N802
        self._renderer.ResetCamera()
        self.scheduleRender()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802
        self.scheduleRender()
        super().resizeEvent(event)


class qMRMLThreeDWidget(QtWidgets.QWidget):  # noqa: N801
    """A 3D view with its logic."""

    def __init__(self, application: Any) -> None:
        super().__init__()
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._view = qMRMLThreeDView(self)
        layout.addWidget(self._view)
        self._logic = slicer.vtkMRMLViewLogic()
        self._logic.SetMRMLApplicationLogic(application.applicationLogic())
        self._logic.SetMRMLScene(application.mrmlScene())
        node = self._logic.AddViewNode("1")
        node.SetLayoutName("1")
        self._view._attach(self._logic)

    def threeDView(self) -> qMRMLThreeDView:  # noqa: N802
        return self._view

    def mrmlViewNode(self) -> Any:  # noqa: N802
        return self._view.mrmlViewNode()

    def viewLogic(self) -> Any:  # noqa: N802
        return self._logic
