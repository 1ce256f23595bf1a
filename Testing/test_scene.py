"""The lesions in a real MRML scene: shown, pushed, painted on, saved and found again."""

from __future__ import annotations

import random
from dataclasses import replace
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
from scipy.spatial.transform import Rotation

from LesionSegmenterLib import edits
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import Change, LesionMap
from LesionSegmenterLib.lesions_tsv import read_lesions_tsv, write_lesions_tsv
from LesionSegmenterLib.measure import measure_lesions
from LesionSegmenterLib.scene import MOST_SEGMENTS, LesionScene
from LesionSegmenterLib.scene_grid import array_of
from LesionSegmenterLib.scene_io import BINARY
from LesionSegmenterLib.scene_nodes import journal_of_scene
from LesionSegmenterLib.scene_tags import colour, segment_id, terminology
from LesionSegmenterLib.scene_view import DIMMED, SEE_THROUGH, SURFACE
from scene_cases import SHAPE, TYPES, affine, boxes, lesion_map, paint, paint_segment, shown
from slicer_scene import Application


@pytest.fixture
def application(tmp_path: Path) -> Application:
    return Application(tmp_path)


@pytest.fixture
def scene(application: Application) -> LesionScene:
    flair = application.add_volume(np.zeros(SHAPE, np.int16), affine())
    return LesionScene.show(lesion_map(boxes(), affine()), flair)


def layers(scene: LesionScene) -> int:
    return scene.node.GetSegmentation().GetNumberOfLayers(BINARY)


def make(scene: LesionScene, change: Change) -> Change:
    """What a session does: change the map, then show the change."""
    scene.lesions.apply(change)
    scene.push(change)
    return change


def segment(scene: LesionScene, lesion_id: int) -> Any:
    return scene.node.GetSegmentation().GetSegment(segment_id(lesion_id))


def tag(scene: LesionScene, lesion_id: int, name: str) -> str:
    text = vtk.reference("")
    assert segment(scene, lesion_id).GetTag(name, text)
    return str(text)


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


def assert_shows_the_master(scene: LesionScene) -> None:
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


def test_slicer_knows_that_an_edited_segmentation_is_to_be_saved(
    application: Application, scene: LesionScene, tmp_path: Path
) -> None:
    application.save(tmp_path / "case" / "case.mrml")
    assert not scene.node.GetModifiedSinceRead()
    make(scene, edits.split_k(scene.lesions, 40000, 2))
    assert scene.node.GetModifiedSinceRead()


def many(count: int) -> LesionMap:
    """Lesions of two voxels each, on a grid of 30x26x14."""
    ids = np.zeros(SHAPE[::-1], np.int32).T
    places = np.argwhere(np.indices(SHAPE).sum(axis=0) % 4 == 0)
    i, j, k = places[places[:, 0] % 3 == 0][:count].T
    ids[i, j, k] = ids[i + 1, j, k] = np.arange(1, count + 1)
    return lesion_map(ids, affine())


@pytest.fixture
def crowd(application: Application) -> LesionScene:
    flair = application.add_volume(np.zeros(SHAPE, np.int16), affine())
    return LesionScene.show(many(MOST_SEGMENTS + 20), flair)


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


@pytest.mark.parametrize("kind", ["scene", "crowd"])
@pytest.mark.parametrize("file", ["case.mrb", "case/case.mrml"])
def test_a_saved_scene_keeps_everything(
    application: Application, tmp_path: Path, request: pytest.FixtureRequest, kind: str, file: str
) -> None:
    saved: LesionScene = request.getfixturevalue(kind)
    make(saved, edits.relabel(saved.lesions, [1], LesionType.STROKE))
    make(saved, edits.annotate(saved.lesions, [1], "a|b: c; \u00e9\n%7C \\ \"x\" = 'y'"))
    make(saved, edits.reject(saved.lesions, [2]))
    make(saved, edits.merge(saved.lesions, [1, 3]))
    saved.colour_by("lesion")
    saved.remember_journal(tmp_path / "sub-1_desc-review_journal.bin", 2**40)
    before, lesions = dict(saved.lesions.records), saved.lesions
    application.save(tmp_path / file)

    application = Application(tmp_path / "again")
    application.load(tmp_path / file)
    restored = LesionScene.restore()
    assert restored is not None
    loaded, warnings = restored
    assert warnings == ()
    assert loaded.lesions.records == before
    assert np.array_equal(loaded.lesions.ids, lesions.ids)
    assert loaded.lesions.next_id == lesions.next_id
    assert loaded.journal == (tmp_path / "sub-1_desc-review_journal.bin", 2**40)
    assert loaded.colouring == "lesion"
    if kind == "scene":
        names = loaded.node.GetSegmentation().GetSegmentIDs()
        assert names == ("L0001", "L0002", "L40000")
        assert layers(loaded) == 1
        assert segment(loaded, 1).GetName() == "L0001 stroke"
        assert segment(loaded, 1).GetColor() == pytest.approx(colour(before[1], "lesion"), abs=1e-3)
        assert not loaded.node.GetDisplayNode().GetSegmentVisibility("L0002")
        assert np.array_equal(shown(loaded.node, loaded.flair), lesions.ids)


def test_a_rejected_lesion_without_voxels_survives_saving(
    application: Application, scene: LesionScene, tmp_path: Path
) -> None:
    make(scene, edits.reject(scene.lesions, [2]))
    make(scene, edits.redraw(scene.lesions, 1, np.isin(boxes(), [1, 2])))
    assert not scene.lesions.voxels(2).size
    application.save(tmp_path / "case.mrb")
    Application(tmp_path / "again").load(tmp_path / "case.mrb")
    restored = LesionScene.restore()
    assert restored is not None
    assert restored[0].lesions.records == scene.lesions.records


def test_records_as_a_table_rounds_them_are_not_measured_again(
    application: Application, tmp_path: Path
) -> None:
    turned = affine()
    turned[:3, :3] = turned[:3, :3] @ Rotation.from_euler("xyz", (7, 3, 5), degrees=True).as_matrix()
    ids = boxes()
    write_lesions_tsv(tmp_path / "lesions.tsv", measure_lesions(ids, turned, types=TYPES))
    records = read_lesions_tsv(tmp_path / "lesions.tsv")
    lesions = LesionMap.from_arrays(ids, turned, records)
    scene = LesionScene.show(lesions, application.add_volume(np.zeros(SHAPE, np.int16), turned))
    restored = LesionScene.restore()
    assert restored is not None
    assert restored[1] == ()
    assert restored[0].lesions.records == scene.lesions.records


def test_the_case_that_was_left_is_not_taken_for_the_one_that_was_opened_after_it(scene: LesionScene) -> None:
    scene.remember_journal(Path("left.bin"), 1)
    scene.leave()
    assert not scene.node.GetDisplayNode().GetVisibility()
    assert journal_of_scene() is None
    second = LesionScene.show(scene.lesions, scene.flair)
    second.remember_journal(Path("opened.bin"), 1)
    restored = LesionScene.restore()
    assert restored is not None
    assert restored[0].node is second.node
    assert journal_of_scene() == Path("opened.bin")


def test_a_scene_without_lesions_of_ours_has_nothing_to_restore(application: Application) -> None:
    application.add_volume(np.zeros(SHAPE, np.int16), affine())
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "somebody's")
    assert LesionScene.restore() is None


def test_a_damaged_record_is_refused_in_one_line(scene: LesionScene) -> None:
    segment(scene, 1).SetTag("LesionSegmenter.Record", "{")
    with pytest.raises(InputError, match="record is damaged"):
        LesionScene.restore()


def test_lesions_of_another_flair_are_refused(application: Application) -> None:
    flair = application.add_volume(np.zeros(SHAPE, np.int16), affine((1, 1, 1)))
    with pytest.raises(InputError, match="not on this FLAIR's grid"):
        LesionScene.show(lesion_map(boxes(), affine()), flair)


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


def test_the_record_of_a_segment_is_exact(scene: LesionScene) -> None:
    record = replace(
        scene.lesions.records[1], note="| ; : % \u2028 \x00", parents=(7, 8), type_confidence=1 / 3
    )
    scene.lesions.records[1] = record
    scene.refresh()
    from LesionSegmenterLib.scene_io import stated_record

    assert stated_record(segment(scene, 1)) == record
