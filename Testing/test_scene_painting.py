"""What was painted on the lesions in the scene is read back as edits."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip(
    "slicer",
    reason="slicer-core is not installed, or a library it needs: pip install slicer-core==5.12.4.0",
    exc_type=ImportError,
)

import slicer
import slicer.util

from LesionSegmenterLib import edits
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.scene.lesion_scene import LesionScene
from scene_cases import (
    SHAPE,
    affine,
    assert_shows_the_master,
    boxes,
    layers,
    lesion_map,
    make,
    paint,
    paint_segment,
    segment,
    shown,
)
from slicer_scene import Application


def test_nothing_painted_is_no_change(scene: LesionScene) -> None:
    assert scene.read_back() is None
    assert_shows_the_master(scene)


@pytest.mark.parametrize("overlap", [False, True])
def test_painting_over_a_neighbour_does_not_eat_it(scene: LesionScene, overlap: bool) -> None:
    painted = np.zeros(SHAPE, bool)
    painted[2:12, 4:9, 3:7] = True  # lesion 1, two voxels more at its free end, and three of lesion 2
    paint(scene.node, 1, painted, overlap=overlap)
    change = scene.read_back()
    assert change is not None
    make(scene, change)
    expected = boxes()
    expected[2:4, 4:9, 3:7] = 1
    assert np.array_equal(scene.lesions.ids, expected)
    assert scene.lesions.records[1].status == "edited"
    assert scene.lesions.records[2].status == "proposed"
    assert_shows_the_master(scene)


def test_painting_over_a_rejected_lesion_takes_its_voxels(scene: LesionScene) -> None:
    make(scene, edits.reject(scene.lesions, [2]))
    paint(scene.node, 1, np.isin(boxes(), [1, 2]), overlap=True)
    change = scene.read_back()
    assert change is not None
    make(scene, change)
    assert scene.lesions.records[1].voxels == 200
    assert scene.lesions.records[2].status == "rejected"
    assert_shows_the_master(scene)


def test_erased_voxels_go_and_a_lesion_wiped_out_is_deleted(scene: LesionScene) -> None:
    half = boxes() == 40000
    half[23:] = False
    paint(scene.node, 40000, half)
    paint(scene.node, 3, np.zeros(SHAPE, bool))
    scene.node.GetSegmentation().RemoveSegment("L0002")
    change = scene.read_back()
    assert change is not None
    make(scene, change)
    assert list(scene.lesions.records) == [1, 40000]
    assert np.array_equal(scene.lesions.ids == 40000, half)
    assert_shows_the_master(scene)


def test_reading_back_leaves_the_segments_that_the_segment_editor_holds(scene: LesionScene) -> None:
    paint(scene.node, 3, boxes() == 0)
    held = [segment(scene, lesion_id) for lesion_id in scene.lesions.records]
    assert scene.read_back() is not None
    assert [segment(scene, lesion_id) for lesion_id in scene.lesions.records] == held


def test_a_segment_that_was_added_becomes_a_lesion_of_the_type_it_is_named_after(scene: LesionScene) -> None:
    empty = scene.node.GetSegmentation().AddEmptySegment("", "nothing yet")
    name = scene.node.GetSegmentation().AddEmptySegment("", "ms")
    painted = np.indices(SHAPE)[2] == 12
    paint_segment(scene.node, name, painted)
    change = scene.read_back()
    assert change is not None
    make(scene, change)
    assert scene.lesions.records[40001].type is LesionType.MS
    assert np.array_equal(scene.lesions.ids == 40001, painted)
    assert not {name, empty} & set(scene.node.GetSegmentation().GetSegmentIDs())
    assert_shows_the_master(scene)


def test_painting_that_could_not_be_recorded_is_still_there(scene: LesionScene) -> None:
    painted = boxes() == 1
    painted[2:4, 4:9, 3:7] = True
    paint(scene.node, 1, painted)
    name = scene.node.GetSegmentation().AddEmptySegment("", "MS")
    paint_segment(scene.node, name, np.indices(SHAPE)[2] == 12)
    first = scene.read_back()
    again = scene.read_back()
    assert first is not None and again is not None
    assert first.to_bytes() == again.to_bytes()
    assert layers(scene) == 1


def test_an_edit_elsewhere_does_not_hide_what_was_painted(crowd: LesionScene) -> None:
    values = slicer.util.arrayFromVolume(crowd.node).T
    values[tuple(np.argwhere(values == 0)[0])] = 1
    slicer.util.arrayFromVolumeModified(crowd.node)
    make(crowd, edits.relabel(crowd.lesions, [7], LesionType.STROKE))
    change = crowd.read_back()
    assert change is not None and set(change.records_before) == {1}


def test_painting_on_a_label_volume_is_read_back(crowd: LesionScene) -> None:
    values = slicer.util.arrayFromVolume(crowd.node).T
    free = tuple(np.argwhere(values == 0)[0])
    owned = tuple(np.argwhere(values == 2)[0])
    values[free] = values[owned] = 1
    slicer.util.arrayFromVolumeModified(crowd.node)
    change = crowd.read_back()
    assert change is not None
    make(crowd, change)
    assert crowd.lesions.ids[free] == 1 and crowd.lesions.ids[owned] == 2
    assert np.array_equal(slicer.util.arrayFromVolume(crowd.node).T, crowd.lesions.ids)


def test_a_case_without_lesions_can_be_shown_and_painted_on(application: Application) -> None:
    flair = application.add_volume(np.zeros(SHAPE, np.int16), affine())
    scene = LesionScene.show(lesion_map(np.zeros(SHAPE[::-1], np.int32).T, affine()), flair)
    assert scene.read_back() is None
    name = scene.node.GetSegmentation().AddEmptySegment("", "new")
    paint_segment(scene.node, name, boxes() == 1)
    change = scene.read_back()
    assert change is not None
    make(scene, change)
    assert np.array_equal(shown(scene.node, flair), boxes() == 1)
