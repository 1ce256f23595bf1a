"""A plot view: the lines of a MRML chart, drawn by Qt."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

from .mrml_widgets import qMRMLWidget
from .problems import tell

Range = tuple[float, float]

_MARGIN = 40  # pixels around the axes


class qMRMLPlotView(qMRMLWidget):  # noqa: N801
    """Draws the chart that its view node names."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumSize(160, 120)
        self._view_node: Any = None
        self._observed: list[tuple[Any, int]] = []
        self._first: dict[tuple[str, ...], list[Range]] = {}

    def setMRMLPlotViewNode(self, node: Any) -> None:  # noqa: N802
        self._view_node = node
        self._observe()

    def mrmlPlotViewNode(self) -> Any:  # noqa: N802
        return self._view_node

    def _chart(self) -> Any:
        return None if self._view_node is None else self._view_node.GetPlotChartNode()

    def _observe(self) -> None:
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        nodes = [node for node in (self._view_node, self._chart(), *self._tables()) if node is not None]
        self._observed = [(n, n.AddObserver(vtk.vtkCommand.ModifiedEvent, self._changed)) for n in nodes]
        self.update()

    def _changed(self, caller: Any, _event: str) -> None:
        if caller is self._view_node or caller is self._chart():
            self._observe()
        self.update()

    def _series(self) -> list[Any]:
        chart = self._chart()
        if chart is None:
            return []
        return [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]

    def _tables(self) -> Iterator[Any]:
        yield from (series.GetTableNode() for series in self._series())

    def _points(self, series: Any) -> list[tuple[float, float]]:
        table = series.GetTableNode().GetTable()
        columns = (table.GetColumnByName(n) for n in (series.GetXColumnName(), series.GetYColumnName()))
        x, y = ([] if c is None or not c.GetNumberOfValues() else vtk_to_numpy(c).tolist() for c in columns)
        return [(a, b) for a, b in zip(x, y, strict=False) if math.isfinite(b)]

    def paintEvent(self, _event: Any) -> None:  # noqa: N802
        painter = QtGui.QPainter(self)
        painter.fillRect(self.rect(), QtCore.Qt.GlobalColor.white)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        area = QtCore.QRectF(self.rect()).adjusted(_MARGIN, _MARGIN, -_MARGIN // 2, -_MARGIN)
        painter.setPen(QtCore.Qt.GlobalColor.black)
        painter.drawRect(area)
        lines = [(series, self._points(series)) for series in self._series()]
        for _, points in lines:
            if len(points) < 2:
                tell("Attempted to paint a line with <2 points.")
        everything = [point for _, points in lines for point in points]
        if not everything:
            return
        view = _Axes(area, self._ranges(everything))
        _label(painter, view, self._chart())
        for number, (series, points) in enumerate(lines):
            _draw(painter, view, series, points)
            painter.drawText(area.topLeft() + QtCore.QPointF(12, 18 + 16 * number), series.GetName())

    def _ranges(self, points: list[tuple[float, float]]) -> list[Range]:
        """The chart's own; automatic ones are of the points that these series had when they were added."""
        chart = self._chart()
        names = tuple(series.GetID() for series in self._series())
        spans = [(min(values), max(values)) for values in zip(*points, strict=True)]
        x, y = self._first.setdefault(names, spans)
        return [
            x if chart.GetXAxisRangeAuto() else chart.GetXAxisRange(),
            y if chart.GetYAxisRangeAuto() else chart.GetYAxisRange(),
        ]


class _Axes:
    """From a chart's numbers to places in an area."""

    def __init__(self, area: QtCore.QRectF, ranges: list[Range]) -> None:
        self.area = area
        self.low, self.high = zip(*ranges, strict=True)

    def place(self, point: tuple[float, float]) -> QtCore.QPointF:
        """Where a point is drawn; in the middle where an axis has one number alone."""
        x, y = (
            (value - low) / (high - low) if high > low else 0.5
            for value, low, high in zip(point, self.low, self.high, strict=True)
        )
        area = self.area
        return QtCore.QPointF(area.left() + area.width() * x, area.bottom() - area.height() * y)


def _label(painter: QtGui.QPainter, axes: _Axes, chart: Any) -> None:
    area, centre = axes.area, QtCore.Qt.AlignmentFlag.AlignHCenter
    painter.drawText(area.translated(0, -24), centre, chart.GetTitle())
    below = QtCore.QRectF(area.left(), area.bottom() + 18, area.width(), 18)
    painter.drawText(below, centre, chart.GetXAxisTitle())
    painter.drawText(area.bottomLeft() + QtCore.QPointF(0, 16), f"{axes.low[0]:g}")
    painter.drawText(area.bottomRight() + QtCore.QPointF(-30, 16), f"{axes.high[0]:g}")
    painter.drawText(area.topLeft() + QtCore.QPointF(4 - _MARGIN, 10), f"{axes.high[1]:.2g}")
    painter.drawText(area.bottomLeft() + QtCore.QPointF(4 - _MARGIN, 0), f"{axes.low[1]:.2g}")


def _draw(painter: QtGui.QPainter, axes: _Axes, series: Any, points: list[tuple[float, float]]) -> None:
    dashed = series.GetLineStyle() == slicer.vtkMRMLPlotSeriesNode.LineStyleDash
    style = QtCore.Qt.PenStyle.DashLine if dashed else QtCore.Qt.PenStyle.SolidLine
    painter.setPen(QtGui.QPen(QtGui.QColor.fromRgbF(*series.GetColor()), 2, style))
    painter.drawPolyline([axes.place(point) for point in points])


class qMRMLPlotWidget(qMRMLWidget):  # noqa: N801
    """A plot view with its controller."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._view = qMRMLPlotView(self)
        layout.addWidget(self._view)

    def plotView(self) -> qMRMLPlotView:  # noqa: N802
        return self._view

    def setMRMLPlotViewNode(self, node: Any) -> None:  # noqa: N802
        self._view.setMRMLPlotViewNode(node)

    def mrmlPlotViewNode(self) -> Any:  # noqa: N802
        return self._view.mrmlPlotViewNode()
