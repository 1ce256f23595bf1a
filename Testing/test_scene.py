"""The lesions in a real MRML scene: shown, and what every edit changes of what is shown."""

from __future__ import annotations

import random

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
from LesionSegmenterLib.lesions import Change, LesionMap
from LesionSegmenterLib.scene.grid import array_of
from LesionSegmenterLib.scene.io import BINARY
from LesionSegmenterLib.scene.lesion_scene import LesionScene
from LesionSegmenterLib.scene.tags import colour, segment_id, terminology
from LesionSegmenterLib.scene.view import DIMMED, SEE_THROUGH, SURFACE
from scene_cases import (
    SHAPE,
    affine,
    assert_shows_the_master,
    boxes,
    layers,
    lesion_map,
    make,
    paint,
    segment,
    shown,
    tag,
)
from slicer_scene import Application


def test_every_lesion_is_a_segment_of_one_layer(scene: LesionScene) -> None:
    assert scene.node.GetSegmentation().GetSegmentIDs() == ("L0001", "L0002", "L0003", "L40000")
    assert layers(scene) == 1
    assert np.array_equal(shown(scene.node, scene.flair), boxes())


def test_segments_say_name_type_status_and_term(scene: LesionScene) -> None:
    assert segment(scene, 3).GetName() == "L0003 stroke"
    assert tag(scene, 3, "LesionSegmenter.Type") == "stroke"
    assert tag(scene, 3, "LesionSegmenter.Status") == "proposed"
    assert segment(scene, 3).GetColor() == pytest.approx(colour(scene.lesions.records[3], "type"))
    entry = slicer.vtkSlicerTerminologyEntry()
    logic = slicer.vtkSlicerTerminologiesModuleLogic
    assert logic.DeserializeTerminologyEntry(tag(scene, 3, "TerminologyEntry"), entry)
    assert entry.GetTypeObject().GetCodeValue() == "55641003"
    assert entry.GetTypeObject().GetCodeMeaning() == "Infarct"


@pytest.mark.parametrize("lesion_type", LesionType)
def test_slicer_understands_the_term_of_every_type(lesion_type: LesionType) -> None:
    entry = slicer.vtkSlicerTerminologyEntry()
    logic = slicer.vtkSlicerTerminologiesModuleLogic
    assert logic.DeserializeTerminologyEntry(terminology(lesion_type), entry)
    assert entry.GetCategoryObject().GetCodeValue() == "49755003"
    assert entry.GetTypeObject().GetCodingSchemeDesignator() == "SCT"


def test_lesions_of_a_type_differ_in_shade_alone(scene: LesionScene) -> None:
    first, last = (np.array(segment(scene, i).GetColor()) for i in (1, 40000))
    assert not np.allclose(first, last)
    assert np.allclose(first / first.max(), last / last.max(), atol=0.02)
    scene.colour_by("lesion")
    first, last = (np.array(segment(scene, i).GetColor()) for i in (1, 40000))
    assert not np.allclose(first / first.max(), last / last.max(), atol=0.1)


EDITS = {
    "relabel": lambda lesions: edits.relabel(lesions, [1, 3], LesionType.MS),
    "reject": lambda lesions: edits.reject(lesions, [2]),
    "note": lambda lesions: edits.annotate(lesions, [2], "a|b: c; \u00e9\n%7C"),
    "split": lambda lesions: edits.split_k(lesions, 40000, 3),
    "merge": lambda lesions: edits.merge(lesions, [1, 3]),
    "delete": lambda lesions: edits.delete(lesions, [1]),
    "add": lambda lesions: edits.add(lesions, np.indices(SHAPE)[0] > 27, LesionType.MS),
    "redraw": lambda lesions: edits.redraw(lesions, 1, np.indices(SHAPE)[0] < 6),
    "grow": lambda lesions: edits.grow(lesions, 1, 3.0),
}


@pytest.mark.parametrize("name", EDITS)
def test_the_view_equals_the_master_after_an_edit_and_its_undoing(scene: LesionScene, name: str) -> None:
    before = scene.lesions.ids.copy()
    change = make(scene, EDITS[name](scene.lesions))
    assert_shows_the_master(scene)
    scene.lesions.revert(change)
    scene.push(change)
    assert_shows_the_master(scene)
    assert np.array_equal(shown(scene.node, scene.flair), before)


def test_one_layer_remains_after_fifty_mixed_edits(scene: LesionScene) -> None:
    rng = random.Random(0)
    done: list[Change] = []
    pushed = 0
    while pushed < 50:
        if done and rng.random() < 0.3:
            change = done.pop()
            scene.lesions.revert(change)
        else:
            try:
                change = random_edit(scene.lesions, rng)
            except InputError:  # this lesion is too small to split, or has that type already
                continue
            scene.lesions.apply(change)
            done.append(change)
        scene.push(change)
        pushed += 1
        assert layers(scene) == 1
    assert_shows_the_master(scene)


def random_edit(lesions: LesionMap, rng: random.Random) -> Change:
    one, *rest = rng.sample(sorted(lesions.records), min(2, len(lesions.records)))
    kinds = {
        "relabel": lambda: edits.relabel(lesions, [one], rng.choice(list(LesionType))),
        "reject": lambda: edits.reject(lesions, [one]),
        "restore": lambda: edits.restore(lesions, [one]),
        "split": lambda: edits.split_k(lesions, one, 2),
        "merge": lambda: edits.merge(lesions, [one, *rest]),
        "grow": lambda: edits.grow(lesions, one, 1.0),
        "shrink": lambda: edits.shrink(lesions, one, 1.0),
    }
    return kinds[rng.choice(list(kinds))]()


def test_a_push_touches_the_edited_segments_alone_in_one_event(scene: LesionScene) -> None:
    events: list[str] = []
    scene.node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: events.append("node"))
    scene.node.GetDisplayNode().AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: events.append("display"))
    times = {i: segment(scene, i).GetMTime() for i in scene.lesions.records}
    make(scene, edits.relabel(scene.lesions, [1, 3], LesionType.LESION))
    changed = [i for i in scene.lesions.records if segment(scene, i).GetMTime() != times[i]]
    assert changed == [1, 3]
    assert events.count("node") <= 1 and events.count("display") <= 1


def test_surfaces_of_edited_lesions_go_and_the_others_stay(scene: LesionScene) -> None:
    scene.node.GetSegmentation().CreateRepresentation(SURFACE)
    make(scene, edits.grow(scene.lesions, 1, 3.0))
    assert segment(scene, 1).GetRepresentation(SURFACE) is None
    assert segment(scene, 40000).GetRepresentation(SURFACE).GetNumberOfPoints() > 0


def test_the_neighbours_are_dimmed_and_undimmed(scene: LesionScene) -> None:
    display = scene.node.GetDisplayNode()
    scene.emphasise([2])
    assert [display.GetSegmentOpacity2DFill(segment_id(i)) for i in (1, 2)] == [DIMMED, SEE_THROUGH]
    assert [display.GetSegmentOpacity2DOutline(segment_id(i)) for i in (1, 2)] == [DIMMED, 1]
    scene.emphasise([1, 3])
    outlines = [display.GetSegmentOpacity2DOutline(segment_id(i)) for i in (1, 2, 3, 40000)]
    assert outlines == [1, DIMMED, 1, DIMMED]
    make(scene, edits.split_k(scene.lesions, 40000, 2))
    assert display.GetSegmentOpacity2DFill("L40001") == DIMMED, "a new lesion is a neighbour too"
    scene.emphasise(None)
    assert {display.GetSegmentOpacity2DFill(segment_id(i)) for i in scene.lesions.records} == {1}


def test_the_voxels_are_looked_through_only_where_someone_painted(
    scene: LesionScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    painted = scene._view.painted
    monkeypatch.setattr(scene._view, "painted", lambda lesions: looked.append(1) or painted(lesions))
    make(scene, edits.grow(scene.lesions, 3, 3.0))
    assert scene.read_back() is None and looked == []
    paint(scene.node, 1, scene.lesions.ids == 1)
    assert scene.read_back() is None and looked == [1]


def test_a_place_is_that_of_the_lesion_shown_there(scene: LesionScene) -> None:
    lesions = scene.lesions
    for lesion_id, record in lesions.records.items():
        assert scene.lesion_at(record.centroid_ras_mm) == lesion_id
    r, a, s = lesions.records[2].centroid_ras_mm
    half_a_voxel = 0.49 * float(np.linalg.norm(lesions.affine[:3, 0]))
    assert scene.lesion_at((r + half_a_voxel, a, s)) == 2
    assert scene.lesion_at((r, a + 1000, s)) is None, "outside of the volume"
    assert scene.lesion_at(tuple(lesions.affine[:3, 3])) is None, "outside of all lesions"
    make(scene, edits.reject(lesions, [2]))
    assert scene.lesion_at((r, a, s)) is None, "a rejected lesion is not shown"


def test_an_edit_after_slicer_rearranged_the_layers_puts_them_back(scene: LesionScene) -> None:
    scene.node.GetSegmentation().SeparateSegmentLabelmap("L0001")
    scene.node.GetSegmentation().CollapseBinaryLabelmaps(False)  # renumbers the labels
    make(scene, edits.merge(scene.lesions, [1, 2]))
    assert_shows_the_master(scene)


@pytest.mark.parametrize("way", ["deleted", "closed"])
def test_removing_the_node_does_not_search_the_labelmap_for_every_segment(
    application: Application, scene: LesionScene, way: str
) -> None:
    """Slicer clears each removed segment's voxels, one pass a segment: minutes, were they still attached."""
    node = scene.node  # outlives its scene here, so that what became of it can be seen
    image = node.GetSegmentation().GetLayerDataObject(0, BINARY)
    if way == "deleted":
        slicer.mrmlScene.RemoveNode(node)
    else:
        application.scene.Clear(0)
    node.GetSegmentation().RemoveAllSegments()
    assert np.array_equal(array_of(image), boxes()), "no voxel was cleared"
    observed = application.scene.HasObserver(application.scene.NodeAboutToBeRemovedEvent)
    assert not observed


def test_very_many_lesions_are_a_label_volume_with_a_colour_table(crowd: LesionScene) -> None:
    assert crowd.node.IsA("vtkMRMLLabelMapVolumeNode")
    colours = crowd.node.GetDisplayNode().GetColorNode()
    for plan in (
        lambda lesions: edits.relabel(lesions, [7], LesionType.STROKE),
        lambda lesions: edits.split_k(lesions, 9, 2),
        lambda lesions: edits.merge(lesions, [11, 12]),
        lambda lesions: edits.reject(lesions, [14]),
    ):
        make(crowd, plan(crowd.lesions))
        assert np.array_equal(slicer.util.arrayFromVolume(crowd.node).T, crowd.lesions.ids)
    rgba = [0.0] * 4
    for lesion_id in (1, 7, 11, crowd.lesions.next_id - 1):
        record = crowd.lesions.records[lesion_id]
        assert colours.GetColor(lesion_id, rgba)
        assert rgba == pytest.approx([*colour(record, "type"), 1], abs=0.01)
        assert colours.GetColorName(lesion_id) == f"{segment_id(lesion_id)} {record.type.label}"
    assert colours.GetColor(14, rgba) and rgba[3] == 0, "rejected"
    assert colours.GetColor(12, rgba) and rgba[3] == 0, "gone"
    crowd.emphasise([1])
    assert colours.GetColor(2, rgba) and rgba[3] == pytest.approx(DIMMED, abs=0.01)


def test_lesions_of_another_flair_are_refused(application: Application) -> None:
    flair = application.add_volume(np.zeros(SHAPE, np.int16), affine((1, 1, 1)))
    with pytest.raises(InputError, match="not on this FLAIR's grid"):
        LesionScene.show(lesion_map(boxes(), affine()), flair)
