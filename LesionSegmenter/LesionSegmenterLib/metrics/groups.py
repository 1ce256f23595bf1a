"""Groups of cases, and what their scores are together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

VOLUME_EDGES_ML = (0.2, 0.7, 2.0, 5.0)
"""Bounds of the groups by lesion volume of a scan, ml (the deepwml paper's)."""

VOLUME_GROUPS = ("<0.2 ml", "0.2-0.7 ml", "0.7-2 ml", "2-5 ml", ">=5 ml")


@dataclass(frozen=True)
class CaseScores:
    """Scores of one model on one case.

    centre : data set or hospital.
    type : the reference's lesion type.
    metrics : by name, see `evaluate_case`; nan where undefined.
    scan_type : that the model states; None where it states none.
    extra : further columns of the case, such as a Fazekas grade.
    """

    case: str
    model: str
    centre: str
    type: str
    metrics: dict[str, float]
    scan_type: str | None = None
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def volume_group(self) -> str:
        """One of `VOLUME_GROUPS`, by the reference's lesion volume."""
        return volume_group(self.metrics["true_volume_ml"])

    def group(self, by: str) -> str:
        """Name of the case's group by ``type``, ``centre`` or ``volume``; one group by anything else."""
        return {"type": self.type, "centre": self.centre, "volume": self.volume_group}.get(by, "all")


class Summary(NamedTuple):
    """Median, quartiles, mean and sample standard deviation of the cases that define a score."""

    n: int
    median: float
    lower: float
    upper: float
    mean: float
    sd: float


def volume_group(ml: float) -> str:
    """The group of a lesion volume in ml; a bound belongs to the group above it."""
    return VOLUME_GROUPS[int(np.searchsorted(VOLUME_EDGES_ML, ml, side="right"))]


def summarise(values: Iterable[float]) -> Summary:
    """A score over cases, those that do not define it left out; all nan where none does."""
    finite = np.array([v for v in values if np.isfinite(v)], float)
    if not len(finite):
        return Summary(0, *[float("nan")] * 5)
    lower, median, upper = np.percentile(finite, (25, 50, 75)).tolist()
    sd = float(finite.std(ddof=1)) if len(finite) > 1 else float("nan")
    return Summary(len(finite), median, lower, upper, float(finite.mean()), sd)


def grouped(scores: Sequence[CaseScores], by: str) -> dict[str, list[CaseScores]]:
    """The scores by their group, groups in order of name, of volume where that is asked."""
    names = {score.group(by) for score in scores}
    order = [g for g in VOLUME_GROUPS if g in names] if by == "volume" else sorted(names)
    return {name: [score for score in scores if score.group(by) == name] for name in order}
