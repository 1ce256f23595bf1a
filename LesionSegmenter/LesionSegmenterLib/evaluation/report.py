"""One HTML file that shows how models do on a set of cases: no other file is needed to read it."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ..atomic import atomic_file
from ..metrics.groups import CaseScores
from . import plots
from .statistics import GROUPINGS, TESTED, models_of, statistics
from .tables import write_tables

WORST = 4
_SHOWN = (*TESTED, "sensitivity", "precision", "volume_difference_percent", "hausdorff95_wmh_mm")
_STYLE = """body{font:14px sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:.6em 0}td,th{border:1px solid #ccc;padding:2px 8px;text-align:right}
th:first-child,td:first-child{text-align:left}img{max-width:100%}.note{color:#555}"""
_DEFINITIONS = (
    "Lesion recall, precision and F1: WMH challenge (26-connected, one voxel of overlap). PQ: instances "
    "matched at IoU over 0.1. Hausdorff: 95th percentile as the WMH challenge defines it. Statistics: "
    "Wilcoxon's effect size is z / sqrt(n1 + n2); Mann-Whitney's p is Bonferroni's over all pairs."
)


def write_report(
    scores: Sequence[CaseScores],
    folder: Path,
    pictures: Mapping[tuple[str, str], bytes] | None = None,
    title: str = "Evaluation",
) -> Path:
    """Write tables (see `tables.write_tables`) and report.html to a folder; returns the report's path.

    pictures : PNG bytes by (model, case) for those that are to be shown among the worst.

    Raises InputError where the folder cannot be written to.
    """
    found = statistics(scores)
    folder.mkdir(parents=True, exist_ok=True)
    write_tables(scores, found, folder)
    models = models_of(scores)
    parts = [f"<h1>{escape(title)}</h1><p class=note>{_DEFINITIONS}</p>", "<h2>Models</h2>"]
    parts.append(_overview(found, models))
    parts.append(_image(plots.violins(scores, models, TESTED)))
    if found["paired"]:
        parts += ["<h2>Models, paired by case</h2>", _paired(found["paired"])]
    for model in models:
        own = [score for score in scores if score.model == model]
        parts.append(_model(model, own, found, pictures or {}))
    path = folder / "report.html"
    page = f"<!doctype html><meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>"
    with atomic_file(path) as unfinished:
        unfinished.write_text(page + "\n".join(parts), encoding="utf-8")
    return path


def worst_cases(scores: Sequence[CaseScores], count: int = WORST) -> list[CaseScores]:
    """The cases of lowest Dice, the worst first."""
    return sorted(scores, key=lambda score: (score.metrics["dice"], score.case))[:count]


def _model(
    model: str,
    own: Sequence[CaseScores],
    found: dict[str, Any],
    pictures: Mapping[tuple[str, str], bytes],
) -> str:
    parts = [f"<h2>{escape(model)}</h2>"]
    for by in GROUPINGS:
        if len(found["summary"][model][by]) > 1:
            parts.append(f"<h3>By {by}</h3>" + _groups(found["summary"][model][by]))
            parts.append(_image(plots.violins_by_group(own, by)) + _between(found, model, by))
    agreement, trend = found["volumes"][model]["bland_altman"], found["volumes"][model]["trend"]
    parts.append("<h3>Volumes</h3>" + _image(plots.volumes(own, trend)))
    parts.append(
        f"<p>Bias {_n(agreement['bias'])} ml, RPC {_n(agreement['rpc'])} ml, CV "
        f"{_n(agreement['cv_percent'])} %; R2 {_n(trend['r2'])}, slope {_n(trend['slope'])}.</p>"
    )
    for column, test in found["correlations"][model].items():
        parts.append(
            f"<p>Found volume with {escape(column)}: Spearman {_n(test['rho'])}, p {_n(test['p'])}.</p>"
        )
    types = found["scan_types"][model]
    matrix = plots.confusion(types["true"], types["stated"], types["counts"])
    parts.append("<h3>Type of the scan</h3>" + _image(matrix))
    parts.append("<h3>The worst cases</h3>")
    for score in worst_cases(own):
        dice, f1 = _n(score.metrics["dice"]), _n(score.metrics["lesion_f1"])
        line = f"{escape(score.case)}: Dice {dice}, lesion F1 {f1}"
        png = pictures.get((model, score.case))
        parts.append(f"<p>{line}</p>" + (_image(png) if png else ""))
    if any((model, score.case) in pictures for score in own):
        parts.append("<p class=note>Outlines: green found, orange found and not true, blue missed.</p>")
    return "\n".join(parts)


def _overview(found: dict[str, Any], models: Sequence[str]) -> str:
    rows = []
    for model in models:
        summary = found["summary"][model]["all"]["all"]
        values = [
            f"{_n(summary[name]['median'])} ({_n(summary[name]['mean'])})" if name in summary else "-"
            for name in _SHOWN
        ]
        rows.append([model, str(summary["dice"]["n"]), *values])
    return _table(["median (mean)", "cases", *_SHOWN], rows)


def _groups(groups: dict[str, dict[str, Any]]) -> str:
    rows = [
        [group, str(metrics["dice"]["n"]), *(_n(metrics[name]["median"]) for name in _SHOWN)]
        for group, metrics in groups.items()
    ]
    return _table(["median", "cases", *_SHOWN], rows)


def _between(found: dict[str, Any], model: str, by: str) -> str:
    tests = found["between_groups"][model].get(by, {})
    words = []
    for name, test in tests.items():
        pairs = [
            f"{p['first']} - {p['second']} p {_n(p['p'])}" for p in test["mann_whitney"] if p["p"] < 0.05
        ]
        told = f"; {', '.join(pairs)}" if pairs else ""
        words.append(f"{name}: Kruskal-Wallis p {_n(test['kruskal_wallis']['p'])}{told}")
    return f"<p class=note>{escape('. '.join(words))}.</p>" if words else ""


def _paired(tests: Sequence[dict[str, Any]]) -> str:
    rows = [
        [
            f"{t['first']} - {t['second']}",
            t["metric"],
            str(t["n"]),
            *(_n(t[k]) for k in ("median_difference", "z", "p", "effect_size")),
        ]
        for t in tests
    ]
    return _table(["pair", "score", "cases", "median difference", "z", "p", "effect size"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(c.replace('_', ' '))}</{tag}>" for c in cells) + "</tr>"

    return "<table>" + line(head, "th") + "".join(line(row, "td") for row in rows) + "</table>"


def _image(png: bytes) -> str:
    return f'<p><img alt="" src="data:image/png;base64,{base64.b64encode(png).decode()}"></p>'


def _n(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "n/a"
