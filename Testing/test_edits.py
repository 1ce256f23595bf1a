"""Each edit of a lesion map, by hand: what it does, what it leaves alone, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from lesion_maps import done, lesion_map, refused, row_of_lesions
from LesionSegmenterLib import edits
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import LesionMap
from phantoms import distance_mm

SPACING = (1.0, 1.5, 3.0)
ANISOTROPIC = np.array([[-1.0, 0, 0, 30], [0, 1.5, 0, -20], [0, 0, 3, 7], [0, 0, 0, 1]])


@pytest.fixture
def row() -> LesionMap:
    return row_of_lesions()


def along_i(lesions: LesionMap) -> list[int]:
    return lesions.ids[:, 1, 1].tolist()


def painted(lesions: LesionMap, *places: int) -> np.ndarray:
    mask = np.zeros(lesions.shape, bool)
    mask[list(places), 1, 1] = True
    return mask


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
    done(row, edits.grow(row, 2, 3.0, may_eat_neighbours=True))
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
