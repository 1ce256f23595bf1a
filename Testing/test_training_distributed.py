"""Two processes as torchrun starts them, on the CPU: what one process gives, they give together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lesion_training.checkpoint import result_weights
from lesion_training.cli import main
from lesion_training.curves import read_curve
from training_cases import write_listed

RECIPE: dict[str, Any] = {
    "purpose": "a test",
    # No norms: of a convolution before one, the bias has no gradient, and rounding decides where it goes.
    "network": {"name": "deepwml", "arguments": {"widths": [4, 8]}},
    "classes": {"WMH": 1, "stroke": 1, "MS": 1, "lesion": 1},
    "loss": {"name": "cross-entropy"},  # a mean over voxels: that of two halves is that of the whole
    "patches": {"size": [32, 32], "centre": "random", "lesion_share": 0.5},
    "transforms": {"noise": {"share": 0.5, "sd": [0.0, 0.1]}},
    "optimisation": {
        "steps": 6,
        "batch": 4,
        "accumulate": 2,
        "optimiser": "sgd",
        "learning_rate": 0.1,
        "average_decay": 0.5,
    },
    "validation": {"every": 3},
}


def command(recipe: Path, data: Path, out: Path) -> list[str]:
    fixed = ["--device", "cpu", "--precision", "fp32", "--workers", "0", "--progress", "none"]
    return ["fit", str(recipe), "--data", str(data), "--out", str(out), *fixed]


@pytest.fixture(scope="module")
def setting(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A recipe, its data, and the run of it by one process."""
    folder = tmp_path_factory.mktemp("processes")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    splits = ("train", "train", "validation", "validation", "validation")
    data = write_listed(folder / "data", thick=True, splits=splits)
    assert main(command(folder / "tiny.yaml", data, folder / "one")) == 0
    return folder / "tiny.yaml", data, folder / "one"


def torchrun(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*start, "-m", "lesion_training.cli", *arguments],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_two_processes_train_the_network_that_one_trains(setting, tmp_path):
    recipe, data, one = setting
    done = torchrun(command(recipe, data, tmp_path / "two"))
    assert done.returncode == 0, done.stderr[-2000:]
    weights, progress = result_weights(tmp_path / "two")
    expected, alone = result_weights(one)
    assert progress["step"] == alone["step"]
    assert progress["validation"] == pytest.approx(alone["validation"], abs=0.02)
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, atol=2e-4, rtol=1e-3, msg=name)
    losses, same = (read_curve(run / "loss.tsv") for run in (tmp_path / "two", one))
    assert losses[-1][1] == pytest.approx(same[-1][1], rel=1e-3)
    assert [step for step, _ in read_curve(tmp_path / "two" / "validation.tsv")] == [3, 6], "written once"


def test_a_batch_that_the_processes_cannot_share_is_refused(setting, tmp_path):
    _, data, _ = setting
    odd = tmp_path / "odd.yaml"
    odd.write_text(yaml.safe_dump(RECIPE | {"optimisation": {"steps": 6, "batch": 6, "accumulate": 2}}))
    done = torchrun(command(odd, data, tmp_path / "run"))
    assert done.returncode != 0
    assert "a batch of 6 does not divide by 2 processes of 2 passes each" in done.stderr
