"""``lesion-train evaluate``: scores of one bundle, or of several on the same cases."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from LesionSegmenterLib.atomic import check_not_input, write_json
from LesionSegmenterLib.command_line import probability
from LesionSegmenterLib.errors import InputError

from .cases import CaseEntry
from .folders import find_entries, of_split


def add_parser(commands: argparse._SubParsersAction) -> None:
    evaluate = commands.add_parser("evaluate", help="score bundles on the listed cases of one split")
    evaluate.add_argument("bundles", nargs="+", metavar="BUNDLE", help="a bundle's folder, or a model's name")
    evaluate.add_argument(
        "--data", type=Path, nargs="+", required=True, metavar="DIR", help="folders of the listed cases"
    )
    evaluate.add_argument("--listing", default="public.tsv", help="the package's listing to use")
    evaluate.add_argument("--split", default="validation")
    evaluate.add_argument("--threshold", type=probability, help="lesion probability (default: the bundle's)")
    evaluate.add_argument("--json", type=Path, help="write one bundle's scores to this file as well")
    evaluate.add_argument(
        "--report", type=Path, metavar="DIR", help="write tables, statistics and report.html to this folder"
    )
    evaluate.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from LesionSegmenterLib.segment import SegmentOptions, load

    from .evaluation import CaseScore, score_case, score_summary, score_table

    entries: list[CaseEntry] = of_split(
        find_entries(options.data, listing=options.listing), options.split, options.data
    )
    if options.json:
        if len(options.bundles) > 1:
            raise InputError("--json holds one bundle's scores", todo="Give --report for several bundles")
        check_not_input(
            options.json, *(path for entry in entries for path in (entry.image, entry.mask) if path)
        )
    scored: dict[str, list[CaseScore]] = {}
    for bundle in options.bundles:
        settings = SegmentOptions(model=bundle, threshold=options.threshold)
        model = load(settings)
        name = _name(model.bundle.spec.name, model.bundle.spec.version, scored)
        with tqdm(entries, desc=f"scoring {name}", file=sys.stderr) as bar:
            scored[name] = [score_case(entry, settings, model) for entry in bar]
        print(f"{name}\n{score_table(scored[name])}")
    if options.json:
        write_json(options.json, score_summary(next(iter(scored.values()))))
    if options.report:
        from LesionSegmenterLib.evaluation.report import write_report

        rows = [score.of_model(name) for name, scores in scored.items() for score in scores]
        pictures = {(name, score.case): score.picture for name, scores in scored.items() for score in scores}
        print(f"Report written to {write_report(rows, options.report, pictures)}")


def _name(name: str, version: str, taken: dict[str, list]) -> str:
    """A name for a bundle in tables, with its version and a number where it would come twice."""
    wanted = f"{name} {version}"
    return wanted if wanted not in taken else f"{wanted} ({len(taken) + 1})"
