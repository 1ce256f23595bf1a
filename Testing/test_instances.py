"""Splitting a mask into lesions: components, ACLS and the small-lesion rule."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import cdist
from skimage.feature import hessian_matrix, hessian_matrix_eigvals
from skimage.measure import label as skimage_label

from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.instances import (
    METHODS,
    SmallLesionRule,
    acls,
    acls_conflunet,
    drop_small,
    hessian,
    label_components,
    outline_lesions,
    renumber,
    split,
    split_disconnected,
    voxels_by_id,
)
from phantoms import as_partition, smooth_noise, soft_balls, touching_spheres

MM1 = (1.0, 1.0, 1.0)
small_masks = hnp.arrays(bool, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6))
small_maps = hnp.arrays(
    np.int32, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5), elements=st.integers(0, 4)
)


# Outlines


def test_a_share_of_a_half_outlines_a_peak_at_its_full_width_at_half_maximum():
    distance = np.linalg.norm(np.indices((41, 41, 41)) - 20, axis=0)
    for peak in (0.95, 0.5):
        found = outline_lesions(peak * np.exp(-(distance**2) / (2 * 6.0**2)), 0.1, 0.5)
        # 2 sqrt(2 ln 2) sigma, whatever the peak; the threshold alone gives more, and more to the higher one.
        assert (found == (distance <= np.sqrt(2 * np.log(2)) * 6.0)).all()


def test_each_lesion_is_measured_by_its_own_peak_and_the_threshold_stays_the_least():
    probability = np.zeros((12, 3, 3))
    probability[1:4, 1, 1] = (0.35, 0.9, 0.5)
    probability[6:9, 1, 1] = (0.35, 0.4, 0.29)
    assert np.flatnonzero(outline_lesions(probability, 0.3)[:, 1, 1]).tolist() == [1, 2, 3, 6, 7]
    assert np.flatnonzero(outline_lesions(probability, 0.3, 0.5)[:, 1, 1]).tolist() == [2, 3, 6, 7]
    corner = np.zeros((3, 3, 3))
    corner[0, 0, 0], corner[1, 1, 1] = 0.9, 0.4
    assert not outline_lesions(corner, 0.3, 0.5)[1, 1, 1], "they share a corner, and so one peak"


@settings(deadline=None)
@given(hnp.arrays(float, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5), elements=st.floats(0, 1)))
def test_an_outline_keeps_the_highest_voxel_of_every_component(probability):
    before, after = probability >= 0.3, outline_lesions(probability, 0.3, 0.6)
    assert not (after & ~before).any()
    labels = label_components(before, 26)
    for number in range(1, labels.max() + 1):
        own = labels == number
        assert (after & own).any() and probability[after & own].max() == probability[own].max()
        assert not (after & own & (probability < 0.6 * probability[own].max())).any()


# Components and ids


def test_voxels_that_share_a_face_an_edge_or_a_corner_join_under_6_18_and_26():
    for other, joined_under in (((1, 1, 2), {6, 18, 26}), ((1, 2, 2), {18, 26}), ((2, 2, 2), {26})):
        mask = np.zeros((4, 4, 4), bool)
        mask[1, 1, 1] = mask[other] = True
        assert {c for c in (6, 18, 26) if label_components(mask, c).max() == 1} == joined_under


@settings(deadline=None)
@given(small_masks, st.sampled_from([(6, 1), (18, 2), (26, 3)]))
def test_components_are_those_of_scikit_image(mask, connectivity):
    ours, rank = connectivity
    expected = skimage_label(mask, connectivity=rank)
    assert as_partition(label_components(mask, ours)) == as_partition(expected)


@settings(deadline=None)
@given(small_masks)
def test_component_ids_go_by_descending_volume_and_then_by_first_voxel(mask):
    labels = label_components(mask)
    assert labels.dtype == np.int32
    lesions = voxels_by_id(labels)
    assert list(lesions) == list(range(1, len(lesions) + 1))
    keys = [(-flat.size, flat[0]) for flat in lesions.values()]
    assert keys == sorted(keys)


@settings(deadline=None)
@given(small_maps, st.permutations([7, 900, 3, 2_000_000_000]))
def test_renumbering_depends_on_the_partition_alone(instances, new_ids):
    renamed = np.array([0, *new_ids], np.int32)[instances]
    np.testing.assert_array_equal(renumber(renamed), renumber(instances))
    assert as_partition(renumber(instances)) == as_partition(instances)


@settings(deadline=None)
@given(small_maps)
def test_voxels_are_grouped_by_id_in_either_memory_order(instances):
    for array in (instances, np.asfortranarray(instances)):
        groups = voxels_by_id(array)
        assert list(groups) == [i for i in np.unique(instances).tolist() if i > 0]
        for lesion, flat in groups.items():
            np.testing.assert_array_equal(flat, np.flatnonzero(instances.ravel() == lesion))


def test_disconnected_parts_of_a_lesion_become_lesions_while_neighbours_stay_apart():
    instances = np.zeros((9, 3, 3), np.int32)
    instances[0:2], instances[2:5], instances[7:9] = 4, 8, 4
    parts = split_disconnected(instances)
    assert as_partition(parts) == {
        frozenset(range(0, 18)),
        frozenset(range(18, 45)),
        frozenset(range(63, 81)),
    }
    assert parts[3, 0, 0] == 1 and parts[0, 0, 0] == 2 and parts[8, 0, 0] == 3


# ACLS


@pytest.mark.parametrize("spacing", [MM1, (0.7, 0.7, 0.7), (1.0, 0.8, 2.0)])
@pytest.mark.parametrize("method", ["acls", "acls-conflunet"])
def test_touching_spheres_are_one_component_but_two_lesions(method, spacing):
    probability, truth = touching_spheres(spacing)
    assert split("components", probability, truth > 0, spacing).max() == 1
    found = split(method, probability, truth > 0, spacing)
    assert found.max() == 2
    # Only voxels of the plane midway between the centres may go either way.
    agree = max(
        np.mean(found[truth > 0] == order[truth[truth > 0]]) for order in np.array([[0, 1, 2], [0, 2, 1]])
    )
    assert agree > 0.93


def full_volume_centres(probability, mask, sigma):
    """Centre voxels by the formula of the papers, on the whole volume."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        elements = hessian_matrix(probability, sigma=sigma, mode="constant", use_gaussian_derivatives=False)
    return (hessian_matrix_eigvals(elements)[0] < 0) & mask  # the first eigenvalue is the largest


def ordered_clusters(mask, rank, smallest=1):
    """Clusters of at least ``smallest`` voxels, numbered from the largest, ties by first voxel."""
    labels = skimage_label(mask, connectivity=rank)
    clusters = [np.flatnonzero(labels.ravel() == i) for i in range(1, labels.max() + 1)]
    clusters = sorted((c for c in clusters if c.size >= smallest), key=lambda c: (-c.size, c[0]))
    result = np.zeros(mask.shape, int)
    for number, cluster in enumerate(clusters, 1):
        result.flat[cluster] = number
    return result


def brute_force_nearest(inside, centres, spacing):
    """Nearest centre by all distances; of equally near ones the lowest number."""
    points, targets = np.argwhere(inside) * spacing, np.argwhere(centres) * spacing
    distance = cdist(points, targets)
    tied = distance <= distance.min(axis=1, keepdims=True) * (1 + 1e-9)
    return np.where(tied, centres[centres > 0], 10**6).min(axis=1)


def full_volume_acls(probability, mask, spacing):
    smallest = 10 * int(np.ceil((1 / np.mean(spacing)) ** 3))
    peaks = full_volume_centres(probability, mask, sigma=1.2)
    components = skimage_label(mask, connectivity=3)
    result = np.zeros(mask.shape, int)
    for component in range(1, components.max() + 1):
        inside = components == component
        centres = ordered_clusters(peaks & inside, rank=1, smallest=smallest)
        nearest = brute_force_nearest(inside, centres, spacing) if centres.max() > 1 else 1
        result[inside] = result.max() + nearest
    return result


def full_volume_acls_conflunet(probability, mask, spacing):
    peaks = full_volume_centres(np.where(mask, probability, 0), mask, sigma=1.0)
    nearest = np.zeros(mask.shape, int)
    nearest[mask] = brute_force_nearest(mask, ordered_clusters(peaks, rank=3), spacing)
    # skimage labels connected regions of equal value: each lesion's parts apart
    return skimage_label(nearest, connectivity=3)


@pytest.mark.parametrize("spacing", [MM1, (0.9, 0.9, 3.0)])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("ours", "formula"), [(acls, full_volume_acls), (acls_conflunet, full_volume_acls_conflunet)]
)
def test_the_boxes_give_exactly_the_lesions_of_the_full_volume_formula(ours, formula, seed, spacing):
    probability = smooth_noise((30, 26, 22), seed)
    mask = probability > 0.5
    assert mask[0].any() and mask[:, -1].any()  # lesions reach the borders
    expected = formula(probability, mask, np.array(spacing))
    assert expected.max() > skimage_label(mask, connectivity=3).max()  # something was split
    assert as_partition(ours(probability, mask, spacing)) == as_partition(expected)


def test_large_boxes_worked_through_in_slabs_give_the_same_lesions(monkeypatch):
    probability = smooth_noise((24, 20, 18), 5)
    whole = acls(probability, probability > 0.5, MM1)
    monkeypatch.setattr(hessian, "_SLAB_VOXELS", 1)
    np.testing.assert_array_equal(acls(probability, probability > 0.5, MM1), whole)


def test_the_sign_test_finds_the_voxels_where_all_eigenvalues_are_negative():
    image = smooth_noise((16, 15, 14), 8)
    box = (slice(3, 12), slice(0, 15), slice(5, 14))
    found = hessian.negative_definite(image, np.ones((9, 15, 9), bool), box, sigma=1.2)
    expected = full_volume_centres(image, np.ones(image.shape, bool), sigma=1.2)[box]
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(found, expected)


def test_a_flat_map_has_no_centre_and_its_components_stay_whole():
    mask = np.zeros((24, 32, 24), bool)
    mask[8:16, 8:24, 8:16] = True  # out of reach of the image's borders
    everywhere = np.ones(mask.shape)
    np.testing.assert_array_equal(acls(everywhere, mask, MM1), label_components(mask))


def test_a_peak_of_too_few_voxels_is_no_centre_for_the_original_but_is_for_conflunet():
    probability, truth = soft_balls((30, 15, 15), MM1, [(8, 7, 7), (17, 7, 7)], [6, 1.2])
    truth[13:16, 7, 7] = 1  # a bridge to a ball of 7 voxels
    mask = truth > 0
    assert acls(probability, mask, MM1).max() == 1
    assert acls_conflunet(probability, mask, MM1).max() > 1


def test_the_minimum_centre_grows_where_voxels_are_smaller_than_1_mm():
    probability, truth = touching_spheres()
    assert acls(probability, truth > 0, MM1).max() == 2
    assert acls(probability, truth > 0, (0.23, 0.23, 0.23)).max() == 1  # 830 voxels needed, 708 found
    assert acls(probability, truth > 0, np.float32(0.9999999) * np.ones(3)).max() == 2  # 1 mm in float32


def test_the_original_looks_at_the_probability_outside_the_mask_and_conflunet_does_not():
    probability = smooth_noise((24, 20, 18), 3)
    mask = probability > 0.5
    masked = np.where(mask, probability, 0.0)
    assert as_partition(acls(probability, mask, MM1)) != as_partition(acls(masked, mask, MM1))
    np.testing.assert_array_equal(acls_conflunet(probability, mask, MM1), acls_conflunet(masked, mask, MM1))


@pytest.mark.parametrize("method", [acls, acls_conflunet])
def test_the_nearest_centre_is_nearest_in_mm(method):
    # The corner lies 17 slices above the first peak, and 18 voxels and 1 slice from the second.
    shape, first, second = (36, 15, 36), (8, 7, 8), (26, 7, 26)
    probability, _ = soft_balls(shape, MM1, [first, second], [5, 5])
    mask = probability > 0.5
    mask[8:27, 7, 25] = mask[8, 7, 8:26] = True  # join them around a corner
    corner = (8, 7, 25)
    thin, thick = (method(probability, mask, (1.0, 1.0, size)) for size in (1.0, 1.5))
    assert thin[first] != thin[second] and thick[first] != thick[second]
    assert thin[corner] == thin[first]
    assert thick[corner] == thick[second]


def test_a_component_without_a_centre_stays_a_lesion_of_its_own_in_conflunets_variant():
    probability, truth = soft_balls((40, 15, 15), MM1, [(8, 7, 7)], [5])
    mask = truth > 0
    mask[30, 7, 7] = True
    probability[30, 7, 7] = 0.0
    found = acls_conflunet(probability, mask, MM1)
    assert found.max() == 2 and found[30, 7, 7] == 2
    np.testing.assert_array_equal(
        acls_conflunet(np.zeros_like(probability), mask, MM1), label_components(mask)
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_an_empty_mask_a_single_slice_and_any_dtype(method):
    probability, truth = touching_spheres()
    assert split(method, probability, np.zeros(truth.shape, bool), MM1).max() == 0
    middle = truth[:, :, 11:12]
    assert split(method, probability[:, :, 11:12], middle, MM1).max() == 1
    expected = split(method, probability.astype(np.float32).astype(float), truth > 0, MM1)
    mask = (truth > 0).astype(np.uint8)
    np.testing.assert_array_equal(split(method, probability.astype(np.float32), mask, MM1), expected)


@settings(deadline=None, max_examples=25)
@given(small_masks, st.sampled_from(sorted(METHODS)), st.sampled_from([6, 18, 26]))
def test_splitting_gives_every_lesion_voxel_one_lesion_within_one_component(mask, method, connectivity):
    found = split(method, mask.astype(float), mask, MM1, connectivity=connectivity)
    np.testing.assert_array_equal(found > 0, mask)
    components = label_components(mask, connectivity)
    for flat in voxels_by_id(found).values():
        assert len(np.unique(components.ravel()[flat])) == 1


# Small lesions


def lesion_of(*sides: int):
    instances = np.zeros((12, 12, 12), np.int32)
    instances[tuple(slice(1, 1 + side) for side in sides)] = 5
    return instances


@pytest.mark.parametrize(
    ("sides", "spacing", "stays"),
    [
        ((3, 3, 3), MM1, True),
        ((2, 9, 9), MM1, False),  # a side of 2 mm
        ((3, 3, 3), (1, 1, 0.9), False),  # a side of 2.7 mm
        ((2, 3, 3), (2, 1, 1), True),  # 4 x 3 x 3 mm
        ((3, 3, 3), tuple(np.float32([1, 1, 0.9999999])), True),  # 3 mm as a header's float32 says it
    ],
)
def test_a_lesion_under_3_mm_on_any_side_is_dropped(sides, spacing, stays):
    kept = drop_small(lesion_of(*sides), spacing)
    assert kept.any() == stays


def test_a_lesion_of_14_mm3_is_dropped_and_one_of_15_stays():
    diagonal = np.zeros((5, 5, 5), np.int32)
    diagonal[0, 0, 0] = diagonal[4, 4, 4] = 1
    diagonal[2, 2, :] = diagonal[2, :, 2] = 1  # 11 voxels, 5 mm on every side
    for voxels in ((0, 1, 0), (0, 2, 0), (0, 3, 0)):
        diagonal[voxels] = 1
    assert np.count_nonzero(diagonal) == 14
    assert drop_small(diagonal, MM1).max() == 0
    diagonal[0, 4, 0] = 1
    assert drop_small(diagonal, MM1).max() == 1


def test_the_limits_are_settings_and_ids_are_renumbered_after_the_drop():
    mask = np.zeros((20, 20, 20), bool)
    mask[0:2, 0:9, 0:9] = True  # the largest, but 2 mm thick
    mask[10:15, 10:15, 10:15] = True
    keep_all = split("components", mask, mask, MM1)
    assert keep_all.max() == 2 and keep_all[12, 12, 12] == 2
    ruled = split("components", mask, mask, MM1, small_lesion_rule=SmallLesionRule())
    assert ruled.max() == 1 and ruled[12, 12, 12] == 1 and ruled[0, 0, 0] == 0
    lenient = SmallLesionRule(min_side_mm=2.0)
    assert split("components", mask, mask, MM1, small_lesion_rule=lenient).max() == 2


# Errors


def test_an_unknown_method_is_refused_with_the_choices():
    mask = np.ones((3, 3, 3), bool)
    with pytest.raises(InputError, match=r"'watershed'.*components, acls, acls-conflunet"):
        split("watershed", mask, mask, MM1)


def test_a_probability_map_on_another_grid_is_refused():
    with pytest.raises(InputError, match=r"\(3, 3, 4\).*\(3, 3, 3\)"):
        split("acls", np.ones((3, 3, 4)), np.ones((3, 3, 3), bool), MM1)
