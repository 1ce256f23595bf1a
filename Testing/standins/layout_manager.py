"""The arrangement of the views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from .plot_view import qMRMLPlotWidget
from .properties import computed
from .views import qMRMLSliceWidget, qMRMLThreeDWidget

_NODE = slicer.vtkMRMLLayoutNode
_WITH_PLOT = {
    _NODE.SlicerLayoutConventionalPlotView,
    _NODE.SlicerLayoutFourUpPlotView,
    _NODE.SlicerLayoutOneUpPlotView,
    _NODE.SlicerLayoutThreeOverThreePlotView,
}


class qSlicerLayoutManager(QtCore.QObject):  # noqa: N801
    """Red, Yellow and Green, and a 3D view that makes room for a plot where the layout has one."""

    layoutChanged = QtCore.Signal(int)  # noqa: N815

    def __init__(self, application: Any) -> None:
        super().__init__(application)
        self._viewport = QtWidgets.QWidget()
        orientations = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}
        self._slices = {n: qMRMLSliceWidget(n, o, application) for n, o in orientations.items()}
        self._three_d, self._plot = qMRMLThreeDWidget(application), qMRMLPlotWidget()
        self._arrange()
        scene = application.mrmlScene()
        self._node = _singleton(scene, "vtkMRMLLayoutNode")
        for layout in (_NODE.SlicerLayoutFourUpView, _NODE.SlicerLayoutConventionalView, *_WITH_PLOT):
            self._node.AddLayoutDescription(layout, "<layout/>")
        self._node.SetViewArrangement(_NODE.SlicerLayoutFourUpView)
        self._node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._follow)
        self._shown = self._node.GetViewArrangement()
        plot = _singleton(scene, "vtkMRMLPlotViewNode")
        plot.SetLayoutName("PlotView1")
        self._plot.setMRMLPlotViewNode(plot)

    def _arrange(self) -> None:
        grid = QtWidgets.QGridLayout(self._viewport)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(2)
        for widget, row, column in (
            (self._slices["Red"], 0, 0),
            (self._three_d, 0, 1),
            (self._plot, 0, 1),
            (self._slices["Green"], 1, 0),
            (self._slices["Yellow"], 1, 1),
        ):
            grid.addWidget(widget, row, column)
        for stretched in (0, 1):
            grid.setRowStretch(stretched, 1)
            grid.setColumnStretch(stretched, 1)
        self._plot.hide()

    def _follow(self, _caller: Any = None, _event: str = "") -> None:
        shown = self._node.GetViewArrangement()
        if shown != self._shown:
            self._shown = shown
            self._plot.setVisible(shown in _WITH_PLOT)
            self._three_d.setVisible(shown not in _WITH_PLOT)
            self.layoutChanged.emit(shown)

    def sliceViewNames(self) -> list[str]:  # noqa: N802
        return list(self._slices)

    def sliceWidget(self, name: str) -> Any:  # noqa: N802
        return self._slices.get(name)

    def threeDWidget(self, which: int | str) -> Any:  # noqa: N802
        return self._three_d if which in (0, "1", "View1") else None

    def plotWidget(self, which: int) -> Any:  # noqa: N802
        return self._plot if which == 0 else None

    def mrmlSliceLogics(self) -> Any:  # noqa: N802
        return slicer.app._cpp.applicationLogic().GetSliceLogics()

    def viewport(self) -> QtWidgets.QWidget:
        return self._viewport

    def setLayout(self, layout: int) -> None:  # noqa: N802
        self._node.SetViewArrangement(layout)

    def resetSliceViews(self) -> None:  # noqa: N802
        for widget in self._slices.values():
            widget.sliceLogic().FitSliceToAll()

    def resetThreeDViews(self) -> None:  # noqa: N802
        self._three_d.threeDView().resetFocalPoint()

    layout = computed(int, lambda self: self._shown, setLayout)
    threeDViewCount = computed(int, lambda self: 1)  # noqa: N815
    plotViewCount = computed(int, lambda self: int(self._shown in _WITH_PLOT))  # noqa: N815

    def _views(self) -> Iterator[Any]:
        yield from (widget.sliceView() for widget in self._slices.values())
        yield self._three_d.threeDView()


def _singleton(scene: Any, class_name: str) -> Any:
    """The scene's one node of a class, which stays when the scene is closed."""
    node = scene.CreateNodeByClass(class_name)
    node.UnRegister(None)
    node.SetSingletonTag(class_name)
    return scene.AddNode(node)
