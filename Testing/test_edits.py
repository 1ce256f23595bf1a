"""Each edit of a lesion map, by hand: what it does, what it leaves alone, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lesion_maps import done, lesion_map, new_ids, refused
from LesionSegmenterLib import edits
from LesionSegmenterLib.instances import acls
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import LesionMap
from phantoms import as_partition, distance_mm, smooth_noise, touching_spheres

SPACING = (1.0, 1.5, 3.0)
ANISOTROPIC = np.array([[-1.0, 0, 0, 30], [0, 1.5, 0, -20], [0, 0, 3, 7], [0, 0, 0, 1]])


@pytest.fixture
def row() -> LesionMap:
    """Along i: lesion 1 (voxels 1 to 6), 2 (7 to 9, touching 1), 3 (11 to 12) and a free voxel between."""
    ids = np.zeros((14, 3, 3), np.int32)
    ids[1:7, 1, 1], ids[7:10, 1, 1], ids[11:13, 1, 1] = 1, 2, 3
    types = {1: LesionType.WMH, 2: LesionType.MS, 3: LesionType.WMH}
    return lesion_map(ids, types=types, confidences={1: 0.6, 2: 0.8, 3: 0.9})


def along_i(lesions: LesionMap) -> list[int]:
    return lesions.ids[:, 1, 1].tolist()


def painted(lesions: LesionMap, *places: int) -> np.ndarray:
    mask = np.zeros(lesions.shape, bool)
    mask[list(places), 1, 1] = True
    return mask


def parts_of(lesions: LesionMap, change) -> list[list[int]]:
    """The places along i of each new lesion, by id."""
    return [np.flatnonzero(lesions.ids[:, 1, 1] == part).tolist() for part in new_ids(change)]


# Type, status and note


def test_a_relabelled_lesion_is_edited_and_no_classifier_stands_behind_its_type(row):
    done(row, edits.relabel(row, [1, 2], LesionType.MS))
    assert row.records[1].type is LesionType.MS and row.records[1].status == "edited"
    assert row.records[1].type_confidence is None
    assert row.records[2].status == "proposed" and row.records[2].type_confidence == 0.8  # MS before
    assert row.records[3].type is LesionType.WMH
    assert row.records[1].volume_mm3 == 6


def test_a_rejected_lesion_stays_rejected_when_relabelled(row):
    done(row, edits.reject(row, [1]))
    done(row, edits.relabel(row, [1], LesionType.STROKE))
    assert row.records[1].status == "rejected" and row.records[1].type is LesionType.STROKE


def test_lesions_are_accepted_rejected_and_restored_to_be_judged_anew(row):
    done(row, edits.accept(row, [1, 2]))
    assert [record.status for record in row.records.values()] == ["accepted", "accepted", "proposed"]
    done(row, edits.reject(row, [2]))
    assert row.records[2].status == "rejected" and along_i(row)[7:10] == [2, 2, 2]
    done(row, edits.restore(row, [2]))
    assert row.records[2].status == "proposed"


def test_a_note_changes_nothing_else(row):
    before = row.records[2]
    done(row, edits.annotate(row, [2], "enhancing last year"))
    assert row.records[2] == replace(before, note="enhancing last year")


def test_labelling_edits_that_make_no_sense_are_refused(row):
    with refused(row, "there is no lesion 7"):
        edits.relabel(row, [1, 7], LesionType.MS)
    with refused(row, "no lesion is chosen"):
        edits.accept(row, [])
    with refused(row, "nothing would change"):
        edits.relabel(row, [1, 3], LesionType.WMH)
    with refused(row, "lesion 1 is not rejected"):
        edits.restore(row, [1])
    with refused(row, "unknown status 'edited'"):
        edits.set_status(row, [1], "edited")


# Merging and deleting


def test_a_merge_keeps_the_largest_and_records_the_rest(row):
    done(row, edits.annotate(row, [2], "b"))
    done(row, edits.annotate(row, [1], "a"))
    change = done(row, edits.merge(row, [3, 1, 2]))
    assert along_i(row) == [0, *[1] * 9, 0, 1, 1, 0] and list(row.records) == [1]
    record = row.records[1]
    assert record.parents == (2, 3) and record.status == "edited" and record.note == "a; b"
    assert record.type is LesionType.WMH and record.type_confidence == 0.6
    assert record.voxels == 11 and record.max_diameter_mm == 11
    assert record.centroid_ras_mm == pytest.approx(((sum(range(1, 10)) + 23) / 11, 1, 1))
    assert change.voxels.size == 5  # the largest lesion's own voxels are not part of it


def test_of_equal_lesions_a_merge_keeps_the_lower_id():
    ids = np.zeros((6, 1, 1), np.int32)
    ids[[0, 4], 0, 0] = 8, 3
    lesions = lesion_map(ids)
    done(lesions, edits.merge(lesions, [8, 3]))
    assert list(lesions.records) == [3] and lesions.records[3].parents == (8,)


def test_a_deleted_lesion_is_gone_and_its_id_is_not_given_again(row):
    done(row, edits.delete(row, [3]))
    assert list(row.records) == [1, 2] and along_i(row)[10:] == [0] * 4
    done(row, edits.add(row, painted(row, 12), LesionType.MS))
    assert list(row.records) == [1, 2, 4]


def test_merging_one_lesion_or_a_rejected_one_is_refused(row):
    with refused(row, "only lesion 1 is chosen"):
        edits.merge(row, [1, 1])
    done(row, edits.reject(row, [2]))
    with refused(row, r"lesion 2 is rejected\. Restore it first"):
        edits.merge(row, [1, 2])


# Splitting


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


@pytest.mark.parametrize("seed", [1, 4])
def test_acls_on_a_lesions_box_finds_what_it_finds_on_the_full_volume(seed):
    probability = smooth_noise((36, 30, 28), seed, sigma=2.5)
    mask, _ = ndimage.label(probability > 0.6, np.ones((3, 3, 3)))
    largest = int(np.bincount(mask.ravel())[1:].argmax()) + 1
    lesions = lesion_map(mask, probability=probability)
    expected = as_partition(np.where(mask == largest, acls(probability, mask == largest, (1, 1, 1)), 0))
    assert len(expected) > 1
    change = done(lesions, edits.split_acls(lesions, largest))
    parts = np.where(np.isin(lesions.ids, new_ids(change)), lesions.ids, 0)
    assert as_partition(parts) == expected
    lesions.revert(change)
    given = edits.split_acls(lesions, largest, probability)
    np.testing.assert_array_equal(given.after - given.after.min(), change.after - change.after.min())


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


# Painting


def test_an_added_lesion_takes_free_voxels_alone(row):
    done(row, edits.add(row, painted(row, 9, 10, 11), LesionType.STROKE))
    assert along_i(row)[9:12] == [2, 4, 3]
    record = row.records[4]
    assert record.voxels == 1 and record.type is LesionType.STROKE and record.status == "edited"
    assert record.parents == () and record.type_confidence is None


def test_a_mask_of_a_box_lies_where_the_box_does(row):
    box = (slice(9, 11), slice(1, 3), slice(0, 2))
    done(row, edits.add(row, np.ones((2, 2, 2)), LesionType.MS, box))
    expected = np.zeros(row.shape, bool)
    expected[box] = True
    expected[9, 1, 1] = False  # lesion 2's
    np.testing.assert_array_equal(row.ids == 4, expected)


def test_painting_nothing_or_only_on_lesions_or_off_the_grid_is_refused(row):
    with refused(row, "nothing is painted"):
        edits.add(row, painted(row), LesionType.MS)
    with refused(row, "every painted voxel belongs to a lesion already"):
        edits.add(row, painted(row, 3, 8), LesionType.MS)
    with refused(row, "does not fit"):
        edits.add(row, np.ones((3, 3, 3)), LesionType.MS)
    for start in (-1, 13):
        with refused(row, "does not fit"):
            box = slice(start, start + 2), slice(0, 1), slice(0, 1)
            edits.redraw(row, 1, np.ones((2, 1, 1)), box)


def test_a_redrawn_lesion_is_what_was_painted_and_its_neighbours_stay_whole(row):
    done(row, edits.redraw(row, 1, painted(row, 5, 6, 7, 8)))
    assert along_i(row) == [0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 0, 3, 3, 0]
    record = row.records[1]
    assert (record.voxels, record.status, record.type_confidence) == (2, "edited", 0.6)
    assert record.centroid_ras_mm == (5.5, 1, 1)
    assert row.records[2].status == "proposed"


def test_a_neighbour_may_be_eaten_and_one_eaten_whole_becomes_a_parent(row):
    change = done(row, edits.redraw(row, 1, painted(row, 6, 7, 8), may_eat_neighbours=True))
    assert row.records[2].voxels == 1 and row.records[2].status == "edited"
    row.revert(change)
    done(row, edits.redraw(row, 1, painted(row, 6, 7, 8, 9), may_eat_neighbours=True))
    assert list(row.records) == [1, 3] and row.records[1].parents == (2,)


def test_rejected_lesions_yield_their_voxels_and_keep_their_record(row):
    done(row, edits.reject(row, [2, 3]))
    done(row, edits.redraw(row, 1, painted(row, 6, 7)))
    assert row.records[1].voxels == 2 and row.records[2].voxels == 2
    assert row.records[2].status == "rejected"
    before = row.records[3]
    done(row, edits.add(row, painted(row, 11, 12), LesionType.MS))
    assert row.records[3] == before and row.voxels(3).size == 0
    with refused(row, r"rejected lesion 3 has no voxels left\. Draw it anew"):
        edits.accept(row, [3])


def test_a_lesion_cannot_be_redrawn_to_nothing_or_to_itself_or_while_rejected(row):
    with refused(row, r"lesion 1 would have no voxels left\. Delete it instead"):
        edits.redraw(row, 1, painted(row))
    with refused(row, "no voxels left"):
        edits.redraw(row, 1, painted(row, 8))
    with refused(row, "has these voxels already"):
        edits.redraw(row, 3, painted(row, 11, 12))
    done(row, edits.reject(row, [3]))
    with refused(row, "lesion 3 is rejected"):
        edits.redraw(row, 3, painted(row, 4))


# Growing and shrinking


def one_voxel(affine=ANISOTROPIC, shape=(11, 9, 7)) -> LesionMap:
    ids = np.zeros(shape, np.int32)
    ids[tuple(n // 2 for n in shape)] = 1
    return lesion_map(ids, affine)


@pytest.mark.parametrize("mm", [1.0, 2.0, 3.0, 4.2])
def test_a_grown_voxel_is_a_ball_in_mm(mm):
    lesions = one_voxel()
    done(lesions, edits.grow(lesions, 1, mm))
    expected = distance_mm((11, 9, 7), SPACING, (5, 6, 9)) <= mm + 1e-9
    np.testing.assert_array_equal(lesions.ids > 0, expected)
    assert lesions.records[1].volume_mm3 == pytest.approx(expected.sum() * 4.5)
    assert lesions.records[1].status == "edited"


@pytest.mark.parametrize("mm", [1.0, 1.5, 2.6])
def test_shrinking_is_growing_what_lies_outside(mm):
    inside = distance_mm((13, 11, 9), SPACING, (6, 7.5, 12)) < 6
    inside |= distance_mm((13, 11, 9), SPACING, (2, 7.5, 12)) < 3
    lesions = lesion_map(inside, ANISOTROPIC)
    outside = np.argwhere(np.pad(~inside, 1, constant_values=True)) - 1
    lengths = np.linalg.norm((np.argwhere(inside)[:, None] - outside[None]) * SPACING, axis=2).min(axis=1)
    done(lesions, edits.shrink(lesions, 1, mm))
    np.testing.assert_array_equal(lesions.ids[inside] > 0, lengths > mm + 1e-9)
    assert 0 < lesions.records[1].voxels < inside.sum()


def test_growing_stops_at_the_volumes_border_and_at_neighbours_unless_they_may_be_eaten(row):
    change = done(row, edits.grow(row, 2, 1.0))
    assert along_i(row) == [0, *[1] * 6, 2, 2, 2, 2, 3, 3, 0]
    row.revert(change)
    done(row, edits.grow(row, 2, 3.0, may_eat=True))
    assert along_i(row) == [0, 1, 1, 1, *[2] * 9, 0]
    assert row.records[2].parents == (3,) and row.records[1].voxels == 3
    assert row.records[2].voxels == np.count_nonzero(row.ids == 2) > 9


def test_a_spacing_from_a_float32_header_still_reaches_the_next_voxel():
    lesions = one_voxel(np.diag([1.0000001, 1.0000001, 1.0000001, 1]))
    done(lesions, edits.grow(lesions, 1, 1.0))
    assert lesions.records[1].voxels == 7


def test_growing_or_shrinking_without_effect_or_without_end_is_refused(row):
    for mm in (0, -1, np.nan, np.inf):
        with refused(row, "not a length"):
            edits.grow(row, 1, mm)
        with refused(row, "not a length"):
            edits.shrink(row, 1, mm)
    with refused(row, r"lesion 1 gains no voxel within 0\.5 mm"):
        edits.grow(row, 1, 0.5)
    with refused(row, "lesion 1 is gone within 1 mm"):
        edits.shrink(row, 1, 1)
    with refused(row, r"lesion 1 loses no voxel within 0\.5 mm"):
        edits.shrink(row, 1, 0.5)
    full = lesion_map(np.ones((3, 3, 3)))
    with refused(full, "gains no voxel"):
        edits.grow(full, 1, 2)


# Measures


def test_an_edit_measures_the_mean_probability_of_the_lesions_it_touches_alone():
    ids = np.zeros((8, 1, 1), np.int32)
    ids[0:4], ids[6:8] = 1, 2
    probability = np.linspace(0, 0.7, 8).reshape(8, 1, 1)
    lesions = lesion_map(ids, probability=probability)
    untouched = lesions.records[2]
    done(lesions, edits.redraw(lesions, 1, probability < 0.15))
    assert lesions.records[1].mean_probability == pytest.approx(0.05)
    assert lesions.records[2] is untouched


def test_an_id_beyond_int32_is_never_given():
    ids = np.zeros((4, 1, 1), np.int32)
    ids[0:2] = np.iinfo(np.int32).max - 1
    lesions = lesion_map(ids)
    with refused(lesions, "cannot be stored"):
        edits.split_k(lesions, np.iinfo(np.int32).max - 1, 2)
    done(lesions, edits.add(lesions, np.ones(ids.shape), LesionType.MS))
    assert lesions.ids.max() == np.iinfo(np.int32).max


def test_editing_in_slicer_needs_numpy_and_scipy_alone():
    code = "import sys, LesionSegmenterLib.edits; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "skimage", "nibabel", "matplotlib"} & set(loaded.split())
