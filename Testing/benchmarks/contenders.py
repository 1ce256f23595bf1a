"""Recipes trained against each other: each for the same minutes of one core, by ``lesion-train fit``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from lesion_training.bundling import read_json
from lesion_training.listing import LISTING, LISTINGS, read_listing, write_listing
from LesionSegmenterLib.atomic import write_json

LISTED = "public.tsv"
BUDGET = "budget.json"
_STOPPED = 3  # fit's exit status after SIGTERM
_TIMED_SECONDS = 20.0  # of two steps at least, or one alone that takes three times as long


@dataclass(frozen=True)
class Contender:
    """A recipe with other values for some of its keys, and what a table says of those.

    with_t1 : its cases are those of the listing that have a T1, in training and in scoring.
    """

    name: str
    recipe: str
    about: str
    changes: tuple[str, ...] = ()
    with_t1: bool = False


# Of llambias's slices two at a time fit into the memory of a desk computer, of conflunet's patches one.
_OUR_STEPS = ("optimisation.batch=8", "optimisation.optimiser=adam", "optimisation.learning_rate=0.001")
_AND_OUR_STEPS = "its network and loss with batches of 8 and Adam at 0.001"
CONTENDERS = (
    Contender("uresnet", "uresnet", "ours"),
    Contender("monai-unet", "monai-unet", "MONAI's U-Net, all else as ours"),
    Contender("uresnet-paper", "uresnet-paper", "Guerrero et al. 2018"),
    Contender("viteri", "viteri", "Viteri et al. 2021; cases with a T1", with_t1=True),
    Contender("viteri-8", "viteri", f"the same: {_AND_OUR_STEPS}", _OUR_STEPS, with_t1=True),
    Contender("deepwml", "deepwml", "Zhang et al. 2022"),
    Contender("deepwml-8", "deepwml", f"the same: {_AND_OUR_STEPS}", _OUR_STEPS),
    Contender(
        "llambias-binary", "llambias-binary", "Llambias et al. 2024, step 1", ("optimisation.accumulate=32",)
    ),
    Contender(
        "llambias-binary-8",
        "llambias-binary",
        f"the same: {_AND_OUR_STEPS}",
        (*_OUR_STEPS, "optimisation.accumulate=4"),
    ),
    Contender("conflunet-quarter", "conflunet-quarter", "ConfLUNet at a quarter of its widths"),
    Contender("conflunet", "conflunet", "Wynen et al. 2024", ("optimisation.accumulate=2",)),
)


@dataclass
class Budget:
    """What a contender was given and what it used: seconds are those of one core, not of the clock.

    They leave out the making of the cases, and tell the same on a machine that is busy with other work.
    """

    minutes: float
    seed: int
    steps: int
    seconds_a_step: float
    seconds_used: float = 0.0
    finished: bool = False

    def write(self, run: Path) -> None:
        """Keep it in the run's folder."""
        write_json(run / BUDGET, asdict(self))


def read_budget(run: Path) -> Budget | None:
    """The budget that a run was begun with; None where there is no such run."""
    return Budget(**read_json(run / BUDGET)) if (run / BUDGET).is_file() else None


def train(contender: Contender, data: Path, run: Path, minutes: float, seed: int) -> Budget:
    """Train a contender in the folder ``run``, on from where it was stopped; its budget.

    The number of steps follows from a short timing of the recipe on the real cases alone. KeyboardInterrupt
    stops the training at the end of its step; the same call goes on from there.
    """
    budget = read_budget(run)
    if budget is not None and (budget.minutes, budget.seed) != (minutes, seed):
        raise SystemExit(f"{run} was begun with {budget.minutes:g} minutes and seed {budget.seed}")
    if budget is None:
        seconds = _seconds_a_step(contender, data)
        budget = Budget(minutes, seed, max(1, round(60 * minutes / seconds)), round(seconds, 3))
        run.mkdir(parents=True, exist_ok=True)
        budget.write(run)
    if budget.finished:
        return budget
    print(f"{contender.name}: {budget.steps} steps of {budget.seconds_a_step:.2f} s", flush=True)
    marks = [0.0]

    def told(step: int, seconds: float) -> bool:
        marks[0] = seconds
        return False

    try:
        arguments = ["--seed", str(seed), "--steps", str(budget.steps), "--out", str(run)]
        _fit(contender, data, arguments, told)
        budget.finished = True
    finally:
        budget.seconds_used = round(budget.seconds_used + marks[0], 1)
        budget.write(run)
    return budget


def _seconds_a_step(contender: Contender, data: Path) -> float:
    """Seconds of one core that a step takes, from a few of them on the real cases."""
    marks: list[float] = []

    def told(step: int, seconds: float) -> bool:
        marks.append(seconds)
        return seconds > 3 * _TIMED_SECONDS or (step > 1 and seconds > _TIMED_SECONDS)

    with tempfile.TemporaryDirectory() as folder:
        real = ["cases.real=1", "cases.painted=0", "cases.synthetic=0", "cases.synthetic_heads=0"]
        _fit(contender, data, ["--steps", "100000", "--out", folder], told, real)
    if len(marks) == 1:
        return marks[0]
    return (marks[-1] - marks[0]) / (len(marks) - 1)  # without the first, which also loads libraries


def _fit(
    contender: Contender,
    data: Path,
    arguments: list[str],
    told: Callable[[int, float], bool],
    changes: list[str] | None = None,
) -> None:
    """Run ``fit`` on one core; ``told`` gets each step and its core-seconds so far, and True stops it.

    SystemExit where it fails: it has said why.
    """
    with tempfile.TemporaryDirectory() as folder:
        listed = [f"listing={LISTED}", "validation.every=0", *contender.changes, *(changes or [])]
        where = _with_t1(data, Path(folder)) if contender.with_t1 else data
        command = [
            sys.executable, "-m", "lesion_training.cli", "fit", contender.recipe, "--data", str(where),
            "--device", "cpu", "--workers", "0", "--progress", "json", *arguments, "--set", *listed,
        ]  # fmt: skip
        alone = os.environ | {"OMP_NUM_THREADS": "1"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=alone) as process:
            try:
                asked = _follow(process, told)
            except BaseException:
                process.terminate()  # the step under way ends and is saved
                process.wait()
                raise
        if process.returncode == _STOPPED and not asked:
            raise KeyboardInterrupt
        if process.returncode not in (0, _STOPPED):
            raise SystemExit(f"{contender.name}: training ended with status {process.returncode}")


def _follow(process: subprocess.Popen[str], told: Callable[[int, float], bool]) -> bool:
    """Tell of each step until ``fit`` ends; whether it was asked to stop."""
    clock = psutil.Process(process.pid)
    begin = used = 0.0
    asked = False
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if process.poll() is None:
            times = clock.cpu_times()
            used = times.user + times.system
        if event["event"] != "step":
            begin = begin if event["event"] == "done" else used
        elif not asked and told(event["step"], used - begin):
            process.terminate()
            asked = True
    return asked


def _with_t1(data: Path, folder: Path) -> Path:
    """A folder whose listing holds the cases with a T1 alone."""
    entries = read_listing(LISTINGS / LISTED, data)
    write_listing(folder / LISTING, [entry for entry in entries if entry.t1])
    return folder
