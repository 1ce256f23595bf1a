"""``lesion-segmenter segment`` as a process of its own: seconds and peak memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from benchmarks.images import Triple, flair
from benchmarks.tables import Table, Timing

# A process inherits the peak of the one that starts it: a small one stands between this one and the measured.
_MEASURE = """
import json, resource, subprocess, sys, time
start = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=sys.stderr)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps([seconds, peak]))
"""
_STAGES = ("preparing", "predicting", "splitting", "typing")


@dataclass(frozen=True)
class _Job:
    shape: Triple
    spacing: tuple[float, float, float]
    goal: str


_JOBS = (
    _Job((256, 256, 48), (0.9, 0.9, 3.0), "under 5 s"),
    _Job((512, 512, 192), (0.5, 0.5, 1.0), "under 3 GB"),
)


def run(repetitions: int) -> Table:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for job, times in zip(_JOBS, (repetitions, 1), strict=True):  # the large one for its memory
            rows.append(_row(job, times, Path(folder)))
    return Table(
        "The whole command",
        "`lesion-segmenter segment` on whole heads, from the start of Python to the last file: time, "
        "greatest resident memory, and the stages as the sidecar gives them, in seconds. What is left of the "
        "time goes into imports, reading and writing. Volumes under 1.5 mm are read in all three planes "
        "where the model says so.",
        ("voxels", "mm", "goal", "time", "peak memory", *_STAGES),
        rows,
    )


def _row(job: _Job, times: int, folder: Path) -> tuple[str, ...]:
    path = folder / "flair.nii.gz"
    nib.save(nib.Nifti1Image(flair(job.shape, job.spacing), np.diag([*job.spacing, 1.0])), path)
    command = [
        sys.executable,
        "-m",
        "LesionSegmenterLib.cli",
        "segment",
        str(path),
        "--out",
        str(folder),
        "--device",
        "cpu",
    ]
    measured = [measure(command) for _ in range(times)]
    seconds, peak = tuple(took for took, _ in measured), max(used for _, used in measured)
    sidecar = json.loads(next(folder.glob("sub-*/anat/*_desc-lesions.json")).read_text(encoding="utf-8"))
    return (
        "x".join(map(str, job.shape)),
        "x".join(f"{side:g}" for side in job.spacing),
        job.goal,
        str(Timing(seconds)),
        f"{peak / 1e9:.2f} GB",
        *(f"{sidecar['seconds'][stage]:.2f}" for stage in _STAGES),
    )


def measure(command: Sequence[str]) -> tuple[float, int]:
    """Seconds and greatest resident memory in bytes of a command as a process of its own.

    CalledProcessError where it fails.
    """
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, *command], check=True, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    took, used = json.loads(done.stdout)
    return took, used
