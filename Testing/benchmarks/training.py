"""Where a step of each recipe's small variant spends its time: waiting for data, or learning."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.tables import Table
from lesion_training.cases import Preparation, PreparedCase
from lesion_training.folders import find_entries
from lesion_training.pool import read_cases
from lesion_training.recipe import Recipe, load_recipe, recipe_names
from lesion_training.specification import completed
from lesion_training.trainer import Trainer
from LesionSegmenterLib.bundle import resolve_bundle
from LesionSegmenterLib.engine.device import Device
from training_cases import write_listed

_STEPS = 40
_WARM = 5  # steps before the clock starts: threads, caches and workers start in them


def run(repetitions: int) -> Table:
    workers = max(1, (os.cpu_count() or 1) - 1)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        thick, thin = (write_listed(Path(folder) / str(thick), thick=thick) for thick in (True, False))
        for name in recipe_names():
            recipe = _short(load_recipe(name, small=True))
            cases = _cases(recipe, thin if recipe.volumetric else thick)
            timed = [_times(recipe, cases, count) for count in (0, workers) for _ in range(repetitions)]
            alone, ahead = (
                [median(part) for part in zip(*some, strict=True)]
                for some in (timed[:repetitions], timed[repetitions:])
            )
            rows.append(
                (
                    name,
                    f"{1000 * alone[0]:.0f} ms",
                    f"{alone[1] / alone[0]:.0%}",
                    f"{1000 * ahead[0]:.0f} ms",
                    f"{ahead[1] / ahead[0]:.0%}",
                )
            )
    return Table(
        "Training",
        f"Small variants on four heads of 48x56x40 mm, {_STEPS - _WARM} steps on the CPU in fp32. Data: the "
        f"share of a step's time in which the network waits for its batch, made between the steps, or ahead "
        f"by {workers} worker{'s' if workers > 1 else ''}. Goal: under 10 %.",
        ("recipe", "step, no worker", "data", f"step, {workers} ahead", "data"),
        rows,
    )


def _short(recipe: Recipe) -> Recipe:
    """The recipe for so many steps, with the network of the model that it starts from."""
    recipe = completed(recipe, resolve_bundle(recipe.start).spec if recipe.start else None)
    return replace(recipe, optimisation=replace(recipe.optimisation, steps=_STEPS, epochs=None), stages=[])


def _cases(recipe: Recipe, data: Path) -> list[PreparedCase]:
    preparation = Preparation(
        recipe.types, "T1" in recipe.inputs, recipe.instances, keep_slices=not recipe.volumetric
    )
    return read_cases(find_entries([data]), preparation, lambda *_: None)


def _times(recipe: Recipe, cases: list[PreparedCase], workers: int) -> tuple[float, float]:
    """Seconds a step, and of those spent waiting for data."""
    with tempfile.TemporaryDirectory() as run:
        trainer = Trainer(recipe, cases, Path(run), 0, Device("cpu", "fp32"), workers=workers)
        start: list[float] = []

        def told(step: int, *_: object) -> None:
            if step == _WARM:
                start.extend((trainer.seconds, trainer.waited))

        trainer.fit(told)
        steps = _STEPS - _WARM
        return (trainer.seconds - start[0]) / steps, (trainer.waited - start[1]) / steps
