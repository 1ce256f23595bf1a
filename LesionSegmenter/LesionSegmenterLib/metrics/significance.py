"""The tests by which the papers compare models, diseases, centres and volume groups.

Values that are not finite are left out; a test that too few values define gives nan, never an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats


class Wilcoxon(NamedTuple):
    """Wilcoxon's signed-rank test of paired scores: median of the differences, z, p, effect size r."""

    n: int
    median_difference: float
    z: float
    p: float
    effect_size: float


class Result(NamedTuple):
    """A test's statistic and its p-value; ``n`` values in all."""

    n: int
    statistic: float
    p: float


class PairTest(NamedTuple):
    """Mann-Whitney's test of two groups; ``p`` is Bonferroni's, over all pairs of groups tested."""

    first: str
    second: str
    statistic: float
    p: float


def wilcoxon(first: npt.ArrayLike, second: npt.ArrayLike) -> Wilcoxon:
    """Paired comparison of two models on the same cases.

    z is that of the normal approximation with ties corrected and without continuity correction, of the sign
    of first - second; effect size = z / sqrt(n1 + n2) (Guerrero et al. 2018), n1 = n2 = the pairs. Pairs
    without a difference count in n, not in the ranks; all equal: z 0, p 1.
    """
    a, b = np.asarray(first, float), np.asarray(second, float)
    finite = np.isfinite(a) & np.isfinite(b)
    difference = (a - b)[finite]
    n = len(difference)
    if not n:
        return Wilcoxon(0, np.nan, np.nan, np.nan, np.nan)
    moved = difference[difference != 0]
    if not len(moved):
        return Wilcoxon(n, 0.0, 0.0, 1.0, 0.0)
    ranks = stats.rankdata(np.abs(moved))
    signed = np.sign(moved) * ranks
    z = float(signed.sum() / np.sqrt((ranks**2).sum()))
    p = float(stats.wilcoxon(moved).pvalue)
    return Wilcoxon(n, float(np.median(difference)), z, p, z / float(np.sqrt(2 * n)))


def shapiro_wilk(values: npt.ArrayLike) -> Result:
    """Whether values may be normally distributed; defined from three values that differ on."""
    finite = _finite(values)
    if len(finite) < 3 or np.ptp(finite) == 0:
        return Result(len(finite), np.nan, np.nan)
    result = stats.shapiro(finite)
    return Result(len(finite), float(result.statistic), float(result.pvalue))


def kruskal_wallis(groups: Mapping[str, npt.ArrayLike]) -> Result:
    """Whether any group's values lie elsewhere; groups without values are left out, two must remain."""
    values = [finite for group in groups.values() if len(finite := _finite(group))]
    n = sum(map(len, values))
    if len(values) < 2 or np.ptp(np.concatenate(values)) == 0:
        return Result(n, np.nan, np.nan)
    result = stats.kruskal(*values)
    return Result(n, float(result.statistic), float(result.pvalue))


def mann_whitney(groups: Mapping[str, npt.ArrayLike]) -> list[PairTest]:
    """Every two groups that have values, two-sidedly; p-values times the number of pairs, at most 1."""
    finite = {name: values for name, group in groups.items() if len(values := _finite(group))}
    pairs = list(combinations(finite, 2))
    tests = []
    for first, second in pairs:
        result = stats.mannwhitneyu(finite[first], finite[second], alternative="two-sided")
        p = min(1.0, float(result.pvalue) * len(pairs))
        tests.append(PairTest(first, second, float(result.statistic), p))
    return tests


def _finite(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    array = np.asarray(values, float)
    return array[np.isfinite(array)]
