"""The lesion map: what makes one, changes made and taken back, and what of it is exported."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lesion_maps import done, lesion_map, refused, state
from LesionSegmenterLib import edits
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import Change, LesionMap
from LesionSegmenterLib.measure import measure_lesions


@pytest.fixture
def three() -> LesionMap:
    """Lesions 2 (4 voxels, WMH), 5 (2, MS) and 9 (1) in a row, 5 and 9 touching."""
    ids = np.zeros((10, 3, 3), np.int32)
    ids[1:5, 1, 1], ids[6:8, 1, 1], ids[8, 1, 1] = 2, 5, 9
    return lesion_map(ids, types={2: LesionType.WMH, 5: LesionType.MS}, confidences={2: 0.7})


def records_of(ids):
    return measure_lesions(ids, np.eye(4))


# What makes a map


def test_a_map_knows_every_lesions_voxels_and_box(three):
    assert list(three.records) == [2, 5, 9]
    assert three.box(2) == (slice(1, 5), slice(1, 2), slice(1, 2))
    assert three.voxels(5).tolist() == [6 * 9 + 4, 7 * 9 + 4]
    assert three.voxels(3).size == 0 and three.box(3) is None


def test_the_spacing_is_that_of_the_affine_whatever_way_it_is_turned():
    affine = np.array([[0, 0, -3.0, 9], [-1, 0, 0, 4], [0, 2, 0, 0], [0, 0, 0, 1]])
    assert lesion_map(np.ones((2, 2, 2)), affine).spacing == pytest.approx((1, 2, 3))


def test_new_ids_start_above_every_id_record_and_parent_and_above_what_was_stored():
    ids = np.zeros((3, 3, 3), np.int32)
    assert LesionMap.from_arrays(ids, np.eye(4), []).next_id == 1
    ids[1, 1, 1] = 4
    (record,) = records_of(ids)
    assert LesionMap.from_arrays(ids, np.eye(4), [record]).next_id == 5
    assert LesionMap.from_arrays(ids, np.eye(4), {4: replace(record, parents=(2, 11))}).next_id == 12
    assert LesionMap.from_arrays(ids, np.eye(4), [record], next_id=40).next_id == 40


def test_a_read_only_image_is_copied_and_any_other_is_the_maps_own():
    ids = np.zeros((3, 3, 3), np.int32)
    ids[0] = 1
    records = records_of(ids)
    own = LesionMap.from_arrays(ids, np.eye(4), records)
    assert own.ids is ids
    ids.setflags(write=False)
    copied = LesionMap.from_arrays(ids, np.eye(4), records)
    copied.apply(edits.delete(copied, [1]))
    assert ids[0].all() and not copied.ids.any()


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (lambda ids, records: (ids.astype(np.int64), records), "int32, not 3D of int64"),
        (lambda ids, records: (ids[0], records), "int32, not 2D"),
        (lambda ids, records: (np.where(ids == 0, np.int32(-1), ids), records), r"negative \(-1\)"),
        (lambda ids, records: (ids, records[1:]), "the image holds lesion 1"),
        (lambda ids, records: (ids, [*records, records[0]]), "twice"),
        (lambda ids, records: (np.where(ids == 2, np.int32(0), ids), records), "lesion 2 has 0 voxels"),
        (lambda ids, records: (ids, [replace(records[0], voxels=7), records[1]]), "lesion 1 has 9 voxels"),
        (lambda ids, records: (ids, [*records, replace(records[0], lesion_id=0)]), "0 is not a lesion id"),
    ],
)
def test_an_image_and_a_table_that_contradict_each_other_are_refused(spoil, line):
    ids = np.zeros((3, 3, 3), np.int32)
    ids[0], ids[1, 0, 0] = 1, 2
    image, records = spoil(ids, records_of(ids))
    with pytest.raises(InputError, match=line):
        LesionMap.from_arrays(image, np.eye(4), records)


def test_a_lesion_that_is_not_rejected_has_voxels():
    ids = np.zeros((3, 3, 3), np.int32)
    ids[0] = 1
    empty = [replace(record, voxels=0) for record in records_of(ids)]
    with pytest.raises(InputError, match="lesion 1 has 0 voxels"):
        LesionMap.from_arrays(np.zeros_like(ids), np.eye(4), empty)


def test_an_unusable_affine_or_a_probability_map_of_another_grid_is_refused():
    ids = np.zeros((3, 3, 3), np.int32)
    for affine in (np.eye(3), np.diag([1.0, 0, 1, 1]), np.diag([1.0, np.nan, 1, 1])):
        with pytest.raises(InputError, match="affine"):
            LesionMap.from_arrays(ids, affine, [])
    with pytest.raises(InputError, match="differ in shape"):
        LesionMap.from_arrays(ids, np.eye(4), [], probability=np.zeros((3, 3, 4)))


def test_a_rejected_lesion_may_have_lost_its_voxels_before_the_case_was_read(three):
    records = [replace(three.records[2], status="rejected"), three.records[5], three.records[9]]
    ids = np.where(three.ids == 2, np.int32(0), three.ids)
    lesions = LesionMap.from_arrays(ids, np.eye(4), records)
    assert lesions.records[2].voxels == 4 and lesions.voxels(2).size == 0
    with refused(lesions, "rejected lesion 2 has no voxels left"):
        edits.restore(lesions, [2])
    lesions.apply(edits.delete(lesions, [2]))
    assert list(lesions.records) == [5, 9] and lesions.next_id == 10


# Changes made and taken back


def test_planning_an_edit_touches_nothing(three):
    before = state(three), three.next_id
    edits.split_k(three, 2, 2)
    edits.merge(three, [2, 5, 9])
    assert (state(three), three.next_id) == before


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_change_is_taken_back_and_made_again_exactly_in_either_memory_order(three, order):
    ids = np.array(three.ids, order=order)
    lesions = LesionMap.from_arrays(ids, np.eye(4), three.records)
    first = state(lesions)
    change = done(lesions, edits.split_k(lesions, 2, 2))
    last = state(lesions)
    lesions.revert(change)
    assert state(lesions) == first
    assert lesions.voxels(2).size == 4 and lesions.voxels(10).size == 0
    lesions.apply(change)
    assert state(lesions) == last and list(lesions.records) == [5, 9, 10, 11]


def test_an_id_given_once_is_not_given_again_after_the_edit_is_taken_back(three):
    change = done(three, edits.split_k(three, 2, 2))
    assert three.next_id == 12
    three.revert(change)
    assert three.next_id == 12
    done(three, edits.split_k(three, 5, 2))
    assert list(three.records) == [2, 9, 12, 13]


def test_an_edit_planned_before_another_does_not_bring_its_ids_back(three):
    note = edits.annotate(three, [9], "faint")
    done(three, edits.split_k(three, 2, 2))
    done(three, note)
    assert three.next_id == 12


def test_a_change_that_does_not_fit_is_refused_and_nothing_is_changed(three):
    split, note = edits.split_k(three, 2, 2), edits.annotate(three, [9], "faint")
    other_grid = lesion_map(np.zeros((4, 4, 4)))
    for lesions, step in ((three, three.revert), (other_grid, other_grid.apply)):
        for change in (split, note):
            with refused(lesions, "does not fit the lesions as they are now"):
                step(change)
    three.apply(split)
    with refused(three, "does not fit"):
        three.apply(split)
    three.ids[0, 0, 0] = 0  # touched by no change
    three.ids[1, 1, 1] = 5
    with refused(three, "does not fit"):
        three.revert(split)


def test_a_change_tells_where_it_is_and_what_it_weighs(three):
    split, note = edits.split_k(three, 2, 2), edits.annotate(three, [9], "faint")
    assert split.box == (slice(1, 5), slice(1, 2), slice(1, 2))
    view = three.ids.copy()
    view[split.index] = split.after
    three.apply(split)
    np.testing.assert_array_equal(view, three.ids)
    assert note.box is None and note.voxels.size == 0
    assert 0 < note.nbytes < split.nbytes < 5000


def test_merging_lesions_at_opposite_ends_stores_no_more_than_their_voxels():
    ids = np.zeros((300, 300, 60), np.int32)
    for lesion, corner in enumerate((0, 56, 28), 1):
        ids[corner * 5 : corner * 5 + 4, corner * 5 : corner * 5 + 4, corner : corner + 4] = lesion
    lesions = lesion_map(ids)
    change = done(lesions, edits.merge(lesions, [1, 2, 3]))
    assert change.voxels.size == 128 and change.nbytes < 10_000
    assert lesions.records[1].max_diameter_mm == pytest.approx(np.linalg.norm([283, 283, 59]))


# What is exported


def test_exported_images_leave_out_rejected_lesions_and_a_restored_one_is_back(three):
    done(three, edits.reject(three, [2, 9]))
    types, instances = three.exported()
    assert types.dtype == np.uint8 and instances.dtype == np.int32
    assert np.unique(instances).tolist() == [0, 5]
    np.testing.assert_array_equal(types, np.where(three.ids == 5, LesionType.MS, 0))
    done(three, edits.restore(three, [2]))
    types, instances = three.exported()
    np.testing.assert_array_equal(instances, np.where(three.ids == 9, 0, three.ids))
    np.testing.assert_array_equal(types > 0, instances > 0)


def test_exported_images_are_the_callers_own(three):
    three.exported()[1][:] = 0
    assert three.ids.any()


# Bytes


def several(lesions: LesionMap) -> list[Change]:
    lesions.probability = np.linspace(0, 1, lesions.ids.size).reshape(lesions.shape)
    return [
        edits.split_k(lesions, 2, 3),
        edits.merge(lesions, [2, 5, 9]),
        edits.delete(lesions, [9]),
        edits.annotate(lesions, [2, 5], "an ependymal lining?\tя 🙂\n"),
    ]


def test_bytes_give_a_change_back_exactly(three):
    for change in several(three):
        again = Change.from_bytes(change.to_bytes())
        assert again.shape == change.shape and again.next_id == change.next_id
        for name in ("voxels", "before", "after"):
            ours, expected = getattr(again, name), getattr(change, name)
            assert ours.dtype == expected.dtype
            np.testing.assert_array_equal(ours, expected)
        assert again.records_before == change.records_before
        assert again.records_after == change.records_after
        assert again.to_bytes() == change.to_bytes()
        three.apply(again)
        three.revert(change)


def test_bytes_cut_short_are_refused_and_bytes_altered_never_give_another_change(three):
    data = several(three)[0].to_bytes()
    for end in range(len(data)):
        with pytest.raises(InputError):
            Change.from_bytes(data[:end])
    unharmed = 0  # a bit of the compressed stream that nothing reads
    for place in range(len(data)):
        altered = bytearray(data)
        altered[place] ^= 0x20
        try:
            again = Change.from_bytes(bytes(altered))
        except InputError:
            continue
        assert again.to_bytes() == data
        unharmed += 1
    assert unharmed < 5


def test_bytes_of_a_later_version_say_what_to_do(three):
    data = bytearray(several(three)[0].to_bytes())
    data[4] += 1
    with pytest.raises(InputError, match=r"version 2, not 1\. Update"):
        Change.from_bytes(bytes(data))
