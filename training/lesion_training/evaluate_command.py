"""``lesion-train evaluate``: scores of one bundle, or of several and a baseline on the same cases."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from LesionSegmenterLib.atomic import check_not_input, write_json
from LesionSegmenterLib.command_line import probability
from LesionSegmenterLib.errors import InputError

from .baselines import Z_SCORE, fitted_z_score
from .case_arguments import add_case_arguments, chosen_entries, listed_entries
from .cases import CaseEntry
from .folders import of_split

if TYPE_CHECKING:
    from .evaluation import CaseScore


def add_parser(commands: argparse._SubParsersAction) -> None:
    evaluate = commands.add_parser(
        "evaluate", help="score bundles on the listed cases of one split, or on unseen ones"
    )
    evaluate.add_argument(
        "bundles", nargs="+", metavar="BUNDLE",
        help=f"a bundle's folder, or a model's name; {Z_SCORE}: thresholding, fitted on the training cases",
    )  # fmt: skip
    add_case_arguments(evaluate, required=False)
    evaluate.add_argument("--threshold", type=probability, help="lesion probability (default: the bundle's)")
    evaluate.add_argument("--json", type=Path, help="write one bundle's scores to this file as well")
    evaluate.add_argument(
        "--report", type=Path, metavar="DIR", help="write tables, statistics and report.html to this folder"
    )
    evaluate.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from .evaluation import score_summary, score_table
    from .named_models import unused_name

    listed = listed_entries(options)
    entries = chosen_entries(options, listed)
    if options.json:
        if len(options.bundles) > 1:
            raise InputError("--json holds one bundle's scores", todo="Give --report for several bundles")
        check_not_input(
            options.json, *(path for entry in entries for path in (entry.image, entry.mask) if path)
        )
    scored: dict[str, list[CaseScore]] = {}
    for bundle in options.bundles:
        name, score = _scorer(bundle, options, listed)
        name = unused_name(name, scored)
        with tqdm(entries, desc=f"scoring {name}", file=sys.stderr) as bar:
            scored[name] = [score(entry) for entry in bar]
        print(f"{name}\n{score_table(scored[name])}")
    if options.json:
        write_json(options.json, score_summary(next(iter(scored.values()))))
    if options.report:
        from LesionSegmenterLib.evaluation.report import write_report

        rows = [score.of_model(name) for name, scores in scored.items() for score in scores]
        pictures = {(name, score.case): score.picture for name, scores in scored.items() for score in scores}
        print(f"Report written to {write_report(rows, options.report, pictures)}")


def _scorer(
    bundle: str, options: argparse.Namespace, listed: list[CaseEntry]
) -> tuple[str, Callable[[CaseEntry], CaseScore]]:
    """The name of a bundle or baseline, and what scores it on a case."""
    from LesionSegmenterLib.segment import SegmentOptions, load

    from .evaluation import score_case, score_z_score

    if bundle == Z_SCORE:
        if not options.data:
            raise InputError(f"{Z_SCORE} is fitted on training cases", todo="Give their folders with --data")
        threshold = fitted_z_score(of_split(listed, "train", options.data))
        return f"{Z_SCORE} {threshold:g}", partial(score_z_score, threshold=threshold)
    settings = SegmentOptions(model=bundle, threshold=options.threshold)
    model = load(settings)
    spec = model.bundle.spec
    return f"{spec.name} {spec.version}", partial(score_case, options=settings, model=model)
