"""Trains every contender for the same time, and scores all with the shipped models on the same cases."""

from __future__ import annotations

import argparse
import datetime
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmark import machine
from benchmarks.accuracy import LISTED, RECORD, ROOT, RUNS, Comparison, ablation_table, accuracy_table
from benchmarks.contenders import CONTENDERS, read_budget, train
from benchmarks.scoring import Result, bundle_of_run, score_bundle, score_shipped, score_z_score, steps_of
from lesion_training.cases import CaseEntry
from lesion_training.checkpoint import CHECKPOINT
from lesion_training.listing import read_listing
from real_data import ABSENT, REAL_DATA, real_data

_ABLATION = {
    "real": "real cases",
    "synthetic": "synthetic heads",
    "painted": "real cases and painted lesions",
    "both": "all three",
}


def main() -> None:
    names = [contender.name for contender in CONTENDERS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the runs")
    parser.add_argument(
        "--ablation", type=Path, default=ROOT / "runs" / "ablation", help="other runs to score"
    )
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help="to train")
    parser.add_argument("--minutes", type=float, default=10, help="of one core, for each")
    parser.add_argument("--seed", type=int, default=0)
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--train", action="store_true", help="only train")
    one.add_argument("--score", action="store_true", help="only score what is trained")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the results to this JSON file")
    options = parser.parse_args()
    if real_data() is None:
        parser.exit(2, f"{ABSENT}\n")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if not options.score:
            for contender in CONTENDERS:
                if contender.name in options.only:
                    train(contender, REAL_DATA, options.runs / contender.name, options.minutes, options.seed)
        if not options.train:
            _score(options)
    except KeyboardInterrupt:
        parser.exit(3, "stopped; the same command goes on from here\n")


def _score(options: argparse.Namespace) -> None:
    listed = read_listing(LISTED, REAL_DATA)
    results = [score_z_score(listed), *score_shipped(listed), *_contenders(options.runs, listed)]
    ablation = list(_ablation(options.ablation, listed))
    found = Comparison(str(datetime.date.today()), machine(), results, ablation)
    options.runs.mkdir(parents=True, exist_ok=True)
    for path in (options.runs / RECORD, *([options.write] if options.write else [])):
        found.write(path)
    print(accuracy_table(results).markdown())
    if ablation:
        print("\n" + ablation_table(ablation).markdown())


def _contenders(runs: Path, listed: Sequence[CaseEntry]) -> Iterator[Result]:
    """Those that have been trained to the end."""
    for contender in CONTENDERS:
        run = runs / contender.name
        budget = read_budget(run)
        if budget is None or not budget.finished:
            continue
        result = score_bundle(bundle_of_run(run, contender.name, listed), contender.about, listed)
        yield replace(result, steps=budget.steps, minutes=round(budget.seconds_used / 60, 1))


def _ablation(runs: Path, listed: Sequence[CaseEntry]) -> Iterator[Result]:
    for name, about in _ABLATION.items():
        if (runs / name / CHECKPOINT).is_file():
            result = score_bundle(bundle_of_run(runs / name, name, listed), about, listed)
            yield replace(result, steps=steps_of(runs / name))


if __name__ == "__main__":
    main()
