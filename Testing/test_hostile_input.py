"""What a hostile or careless user does: one clear line and an exit status, and nobody's file is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from command_calls import call
from heads import bright_bundle, centred_affine, head, save_head
from lesion_training.bundling import read_json
from lesion_training.cli import main as train
from LesionSegmenterLib import bundle as bundles
from LesionSegmenterLib.classifier import CascadeClassifier
from LesionSegmenterLib.engine.device import Device
from LesionSegmenterLib.engine.model import load_model
from LesionSegmenterLib.engine.prediction import predict
from LesionSegmenterLib.engine.preprocessing import prepare
from LesionSegmenterLib.errors import BundleError, InputError
from LesionSegmenterLib.export import MAX_SUBJECT, case_paths, read_case
from LesionSegmenterLib.image import read_labels, read_volume, same_grid

CPU = Device("cpu", "fp32")


@pytest.fixture
def segmented(bright) -> Callable[..., int]:
    """Run ``segment`` on the CPU; returns its exit status."""

    def run(flair: Path, out: Path, *options: str | Path) -> int:
        return call("segment", flair, "--out", out, "--model", bright, "--device", "cpu", *options)

    return run


def save_with(path: Path, **fields) -> Path:
    """A head whose header has these fields."""
    content = nib.Nifti1Image(head().astype(np.int16), centred_affine()).to_bytes()
    header = nib.Nifti1Header(content[:348], check=False)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.binaryblock + content[348:])
    return path


def scaled(factor: float) -> dict:
    """The header fields of the head's affine, in another unit of length."""
    affine = np.diag([factor, factor, factor, 1]) @ centred_affine()
    pixdim = [1, *(np.array([3, 3, 6]) * factor), 1, 1, 1, 1]
    return {"pixdim": pixdim, "srow_x": affine[0], "srow_y": affine[1], "srow_z": affine[2]}


# Geometry


@pytest.mark.parametrize("factor", [1e-3, 10, 1e6, 1e30])
def test_an_image_of_no_heads_size_is_refused_before_anything_large_is_made_of_it(tmp_path, factor):
    sides = np.diag([3, 3, 6]) * factor
    fields = {f"srow_{axis}": [*row, 0] for axis, row in zip("xyz", sides, strict=True)}
    flair = save_with(tmp_path / "flair.nii", pixdim=[1, *np.diag(sides), 1, 1, 1, 1], **fields)
    with pytest.raises(InputError, match=r"no head's size\. Correct the voxel size"):
        read_volume(flair)


@pytest.mark.parametrize(("code", "factor", "unit"), [(1, 1e-3, "metres"), (3, 1e3, "micrometres")])
def test_lengths_in_another_unit_become_mm_with_a_warning(tmp_path, code, factor, unit):
    in_mm = read_volume(save_with(tmp_path / "mm.nii", xyzt_units=2))
    other = read_volume(save_with(tmp_path / "other.nii", xyzt_units=code, **scaled(factor)))
    assert same_grid(in_mm, other)
    assert in_mm.warnings == () and other.warnings == (
        f"the FLAIR states its lengths in {unit}: converted to mm",
    )


def test_a_qfac_of_0_means_1_as_in_the_standard(tmp_path):
    fields = {"sform_code": 0, "qform_code": 1, "quatern_b": 0, "quatern_c": 0, "quatern_d": 0}
    zero = read_volume(save_with(tmp_path / "zero.nii", pixdim=[0, 3, 3, 6, 1, 1, 1, 1], **fields))
    one = read_volume(save_with(tmp_path / "one.nii", pixdim=[1, 3, 3, 6, 1, 1, 1, 1], **fields))
    assert same_grid(zero, one)


@pytest.mark.parametrize("fields", [{"sform_code": -1}, {"sform_code": 99}, {"qform_code": 77}])
def test_a_code_that_programs_read_differently_is_refused(tmp_path, fields):
    with pytest.raises(InputError, match=r"unknown .form_code"):
        read_volume(save_with(tmp_path / "flair.nii", **fields))


def test_sform_and_qform_that_disagree_are_pointed_out(tmp_path):
    path = tmp_path / "flair.nii"
    image = nib.Nifti1Image(head(), centred_affine())
    image.set_qform(centred_affine(), 1)
    nib.save(image, path)
    assert read_volume(path).warnings == ()
    moved = centred_affine()
    moved[0, 3] += 50
    image.set_qform(moved, 1)
    nib.save(image, path)
    volume = read_volume(path)
    assert volume.warnings == (
        "the sform and the qform of the FLAIR are up to 50.0 mm apart: the sform is used",
    )
    np.testing.assert_array_equal(volume.affine, centred_affine())


def test_an_origin_beyond_a_headers_precision_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"1e\+30 mm from the origin"):
        read_labels(save_with(tmp_path / "labels.nii", srow_x=[3, 0, 0, 1e30]))


# Files and folders


def test_a_pipe_is_refused_and_not_waited_for(tmp_path, refused):
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "flair.nii")
    refused("measure", tmp_path / "flair.nii", words=("pipe",))


@pytest.mark.parametrize("command", ["segment", "batch", "evaluate"])
def test_a_name_that_is_too_long_is_refused_in_one_line(tmp_path, refused, command):
    long = tmp_path / ("a" * 300 + ".nii.gz")
    rest = [long] if command == "evaluate" else ["--out", tmp_path / "out"]
    refused(command, long, *rest, words=("too long",))


def test_a_subject_too_long_for_a_file_name_is_refused_before_any_work():
    assert case_paths("out", "a" * MAX_SUBJECT)
    with pytest.raises(InputError, match="--subject"):
        case_paths("out", "a" * (MAX_SUBJECT + 1))


def test_an_empty_subject_is_not_taken_for_none(tmp_path, segmented, capsys):
    assert segmented(save_head(tmp_path / "flair.nii.gz"), tmp_path / "out", "--subject", "") == 2
    assert "'' is not a subject ID" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_flair_that_stands_where_a_file_of_the_case_belongs_is_not_overwritten(tmp_path, segmented, capsys):
    flair = case_paths(tmp_path, "x")["probability"]
    flair.parent.mkdir(parents=True)
    before = save_head(flair).read_bytes()
    assert segmented(flair, tmp_path) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert flair.read_bytes() == before and list(flair.parent.iterdir()) == [flair]


def test_a_flair_of_a_raw_data_set_is_not_replaced_by_a_copy_but_one_of_a_case_is(
    tmp_path, segmented, capsys
):
    flair, options = save_head(tmp_path / "other.nii.gz"), ("--subject", "x", "--keep-flair", "copy")
    raw = tmp_path / "sub-x" / "anat" / "sub-x_FLAIR.nii.gz"
    raw.parent.mkdir(parents=True)
    raw.write_bytes(b"raw data")
    assert segmented(flair, tmp_path, *options) == 2
    assert str(raw) in capsys.readouterr().err and raw.read_bytes() == b"raw data"
    raw.unlink()
    assert segmented(flair, tmp_path, *options) == segmented(flair, tmp_path, *options) == 0


def test_no_command_writes_over_what_it_reads(tmp_path, refused):
    mask = np.zeros((20, 20, 6), np.uint8)
    mask[4:8, 4:8, 2:4] = 1
    path, link = tmp_path / "mask.nii.gz", tmp_path / "link.nii.gz"
    nib.save(nib.Nifti1Image(mask, np.eye(4)), path)
    link.symlink_to(path)
    before = path.read_bytes()
    refused("split", path, "--out", path, words=("would be overwritten",))
    refused("split", path, "--out", link, words=("would be overwritten",))
    refused("measure", path, "--types", link, "--out", path, words=("would be overwritten",))
    refused("evaluate", path, path, "--json", path, words=("would be overwritten",))
    assert path.read_bytes() == before


def test_compare_does_not_write_over_a_case(tmp_path, segmented, refused):
    segmented(save_head(tmp_path / "x.nii.gz"), tmp_path / "out")
    table = case_paths(tmp_path / "out", "x")["lesions"]
    before = table.read_bytes()
    refused("compare", tmp_path / "out", tmp_path / "out", "--tsv", table, words=("would be overwritten",))
    assert table.read_bytes() == before


def test_a_path_that_is_not_utf8_is_recorded_and_printed(tmp_path, segmented, capsys):
    flair = tmp_path / os.fsdecode(b"caf\xe9.nii.gz")
    try:
        save_head(flair)
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    assert segmented(flair, tmp_path / os.fsdecode(b"out\xe9")) == 0
    assert read_case(tmp_path / os.fsdecode(b"out\xe9")).flair == flair
    assert "unexpected" not in capsys.readouterr().err


def test_an_image_without_a_head_is_named_in_the_error(tmp_path, segmented, capsys):
    flair = save_with(tmp_path / "flair.nii")
    voxels = np.zeros((48, 60, 16), np.int16)
    voxels[20, 20, 8] = 1000
    nib.save(nib.Nifti1Image(voxels, centred_affine()), flair)
    assert segmented(flair, tmp_path / "out") == 2
    assert str(flair) in capsys.readouterr().err


def test_json_nested_too_deep_is_damaged_and_not_a_crash(tmp_path, segmented):
    segmented(save_head(tmp_path / "x.nii.gz"), tmp_path / "out")
    deep = "[" * 100_000
    case_paths(tmp_path / "out", "x")["sidecar"].write_text(deep)
    with pytest.raises(InputError, match="damaged"):
        read_case(tmp_path / "out")
    (tmp_path / "bundle.json").write_text(deep)
    with pytest.raises(BundleError, match="not JSON"):
        bundles.read_spec(tmp_path)
    with pytest.raises(InputError, match="JSON"):
        read_json(tmp_path / "bundle.json")


# Bundles


def altered(folder: Path, change: Callable[[dict[str, torch.Tensor]], None] = lambda _: None, **spec) -> Path:
    """The bright bundle with other weights or another specification, its checksums right."""
    made = bundles.load_bundle(bright_bundle(folder / "bright"))
    weights = load_file(made.weights)
    change(weights)
    content = {"weights.safetensors": save(weights), "MODEL_CARD.md": b"#"}
    return bundles.write_bundle(folder / "altered", replace(made.spec, **spec), content).folder


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("head.bias", float("nan")),
        ("head.bias", float("inf")),
        ("down.0.norm.running_var", float("inf")),  # the output is finite then, and the channel mute
    ],
)
def test_weights_that_are_no_numbers_are_refused_and_do_not_mean_no_lesion(tmp_path, refused, name, value):
    folder = altered(tmp_path, lambda weights: weights[name].fill_(value))
    refused("models", "validate", folder, words=(str(folder), "not numbers"))


def test_a_prediction_that_overflows_is_refused_and_does_not_mean_no_lesion(tmp_path):
    folder = altered(tmp_path, lambda weights: weights["head.weight"].fill_(3e38))
    model = load_model(bundles.load_bundle(folder), CPU)
    images, grid, _ = prepare(head(), (3.0, 3.0, 6.0))
    with pytest.raises(BundleError, match="not numbers"):
        predict(model, images, grid, lambda *_: None)


@pytest.mark.parametrize(
    "spec",
    [
        {"shape": "volume"},
        {"preprocessing": {"normalisation": "deep-median-mad", "context_slices": 1}},
        {"preprocessing": {"normalisation": "deep-median-mad", "context_slices": 10**9}},
        {"inputs": [bundles.ModelInput("FLAIR"), bundles.ModelInput("T1")]},
    ],
)
def test_a_network_that_does_not_take_the_bundles_inputs_is_refused(tmp_path, refused, spec):
    refused("models", "validate", altered(tmp_path, **spec), words=("does not take",))


@pytest.mark.parametrize("widths", [[], [2], [-2, 2], [2.5, 2]])
def test_arguments_that_make_no_network_are_refused(tmp_path, refused, widths):
    folder = altered(tmp_path, architecture=bundles.Architecture("uresnet", {"widths": widths}))
    refused("models", "validate", folder, words=("do not fit architecture",))


def test_a_classifier_with_weights_that_are_no_numbers_is_refused(tmp_path):
    classifier = CascadeClassifier()
    classifier.sd[0] = float("nan")
    classifier.save(tmp_path / "classifier.safetensors", {})
    with pytest.raises(BundleError, match="not numbers"):
        CascadeClassifier.load(tmp_path / "classifier.safetensors")


def test_an_unusable_bundle_is_named_by_where_it_was_to_be_written(tmp_path):
    with pytest.raises(BundleError) as caught:
        altered(tmp_path, name="a/b")
    assert str(caught.value).startswith(str(tmp_path / "altered" / "bundle.json"))


def test_a_card_that_is_not_text_is_shown_all_the_same(tmp_path, capsys):
    made = bundles.load_bundle(bright_bundle(tmp_path / "bright"))
    content = {"weights.safetensors": made.weights, "MODEL_CARD.md": b"# Card \xff"}
    folder = bundles.write_bundle(tmp_path / "altered", made.spec, content).folder
    assert call("models", "show", folder) == 0 and "# Card" in capsys.readouterr().out


def test_a_home_that_cannot_be_read_does_not_hide_the_shipped_models(monkeypatch):
    shipped, real = bundles.SHIPPED, Path.glob

    def glob(folder: Path, pattern: str):
        if folder != shipped:
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder, pattern)

    monkeypatch.setattr(Path, "glob", glob)
    assert shipped / bundles.DEFAULT_MODEL in bundles.find_bundles()


# The process


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run lesion-segmenter with these arguments and redirections in a shell."""
    line = f'"{sys.executable}" -m LesionSegmenterLib.cli {command}'
    return subprocess.run(line, shell=True, capture_output=True, text=True, env=os.environ | environment)


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
@pytest.mark.parametrize(
    ("command", "status"),
    [("models list >&-", 0), ("models list 2>&-", 0), ("measure none.nii >&- 2>&- <&-", 2)],
)
def test_closed_streams_are_no_error(command, status):
    ended = shell(command)
    assert ended.returncode == status and ended.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", ["models list", "segment none.nii --out none --progress json"])
def test_output_that_cannot_be_written_ends_in_one_line(command, monkeypatch, capsys):
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert call(*command.split()) in (1, 2)
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "Traceback" not in said


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_a_signal_after_the_work_is_done_does_not_change_its_exit_status():
    script = (
        "import atexit, os, signal\n"
        "from LesionSegmenterLib.cli import main\n"
        # What is registered first runs last, when the interpreter is on its way out.
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))\n"
        "main(['models', 'list'])\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 0 and ended.stderr == ""


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_a_terminal_without_unicode_gets_escapes(tmp_path):
    mask = tmp_path / "m\xe4sk.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), mask)
    ended = shell(f'split "{mask}" --out "{tmp_path}/\xf6.nii"', PYTHONIOENCODING="ascii")
    assert ended.returncode == 0 and "\\xf6.nii" in ended.stdout and (tmp_path / "\xf6.nii").exists()


@pytest.mark.parametrize(("main", "command"), [(call, "demo"), (lambda *words: train([*words]), "cascade")])
def test_a_negative_seed_is_refused_in_one_line(capsys, main, command):
    with pytest.raises(SystemExit) as ended:
        main(command, "--out", "out", "--seed", "-1")
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "-1 is negative" in said and said.count("\n") == 1


# lesion-train


def test_wrong_arguments_of_lesion_train_end_with_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        train(["dance"])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith("lesion-train: ") and said.count("\n") == 1


def test_what_nobody_foresaw_in_lesion_train_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("lesion_training.cli.recipe_names", lambda: 1 / 0)
    assert train(["recipes"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "unexpected ZeroDivisionError" in said


@pytest.mark.parametrize("content", ["[]", "{}", '{"recipe": "uresnet"}'])
def test_a_run_whose_note_is_damaged_is_not_bundled(tmp_path, capsys, content):
    (tmp_path / "run.json").write_text(content)
    assert train(["bundle", str(tmp_path), "--out", str(tmp_path / "out"), "--name", "n"]) == 2
    said = capsys.readouterr().err
    assert "run.json" in said and said.count("\n") == 1
