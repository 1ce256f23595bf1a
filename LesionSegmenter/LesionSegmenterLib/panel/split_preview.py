"""What a split would give, shown in the views over the lesion before anything is done."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk

from ..lesions import Change, LesionMap
from ..scene.grid import array_of
from ..scene.io import BINARY, detach

# Okabe and Ito's palette without black: neighbouring parts are told apart with any colour vision.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")
_FILL, _OUTLINE = 0.55, 1.0  # the points that are placed are seen through it


class SplitPreview:
    """The parts of a planned split, each in a colour of its own: a hidden node, saved with no scene."""

    def __init__(self) -> None:
        self._node: Any = None

    @property
    def parts(self) -> int:
        """How many parts are shown."""
        return self._node.GetSegmentation().GetNumberOfSegments() if self._shown else 0

    def show(self, lesions: LesionMap, change: Change) -> None:
        """Show the voxels that a change would give to lesions, in place of what was shown before."""
        image, ids = _parts_image(lesions, change)
        if not self._shown:
            self._node = _hidden_node()
        segments = self._node.GetSegmentation()
        was_modifying = self._node.StartModify()
        self._empty()
        for part in range(1, len(ids) + 1):
            segment = slicer.vtkSegment()
            segment.SetName(f"{part}")
            segment.SetColor(*_colour(part))
            segment.SetLabelValue(part)
            segment.AddRepresentation(BINARY, image)
            segments.AddSegment(segment, f"part{part}")
        self._node.EndModify(was_modifying)

    def clear(self) -> None:
        """Show nothing any more; the scene has no node of it left."""
        if self._shown:
            self._empty()
            slicer.mrmlScene.RemoveNode(self._node.GetDisplayNode())
            slicer.mrmlScene.RemoveNode(self._node)
        self._node = None

    @property
    def _shown(self) -> bool:
        return self._node is not None and self._node.GetScene() is not None

    def _empty(self) -> None:
        detach(self._node.GetSegmentation())
        self._node.GetSegmentation().RemoveAllSegments()


def _hidden_node() -> Any:
    """A segmentation node that lists of nodes and saved scenes do not have."""
    node = slicer.vtkMRMLSegmentationNode()
    node.SetName("Split preview")
    node.SetSaveWithScene(False)
    node = slicer.mrmlScene.AddNode(node)
    node.SetHideFromEditors(True)  # not before: its data tree wants to know the node of any segment
    node.CreateDefaultDisplayNodes()
    node.GetSegmentation().SetSourceRepresentationName(BINARY)
    display = node.GetDisplayNode()
    display.SetSaveWithScene(False)
    display.SetOpacity2DFill(_FILL)
    display.SetOpacity2DOutline(_OUTLINE)
    display.SetVisibility3D(False)  # surfaces would be made anew with every point that is moved
    return node


def _parts_image(lesions: LesionMap, change: Change) -> tuple[Any, list[int]]:
    """The changed voxels numbered 1, 2, ... by ascending new id, as an image of their box; and those ids."""
    box = change.box
    assert box is not None, "a split changes voxels"
    start = np.array([side.start for side in box])
    ids = np.unique(change.after[change.after > 0])
    affine = lesions.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ start
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*(side.stop - side.start for side in box))
    image.SetGeometryFromImageToWorldMatrix(slicer.util.vtkMatrixFromArray(affine))
    image.AllocateScalars(vtk.VTK_INT, 1)
    values = array_of(image)
    values[:] = 0
    place = tuple(n - first for n, first in zip(change.index, start, strict=True))
    values[place] = np.where(change.after > 0, np.searchsorted(ids, change.after) + 1, 0)
    return image, ids.tolist()


def _colour(part: int) -> tuple[float, float, float]:
    code = _COLOURS[(part - 1) % len(_COLOURS)]
    red, green, blue = (int(code[n : n + 2], 16) / 255 for n in (1, 3, 5))
    return red, green, blue
