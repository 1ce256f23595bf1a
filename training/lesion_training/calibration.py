"""How far a model's numbers can be relied on: the fit of a lesion's confidence, scores of a stated chance.

Every data set weighs the same, and in it every case: one scan full of lesions must not decide
what a number means on all others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from LesionSegmenterLib.confidence import LesionConfidence, predictors

SCORES = ("dice", "lesion_recall", "lesion_f1")
BINS = 10  # of equal width
_PRIOR = 1.0  # standard deviation of the coefficients of standardised predictors

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FoundLesion:
    """A lesion that a model found in a case, of one data set, whose truth is known.

    real : whether it shares a voxel with a true lesion (what `metrics.detection` calls found).
    type_confidence, type_is_right : None where the model states no type, or where the truth has none there.
    """

    case: str
    patient: str
    mean_probability: float
    volume_mm3: float
    real: bool
    type_confidence: float | None = None
    type_is_right: bool | None = None
    dataset: str = ""

    def typed(self, confidence: float, is_right: bool) -> FoundLesion:
        """The lesion with what is known of its type."""
        return replace(self, type_confidence=confidence, type_is_right=is_right)


@dataclass(frozen=True)
class Bin:
    """Lesions whose stated chance lies in one interval; means and ``share`` (of all lesions) are weighted.

    stated : mean of what is stated; ``observed``, the share of which it is true.
    """

    low: float
    high: float
    count: int
    share: float
    stated: float
    observed: float


@dataclass(frozen=True)
class Rating:
    """How far a stated chance can be relied on; every data set weighs the same, and in it every case.

    ece : expected calibration error (Naeini et al. 2015), the mean distance of stated and observed over the
        bins, by their share.
    brier : mean squared error.
    """

    ece: float
    brier: float
    bins: list[Bin]

    @property
    def count(self) -> int:
        """Number of lesions rated."""
        return sum(one.count for one in self.bins)


@dataclass(frozen=True)
class Calibration:
    """What ``lesion-train calibrate`` found out of a model; `bundling.read_calibration` reads its JSON.

    model, weights_sha256 : name with version, and checksum of the weights' file.
    threshold, least_confidence, peak_share, confidence : what a bundle takes; scores, what its card repeats.
    by_cut : scores by each threshold and least confidence, data sets averaged.
    by_dataset : the confidences of each data set; of several patients, by a fit without the lesion's own.
    ratings : by name of what is stated.
    """

    model: str
    weights_sha256: str
    threshold: float
    least_confidence: float
    peak_share: float
    confidence: LesionConfidence
    scores: dict[str, Any]
    by_cut: list[dict[str, float]]
    by_dataset: dict[str, Bin]
    ratings: dict[str, Rating]


def case_weights(lesions: Sequence[FoundLesion]) -> Floats:
    """(n,) weights that sum to n; each data set counts the same, and in it each case."""
    cases = [(lesion.dataset, lesion.case) for lesion in lesions]
    found, sizes = Counter(cases), Counter(dataset for dataset, _ in set(cases))
    shares = np.array([1 / (sizes[case[0]] * found[case]) for case in cases])
    return len(lesions) / len(sizes) * shares


def fit_confidence(lesions: Sequence[FoundLesion]) -> LesionConfidence:
    """The logistic function of `LesionConfidence` that fits found lesions best; at least one is needed.

    Weighted maximum likelihood with a normal prior of mean 0 and standard deviation 1 on the coefficients of
    the standardised predictors, the intercept among them: next to nothing where there are hundreds of
    lesions, and finite where there are few, or where all are real.
    """
    raw = np.array([predictors(lesion.mean_probability, lesion.volume_mm3) for lesion in lesions])
    real = np.array([lesion.real for lesion in lesions], float)
    weights = case_weights(lesions)
    centre = np.average(raw, axis=0, weights=weights)
    scale = np.sqrt(np.average((raw - centre) ** 2, axis=0, weights=weights))
    scale[scale < 1e-6] = 1.0  # one lesion, or all alike
    design = np.column_stack([np.ones(len(raw)), (raw - centre) / scale])

    def loss(coefficients: Floats) -> tuple[float, Floats]:
        """Minus the log of the posterior, and its gradient."""
        score = design @ coefficients
        value = weights @ (np.logaddexp(0, score) - real * score) + (coefficients**2).sum() / (2 * _PRIOR**2)
        error = weights * (0.5 * (1 + np.tanh(score / 2)) - real)
        return float(value), design.T @ error + coefficients / _PRIOR**2

    intercept, *slopes = minimize(loss, np.zeros(3), jac=True, method="L-BFGS-B", tol=1e-12).x
    probability, log_volume = slopes / scale
    return LesionConfidence(
        float(intercept - centre @ (slopes / scale)), float(probability), float(log_volume)
    )


def confidences(lesions: Sequence[FoundLesion], fitted: LesionConfidence) -> Floats:
    """(n,) confidences of found lesions."""
    return np.array([fitted.of(lesion.mean_probability, lesion.volume_mm3) for lesion in lesions], float)


def left_out_confidences(lesions: Sequence[FoundLesion]) -> Floats | None:
    """(n,) confidences of found lesions, each by a fit without its patient; None with only one patient."""
    patients = np.array([lesion.patient for lesion in lesions])
    if len(set(patients)) < 2:
        return None
    result = np.zeros(len(lesions))
    for patient in np.unique(patients):
        own = patients == patient
        others = fit_confidence([lesions[i] for i in np.flatnonzero(~own).tolist()])
        result[own] = confidences([lesions[i] for i in np.flatnonzero(own).tolist()], others)
    return result


def mean_bin(
    stated: Floats,
    outcome: NDArray[np.bool_],
    weights: Floats,
    total: float,
    edges: tuple[float, float] = (0.0, 1.0),
) -> Bin:
    """The bin of some lesions, all (n,); ``total`` is the weight of all lesions there are."""
    share = float(weights.sum() / total)
    means = (float(np.average(values, weights=weights)) for values in (stated, outcome))
    return Bin(*edges, len(stated), share, *means)


def reliability(stated: Floats, outcome: NDArray[np.bool_], weights: Floats) -> list[Bin]:
    """What was stated against what came true, in `BINS` intervals of equal width; empty ones left out.

    stated, outcome and weights are (n,); a chance on the border of two intervals is in the upper one.
    """
    place, total = np.minimum((stated * BINS).astype(int), BINS - 1), float(weights.sum())
    groups = [(n, place == n) for n in np.unique(place).tolist()]
    return [
        mean_bin(stated[own], outcome[own], weights[own], total, (n / BINS, (n + 1) / BINS))
        for n, own in groups
    ]


def rate(stated: Floats, outcome: NDArray[np.bool_], weights: Floats) -> Rating:
    """How far a stated chance can be relied on; all are (n,)."""
    bins = reliability(stated, outcome, weights)
    ece = sum(one.share * abs(one.stated - one.observed) for one in bins)
    return Rating(ece, float(np.average((stated - outcome) ** 2, weights=weights)), bins)
