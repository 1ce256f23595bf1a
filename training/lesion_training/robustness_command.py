"""``lesion-train robustness``: scores of bundles over a grid of what clinics send."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from LesionSegmenterLib.command_line import whole_number

from .case_arguments import add_case_arguments, chosen_entries


def add_parser(commands: argparse._SubParsersAction) -> None:
    robustness = commands.add_parser(
        "robustness", help="score bundles over slice thickness, noise, field strength and more"
    )
    robustness.add_argument(
        "bundles", nargs="+", metavar="BUNDLE", help="a bundle's folder, or a model's name"
    )
    add_case_arguments(robustness)
    robustness.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for tables and heat maps"
    )
    robustness.add_argument(
        "--heads", type=whole_number, default=2, help="synthetic heads of each lesion type (default: 2)"
    )
    robustness.add_argument(
        "--seed", type=whole_number, default=0, help="of the synthetic heads, noise and bias"
    )
    robustness.add_argument(
        "--quick", action="store_true", help="a few levels, on one case of each kind: a tenth of the time"
    )
    robustness.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from .held_out import stroke_bank
    from .named_models import load_models
    from .robustness import LEVELS, listed_case, score_grid, synthetic_cases
    from .robustness_report import make_grid, worst_cell, write_report

    entries = chosen_entries(options)
    models = load_models(options.bundles)
    cases = [listed_case(entry) for entry in entries]
    cases += synthetic_cases(options.heads, options.seed, stroke_bank(options.data))
    levels = LEVELS
    if options.quick:
        cases = list({case.kind: case for case in reversed(cases)}.values())[::-1]
        levels = tuple(level for level in LEVELS if level.quick)
    options.out.mkdir(parents=True, exist_ok=True)
    total = len(models) * len(cases) * len(levels)
    cells = tqdm(score_grid(models, cases, levels, options.seed), "scoring", total, file=sys.stderr)
    scores = [score for score in cells if score is not None]
    for model in models:
        own = [score for score in scores if score.bundle == model.name]
        print(f"{model.name}: {worst_cell(make_grid(own))}")
    print("Written: " + ", ".join(map(str, write_report(scores, options.out))))
