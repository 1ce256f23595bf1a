"""The working grid, resampling and intensities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, stats

from heads import SPACING, centred_affine, head
from LesionSegmenterLib.engine import preprocessing
from LesionSegmenterLib.engine.brain import without_holes
from LesionSegmenterLib.engine.normalisation import Normalisation, median_and_deviation, without_outliers
from LesionSegmenterLib.engine.resample import resample
from LesionSegmenterLib.synthesis.anatomy import load_anatomy
from LesionSegmenterLib.synthesis.head import add_noise, synthetic_head


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("new", [8, 12, 29, 48])
def test_resampling_keeps_a_linear_ramp(axis, new):
    shape, target = [24, 24, 24], [24, 24, 24]
    target[axis] = new
    ramp = np.indices(shape)[axis] + 0.5  # in units of the old voxels, edges at 0 and 24
    result = resample(ramp, tuple(target))
    expected = (np.indices(target)[axis] + 0.5) * 24 / new
    away = [slice(None)] * 3  # from the edge, beyond which nothing is known
    away[axis] = slice(3, -3)
    np.testing.assert_allclose(result[tuple(away)], expected[tuple(away)], rtol=1e-5)


def test_resampling_to_a_finer_grid_and_back_gives_the_same_smooth_volume():
    i, j, k = np.indices((20, 22, 9))
    volume = (np.sin(i / 4) + np.cos(j / 5) + 0.1 * k).astype(np.float32)
    there = resample(volume, (40, 44, 27))
    assert there.shape == (40, 44, 27) and there.dtype == np.float32
    np.testing.assert_allclose(resample(there, volume.shape), volume, atol=0.1)  # the most at the edges


def test_shrinking_averages_instead_of_picking_voxels():
    stripes = np.zeros((32, 4, 4), np.float32)
    stripes[::2] = 1
    np.testing.assert_allclose(resample(stripes, (8, 4, 4))[1:-1], 0.5, atol=0.13)


def test_the_working_grid_scatters_back_to_where_it_gathered_from():
    place = np.indices((48, 60, 16)).T * SPACING
    flair = 100 * np.exp(-(((place - (60, 100, 55)) / 25) ** 2).sum(axis=-1) / 2).T.astype(np.float32)
    grid = preprocessing.prepare(flair, SPACING).grid
    assert grid.spacing[2] == SPACING[2] and grid.slice_axis == 2  # thick slices stay
    assert grid.spacing[:2] == pytest.approx((1, 1), abs=0.02)
    working_image = grid.gather(flair)
    assert working_image.shape == grid.shape
    inside = np.zeros(flair.shape, bool)
    inside[tuple(slice(start + 2, stop - 2) for start, stop in grid.box)] = True
    np.testing.assert_allclose(grid.scatter(working_image)[inside], flair[inside], atol=1.0)


@pytest.mark.parametrize("scalp", [110.0, 300.0])
def test_a_whole_head_and_its_stripped_brain_come_to_about_the_same_scale(scalp):
    affine = centred_affine((64, 72, 20))
    stripped, whole = (head(affine, (64, 72, 20), scalp=bright) for bright in (None, scalp))
    brain = stripped > 50
    seen = []
    for image in (stripped, whole):
        (working_image,), grid, _ = preprocessing.prepare(image, SPACING)
        seen.append(grid.scatter(working_image)[brain])
    assert abs(np.median(seen[0]) - np.median(seen[1])) < 0.15
    assert np.percentile(np.abs(seen[0] - seen[1]), 90) < 0.3


@pytest.mark.parametrize("seed", [3, 4])
def test_what_lies_around_the_brain_does_not_widen_the_intensities(seed):
    rng = np.random.default_rng(seed)
    made = synthetic_head(load_anatomy(), rng, skull=True)
    whole = add_noise(made.flair, 3, rng)
    brain = made.anatomy.brain > 0.5
    # The neck below the brain: air, bone and muscle, which a depth in the head does not tell from brain.
    depth = np.flatnonzero(brain.any((0, 1)))[0] + 30
    neck = np.where(whole[..., :depth] > 0, rng.choice((4.0, 60.0, 220.0), (*whole.shape[:2], 1)), 0)
    whole[..., :depth] = np.where(brain[..., :depth], whole[..., :depth], neck)

    def spread(flair: np.ndarray, normalisation: Normalisation) -> float:
        (image,), grid, _ = preprocessing.prepare(flair, (1.0, 1.0, 1.0), normalisation=normalisation)
        inside = grid.gather(brain) > 0.99
        return float(np.subtract(*np.percentile(image[inside], (75, 25))))

    assert spread(whole, "brain-median-mad") == pytest.approx(
        spread(np.where(brain, whole, 0), "brain-median-mad"), rel=0.05
    )
    assert spread(whole, "deep-median-mad") < 0.9 * spread(np.where(brain, whole, 0), "deep-median-mad")


def test_an_image_without_a_brain_to_find_is_normalised_by_its_depth():
    ball = 100 + np.random.default_rng(0).normal(0, 5, (24, 24, 24)).astype(np.float32)  # 14 ml
    image = np.pad(ball, 10)
    (found,), *_ = preprocessing.prepare(image, (1.0, 1.0, 1.0))
    (deep,), *_ = preprocessing.prepare(image, (1.0, 1.0, 1.0), normalisation="deep-median-mad")
    np.testing.assert_allclose(found, deep, atol=0.1)


@pytest.mark.parametrize(("gain", "offset"), [(0.01, 0), (37, 0), (2, 500)])
def test_the_scanners_intensity_scale_does_not_matter(gain, offset):
    plain, scaled = (
        preprocessing.prepare(image, SPACING)[0][0] for image in (head(), gain * head() + offset)
    )
    np.testing.assert_allclose(scaled, plain, atol=0.02)


def test_preparing_leaves_the_image_as_it_was():
    # At 1 mm nothing is resampled, and the working image could share the caller's memory.
    flair = np.zeros((60, 64, 40), np.float32)
    flair[8:-8, 8:-8, 6:-6] = np.random.default_rng(0).normal(100, 10, (44, 48, 28))
    before = flair.copy()
    preprocessing.prepare(flair, (1.0, 1.0, 1.0))
    np.testing.assert_array_equal(flair, before)


@pytest.mark.parametrize("count", [2, 3, 4, 101, 3000])
@pytest.mark.parametrize("kind", [np.float32, np.int16])
def test_the_deviation_is_that_of_scipy(count, kind):
    values = np.random.default_rng(count).gamma(2, 200, count).astype(kind)
    median, scale = median_and_deviation(values)
    assert median == np.median(values)
    assert scale == pytest.approx(stats.median_abs_deviation(values, scale="normal"), rel=1e-4)


def test_outliers_are_left_out_until_none_is_left():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(100, 10, 9000), rng.uniform(150, 900, 1000), [0] * 500])
    median, scale = without_outliers(values)
    near = values[np.abs(values - median) <= 3 * scale]
    assert median == pytest.approx(np.median(near), rel=1e-3)
    assert scale == pytest.approx(stats.median_abs_deviation(near, scale="normal"), rel=2e-3)
    assert median == pytest.approx(100, abs=1) and scale == pytest.approx(10, rel=0.05)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(5, 6, 7), (1, 4, 4), (20, 30, 25)])
@pytest.mark.parametrize("level", [0.35, 0.5, 0.65])
def test_holes_are_filled_plane_by_plane_as_scipy_fills_each(axis, shape, level):
    mask = ndimage.gaussian_filter(np.random.default_rng(1).random(shape), 0.6) < level
    expected = [ndimage.binary_fill_holes(plane) for plane in np.moveaxis(mask, axis, 0)]
    assert (np.moveaxis(without_holes(mask, axis), axis, 0) == expected).all()
