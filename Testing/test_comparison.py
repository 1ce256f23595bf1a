"""Two raters' lesions compared, and `lesion-segmenter compare`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lesion_maps import done, lesion_map
from LesionSegmenterLib import edits
from LesionSegmenterLib.cli import main
from LesionSegmenterLib.comparison import compare_raters
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.export import CaseData, case_paths, write_case
from LesionSegmenterLib.image import NiftiWriter, read_labels
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import LesionMap
from LesionSegmenterLib.measure import Totals

WMH, STROKE, MS, LESION = LesionType
AFFINE = np.array([[-1.0, 0, 0, 30], [0, 2, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])  # voxels of 6 mm3


def ada() -> LesionMap:
    """1 (WMH, 10 voxels), 2 (MS, 4), 3 (MS, 4) and 4 (WMH, 2) along i."""
    ids = np.zeros((40, 3, 2), np.int32)
    ids[0:10, 0, 0], ids[12:16, 0, 0], ids[18:22, 0, 0], ids[25:27, 0, 0] = 1, 2, 3, 4
    return lesion_map(ids, AFFINE, types={1: WMH, 2: MS, 3: MS, 4: WMH})


def ben() -> LesionMap:
    """Ada's 1 as two, 6 (WMH, 7 voxels) and 5 (WMH, 3); her 2 the same; her 3 as a stroke, one voxel on."""
    ids = np.zeros((40, 3, 2), np.int32)
    ids[0:7, 0, 0], ids[7:10, 0, 0], ids[12:16, 0, 0], ids[19:23, 0, 0], ids[30:33, 2, 1] = 6, 5, 2, 3, 9
    return lesion_map(ids, AFFINE, types={6: WMH, 5: WMH, 2: MS, 3: STROKE, 9: WMH})


# Figures


def test_two_raters_are_compared_by_hand():
    found = compare_raters(ada(), ben())
    assert found.dice == pytest.approx(2 * (10 + 4 + 3) / (20 + 21))
    assert found.dice_by_type == pytest.approx({WMH: 2 * 10 / (12 + 13), STROKE: 0, MS: 2 * 4 / (8 + 4)})
    assert list(found.dice_by_type) == [WMH, STROKE, MS]
    assert (found.totals_a, found.totals_b) == (Totals(4, 0.12), Totals(5, 0.126))
    assert found.totals_by_type[STROKE] == (Totals(0, 0), Totals(1, 0.024))
    assert [(pair.a.lesion_id, pair.b.lesion_id, pair.iou) for pair in found.pairs] == [
        (1, 6, 0.7),
        (2, 2, 1.0),
        (3, 3, 0.6),
    ]
    assert [pair.dice for pair in found.pairs] == pytest.approx([14 / 17, 1, 0.75])
    assert found.lesion_dice == pytest.approx((14 / 17 + 1 + 0.75) / 3)
    assert [pair.a.lesion_id for pair in found.type_disagreements] == [3]


def test_a_lesion_of_one_rater_is_told_from_a_part_of_what_the_other_drew():
    found = compare_raters(ada(), ben())
    assert [(each.lesion.lesion_id, each.covered) for each in found.only_a] == [(4, 0.0)]
    assert [(each.lesion.lesion_id, each.covered) for each in found.only_b] == [(5, 1.0), (9, 0.0)]


def test_rejected_lesions_do_not_count_whether_they_have_voxels_or_not():
    a, b = ada(), ada()
    done(a, edits.reject(a, [1, 4]))
    without = compare_raters(a, b)
    assert without.totals_a == Totals(2, 0.048) and without.dice == pytest.approx(2 * 8 / (8 + 20))
    ids = a.exported()[1]
    exported = LesionMap.from_arrays(ids, AFFINE, a.records)
    again = compare_raters(exported, b)
    assert again == without


@pytest.mark.parametrize(("of_b", "needed"), [(17, False), (16, True)])
def test_a_dice_under_0_85_needs_a_consensus(of_b, needed):
    ids_a, ids_b = np.zeros((30, 1, 1), np.int32), np.zeros((30, 1, 1), np.int32)
    ids_a[:23], ids_b[:of_b] = 1, 1  # 17 of 23 voxels: 34/40 = 0.85 exactly
    found = compare_raters(lesion_map(ids_a), lesion_map(ids_b))
    assert found.dice == pytest.approx(2 * of_b / (23 + of_b)) and found.needs_consensus is needed


def test_two_raters_without_lesions_agree():
    nothing = lesion_map(np.zeros((4, 4, 4), np.int32))
    found = compare_raters(nothing, nothing)
    assert found.dice == 1.0 and not found.needs_consensus
    assert found.dice_by_type == {} and found.pairs == [] and found.lesion_dice is None


def test_maps_of_different_shapes_are_refused():
    with pytest.raises(InputError, match="not on one 3D grid"):
        compare_raters(ada(), lesion_map(np.ones((2, 2, 2), np.int32)))


images = hnp.arrays(np.int32, (6, 5, 2), elements=st.sampled_from([0, 0, 0, 1, 2, 3, 7]))


@settings(deadline=None, max_examples=60)
@given(images, images)
def test_every_lesion_is_counted_once_and_raters_swapped_agree_as_much(ids_a, ids_b):
    types = {1: WMH, 2: MS, 3: MS, 7: STROKE}
    a, b = (lesion_map(ids, types=types) for ids in (ids_a, ids_b))
    found, swapped = compare_raters(a, b), compare_raters(b, a)
    assert found.dice == swapped.dice and found.dice_by_type == swapped.dice_by_type
    assert (found.totals_a, found.totals_b) == (swapped.totals_b, swapped.totals_a)
    for own, pairs, alone in (
        (a, [pair.a for pair in found.pairs], found.only_a),
        (b, [pair.b for pair in found.pairs], found.only_b),
    ):
        assert sorted(r.lesion_id for r in [*pairs, *(each.lesion for each in alone)]) == list(own.records)
    for pair in found.pairs:
        one, two = ids_a == pair.a.lesion_id, ids_b == pair.b.lesion_id
        assert pair.iou == (one & two).sum() / (one | two).sum() > 0.1
    for each in found.only_a:
        lesion = ids_a == each.lesion.lesion_id
        assert each.covered == (lesion & (ids_b > 0)).sum() / lesion.sum()


@settings(deadline=None, max_examples=20)
@given(images)
def test_a_rater_agrees_fully_with_the_same_lesions_under_other_ids(ids):
    a, b = lesion_map(ids), lesion_map(np.where(ids, 10 - ids, 0))
    found = compare_raters(a, b)
    assert found.dice == 1 and not found.only_a and not found.only_b
    assert all(pair.iou == 1 and pair.b.lesion_id == 10 - pair.a.lesion_id for pair in found.pairs)


# lesion-segmenter compare


@pytest.fixture
def flair(tmp_path) -> Path:
    path = tmp_path / "flair.nii.gz"
    array = np.arange(40 * 3 * 2, dtype=np.int16).reshape(40, 3, 2)
    nib.save(nib.Nifti1Image(array, AFFINE), path)
    return path


def save(out: Path, subject: str, lesions: LesionMap, flair: Path, **sidecar: Any) -> Path:
    types, ids = lesions.exported()
    data = CaseData(subject, types, ids, None, list(lesions.records.values()), sidecar)
    write_case(out, data, NiftiWriter(read_labels(flair)), flair)
    return out / f"sub-{subject}"


@pytest.fixture
def raters(tmp_path, flair) -> tuple[Path, Path]:
    """One case of Ada's and of Ben's."""
    folders = tmp_path / "rater-Ada", tmp_path / "rater-Ben"
    save(folders[0], "01", ada(), flair, rater="Ada")
    save(folders[1], "01", ben(), flair, rater="Ben")
    return folders


def compare(*arguments: str | Path) -> int:
    return main(["compare", *map(str, arguments)])


def refused(capsys, *arguments: str | Path, words: str) -> None:
    assert compare(*arguments) == 2
    line = capsys.readouterr().err
    assert line.startswith("lesion-segmenter: ") and line.count("\n") == 1 and words in line


def lines(capsys) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_compare_prints_what_the_raters_of_a_case_differ_in(raters, capsys):
    assert compare(*raters) == 0
    said = lines(capsys)
    assert said[0] == f"rater A: Ada ({raters[0]})" and said[1] == f"rater B: Ben ({raters[1]})"
    for line in (
        "sub-01",
        "all 4 0.120 5 0.126 0.829",
        "WMH 2 0.072 3 0.078 0.800",
        "stroke 0 0.000 1 0.024 0.000",
        "MS 2 0.048 1 0.024 0.667",
        "3 lesions in both, mean Dice 0.858",
        "types differ: L0003 MS of A, L0003 stroke of B",
        "1 lesion only in A",
        "L0004 WMH, 0.012 ml",
        "2 lesions only in B",
        "L0005 WMH, 0.018 ml, 100% of it in lesions of A",
        "L0009 WMH, 0.018 ml",
        "Dice is under 0.85: go over this case together until it is not",
    ):
        assert line in said


def test_compare_writes_every_figure_and_a_row_a_lesion(raters, tmp_path):
    assert compare(*raters, "--json", tmp_path / "c.json", "--tsv", tmp_path / "c.tsv") == 0
    content = json.loads((tmp_path / "c.json").read_text())
    assert content["raters"] == {"a": ["Ada"], "b": ["Ben"]} and content["consensus_dice"] == 0.85
    case = content["cases"]["01"]
    assert case["dice"] == pytest.approx(34 / 41) and case["needs_consensus"] is True
    assert list(case["by_type"]) == ["all", "WMH", "stroke", "MS"]
    assert case["by_type"]["MS"]["dice"] == pytest.approx(2 / 3)
    assert case["by_type"]["all"]["volume_b_ml"] == pytest.approx(0.126)
    assert (case["matched"], case["only_a"], case["only_b"], case["type_disagreements"]) == (3, 1, 2, 1)
    with (tmp_path / "c.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [(row["lesion_a"], row["lesion_b"]) for row in rows] == [
        ("1", "6"),
        ("2", "2"),
        ("3", "3"),
        ("4", "n/a"),
        ("n/a", "5"),
        ("n/a", "9"),
    ]
    assert list(rows[2].values()) == ["01", "3", "3", "MS", "stroke", "24.0", "24.0", "0.6", "0.75", "n/a"]
    assert list(rows[4].values()) == ["01", "n/a", "5", "n/a", "WMH", "n/a", "18.0", "n/a", "n/a", "1.0"]
    assert len(case["lesions"]) == 6 and case["lesions"][3]["lesion_b"] is None


def test_folders_of_cases_are_matched_by_subject(raters, tmp_path, flair, capsys):
    for subject in ("02", "03"):
        save(raters[0], subject, ada(), flair, rater="Ada")
    for subject in ("02", "04"):
        save(raters[1], subject, ada(), flair, rater="Ben")
    assert compare(*raters, "--json", tmp_path / "c.json") == 0
    assert list(json.loads((tmp_path / "c.json").read_text())["cases"]) == ["01", "02"]
    told = capsys.readouterr()
    assert f"only in {raters[0]}: 03" in told.err and f"only in {raters[1]}: 04" in told.err
    said = [" ".join(line.split()) for line in told.out.splitlines()]
    assert "sub-01 0.120 0.126 0.829 3 1 2 1 consensus needed" in said
    assert "sub-02 0.120 0.120 1.000 4 0 0 0" in said
    assert said[-1] == "Dice is under 0.85: go over 1 of 2 cases (01) together until it is not"


def test_one_case_of_a_folder_can_be_named(raters, flair, capsys):
    save(raters[0], "02", ada(), flair)
    save(raters[1], "02", ada(), flair)
    assert compare(raters[0] / "sub-02", raters[1]) == 0
    told = capsys.readouterr()
    assert told.err == "" and "sub-02" in told.out and "sub-01" not in told.out
    assert "rater A: no rater named" in told.out and "no consensus is needed" in told.out


def test_the_order_in_which_the_files_store_the_voxels_does_not_matter(raters, tmp_path, flair, capsys):
    turned = np.array([[0, 1, 0, -9], [2, 0, 0, -20], [0, 0, -3, 8], [0, 0, 0, 1.0]])  # axes A, R, I
    array = np.asarray(nib.load(flair).dataobj)[::-1, :, ::-1].transpose(1, 0, 2)
    nib.save(nib.Nifti1Image(array, turned), tmp_path / "turned.nii.gz")
    ids = ben().ids[::-1, :, ::-1].transpose(1, 0, 2)
    kinds = {lesion_id: record.type for lesion_id, record in ben().records.items()}
    save(raters[1], "01", lesion_map(ids, turned, types=kinds), tmp_path / "turned.nii.gz")
    assert compare(*raters) == 0
    told = capsys.readouterr()
    assert "0.829" in told.out and "L0005 WMH" in told.out
    assert "different FLAIR files" in told.err


def test_cases_on_other_grids_are_refused(raters, tmp_path, flair, capsys):
    moved = AFFINE.copy()
    moved[0, 3] += 0.5
    nib.save(nib.Nifti1Image(np.asarray(nib.load(flair).dataobj), moved), tmp_path / "moved.nii.gz")
    save(raters[1], "01", ben(), tmp_path / "moved.nii.gz")
    refused(capsys, *raters, words=f"not on the grid of {raters[0]}")


def test_folders_that_cannot_be_compared_are_refused_in_a_line(raters, tmp_path, flair, capsys):
    refused(capsys, raters[0], tmp_path / "none", words="none: there is no complete case")
    refused(capsys, flair, raters[1], words="flair.nii.gz: there is no complete case")
    refused(capsys, raters[0], raters[1] / "sub-09", words="no subject in common (01 here, 09 in")
    refused(capsys, *raters, "--json", tmp_path / "no" / "c.json", words="cannot write")
    case_paths(raters[1], "01")["instances"].unlink()
    refused(capsys, *raters, words="instance_dseg.nii.gz: this file of the case is missing")


def test_a_table_that_does_not_fit_its_image_is_refused(raters, capsys):
    table = case_paths(raters[1], "01")["lesions"]
    table.write_text("\n".join(line for line in table.read_text().splitlines() if not line.startswith("9\t")))
    refused(capsys, *raters, words="desc-lesions.tsv: the image holds lesion 9, the lesion table does not")
