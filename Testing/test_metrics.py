"""Scores against hand computation, published procedures and other libraries."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics import compute_panoptic_quality, get_confusion_matrix
from monai.metrics.confusion_matrix import compute_confusion_matrix_metric
from scipy import ndimage
from skimage.measure import label as skimage_label

from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.metrics import (
    average_volume_difference,
    confluent_units,
    count_difference,
    dice,
    dice_of_matches,
    evaluate_case,
    hausdorff95_wmh,
    instance_detection,
    lesion_detection,
    match_instances,
    panoptic_quality,
    precision,
    recall_of,
    sensitivity,
    volume_similarity,
)
from phantoms import soft_balls

SHAPE = (6, 5, 4)
masks = hnp.arrays(bool, SHAPE)
label_maps = hnp.arrays(np.int32, SHAPE, elements=st.integers(0, 4))
NOTHING = np.zeros(SHAPE, np.int32)
SOMETHING = np.zeros(SHAPE, np.int32)
SOMETHING[1:3, 1:3, 1:3] = 1


def row(*runs: tuple[int, int, int]) -> np.ndarray:
    """A line of 30 voxels; each run (id, first, last) sets an id."""
    line = np.zeros((30, 1, 1), np.int32)
    for lesion, first, last in runs:
        line[first : last + 1] = lesion
    return line


# Overlap


@settings(deadline=None, max_examples=50)
@given(masks.filter(np.any), masks.filter(np.any))
def test_overlap_agrees_with_monais_confusion_matrix(pred, true):
    as_batch = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (pred, true)]
    matrix = get_confusion_matrix(*as_batch)
    for ours, name in ((dice, "f1 score"), (sensitivity, "sensitivity"), (precision, "precision")):
        expected = compute_confusion_matrix_metric(name, matrix).item()
        assert ours(pred, true) == pytest.approx(expected, rel=1e-5)


def test_volumes_are_compared_by_hand():
    pred, true = row((1, 0, 5)), row((1, 3, 12))  # 6 and 10 voxels
    assert volume_similarity(pred, true) == pytest.approx(1 - 4 / 16)
    assert average_volume_difference(pred, true) == pytest.approx(40)
    assert average_volume_difference(true, pred) == pytest.approx(100 * 4 / 6)


@pytest.mark.parametrize(
    ("score", "both_empty", "nothing_found", "nothing_there"),
    [
        (dice, 1, 0, 0),
        (sensitivity, 1, 0, 0),
        (precision, 1, 0, 0),
        (volume_similarity, 1, 0, 0),
        (average_volume_difference, 0, 100, np.nan),
        (lambda pred, true: hausdorff95_wmh(pred, true, (1, 1, 1)), 0, np.nan, np.nan),
        (lambda pred, true: lesion_detection(pred, true).recall, 1, 0, 0),
        (lambda pred, true: lesion_detection(pred, true).precision, 1, 0, 0),
        (lambda pred, true: lesion_detection(pred, true).f1, 1, 0, 0),
        (lambda pred, true: panoptic_quality(match_instances(pred, true))[0], 1, 0, 0),
        (lambda pred, true: panoptic_quality(match_instances(pred, true))[1], 1, 0, 0),
        (lambda pred, true: panoptic_quality(match_instances(pred, true))[2], 1, 0, 0),
        (lambda pred, true: instance_detection(match_instances(pred, true)).recall, 1, 0, 0),
        (lambda pred, true: instance_detection(match_instances(pred, true)).precision, 1, 0, 0),
        (lambda pred, true: instance_detection(match_instances(pred, true)).f1, 1, 0, 0),
        (lambda pred, true: count_difference(match_instances(pred, true)), 0, 1, 1),
        (lambda pred, true: dice_of_matches(match_instances(pred, true)), np.nan, np.nan, np.nan),
    ],
)
def test_empty_masks_have_defined_scores(score, both_empty, nothing_found, nothing_there):
    found = [score(NOTHING, NOTHING), score(NOTHING, SOMETHING), score(SOMETHING, NOTHING)]
    np.testing.assert_allclose(found, [both_empty, nothing_found, nothing_there])  # nan equals nan


# The challenge's own procedure (SimpleITK 2.5.7: BinaryErode by (1, 1, 0), TransformIndexToPhysicalPoint,
# maximum of the two directed 95th percentiles) gave these distances.
@pytest.mark.parametrize(
    ("shift", "at_the_border", "expected"),
    [
        (2, False, 10.717963656962795),
        (2, True, 15.721748680110684),
        (0, True, 15.71590258826382),
        (-6, False, 17.782364591141768),
    ],
)
def test_hausdorff95_is_the_wmh_challenges(shift, at_the_border, expected):
    spacing, shape = (0.9583, 0.9583, 3.0), (40, 36, 10)
    _, true = soft_balls(shape, spacing, [(12, 12, 12), (26, 20, 15)], [8, 5])
    centres, radii = [(12 + shift, 13, 12)], [7]
    if at_the_border:
        centres, radii = [*centres, (0, 30, 27)], [7, 6]
    _, pred = soft_balls(shape, spacing, centres, radii)
    assert hausdorff95_wmh(pred, true, spacing) == pytest.approx(expected)
    turned = np.diag([*spacing, 1.0])[:, [1, 0, 2, 3]]  # an affine with swapped axes
    swapped = turned[[1, 0, 2, 3]] @ np.diag([-1.0, 1, 1, 1])
    assert hausdorff95_wmh(pred, true, swapped) == pytest.approx(expected)


def test_hausdorff95_of_two_points_is_their_distance_in_mm():
    pred, true = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    pred[0, 0, 0] = true[3, 0, 2] = True
    assert hausdorff95_wmh(pred, true, (1, 1, 2)) == pytest.approx(5)
    assert hausdorff95_wmh(pred, pred, (1, 1, 2)) == 0


# Detection


@settings(deadline=None)
@given(masks.filter(np.any), masks.filter(np.any))
def test_lesion_detection_counts_components_that_any_voxel_touches(pred, true):
    pred_labels, true_labels = skimage_label(pred, connectivity=3), skimage_label(true, connectivity=3)
    recall = len(set(true_labels[pred & true])) / true_labels.max()
    share = len(set(pred_labels[pred & true])) / pred_labels.max()
    found = lesion_detection(pred, true)
    assert found.recall == pytest.approx(recall)
    assert found.precision == pytest.approx(share)
    assert found.f1 == pytest.approx(2 * recall * share / (recall + share) if recall + share else 0)


def test_one_prediction_over_two_lesions_finds_both():
    found = lesion_detection(row((1, 2, 20)), row((1, 0, 3), (1, 18, 22), (1, 28, 29)))
    assert found == (2 / 3, 1.0, pytest.approx(0.8))


# Instances


def test_the_best_prediction_wins_a_lesion_and_the_other_is_a_false_positive():
    matching = match_instances(row((1, 0, 6), (2, 7, 9)), row((5, 0, 9)))
    assert matching.matches == [(1, 5, pytest.approx(0.7))]
    assert matching.unmatched_pred == [2] and matching.unmatched_true == []


def test_a_loser_is_not_offered_to_another_lesion():
    # Prediction 2 overlaps lesion 1 by 4/11 and lesion 2 by 1/7, loses the first and does not get the second.
    matching = match_instances(row((1, 0, 5), (2, 6, 10)), row((1, 0, 9), (2, 10, 12)))
    assert matching.matches == [(1, 1, pytest.approx(0.6))]
    assert matching.unmatched_pred == [2] and matching.unmatched_true == [2]
    assert panoptic_quality(matching) == pytest.approx((0.3, 0.6, 0.5))
    assert instance_detection(matching) == pytest.approx((0.5, 0.5, 0.5))
    assert dice_of_matches(matching) == pytest.approx(12 / 16)
    assert count_difference(matching) == 0


def test_an_iou_of_exactly_the_threshold_does_not_match():
    assert match_instances(row((1, 0, 0)), row((1, 0, 9))).matches == []
    assert len(match_instances(row((1, 0, 0)), row((1, 0, 8))).matches) == 1


def test_equal_ious_go_to_the_lower_id():
    assert match_instances(row((1, 0, 3), (2, 4, 7)), row((1, 0, 7))).matches == [(1, 1, 0.5)]
    assert match_instances(row((1, 0, 7)), row((1, 0, 3), (2, 4, 7))).matches == [(1, 1, 0.5)]


@settings(deadline=None, max_examples=50)
@given(label_maps, label_maps, st.integers(0, 2**32 - 1))
def test_panoptic_quality_over_an_iou_of_one_half_is_monais(noise, true, seed):
    changed = np.random.default_rng(seed).random(SHAPE) < 0.15
    pred = np.where(changed, noise, true)
    assume(pred.any() and true.any())
    matching = match_instances(pred, true, threshold=0.5)
    for ours, name in zip(panoptic_quality(matching), ("pq", "sq", "rq"), strict=True):
        tensors = [torch.from_numpy(ids.astype(np.int64)) for ids in (pred, true)]
        expected = compute_panoptic_quality(*tensors, metric_name=name, match_iou_threshold=0.5)
        assert ours == pytest.approx(expected.item(), abs=1e-5)


@settings(deadline=None)
@given(label_maps, label_maps)
def test_every_lesion_is_matched_once_or_left_over(pred, true):
    matching = match_instances(pred, true)
    pred_ids = [m.pred_id for m in matching.matches] + matching.unmatched_pred
    true_ids = [m.true_id for m in matching.matches] + matching.unmatched_true
    assert sorted(pred_ids) == [i for i in np.unique(pred) if i]
    assert sorted(true_ids) == [i for i in np.unique(true) if i]
    for match in matching.matches:
        a, b = pred == match.pred_id, true == match.true_id
        assert match.iou == pytest.approx((a & b).sum() / (a | b).sum())


def test_ids_may_be_as_large_as_int32_holds():
    large = 2**31 - 1
    assert match_instances(row((large, 0, 5)), row((large - 1, 0, 5))).matches == [(large, large - 1, 1.0)]
    assert confluent_units(row((large, 0, 5), (3, 6, 9))) == [3, large]


def test_confluent_units_share_a_component_and_by_the_equation_also_come_in_parts():
    lesions = row((1, 0, 3), (2, 4, 8), (3, 12, 13), (3, 16, 17), (4, 25, 28))
    assert confluent_units(lesions) == [1, 2]
    assert confluent_units(lesions, "partial-iou") == [1, 2, 3]
    assert confluent_units(NOTHING) == []


def test_confluent_units_touch_by_faces_unless_asked_otherwise():
    lesions = NOTHING.copy()
    lesions[1, 1, 1], lesions[2, 2, 2] = 1, 2
    assert confluent_units(lesions) == []
    assert confluent_units(lesions, connectivity=26) == [1, 2]


def test_recall_and_dice_of_confluent_units_count_them_alone():
    true = row((1, 0, 3), (2, 4, 7), (3, 20, 23))
    matching = match_instances(row((1, 0, 4), (9, 20, 23)), true)
    units = confluent_units(true)
    assert recall_of(units, matching) == 0.5
    assert dice_of_matches(matching, units) == pytest.approx(2 * 4 / 9)
    assert dice_of_matches(matching) == pytest.approx((2 * 4 / 9 + 1) / 2)
    assert np.isnan(recall_of([], matching)) and np.isnan(dice_of_matches(matching, [2]))


# A whole case


def test_a_case_is_scored_under_stable_names():
    true = row((1, 0, 3), (2, 4, 7), (3, 20, 23))
    scores = evaluate_case(row((1, 0, 7)), true, (1.0, 2.0, 5.0))
    expected = {
        "dice": 16 / 20,
        "sensitivity": 8 / 12,
        "precision": 1.0,
        "volume_similarity": 1 - 4 / 20,
        "volume_difference_percent": 100 / 3,
        # surface voxels 7, 20 and 23 of the reference lie 0, 13 and 16 mm from voxel 7, the prediction's
        "hausdorff95_wmh_mm": 13 + 0.9 * 3,
        "pred_volume_ml": 0.08,
        "true_volume_ml": 0.12,
        "lesion_recall": 0.5,
        "lesion_precision": 1.0,
        "lesion_f1": 2 / 3,
        "pq": 0.5 * 0.5,
        "sq": 0.5,
        "rq": 0.5,
        "instance_recall": 1 / 3,
        "instance_precision": 1.0,
        "instance_f1": 0.5,
        "instance_dice": 2 / 3,
        "pred_count": 1,
        "true_count": 3,
        "count_difference": 2,
        "confluent_units": 2,
        "confluent_recall": 0.5,
        "confluent_dice": 2 / 3,
    }
    assert list(scores) == list(expected)
    assert scores == pytest.approx(expected)


def test_a_perfect_case_scores_perfectly_with_an_affine():
    scores = evaluate_case(SOMETHING, SOMETHING, np.diag([-1.0, -1.0, 3.0, 1.0]))
    assert {scores[name] for name in ("dice", "lesion_f1", "pq", "instance_f1", "instance_dice")} == {1.0}
    assert scores["hausdorff95_wmh_mm"] == 0 and scores["true_volume_ml"] == pytest.approx(0.024)
    assert np.isnan(scores["confluent_recall"])


@pytest.mark.parametrize("score", [dice, lesion_detection, match_instances])
def test_masks_on_different_grids_are_refused(score):
    with pytest.raises(InputError, match=r"\(6, 5, 4\) and the reference \(6, 5, 5\)"):
        score(NOTHING, np.zeros((6, 5, 5), np.int32))


# Other libraries' numbers, computed once: both pin versions of packages that the project does not use.


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true lesions, ids of face-connected parts, on 24x24x12 voxels."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.standard_normal((24, 24, 12)), 1.5)
    true = ndimage.label(field > np.quantile(field, 0.9))[0]
    noise = ndimage.gaussian_filter(rng.standard_normal((24, 24, 12)), 1.0)
    other = field + 0.6 * noise / noise.std() * field.std()
    return ndimage.label(other > np.quantile(other, 0.87))[0].astype(np.int32), true.astype(np.int32)


# MedPy 0.5.2: dc, recall, precision, 100 |ravd|.
MEDPY = [
    (0.639849, 0.735549, 0.566185, 29.913295),
    (0.605908, 0.696532, 0.536151, 29.913295),
    (0.663734, 0.763006, 0.587319, 29.913295),
    (0.632307, 0.726879, 0.559511, 29.913295),
]
# panoptica 2.1.7, NaiveThresholdMatching by IoU 0.5: true and false positives, misses, PQ, SQ, RQ.
PANOPTICA = [
    (1, 21, 20, 0.03017, 0.648649, 0.046512),
    (6, 18, 13, 0.20359, 0.729529, 0.27907),
    (4, 21, 14, 0.112689, 0.605705, 0.186047),
    (3, 24, 16, 0.06707, 0.514203, 0.130435),
]


@pytest.mark.parametrize(("seed", "expected"), list(enumerate(MEDPY)))
def test_overlap_is_medpys_where_the_definitions_agree(seed, expected):
    # Not the Hausdorff distance: MedPy takes each mask's own border, and pools both directions.
    pred, true = random_case(seed)
    found = [score(pred, true) for score in (dice, sensitivity, precision, average_volume_difference)]
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("seed", "expected"), list(enumerate(PANOPTICA)))
def test_matching_over_an_iou_of_one_half_is_panopticas(seed, expected):
    # Over one half a match is unique, so that every matcher finds the same; under it, they differ.
    matching = match_instances(*random_case(seed), threshold=0.5)
    counts = (len(matching.matches), len(matching.unmatched_pred), len(matching.unmatched_true))
    assert counts == expected[:3]
    assert panoptic_quality(matching) == pytest.approx(expected[3:], abs=1e-6)
