"""Mask banks and the white matter hyperintensities made for training."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lesion_training.banks import MaskBank
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.synthesis.wmh import wmh_mask

AFFINE = np.array([[-1.0, 0, 0, 90], [0, 1, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
OFFSETS = [(1, 2, 3), (4, 0, 1)]


def some_masks() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.random(shape) < 0.5 for shape in ((3, 4, 5), (2, 1, 3))]


def bank_parts() -> dict[str, np.ndarray]:
    masks = some_masks()
    packed = [np.packbits(mask) for mask in masks]
    return {
        "bits": np.concatenate(packed),
        "ptr": np.cumsum([0, *(len(p) for p in packed)]),
        "shape": np.array([mask.shape for mask in masks], dtype=np.int16),
        "offset": np.array(OFFSETS, dtype=np.int16),
        "grid": np.array([10, 10, 10]),
        "affine": AFFINE,
        "volume_mm3": np.array([2.0 * mask.sum() for mask in masks]),
        "source": np.array(["a", "b"]),
    }


def test_every_mask_comes_back_in_its_box_at_its_place(tmp_path):
    np.savez_compressed(tmp_path / "bank.npz", **bank_parts())
    bank = MaskBank(tmp_path / "bank.npz")
    assert len(bank) == 2
    assert bank.source == ["a", "b"]
    for index, expected in enumerate(some_masks()):
        mask, affine = bank.mask(index)
        np.testing.assert_array_equal(mask, expected)
        # The box's first voxel is the grid's voxel at the offset.
        np.testing.assert_allclose(affine[:3, 3], (AFFINE @ [*OFFSETS[index], 1])[:3])
        np.testing.assert_allclose(affine[:3, :3], AFFINE[:3, :3])


def test_an_index_outside_the_bank_is_an_error(tmp_path):
    np.savez_compressed(tmp_path / "bank.npz", **bank_parts())
    with pytest.raises(IndexError):
        MaskBank(tmp_path / "bank.npz").mask(2)


@pytest.mark.parametrize(
    "change",
    [
        {"offset": np.array([[9, 9, 9], [0, 0, 0]])},
        {"ptr": np.array([0, 3, 4])},
        {"ptr": np.array([0, 8])},
        {"bits": np.zeros(3, dtype=np.uint8)},
        {"affine": np.eye(3)},
    ],
)
def test_a_bank_whose_parts_disagree_is_refused(tmp_path, change):
    np.savez(tmp_path / "bank.npz", **(bank_parts() | change))
    with pytest.raises(InputError, match=r"bank\.npz"):
        MaskBank(tmp_path / "bank.npz").mask(0)


def test_a_missing_incomplete_or_cut_file_is_refused(tmp_path):
    path = tmp_path / "bank.npz"
    with pytest.raises(InputError):
        MaskBank(path)
    np.savez(path, ptr=np.array([0]))
    with pytest.raises(InputError, match="has no"):
        MaskBank(path)
    np.savez(path, **bank_parts())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError):
        MaskBank(path)
    path.write_text("not an archive")
    with pytest.raises(InputError):
        MaskBank(path)


@pytest.mark.parametrize(
    "name",
    [
        "stroke_acute_soop_mni",
        "stroke_chronic_lesymap_mni",
        "ms_whole_ljubljana_mni",
        "ms_components_lesionsimulator_mni",
    ],
)
def test_the_real_banks_masks_have_the_volumes_they_state(data_dir, name):
    bank = MaskBank(data_dir / "lesion_banks" / f"{name}.npz")
    for index in (0, len(bank) - 1):
        mask, affine = bank.mask(index)
        volume = mask.sum() * abs(np.linalg.det(affine[:3, :3]))
        assert volume == pytest.approx(bank.volume_mm3[index], rel=1e-3)


def head_with_ventricles() -> tuple[np.ndarray, np.ndarray]:
    """Two ventricles, bars from front to back, in an ellipsoid of white matter; 2 mm, towards R, A, S."""
    r, a, s = (np.arange(n) * 2.0 - n + 1 for n in (70, 90, 60))
    r, a, s = r[:, None, None], a[None, :, None], s[None, None, :]
    centre = 10 + np.abs(a - 10) / 6
    ventricles = ((np.abs(r) - centre) ** 2 + (s + 4) ** 2 < 36) & (np.abs(a) < 35)
    white_matter = ((r / 55) ** 2 + (a / 75) ** 2 + (s / 48) ** 2 < 1) & ~ventricles
    return ventricles, white_matter


def synthesised(severity: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return wmh_mask(*head_with_ventricles(), (2, 2, 2), np.random.default_rng(seed), severity)


@pytest.mark.parametrize(
    ("severity", "low_ml", "high_ml"), [(1, 1, 5), (2, 5, 25), (3, 15, 80), (4.2, 45, 150)]
)
def test_wmh_volume_follows_the_severity(severity, low_ml, high_ml):
    volumes = [synthesised(severity, seed)[0].sum() * 8 / 1000 for seed in range(3)]
    assert low_ml < np.median(volumes) < high_ml


def test_wmh_lie_in_white_matter_or_its_lining_and_never_in_the_ventricles():
    ventricles, white_matter = head_with_ventricles()
    mask, _ = synthesised(3)
    assert not (mask & ventricles).any()
    assert (mask & white_matter).sum() > 0.95 * mask.sum()


def test_every_wmh_has_its_own_id_and_holds_together():
    mask, instances = synthesised(2.5)
    ids = np.unique(instances[instances > 0])
    np.testing.assert_array_equal(instances > 0, mask)
    np.testing.assert_array_equal(ids, np.arange(1, len(ids) + 1))
    assert len(ids) > 2
    for lesion_id in ids:
        assert ndimage.label(instances == lesion_id, structure=np.ones((3, 3, 3)))[1] == 1


def test_wmh_touch_both_sides_and_hug_the_ventricles():
    ventricles, _ = head_with_ventricles()
    mask, _ = synthesised(2)
    sides = mask[:35].sum(), mask[35:].sum()
    assert min(sides) > 0.25 * max(sides)
    distance = ndimage.distance_transform_edt(~ventricles, sampling=2)
    assert (distance[mask] < 8).mean() > 2 * (distance[distance > 0] < 8).mean()


def test_the_same_generator_makes_the_same_wmh_and_another_one_others():
    np.testing.assert_array_equal(synthesised(2, seed=4)[1], synthesised(2, seed=4)[1])
    assert (synthesised(2, seed=4)[0] != synthesised(2, seed=5)[0]).any()


def test_severity_0_is_a_brain_without_wmh():
    assert not synthesised(0)[0].any()


@pytest.mark.parametrize("severity", [-0.1, 4.6])
def test_a_severity_off_the_scale_is_refused(severity):
    with pytest.raises(InputError, match="severity"):
        synthesised(severity)


def test_wmh_need_ventricles_and_white_matter():
    ventricles, white_matter = head_with_ventricles()
    with pytest.raises(InputError):
        wmh_mask(np.zeros_like(ventricles), white_matter, (2, 2, 2), np.random.default_rng(0), 1)
