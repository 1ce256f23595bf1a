"""Another rater's lesions drawn as outlines over one's own: a passing view that no scene file keeps."""

from __future__ import annotations

from typing import Any

from ..lesions import LesionMap
from .lesion_scene import LesionScene
from .tags import NEXT_ID
from .view import SegmentationView

OUTLINE_COLOUR = (0.0, 0.62, 0.45)  # the Okabe-Ito palette's green, which no lesion type has

_THICKNESS = 2  # screen pixels


def show_outline(lesions: LesionMap, flair: Any, name: str) -> LesionScene:
    """Show lesions as outlines of one colour in a node of their own, which is not saved with the scene.

    flair : volume node whose grid the lesions are on. Remove the scene's ``node`` to be rid of them.
    """
    view = SegmentationView.create(flair, name)  # whatever their number: there is one label layer only
    view.show_all(lesions, "type")
    node = view.node
    node.SetSaveWithScene(False)
    node.RemoveAttribute(NEXT_ID)  # or it would be taken for the scene's case
    segments, display = node.GetSegmentation(), node.GetDisplayNode()
    was = node.StartModify(), display.StartModify()
    for segment in segments.GetSegmentIDs():
        segments.GetSegment(segment).SetColor(*OUTLINE_COLOUR)
    display.SetVisibility2DFill(False)
    display.SetVisibility3D(False)
    display.SetSliceIntersectionThickness(_THICKNESS)
    display.SetSaveWithScene(False)
    display.EndModify(was[1])
    node.EndModify(was[0])
    return LesionScene(lesions, flair, view)
