"""Small cases for the scene's tests, changes to them, and what Slicer itself says that is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import slicer
import slicer.util
import vtk

from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import Change, LesionMap
from LesionSegmenterLib.measure import measure_lesions
from LesionSegmenterLib.scene.io import BINARY
from LesionSegmenterLib.scene.lesion_scene import LesionScene
from LesionSegmenterLib.scene.tags import colour, segment_id

SHAPE = (30, 26, 14)
TYPES = {1: LesionType.WMH, 2: LesionType.MS, 3: LesionType.STROKE, 40000: LesionType.WMH}


def boxes() -> npt.NDArray[np.int32]:
    """Lesions 1 and 2, which touch, 3, a bar of 12 voxels, and 40000: (i, j, k) in MRML's memory order."""
    ids = np.zeros(SHAPE[::-1], np.int32).T
    ids[4:9, 4:9, 3:7] = 1
    ids[9:14, 4:9, 3:7] = 2
    ids[4:16, 18, 6] = 3
    ids[20:26, 14:22, 5:11] = 40000
    return ids


def affine(spacing: tuple[float, float, float] = (1.0, 1.0, 3.0)) -> npt.NDArray[np.float64]:
    """Axes along R, A and S, the origin anywhere."""
    result = np.diag([*spacing, 1.0])
    result[:3, 3] = (-20.5, 11.0, 7.0)
    return result


def lesion_map(ids: npt.NDArray[np.int32], to_ras: npt.NDArray[np.float64]) -> LesionMap:
    """The measured lesions of an id array."""
    return LesionMap.from_arrays(ids, to_ras, measure_lesions(ids, to_ras, types=TYPES))


def many(count: int) -> LesionMap:
    """Lesions of two voxels each, on a grid of 30x26x14."""
    ids = np.zeros(SHAPE[::-1], np.int32).T
    places = np.argwhere(np.indices(SHAPE).sum(axis=0) % 4 == 0)
    i, j, k = places[places[:, 0] % 3 == 0][:count].T
    ids[i, j, k] = ids[i + 1, j, k] = np.arange(1, count + 1)
    return lesion_map(ids, affine())


def shown(node: Any, flair: Any) -> npt.NDArray[np.int32]:
    """The (i, j, k) ids that a segmentation shows, segment by segment, as Slicer exports them."""
    ids = np.zeros(flair.GetImageData().GetDimensions(), np.int32)
    for name in node.GetSegmentation().GetSegmentIDs():
        mask = slicer.util.arrayFromSegmentBinaryLabelmap(node, name, flair).T > 0
        assert not ids[mask].any(), "two segments share a voxel"
        ids[mask] = int(name.removeprefix("L"))
    return ids


def paint(node: Any, lesion_id: int, mask: npt.NDArray[np.bool_], *, overlap: bool = False) -> None:
    """Make a segment's voxels those of an (i, j, k) mask, as the Segment Editor does.

    The others lose theirs there, or with ``overlap`` keep them, on a layer of their own.
    """
    paint_segment(node, segment_id(lesion_id), mask, overlap=overlap)


def paint_segment(node: Any, name: str, mask: npt.NDArray[np.bool_], *, overlap: bool = False) -> None:
    """As `paint`, for a segment by name."""
    flair = node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
    image = slicer.vtkOrientedImageData()
    to_ras = slicer.util.vtkMatrixFromArray(np.eye(4))
    flair.GetIJKToRASMatrix(to_ras)
    image.SetDimensions(mask.shape)
    image.SetGeometryFromImageToWorldMatrix(to_ras)
    image.AllocateScalars(3, 1)  # VTK_UNSIGNED_CHAR
    from LesionSegmenterLib.scene.grid import array_of

    array_of(image)[:] = mask
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    others = [other for other in node.GetSegmentation().GetSegmentIDs() if other != name]
    done = logic.SetBinaryLabelmapToSegment(
        image, node, name, logic.MODE_REPLACE, image.GetExtent(), False, [] if overlap else others
    )
    assert done


def layers(scene: LesionScene) -> int:
    """How many labelmaps hold the segments."""
    return scene.node.GetSegmentation().GetNumberOfLayers(BINARY)


def make(scene: LesionScene, change: Change) -> Change:
    """What a session does: change the map, then show the change."""
    scene.lesions.apply(change)
    scene.push(change)
    return change


def segment(scene: LesionScene, lesion_id: int) -> Any:
    """A lesion's segment."""
    return scene.node.GetSegmentation().GetSegment(segment_id(lesion_id))


def tag(scene: LesionScene, lesion_id: int, name: str) -> str:
    """What a tag of a lesion's segment says."""
    text = vtk.reference("")
    assert segment(scene, lesion_id).GetTag(name, text)
    return str(text)


def assert_shows_the_master(scene: LesionScene) -> None:
    """One layer shows the map's ids, and every segment its record's type, status and colour."""
    assert layers(scene) == 1
    assert np.array_equal(shown(scene.node, scene.flair), scene.lesions.ids)
    names = {segment_id(lesion_id) for lesion_id in scene.lesions.records}
    assert set(scene.node.GetSegmentation().GetSegmentIDs()) == names
    for lesion_id, record in scene.lesions.records.items():
        assert tag(scene, lesion_id, "LesionSegmenter.Type") == record.type.label
        assert tag(scene, lesion_id, "LesionSegmenter.Status") == record.status
        assert segment(scene, lesion_id).GetColor() == pytest.approx(colour(record, "type"))
        visible = scene.node.GetDisplayNode().GetSegmentVisibility(segment_id(lesion_id))
        assert visible == (record.status != "rejected")
