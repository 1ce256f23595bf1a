"""Types taken for one another: how lesions are matched, what the tables count, and the command."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heads import bright_bundle
from lesion_training.cli import main
from lesion_training.folders import find_entries
from lesion_training.named_models import load_models
from lesion_training.type_confusion import (
    MISSED,
    Verdict,
    judge,
    largest_overlaps,
    listed_cases,
    synthetic_cases,
)
from lesion_training.type_report import accuracy, balanced_accuracy, markdown, scan_accuracy
from LesionSegmenterLib.labels import LesionType
from small_data import row, save_case, write_listing

AS_THE_MODEL_SAYS = "1=WMH,2=stroke,3=WMH,4=stroke"


def data_of(folder: Path, lesion_values: str) -> Path:
    folder.mkdir()
    save_case(folder, "one")
    write_listing(folder / "cases.tsv", [row("one", split="validation", lesion_values=lesion_values)])
    return folder


def verdict(true: str, stated: str, *, lesion: int | None = 1, confidence: float | None = None) -> Verdict:
    return Verdict("model", "synthetic", "case", lesion, true, stated, 10.0, confidence)


LESIONS = [
    *(verdict("MS", "MS", confidence=c) for c in (0.9, 0.8, 0.7)),
    verdict("MS", "WMH", confidence=0.4),
    verdict("stroke", "stroke", confidence=0.6),
    verdict("stroke", MISSED),
]
SCANS = [verdict(t, s, lesion=None) for t, s in (("MS", "MS"), ("MS", "WMH"), ("stroke", MISSED))]


def test_a_true_lesion_is_matched_to_the_found_one_it_shares_most_voxels_with():
    true = np.array([[[1, 1, 1, 1, 0, 2, 2, 3, 3, 3]]], np.int32)
    found = np.array([[[7, 7, 5, 0, 5, 9, 4, 0, 0, 0]]], np.int32)
    # Of the second's two equals the lower id; the third was missed.
    assert largest_overlaps(true, found) == {1: 7, 2: 4}
    assert largest_overlaps(true, np.zeros_like(true)) == {}


def test_accuracies_are_of_the_found_lesions_and_balanced_over_their_types():
    assert accuracy(LESIONS) == 4 / 5
    assert balanced_accuracy(LESIONS) == pytest.approx((3 / 4 + 1) / 2)
    assert np.isnan(accuracy([LESIONS[-1]])) and np.isnan(balanced_accuracy([]))


def test_a_scan_in_which_nothing_was_found_is_wrong():
    assert scan_accuracy(SCANS) == {"MS": (1, 2), "stroke": (0, 1)}


def test_the_tables_hold_accuracy_confidence_and_confusion():
    text = markdown([*SCANS, *LESIONS])
    line = next(line for line in text.splitlines() if "5 of 6" in line)
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells == [
        *("model", "5 of 6", "80.0 %", "87.5 %", "MS 1/2, stroke 0/1", "no", "0.75 (n = 4)", "0.40 (n = 1)")
    ]
    confusion = [[c.strip() for c in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    assert ["true \\ stated", "WMH", "stroke", "MS", "missed"] in confusion
    assert ["MS", "1", "0", "3"] not in confusion and ["MS", "1", "0", "3", "0"] in confusion


def test_lesions_and_the_scan_are_judged_by_the_types_the_engine_states(tmp_path):
    """The model calls the first and third lesion WMH, the other two stroke."""
    model = load_models([str(bright_bundle(tmp_path / "bright"))])[0]
    right = judge(model, next(listed_cases(find_entries([data_of(tmp_path / "right", AS_THE_MODEL_SAYS)]))))
    assert [v.lesion for v in right] == [None, 1, 2, 3, 4] and all(v.right for v in right)
    assert right[0].true == "WMH" and all(v.confidence and v.confidence > 0.5 for v in right[1:])
    wrong = judge(model, next(listed_cases(find_entries([data_of(tmp_path / "wrong", "1,2,3,4")]))))
    assert {(v.true, v.stated) for v in wrong[1:]} == {("MS", "WMH"), ("MS", "stroke")}
    assert not any(v.right for v in wrong) and wrong[0].true == "MS"


def test_lesions_that_nothing_overlaps_are_missed(tmp_path):
    folder = data_of(tmp_path / "data", AS_THE_MODEL_SAYS)
    mask = nib.load(folder / "one_mask.nii.gz")
    labels = np.asarray(mask.dataobj).copy()
    labels[22:26, 28:32, 2:4] = 2  # nothing is bright there
    nib.save(nib.Nifti1Image(labels, mask.affine), folder / "one_mask.nii.gz")
    model = load_models([str(bright_bundle(tmp_path / "bright"))])[0]
    verdicts = judge(model, next(listed_cases(find_entries([folder]))))
    assert [(v.true, v.stated) for v in verdicts if v.stated == MISSED] == [("stroke", MISSED)]


def test_cases_whose_lesions_have_no_type_are_left_out(tmp_path):
    folder = data_of(tmp_path / "data", "1=lesion,2=lesion")
    assert list(listed_cases(find_entries([folder]))) == []


def test_the_command_sets_bundles_side_by_side(tmp_path, capsys):
    bundles = [str(bright_bundle(tmp_path / name)) for name in ("first", "second")]
    data, out = data_of(tmp_path / "data", AS_THE_MODEL_SAYS), tmp_path / "out"
    assert main(["types", *bundles, "--data", str(data), "--out", str(out), "--heads", "0"]) == 0
    text = (out / "types.md").read_text()
    assert "Real scans" in text and "Synthetic" not in text and text in capsys.readouterr().out
    assert "WMH 1/1" in text and text.count("4 of 4") == 2
    with (out / "types.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 10 and {row["bundle"] for row in rows} == {"bright 1.0", "bright 1.0 (2)"}
    assert all(row["true"] == row["stated"] for row in rows)


def test_a_synthetic_scan_is_of_one_type_and_on_its_files_grid():
    case = next(synthetic_cases(1, 0, None))
    assert case.source == "synthetic" and set(case.types.values()) == {LesionType.WMH}
    assert set(case.types) == set(np.unique(case.instances)) - {0}
