"""Centre heat and offsets: what is taught, and how lesions come of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from lesion_training.instance_targets import centres_and_offsets, instance_target
from LesionSegmenterLib.engine.preprocessing import WorkingGrid
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.instances import (
    OffsetField,
    SmallLesionRule,
    drop_small,
    group_by_offsets,
    label_components,
    renumber,
    split,
    split_by_offsets,
)
from LesionSegmenterLib.instances.offsets import HEAT_THRESHOLD, heat_peaks
from phantoms import as_partition, smooth_noise, soft_balls, touching_spheres

ISOTROPIC = (1.0, 1.0, 1.0)


def field_of(ids: np.ndarray, spacing=ISOTROPIC) -> OffsetField:
    """What a perfect network says of lesions."""
    return OffsetField(*centres_and_offsets(ids), spacing)


# What is taught


def lesions_of_three_shapes() -> np.ndarray:
    ids = np.zeros((20, 24, 18), np.int32)
    ids[2:7, 3:9, 4:6], ids[7:9, 3:9, 4:6], ids[14, 20, 10] = 7, 3, 200
    return ids


def test_offsets_lead_from_each_voxel_to_its_lesions_centre_of_mass():
    ids = lesions_of_three_shapes()
    _, offsets = centres_and_offsets(ids)
    for lesion in (7, 3, 200):
        voxels = np.argwhere(ids == lesion)
        ends = voxels + offsets[:, *voxels.T].T
        np.testing.assert_allclose(ends, [ndimage.center_of_mass(ids == lesion)] * len(voxels), atol=1e-5)
    assert not offsets[:, ids == 0].any()


def test_the_heat_is_the_largest_gaussian_of_two_voxels_around_the_centres():
    ids = lesions_of_three_shapes()
    centres = [ndimage.center_of_mass(ids == lesion) for lesion in (3, 7, 200)]
    grid = np.moveaxis(np.indices(ids.shape), 0, -1)
    squares = [((grid - centre) ** 2).sum(-1) for centre in centres]
    heat, _ = centres_and_offsets(ids)
    np.testing.assert_allclose(heat, np.exp(-np.min(squares, axis=0) / 8), atol=4e-6)
    assert heat[14, 20, 10] == 1


def test_a_batchs_target_holds_classes_heat_and_offsets_of_each_patch():
    ids = np.stack([lesions_of_three_shapes(), np.zeros((20, 24, 18), np.int32)])
    target = instance_target((ids > 0).astype(np.uint8), ids)
    assert target.classes.dtype == torch.int64 and target.heat.dtype == target.offsets.dtype == torch.float32
    assert target.offsets.shape == (2, 3, 20, 24, 18)
    np.testing.assert_array_equal(target.heat[0], centres_and_offsets(ids[0])[0])
    assert not target.heat[1].any() and not target.offsets[1].any() and not target.classes[1].any()


# Peaks of the heat


def peaks_of(heat: np.ndarray, least: float = 0.1) -> list[list[float]]:
    return heat_peaks(heat, least).tolist()


def test_peaks_are_the_voxels_that_max_pooling_leaves_as_they_are():
    heat = smooth_noise((14, 12, 16), seed=3).astype(np.float32)
    pooled = torch.nn.functional.max_pool3d(torch.from_numpy(heat)[None], 3, stride=1, padding=1)[0].numpy()
    expected = np.argwhere((pooled == heat) & (heat >= 0.6))
    assert 5 < len(expected) < 50
    np.testing.assert_array_equal(peaks_of(heat, 0.6), expected)


def test_a_plateau_is_one_peak_in_its_middle_however_it_lies():
    heat = np.zeros((9, 9, 9))
    heat[2, 2, 2:4] = 0.5
    heat[6, 6, 6] = heat[7, 7, 7] = 0.8  # they touch by a corner
    assert peaks_of(heat) == [[2, 2, 2.5], [6.5, 6.5, 6.5]]


def test_a_flat_heat_has_one_peak_in_the_middle_of_the_volume():
    assert peaks_of(np.full((5, 7, 9), 0.3)) == [[2, 3, 4]]
    assert peaks_of(np.full((1, 1, 1), 0.3)) == [[0, 0, 0]]


def test_peaks_on_the_border_count_and_a_heat_under_the_threshold_has_none():
    heat = np.zeros((4, 4, 4))
    heat[0, 3, 0] = 0.1
    assert peaks_of(heat) == [[0, 3, 0]]
    heat[0, 3, 0] = 0.0999
    assert peaks_of(heat) == []


# Grouping


@pytest.mark.parametrize("spacing", [ISOTROPIC, (0.5, 1.0, 3.0)])
@pytest.mark.parametrize("radii", [(6, 6), (7, 4)])
def test_what_is_taught_gives_the_lesions_back(spacing, radii):
    shape = [round(length / size) + 1 for length, size in zip((32, 22, 22), spacing, strict=True)]
    _, ids = soft_balls(shape, spacing, [(11, 11, 11), (20, 11, 11)], radii)
    assert label_components(ids).max() == 1
    assert as_partition(split_by_offsets(ids > 0, field_of(ids, spacing))) == as_partition(ids)


def test_offsets_may_be_as_wrong_as_half_the_way_to_the_next_centre():
    _, ids = touching_spheres()
    field = field_of(ids)
    noise = np.random.default_rng(0).uniform(-1, 1, field.offsets.shape) * 2.5
    noisy = replace(field, offsets=field.offsets + noise)
    assert as_partition(split_by_offsets(ids > 0, noisy)) == as_partition(ids)


@pytest.mark.parametrize("seed", [0, 1])
def test_grouping_equals_the_formula_over_all_voxels_and_centres(seed):
    mask = smooth_noise((18, 16, 20), seed) > 0.8
    rng = np.random.default_rng(seed)
    heat = smooth_noise(mask.shape, seed + 10)
    offsets = rng.normal(0, 3, (3, *mask.shape))
    spacing = np.array([0.9, 1.1, 2.0])
    centres: list[np.ndarray] = []
    for peak in sorted(heat_peaks(heat, HEAT_THRESHOLD), key=lambda peak: -heat[tuple(peak.astype(int))]):
        if all(np.linalg.norm((peak - other) * spacing) >= 3 for other in centres):
            centres.append(peak)
    votes = np.moveaxis(np.indices(mask.shape) + offsets, 0, -1)
    distances = np.linalg.norm((votes[..., None, :] - centres) * spacing, axis=-1)
    groups = (distances.argmin(axis=-1) + 1) * mask
    expected = {
        part
        for group in range(1, len(centres) + 1)
        for part in as_partition(ndimage.label(groups == group)[0])  # scipy's default is 6 neighbours
    }
    found = group_by_offsets(mask, OffsetField(heat, offsets, tuple(spacing)))
    assert len(expected) > 10 and as_partition(found) == expected
    np.testing.assert_array_equal(found, renumber(found))


def test_of_centres_under_3_mm_apart_the_highest_remains():
    mask = np.ones((9, 3, 3), bool)
    heat = np.zeros(mask.shape)
    heat[1, 1, 1], heat[3, 1, 1], heat[5, 1, 1] = 0.8, 0.9, 0.7
    field = OffsetField(heat, np.zeros((3, *mask.shape)), ISOTROPIC)
    assert group_by_offsets(mask, field).max() == 1
    assert group_by_offsets(mask, replace(field, spacing=(1.5, 1.0, 1.0))).max() == 3
    heat[3, 1, 1] = 0.75  # between two, of which the higher one drops it and leaves the other
    assert group_by_offsets(mask, field).max() == 2


def test_distances_are_in_mm():
    mask = np.zeros((11, 11, 3), bool)
    mask[5, 5, 1] = True
    heat = np.zeros(mask.shape)
    heat[1, 5, 1] = heat[5, 10, 1] = 1  # 4 and 5 voxels away
    heat[1, 5, 1] = 0.9
    by_voxels = OffsetField(heat, np.zeros((3, *mask.shape)), ISOTROPIC)
    mask[0, 5, 1] = mask[5, 9, 1] = True  # one voxel at each centre says which it is
    mask[1:5, 5, 1] = mask[5, 6:9, 1] = True
    near = group_by_offsets(mask, by_voxels)
    assert near[5, 5, 1] == near[0, 5, 1] != near[5, 9, 1]
    far = group_by_offsets(mask, replace(by_voxels, spacing=(2.0, 1.0, 1.0)))
    assert far[5, 5, 1] == far[5, 9, 1] != far[0, 5, 1]


def test_voxels_of_one_centre_that_share_no_face_are_lesions_of_their_own():
    mask = np.zeros((9, 9, 9), bool)
    mask[4, 4, 4:7], mask[1, 1, 1], mask[5, 5, 7] = True, True, True
    heat = np.zeros(mask.shape)
    heat[4, 4, 5] = 1
    found = group_by_offsets(mask, OffsetField(heat, np.zeros((3, *mask.shape)), ISOTROPIC))
    assert sorted(np.bincount(found.ravel())[1:]) == [1, 1, 3]


def test_without_a_centre_the_components_stay():
    mask = smooth_noise((12, 12, 12), 0) > 0.8
    nothing = OffsetField(np.zeros(mask.shape), np.ones((3, *mask.shape)), ISOTROPIC)
    np.testing.assert_array_equal(group_by_offsets(mask, nothing), label_components(mask, 6))
    assert not group_by_offsets(np.zeros(mask.shape, bool), nothing).any()


def test_ids_do_not_depend_on_the_memory_order_nor_on_ties():
    mask = np.zeros((8, 5, 5), bool)
    mask[1:8, 2, 2] = True  # voxel 4 lies as far from the centre at 2 as from that at 6
    heat = np.zeros(mask.shape)
    heat[2, 2, 2] = heat[6, 2, 2] = 1
    offsets = np.zeros((3, *mask.shape))
    found = group_by_offsets(mask, OffsetField(heat, offsets, ISOTROPIC))
    assert found[1:8, 2, 2].tolist() == [1, 1, 1, 1, 2, 2, 2]
    fortran = OffsetField(np.asfortranarray(heat), np.asfortranarray(offsets), ISOTROPIC)
    np.testing.assert_array_equal(group_by_offsets(np.asfortranarray(mask), fortran), found)


def test_to_drop_small_components_before_the_grouping_would_change_nothing():
    mask = smooth_noise((24, 24, 24), 2, sigma=1.2) > 0.75
    rng = np.random.default_rng(0)
    field = OffsetField(smooth_noise(mask.shape, 4), rng.normal(0, 2, (3, *mask.shape)), ISOTROPIC)
    rule = SmallLesionRule(min_side_mm=2, min_volume_mm3=6)
    large = drop_small(label_components(mask, 6), ISOTROPIC, rule) > 0
    assert large.sum() < mask.sum()
    probability = mask.astype(float)
    after, both = (
        split("offsets", probability, m, ISOTROPIC, small_lesion_rule=rule, offsets=field)
        for m in (mask, large)
    )
    assert 2 < after.max() < group_by_offsets(mask, field).max()
    np.testing.assert_array_equal(after, both)


def test_the_field_may_have_a_grid_of_its_own():
    spacing, fine = (2.0, 2.0, 4.0), ISOTROPIC
    _, ids = soft_balls((44, 36, 36), fine, [(14, 16, 16), (25, 16, 16)], [7, 6])
    grid = WorkingGrid((26, 18, 10), ((2, 24), (0, 18), (1, 10)), ids.shape, fine, 2)
    scale, shift = grid.from_image
    field = OffsetField(*centres_and_offsets(ids), fine, scale, shift)
    _, expected = soft_balls(grid.image_shape, spacing, [(17.5, 15.5, 18.5), (28.5, 15.5, 18.5)], [7, 6])
    found = group_by_offsets(expected > 0, field)
    assert found.max() == 2
    for lesion in (1, 2):  # a voxel of 2x2x4 mm has one of 16 fine voxels speak for it
        same, either = (found == lesion) & (expected == lesion), (found == lesion) | (expected == lesion)
        assert same.sum() > 0.9 * either.sum()


def test_a_grid_says_where_its_voxels_lie_in_the_image():
    box, shape = ((3, 27), (0, 20), (5, 11)), (24, 31, 18)
    grid = WorkingGrid((30, 20, 12), box, shape, ISOTROPIC, 2)
    scale, shift = grid.from_image
    for axis, ramp in enumerate(np.indices(grid.image_shape).astype(np.float32)):
        gathered = np.moveaxis(grid.gather(ramp), axis, 0)[3:-3, 4, 4]  # edges repeat at the border
        expected = (np.arange(shape[axis]) - shift[axis]) / scale[axis]
        np.testing.assert_allclose(gathered, expected[3:-3], atol=1e-4)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (OffsetField(np.zeros((4, 4, 4)), np.zeros((2, 4, 4, 4)), ISOTROPIC), "three offsets a voxel"),
        (OffsetField(np.zeros((4, 4)), np.zeros((3, 4, 4)), ISOTROPIC), "3D heat"),
        (OffsetField(np.ones((4, 4, 4)), np.full((3, 4, 4, 4), np.nan), ISOTROPIC), "NaN"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(field, words):
    with pytest.raises(InputError, match=words):
        group_by_offsets(np.ones((4, 4, 4), bool), field)


def test_offsets_without_a_field_are_no_method():
    with pytest.raises(InputError, match="unknown splitting method 'offsets'"):
        split("offsets", np.zeros((4, 4, 4)), np.zeros((4, 4, 4)), ISOTROPIC)
