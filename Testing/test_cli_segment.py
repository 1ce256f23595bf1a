"""``lesion-segmenter segment``: one FLAIR to its case folder, as a user or a calling program sees it."""

from __future__ import annotations

import csv
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heads import LESIONS, SPACING, TYPES, bright_bundle, centred_affine, head, save_head
from LesionSegmenterLib.bundle import SHIPPED
from LesionSegmenterLib.cli import main
from LesionSegmenterLib.commands import models
from LesionSegmenterLib.lesions_tsv import COLUMNS

FILES = {
    "desc-type_dseg.nii.gz",
    "desc-instance_dseg.nii.gz",
    "desc-lesion_probseg.nii.gz",
    "desc-lesions.tsv",
    "desc-lesions.json",
    "desc-qc.png",
}


@pytest.fixture
def flair(tmp_path) -> Path:
    return save_head(tmp_path / "sub-01_FLAIR.nii.gz")


def run(flair: Path, bright: Path, *options: str | Path) -> Path:
    """Segment with a model on the CPU, keeping small lesions; returns the case's folder of images."""
    out = flair.parent / "out"
    fixed = ("--model", bright, "--device", "cpu", "--small-lesions", "keep", "--out", out)
    assert main(["segment", *map(str, (flair, *fixed, *options))]) == 0
    (anat,) = out.glob("sub-*/anat")
    return anat


def file(anat: Path, ending: str) -> Path:
    (path,) = anat.glob(f"*_{ending}")
    return path


def rows(anat: Path) -> list[dict[str, str]]:
    with file(anat, "desc-lesions.tsv").open(encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table, delimiter="\t"))


def sidecar(anat: Path) -> dict:
    return json.loads(file(anat, "desc-lesions.json").read_text(encoding="utf-8"))


def array(anat: Path, ending: str) -> np.ndarray:
    return np.asarray(nib.load(file(anat, ending)).dataobj)


def check_lesions(anat: Path, within_mm: float = 1.5) -> None:
    """The table holds the head's lesions, typed, each where it is."""
    assert sorted(row["type"] for row in rows(anat)) == sorted(TYPES)
    found = np.array([[float(row[f"centroid_{axis}_mm"]) for axis in "ras"] for row in rows(anat)])
    for centre, *_ in LESIONS:
        assert np.linalg.norm(found - centre, axis=1).min() < within_mm


# The case folder


def test_the_case_has_the_contracts_files_and_no_others(flair, bright):
    anat = run(flair, bright)
    assert {path.name for path in anat.iterdir()} == {f"sub-01_{name}" for name in FILES}
    assert (anat.parents[1] / "dataset_description.json").is_file()


def test_its_images_agree_with_each_other_and_with_the_table(flair, bright):
    anat = run(flair, bright)
    types, ids = array(anat, "desc-type_dseg.nii.gz"), array(anat, "desc-instance_dseg.nii.gz")
    probability = array(anat, "desc-lesion_probseg.nii.gz")
    assert (types.dtype, ids.dtype) == (np.uint8, np.int32)
    assert set(np.unique(types)) == {0, 1, 2}
    np.testing.assert_array_equal(types > 0, ids > 0)
    assert probability.min() >= 0 and probability.max() <= 1
    np.testing.assert_array_equal(probability >= 0.5, ids > 0)
    table = rows(anat)
    assert tuple(table[0]) == COLUMNS
    assert [int(row["lesion_id"]) for row in table] == [1, 2, 3, 4] == np.unique(ids)[1:].tolist()
    value = {"WMH": 1, "stroke": 2}
    for row in table:
        lesion = ids == int(row["lesion_id"])
        assert int(row["voxels"]) == lesion.sum()
        assert float(row["volume_mm3"]) == pytest.approx(lesion.sum() * np.prod(SPACING), abs=1e-3)
        assert set(types[lesion]) == {value[row["type"]]}
        assert float(row["mean_probability"]) == pytest.approx(probability[lesion].mean(), abs=0.003)
        assert row["status"] == "proposed" and row["parents"] == "n/a"
    check_lesions(anat)


def test_the_sidecar_says_what_was_run_on_what(flair, bright):
    content = sidecar(run(flair, bright, "--threshold", "0.4", "--split", "acls"))
    assert content["subject"] == "01"
    assert content["flair"]["path"] == str(flair) and len(content["flair"]["sha256"]) == 64
    assert content["model"]["name"] == "bright" and content["model"]["version"] == "1.0"
    assert len(content["model"]["weights_sha256"]) == 64
    assert content["settings"]["split"] == "acls" and content["settings"]["threshold"] == 0.4
    assert content["device"]["name"] == "cpu" and content["device"]["notes"] == []
    assert content["labels"] == {"1": "WMH", "2": "stroke", "3": "MS", "4": "lesion"}
    assert content["warnings"] == [] and content["reviewed"] is False
    assert {"preparing", "predicting", "splitting", "typing"} <= set(content["seconds"])
    volumes = {"WMH": 0.0, "stroke": 0.0}
    for row in rows(flair.parent / "out/sub-01/anat"):
        volumes[row["type"]] += float(row["volume_mm3"])
    assert content["scan_type"] == max(volumes, key=lambda kind: volumes[kind])


def test_the_same_input_gives_the_same_bytes(flair, bright, tmp_path):
    first = {path.name: path.read_bytes() for path in run(flair, bright).iterdir()}
    second = {path.name: path.read_bytes() for path in run(flair, bright).iterdir()}
    contents = [json.loads(files.pop("sub-01_desc-lesions.json")) for files in (first, second)]
    for content in contents:
        del content["seconds"]
    assert first == second and contents[0] == contents[1]


def test_the_subject_can_be_stated_and_the_flair_copied(flair, bright):
    anat = run(flair, bright, "--subject", "P7", "--keep-flair", "copy")
    assert anat.parent.name == "sub-P7"
    np.testing.assert_array_equal(array(anat, "FLAIR.nii.gz"), nib.load(flair).get_fdata())


def test_a_head_without_lesions_gives_a_whole_case_with_an_empty_table(tmp_path, bright, capsys):
    anat = run(save_head(tmp_path / "sub-01_FLAIR.nii.gz", lesions=()), bright)
    assert rows(anat) == [] and sidecar(anat)["scan_type"] is None
    assert not array(anat, "desc-type_dseg.nii.gz").any()
    assert {path.name for path in anat.iterdir()} == {f"sub-01_{name}" for name in FILES}
    assert "no lesion found" in capsys.readouterr().out


def test_flip_finds_the_same_lesions_of_a_network_that_does_not_mind_the_side(flair, bright):
    plain = array(run(flair, bright), "desc-instance_dseg.nii.gz")
    np.testing.assert_array_equal(array(run(flair, bright, "--flip"), "desc-instance_dseg.nii.gz"), plain)


def test_the_shipped_model_runs_on_a_whole_head(tmp_path):
    flair = save_head(tmp_path / "flair.nii.gz", scalp=180)
    out = tmp_path / "out"
    assert main(["segment", str(flair), "--out", str(out), "--device", "cpu", "--progress", "none"]) == 0
    anat = out / "sub-flair" / "anat"
    assert set(np.unique(array(anat, "desc-type_dseg.nii.gz"))) <= {0, 1, 2, 3, 4}
    assert array(anat, "desc-lesion_probseg.nii.gz").max() > 0
    assert sidecar(anat)["model"]["name"] in {path.name for path in SHIPPED.iterdir()}


# What it says


def test_a_person_sees_a_table_and_where_it_was_written(flair, bright, capsys):
    anat = run(flair, bright)
    said = capsys.readouterr()
    assert "L0001   WMH" in said.out and f"Written to {anat}" in said.out
    assert said.err == ""


def test_a_program_reads_json_lines_that_rise_to_one_and_end_with_done(flair, bright, capsys):
    anat = run(flair, bright, "--progress", "json")
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    progress = [event for event in events if event["event"] == "progress"]
    fractions = [event["fraction"] for event in progress]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == 1
    stages = list(dict.fromkeys(event["stage"] for event in progress))
    assert stages == ["reading", "preparing", "predicting", "splitting", "typing", "writing"]
    assert sum(event["stage"] == "predicting" for event in progress) > 5
    done = events[-1]
    assert (
        done["event"] == "done" and done["lesions"] == 4 and done["scan_type"] == sidecar(anat)["scan_type"]
    )
    assert all(Path(path).is_file() for path in done["files"].values())
    assert done["files"]["instances"] == str(file(anat, "desc-instance_dseg.nii.gz"))


def test_a_bar_stays_off_stdout(flair, bright, capsys):
    run(flair, bright, "--progress", "bar")
    said = capsys.readouterr()
    assert "%" in said.err and "%" not in said.out and "L0001" in said.out


def test_warnings_reach_the_program_and_the_sidecar(flair, bright, capsys):
    image = nib.load(flair)
    voxels = image.get_fdata().astype(np.float32)
    voxels[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(voxels, image.affine), flair)
    anat = run(flair, bright, "--progress", "json")
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    messages = [event["message"] for event in events if event["event"] == "warning"]
    assert messages == sidecar(anat)["warnings"]
    assert len(messages) == 1 and "NaN or Inf: set to 0" in messages[0]


# Any FLAIR


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_every_data_type_gives_the_same_lesions(tmp_path, bright, dtype):
    check_lesions(run(save_head(tmp_path / "flair.nii.gz", dtype=dtype), bright))


def test_one_frame_of_a_4d_file_is_taken(tmp_path, bright):
    flair = tmp_path / "flair.nii.gz"
    nib.save(nib.Nifti1Image(head()[..., None], centred_affine()), flair)
    anat = run(flair, bright)
    check_lesions(anat)
    assert array(anat, "desc-instance_dseg.nii.gz").shape == head().shape


@pytest.mark.parametrize(
    ("spacing", "shape"), [((0.45, 0.45, 8.0), (250, 324, 11)), ((1.6, 1.6, 1.6), (72, 94, 54))]
)
def test_thick_and_isotropic_voxels_give_the_lesions_on_their_own_grid(tmp_path, bright, spacing, shape):
    flair = save_head(tmp_path / "flair.nii.gz", centred_affine(shape, spacing), shape=shape)
    anat = run(flair, bright)
    check_lesions(anat, within_mm=3)
    for ending in FILES - {"desc-lesions.tsv", "desc-lesions.json", "desc-qc.png"}:
        stored = nib.load(file(anat, ending))
        assert stored.shape == shape and stored.affine.tobytes() == nib.load(flair).affine.tobytes()


def test_an_isotropic_image_is_read_in_all_planes(tmp_path, bright, capsys):
    shape = (124, 160, 92)
    flair = save_head(tmp_path / "flair.nii.gz", centred_affine(shape, (1, 1, 1)), shape=shape)
    check_lesions(run(flair, bright, "--progress", "json"))
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    planes = [event["total"] for event in events if event.get("stage") == "predicting"]
    assert planes[0] > 300  # the slices of three planes


def test_a_whole_head_gives_the_lesions_of_its_brain(tmp_path, bright):
    shape = (56, 68, 18)
    flair = save_head(tmp_path / "flair.nii.gz", centred_affine(shape), shape=shape, scalp=105)
    check_lesions(run(flair, bright))


# The T1


def save_t1(path: Path, affine: np.ndarray, shape: tuple[int, int, int]) -> Path:
    """A T1 whose tissue is the FLAIR's inverted, and which is bright in the first lesion alone."""
    centre, radius, brightness = LESIONS[0]
    inverted = head(affine, shape, lesions=[(centre, radius, -brightness)])
    nib.save(nib.Nifti1Image(np.where(inverted > 0, 200 - inverted, 0).astype(np.float32), affine), path)
    return path


def test_a_t1_that_the_model_does_not_read_is_checked_and_this_is_said(flair, bright, capsys, tmp_path):
    t1 = save_t1(tmp_path / "t1.nii.gz", centred_affine(), (48, 60, 16))
    anat = run(flair, bright, "--t1", t1)
    (warning,) = sidecar(anat)["warnings"]
    assert "bright reads the FLAIR alone" in warning and "not used" in warning
    assert warning in capsys.readouterr().err
    assert sidecar(anat)["settings"]["t1"] == str(t1)


def test_a_t1_on_another_grid_is_resampled_to_the_same_place(flair, tmp_path):
    # Its slices run sagittally from left to right, in other voxels: only the affines tell where it lies.
    shape = (60, 72, 76)
    straight = centred_affine(shape, (2.5, 2.0, 1.5))
    turned = nib.Nifti1Image(np.zeros(shape, np.uint8), straight)
    turned = turned.as_reoriented(nib.orientations.axcodes2ornt(("P", "S", "L")))
    t1 = save_t1(tmp_path / "t1.nii.gz", turned.affine, turned.shape)
    both = bright_bundle(tmp_path / "both", modalities=("FLAIR", "T1"))
    anat = run(flair, both, "--t1", t1)
    assert sidecar(anat)["warnings"] == []
    types = {row["lesion_id"]: row["type"] for row in rows(anat)}
    # The first lesion, faint in the FLAIR, is bright in both together: a stroke of this model.
    assert TYPES[0] == "WMH" and types == {"1": "stroke", "2": "stroke", "3": "WMH", "4": "stroke"}


def test_a_t1_that_covers_a_part_is_used_with_a_warning(flair, tmp_path):
    affine = centred_affine()
    affine[:3, 3] += (0, 0, 60)
    t1 = save_t1(tmp_path / "t1.nii.gz", affine, (48, 60, 16))
    both = bright_bundle(tmp_path / "both", modalities=("FLAIR", "T1"))
    (warning,) = sidecar(run(flair, both, "--t1", t1))["warnings"]
    assert "the T1 covers only 38% of the FLAIR" in warning


# Stopping


def test_a_signal_during_an_import_waits_for_its_end(tmp_path, monkeypatch, capsys):
    # Raised within the import of torch, an exception would abort the process.
    (tmp_path / "interrupted.py").write_text(
        "import signal\nsignal.raise_signal(signal.SIGINT)\nwhole = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    imported = []

    def command(_) -> None:
        module = importlib.import_module("interrupted")
        imported.append(module.whole)
        for _ in range(1000):
            time.sleep(0.01)

    monkeypatch.setattr(models, "_list", command)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert main(["models", "list"]) == 3
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert imported == [True] and "cancelled" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_ends_with_3_and_leaves_nothing(tmp_path, number):
    shape = (124, 160, 92)
    slow = bright_bundle(tmp_path / "slow", widths=(64, 128))
    flair = save_head(tmp_path / "flair.nii.gz", centred_affine(shape, (1, 1, 1)), shape=shape)
    before = sorted(tmp_path.rglob("*"))
    command = [sys.executable, "-m", "LesionSegmenterLib.cli", "segment", str(flair), "--model", str(slow)]
    command += [
        "--out",
        str(tmp_path / "out"),
        "--device",
        "cpu",
        "--precision",
        "fp32",
        "--progress",
        "json",
    ]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            if json.loads(line).get("stage") == "predicting":
                break
        process.send_signal(number)
        rest, errors = process.stdout.read(), process.stderr.read()
    assert process.returncode == 3
    assert errors == "lesion-segmenter: cancelled; nothing was written under its final name\n"
    last = json.loads(rest.splitlines()[-1])
    assert last["event"] == "error" and last["status"] == 3
    assert sorted(tmp_path.rglob("*")) == before
