"""Synthetic anatomy, heads, lesions and scans."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.synthesis import anatomy as anatomies
from LesionSegmenterLib.synthesis import scan as scans
from LesionSegmenterLib.synthesis.anatomy import Anatomy, load_anatomy, procedural_anatomy
from LesionSegmenterLib.synthesis.head import HEAD_MARGIN, add_noise, deform, synthetic_head
from LesionSegmenterLib.synthesis.painting import paint, soft_mask
from LesionSegmenterLib.synthesis.scan import Acquisition, SyntheticScan, synthetic_scan
from LesionSegmenterLib.synthesis.shapes import ovoid

NORMAL, FLUID = 100.0, 18.0


@pytest.fixture(scope="module")
def procedural() -> Anatomy:
    return procedural_anatomy()


@pytest.fixture(scope="module")
def coarse(procedural: Anatomy) -> Anatomy:
    """The procedural brain at every fourth voxel, for what need not look like a brain."""
    maps = (procedural.brain, procedural.gray, procedural.white, procedural.ventricles)
    return Anatomy(*(m[::4, ::4, ::4] for m in maps), procedural.affine)


@pytest.fixture(scope="module")
def made() -> tuple[SyntheticScan, Anatomy]:
    """One scan, and the anatomy it was made of."""
    seen: list[Anatomy] = []

    def deformed(*arguments) -> Anatomy:
        seen.append(deform(*arguments))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scans, "deform", deformed)
        return synthetic_scan(0), seen[0]


@pytest.fixture
def without_nilearn(monkeypatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "nilearn", None)
    load_anatomy.cache_clear()
    yield
    load_anatomy.cache_clear()


# Anatomy


def assert_a_plausible_brain(anatomy: Anatomy, gray_ml: tuple[float, float]) -> None:
    """Volumes in ml around those of adults; maps on one grid; fractions that add up to at most one."""
    assert 1100 < anatomy.brain.sum() / 1000 < 2000
    assert 8 < anatomy.ventricles.sum() / 1000 < 60
    assert 60 < anatomy.fluid.sum() / 1000 < 500
    assert gray_ml[0] < anatomy.gray.sum() / 1000 < gray_ml[1]
    for fraction in (anatomy.brain, anatomy.gray, anatomy.white):
        assert fraction.shape == anatomy.ventricles.shape
        assert fraction.min() >= 0 and fraction.max() <= 1
    tissue = anatomy.gray + anatomy.white
    assert tissue.max() < 1.05
    assert tissue[anatomy.ventricles].mean() < 0.3


def assert_symmetric_ventricles(anatomy: Anatomy) -> None:
    right = np.argwhere(anatomy.ventricles)[:, 0] + anatomy.affine[0, 3]
    assert (right > 0).sum() == pytest.approx((right < 0).sum(), rel=0.1)
    assert right.mean() == pytest.approx(0, abs=2)
    assert ndimage.label(anatomy.ventricles)[1] == 2


def test_the_procedural_brain_has_plausible_volumes_and_two_like_ventricles(procedural):
    # Its cortex has the thickness of a real one, but hardly any folds.
    assert_a_plausible_brain(procedural, (150, 800))
    assert_symmetric_ventricles(procedural)


def test_the_template_brain_has_plausible_volumes_and_two_like_ventricles():
    pytest.importorskip("nilearn", reason="nilearn, whose wheel holds the template, is not installed")
    assert_a_plausible_brain(load_anatomy(), (600, 1100))
    assert_symmetric_ventricles(load_anatomy())


def test_without_nilearn_the_procedural_brain_stands_in_on_the_same_grid(without_nilearn, procedural):
    loaded = load_anatomy()
    np.testing.assert_array_equal(loaded.white, procedural.white)
    assert loaded.brain.shape == anatomies._SHAPE


def test_without_nilearn_a_scan_still_has_lesions_of_all_three_types(without_nilearn):
    scan = synthetic_scan(1)
    assert set(scan.types.values()) == {LesionType.WMH, LesionType.STROKE, LesionType.MS}


# Heads


def test_another_generator_deforms_to_another_brain_and_the_same_to_the_same(coarse):
    first, again, other = (deform(coarse, np.random.default_rng(seed)).brain for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.5


def test_a_deformed_brain_keeps_fractions_and_has_no_tissue_in_its_ventricles(coarse):
    brain = deform(coarse, np.random.default_rng(0), amount_mm=1)
    assert brain.gray.min() >= 0 and brain.white.max() <= 1
    assert brain.ventricles.any()
    inner = ndimage.binary_erosion(brain.ventricles, iterations=2)
    assert (brain.gray + brain.white)[inner].max(initial=0) < 0.05


def test_a_whole_head_has_a_scalp_around_the_brain_and_a_stripped_one_has_air(coarse):
    stripped = synthetic_head(coarse, np.random.default_rng(0), skull=False)
    whole = synthetic_head(coarse, np.random.default_rng(0), skull=True)
    assert stripped.flair.shape == coarse.brain.shape
    assert stripped.flair[coarse.brain == 0].max() == 0
    assert whole.flair.shape == tuple(n + 2 * HEAD_MARGIN for n in coarse.brain.shape)
    np.testing.assert_array_equal(whole.anatomy.affine[:3, 3], coarse.affine[:3, 3] - HEAD_MARGIN)
    away = ndimage.distance_transform_edt(whole.anatomy.brain < 0.3)
    assert whole.flair[(away > 8) & (away < 14)].mean() > 40
    np.testing.assert_allclose(whole.flair[away > HEAD_MARGIN + 15], 0, atol=1)


def test_white_matter_is_brighter_than_fluid_and_darker_than_gray(coarse):
    flair = synthetic_head(coarse, np.random.default_rng(3), skull=False).flair
    fluid = ndimage.binary_erosion(coarse.ventricles)
    white = coarse.white > 0.95
    assert flair[fluid].mean() < 0.5 * flair[white].mean()
    assert flair[white].mean() == pytest.approx(100, abs=25)
    assert flair[coarse.gray > 0.95].mean() > flair[white].mean()


def test_noise_is_rician():
    # Without signal its mean is sigma * sqrt(pi / 2) (Gudbjartsson and Patz 1995).
    noise = add_noise(np.zeros((60, 60, 60), np.float32), 3, np.random.default_rng(0))
    assert noise.mean() == pytest.approx(3 * np.sqrt(np.pi / 2), rel=0.01)
    bright = add_noise(np.full((60, 60, 60), 300, np.float32), 3, np.random.default_rng(0))
    assert bright.std() == pytest.approx(3, rel=0.02)


# Painting


@given(
    contrast=st.floats(0, 100),
    replace=st.floats(0, 1),
    texture=st.floats(0, 0.4),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=30)
def test_paint_leaves_fluid_dark_and_all_outside_the_lesion_untouched(contrast, replace, texture, seed):
    rng = np.random.default_rng(seed)
    image = rng.choice([0.0, FLUID, NORMAL], (8, 9, 7))
    soft = np.clip(rng.normal(0, 1, image.shape), 0, 1)
    before = image.copy()
    painted = paint(image, soft, contrast, rng, normal=NORMAL, fluid=FLUID, texture=texture, replace=replace)
    untouched = (soft == 0) | (before <= FLUID)
    np.testing.assert_array_equal(image[untouched], before[untouched])
    assert (painted[untouched] == 0).all()
    assert (painted <= soft).all()


def test_paint_adds_to_the_tissue_or_takes_its_place():
    for replace, expected in ((0, 110 + 30), (1, NORMAL + 30), (0.5, 105 + 30)):
        image = np.full((5, 5, 5), 110.0)
        paint(
            image,
            np.ones(image.shape),
            30,
            np.random.default_rng(0),
            normal=NORMAL,
            fluid=FLUID,
            texture=0,
            replace=replace,
        )
        np.testing.assert_allclose(image, expected)


def test_a_soft_mask_keeps_its_peak_however_small_the_lesion():
    mask = np.zeros((15, 15, 15), bool)
    assert not soft_mask(mask, (1, 1, 1)).any()
    mask[7, 7, 7] = True
    soft = soft_mask(mask, (1, 1, 1))
    assert soft[7, 7, 7] == pytest.approx(1)
    assert 0 < soft[7, 7, 8] < 1
    mask[2:13, 2:13, 2:13] = True
    assert soft_mask(mask, (0.6, 0.6, 0.6)).max() == pytest.approx(1)
    assert soft_mask(mask, (0.6, 0.6, 0.6))[2, 7, 7] == pytest.approx(0.83, abs=0.1)


# Shapes


def test_an_ovoid_has_the_volume_and_the_direction_it_was_given():
    inside = ovoid((40, 40, 40), np.array([20.0, 20, 20]), np.array([0.0, 1, 1]), 12, 6) < 1
    assert inside.sum() == pytest.approx(4 / 3 * np.pi * 12 * 6**2, rel=0.03)
    points = np.argwhere(inside)
    np.testing.assert_allclose(points.mean(0), 20, atol=0.1)
    lengths, axes = np.linalg.eigh(np.cov(points.T))
    assert abs(axes[:, -1] @ [0, 1, 1]) / np.sqrt(2) > 0.99
    np.testing.assert_allclose(np.sqrt(5 * lengths), [6, 6, 12], rtol=0.05)


def test_an_ovoid_at_the_border_is_cut_off_there():
    inside = ovoid((20, 20, 20), np.array([0.0, 10, 10]), np.array([1.0, 0, 0]), 5, 5) < 1
    assert inside.sum() == pytest.approx(2 / 3 * np.pi * 5**3, rel=0.15)


# Scans


def test_the_same_seed_makes_the_same_bytes(made):
    scan, _ = made
    again = synthetic_scan(0)
    assert again.flair.tobytes() == scan.flair.tobytes()
    assert again.instances.tobytes() == scan.instances.tobytes()
    assert again.types == scan.types
    np.testing.assert_array_equal(again.affine, scan.affine)


def test_a_scan_has_all_three_types_and_every_id_a_type(made):
    scan, _ = made
    assert set(scan.types.values()) == {LesionType.WMH, LesionType.STROKE, LesionType.MS}
    assert set(np.unique(scan.instances)) - {0} == set(scan.types)
    assert scan.flair.dtype == np.int16 and scan.flair.shape == scan.instances.shape


def test_some_lesions_of_one_type_touch_and_keep_their_own_ids(made):
    scan, _ = made
    for kind in (LesionType.MS, LesionType.WMH):
        ids = [lesion for lesion, its in scan.types.items() if its == kind]
        own = np.where(np.isin(scan.instances, ids), scan.instances, 0)
        parts, count = ndimage.label(own, np.ones((3, 3, 3)))
        assert max(len(np.unique(own[parts == part])) for part in range(1, count + 1)) >= 2, kind


def test_the_truth_lies_inside_the_brain(made):
    scan, anatomy = made
    indices = np.argwhere(scan.instances > 0)
    world = indices @ scan.affine[:3, :3].T + scan.affine[:3, 3]
    voxels = np.rint(world - anatomy.affine[:3, 3]).astype(int)
    assert (anatomy.brain[tuple(voxels.T)] > 0.5).mean() > 0.999
    # A third of a slice may reach into the ventricle; a lesion in it may not.
    assert anatomy.ventricles[tuple(voxels.T)].mean() < 0.02


def test_lesions_are_brighter_than_the_tissue_around_them(made):
    scan, _ = made
    clear = {}
    for lesion, box in enumerate(ndimage.find_objects(scan.instances), start=1):
        wider = tuple(slice(side.start - 3, side.stop + 3) for side in box)  # the truth lies off the edges
        ids, flair = scan.instances[wider], scan.flair[wider]
        around = flair[ndimage.binary_dilation(ids == lesion, np.ones((5, 5, 1))) & (ids == 0)]
        tissue = around[around > 4 * 0.6 * NORMAL]  # the scan stores four steps a unit
        clear[lesion] = np.median(flair[ids == lesion]) > np.median(tissue) + 4 * 5
    # A sliver that a thick slice left of a rim may drown in partial volume; no lesion of 0.1 ml may.
    large = [i for i, n in enumerate(np.bincount(scan.instances.ravel())) if i and 3 * n > 100]
    assert all(clear[lesion] for lesion in large)
    assert np.mean(list(clear.values())) > 0.9


def scanned(flair: np.ndarray, truth: np.ndarray, anatomy: Anatomy, how: Acquisition) -> SyntheticScan:
    """A head with a lesion of id 7 as a scanner takes it."""
    types = {7: LesionType.MS}
    return scans._scanned(flair, truth, types, anatomy.affine, how, np.random.default_rng(0))


@pytest.mark.parametrize("slice_mm", [1, 2, 3, 4])
def test_slices_keep_image_and_truth_in_their_place_in_the_world(coarse, slice_mm):
    flair, truth = np.zeros((20, 20, 36), np.float32), np.zeros((20, 20, 36), np.int32)
    block = (slice(5, 12), slice(8, 11), slice(12, 24))
    flair[block], truth[block] = 1000, 7
    scan = scanned(flair, truth, coarse, Acquisition(slice_mm))
    expected = coarse.affine[:3, 3] + (8, 9, 17.5)
    assert scan.affine[2, 2] == slice_mm
    for weights in (np.where(scan.flair > 400, scan.flair, 0), scan.instances):
        centre = np.array(ndimage.center_of_mass(weights))
        np.testing.assert_allclose(scan.affine[:3, :3] @ centre + scan.affine[:3, 3], expected, atol=0.05)
    assert set(np.unique(scan.instances)) == {0, 1} and scan.types == {1: LesionType.MS}


@pytest.mark.parametrize("in_plane_mm", [0.45, 0.7, 1.1])
def test_pixels_of_another_size_keep_image_and_truth_in_their_place(coarse, in_plane_mm):
    flair, truth = np.zeros((40, 44, 12), np.float32), np.zeros((40, 44, 12), np.int32)
    block = (slice(10, 22), slice(16, 26), slice(3, 9))
    flair[block], truth[block] = 1000, 7
    scan = scanned(flair, truth, coarse, Acquisition(3, in_plane_mm))
    expected = coarse.affine[:3, 3] + (15.5, 20.5, 5.5)
    assert scan.affine[0, 0] == pytest.approx(in_plane_mm, rel=0.02)
    for weights in (np.where(scan.flair > 800, scan.flair, 0), scan.instances):
        centre = np.array(ndimage.center_of_mass(weights))
        found = scan.affine[:3, :3] @ centre + scan.affine[:3, 3]
        np.testing.assert_allclose(found, expected, atol=in_plane_mm / 2)
