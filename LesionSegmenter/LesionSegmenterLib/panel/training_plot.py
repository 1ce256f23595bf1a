"""The course of a training run as a plot in Slicer's layout."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

# Blue and vermilion of the Okabe-Ito palette; the lines differ in their style as well.
_LOOKS = {"loss": ((0.0, 0.45, 0.70), "LineStyleSolid"), "validation": ((0.84, 0.37, 0.0), "LineStyleDash")}
_REDRAW_SECONDS = 1.0
_HEADROOM = 1.05  # above the highest point


class TrainingPlot:
    """Loss and validation score by step; made in a scene when it is first shown there."""

    def __init__(self) -> None:
        self.points: dict[str, list[tuple[float, float]]] = {name: [] for name in _LOOKS}
        self._series: dict[str, Any] = {}
        self._chart: Any = None
        self._drawn = -math.inf

    def begin(self, run: Path) -> None:
        """Start with what a run has written down before: nothing, where it is new."""
        for name in _LOOKS:
            self.points[name] = _read(run / f"{name}.tsv")
        self.draw()

    def add(self, step: int, loss: float, validation: float | None) -> None:
        """Take a step in; drawn once a second at most."""
        self.points["loss"].append((step, loss))
        if validation is not None:
            self.points["validation"].append((step, validation))
        if time.monotonic() - self._drawn >= _REDRAW_SECONDS:
            self.draw()

    def draw(self) -> None:
        """Bring the plot up to date, if it has been shown."""
        self._drawn = time.monotonic()
        if not self._is_there():
            return
        was = self._chart.StartModify()
        for name, series in self._series.items():
            _fill(series.GetTableNode(), name, self.points[name])
            self._show_line(series, len(self.points[name]))
        self._fit()
        self._chart.EndModify(was)

    def show(self) -> None:
        """Put the plot into the layout."""
        if not self._is_there():
            self._make()
        self.draw()
        slicer.modules.plots.logic().ShowChartInLayout(self._chart)

    def _is_there(self) -> bool:
        return self._chart is not None and slicer.mrmlScene.IsNodePresent(self._chart)

    def _make(self) -> None:
        scene = slicer.mrmlScene
        self._chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", _("Training"))
        self._chart.SetTitle(_("Training"))
        self._chart.SetXAxisTitle(_("step"))
        titles = {"loss": _("loss"), "validation": _("validation score")}
        self._chart.XAxisRangeAutoOff()
        self._chart.YAxisRangeAutoOff()
        for name, (colour, style) in _LOOKS.items():
            table = scene.AddNewNodeByClass(
                "vtkMRMLTableNode", _("Training: {name}").format(name=titles[name])
            )
            series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", titles[name])
            series.SetAndObserveTableNodeID(table.GetID())
            series.SetXColumnName("step")
            series.SetYColumnName(name)
            series.SetPlotType(series.PlotTypeScatter)
            series.SetMarkerStyle(series.MarkerStyleNone)
            series.SetLineStyle(getattr(series, style))
            series.SetColor(*colour)
            self._series[name] = series
            for node in (table, series):
                node.SetSaveWithScene(False)
        self._chart.SetSaveWithScene(False)

    def _show_line(self, series: Any, points: int) -> None:
        """Of one point there is no line, of which VTK complains at each drawing."""
        shown = self._chart.HasPlotSeriesNodeID(series.GetID())
        if points > 1 and not shown:
            self._chart.AddAndObservePlotSeriesNodeID(series.GetID())
        elif points < 2 and shown:
            self._chart.RemovePlotSeriesNodeID(series.GetID())

    def _fit(self) -> None:
        """Let the axes hold all points: Slicer's own follow the first that they show, and none after."""
        points = [point for points in self.points.values() for point in points if math.isfinite(point[1])]
        if points:
            steps, values = zip(*points, strict=True)
            self._chart.SetXAxisRange(0, max(steps))
            self._chart.SetYAxisRange(min(0, *values), _HEADROOM * max(values))


def _read(path: Path) -> list[tuple[float, float]]:
    """Steps and values of a table with a head; nothing for one that cannot be read."""
    try:
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
        return [(float(step), float(value)) for step, value in rows]
    except (OSError, ValueError):
        return []


def _fill(node: Any, name: str, points: Sequence[tuple[float, float]]) -> None:
    table = vtk.vtkTable()
    for column, title in enumerate(("step", name)):
        values = vtk.vtkDoubleArray()
        values.SetName(title)
        for point in points:
            values.InsertNextValue(point[column])
        table.AddColumn(values)
    node.SetAndObserveTable(table)
