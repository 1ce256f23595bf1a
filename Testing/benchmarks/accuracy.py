"""Accuracy on the real validation cases: what is shipped, a baseline, and what was trained to compare."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.scoring import METRICS, Result, score_shipped, score_z_score
from benchmarks.tables import Table
from lesion_training.listing import LISTINGS, read_listing
from LesionSegmenterLib.atomic import write_json
from real_data import ABSENT, real_data

LISTED = LISTINGS / "public.tsv"
ROOT = Path(__file__).parents[2]
RUNS = ROOT / "runs" / "compare"
RECORD = "comparison.json"  # in the folder of the runs, and a committed copy in docs
_HEADER = ("model", "what", "Dice", "of each", "lesion recall", "lesion F1", "PQ", "time", "memory")
_TRAINED = ("threshold", "steps", "minutes")
_ABOUT = (
    "Means of {cases}, which nothing was trained on, at their native grids; metrics as "
    "`lesion-train evaluate` has them, lesions under the clinical size dropped in every row. Time and memory "
    "are those of the whole command as a process of its own."
)


@dataclass(frozen=True)
class Comparison:
    """What ``compare_models.py`` measured last: ``results`` of the trained contenders, ``ablation``."""

    date: str
    machine: str
    results: list[Result] = field(default_factory=list)
    ablation: list[Result] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        write_json(path, asdict(self))


def last_comparison(runs: Path = RUNS) -> Comparison | None:
    """The last one of the folder of runs, else the one in docs."""
    for path in (runs / RECORD, ROOT / "docs" / RECORD):
        if path.is_file():
            content = json.loads(path.read_text(encoding="utf-8"))
            results, ablation = ([Result(**one) for one in content[key]] for key in ("results", "ablation"))
            return Comparison(content["date"], content["machine"], results, ablation)
    return None


def run(repetitions: int) -> Table:
    data, last = real_data(), last_comparison()
    results, notes = [], []
    if data is None:
        notes.append(f"Nothing was scored: {ABSENT}.")
    else:
        listed = read_listing(LISTED, data)
        results += [score_z_score(listed), *score_shipped(listed)]
    if last is None:
        notes.append("Nothing was trained to compare with: run `make compare`.")
    else:
        results += [result for result in last.results if result.steps]
        notes.append(f"Models with minutes were trained and scored on {last.date}, {last.machine}.")
    return accuracy_table(results, notes)


def accuracy_table(results: Sequence[Result], notes: Sequence[str] = ()) -> Table:
    """The table of models that were, as far as minutes are stated, trained for the same time."""
    return Table(
        "Accuracy",
        _about(results) + " Minutes of training are those of one core; each model's threshold is the one "
        "with the best Dice on the training cases, but for those shipped, which have their own.",
        (*_HEADER, *_TRAINED),
        [(*_cells(result, results), *_training(result)) for result in results],
        [*notes, *_fewer_cases(results)],
    )


def ablation_table(results: Sequence[Result], notes: Sequence[str] = ()) -> Table:
    """The table of one recipe trained on different cases."""
    return Table(
        "What the kinds of training cases contribute",
        "The recipe uresnet for as many steps on real cases alone, on synthetic heads alone, on real cases "
        "with lesions painted into them besides, and on all three. " + _about(results),
        (*_HEADER[:-2], *_TRAINED[:-1]),
        [(*_cells(result, results)[:-2], *_training(result)[:-1]) for result in results],
        notes,
    )


def _about(results: Sequence[Result]) -> str:
    return _ABOUT.format(cases=" and ".join(_all_cases(results)) or "the validation cases")


def _all_cases(results: Sequence[Result]) -> list[str]:
    return max((list(result.cases) for result in results), key=len, default=[])


def _cells(result: Result, results: Sequence[Result]) -> tuple[str, ...]:
    each = ", ".join(
        f"{result.cases[case]['dice']:.2f}" if case in result.cases else "-" for case in _all_cases(results)
    )
    dice, *others = (f"{result.mean(metric):.3f}" for metric in METRICS)
    memory = f"{result.peak_bytes / 1e9:.2f} GB"
    return result.name, result.about, dice, each, *others, f"{result.seconds:.1f} s", memory


def _training(result: Result) -> tuple[str, ...]:
    steps = "" if result.steps is None else str(result.steps)
    return f"{result.threshold:g}", steps, "" if result.minutes is None else f"{result.minutes:.1f}"


def _fewer_cases(results: Sequence[Result]) -> list[str]:
    """A note for the models that could not read every case."""
    whole = len(_all_cases(results))
    fewer = [result for result in results if len(result.cases) < whole]
    if not fewer:
        return []
    names = ", ".join(result.name for result in fewer)
    return [f"Scored on {' and '.join(fewer[0].cases)} alone, the one case with a T1: {names}."]
