"""The Segment Editor that a module embeds: its choices in the editor node, Paint and Erase in the views."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Signal

from .mrml_widgets import qMRMLWidget
from .painting import Point, paint
from .properties import computed, kept

EFFECTS = (
    "Paint",
    "Draw",
    "Erase",
    "Threshold",
    "Grow from seeds",
    "Smoothing",
    "Scissors",
    "Islands",
    "Margin",
)
_PRIORITY = 1.0  # of an effect in a view's interactor: it takes a click before the view does


class qSlicerSegmentEditorAbstractEffect(QtCore.QObject):  # noqa: N801
    """A tool of the editor. Paint and Erase work in slice views; the others can be chosen and do nothing."""

    def __init__(self, name: str, editor: qMRMLSegmentEditorWidget) -> None:
        super().__init__(editor)
        self._name, self._editor = name, editor

    name = computed(str, lambda self: self._name)

    def parameter(self, name: str) -> str:
        return self._node().GetAttribute(self._attribute(name)) or self._default(name)

    def setParameter(self, name: str, value: Any) -> None:  # noqa: N802
        self._node().SetAttribute(self._attribute(name), str(value))

    def setCommonParameter(self, name: str, value: Any) -> None:  # noqa: N802
        self._node().SetAttribute(name, str(value))

    def integerParameter(self, name: str) -> int:  # noqa: N802
        return int(float(self.parameter(name) or 0))

    def doubleParameter(self, name: str) -> float:  # noqa: N802
        return float(self.parameter(name) or 0)

    def self(self) -> Any:
        raise ValueError(f"{self._name} is an effect of C++: it has no Python self")

    def _node(self) -> Any:
        return self._editor.mrmlSegmentEditorNode()

    def _attribute(self, name: str) -> str:
        return name if name.startswith("Brush") else f"{self._name}.{name}"

    def _default(self, name: str) -> str:
        return {"BrushAbsoluteDiameter": "6", "BrushDiameterIsRelative": "0", "BrushSphere": "0"}.get(
            name, ""
        )


class qMRMLSegmentEditorWidget(qMRMLWidget):  # noqa: N801
    """Edits one segment of a segmentation at a time with the chosen effect."""

    currentSegmentIDChanged = Signal(str)  # noqa: N815
    segmentationNodeChanged = Signal(object)  # noqa: N815
    sourceVolumeNodeChanged = Signal(object)  # noqa: N815
    _cpp_signals = {  # noqa: RUF012
        "segmentationNodeChanged(vtkMRMLSegmentationNode*)": "segmentationNodeChanged(PyObject)",
        "sourceVolumeNodeChanged(vtkMRMLVolumeNode*)": "sourceVolumeNodeChanged(PyObject)",
    }

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._node: Any = None
        self._values: dict[str, Any] = {}
        self._watched: list[tuple[Any, int]] = []
        self._stroke: list[Point] = []
        self._active: qSlicerSegmentEditorAbstractEffect | None = None
        self._effects = {name: qSlicerSegmentEditorAbstractEffect(name, self) for name in EFFECTS}
        self._order = list(EFFECTS)
        self._buttons: dict[str, QtWidgets.QToolButton] = {}
        self._fill()

    def _fill(self) -> None:
        layout = QtWidgets.QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for at, name in enumerate(("Paint", "Erase")):
            button = QtWidgets.QToolButton(self)
            button.setText(name)
            button.setCheckable(True)
            button.setObjectName(name)
            button.setSizePolicy(
                QtWidgets.QSizePolicy.Policy.Expanding, QtWidgets.QSizePolicy.Policy.Preferred
            )
            button.clicked.connect(lambda on, name=name: self.setActiveEffectByName(name if on else ""))
            layout.addWidget(button, 0, at)
            self._buttons[name] = button
        self._diameter = QtWidgets.QDoubleSpinBox(self)
        self._diameter.setRange(0.5, 100)
        self._diameter.setValue(6)
        self._diameter.setSuffix(" mm")
        self._diameter.setPrefix("Brush ")
        self._diameter.valueChanged.connect(self._set_diameter)
        layout.addWidget(self._diameter, 0, 2)
        frame = QtWidgets.QFrame(self)  # with a grip to make the table of the segments larger
        frame.setObjectName("SegmentsTableResizableFrame")
        QtWidgets.QTableView(frame).setObjectName("SegmentsTableView")
        layout.addWidget(frame, 1, 0, 1, 3)

    def _set_diameter(self, value: float) -> None:
        if self._node is not None:
            self._node.SetAttribute("BrushAbsoluteDiameter", str(value))

    # The order in which Slicer wants these to be called is checked: each needs the one before.
    def setMRMLSegmentEditorNode(self, node: Any) -> None:  # noqa: N802
        self._node = node

    def mrmlSegmentEditorNode(self) -> Any:  # noqa: N802
        return self._node

    def setSegmentationNode(self, node: Any) -> None:  # noqa: N802
        if self._node is None or self._scene is None:
            raise ValueError("setMRMLSegmentEditorNode and setMRMLScene come before setSegmentationNode")
        if node is not self._node.GetSegmentationNode():
            self._node.SetAndObserveSegmentationNode(node)
            self.setCurrentSegmentID("")
            self.segmentationNodeChanged.emit(node)

    def segmentationNode(self) -> Any:  # noqa: N802
        return None if self._node is None else self._node.GetSegmentationNode()

    def setSourceVolumeNode(self, node: Any) -> None:  # noqa: N802
        if self._node is None or self._node.GetSegmentationNode() is None:
            if node is not None:
                raise ValueError("setSegmentationNode comes before setSourceVolumeNode")
            return
        self._node.SetAndObserveSourceVolumeNode(node)
        self.sourceVolumeNodeChanged.emit(node)

    def sourceVolumeNode(self) -> Any:  # noqa: N802
        return None if self._node is None else self._node.GetSourceVolumeNode()

    def setCurrentSegmentID(self, segment_id: str) -> None:  # noqa: N802
        if self._node is None or segment_id == self.currentSegmentID():
            return
        self._node.SetSelectedSegmentID(segment_id)
        self.currentSegmentIDChanged.emit(segment_id)

    def currentSegmentID(self) -> str:  # noqa: N802
        return "" if self._node is None else self._node.GetSelectedSegmentID() or ""

    def setActiveEffectByName(self, name: str) -> None:  # noqa: N802
        self.setActiveEffect(self.effectByName(name))

    def setActiveEffect(self, effect: Any) -> None:  # noqa: N802
        self._active = effect
        for name, button in self._buttons.items():
            button.setChecked(effect is not None and effect._name == name)
        if self._node is not None:
            self._node.SetActiveEffectName("" if effect is None else effect._name)

    def activeEffect(self) -> Any:  # noqa: N802
        return self._active

    def effectByName(self, name: str) -> Any:  # noqa: N802
        return self._effects.get(name)

    def availableEffectNames(self) -> list[str]:  # noqa: N802
        return list(EFFECTS)

    def effectCount(self) -> int:  # noqa: N802
        return len(EFFECTS)

    def setEffectNameOrder(self, names: list[str]) -> None:  # noqa: N802
        self._order = list(names)

    def effectNameOrder(self) -> list[str]:  # noqa: N802
        return self._order

    def setupViewObservations(self) -> None:  # noqa: N802
        layout = slicer.app._cpp.layoutManager()
        if layout is None or self._watched:
            return
        for name in layout.sliceViewNames():
            view = layout.sliceWidget(name).sliceView()
            for event, react in (
                ("LeftButtonPressEvent", self._pressed),
                ("MouseMoveEvent", self._moved),
                ("LeftButtonReleaseEvent", self._released),
            ):
                self._watch(view, event, react)

    def removeViewObservations(self) -> None:  # noqa: N802
        for interactor, tag in self._watched:
            interactor.RemoveObserver(tag)
        self._watched.clear()

    def installKeyboardShortcuts(self, parent: Any = None) -> None:  # noqa: N802
        self._values["shortcuts"] = True

    def uninstallKeyboardShortcuts(self) -> None:  # noqa: N802
        self._values["shortcuts"] = False

    def updateEffectList(self) -> None:  # noqa: N802
        pass

    def saveStateForUndo(self) -> None:  # noqa: N802
        pass

    def rotateSliceViewsToSegmentation(self) -> None:  # noqa: N802
        pass

    segmentationNodeSelectorVisible = kept("segmentationNodeSelectorVisible", True)  # noqa: N815
    sourceVolumeNodeSelectorVisible = kept("sourceVolumeNodeSelectorVisible", True)  # noqa: N815
    maskingSectionVisible = kept("maskingSectionVisible", True)  # noqa: N815
    specifyGeometryButtonVisible = kept("specifyGeometryButtonVisible", True)  # noqa: N815
    show3DButtonVisible = kept("show3DButtonVisible", True)  # noqa: N815
    addRemoveSegmentButtonsVisible = kept("addRemoveSegmentButtonsVisible", True)  # noqa: N815
    switchToSegmentationsButtonVisible = kept("switchToSegmentationsButtonVisible", True)  # noqa: N815
    autoShowSourceVolumeNode = kept("autoShowSourceVolumeNode", True)  # noqa: N815
    undoEnabled = kept("undoEnabled", True)  # noqa: N815
    readOnly = kept("readOnly", True)  # noqa: N815
    unorderedEffectsVisible = kept("unorderedEffectsVisible", True)  # noqa: N815
    jumpToSelectedSegmentEnabled = kept("jumpToSelectedSegmentEnabled", True)  # noqa: N815
    maximumNumberOfUndoStates = kept("maximumNumberOfUndoStates", 10)  # noqa: N815
    effectColumnCount = kept("effectColumnCount", 5)  # noqa: N815

    def _watch(self, view: Any, event: str, react: Callable[[Any], bool]) -> None:
        interactor, tags = view.interactor(), list[int]()

        def call(_interactor: Any, _event: str) -> None:
            if react(view):
                interactor.GetCommand(tags[0]).SetAbortFlag(1)

        tags.append(interactor.AddObserver(event, call, _PRIORITY))
        self._watched.append((interactor, tags[0]))

    def _brush(self) -> str:
        """The effect that takes strokes; empty for none."""
        name = self._active._name if self._active is not None else ""
        return name if name in ("Paint", "Erase") and self.currentSegmentID() else ""

    def _pressed(self, view: Any) -> bool:
        if self._brush():
            self._stroke = [_place(view)]
        return bool(self._brush())

    def _moved(self, view: Any) -> bool:
        if self._stroke:
            self._stroke.append(_place(view))
        return bool(self._stroke)

    def _released(self, view: Any) -> bool:
        """As in Slicer, a stroke reaches the segment when the button is let go."""
        stroke, self._stroke = self._stroke, []
        if not stroke or not self._brush():
            return False
        effect = self._effects[self._brush()]
        to_ras = view.mrmlSliceNode().GetSliceToRAS()
        normal = None
        if effect.integerParameter("BrushSphere") != 1:
            normal = (to_ras.GetElement(0, 2), to_ras.GetElement(1, 2), to_ras.GetElement(2, 2))
        radius = effect.doubleParameter("BrushAbsoluteDiameter") / 2
        paint(self._node, stroke, radius, normal, erase=self._brush() == "Erase")
        return True


def _place(view: Any) -> Point:
    """Where the mouse is, RAS mm."""
    x, y = view.interactor().GetEventPosition()
    r, a, s, _ = view.mrmlSliceNode().GetXYToRAS().MultiplyPoint((x, y, 0.0, 1.0))
    return r, a, s
