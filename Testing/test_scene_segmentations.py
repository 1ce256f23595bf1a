"""Segmentations of the scene and of .seg.nrrd files become lesions, whoever drew them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip(
    "slicer",
    reason="slicer-core is not installed, or a library it needs: pip install slicer-core==5.12.4.0",
    exc_type=ImportError,
)

import slicer
import slicer.util
import vtk

from LesionSegmenterLib import edits
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.scene.export import write_segmentation
from LesionSegmenterLib.scene.io import open_segmentation, open_segmentation_file
from LesionSegmenterLib.scene.lesion_scene import LesionScene
from scene_cases import affine, boxes, lesion_map
from slicer_scene import Application


def under_transform(node: Any, matrix: np.ndarray) -> Any:
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def test_a_flair_under_a_transform_is_refused(application: Application) -> None:
    flair = application.add_volume(np.zeros(boxes().shape, np.int16), affine())
    under_transform(flair, np.diag([1, 1, 1, 1]))
    with pytest.raises(InputError, match=r"under the transform 'moved'.*harden"):
        LesionScene.show(lesion_map(boxes(), affine()), flair)


def test_a_segmentation_is_read_through_its_transform_with_a_word(scene: LesionScene) -> None:
    shift = np.eye(4)
    shift[1, 3] = 2.0  # two voxels along j
    under_transform(scene.node, shift)
    opened = open_segmentation(scene.node, scene.flair)
    assert [w for w in opened.warnings if "through its transform 'moved'" in w]
    assert np.array_equal(opened.lesions.ids[:, 2:], boxes()[:, :-2])


def test_a_segmentation_under_a_warp_is_refused(scene: LesionScene) -> None:
    warp = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode", "warp")
    warp.SetAndObserveTransformToParent(vtk.vtkThinPlateSplineTransform())
    scene.node.SetAndObserveTransformNodeID(warp.GetID())
    with pytest.raises(InputError, match=r"not linear.*Harden"):
        open_segmentation(scene.node, scene.flair)


def foreign(application: Application, masks: dict[str, np.ndarray]) -> tuple[Any, Any]:
    """A segmentation as any user makes it, and its FLAIR."""
    flair = application.add_volume(np.zeros(boxes().shape, np.int16), affine())
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "theirs")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(flair)
    for name, mask in masks.items():
        segment = node.GetSegmentation().AddEmptySegment("", name)
        if mask.any():
            array = np.ascontiguousarray(mask.T, np.uint8)
            slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segment, flair)
    return node, flair


def test_a_users_segments_become_lesions_of_the_type_in_their_name(application: Application) -> None:
    node, flair = foreign(application, {"Stroke": boxes() == 2, "left one": boxes() == 1})
    opened = open_segmentation(node, flair)
    assert opened.warnings == ()
    assert [r.type for r in opened.lesions.records.values()] == [LesionType.STROKE, LesionType.LESION]
    assert np.array_equal(opened.lesions.ids > 0, np.isin(boxes(), [1, 2]))


def test_a_users_class_segments_become_their_components(application: Application) -> None:
    node, flair = foreign(application, {"MS": np.isin(boxes(), [1, 40000])})
    opened = open_segmentation(node, flair, "types")
    assert [(r.type, r.voxels) for r in opened.lesions.records.values()] == [
        (LesionType.MS, 288),
        (LesionType.MS, 100),
    ]


def test_overlapping_and_empty_segments_lose_no_voxel_and_are_named(application: Application) -> None:
    both = np.isin(boxes(), [1, 2])
    node, flair = foreign(application, {"MS": boxes() == 1, "nothing": np.zeros_like(both), "WMH": both})
    opened = open_segmentation(node, flair)
    assert [w for w in opened.warnings if "100 voxels lie in two segments" in w]
    assert [w for w in opened.warnings if "1 segments without voxels" in w]
    assert [r.voxels for r in opened.lesions.records.values()] == [100, 100]
    assert np.array_equal(opened.lesions.ids > 0, both)


def test_a_segmentation_without_labelmaps_says_what_to_do(application: Application) -> None:
    node, flair = foreign(application, {})
    segment = slicer.vtkSegment()
    sphere = vtk.vtkSphereSource()
    sphere.Update()
    segment.AddRepresentation("Closed surface", sphere.GetOutput())
    node.GetSegmentation().SetSourceRepresentationName("Closed surface")
    node.GetSegmentation().AddSegment(segment, "ball")
    with pytest.raises(InputError, match=r"no labelmaps.*Create its binary labelmap"):
        open_segmentation(node, flair)


def test_a_seg_nrrd_keeps_ids_and_records_without_its_scene(scene: LesionScene, tmp_path: Path) -> None:
    change = edits.annotate(scene.lesions, [40000], "seen | twice")
    scene.lesions.apply(change)
    scene.push(change)
    out = tmp_path / "out"
    write_segmentation(scene.node, out / "case.seg.nrrd")
    assert [path.name for path in out.iterdir()] == ["case.seg.nrrd"]
    opened = open_segmentation_file(out / "case.seg.nrrd", scene.flair)
    assert opened.warnings == ()
    assert opened.lesions.records == scene.lesions.records
    assert np.array_equal(opened.lesions.ids, boxes())


def test_a_segmentation_goes_to_a_seg_nrrd_in_a_folder_or_is_refused(
    scene: LesionScene, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"End its name in \.seg\.nrrd"):
        write_segmentation(scene.node, tmp_path / "case.nii.gz")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="file"):
        write_segmentation(scene.node, tmp_path / "file" / "case.seg.nrrd")
    assert not list(tmp_path.glob("*.part")) and not list(tmp_path.glob(".*"))


def test_a_record_that_no_longer_fits_its_voxels_is_measured_again(scene: LesionScene) -> None:
    half = boxes() == 1
    half[6:] = False
    from scene_cases import paint

    paint(scene.node, 1, half)
    opened = open_segmentation(scene.node, scene.flair)
    assert [w for w in opened.warnings if "1 lesions no longer have the voxels" in w]
    assert opened.lesions.records[1].voxels == 40
    assert opened.lesions.records[1].type is LesionType.WMH
