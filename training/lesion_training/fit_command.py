"""``lesion-train fit``: from folders of cases to a trained run."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from LesionSegmenterLib.atomic import scratch_folder, write_json, writing_error
from LesionSegmenterLib.command_line import whole_number
from LesionSegmenterLib.engine.device import DEVICES, PRECISIONS, Device, choose_device
from LesionSegmenterLib.errors import BundleError, InputError
from LesionSegmenterLib.progress import MODES

from .cases import DOUBTFUL, IGNORE, CaseEntry, Preparation
from .folders import find_entries, of_split
from .listing import LISTING, read_listing, write_listing
from .progress import Quiet, training_reporter
from .recipe import CaseSettings, Recipe, load_recipe

if TYPE_CHECKING:
    from LesionSegmenterLib.bundle import Bundle

    from .distributed import Processes
    from .trainer import Trainer

NOTE = "run.json"
_STORE = "prepared"


def add_parser(commands: argparse._SubParsersAction) -> None:
    fit = commands.add_parser("fit", help="train a network by a recipe")
    fit.add_argument("recipe", help="a recipe's name, or a YAML file")
    fit.add_argument(
        "--data", type=Path, nargs="+", required=True, metavar="DIR",
        help=f"folders with a {LISTING}, of exported cases, or BIDS data sets with masks",
    )  # fmt: skip
    fit.add_argument(
        "--out", type=Path, required=True, help="folder of the run; an unfinished run there is resumed"
    )
    fit.add_argument("--small", action="store_true", help="the recipe's small variant, for a laptop")
    fit.add_argument("--seed", type=whole_number, default=0)
    fit.add_argument("--steps", type=int, help="train for so many steps instead of the recipe's")
    fit.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", dest="changes",
        help="other values for a recipe's keys, for example cases.painted=0",
    )  # fmt: skip
    fit.add_argument("--start", metavar="MODEL", help="a bundle or model to start from")
    fit.add_argument(
        "--layers", choices=("all", "last"), default="all",
        help="which of its layers to train: the last ones where cases are few",
    )  # fmt: skip
    fit.add_argument(
        "--unreviewed", choices=("ignore", "count"), default="ignore",
        help="lesions of exported cases that nobody looked at: leave them out, or count them as they are",
    )  # fmt: skip
    fit.add_argument("--pseudo-labels", metavar="MODEL", help="a model that marks what a data set does not")
    fit.add_argument("--device", choices=DEVICES, default="auto")
    fit.add_argument("--precision", choices=PRECISIONS, default="auto")
    fit.add_argument("--deterministic", action="store_true", help="the same bits again, more slowly")
    fit.add_argument(
        "--workers", type=whole_number, default=_spare_cores(), help="processes that prepare batches"
    )
    fit.add_argument(
        "--memory", type=_gigabytes, default=8.0, metavar="GB",
        help="for prepared cases; what does not fit is kept on the disk (default: 8)",
    )  # fmt: skip
    fit.add_argument("--progress", choices=MODES, help="default: a bar in a terminal, else none")
    fit.set_defaults(run=run)


def _spare_cores() -> int:
    """Cores but one, where worker processes share the memory of this one."""
    return min(8, (os.cpu_count() or 1) - 1) if sys.platform == "linux" else 0


def _gigabytes(text: str) -> float:
    value = float(text)
    if not value >= 0:
        raise argparse.ArgumentTypeError(f"{text} is no size of memory")
    return value


def run(options: argparse.Namespace) -> None:
    from .distributed import joined, started_processes

    processes = started_processes()
    reporter = training_reporter(options.progress if processes.first else "none")
    try:
        recipe = _recipe(options)
        start = _start(options, recipe)
        recipe = _completed(recipe, start)
        device = choose_device(options.device, options.precision)
        if options.deterministic:
            _be_deterministic()
        entries = _entries(options, recipe, reporter)
        _make_run(options.out)
        with joined(processes, device):
            if processes.first:
                _note_cases(options.out, entries)
            processes.wait()
            with _trainer(options, recipe, entries, start, device, processes, reporter) as trainer:
                if processes.first:
                    _note_run(options, trainer, entries, start)
                _train(trainer, reporter)
    finally:
        reporter.close()


def _recipe(options: argparse.Namespace) -> Recipe:
    recipe = load_recipe(options.recipe, small=options.small, changes=options.changes)
    if options.steps is None:
        return recipe
    if options.steps < 1:
        raise InputError(f"--steps is {options.steps}", todo="Train for at least one step")
    optimisation = replace(recipe.optimisation, steps=options.steps, epochs=None)
    return replace(recipe, optimisation=optimisation, stages=[])


def _start(options: argparse.Namespace, recipe: Recipe) -> Bundle | None:
    """The model to start from: the option's, else the recipe's."""
    from LesionSegmenterLib.bundle import resolve_bundle

    if options.start or recipe.start is None:
        return resolve_bundle(options.start) if options.start else None
    try:
        return resolve_bundle(recipe.start)
    except BundleError as error:
        raise BundleError(
            f"the recipe starts from the model {recipe.start}: {error.what}",
            error.where,
            f"Train and bundle {recipe.start} first and give its bundle with --start",
        ) from error


def _completed(recipe: Recipe, start: Bundle | None) -> Recipe:
    from .specification import completed

    return completed(recipe, start.spec if start else None)


def _entries(options: argparse.Namespace, recipe: Recipe, reporter: Quiet) -> dict[str, list[CaseEntry]]:
    """The entries by split; those to train on have what the recipe reads."""
    entries = find_entries(
        options.data,
        listing=recipe.listing,
        unreviewed=options.unreviewed,
        split=recipe.split,
        seed=options.seed,
        warn=reporter.warn,
    )
    by_split = {
        split: [entry for entry in entries if entry.split == split]
        for split in ("train", "validation", "test")
    }
    by_split["train"] = of_split(entries, "train", options.data)
    for entry in (*by_split["train"], *by_split["validation"]):
        if "T1" in recipe.inputs and entry.t1 is None:
            raise InputError(
                f"recipe {options.recipe} reads a T1 and case {entry.case} has none",
                entry.image,
                "Name it in column t1, or take a recipe of the FLAIR alone",
            )
        if entry.mask is None and entry.weight > 0:
            raise InputError("this image has no lesion mask", entry.image, "Add it, or give it weight 0")
    if not any(entry.weight > 0 for entry in by_split["train"]):
        raise InputError("no case to train on has a weight", todo="Give one a weight over 0")
    return by_split


def _make_run(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise writing_error(out, error) from error


def _note_cases(out: Path, entries: dict[str, list[CaseEntry]]) -> None:
    """Write the run's own listing: which case was trained on, and which not.

    InputError where the run was begun on others: who is validated on must not have been trained on.
    """
    for left in out.glob(f".{_STORE}.*.part"):  # of a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    listed = [entry for split in entries.values() for entry in split]
    if (out / LISTING).is_file():
        before = {(entry.case, entry.split) for entry in read_listing(out / LISTING, out)}
        if before != {(entry.case, entry.split) for entry in listed}:
            raise InputError(
                "the cases are not those that this run was begun with",
                out / LISTING,
                "Give the same folders and seed, or choose another --out",
            )
        return
    write_listing(out / LISTING, listed)


@contextmanager
def _trainer(
    options: argparse.Namespace,
    recipe: Recipe,
    entries: dict[str, list[CaseEntry]],
    start: Bundle | None,
    device: Device,
    processes: Processes,
    reporter: Quiet,
) -> Iterator[Trainer]:
    """A trainer whose cases are prepared; those on the disk are gone at the end."""
    from .pool import CaseStore, build_pool, read_cases
    from .trainer import Trainer

    preparation = Preparation(
        classes=recipe.types,
        t1="T1" in recipe.inputs,
        instances=recipe.instances,
        keep_slices=not recipe.volumetric,
        doubtful=DOUBTFUL if recipe.cases.normal_bright == "weighted" else IGNORE,
        least_contrast=recipe.cases.least_contrast,
        programmes=recipe.cases.programmes,
        stroke_contrast=recipe.cases.stroke_contrast,
    )
    banks = next((folder for folder in options.data if (folder / "lesion_banks").is_dir()), options.data[0])
    with scratch_folder(options.out / _STORE) as folder:
        store = CaseStore(options.memory * 1e9 / processes.count, folder)
        cases = build_pool(
            entries["train"],
            banks,
            recipe.cases,
            options.seed,
            reporter.prepared,
            preparation=preparation,
            store=store,
            amend=_pseudo_labels(options, recipe, device),
            warn=reporter.warn,
        )
        validation = []
        if recipe.validation.every:
            scored = [entry for entry in entries["validation"] if entry.mask]
            validation = read_cases(scored, preparation, reporter.prepared, store=store, warn=reporter.warn)
            if not validation:
                reporter.warn("there is no case to validate on: the last weights will be the result")
        yield Trainer(
            recipe,
            cases,
            options.out,
            options.seed,
            device,
            validation=validation,
            start=start,
            layers=options.layers,
            processes=processes,
            workers=options.workers,
        )


def _pseudo_labels(options: argparse.Namespace, recipe: Recipe, device: Device) -> Any:
    """What marks a case's unmarked lesions, where the option names a model."""
    if not options.pseudo_labels:
        return None
    from LesionSegmenterLib.bundle import resolve_bundle
    from LesionSegmenterLib.engine.model import load_model

    from .pseudo_labels import add_pseudo_labels

    return partial(
        add_pseudo_labels,
        classes=recipe.types,
        model=load_model(resolve_bundle(options.pseudo_labels), device),
    )


def _train(trainer: Trainer, reporter: Quiet) -> None:
    from .curves import EVERY, Curve, draw_curves

    curves = {}
    if trainer.processes.first:
        curves = {name: Curve(trainer.run, name, trainer.step) for name in ("loss", "validation")}

    def report(step: int, steps: int, loss: float, validation: float | None) -> None:
        reporter.step(step, steps, loss, validation)
        if curves and (step % EVERY == 0 or step == steps):
            curves["loss"].add(step, loss)
        if curves and validation is not None:
            curves["validation"].add(step, validation)

    try:
        trainer.fit(report)
    finally:
        if curves:
            draw_curves(trainer.run)
    if trainer.processes.first:
        best = trainer.best["score"] if trainer.best else None
        reporter.done(run=str(trainer.run), steps=trainer.step, loss=trainer.loss, validation=best)


def _note_run(
    options: argparse.Namespace,
    trainer: Trainer,
    entries: dict[str, list[CaseEntry]],
    start: Bundle | None,
) -> None:
    """Write down what the run is made of, once: a resumed run keeps its first note."""
    import torch

    from LesionSegmenterLib.engine.normalisation import NORMALISATION

    note = options.out / NOTE
    if note.is_file():
        return
    recipe, device = trainer.recipe, trainer.device
    data_sets = {entry.dataset for entry in entries["train"]} | _data_of(recipe.cases)
    started = (
        {"name": start.spec.name, "version": start.spec.version, "folder": str(start.folder.absolute())}
        if start
        else None
    )
    write_json(
        note,
        {
            "recipe": options.recipe,
            "small": options.small,
            "seed": options.seed,
            "steps": options.steps,
            "changes": options.changes,
            "started": time.strftime("%Y-%m-%d %H:%M"),
            "device": {
                "name": device.name,
                "precision": device.precision,
                "threads": torch.get_num_threads(),
                "processes": trainer.processes.count,
            },
            "data_sets": sorted(data_sets),
            "cases": {split: len(listed) for split, listed in entries.items()},
            "start": started,
            "pseudo_labels": _by(options.pseudo_labels),
            "layers": options.layers,
            "normalisation": NORMALISATION,
            "settings": asdict(recipe),
        },
    )


def _by(model: str | None) -> dict[str, str] | None:
    """The name and version of the model that pseudo-labels are of."""
    if not model:
        return None
    from LesionSegmenterLib.bundle import resolve_bundle

    spec = resolve_bundle(model).spec
    return {"name": spec.name, "version": spec.version}


def _data_of(cases: CaseSettings) -> set[str]:
    """The banks and maps that painting and synthesis draw on."""
    if not (cases.painted or cases.synthetic):
        return set()
    return {"bank_soop", "bank_lesymap", "bank_ms_components", "icbm152"}


def _be_deterministic() -> None:
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
