"""Bad input to ``segment``: status 2 and one clear line, or a result with a warning."""

from __future__ import annotations

import errno
import gzip
import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heads import LESIONS, bright_bundle, centred_affine, head, save_head
from LesionSegmenterLib.cli import main


@pytest.fixture
def flair(tmp_path) -> Path:
    return tmp_path / "flair.nii.gz"


@pytest.fixture
def refused(tmp_path, bright, capsys):
    """Segment, and check that it is refused in one line with these words and writes nothing."""

    def check(flair: Path, *words: str, options: tuple = (), out: Path | None = None) -> str:
        before = sorted(tmp_path.rglob("*"))
        arguments = (flair, "--out", out or tmp_path / "out", "--model", bright, "--device", "cpu", *options)
        assert main(["segment", *map(str, arguments)]) == 2
        said = capsys.readouterr()
        assert said.err.startswith("lesion-segmenter: ") and said.err.count("\n") == 1
        assert "Traceback" not in said.err and "unexpected" not in said.err
        for word in words:
            assert word in said.err
        assert sorted(tmp_path.rglob("*")) == before
        return said.out

    return check


def save(path: Path, array: np.ndarray, affine: np.ndarray | None = None, **fields) -> Path:
    """Write an image, its header's fields changed as stated."""
    content = nib.Nifti1Image(array, centred_affine() if affine is None else affine).to_bytes()
    header = nib.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(gzip.compress(header.binaryblock + content[348:], 1))
    return path


# The FLAIR


def test_a_missing_file(refused, flair):
    refused(flair, str(flair), "no such FLAIR file", "Check the path")


def test_a_directory(refused, flair):
    flair.mkdir()
    refused(flair, str(flair), "is a folder")


def test_a_text_file_named_nii_gz(refused, flair):
    flair.write_text("not an image\n")
    refused(flair, str(flair), "not gzip")


def test_a_truncated_gzip(refused, flair):
    save_head(flair)
    flair.write_bytes(flair.read_bytes()[:-1000])
    refused(flair, str(flair), "cut short")


@pytest.mark.parametrize(("value", "words"), [(0, "all zero"), (9, "constant"), (np.nan, "only NaN or Inf")])
def test_an_image_without_contrast(refused, flair, value, words):
    refused(save(flair, np.full((48, 60, 16), value, np.float32)), str(flair), words)


def test_a_4d_series(refused, flair):
    refused(save(flair, np.repeat(head()[..., None], 3, axis=3)), "3 frames", "Extract one")


def test_an_rgb_image(refused, flair):
    refused(save(flair, np.zeros((48, 60, 16), [("R", "u1"), ("G", "u1"), ("B", "u1")])), "RGB")


def test_a_2x2x2_image(refused, flair):
    refused(save(flair, np.arange(8, dtype=np.int16).reshape(2, 2, 2)), "only 2x2x2 voxels")


@pytest.mark.parametrize("spacing", [0, -3])
def test_a_zero_or_negative_spacing(refused, flair, spacing):
    refused(save(flair, head(), pixdim=[1, 3, spacing, 6, 1, 1, 1, 1]), f"3x{spacing}x6 mm", "pixdim")


def test_a_singular_affine(refused, flair):
    refused(save(flair, head(), srow_z=[0, 0, 0, 0]), "singular")


def test_a_picture_without_a_head(refused, flair):
    dots = np.zeros((48, 60, 16), np.int16)
    dots[10, 10, 10] = 1
    refused(save(flair, dots), "FLAIR")


def lesions(out: Path) -> np.ndarray:
    (path,) = out.rglob("*_desc-instance_dseg.nii.gz")
    image = nib.load(path)
    ids = np.asarray(image.dataobj)
    return np.array(
        [
            nib.affines.apply_affine(image.affine, np.argwhere(ids == i).mean(axis=0))
            for i in np.unique(ids)[1:]
        ]
    )


def works_with_a_warning(flair: Path, bright: Path, out: Path, *words: str) -> None:
    """The run succeeds, finds the lesions where they are, and its sidecar names what was assumed."""
    assert main(["segment", str(flair), "--out", str(out), "--model", str(bright), "--device", "cpu"]) == 0
    (path,) = out.rglob("*_desc-lesions.json")
    (warning,) = json.loads(path.read_text(encoding="utf-8"))["warnings"]
    for word in words:
        assert word in warning
    found = lesions(out)
    for centre, *_ in LESIONS:
        assert np.linalg.norm(found - centre, axis=1).min() < 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_are_taken_as_0_with_a_warning(flair, bright, tmp_path, value):
    voxels = head()
    voxels[20:22, 30, 8] = value
    works_with_a_warning(save(flair, voxels), bright, tmp_path / "out", "2 of 46080 voxels", "set to 0")


def test_shear_is_removed_for_computing_with_a_warning_and_kept_in_the_files(flair, bright, tmp_path):
    affine = centred_affine()
    affine[0, 1] = 0.06  # 1.1 degrees
    save_head(flair, affine)
    works_with_a_warning(flair, bright, tmp_path / "out", "sheared by 1.1", "moves voxels by up to")
    (types,) = (tmp_path / "out").rglob("*_desc-type_dseg.nii.gz")
    assert nib.load(types).affine.tobytes() == nib.load(flair).affine.tobytes()


def test_a_file_without_orientation_works_with_a_warning(flair, bright, tmp_path, capsys):
    save(flair, head(), sform_code=0, qform_code=0)
    arguments = [
        "segment",
        str(flair),
        "--out",
        str(tmp_path / "out"),
        "--model",
        str(bright),
        "--device",
        "cpu",
    ]
    assert main(arguments) == 0
    assert "LAS is assumed" in capsys.readouterr().err


# The T1


def test_a_t1_that_does_not_overlap(refused, flair, tmp_path):
    affine = centred_affine()
    affine[0, 3] += 400
    t1 = save(tmp_path / "t1.nii.gz", head(), affine)
    refused(save_head(flair), str(t1), "0.0 % of the field of view", "register", options=("--t1", t1))


def test_a_t1_that_is_damaged(refused, flair, tmp_path):
    t1 = tmp_path / "t1.nii.gz"
    t1.write_text("text")
    refused(save_head(flair), str(t1), "the T1", options=("--t1", t1))


def test_a_model_that_needs_a_t1_says_so(refused, flair, tmp_path):
    both = bright_bundle(tmp_path / "both", modalities=("FLAIR", "T1"))
    refused(save_head(flair), "needs a T1", "--t1 FILE", options=("--model", both))


# The arguments


def test_an_unknown_model_is_answered_with_those_that_there_are(refused, flair):
    refused(
        save_head(flair), "no model 'uresnet-fliar'", "uresnet-flair", options=("--model", "uresnet-fliar")
    )


def test_a_bundle_that_was_edited(refused, flair, bright, tmp_path):
    folder = bright_bundle(tmp_path / "edited")
    (folder / "MODEL_CARD.md").write_text("edited")
    refused(save_head(flair), str(folder), "cut short or edited", options=("--model", folder))


def test_offsets_from_a_splitter_without_any(refused, flair, bright):
    refused(
        save_head(flair), "no offsets", "--split components",
        options=("--split", "offsets", "--splitter", bright),
    )  # fmt: skip


def test_a_subject_that_is_no_bids_label_is_refused_before_any_work(refused, flair):
    said = refused(
        save_head(flair), "'a/b' is not a subject ID", options=("--subject", "a/b", "--progress", "json")
    )
    assert "predicting" not in said


def test_a_device_that_is_not_there(refused, flair, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refused(save_head(flair), "device cuda is not available", options=("--device", "cuda"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["segment"],
        ["segment", "x.nii"],
        ["segment", "x.nii", "--out", "o", "--threshold", "2"],
        ["segment", "x.nii", "--out", "o", "--split", "magic"],
        ["dance"],
        [],
    ],
)
def test_wrong_arguments_end_with_2_and_one_line_that_names_the_help(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("lesion-segmenter: ") and said.count("\n") == 1 and "--help" in said


# The output


def test_an_output_folder_that_is_a_file_is_refused_before_any_work(refused, flair, tmp_path):
    (tmp_path / "taken").write_text("a file")
    for out in (tmp_path / "taken", tmp_path / "taken" / "deeper"):
        said = refused(save_head(flair), str(out), "Not a directory", options=("--progress", "json"), out=out)
        assert "predicting" not in said


def test_an_output_folder_without_permission_is_refused_before_any_work(refused, flair, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # chmod would not stop a test that runs as root
    said = refused(save_head(flair), "cannot write", "Permission denied", options=("--progress", "json"))
    assert "predicting" not in said


@pytest.mark.parametrize("place", ["gzip", "rename", "mkdir"])
def test_a_full_disk_leaves_nothing_behind(refused, flair, tmp_path, monkeypatch, place):
    save_head(flair)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    owner, name = {"gzip": (gzip.GzipFile, "write"), "rename": (Path, "rename"), "mkdir": (Path, "mkdir")}[
        place
    ]
    monkeypatch.setattr(owner, name, full)
    refused(flair, "the disk is full", str(tmp_path / "out"), "Free some space")


def test_an_error_is_an_event_too_for_a_program_that_reads_events(flair, tmp_path, bright, capsys):
    arguments = ["segment", str(flair), "--out", str(tmp_path / "out"), "--model", str(bright)]
    assert main([*arguments, "--progress", "json"]) == 2
    said = capsys.readouterr()
    event = json.loads(said.out.splitlines()[-1])
    assert event["event"] == "error" and event["status"] == 2
    assert said.err == f"lesion-segmenter: {event['message']}\n"


def test_what_nobody_foresaw_is_one_line_with_status_1(flair, tmp_path, bright, monkeypatch, capsys):
    def broken(*_, **__):
        raise RuntimeError("a\nbug")

    monkeypatch.setattr("LesionSegmenterLib.segment.split", broken)
    arguments = ["segment", str(save_head(flair)), "--out", str(tmp_path / "out"), "--model", str(bright)]
    assert main([*arguments, "--device", "cpu"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "unexpected RuntimeError: a bug" in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()
