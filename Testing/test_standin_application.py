"""The stand-in application: Qt Designer's files, parameters in the scene, the views and clicks in them."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer")
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)


@pytest.fixture(autouse=True)
def app(slicer_app: Any) -> Any:
    return slicer_app


def test_names_of_children_are_the_widgets_of_a_file(app: Any, tmp_path: Path) -> None:
    ui = _load(
        tmp_path,
        '<widget class="QLabel" name="label"><property name="text"><string>x</string></property></widget>',
    )
    assert ui.label.text == "x"
    assert ui.label.name == "label"
    with pytest.raises(AttributeError):
        ui.lable  # noqa: B018
    assert slicer.util.mainWindow() == app.window


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        ('<widget class="qMRMLNodeCombo" name="a"/>', "no stand-in for the widget class"),
        (
            '<widget class="QLabel" name="a"><property name="txet"><string>x</string></property></widget>',
            "has no property txet",
        ),
    ],
)
def test_a_file_that_slicer_would_load_with_a_warning_is_refused(
    tmp_path: Path, inside: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        _load(tmp_path, inside)


def test_the_scene_reaches_a_selector_through_the_files_connection(tmp_path: Path) -> None:
    selector = """<widget class="qMRMLNodeComboBox" name="selector"><property name="nodeTypes"><stringlist>
      <string>vtkMRMLScalarVolumeNode</string></stringlist></property>
      <property name="noneEnabled"><bool>true</bool></property></widget>"""
    ui = _load(tmp_path, selector, connects="selector")
    calls: list[Any] = []
    ui.selector.currentNodeChanged.connect(calls.append)
    assert ui.selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: calls.append("by signature"))
    ui.Top.setMRMLScene(slicer.mrmlScene)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "FLAIR")
    ui.selector.setCurrentNode(node)
    ui.selector.setCurrentNode(None)
    assert calls == [node, "by signature", None, "by signature"]


def _load(folder: Path, inside: str, connects: str = "") -> Any:
    connection = f"""<connection><sender>Top</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
      <receiver>{connects}</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection>"""
    path = folder / "Top.ui"
    path.write_text(
        f"""<ui version="4.0"><class>Top</class><widget class="qMRMLWidget" name="Top">
        <layout class="QVBoxLayout" name="layout"><item>{inside}</item></layout></widget>
        <connections>{connection if connects else ""}</connections></ui>"""
    )
    widget = slicer.util.loadUI(str(path))
    ui = slicer.util.childWidgetVariables(widget)
    ui.Top = widget
    return ui


def test_parameters_are_kept_in_the_scene_and_follow_their_widgets(tmp_path: Path) -> None:

    from slicer.parameterNodeWrapper import Choice, parameterNodeWrapper

    @parameterNodeWrapper
    class Parameters:
        flair: slicer.vtkMRMLScalarVolumeNode
        device: Annotated[str, Choice(["auto", "cpu"])] = "auto"
        count: int = 4

    ui = _load(
        tmp_path,
        '<widget class="QComboBox" name="device"><property name="SlicerParameterName" stdset="0">'
        "<string>device</string></property></widget>",
    )
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    parameters = Parameters(node)
    tag = parameters.connectGui(ui)
    assert [ui.device.itemText(i) for i in range(ui.device.count)] == ["auto", "cpu"]
    ui.device.setCurrentIndex(1)
    assert (parameters.device, node.GetParameter("device")) == ("cpu", "cpu")
    parameters.device = "auto"
    assert ui.device.currentText == "auto"
    parameters.disconnectGui(tag)
    ui.device.setCurrentIndex(1)
    assert parameters.device == "auto"
    assert (Parameters(node).count, parameters.flair) == (4, None)
    with pytest.raises(ValueError, match="must be one of"):
        parameters.device = "tpu"
    with pytest.raises(AttributeError):
        parameters.devise = "cpu"


def test_a_click_in_a_slice_view_reaches_observers_at_the_place_that_was_clicked(app: Any) -> None:
    volume = _volume()
    app.show(slicer.qMRMLWidget())
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    for name in ("Red", "Green", "Yellow"):
        view = slicer.app.layoutManager().sliceWidget(name).sliceView()
        clicked: list[tuple[float, ...]] = []

        def note(interactor: Any, _event: str, view: Any = view, clicked: list[Any] = clicked) -> None:
            place = (*interactor.GetEventPosition(), 0.0, 1.0)
            clicked.append(view.mrmlSliceNode().GetXYToRAS().MultiplyPoint(place)[:3])

        tag = view.interactor().AddObserver("LeftButtonPressEvent", note)
        app.pick((8.0, 12.0, 10.0), name)
        view.interactor().RemoveObserver(tag)
        assert np.allclose(clicked[0], (8.0, 12.0, 10.0), atol=0.2)


def test_the_views_draw_the_volume_where_it_lies(app: Any) -> None:
    volume = _volume()
    app.show(slicer.qMRMLWidget())
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    volume.GetDisplayNode().SetAutoWindowLevel(False)
    volume.GetDisplayNode().SetWindowLevel(100, 50)
    for name in ("Red", "Green", "Yellow"):
        node = slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode()
        node.JumpSliceByCentering(8.0, 12.0, 10.0)
        assert app.colour((8.0, 12.0, 10.0), name) == (255, 255, 255)
        assert app.colour((4.0, 12.0, 10.0) if name != "Yellow" else (8.0, 6.0, 10.0), name) == (0, 0, 0)


def test_placing_mode_puts_a_markup_where_a_view_is_clicked(app: Any) -> None:
    app.show(slicer.qMRMLWidget())
    slicer.util.setSliceViewerLayers(background=_volume(), fit=True)
    markups = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    markups.CreateDefaultDisplayNodes()
    logic = slicer.app.applicationLogic()
    logic.GetSelectionNode().SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsFiducialNode")
    logic.GetSelectionNode().SetActivePlaceNodeID(markups.GetID())
    interaction = logic.GetInteractionNode()
    interaction.SetCurrentInteractionMode(interaction.Place)
    app.pick((8.0, 12.0, 10.0))
    assert markups.GetNumberOfControlPoints() == 1
    assert np.allclose(markups.GetNthControlPointPosition(0), (8.0, 12.0, 10.0), atol=0.2)


def _volume() -> Any:
    """One bright voxel-sized box at RAS (8, 12, 10) in 20 mm of nothing."""
    array = np.zeros((20, 20, 20), np.int16)
    array[9:12, 11:14, 7:10] = 100
    return slicer.util.addVolumeFromArray(array, slicer.util.vtkMatrixFromArray(np.eye(4)))


def test_a_chart_that_a_module_shows_takes_the_place_of_the_3d_view_and_is_drawn(app: Any) -> None:
    app.show(slicer.qMRMLWidget())
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode")
    slicer.util.updateTableFromArray(table, [np.arange(9.0), np.full(9, 4.0)], ["step", "loss"])
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "loss")
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName("step")
    series.SetYColumnName("loss")
    series.SetPlotType(series.PlotTypeScatter)
    series.SetColor(1.0, 0.0, 0.0)
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode")
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    layout = slicer.app.layoutManager()
    assert layout.plotViewCount == 0
    slicer.modules.plots.logic().ShowChartInLayout(chart)
    app.process()
    assert layout.plotViewCount == 1
    plot = layout.plotWidget(0).plotView()
    assert plot.visible and plot.mrmlPlotViewNode().GetPlotChartNodeID() == chart.GetID()
    image = plot.grab().toImage()
    red = sum(image.pixelColor(image.width() // 2, y).name() == "#ff0000" for y in range(image.height()))
    assert red >= 1
    layout.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
    assert not plot.visible


def test_a_volume_goes_with_its_parts_and_what_is_removed_twice_is_told() -> None:
    from standins import problems

    volume = _volume()
    volume.CreateDefaultDisplayNodes()
    display = volume.GetDisplayNode()
    slicer.mrmlScene.RemoveNode(volume)
    assert display.GetScene() is None
    assert problems.take() == []
    slicer.mrmlScene.RemoveNode(display)
    (told,) = problems.take()
    assert "second time" in told
