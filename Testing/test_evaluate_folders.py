"""Two folders of cases, such as two raters' or a model's and an expert's, scored against each other."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from command_calls import AFFINE, call, save
from LesionSegmenterLib.evaluation.folders import common_subjects, score_pair
from LesionSegmenterLib.export import CaseData, write_case
from LesionSegmenterLib.image import NiftiWriter, read_volume
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.measure import measure_lesions


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    """Cases a, b and c of an expert; of a model a (right), b (half of it, as stroke), and another."""
    flair = save(tmp_path / "flair.nii.gz", np.random.default_rng(0).random((24, 20, 8)).astype(np.float32))
    truth, pred = tmp_path / "expert", tmp_path / "model"
    for subject in "abc":
        write(truth, subject, flair, 4, LesionType.MS)
    write(pred, "a", flair, 4, LesionType.MS)
    write(pred, "b", flair, 2, LesionType.STROKE)
    write(pred, "other", flair, 2, LesionType.STROKE)
    (truth / "participants.tsv").write_text(
        "participant_id\tcentre\tFazekas\nsub-a\tnorth\t1\nsub-b\tsouth\t3\nsub-c\tsouth\t2\n"
    )
    return pred, truth


def test_cases_in_both_folders_are_scored_by_the_command(folders, tmp_path, capsys):
    pred, truth = folders
    assert call("evaluate", pred, truth, "--report", tmp_path / "report", "--json", tmp_path / "s.json") == 0
    told = capsys.readouterr().out
    assert "a " in told and "1.000" in told and "other" not in told
    with (tmp_path / "report" / "scores.tsv").open() as file:
        rows = {row["case"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert set(rows) == {"a", "b"}
    assert (rows["b"]["centre"], rows["b"]["Fazekas"], rows["b"]["scan_type"]) == ("south", "3", "stroke")
    assert float(rows["b"]["dice"]) == pytest.approx(2 / 3, abs=1e-5)
    assert (rows["b"]["dice_MS"], rows["a"]["dice_MS"]) == ("0", "1")
    summary = json.loads((tmp_path / "s.json").read_text())["summary"]["model"]
    assert summary["centre"]["north"]["dice"]["n"] == 1
    assert (tmp_path / "report" / "report.html").read_text().count("data:image/png") == 6


def test_folders_without_a_case_in_common_are_refused(folders, tmp_path, capsys):
    _, truth = folders
    assert call("evaluate", tmp_path / "nothing", truth, "--report", tmp_path / "report") == 2
    with pytest.raises(Exception, match="no case stands in both"):
        common_subjects(tmp_path, truth)
    assert not (tmp_path / "report").exists()


def test_a_case_without_its_flair_is_scored_without_a_picture(folders):
    pred, truth = folders
    row, picture = score_pair(pred, truth, "a", "m", {})
    assert row.centre == "all" and row.type == "MS" and picture
    (truth.parent / "flair.nii.gz").unlink()
    assert score_pair(pred, truth, "a", "m", {})[1] is None


def write(folder: Path, subject: str, flair: Path, length: int, kind: LesionType) -> None:
    ids = np.zeros((24, 20, 8), np.int32)
    ids[2 : 2 + length, 3:6, 3:6] = 1
    records = measure_lesions(ids, AFFINE, types={1: kind})
    types = np.where(ids > 0, kind, 0).astype(np.uint8)
    case = CaseData(subject, types, ids, None, records, {}, None)
    write_case(folder, case, NiftiWriter(read_volume(flair)), flair)
