"""Scores and their statistics as TSV and JSON files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..atomic import atomic_file, write_json
from ..metrics.groups import CaseScores
from .statistics import metric_names


def write_tables(scores: Sequence[CaseScores], found: dict[str, Any], folder: Path) -> list[Path]:
    """Write scores.tsv (a row a case and model), summary.tsv (a row a group and score) and statistics.json.

    found : what `statistics.statistics` gave. Undefined values are n/a in the tables and null in the JSON.
    """
    names = metric_names(scores)
    extra = list(dict.fromkeys(column for score in scores for column in score.extra))
    head = ["case", "model", "centre", "type", "scan_type", "volume_group", *extra, *names]
    rows = [
        [
            *(s.case, s.model, s.centre, s.type, s.scan_type or "n/a", s.volume_group),
            *(s.extra.get(column) or "n/a" for column in extra),
            *(_text(s.metrics.get(name, math.nan)) for name in names),
        ]
        for s in scores
    ]
    columns = ("n", "median", "lower", "upper", "mean", "sd")
    summary = [
        [model, by, group, name, *(_text(values[c]) for c in columns)]
        for model, groupings in found["summary"].items()
        for by, groups in groupings.items()
        for group, metrics in groups.items()
        for name, values in metrics.items()
    ]
    paths = [folder / name for name in ("scores.tsv", "summary.tsv", "statistics.json")]
    write_tsv(paths[0], head, rows)
    write_tsv(paths[1], ["model", "by", "group", "score", *columns], summary)
    write_json(paths[2], plain(found))
    return paths


def plain(value: Any) -> Any:
    """A value for JSON: what is not finite becomes None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return f"{value:.6g}" if math.isfinite(value) else "n/a"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns aligned so that it can be read in a terminal too."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * max(3, width) for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def write_tsv(path: Path, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a tab-separated table; InputError where the folder cannot be written to."""
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows([head, *rows])
    with atomic_file(path) as unfinished:
        unfinished.write_text(text.getvalue(), encoding="utf-8")
