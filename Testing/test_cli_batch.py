"""The command batch: a folder of FLAIRs to a case each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from command_calls import batch
from heads import save_head
from LesionSegmenterLib.export import complete_subjects


@pytest.fixture(scope="module")
def flair(tmp_path_factory) -> Path:
    return save_head(tmp_path_factory.mktemp("head") / "flair.nii.gz")


def place(flair: Path, *paths: Path) -> None:
    """Copy the head to each path."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(flair, path)


def test_a_folder_of_flairs_gives_a_case_each(tmp_path, flair, bright, capsys):
    place(flair, tmp_path / "in" / "anna.nii.gz", tmp_path / "in" / "ben_2.NII.GZ")
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    assert batch(tmp_path / "in", tmp_path / "out", bright) == 0
    assert complete_subjects(tmp_path / "out") == ["anna", "ben2"]
    said = capsys.readouterr().out
    assert "anna: 4 lesions" in said and "ben2: 4 lesions" in said and "2 cases written" in said


def test_a_bids_data_set_gives_subjects_of_subject_and_session(tmp_path, flair, bright):
    root = tmp_path / "bids"
    place(
        flair,
        root / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz",
        root / "sub-02" / "ses-a" / "anat" / "sub-02_ses-a_FLAIR.nii.gz",
        root / "sub-02" / "ses-b" / "anat" / "sub-02_ses-b_acq-3D_FLAIR.nii.gz",
        root / "sub-01" / "anat" / "sub-01_T1w.nii.gz",
        root / "derivatives" / "x" / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz",
        root / "stray.nii.gz",
    )
    assert batch(root, tmp_path / "out", bright) == 0
    assert complete_subjects(tmp_path / "out") == ["01", "02sesa", "02sesb"]


def test_two_inputs_of_one_subject_are_refused_before_anything_runs(tmp_path, flair, bright, refused):
    place(flair, tmp_path / "in" / "a-1.nii.gz", tmp_path / "in" / "a_1.nii.gz")
    words = ("a-1.nii.gz and a_1.nii.gz", "subject a1")
    refused("batch", tmp_path / "in", "--out", tmp_path / "out", "--model", bright, words=words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["missing", "file", "empty"])
def test_an_input_without_flairs_is_refused(tmp_path, bright, refused, kind):
    folder = tmp_path / "in"
    if kind == "file":
        folder.write_text("a file")
    elif kind == "empty":
        folder.mkdir()
    refused("batch", folder, "--out", tmp_path / "out", "--model", bright, words=(str(folder),))


def test_an_unknown_model_ends_the_batch_at_once(tmp_path, flair, refused):
    place(flair, tmp_path / "in" / "a.nii.gz")
    refused("batch", tmp_path / "in", "--out", tmp_path / "out", "--model", "none-such", words=("no model",))


def test_a_failing_case_does_not_stop_the_others_and_is_told_at_the_end(tmp_path, flair, bright, capsys):
    place(flair, tmp_path / "in" / "a.nii.gz", tmp_path / "in" / "c.nii.gz")
    (tmp_path / "in" / "b.nii.gz").write_text("broken")
    assert batch(tmp_path / "in", tmp_path / "out", bright) == 2
    assert complete_subjects(tmp_path / "out") == ["a", "c"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[0].startswith("b: ") and "not gzip" in lines[0]
    assert lines[1].startswith("lesion-segmenter: 1 of 3 cases failed: b")


def test_a_case_that_fails_for_another_reason_ends_the_batch_with_1(tmp_path, flair, bright, monkeypatch):
    place(flair, tmp_path / "in" / "a.nii.gz", tmp_path / "in" / "b.nii.gz")
    from LesionSegmenterLib import segment

    real = segment.split

    def split(*arguments, **options):
        if not list((tmp_path / "out").glob("sub-a")):
            return real(*arguments, **options)
        raise RuntimeError("a bug")

    monkeypatch.setattr(segment, "split", split)
    assert batch(tmp_path / "in", tmp_path / "out", bright) == 1
    assert complete_subjects(tmp_path / "out") == ["a"]


def test_resume_skips_complete_cases_and_runs_the_rest(tmp_path, flair, bright, capsys):
    place(flair, tmp_path / "in" / "a.nii.gz", tmp_path / "in" / "b.nii.gz")
    assert batch(tmp_path / "in", tmp_path / "out", bright) == 0
    kept, lost = (tmp_path / "out" / f"sub-{s}" / "anat" / f"sub-{s}_desc-lesions.json" for s in "ab")
    time = kept.stat().st_mtime_ns
    lost.unlink()
    capsys.readouterr()
    assert batch(tmp_path / "in", tmp_path / "out", bright, "--resume") == 0
    assert kept.stat().st_mtime_ns == time and lost.is_file()
    assert "1 case written" in (said := capsys.readouterr().out) and "1 skipped" in said
    assert batch(tmp_path / "in", tmp_path / "out", bright, "--resume") == 0


def test_the_progress_of_a_batch_rises_over_all_its_cases(tmp_path, flair, bright, capsys):
    place(flair, tmp_path / "in" / "a.nii.gz", tmp_path / "in" / "b.nii.gz")
    (tmp_path / "in" / "c.nii.gz").write_text("broken")
    assert batch(tmp_path / "in", tmp_path / "out", bright, "--progress", "json") == 2
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions) and fractions[-1] == 1
    assert [event["subject"] for event in events if event["event"] == "case"] == ["a", "b"]
    assert [event["event"] for event in events[-2:]] == ["done", "error"]
    assert (
        events[-2]["cases"] == 2 and "not gzip" in events[-2]["failed"].pop("c") and not events[-2]["failed"]
    )
    assert events[-1]["status"] == 2


def test_a_stopped_batch_ends_with_3_and_keeps_its_complete_cases(
    tmp_path, flair, bright, monkeypatch, capsys
):
    place(flair, tmp_path / "in" / "a.nii.gz", tmp_path / "in" / "b.nii.gz")
    from LesionSegmenterLib import segment

    real = segment.measure_lesions

    def measure(*arguments, **options):
        if list((tmp_path / "out").glob("sub-a")):
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(segment, "measure_lesions", measure)
    assert batch(tmp_path / "in", tmp_path / "out", bright) == 3
    assert "1 complete" in (said := capsys.readouterr().err) and "--resume" in said
    assert complete_subjects(tmp_path / "out") == ["a"]
