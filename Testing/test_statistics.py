"""Agreement, significance and grouping of scores, against hand-computed numbers and scipy's own functions."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from LesionSegmenterLib.evaluation.report import worst_cases, write_report
from LesionSegmenterLib.evaluation.statistics import statistics
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.metrics.agreement import bland_altman, linear_trend, rank_correlation
from LesionSegmenterLib.metrics.groups import CaseScores, grouped, summarise, volume_group
from LesionSegmenterLib.metrics.significance import kruskal_wallis, mann_whitney, shapiro_wilk, wilcoxon
from LesionSegmenterLib.metrics.types import confusion_matrix, evaluate_types, lesion_confusion


def test_bland_altman_is_bias_and_its_limits_by_hand():
    # Differences 1, 2, 3: mean 2, sd 1; all values 2, 4, 6, 1, 2, 3 have the mean 3.
    found = bland_altman([2, 4, 6], [1, 2, 3])
    assert found == (
        3,
        2.0,
        pytest.approx(1.96),
        pytest.approx(0.04),
        pytest.approx(3.96),
        pytest.approx(100 / 3),
    )


def test_pairs_with_an_undefined_value_are_left_out():
    assert bland_altman([2, 4, np.nan, 6], [1, 2, 9, 3]) == bland_altman([2, 4, 6], [1, 2, 3])
    assert linear_trend([1, 2, 3, np.inf], [1, 2, 3, 4]).n == 3


def test_a_trend_is_the_least_squares_line():
    found = linear_trend([1, 3, 5, 6], [0, 1, 2, 3])
    slope, intercept = np.polyfit([0, 1, 2, 3], [1, 3, 5, 6], 1)
    assert (found.slope, found.intercept) == (pytest.approx(slope), pytest.approx(intercept))
    assert found.r2 == pytest.approx(np.corrcoef([1, 3, 5, 6], [0, 1, 2, 3])[0, 1] ** 2)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 1.0, 1.0]])
def test_what_too_few_values_define_is_undefined_and_no_error(values):
    assert math.isnan(linear_trend(values, values).r2)
    assert math.isnan(rank_correlation(values, values).rho)
    assert math.isnan(shapiro_wilk(values).p)
    assert math.isnan(kruskal_wallis({"a": values}).p)
    assert mann_whitney({"a": values, "b": []}) == []


def test_a_correlation_goes_by_ranks():
    assert rank_correlation([1, 10, 100, 1000], [0, 1, 2, 3]).rho == pytest.approx(1)


def test_wilcoxon_by_hand():
    # Differences +1 -2 +3 +4: signed ranks 1, -2, 3, 4; z = 6 / sqrt(1 + 4 + 9 + 16); r = z / sqrt(8).
    found = wilcoxon([2, 0, 4, 5], [1, 2, 1, 1])
    z = 6 / math.sqrt(30)
    assert found[:3] == (4, 2.0, pytest.approx(z))
    assert found.effect_size == pytest.approx(z / math.sqrt(8))
    assert found.p == pytest.approx(0.375)  # exact: P(W <= 2) of 16 sign patterns is 3/16, two-sided


def test_wilcoxons_z_gives_scipys_p_of_the_normal_approximation():
    rng = np.random.default_rng(0)
    a, b = rng.random(60).round(1), rng.random(60).round(1)
    found = wilcoxon(a, b)
    moved = (a - b)[a != b]
    expected = stats.wilcoxon(moved, method="approx", correction=False).pvalue
    assert 2 * stats.norm.sf(abs(found.z)) == pytest.approx(expected)


def test_equal_scores_do_not_differ():
    assert wilcoxon([0.1, 0.2], [0.1, 0.2]) == (2, 0.0, 0.0, 1.0, 0.0)
    assert wilcoxon([np.nan], [0.2]).n == 0


def test_group_tests_are_scipys_with_bonferroni_over_the_pairs():
    groups = {"MS": [0.9, 0.8, 0.7, 0.85], "WMH": [0.2, 0.3, 0.1, np.nan], "stroke": [0.5, 0.6, 0.4]}
    assert kruskal_wallis(groups).statistic == pytest.approx(
        stats.kruskal([0.9, 0.8, 0.7, 0.85], [0.2, 0.3, 0.1], [0.5, 0.6, 0.4]).statistic
    )
    pairs = {(test.first, test.second): test for test in mann_whitney(groups)}
    alone = stats.mannwhitneyu([0.9, 0.8, 0.7, 0.85], [0.2, 0.3, 0.1], alternative="two-sided").pvalue
    assert pairs["MS", "WMH"].p == pytest.approx(min(1, 3 * alone))
    assert set(pairs) == {("MS", "WMH"), ("MS", "stroke"), ("WMH", "stroke")}


@pytest.mark.parametrize(
    ("ml", "group"),
    [(0, "<0.2 ml"), (0.2, "0.2-0.7 ml"), (0.69, "0.2-0.7 ml"), (2, "2-5 ml"), (5, ">=5 ml"), (80, ">=5 ml")],
)
def test_volume_groups_hold_their_lower_bound(ml, group):
    assert volume_group(ml) == group


def test_a_summary_leaves_undefined_scores_out():
    found = summarise([1, 2, 3, 4, np.nan])
    assert found[:5] == (4, 2.5, 1.75, 3.25, 2.5)
    assert found.sd == pytest.approx(np.std([1, 2, 3, 4], ddof=1))
    assert summarise([]).n == 0


def test_each_type_is_scored_by_itself():
    true, pred = np.zeros((4, 4, 1), np.uint8), np.zeros((4, 4, 1), np.uint8)
    true[0, :2], true[3, :2] = LesionType.WMH, LesionType.MS
    pred[0, :4], pred[3, :2] = LesionType.WMH, LesionType.STROKE
    scores = evaluate_types(pred, true)
    assert scores["WMH"]["dice"] == pytest.approx(2 * 2 / 6)
    assert scores["MS"]["dice"] == scores["stroke"]["dice"] == 0
    assert set(scores) == {"WMH", "stroke", "MS"}


def test_lesions_are_confused_by_most_of_their_voxels():
    true = np.zeros((4, 6, 1), np.uint8)
    pred, ids = true.copy(), true.astype(np.int32)
    true[0, :3], true[2, :3], true[3, 5] = LesionType.MS, LesionType.WMH, LesionType.MS
    ids[0, :3], ids[2, :3], ids[3, 5] = 1, 4, 2
    pred[0, :2], pred[0, 2], pred[2, 0] = LesionType.MS, LesionType.STROKE, LesionType.MS
    assert lesion_confusion(pred, true, ids) == [("MS", "MS"), ("MS", "missed"), ("WMH", "MS")]
    rows, columns, counts = confusion_matrix(lesion_confusion(pred, true, ids))
    assert (rows, columns, counts.tolist()) == (["WMH", "MS"], ["MS", "missed"], [[1, 0], [1, 1]])


def test_a_report_holds_every_case_group_and_pair(tmp_path):
    scores = [score(n, model) for model in ("first", "second") for n in range(6)]
    report = write_report(scores, tmp_path / "report", {("first", "case0"): b"not really a picture"})
    page = report.read_text()
    assert page.count("<img") >= 10 and "Wilcoxon" in page and "case0" in page
    table = (tmp_path / "report" / "scores.tsv").read_text().splitlines()
    assert len(table) == 13 and table[0].startswith(
        "case\tmodel\tcentre\ttype\tscan_type\tvolume_group\tFazekas"
    )
    summary = (tmp_path / "report" / "summary.tsv").read_text().splitlines()
    assert any(line.startswith("first\ttype\tMS\tdice\t3\t") for line in summary)
    found = json.loads((tmp_path / "report" / "statistics.json").read_text())
    assert found["correlations"]["first"]["Fazekas"]["rho"] == pytest.approx(1)
    (dice,) = [test for test in found["paired"] if test["metric"] == "dice"]
    assert (dice["n"], dice["median_difference"]) == (6, pytest.approx(0.1))


def test_statistics_of_one_case_are_defined_or_null_and_never_fail(tmp_path):
    found = statistics([score(0, "only")])
    assert found["summary"]["only"]["all"]["all"]["dice"]["n"] == 1
    assert found["paired"] == [] and found["between_groups"]["only"] == {}
    assert write_report([score(0, "only")], tmp_path).is_file()


def test_groups_of_volume_come_in_order_of_volume():
    assert list(grouped([score(n, "m") for n in (5, 0, 2)], "volume")) == ["<0.2 ml", "0.7-2 ml", ">=5 ml"]


def test_the_worst_case_comes_first():
    assert [s.case for s in worst_cases([score(n, "first") for n in (3, 1, 2)], 2)] == ["case1", "case2"]


def score(number: int, model: str) -> CaseScores:
    dice = 0.4 + 0.05 * number + (0.1 if model == "first" else 0)
    volume = (0.1, 0.5, 1.0, 3.0, 4.0, 9.0)[number]
    metrics = dict.fromkeys(("dice", "lesion_recall", "lesion_precision", "lesion_f1", "pq"), dice)
    metrics |= {"sensitivity": dice, "precision": dice, "volume_difference_percent": 3.0}
    metrics |= {"hausdorff95_wmh_mm": math.nan, "true_volume_ml": volume, "pred_volume_ml": volume * 0.9}
    kind = ("MS", "WMH")[number % 2]
    return CaseScores(
        f"case{number}",
        model,
        f"centre{number // 3}",
        kind,
        metrics,
        kind,
        {"Fazekas": str(number), "sex": "f"},
    )
