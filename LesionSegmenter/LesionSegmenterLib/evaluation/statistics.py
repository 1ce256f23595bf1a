"""The statistics of a set of scores, as the five papers report them, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ..metrics.agreement import bland_altman, linear_trend, rank_correlation
from ..metrics.groups import CaseScores, grouped, summarise
from ..metrics.significance import kruskal_wallis, mann_whitney, shapiro_wilk, wilcoxon
from ..metrics.types import confusion_matrix

GROUPINGS = ("type", "centre", "volume")
TESTED = ("dice", "lesion_recall", "lesion_precision", "lesion_f1", "pq")
"""Scores that models and groups are compared by; the tables hold all."""


def models_of(scores: Sequence[CaseScores]) -> list[str]:
    """Names of the models scored, in the order given."""
    return list(dict.fromkeys(score.model for score in scores))


def statistics(scores: Sequence[CaseScores]) -> dict[str, Any]:
    """All statistics by name, each of its parts by model.

    ``summary``: of every score over all cases and by type, centre and volume group. ``normality``:
    Shapiro-Wilk. ``between_groups``: Kruskal-Wallis and Mann-Whitney with Bonferroni's correction.
    ``volumes``: Bland-Altman and the trend of found on true ml. ``correlations``: Spearman of the found
    volume with each numeric extra column. ``scan_types``: confusion. ``paired``: every two models on the
    cases that both were scored on, Wilcoxon with effect size.
    """
    by_model = {model: [s for s in scores if s.model == model] for model in models_of(scores)}
    return {
        "summary": {model: _summaries(own) for model, own in by_model.items()},
        "normality": {
            model: {name: shapiro_wilk(_values(own, name))._asdict() for name in TESTED}
            for model, own in by_model.items()
        },
        "between_groups": {model: _between_groups(own) for model, own in by_model.items()},
        "volumes": {model: _volumes(own) for model, own in by_model.items()},
        "correlations": {model: _correlations(own) for model, own in by_model.items()},
        "scan_types": {model: _scan_types(own) for model, own in by_model.items()},
        "paired": _paired(by_model),
    }


def metric_names(scores: Sequence[CaseScores]) -> list[str]:
    """Names of all scores that any case has, in the order in which they come."""
    return list(dict.fromkeys(name for score in scores for name in score.metrics))


def _values(scores: Sequence[CaseScores], metric: str) -> list[float]:
    return [score.metrics.get(metric, float("nan")) for score in scores]


def _summaries(scores: Sequence[CaseScores]) -> dict[str, dict[str, dict[str, Any]]]:
    names = metric_names(scores)
    return {
        by: {
            group: {name: summarise(_values(own, name))._asdict() for name in names}
            for group, own in grouped(scores, by).items()
        }
        for by in ("all", *GROUPINGS)
    }


def _between_groups(scores: Sequence[CaseScores]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for by in GROUPINGS:
        groups = grouped(scores, by)
        if len(groups) > 1:
            found[by] = {}
            for name in TESTED:
                values = {group: _values(own, name) for group, own in groups.items()}
                found[by][name] = {
                    "kruskal_wallis": kruskal_wallis(values)._asdict(),
                    "mann_whitney": [pair._asdict() for pair in mann_whitney(values)],
                }
    return found


def _volumes(scores: Sequence[CaseScores]) -> dict[str, Any]:
    found, true = _values(scores, "pred_volume_ml"), _values(scores, "true_volume_ml")
    return {
        "bland_altman": bland_altman(found, true)._asdict(),
        "trend": linear_trend(found, true)._asdict(),
    }


def _correlations(scores: Sequence[CaseScores]) -> dict[str, Any]:
    found = {}
    for column in dict.fromkeys(name for score in scores for name in score.extra):
        try:
            grades = [float(score.extra.get(column) or "nan") for score in scores]
        except ValueError:  # a column of words
            continue
        if np.isfinite(grades).any():
            found[column] = rank_correlation(_values(scores, "pred_volume_ml"), grades)._asdict()
    return found


def _scan_types(scores: Sequence[CaseScores]) -> dict[str, Any]:
    rows, columns, counts = confusion_matrix((s.type, s.scan_type or "none") for s in scores)
    return {"true": rows, "stated": columns, "counts": counts.tolist()}


def _paired(by_model: dict[str, list[CaseScores]]) -> list[dict[str, Any]]:
    tests = []
    for first, second in combinations(by_model, 2):
        others = {score.case: score for score in by_model[second]}
        both = [(score, others[score.case]) for score in by_model[first] if score.case in others]
        for name in TESTED:
            test = wilcoxon(_values([a for a, _ in both], name), _values([b for _, b in both], name))
            tests.append({"first": first, "second": second, "metric": name, **test._asdict()})
    return tests
