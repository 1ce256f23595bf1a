"""A scan as another scanner would have taken it: where lesions are, and what noise and contrast amount to."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from heads import SPACING, centred_affine, head
from lesion_training.brain_stripping import brain_mask, is_whole_head
from lesion_training.scan_changes import Protocol, Scan, bias_field, coverage, feasible, rescan, slice_axis
from LesionSegmenterLib.synthesis.head import smooth_noise

SHAPE = (40, 44, 40)


def ball(radius: float) -> np.ndarray:
    places = np.moveaxis(np.indices(SHAPE), 0, -1) - (np.array(SHAPE) - 1) / 2
    return np.linalg.norm(places, axis=-1) < radius


@pytest.fixture
def scan() -> Scan:
    """A ball of tissue at 100 in a shell of scalp, with a box of lesion at 160, on an oblique 1 mm grid."""
    lesions = np.zeros(SHAPE, bool)
    lesions[14:20, 20:26, 15:25] = True
    flair = np.where(ball(19), 60.0, 0.0)
    flair[ball(15)] = 100
    flair[lesions] = 160
    turn = nib.eulerangles.euler2mat(0.1, 0.2, 0.3)
    return Scan(flair.astype(np.float32), lesions, nib.affines.from_matvec(turn, (-20, 30, 5)), ball(15))


def changed(scan: Scan, **changes) -> Scan:
    return rescan(scan, Protocol(**changes), np.random.default_rng(0))


def centroid(scan: Scan) -> np.ndarray:
    return nib.affines.apply_affine(scan.affine, np.argwhere(scan.lesions).mean(axis=0))


@pytest.mark.parametrize("changes", [{"slice_mm": 5.0}, {"in_plane_mm": 0.5}, {"in_plane_mm": 2.0}])
def test_a_lesion_that_fills_new_voxels_keeps_its_centroid_and_volume_in_the_world(scan, changes):
    after = changed(scan, **changes)
    assert after.flair.shape == after.lesions.shape != scan.flair.shape
    np.testing.assert_allclose(centroid(after), centroid(scan), atol=1e-6)
    assert after.lesions.sum() * np.prod(after.spacing) == pytest.approx(scan.lesions.sum(), rel=1e-6)


def test_thick_slices_that_do_not_divide_the_head_keep_bright_things_in_place(scan):
    after = changed(scan, slice_mm=3.0)
    assert after.flair.shape == (40, 44, 13) and after.spacing[2] == pytest.approx(40 / 13)
    bright = [
        nib.affines.apply_affine(s.affine, ndimage.center_of_mass(np.maximum(s.flair - 105, 0)))
        for s in (scan, after)
    ]
    assert np.linalg.norm(bright[0] - bright[1]) < 0.3


def test_a_voxel_is_lesion_where_half_of_it_is(scan):
    thin = np.zeros(SHAPE, bool)
    thin[5, 5, :2], thin[9, 9, :1], thin[12, 12, 3:5] = True, True, True
    after = changed(Scan(scan.flair, thin, scan.affine, None), slice_mm=4.0)
    assert np.argwhere(after.lesions).tolist() == [[5, 5, 0]]


def test_coverage_is_the_share_of_a_voxels_volume():
    mask = np.zeros((4, 1, 5), bool)
    mask[1:, 0, 1:4] = True
    share = coverage(mask, (2, 1, 2))
    np.testing.assert_allclose(share[:, 0], [[0.5 * 1.5 / 2.5] * 2, [1.5 / 2.5] * 2], rtol=1e-6)
    np.testing.assert_allclose(coverage(mask, (4, 1, 10))[:, 0, ::2], mask[:, 0])


def test_what_a_scan_already_is_needs_no_change_and_what_it_lacks_cannot_be_made(scan):
    thick = Scan(scan.flair, scan.lesions, np.diag([0.9, 0.9, 7.7, 1]), None)
    assert feasible(thick, Protocol(slice_mm=5.0)) is None
    assert feasible(thick, Protocol(slice_mm=8.0)) == Protocol()
    assert feasible(thick, Protocol(skull="whole")) is None
    assert feasible(thick, Protocol(skull="stripped")) == Protocol()
    assert feasible(scan, Protocol(skull="whole", in_plane_mm=1.0)) == Protocol()
    wanted = Protocol(slice_mm=5.0, in_plane_mm=0.45, skull="stripped", snr=10.0)
    assert feasible(scan, wanted) == wanted


def test_slices_are_across_the_clearly_longest_side_and_else_axial():
    assert [slice_axis(s) for s in ((1.0, 1.0, 1.1), (5.0, 0.9, 0.9), (0.9, 0.9, 3.0))] == [2, 0, 2]


def test_noise_has_the_stated_ratio_to_tissue_and_is_rician_in_air(scan):
    noisy = changed(scan, snr=20.0)
    tissue = ball(13) & ~scan.lesions
    assert np.std(noisy.flair[tissue]) == pytest.approx(100 / 20, rel=0.05)
    air = noisy.flair[~ball(20)]
    assert air.mean() == pytest.approx(5 * np.sqrt(np.pi / 2), rel=0.02)


def test_thick_slices_are_as_noisy_as_stated_too(scan):
    plain, noisy = changed(scan, slice_mm=4.0), changed(scan, slice_mm=4.0, snr=20.0)
    assert np.std((noisy.flair - plain.flair)[plain.flair > 90]) == pytest.approx(5, rel=0.06)


def test_a_bias_field_of_40_percent_runs_smoothly_from_0_8_to_1_2_over_the_brain():
    field = bias_field(ball(15), 0.4, np.random.default_rng(1))
    assert (field[ball(15)].min(), field[ball(15)].max()) == pytest.approx((0.8, 1.2))
    assert max(np.abs(np.diff(field, axis=axis)).max() for axis in range(3)) < 0.05


def test_less_gray_white_contrast_leaves_the_lesions_as_bright(scan):
    checks = np.indices(SHAPE).sum(0) // 4 % 2 == 0
    flair = np.where(ball(15), np.where(checks, 92.0, 108.0), scan.flair).astype(np.float32)
    flair[scan.lesions] = 170
    after = changed(Scan(flair, scan.lesions, scan.affine, None), gray_white=0.7).flair
    tissue = ball(15) & ~scan.lesions
    difference = after[tissue & ~checks].mean() - after[tissue & checks].mean()
    assert difference == pytest.approx(0.7 * 16, rel=0.1)
    assert after[scan.lesions].mean() == pytest.approx(170, rel=0.01)


def test_gamma_keeps_what_is_brightest_and_moves_tissue(scan):
    top = float(np.percentile(scan.flair[::2, ::2], 99.5))
    darker, brighter = changed(scan, gamma=1.4).flair, changed(scan, gamma=0.7).flair
    assert darker[20, 22, 10] < 100 < brighter[20, 22, 10]
    assert darker[16, 22, 20] == pytest.approx(top * (160 / top) ** 1.4, rel=1e-4)


def test_stripping_takes_away_all_but_the_brain_and_leaves_the_truth(scan):
    stripped = changed(scan, skull="stripped", snr=20.0)
    assert stripped.brain is None
    assert not stripped.flair[~ball(15)].any() and (stripped.flair[ball(15)] > 50).all()
    assert np.array_equal(stripped.lesions, scan.lesions)


def test_a_scan_stripped_before_is_empty_of_noise_where_it_was_cut_away(scan):
    before = Scan(np.where(scan.brain, scan.flair, 0).astype(np.float32), scan.lesions, scan.affine, None)
    after = changed(before, snr=10.0)
    assert not after.flair[~ball(15)].any() and after.flair[ball(15)].std() > 5


def test_no_change_is_none(scan):
    assert np.array_equal(changed(scan).flair, scan.flair)
    np.testing.assert_allclose(changed(scan).affine, scan.affine)


def test_the_brain_of_a_whole_head_is_told_from_its_scalp():
    brain = head(lesions=()) > 50
    # A scalp as bright as tissue, so that brightness alone cannot tell it; some noise, as air is never empty.
    whole = head(scalp=110.0, lesions=()) + np.abs(smooth_noise(brain.shape, 12, np.random.default_rng(0)))
    found = brain_mask(whole, SPACING)
    assert 2 * (found & brain).sum() / (found.sum() + brain.sum()) > 0.93


def test_a_head_is_whole_where_it_is_larger_than_any_brain():
    affine = centred_affine((40, 48, 40), (6, 6, 6))
    places = np.moveaxis(
        nib.affines.apply_affine(affine, np.moveaxis(np.indices((40, 48, 40)), 0, -1)), -1, 0
    )
    for axes, whole in (((65, 85, 62), False), ((85, 105, 90), True)):
        inside = sum((x / a) ** 2 for x, a in zip(places, axes, strict=True)) < 1
        assert is_whole_head(np.where(inside, 100.0, 0.0), (6, 6, 6)) is whole
