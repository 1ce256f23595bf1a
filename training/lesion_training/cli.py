"""``lesion-train``: from cases to a model bundle."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from tqdm import tqdm

from LesionSegmenterLib.atomic import check_not_input, write_json, writing_error
from LesionSegmenterLib.command_line import (
    OneLineParser,
    exit_status,
    mend_streams,
    probability,
    whole_number,
)
from LesionSegmenterLib.engine.device import DEVICES, PRECISIONS, Device, choose_device
from LesionSegmenterLib.errors import InputError

from .cases import LISTING, CaseEntry, check_splits, read_listing
from .recipe import LISTINGS, CaseSettings, load_recipe, recipe_names


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit status (0 done, 2 unusable input, 3 cancelled, 1 anything else)."""
    mend_streams()
    before = signal.signal(signal.SIGTERM, _cancel)

    def work() -> None:
        options = _parser().parse_args(arguments)
        options.run(options)

    try:
        return exit_status(work, lambda line, _: print(f"lesion-train: {line}", file=sys.stderr))
    finally:
        signal.signal(signal.SIGTERM, before)


def _cancel(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser("lesion-train", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fit = commands.add_parser("fit", help="train a network by a recipe")
    fit.add_argument("recipe", help="a recipe's name, or a YAML file")
    fit.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help=f"folders of the listed cases (a folder's own {LISTING} comes first)",
    )
    fit.add_argument(
        "--out", type=Path, required=True, help="folder of the run; an unfinished run there is resumed"
    )
    fit.add_argument("--seed", type=whole_number, default=0)
    fit.add_argument("--steps", type=int, help="train for so many steps instead of the recipe's")
    fit.add_argument("--device", choices=DEVICES, default="auto")
    fit.add_argument("--precision", choices=PRECISIONS, default="auto")
    fit.set_defaults(run=_fit)

    cascade = commands.add_parser("cascade", help="train the classifier of lesion types on the mask banks")
    cascade.add_argument("--data", type=Path, required=True, help="folder that holds lesion_banks/")
    cascade.add_argument("--out", type=Path, required=True, help="folder for classifier.safetensors")
    cascade.add_argument("--seed", type=whole_number, default=0)
    cascade.set_defaults(run=_cascade)

    evaluate = commands.add_parser("evaluate", help="score a bundle on the listed cases of one split")
    evaluate.add_argument("bundle", help="a bundle's folder, or a model's name")
    evaluate.add_argument(
        "--data", type=Path, nargs="+", required=True, metavar="DIR", help="folders of the listed cases"
    )
    evaluate.add_argument("--listing", default="public.tsv", help="the package's listing to use")
    evaluate.add_argument("--split", default="validation")
    evaluate.add_argument("--threshold", type=probability, help="lesion probability (default: the bundle's)")
    evaluate.add_argument("--json", type=Path, help="write the scores to this file as well")
    evaluate.set_defaults(run=_evaluate)

    bundle = commands.add_parser("bundle", help="make a bundle of a run")
    bundle.add_argument("training_run", type=Path, metavar="RUN")
    bundle.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    bundle.add_argument("--name", required=True)
    bundle.add_argument("--version", default="0.1.0")
    bundle.add_argument("--classifier", type=Path, help="the cascade's second stage")
    bundle.add_argument("--threshold", type=float, default=0.5)
    bundle.add_argument("--scores", type=Path, help="what evaluate --json wrote")
    bundle.set_defaults(run=_bundle)

    recipes = commands.add_parser("recipes", help="list the recipes")
    recipes.set_defaults(run=_recipes)
    return parser


def _cascade(options: argparse.Namespace) -> None:
    from .cascade import train_cascade

    print(json.dumps(train_cascade(options.data, options.out, options.seed), indent=1))


def _evaluate(options: argparse.Namespace) -> None:
    from LesionSegmenterLib.segment import SegmentOptions, load

    from .evaluation import score_case, score_summary, score_table

    entries = _entries(options.data, options.listing, options.split)
    settings = SegmentOptions(model=options.bundle, threshold=options.threshold)
    if options.json:
        check_not_input(
            options.json, *(path for entry in entries for path in (entry.image, entry.mask) if path)
        )
    model = load(settings)
    with tqdm(entries, desc="scoring", file=sys.stderr) as bar:
        scores = [score_case(entry, settings, model) for entry in bar]
    print(score_table(scores))
    if options.json:
        write_json(options.json, score_summary(scores))


def _bundle(options: argparse.Namespace) -> None:
    from .bundling import make_bundle, read_json

    made = make_bundle(
        options.training_run,
        options.out,
        name=options.name,
        version=options.version,
        classifier=options.classifier,
        scores=read_json(options.scores) if options.scores else {},
        threshold=options.threshold,
    )
    print(f"Bundle {made.spec.name} {made.spec.version} written to {made.folder}")


def _entries(folders: list[Path], listing: str, split: str) -> list[CaseEntry]:
    """The entries of one split in each folder's own listing, or in the package's by name."""
    entries = []
    for folder in folders:
        if not folder.is_dir():
            raise InputError("no such folder of cases", folder)
        own = folder / LISTING
        entries += read_listing(own if own.is_file() else LISTINGS / listing, folder)
    check_splits(entries)
    entries = [entry for entry in entries if entry.split == split]
    if not entries:
        raise InputError(f"no case of split {split!r} is listed", ", ".join(map(str, folders)))
    return entries


def _recipes(_: argparse.Namespace) -> None:
    for name in recipe_names():
        recipe = load_recipe(name)
        print(f"{name}: {recipe.purpose} ({recipe.steps} steps)")


def _fit(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from .pool import build_pool
    from .trainer import Trainer

    recipe = load_recipe(options.recipe)
    if options.steps is not None:
        if options.steps < 1:
            raise InputError(f"--steps is {options.steps}", todo="Train for at least one step")
        recipe = replace(recipe, optimisation=replace(recipe.optimisation, steps=options.steps), stages=[])
    entries = _entries(options.data, recipe.listing, "train")
    device = choose_device(options.device, options.precision)
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise writing_error(options.out, error) from error
    banks = next((folder for folder in options.data if (folder / "lesion_banks").is_dir()), options.data[0])
    with tqdm(desc="preparing cases", file=sys.stderr) as bar:

        def prepared(_: str, done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        cases = build_pool(entries, banks, recipe.cases, options.seed, prepared)
    _note_run(options, device, {entry.dataset for entry in entries} | _data_of(recipe.cases))
    with (
        tqdm(total=recipe.steps, desc="training", file=sys.stderr, mininterval=5) as steps,
        (options.out / "loss.tsv").open("a", buffering=1) as log,
    ):

        def trained(step: int, _: int, loss: float) -> None:
            steps.update(step - steps.n)
            steps.set_postfix(loss=f"{loss:.3f}", refresh=False)
            if step % 25 == 0:
                log.write(f"{step}\t{loss:.5f}\n")

        Trainer(recipe, cases, options.out, options.seed, device).fit(trained)


def _note_run(options: argparse.Namespace, device: Device, data_sets: set[str]) -> None:
    """Write down what the run is made of, once: a resumed run keeps its first note."""
    import torch

    note = options.out / "run.json"
    if note.is_file():
        return
    write_json(
        note,
        {
            "recipe": options.recipe,
            "seed": options.seed,
            "started": time.strftime("%Y-%m-%d %H:%M"),
            "device": {
                "name": device.name,
                "precision": device.precision,
                "threads": torch.get_num_threads(),
            },
            "data_sets": sorted(data_sets),
        },
    )


def _data_of(cases: CaseSettings) -> set[str]:
    """The banks and maps that painting and synthesis draw on."""
    if not (cases.painted or cases.synthetic):
        return set()
    return {"bank_soop", "bank_lesymap", "bank_ms_components", "icbm152"}


if __name__ == "__main__":
    sys.exit(main())
