"""What bad input gets: one clear line that names the file, nothing half-written, and a run that can go on."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from lesion_training import losses, trainer
from lesion_training.checkpoint import CHECKPOINT, result_weights
from lesion_training.cli import main
from lesion_training.pool import CaseStore
from LesionSegmenterLib.errors import InputError
from small_data import bright_case, write_recipe
from training_cases import write_listed

FIXED = ("--device", "cpu", "--precision", "fp32", "--workers", "0", "--progress", "none")


@pytest.fixture
def data(tmp_path) -> Path:
    return write_listed(tmp_path / "data", thick=True, splits=("train", "validation"))


@pytest.fixture
def fit(data, tmp_path, capsys) -> Callable[..., tuple[int, str]]:
    """Run ``fit`` with a tiny recipe and these options; gives status and the line on stderr."""

    def run(*options: str, recipe: str | None = None, changes: dict | None = None) -> tuple[int, str]:
        name = recipe or write_recipe(tmp_path, changes)
        status = main(["fit", name, "--data", str(data), "--out", str(tmp_path / "run"), *FIXED, *options])
        error = capsys.readouterr().err
        assert error.count("\n") <= 1, error
        return status, error

    return run


def change(path: Path, edit: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
    image = nib.load(path)
    nib.save(nib.Nifti1Image(*edit(np.asarray(image.dataobj).copy(), image.affine.copy())), path)


def test_a_mask_on_another_grid_is_refused_by_its_name(fit, data, tmp_path):
    change(data / "0_types.nii.gz", lambda array, affine: (array[:, :, :-1], affine))
    status, line = fit()
    assert status == 2 and "0_types.nii.gz: the mask is on another grid than its image" in line
    assert not (tmp_path / "run" / CHECKPOINT).exists()


def test_a_type_value_outside_the_map_is_refused_by_its_file(fit, data):
    change(data / "0_types.nii.gz", lambda array, affine: (np.where(array == 2, 9, array), affine))
    status, line = fit()
    assert status == 2 and "0_types.nii.gz: the mask holds the value 9" in line


def test_an_image_without_its_mask_is_refused_by_its_name(fit, data):
    listing = data / "cases.tsv"
    listing.write_text(listing.read_text().replace("0_types.nii.gz", ""))
    status, line = fit()
    assert status == 2 and "0_flair.nii.gz: this image has no lesion mask" in line
    (data / "1_types.nii.gz").unlink()
    status, line = fit()
    assert status == 2 and "1_types.nii.gz: file is missing" in line


def test_a_recipe_of_flair_and_t1_refuses_a_case_without_a_t1(fit, data, tmp_path):
    listing = data / "cases.tsv"
    listing.write_text(listing.read_text().replace("1_t1.nii.gz", ""))
    status, line = fit("--small", recipe="viteri")
    assert status == 2 and "1_flair.nii.gz: recipe viteri reads a T1 and case case1 has none" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_where_there_is_none_is_refused(fit, tmp_path):
    status, line = fit("--device", "cuda")
    assert status == 2 and "cuda is not available" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--memory", "-1"), "--memory"),
        (("--workers", "-1"), "--workers"),
        (("--layers", "some"), "--layers"),
        (("--start", "none-such"), "there is no model 'none-such'"),
        (("--pseudo-labels", "none-such"), "there is no model 'none-such'"),
    ],
)
def test_an_option_that_cannot_be_is_refused(fit, options, says):
    try:
        status, line = fit(*options)
    except SystemExit as error:  # argparse's own way out
        status, line = int(error.code or 0), says
    assert status == 2 and says in line


def test_a_loss_that_takes_no_such_argument_is_refused(fit):
    status, line = fit(changes={"loss": {"name": "focal-dice", "arguments": {"gama": 2.0}}})
    assert status == 2 and "gama" in line and "Did you mean 'gamma'" in line


def test_nan_in_the_loss_ends_the_run_with_one_line_and_leaves_it_to_be_resumed(fit, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "_SAVE_EVERY", 1)
    real = losses.segmentation_loss
    calls: list[int] = []

    def breaks(*arguments) -> torch.Tensor:
        calls.append(1)
        return real(*arguments) * (float("nan") if len(calls) == 3 else 1)

    with monkeypatch.context() as patch:
        patch.setattr(losses, "segmentation_loss", breaks)
        status, line = fit()
    assert status == 1 and "the loss is nan at step 2" in line and "resume" in line
    assert result_weights(tmp_path / "run")[1]["step"] == 2
    assert fit()[0] == 0
    assert result_weights(tmp_path / "run")[1]["step"] == 3


def test_a_full_disk_ends_the_run_with_one_line_and_keeps_the_last_checkpoint(fit, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "_SAVE_EVERY", 1)
    real, written = Path.write_bytes, []

    def full(self: Path, content) -> int:
        if CHECKPOINT not in self.name:
            return real(self, content)
        written.append(self.name)
        if len(written) < 2:
            return real(self, content)
        real(self, bytes(content)[:1000])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        status, line = fit()
    assert status == 2 and f"{tmp_path / 'run'}: the disk is full" in line
    assert result_weights(tmp_path / "run")[1]["step"] == 1
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]
    assert fit()[0] == 0 and result_weights(tmp_path / "run")[1]["step"] == 3


def test_a_checkpoint_cut_short_is_refused_by_its_name(fit, tmp_path):
    assert fit()[0] == 0
    path = tmp_path / "run" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:2000])
    status, line = fit()
    assert status == 2 and f"{CHECKPOINT}: the checkpoint cannot be read. Remove it to start anew" in line


# Memory


def test_cases_beyond_the_budget_are_kept_on_the_disk_and_are_the_same(tmp_path):
    cases = [bright_case(seed) for seed in range(3)]
    size = cases[0].image.nbytes + cases[0].target.nbytes
    store = CaseStore(2 * size, tmp_path)
    kept = [store.keep(case) for case in cases]
    assert [isinstance(case.image, np.memmap) for case in kept] == [False, False, True]
    assert store.used <= 2 * size and len(list(tmp_path.iterdir())) == 2
    for case, same in zip(cases, kept, strict=True):
        np.testing.assert_array_equal(case.image, same.image)
        np.testing.assert_array_equal(case.target, same.target)


def test_a_run_without_memory_for_its_cases_trains_the_same_network_and_cleans_up(fit, tmp_path):
    assert fit()[0] == 0
    weights, _ = result_weights(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "first")
    assert fit("--memory", "0")[0] == 0
    for name, value in result_weights(tmp_path / "run")[0].items():
        assert torch.equal(value, weights[name])
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]


def test_a_disk_too_full_for_the_cases_is_said_in_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot write into this folder"):
        CaseStore(0, tmp_path / "none").keep(bright_case())
