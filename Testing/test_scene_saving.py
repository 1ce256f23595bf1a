"""The lesions of a saved scene are found again, every one as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip(
    "slicer",
    reason="slicer-core is not installed, or a library it needs: pip install slicer-core==5.12.4.0",
    exc_type=ImportError,
)

import slicer
import slicer.util
from scipy.spatial.transform import Rotation

from LesionSegmenterLib import edits
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import LesionMap
from LesionSegmenterLib.lesions_tsv import read_lesions_tsv, write_lesions_tsv
from LesionSegmenterLib.measure import measure_lesions
from LesionSegmenterLib.scene.lesion_scene import LesionScene
from LesionSegmenterLib.scene.nodes import journal_of_scene
from LesionSegmenterLib.scene.tags import colour
from scene_cases import SHAPE, TYPES, affine, boxes, layers, make, segment, shown
from slicer_scene import Application


def test_slicer_knows_that_an_edited_segmentation_is_to_be_saved(
    application: Application, scene: LesionScene, tmp_path: Path
) -> None:
    application.save(tmp_path / "case" / "case.mrml")
    assert not scene.node.GetModifiedSinceRead()
    make(scene, edits.split_k(scene.lesions, 40000, 2))
    assert scene.node.GetModifiedSinceRead()


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


def test_the_record_of_a_segment_is_exact(scene: LesionScene) -> None:
    record = replace(
        scene.lesions.records[1], note="| ; : % \u2028 \x00", parents=(7, 8), type_confidence=1 / 3
    )
    scene.lesions.records[1] = record
    scene.refresh()
    from LesionSegmenterLib.scene.io import stated_record

    assert stated_record(segment(scene, 1)) == record
