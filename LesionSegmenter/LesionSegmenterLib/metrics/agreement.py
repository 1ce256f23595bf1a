"""Agreement of two series of measurements, such as lesion volumes of a model and of an expert, case by case.

Pairs with a value that is not finite are left out; a statistic that too few pairs define is nan.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats


class BlandAltman(NamedTuple):
    """Bland-Altman statistics of n pairs, in the unit of the measurements; CV in percent.

    bias : mean of measured - reference.
    rpc : reproducibility coefficient, 1.96 sd of the differences (sd with n - 1).
    lower, upper : limits of agreement, bias -+ rpc.
    cv_percent : 100 sd / mean of all measurements of both.
    """

    n: int
    bias: float
    rpc: float
    lower: float
    upper: float
    cv_percent: float


class Trend(NamedTuple):
    """Least-squares line of measured on reference, its R2, and the p-value of a slope of 0."""

    n: int
    slope: float
    intercept: float
    r2: float
    p: float


class Correlation(NamedTuple):
    """Spearman's rank correlation and its p-value: fit for grades such as Fazekas'."""

    n: int
    rho: float
    p: float


def bland_altman(measured: npt.ArrayLike, reference: npt.ArrayLike) -> BlandAltman:
    """Bland-Altman statistics as Guerrero et al. (2018) report them; defined from two pairs on."""
    a, b = _pairs(measured, reference)
    if len(a) < 2:
        return BlandAltman(len(a), *[np.nan] * 5)
    difference = a - b
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    mean = float(np.concatenate([a, b]).mean())
    cv = 100 * sd / mean if mean else float("nan")
    return BlandAltman(len(a), bias, 1.96 * sd, bias - 1.96 * sd, bias + 1.96 * sd, cv)


def linear_trend(measured: npt.ArrayLike, reference: npt.ArrayLike) -> Trend:
    """Line of the measured on the reference values; defined from three pairs with different references on."""
    a, b = _pairs(measured, reference)
    if len(a) < 3 or np.ptp(b) == 0:
        return Trend(len(a), *[np.nan] * 4)
    fit = stats.linregress(b, a)
    return Trend(len(a), float(fit.slope), float(fit.intercept), float(fit.rvalue) ** 2, float(fit.pvalue))


def rank_correlation(values: npt.ArrayLike, grades: npt.ArrayLike) -> Correlation:
    """Spearman's correlation with a column of numbers; defined from three pairs that differ in both on."""
    a, b = _pairs(values, grades)
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return Correlation(len(a), np.nan, np.nan)
    result = stats.spearmanr(a, b)
    return Correlation(len(a), float(result.statistic), float(result.pvalue))


def _pairs(
    first: npt.ArrayLike, second: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    a, b = np.asarray(first, float), np.asarray(second, float)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"measurements of {a.shape} and {b.shape} are no pairs")
    finite = np.isfinite(a) & np.isfinite(b)
    return a[finite], b[finite]
