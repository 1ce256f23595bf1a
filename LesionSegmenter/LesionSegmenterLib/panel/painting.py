"""Painting in one lesion with Slicer's Segment Editor, embedded and held to that lesion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import slicer.util

from ..labels import LesionType
from ..scene.lesion_scene import LesionScene
from ..scene.tags import TYPE_TAG

EFFECTS = ("Paint", "Draw", "Erase", "Scissors")
_NODE = "LesionSegmenter"  # apart from the Segment Editor module's own choices
_HIDDEN = (
    "segmentationNodeSelectorVisible",
    "sourceVolumeNodeSelectorVisible",
    "maskingSectionVisible",
    "specifyGeometryButtonVisible",
    "show3DButtonVisible",
    "addRemoveSegmentButtonsVisible",
    "switchToSegmentationsButtonVisible",
    "unorderedEffectsVisible",
    "undoEnabled",  # the review undoes: an older state of the editor's is not its own
    "autoShowSourceVolumeNode",  # the views keep what they show
)
_TABLE = ("SegmentsTableView", "SegmentsTableResizableFrame")
_REACHING_OTHERS = ("Paint.EraseAllSegments", "Erase.EraseAllSegments", "Scissors.ApplyToAllVisibleSegments")


class Painting:
    """The embedded editor: on a lesion between `start` and `stop`, else without a segmentation.

    Nothing but the one lesion's segment changes: no segment is overwritten, and the effects' options that
    reach all segments are switched off again. An edit mask "outside of all segments" would keep the brush off
    the neighbours as well, but takes seconds a stroke where there are many; what is painted over a neighbour
    stays the neighbour's when it is read back.

    painted : called when a stroke has changed the segmentation.
    """

    def __init__(self, layout: Any, painted: Callable[[], None]) -> None:
        self._painted = painted
        self._scene: LesionScene | None = None
        self._observed: list[tuple[Any, int]] = []
        self.editor = slicer.qMRMLSegmentEditorWidget()
        self.editor.setMRMLSegmentEditorNode(_editor_node())
        self.editor.setMRMLScene(slicer.mrmlScene)
        for name in _HIDDEN:
            setattr(self.editor, name, False)
        self.editor.setEffectNameOrder(list(EFFECTS))
        self.editor.effectColumnCount = 1  # the effects' options beside them are wide enough
        for name in _TABLE:  # lesions are chosen in the panel's own table
            for part in slicer.util.findChildren(self.editor, name):
                part.hide()
        layout.addWidget(self.editor)

    @property
    def is_on(self) -> bool:
        """Whether there is something to paint in."""
        return self._scene is not None

    @property
    def segment(self) -> str:
        """The segment that is painted in; empty for none."""
        name = self.editor.currentSegmentID() if self._scene is not None else ""
        exists = self._scene is not None and self._scene.node.GetSegmentation().GetSegment(name) is not None
        return name if exists else ""

    def start(self, scene: LesionScene) -> None:
        """Attach the editor to the lesions of a case, shown by a segmentation."""
        node = _editor_node()  # a closed scene takes its node with it
        node.SetOverwriteMode(node.OverwriteNone)
        node.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
        node.SourceVolumeIntensityMaskOff()
        self._scene = scene
        self.editor.setMRMLSegmentEditorNode(node)
        self.editor.setSegmentationNode(scene.node)
        self.editor.setSourceVolumeNode(scene.flair)
        self.editor.setupViewObservations()
        segments = scene.node.GetSegmentation()
        self._observe(segments, segments.SourceRepresentationModified, lambda *_: self._painted())
        for event in (node.EffectParameterModified, "ModifiedEvent"):  # by an effect, by anyone else
            self._observe(node, event, lambda *_: _keep_to_one(node))

    def paint_in(self, segment: str) -> None:
        """Let the effects change a segment; empty for none. A brush is at hand at once."""
        self.editor.setCurrentSegmentID(segment)
        if not segment:
            self.editor.setActiveEffect(None)
        elif self.editor.activeEffect() is None:
            self.editor.setActiveEffectByName("Paint")

    def add_segment(self, lesion_type: LesionType) -> str:
        """An empty segment that becomes a lesion of this type once it is painted and read back."""
        assert self._scene is not None, "painting was started"
        segments = self._scene.node.GetSegmentation()
        name: str = segments.AddEmptySegment("", lesion_type.label)
        segments.GetSegment(name).SetTag(TYPE_TAG, lesion_type.label)
        return name

    def stop(self) -> None:
        """Detach the editor: nothing is painted any more, and no other edit has to wait for its table."""
        if self._scene is None:
            return
        self._scene = None
        for observed, tag in self._observed:
            observed.RemoveObserver(tag)
        self._observed = []
        self.editor.setActiveEffect(None)
        self.editor.removeViewObservations()
        self.editor.setSegmentationNode(None)
        self.editor.setSourceVolumeNode(None)

    def _observe(self, observed: Any, event: int | str, slot: Callable[..., None]) -> None:
        self._observed.append((observed, observed.AddObserver(event, slot)))


def _editor_node() -> Any:
    """The scene's one node with the choices of this editor, made where there is none."""
    node = slicer.mrmlScene.GetSingletonNode(_NODE, "vtkMRMLSegmentEditorNode")
    if node is None:
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetSingletonTag(_NODE)
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        node = slicer.mrmlScene.AddNode(node)
    return node


def _keep_to_one(node: Any) -> None:
    for option in _REACHING_OTHERS:
        if node.GetAttribute(option) == "1":
            node.SetAttribute(option, "0")
