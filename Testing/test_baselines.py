"""Thresholding at a z-score in the brain, the baseline of every comparison."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heads import centred_affine, head
from lesion_training.baselines import (
    best_threshold,
    fitted_z_score,
    lesions_over,
    rough_brain,
    true_lesions,
    z_scores,
)
from lesion_training.cli import main
from lesion_training.listing import LISTING, read_listing
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.image import Volume
from small_data import SHAPE, lesion_labels, row, small_data, write_listing

SIDES = (1.0, 1.0, 1.0)


def volume(array: np.ndarray, affine: np.ndarray | None = None) -> Volume:
    return Volume.from_array(array, centred_affine() if affine is None else affine)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return small_data(tmp_path_factory.mktemp("data"))


def test_z_scores_have_mean_0_and_deviation_1_in_the_brain_whatever_the_images_unit():
    image = head()
    scores = z_scores(volume(image))
    inside = np.isfinite(scores)
    assert scores[inside].mean() == pytest.approx(0, abs=1e-4)
    assert scores[inside].std() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(
        scores[inside], (image[inside] - image[inside].mean()) / image[inside].std(), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(z_scores(volume(7 * image))[inside], scores[inside], rtol=1e-3, atol=1e-3)


def test_scalp_and_the_brains_rim_are_over_no_threshold():
    image = head(scalp=160.0)
    scores = z_scores(volume(image))
    assert np.isfinite(scores[image > 155]).mean() < 0.005, "the scalp"
    brain = rough_brain(volume(image))
    assert np.isfinite(scores).sum() < 0.9 * brain.sum()
    assert not np.isfinite(scores[~brain]).any()


def test_what_is_found_does_not_depend_on_the_order_of_the_voxels():
    image, affine = head(), centred_affine()
    flipped = affine.copy()
    flipped[:3, 0] *= -1
    flipped[:3, 3] = nib.affines.apply_affine(affine, (SHAPE[0] - 1, 0, 0))
    found = z_scores(volume(np.ascontiguousarray(image[::-1]), flipped))[::-1]
    np.testing.assert_allclose(found, z_scores(volume(image)), atol=1e-4)


def test_an_image_of_one_brightness_within_the_brain_has_no_lesion():
    image = np.where(head(lesions=()) > 0, np.float32(100), np.float32(0))
    image[22:26, 28:32, 8] += 1e-3  # or there would be nothing to normalise by
    scores = z_scores(volume(image))
    assert scores.shape == image.shape and not np.isnan(scores).any()


def test_lesions_over_a_threshold_are_its_components_without_the_small_ones():
    likely = np.zeros((12, 12, 12))
    likely[1:5, 1:5, 1:5] = 2.0
    likely[7:9, 7:11, 7:11] = 3.0  # 2 mm wide
    likely[9, 1:4, 1:4] = likely[8, 1:4, 1:4] = likely[10, 1:4, 1:4] = 2.5
    found = lesions_over(likely, 2.0, SIDES)
    _, voxels = np.unique(found[found > 0], return_counts=True)
    assert voxels.tolist() == [64, 27]
    assert (lesions_over(likely, 2.5, SIDES) > 0).sum() == 27


def test_the_best_threshold_has_the_best_mean_dice():
    def case(levels: tuple[float, float]) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
        """A lesion of 64 voxels at one level, and at another something that is none."""
        likely, lesion = np.zeros((16, 8, 8)), np.zeros((16, 8, 8), bool)
        lesion[1:5, 1:5, 1:5] = True
        likely[lesion] = levels[0]
        likely[9:13, 1:5, 1:5] = levels[1]
        return likely, lesion, SIDES

    thresholds = (0.2, 0.4, 0.6, 0.8)
    assert best_threshold([case((0.9, 0.5))], thresholds) == 0.6
    # At 0.4 Dice is 2/3 and 1, at 0.6 it is 1 and 0.
    assert best_threshold([case((0.9, 0.5)), case((0.5, 0.3))], thresholds) == 0.4
    assert best_threshold([case((0.9, 0.1))], thresholds) == 0.2, "of equals the first"
    with pytest.raises(InputError, match="no case with a lesion"):
        best_threshold([], thresholds)


def test_true_lesions_are_the_masks_values_that_nobody_doubts(data, tmp_path):
    labels = lesion_labels(centred_affine(SHAPE))
    rows = [
        row("first", lesion_values="1,3"),
        row("first", lesion_values="1,3", doubtful_values="3"),
        row("second", lesion_values="", doubtful_values="1,2,3,4"),
        row("second", lesion_values="1,2", weight=0),
        row("third", mask=""),
    ]
    write_listing(tmp_path / LISTING, rows)
    first, doubted, all_doubted, unweighted, unmarked = read_listing(tmp_path / LISTING, data)
    np.testing.assert_array_equal(true_lesions(first), np.isin(labels, (1, 3)))
    np.testing.assert_array_equal(true_lesions(doubted), labels == 1)
    assert not any(true_lesions(entry).any() for entry in (all_doubted, unweighted, unmarked))


def test_the_threshold_is_chosen_where_lesions_stand_out(data):
    entries = [entry for entry in read_listing(data / LISTING, data) if entry.split == "train"]
    threshold = fitted_z_score(entries)
    scores, labels = z_scores(volume(head())), lesion_labels(centred_affine(SHAPE))
    tissue = scores[np.isfinite(scores) & (labels == 0)]
    assert np.percentile(tissue, 97) < threshold
    assert threshold < np.median(scores[(labels > 0) & np.isfinite(scores)])


def test_the_evaluate_command_scores_the_baseline_like_a_bundle(data, capsys, tmp_path):
    arguments = ["evaluate", "z-score", "--data", str(data), "--json", str(tmp_path / "scores.json")]
    assert main(arguments) == 0
    head_line, columns, case, mean = capsys.readouterr().out.splitlines()
    assert head_line.startswith("z-score ") and columns.split()[0] == "case"
    assert case.split()[0] == "third" and float(case.split()[3]) > 0.5, "Dice"
    assert mean.split()[0] == "mean"


def test_the_baseline_cannot_be_fitted_without_training_cases(data, tmp_path, capsys):
    (tmp_path / "alone").mkdir()
    for name in ("third.nii.gz", "third_mask.nii.gz"):
        (tmp_path / "alone" / name).symlink_to(data / name)
    write_listing(tmp_path / "alone" / LISTING, [row("third", split="validation")])
    assert main(["evaluate", "z-score", "--data", str(tmp_path / "alone")]) == 2
    assert "no case of split 'train'" in capsys.readouterr().err
