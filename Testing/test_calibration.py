"""The confidence of a lesion: what it is a function of, how it is fitted, and how far it can be relied on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit, logit

from lesion_training.calibration import (
    FoundLesion,
    case_weights,
    fit_confidence,
    left_out_confidences,
    rate,
)
from LesionSegmenterLib.confidence import LesionConfidence
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import LesionRecord

TRUE = LesionConfidence(-3.0, 0.8, 0.5)


def drawn(count: int, seed: int, cases: int = 10) -> list[FoundLesion]:
    """Lesions of which each is real with the chance that TRUE gives it."""
    rng = np.random.default_rng(seed)
    lesions = []
    for number in range(count):
        probability, volume = float(rng.uniform(0.3, 0.99)), float(np.exp(rng.uniform(1, 9)))
        chance = expit(-3.0 + 0.8 * logit(probability) + 0.5 * math.log(volume))
        name = f"case{number % cases}"
        lesions.append(FoundLesion(name, name, probability, volume, bool(rng.random() < chance)))
    return lesions


def test_the_confidence_is_the_logistic_function_it_says():
    assert TRUE.of(0.75, 100.0) == pytest.approx(expit(-3 + 0.8 * logit(0.75) + 0.5 * np.log(100)))
    assert TRUE.of(0.9, 100.0) > TRUE.of(0.75, 100.0) and TRUE.of(0.75, 200.0) > TRUE.of(0.75, 100.0)


@pytest.mark.parametrize("certain", [0.0, 1.0])
def test_a_network_that_is_certain_leaves_a_finite_confidence(certain):
    assert 0 < TRUE.of(certain, 1.0) < 1
    assert 0 <= LesionConfidence(-500.0, 300.0, 0.0).of(certain, 1.0) <= 1


def test_a_lesion_without_a_mean_probability_has_no_confidence():
    record = LesionRecord(1, LesionType.MS, 10.0, 1, (0.0, 0.0, 0.0), 0.0)
    assert TRUE.stated([record]) == [record]


def test_the_fit_finds_the_function_that_the_lesions_were_drawn_by():
    fitted = fit_confidence(drawn(20_000, seed=1))
    assert fitted.probability == pytest.approx(TRUE.probability, abs=0.06)
    assert fitted.log_volume == pytest.approx(TRUE.log_volume, abs=0.03)
    assert fitted.intercept == pytest.approx(TRUE.intercept, abs=0.15)


def test_the_fit_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    lesions = drawn(300, seed=2)
    raw = np.array([(logit(one.mean_probability), np.log(one.volume_mm3)) for one in lesions])
    design = np.column_stack([np.ones(300), (raw - raw.mean(axis=0)) / raw.std(axis=0)])  # cases of one size
    judge = linear_model.LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=1000)
    judge.fit(design, [one.real for one in lesions])
    fitted = fit_confidence(lesions)
    ours = [fitted.of(one.mean_probability, one.volume_mm3) for one in lesions]
    np.testing.assert_allclose(ours, judge.predict_proba(design)[:, 1], atol=1e-5)


def test_a_case_full_of_false_lesions_weighs_no_more_than_another():
    few = [FoundLesion("few", "few", 0.8, 50.0, True)] * 5
    many = [FoundLesion("many", "many", 0.8, 50.0, False)] * 95
    assert case_weights(few + many)[[0, -1]] == pytest.approx([10.0, 100 / 2 / 95])
    assert fit_confidence(few + many).of(0.8, 50.0) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("count", [1, 5])
def test_few_lesions_of_one_kind_do_not_make_it_certain(real, count):
    lesions = [FoundLesion("a", "a", 0.6 + 0.05 * n, 20.0 + n, real) for n in range(count)]
    chances = [fit_confidence(lesions).of(one.mean_probability, one.volume_mm3) for one in lesions]
    assert all(0.5 < chance < 0.95 if real else 0.05 < chance < 0.5 for chance in chances)


def test_a_patient_left_out_has_no_say_in_its_own_confidences():
    lesions = [
        *drawn(60, seed=3, cases=3),
        *(FoundLesion("odd", "odd", 0.9, 500.0, False) for _ in range(20)),
    ]
    turned = [*lesions[:60], *(FoundLesion("odd", "odd", 0.9, 500.0, True) for _ in range(20))]
    left_out, other = left_out_confidences(lesions), left_out_confidences(turned)
    assert left_out is not None and other is not None
    np.testing.assert_array_equal(left_out[60:], other[60:])
    assert left_out[:60].mean() < other[:60].mean() - 0.1, "on the others' it has"


def test_visits_of_one_patient_are_left_out_together_and_one_patient_alone_cannot_be():
    first = [FoundLesion("visit1", "ada", 0.6 + n / 100, 30.0, n % 2 == 0) for n in range(20)]
    second = [FoundLesion("visit2", "ada", 0.6 + n / 100, 30.0, True) for n in range(20)]
    others = drawn(40, seed=4, cases=2)
    assert left_out_confidences([*first, *second]) is None
    together = left_out_confidences([*first, *second, *others])
    alone = fit_confidence(others)
    assert together is not None and together[0] == alone.of(0.6, 30.0) and together[20] == alone.of(0.6, 30.0)


def test_reliability_by_hand():
    stated = np.array([0.12, 0.18, 0.18, 0.9, 1.0])
    outcome = np.array([False, True, False, True, True])
    rating = rate(stated, outcome, np.array([1.0, 1.0, 2.0, 2.0, 2.0]))
    low, high = rating.bins
    assert (low.low, low.high, low.count, low.share) == (0.1, 0.2, 3, 0.5)
    assert (low.stated, low.observed) == (pytest.approx((0.12 + 0.18 + 0.36) / 4), 0.25)
    assert (high.low, high.high, high.count, high.share, high.observed) == (0.9, 1.0, 2, 0.5, 1.0)
    assert rating.ece == pytest.approx(0.5 * (0.25 - 0.165) + 0.5 * 0.05)
    assert rating.brier == pytest.approx((0.12**2 + 0.82**2 + 2 * 0.18**2 + 2 * 0.1**2) / 8)
    assert rating.count == 5


def test_a_calibrated_chance_has_a_small_error_and_an_overconfident_one_has_not():
    lesions = drawn(5000, seed=5)
    real, weights = np.array([one.real for one in lesions]), case_weights(lesions)
    true = np.array([TRUE.of(one.mean_probability, one.volume_mm3) for one in lesions])
    raw = np.array([one.mean_probability for one in lesions])
    assert rate(true, real, weights).ece < 0.03 < rate(raw, real, weights).ece
