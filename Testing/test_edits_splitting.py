"""Splitting a lesion by data, by geometry and from seeds, by hand."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lesion_maps import done, lesion_map, new_ids, refused, row_of_lesions
from LesionSegmenterLib import edits
from LesionSegmenterLib.instances import acls
from LesionSegmenterLib.lesions import LesionMap
from phantoms import as_partition, distance_mm, smooth_noise, touching_spheres

ANISOTROPIC = np.array([[-1.0, 0, 0, 30], [0, 1.5, 0, -20], [0, 0, 3, 7], [0, 0, 0, 1]])


@pytest.fixture
def row() -> LesionMap:
    return row_of_lesions()


def parts_of(lesions: LesionMap, change) -> list[list[int]]:
    """The places along i of each new lesion, by id."""
    return [np.flatnonzero(lesions.ids[:, 1, 1] == part).tolist() for part in new_ids(change)]


# By data and by geometry


def test_parts_are_new_lesions_with_the_whole_as_parent_the_largest_first(row):
    done(row, edits.annotate(row, [1], "confluent"))
    whole = row.records[1]
    change = done(row, edits.split_plane(row, 1, (2.5, 0, 0), (2.5, 2, 0), (0, 0, 1)))
    assert list(row.records) == [2, 3, 4, 5]
    assert parts_of(row, change) == [[3, 4, 5, 6], [1, 2]]
    assert row.records[5] == replace(
        whole,
        lesion_id=5,
        parents=(1,),
        status="edited",
        voxels=2,
        volume_mm3=2.0,
        centroid_ras_mm=(1.5, 1, 1),
        max_diameter_mm=1.0,
    )


def test_a_lesion_in_pieces_is_split_into_its_components_under_the_connectivity_asked_for():
    ids = np.zeros((8, 3, 3), np.int32)
    ids[1:4, 0, 0], ids[4, 1, 1], ids[6:8, 1, 1] = 1, 1, 1
    lesions = lesion_map(ids)
    change = edits.split_components(lesions, 1)
    assert sorted(r.voxels for r in change.records_after.values() if r) == [2, 4]
    change = edits.split_components(lesions, 1, connectivity=6)
    assert sorted(r.voxels for r in change.records_after.values() if r) == [1, 2, 3]
    lesions.apply(edits.split_components(lesions, 1))
    with refused(lesions, "lesion 2 stays in one part"):
        edits.split_components(lesions, 2)


def test_acls_on_a_lesions_box_finds_what_it_finds_on_the_full_volume():
    probability = smooth_noise((60, 50, 40), 1, sigma=1.8)  # as uneven around the lesions as in them
    ids = np.zeros(probability.shape, np.int32)
    for lesion, (i, j, k) in enumerate(np.ndindex(3, 3, 2), 1):
        ids[19 * i + 2 :, 15 * j + 2 :, 13 * k + 2 :][:14, :11, :9] = lesion
    lesions = lesion_map(ids, probability=probability)
    for lesion in lesions.records:
        full = acls(probability, ids == lesion, (1, 1, 1))
        for given in (None, probability) if full.max() > 1 else ():
            change = done(lesions, edits.split_acls(lesions, lesion, given))
            assert as_partition(np.where(ids == lesion, lesions.ids, 0)) == as_partition(full)
            lesions.revert(change)
    assert lesions.next_id > len(lesions.records) + 20  # most were split, twice


def test_acls_works_on_the_mask_where_no_model_ran_and_needs_two_peaks():
    _, spheres = touching_spheres()
    lesions = lesion_map(spheres > 0)
    change = done(lesions, edits.split_acls(lesions, 1))
    assert len(new_ids(change)) == 2
    with refused(lesions, "stays in one part"):
        edits.split_acls(lesions, new_ids(change)[0])


def test_offsets_that_point_to_two_centres_split_a_lesion_there():
    _, spheres = touching_spheres((1.0, 1.0, 2.0))
    centres = np.array([ndimage.center_of_mass(spheres == ball) for ball in (1, 2)])
    target = np.where((spheres == 2)[..., None], centres[1], centres[0])
    offsets = np.moveaxis(target - np.moveaxis(np.indices(spheres.shape), 0, -1), -1, 0)
    offsets += np.random.default_rng(0).normal(0, 0.8, offsets.shape)  # a network's are not exact
    lesions = lesion_map(spheres > 0, np.diag([1.0, 1, 2, 1]))
    done(lesions, edits.split_offsets(lesions, 1, offsets))
    assert as_partition(lesions.ids) == as_partition(spheres)


def test_a_vote_goes_to_the_centre_nearest_in_mm():
    ids = np.zeros((16, 5, 5), np.int32)
    ids[1:15, 1:4, 1:4] = 1
    target = np.where(np.indices(ids.shape)[0][..., None] < 8, (4, 2, 1), (12, 2, 3))
    target[7, 2, 2] = 9, 2, 1  # 5 voxels from the first centre, 3.6 from the second; but 5 mm against 12.4
    offsets = np.moveaxis(target - np.moveaxis(np.indices(ids.shape), 0, -1), -1, 0)
    lesions = lesion_map(ids, np.diag([1.0, 1, 6, 1]))
    done(lesions, edits.split_offsets(lesions, 1, offsets))
    assert as_partition(lesions.ids) == as_partition(np.where(ids, 1 + (np.indices(ids.shape)[0] >= 8), 0))


def test_offsets_of_another_grid_or_that_agree_are_refused(row):
    with refused(row, "differ in shape"):
        edits.split_offsets(row, 1, np.zeros((3, 4, 4, 4)))
    with refused(row, "differ in shape"):
        edits.split_offsets(row, 1, np.zeros((2, *row.shape)))
    with refused(row, "NaN or Inf"):
        edits.split_offsets(row, 1, np.full((3, *row.shape), np.nan))
    to_one = np.zeros((3, *row.shape))
    to_one[0] = 3 - np.arange(14)[:, None, None]
    with refused(row, "stays in one part"):
        edits.split_offsets(row, 1, to_one)


def test_an_oblique_view_cuts_along_its_own_line():
    """The plane holds the direction of view: an independent sign of distance in RAS tells the sides."""
    turn = np.deg2rad(30)
    affine = np.eye(4)
    affine[:3, :3] = np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    ) @ np.diag([-1.0, 1.2, 2.0])
    affine[:3, 3] = 4, -9, 2
    lesions = lesion_map(distance_mm((13, 11, 9), (1, 1.2, 2), (6, 6, 8)) < 5.5, affine)
    inside = np.argwhere(lesions.ids) @ affine[:3, :3].T + affine[:3, 3]
    a, view = inside.mean(axis=0) + np.array([0.31, 0.17, 0.05]), np.array([0.3, 0.5, 0.8])
    b = a + np.array([2.0, 1.0, -0.4])
    volumes = np.array([np.linalg.det([b - a, view, point - a]) for point in inside])
    expected = np.zeros(lesions.shape, int)
    expected[lesions.ids > 0] = np.where(volumes > 0, 1, 2)
    done(lesions, edits.split_plane(lesions, 1, a, b, view))
    assert as_partition(lesions.ids) == as_partition(expected)


def test_a_plane_needs_a_line_that_crosses_the_lesion(row):
    with refused(row, "the two points do not make a line"):
        edits.split_plane(row, 1, (3, 1, 0), (3, 1, 5), (0, 0, 1))
    with refused(row, "the two points do not make a line"):
        edits.split_plane(row, 1, (3, 1, 1), (3, 1, 1), (0, 0, 1))
    with refused(row, "the line does not cross lesion 1"):
        edits.split_plane(row, 1, (8, 0, 0), (8, 2, 0), (0, 0, 1))


def test_k_parts_are_compact_in_mm_and_the_same_every_time():
    ids = np.ones((6, 4, 4), np.int32)  # 6 x 6 x 12 mm: longest across the slices
    lesions = lesion_map(ids, ANISOTROPIC)
    change = edits.split_k(lesions, 1, 2)
    assert np.array_equal(change.after, edits.split_k(lesions, 1, 2).after)
    done(lesions, change)
    assert as_partition(lesions.ids) == as_partition(np.broadcast_to([1, 1, 2, 2], (6, 4, 4)))
    with refused(lesions, "cannot be split in 1 parts"):
        edits.split_k(lesions, new_ids(change)[0], 1)
    with refused(lesions, "from 2 to its 48 voxels"):
        edits.split_k(lesions, new_ids(change)[0], 49)


def test_a_lesion_can_be_split_into_its_single_voxels(row):
    assert parts_of(row, done(row, edits.split_k(row, 1, 6))) == [[n] for n in range(1, 7)]


# Seeds


def ras(lesions: LesionMap, *voxels) -> list[list[float]]:
    return [(lesions.affine[:3, :3] @ voxel + lesions.affine[:3, 3]).tolist() for voxel in voxels]


def test_the_nearest_seed_is_nearest_in_mm_and_of_equals_the_first():
    ids = np.ones((7, 1, 3), np.int32)
    lesions = lesion_map(ids, ANISOTROPIC)
    seeds = (0, 0, 0), (4, 0, 2)
    expected = np.zeros(ids.shape, int)
    for i, _, k in np.ndindex(ids.shape):
        near, far = np.hypot(i, 3 * k), np.hypot(i - 4, 3 * (k - 2))
        expected[i, 0, k] = 1 if near <= far else 2
    done(lesions, edits.split_seeds(lesions, 1, ras(lesions, *seeds)))
    assert as_partition(lesions.ids) == as_partition(expected)


@pytest.mark.parametrize("method", ["nearest", "watershed", "random-walker"])
def test_each_part_holds_its_seed_and_all_voxels_have_a_part(method):
    probability, spheres = touching_spheres((1.0, 1.2, 2.0))
    lesions = lesion_map(spheres > 0, np.diag([1.0, 1.2, 2, 1]))
    flair = probability + 0.01 * np.random.default_rng(0).random(spheres.shape)
    seeds = [ndimage.center_of_mass(spheres == ball) for ball in (1, 2)]
    done(lesions, edits.split_seeds(lesions, 1, ras(lesions, *seeds), method, flair))
    assert len(lesions.records) == 2
    assert np.array_equal(lesions.ids > 0, spheres > 0)
    voxels = [tuple(np.rint(seed).astype(int)) for seed in seeds]
    assert lesions.ids[voxels[0]] != lesions.ids[voxels[1]]
    agreement = max(np.mean((lesions.ids == i)[spheres == 1]) for i in lesions.records)
    assert agreement > 0.9


def test_a_watershed_meets_at_the_neck_even_where_one_seed_is_close_to_it():
    ids = np.zeros((21, 7, 7), np.int32)
    ids[1:10, 1:6, 1:6], ids[9:12, 3, 3], ids[11:20, 1:6, 1:6] = 1, 1, 1
    lesions = lesion_map(ids)
    seeds = ras(lesions, (3, 3, 3), (12, 3, 3))
    done(lesions, edits.split_seeds(lesions, 1, seeds, "watershed"))
    left, right = lesions.ids[1:9, 1:6, 1:6], lesions.ids[12:20, 1:6, 1:6]
    assert len(np.unique(left)) == len(np.unique(right)) == 1
    assert left[0, 0, 0] != right[0, 0, 0]


def test_a_random_walker_stops_at_an_edge_of_the_flair():
    flair = np.zeros((12, 5, 5))
    flair[8:] = 1.0
    flair += 0.02 * np.random.default_rng(0).random(flair.shape)
    lesions = lesion_map(np.ones(flair.shape))
    done(lesions, edits.split_seeds(lesions, 1, [(1, 2, 2), (10, 2, 2)], "random-walker", flair))
    assert as_partition(lesions.ids) == as_partition(1 + (np.indices(flair.shape)[0] >= 8))


@pytest.mark.parametrize("method", ["watershed", "random-walker"])
def test_pieces_without_a_seed_go_to_the_nearest_and_every_voxel_may_be_a_seed(row, method):
    ids = np.zeros((12, 3, 3), np.int32)
    ids[0:5, 1, 1], ids[9:11, 1, 1] = 1, 1
    lesions = lesion_map(ids)
    flair = np.random.default_rng(0).random(ids.shape)
    change = done(lesions, edits.split_seeds(lesions, 1, [(0, 1, 1), (4, 1, 1)], method, flair))
    assert lesions.ids[9, 1, 1] == lesions.ids[10, 1, 1] == lesions.ids[4, 1, 1]
    assert len(new_ids(change)) == 2
    two = next(i for i in row.records if row.records[i].voxels == 2)
    flair = np.random.default_rng(0).random(row.shape)
    done(row, edits.split_seeds(row, two, [(11, 1, 1), (12, 1, 1)], method, flair))
    assert row.records[row.ids[11, 1, 1]].voxels == row.records[row.ids[12, 1, 1]].voxels == 1


def test_seeds_that_cannot_be_used_are_refused(row):
    for points in ([], [(2, 1, 1)], [(2, 1), (3, 1)], [(2, 1, 1), (np.nan, 1, 1)]):
        with refused(row, "two seeds or more"):
            edits.split_seeds(row, 1, points)
    for outside in ((8, 1, 1), (0, 1, 1), (400, 1, 1), (-1, 1, 1)):
        with refused(row, "seed 2 lies outside lesion 1"):
            edits.split_seeds(row, 1, [(2, 1, 1), outside])
    with refused(row, "two seeds lie in one voxel"):
        edits.split_seeds(row, 1, [(2, 1, 1), (2.3, 1, 1)])
    with refused(row, "unknown method 'voronoi'"):
        edits.split_seeds(row, 1, [(2, 1, 1), (4, 1, 1)], "voronoi")


def test_a_random_walker_needs_a_flair_with_contrast(row):
    seeds = [(2, 1, 1), (5, 1, 1)]
    for flair in (None, np.zeros((3, 3, 3))):
        with refused(row, "needs the FLAIR on the grid"):
            edits.split_seeds(row, 1, seeds, "random-walker", flair)
    with refused(row, "no contrast in lesion 1"):
        edits.split_seeds(row, 1, seeds, "random-walker", np.full(row.shape, 7.0))


def test_without_scikit_image_seeds_still_split_by_the_nearest(row, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.segmentation", None)
    seeds = [(2, 1, 1), (5, 1, 1)]
    for method in ("watershed", "random-walker"):
        with refused(row, "needs scikit-image, which is not installed. Install it, or split by nearest"):
            edits.split_seeds(row, 1, seeds, method, np.zeros(row.shape))
    assert parts_of(row, done(row, edits.split_seeds(row, 1, seeds))) == [[1, 2, 3], [4, 5, 6]]
