"""A reviewed case: what a rater's copy holds, whose it is, and the session that comes back from it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesion_maps import lesion_map
from LesionSegmenterLib import edits
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.export import CaseData, CaseFiles, complete_subjects, read_case, write_case
from LesionSegmenterLib.image import NiftiWriter, Volume, read_labels
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import LesionMap
from LesionSegmenterLib.rater_copy import rater_folder, read_review, write_review
from LesionSegmenterLib.review import ReviewSession
from LesionSegmenterLib.snapshot import CaseState

AFFINE = np.array([[-0.9, 0, 0, 30], [0, 1.1, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1.0]])
SHAPE = (8, 6, 4)


def opening() -> LesionMap:
    """Lesion 1 has 12 voxels, 2 has 6, 3 has 4; with a probability map."""
    ids = np.zeros(SHAPE, np.int32)
    ids[0:4, 0:3, 0], ids[6:8, 0:3, 1], ids[0:2, 4:6, 3] = 1, 2, 3
    types = {1: LesionType.WMH, 2: LesionType.MS, 3: LesionType.WMH}
    chance = np.where(ids > 0, 0.75, 0.25).astype(np.float32)
    return lesion_map(ids, AFFINE, chance, types, {1: 0.5, 2: 0.75, 3: 0.9})


@pytest.fixture
def flair(tmp_path) -> Path:
    path = tmp_path / "flair.nii.gz"
    nib.save(nib.Nifti1Image(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), AFFINE), path)
    return path


def session(folder: Path, rater: str = "Ada", lesions: LesionMap | None = None) -> ReviewSession:
    return ReviewSession.open(opening() if lesions is None else lesions, folder / "journals", rater, "P1")


def reviewed(folder: Path, rater: str = "Ada") -> ReviewSession:
    """Lesion 1 split into 4 and 5, which is deleted again; 2 rejected; 3 another type, with a note."""
    made = session(folder, rater)
    made.do("Split", edits.split_k(made.lesions, 1, 2), "in k parts")
    made.do("Delete", edits.delete(made.lesions, [5]))
    made.do("Reject", edits.reject(made.lesions, [2]))
    made.do("Relabel", edits.relabel(made.lesions, [3], LesionType.STROKE))
    made.do("Note", edits.annotate(made.lesions, [3], 'old?\tsee "T1"\nÄ'))
    return made


def export(made: ReviewSession, out: Path, flair: Path, subject: str = "P1", **more: Any) -> dict[str, Path]:
    writer = NiftiWriter(read_labels(flair))
    return write_review(made, out, subject, writer, flair, **more)


def back(case: CaseFiles) -> LesionMap:
    volume = read_labels(case.paths["instances"])
    return read_review(case, volume.array, volume.affine)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What the copy holds


def test_a_raters_copy_is_a_case_folder_of_the_contract_in_a_folder_of_the_raters(tmp_path, flair):
    export(reviewed(tmp_path, "Dr. Ada Müller-Q 2"), tmp_path / "out", flair, qc_png=b"picture")
    assert sorted(everything(tmp_path / "out")) == [
        "rater-DrAdaMullerQ2/dataset_description.json",
        "rater-DrAdaMullerQ2/sub-P1/anat/sub-P1_desc-instance_dseg.nii.gz",
        "rater-DrAdaMullerQ2/sub-P1/anat/sub-P1_desc-lesion_probseg.nii.gz",
        "rater-DrAdaMullerQ2/sub-P1/anat/sub-P1_desc-lesions.json",
        "rater-DrAdaMullerQ2/sub-P1/anat/sub-P1_desc-lesions.tsv",
        "rater-DrAdaMullerQ2/sub-P1/anat/sub-P1_desc-qc.png",
        "rater-DrAdaMullerQ2/sub-P1/anat/sub-P1_desc-type_dseg.nii.gz",
    ]


def test_rejected_lesions_stay_in_the_table_and_have_no_voxels(tmp_path, flair):
    made = reviewed(tmp_path)
    case = read_case(export(made, tmp_path / "out", flair)["sidecar"].parents[1])
    assert [(record.lesion_id, record.status) for record in case.records] == [
        (2, "rejected"),
        (3, "edited"),
        (4, "edited"),
    ]
    instances, types = (read_labels(case.paths[name]).array for name in ("instances", "types"))
    assert set(np.unique(instances)) == {0, 3, 4} and 2 in made.lesions.ids
    assert set(np.unique(types[instances == 3])) == {LesionType.STROKE}
    np.testing.assert_array_equal(types > 0, instances > 0)


def test_the_sidecar_names_rater_history_seconds_and_notes_and_keeps_the_model(tmp_path, flair):
    made = reviewed(tmp_path)
    origin = {
        "model": {"name": "uresnet-flair"},
        "scan_type": "WMH",
        "flair": {"path": "elsewhere"},
        "notes": {"4": "stale"},
        "reviewed": False,
    }
    content = json.loads(export(made, tmp_path / "out", flair, origin=origin)["sidecar"].read_text())
    assert content["model"] == {"name": "uresnet-flair"} and content["flair"]["path"] == str(flair)
    assert content["rater"] == "Ada" and content["seconds_spent"] == made.progress().seconds
    names = ["Begin the review", "Split", "Delete", "Reject", "Relabel", "Note"]
    assert [action["name"] for action in content["history"]] == names
    assert set(content["seconds_by_lesion"]) == {"1", "2", "3", "5"}
    assert content["notes"] == {"3": 'old?\tsee "T1"\nÄ'}
    assert content["reviewed"] is True and content["next_id"] == 6
    totals = {record.type.label: record.volume_mm3 for record in made.lesions.records.values()}
    del totals["MS"]  # rejected
    assert content["scan_type"] == max(totals, key=lambda kind: totals[kind])


def test_a_case_with_a_proposed_lesion_left_is_not_reviewed(tmp_path, flair):
    made = session(tmp_path)
    made.do("Accept", edits.accept(made.lesions, [1, 2]))
    path = export(made, tmp_path / "out", flair)["sidecar"]
    assert json.loads(path.read_text())["reviewed"] is False
    made.do("Accept", edits.accept(made.lesions, [3]))
    export(made, tmp_path / "out", flair)
    assert json.loads(path.read_text())["reviewed"] is True


# Whose it is


def test_a_rater_replaces_the_own_copy_and_leaves_the_others_as_they_are(tmp_path, flair):
    out = tmp_path / "out"
    export(session(tmp_path / "ben", "Ben"), out, flair)
    bens = everything(out / "rater-Ben")
    made = session(tmp_path / "ada")
    path = export(made, out, flair)["instances"]
    made.do("Reject", edits.reject(made.lesions, [1]))
    export(made, out, flair)
    assert 1 not in read_labels(path).array
    assert everything(out / "rater-Ben") == bens


@pytest.mark.parametrize("other", ["A da", "ADA", "Åda", "Ada."])
def test_two_raters_whose_names_are_alike_are_refused_before_anything_is_written(tmp_path, flair, other):
    out = tmp_path / "out"
    export(session(tmp_path / "one"), out, flair)
    before = everything(out)
    with pytest.raises(
        InputError, match=r"rater-Ada: this folder holds cases of 'Ada'.*differs in its letters"
    ):
        export(session(tmp_path / "two", other), out, flair, subject="P2")
    assert everything(out) == before


def test_a_name_is_one_however_its_accents_and_spaces_are_stored(tmp_path, flair):
    out = tmp_path / "out"
    first = export(session(tmp_path / "one", "Zoë  Q"), out, flair)
    assert export(session(tmp_path / "two", "Zoe\u0308 Q"), out, flair) == first


def test_a_copy_of_another_rater_is_seen_behind_ones_own(tmp_path, flair):
    out = tmp_path / "out"
    export(session(tmp_path / "one"), out, flair)
    path = export(session(tmp_path / "two"), out, flair, subject="P2")["sidecar"]
    path.write_text(path.read_text().replace('"rater": "Ada"', '"rater": "Ben"'))
    with pytest.raises(InputError, match="cases of 'Ben'"):
        rater_folder(out, "Ada")


def test_cases_that_no_rater_made_are_not_replaced(tmp_path, flair):
    types, ids = opening().exported()
    data = CaseData("P1", types, ids, None, list(opening().records.values()), {})
    write_case(tmp_path / "out" / "rater-Ada", data, NiftiWriter(read_labels(flair)), flair)
    with pytest.raises(InputError, match="cases of no rater"):
        export(session(tmp_path), tmp_path / "out", flair)


@pytest.mark.parametrize("content", ["", "[]"])
def test_a_case_whose_rater_cannot_be_read_is_not_replaced(tmp_path, flair, content):
    made = session(tmp_path)
    export(made, tmp_path / "out", flair)["sidecar"].write_text(content)
    with pytest.raises(InputError, match="sidecar is damaged"):
        export(made, tmp_path / "out", flair)


def test_a_name_without_a_latin_letter_or_digit_is_refused(tmp_path):
    with pytest.raises(InputError, match="no letter A-Z"):
        rater_folder(tmp_path, "李")


def test_the_raters_folders_hide_no_case_of_the_folder_they_stand_in(tmp_path, flair):
    export(session(tmp_path), tmp_path / "out", flair)
    assert complete_subjects(tmp_path / "out") == []
    assert complete_subjects(rater_folder(tmp_path / "out", "Ada")) == ["P1"]


# The session that comes back


def test_import_back_gives_the_same_lesions_and_the_next_id(tmp_path, flair):
    made = reviewed(tmp_path)
    case = read_case(export(made, tmp_path / "out", flair)["sidecar"].parents[1])
    lesions = back(case)
    np.testing.assert_array_equal(lesions.ids, made.lesions.exported()[1])
    assert lesions.next_id == made.lesions.next_id == 6  # although 5 is gone from table and image
    assert lesions.records.keys() == made.lesions.records.keys()
    for lesion_id, record in made.lesions.records.items():
        again = lesions.records[lesion_id]
        for name in ("type", "status", "note", "parents", "voxels"):
            assert getattr(again, name) == getattr(record, name)
        assert again.volume_mm3 == pytest.approx(record.volume_mm3, abs=1e-3)


def test_the_session_of_an_imported_copy_resumes_with_undo_and_rejected_voxels(tmp_path, flair):
    made = reviewed(tmp_path)
    case = read_case(export(made, tmp_path / "out", flair)["sidecar"].parents[1])
    resumed = session(tmp_path, lesions=back(case))
    np.testing.assert_array_equal(resumed.lesions.ids, made.lesions.ids)
    assert resumed.lesions.records == made.lesions.records
    assert resumed.undo_name == "Note" and resumed.lesions.next_id == 6


def test_another_rater_begins_anew_from_a_copy_and_no_id_is_given_twice(tmp_path, flair):
    case = read_case(export(reviewed(tmp_path), tmp_path / "out", flair)["sidecar"].parents[1])
    bens = session(tmp_path / "ben", "Ben", back(case))
    bens.do("Split", edits.split_k(bens.lesions, 4, 2))
    assert set(bens.lesions.records) == {2, 3, 6, 7}
    again = read_case(export(bens, tmp_path / "out", flair, origin=case.sidecar)["sidecar"].parents[1])
    assert again.sidecar["rater"] == "Ben" and again.records[1].note == 'old?\tsee "T1"\nÄ'
    assert again.records[0].status == "rejected" and again.records[2].parents == (4,)


def test_a_table_that_does_not_fit_its_image_is_named(tmp_path, flair):
    case = read_case(export(reviewed(tmp_path), tmp_path / "out", flair)["sidecar"].parents[1])
    volume = read_labels(case.paths["instances"])
    volume.array[volume.array == 4] = 0
    with pytest.raises(InputError, match=r"desc-lesions\.tsv: lesion 4 has 0 voxels"):
        read_review(case, volume.array, volume.affine)


@pytest.mark.parametrize(
    "damage", [{"notes": []}, {"notes": {"x": "y"}}, {"notes": {"1": 2}}, {"next_id": "6"}]
)
def test_a_sidecar_with_unusable_notes_or_next_id_is_damaged(tmp_path, flair, damage):
    path = export(reviewed(tmp_path), tmp_path / "out", flair)["sidecar"]
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(InputError, match="sidecar is damaged"):
        read_case(path.parents[1])


def test_a_case_without_notes_and_next_id_is_read_as_before(tmp_path, flair):
    path = export(session(tmp_path), tmp_path / "out", flair)["sidecar"]
    content = json.loads(path.read_text())
    del content["notes"], content["next_id"]
    path.write_text(json.dumps(content))
    assert back(read_case(path.parents[1])).next_id == 4


kinds, statuses = st.sampled_from(LesionType), st.sampled_from(["proposed", "accepted", "rejected", "edited"])


@settings(deadline=None, max_examples=25)
@given(
    st.dictionaries(st.integers(1, 6), st.tuples(kinds, statuses, st.text(max_size=8)), min_size=1),
    st.integers(1, 20),
)
def test_any_case_comes_back_from_its_folder_as_it_was(tmp_path_factory, said, next_id):
    folder = tmp_path_factory.mktemp("case")
    ids = np.zeros((8, 2, 2), np.int32)
    for lesion_id in said:
        ids[lesion_id, 0, :] = lesion_id
    first = lesion_map(ids, AFFINE)
    for lesion_id, (kind, status, note) in said.items():
        record = replace(
            first.records[lesion_id], type=kind, status=status, note=note, parents=(lesion_id + 7,)
        )
        first.records[lesion_id] = record
    first.next_id = max(next_id, 14)
    volume = Volume.from_array(ids.copy(), AFFINE)
    nib.save(nib.Nifti1Image(ids.astype(np.int16), AFFINE), folder / "flair.nii")
    types, instances = first.exported()
    data = CaseData("A", types, instances, None, list(first.records.values()), {"next_id": first.next_id})
    write_case(folder, data, NiftiWriter(volume), folder / "flair.nii")
    again = back(read_case(folder))
    assert CaseState.of(again).same_as(CaseState.of(first)) and again.next_id == first.next_id
    for lesion_id, record in first.records.items():
        for name in ("type", "status", "note", "parents"):
            assert getattr(again.records[lesion_id], name) == getattr(record, name)
