"""Points that the user clicks in the views, one in each part to be or along a line, as markups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
import slicer.util

Point = tuple[float, float, float]

_TEXT_SCALE, _GLYPH_SCALE = 3.5, 2.5  # per cent of the view: small beside a lesion, still to be grabbed
_ON_SLICE_MM = 0.5  # a point clicked in a slice view lies on its slice but for rounding


class SplitSeeds:
    """Control points of one hidden markups node, which no scene is saved with.

    moved : called when a point was placed, moved or removed.
    placing_changed : called with whether a click in a view places a point by now; the views' own
        right-click ends placing too.
    """

    def __init__(self, moved: Callable[[], None], placing_changed: Callable[[bool], None]) -> None:
        self._moved, self._placing_changed = moved, placing_changed
        self._node: Any = None
        self._observed: list[tuple[Any, int]] = []
        self._known: list[Point] = []

    @property
    def points(self) -> list[Point]:
        """The places of all points, RAS mm, in the order in which they were placed."""
        node = self._node
        return (
            [] if node is None else [tuple(node.GetNthControlPointPositionWorld(n)) for n in self._placed()]
        )

    def place(self, placing: bool) -> None:
        """Let clicks in the views place points, or no more."""
        interaction = _interaction()
        if not placing:
            if self._is_placing():
                interaction.SetPlaceModePersistence(0)
                interaction.SetCurrentInteractionMode(interaction.ViewTransform)
            return
        if self._node is None:
            self._begin()
        selection = slicer.app.applicationLogic().GetSelectionNode()
        selection.SetReferenceActivePlaceNodeClassName(self._node.GetClassName())
        selection.SetActivePlaceNodeID(self._node.GetID())
        interaction.SetPlaceModePersistence(1)  # one click after the other
        interaction.SetCurrentInteractionMode(interaction.Place)

    def remove(self, number: int) -> None:
        """Remove a point by its place in `points`."""
        self._node.RemoveNthControlPoint(self._placed()[number])

    def clear(self) -> None:
        """Remove all points and end placing; the scene has no node of them left."""
        self.place(False)
        for observed, tag in self._observed:
            observed.RemoveObserver(tag)
        self._observed, self._known = [], []
        if self._node is not None and self._node.GetScene() is not None:
            slicer.mrmlScene.RemoveNode(self._node.GetDisplayNode())  # first: else the views keep the points
            slicer.mrmlScene.RemoveNode(self._node)
        self._node = None

    def line_of_sight(self) -> Point | None:
        """The normal, in RAS, of the slice view that shows the first two points; None where none does."""
        if len(self.points) < 2:
            return None
        for view in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            to_ras = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
            away = (np.array(self.points[:2]) - to_ras[:3, 3]) @ to_ras[:3, 2]
            if np.abs(away).max() < _ON_SLICE_MM:
                r, a, s = to_ras[:3, 2].tolist()
                return r, a, s
        return None

    def _placed(self) -> list[int]:
        """Indices of the points that were placed; the one under the mouse while placing is not."""
        node = self._node
        return [
            n
            for n in range(node.GetNumberOfControlPoints())
            if node.GetNthControlPointPositionStatus(n) == node.PositionDefined
        ]

    def _is_placing(self) -> bool:
        interaction = _interaction()
        selection = slicer.app.applicationLogic().GetSelectionNode()
        return (
            self._node is not None
            and interaction.GetCurrentInteractionMode() == interaction.Place
            and selection.GetActivePlaceNodeID() == self._node.GetID()
        )

    def _begin(self) -> None:
        node = slicer.vtkMRMLMarkupsFiducialNode()
        node.SetName("Split points")
        node.SetHideFromEditors(True)  # before the scene gets it: it is then in no tree of its data either
        node.SetSaveWithScene(False)
        node.SetControlPointLabelFormat("%d")
        self._node = slicer.mrmlScene.AddNode(node)
        self._node.CreateDefaultDisplayNodes()
        display = self._node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetTextScale(_TEXT_SCALE)
        display.SetGlyphScale(_GLYPH_SCALE)
        display.SetSelectedColor(1.0, 1.0, 1.0)  # stands out from every part of the preview
        for event in (node.PointPositionDefinedEvent, node.PointModifiedEvent, node.PointRemovedEvent):
            self._observe(self._node, event, self._follow)
        interaction = _interaction()
        self._observe(
            interaction,
            interaction.InteractionModeChangedEvent,
            lambda *_: self._placing_changed(self._is_placing()),
        )

    def _follow(self, *_: Any) -> None:
        """While a point is being placed, the node also tells of one that moves with the mouse."""
        points = self.points
        if points != self._known:
            self._known = points
            self._moved()

    def _observe(self, node: Any, event: int, slot: Callable[..., None]) -> None:
        self._observed.append((node, node.AddObserver(event, slot)))


def _interaction() -> Any:
    return slicer.app.applicationLogic().GetInteractionNode()
