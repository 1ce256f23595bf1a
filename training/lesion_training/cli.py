"""``lesion-train``: from cases to a model bundle."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from tqdm import tqdm

from LesionSegmenterLib.engine.device import DEVICES, PRECISIONS, choose_device
from LesionSegmenterLib.errors import InputError, LesionSegmenterError

from .cases import LISTING, read_listing
from .recipe import LISTINGS, load_recipe, recipe_names


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit status (0 done, 2 unusable input, 3 cancelled, 1 anything else)."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except LesionSegmenterError as error:
        print(f"lesion-train: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("lesion-train: cancelled", file=sys.stderr)
        return 3
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("lesion-train", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fit = commands.add_parser("fit", help="train a network by a recipe")
    fit.add_argument("recipe", help="a recipe's name, or a YAML file")
    fit.add_argument(
        "--data", type=Path, required=True, help=f"folder of the listed cases (its own {LISTING} comes first)"
    )
    fit.add_argument(
        "--out", type=Path, required=True, help="folder of the run; an unfinished run there is resumed"
    )
    fit.add_argument("--seed", type=int, default=0)
    fit.add_argument("--steps", type=int, help="train for so many steps instead of the recipe's")
    fit.add_argument("--device", choices=DEVICES, default="auto")
    fit.add_argument("--precision", choices=PRECISIONS, default="auto")
    fit.set_defaults(run=_fit)

    recipes = commands.add_parser("recipes", help="list the recipes")
    recipes.set_defaults(run=_recipes)
    return parser


def _recipes(_: argparse.Namespace) -> None:
    for name in recipe_names():
        recipe = load_recipe(name)
        print(f"{name}: {recipe.purpose} ({recipe.optimisation.steps} steps)")


def _fit(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from .pool import build_pool
    from .trainer import Trainer

    recipe = load_recipe(options.recipe)
    if options.steps:
        recipe = replace(recipe, optimisation=replace(recipe.optimisation, steps=options.steps))
    if not options.data.is_dir():
        raise InputError("no such folder of cases", options.data)
    own = options.data / LISTING
    entries = read_listing(own if own.is_file() else LISTINGS / recipe.listing, options.data)
    device = choose_device(options.device, options.precision)
    options.out.mkdir(parents=True, exist_ok=True)
    bar = tqdm(desc="preparing cases", file=sys.stderr)

    def prepared(_: str, done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    cases = build_pool(
        [e for e in entries if e.split == "train"], options.data, recipe.cases, options.seed, prepared
    )
    bar.close()
    started = time.strftime("%Y-%m-%d %H:%M")
    (options.out / "run.json").write_text(
        json.dumps(
            {"recipe": options.recipe, "seed": options.seed, "started": started, "device": vars(device)},
            indent=1,
        )
    )
    steps = tqdm(total=recipe.optimisation.steps, desc="training", file=sys.stderr, mininterval=5)
    with (options.out / "loss.tsv").open("a", buffering=1) as log:

        def trained(step: int, _: int, loss: float) -> None:
            steps.update(step - steps.n)
            steps.set_postfix(loss=f"{loss:.3f}", refresh=False)
            if step % 25 == 0:
                log.write(f"{step}\t{loss:.5f}\n")

        Trainer(recipe, cases, options.out, options.seed, device).fit(trained)
    steps.close()


if __name__ == "__main__":
    sys.exit(main())
