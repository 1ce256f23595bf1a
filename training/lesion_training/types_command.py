"""``lesion-train types``: which types of lesion bundles take for one another."""

from __future__ import annotations

import argparse
import sys
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from LesionSegmenterLib.command_line import whole_number

from .case_arguments import add_case_arguments, chosen_entries


def add_parser(commands: argparse._SubParsersAction) -> None:
    types = commands.add_parser("types", help="count the lesions and scans whose type bundles mistake")
    types.add_argument("bundles", nargs="+", metavar="BUNDLE", help="a bundle's folder, or a model's name")
    add_case_arguments(types)
    types.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the tables")
    types.add_argument(
        "--heads", type=whole_number, default=20, help="synthetic scans of each type (default: %(default)s)"
    )
    types.add_argument("--seed", type=whole_number, default=0, help="of the synthetic scans")
    types.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from .held_out import PROGRAMMES, stroke_bank
    from .named_models import load_models
    from .type_confusion import judge, listed_cases, synthetic_cases
    from .type_report import markdown, write_report

    entries = chosen_entries(options)
    models = load_models(options.bundles)
    options.out.mkdir(parents=True, exist_ok=True)
    made = synthetic_cases(options.heads, options.seed, stroke_bank(options.data))
    total = options.heads * len(PROGRAMMES) + len(entries)
    cases = tqdm(chain(made, listed_cases(entries)), "judging", total, file=sys.stderr)
    verdicts = [verdict for case in cases for model in models for verdict in judge(model, case)]
    print(markdown(verdicts))
    print("Written: " + ", ".join(map(str, write_report(verdicts, options.out))))
