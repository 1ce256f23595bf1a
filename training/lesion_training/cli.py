"""``lesion-train``: from cases to a model bundle."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import get_args

from LesionSegmenterLib.command_line import (
    OneLineParser,
    exit_status,
    mend_streams,
    whole_number,
)
from LesionSegmenterLib.engine.normalisation import Normalisation
from LesionSegmenterLib.progress import JsonReporter

from . import (
    averaging,
    calibrate,
    ensembling,
    evaluate_command,
    fit_command,
    robustness_command,
    synth,
    types_command,
)
from .recipe import load_recipe, recipe_names


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit status (0 done, 2 unusable input, 3 cancelled, 1 anything else)."""
    mend_streams()
    before = signal.signal(signal.SIGTERM, _cancel)

    options = argparse.Namespace()

    def work() -> None:
        _parser().parse_args(arguments, options)
        options.run(options)

    try:
        return exit_status(work, lambda line, status: _tell(options, line, status))
    finally:
        signal.signal(signal.SIGTERM, before)


def _cancel(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _tell(options: argparse.Namespace, line: str, status: int) -> None:
    """Say why the command ended: one line on stderr, and an event for a program that reads events."""
    print(f"lesion-train: {line}", file=sys.stderr)
    if getattr(options, "progress", None) == "json":
        JsonReporter().tell("error", message=line, status=status)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser("lesion-train", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fit_command.add_parser(commands)

    cascade = commands.add_parser("cascade", help="train the classifier of lesion types on the mask banks")
    cascade.add_argument("--data", type=Path, required=True, help="folder that holds lesion_banks/")
    cascade.add_argument("--out", type=Path, required=True, help="folder for classifier.safetensors")
    cascade.add_argument("--seed", type=whole_number, default=0)
    cascade.set_defaults(run=_cascade)

    evaluate_command.add_parser(commands)
    calibrate.add_parser(commands)
    robustness_command.add_parser(commands)
    synth.add_parser(commands)
    types_command.add_parser(commands)

    bundle = commands.add_parser("bundle", help="make a bundle of a run")
    bundle.add_argument("training_run", type=Path, metavar="RUN")
    bundle.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    bundle.add_argument("--name", required=True)
    bundle.add_argument("--version", default="0.1.0")
    bundle.add_argument("--classifier", type=Path, help="the cascade's second stage")
    bundle.add_argument("--threshold", type=float, help="default: 0.5, or that of the model it began with")
    bundle.add_argument(
        "--normalisation", choices=get_args(Normalisation),
        help="what intensities it reads; default: those it was trained on",
    )  # fmt: skip
    bundle.add_argument("--scores", type=Path, help="what evaluate --json wrote")
    bundle.add_argument("--calibration", type=Path, help="what calibrate --out wrote: threshold, confidence")
    bundle.set_defaults(run=_bundle)

    ensembling.add_parser(commands)
    averaging.add_parser(commands)

    recipes = commands.add_parser("recipes", help="list the recipes")
    recipes.set_defaults(run=_recipes)
    return parser


def _cascade(options: argparse.Namespace) -> None:
    from .cascade import train_cascade

    print(json.dumps(train_cascade(options.data, options.out, options.seed), indent=1))


def _bundle(options: argparse.Namespace) -> None:
    from .bundling import make_bundle, read_calibration, read_json

    made = make_bundle(
        options.training_run,
        options.out,
        name=options.name,
        version=options.version,
        classifier=options.classifier,
        scores=read_json(options.scores) if options.scores else {},
        threshold=options.threshold,
        normalisation=options.normalisation,
        calibration=read_calibration(options.calibration) if options.calibration else None,
    )
    print(f"Bundle {made.spec.name} {made.spec.version} written to {made.folder}")


def _recipes(_: argparse.Namespace) -> None:
    for name in recipe_names():
        recipe = load_recipe(name)
        settings = recipe.optimisation
        steps = sum(stage.steps for stage in recipe.stages) + (settings.steps or 0)
        length = f"{steps} steps" if steps else f"{settings.epochs} epochs"
        print(f"{name}: {recipe.purpose} ({length} of {settings.batch}; {recipe.cost})")


if __name__ == "__main__":
    sys.exit(main())
