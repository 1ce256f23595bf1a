"""Random sequences of edits and their reversals: what must hold after every one of them."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lesion_maps import lesion_map, new_ids, state
from LesionSegmenterLib import edits
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.instances import label_components, voxels_by_id
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import Change
from LesionSegmenterLib.measure import measure_lesions
from phantoms import smooth_noise

SHAPE = (9, 8, 5)
AFFINE = np.array([[0, -0.9, 0, 12], [1.1, 0, 0, -3], [0, 0, 2.5, 40], [0, 0, 0, 1]])
numbers = st.integers(0, 2**16)


class Review(RuleBasedStateMachine):
    """A person who edits at random; edits that are refused must have changed nothing."""

    @initialize(seed=st.integers(0, 50))
    def open_case(self, seed: int) -> None:
        probability = smooth_noise(SHAPE, seed, sigma=1.0)
        ids = label_components(probability > 0.6, 6)
        self.lesions = lesion_map(ids, AFFINE, probability)
        self.first = state(self.lesions)
        self.made: list[Change] = []
        self.undone: list[Change] = []
        self.given = set(self.lesions.records)

    def lesion(self, number: int) -> int:
        known = [*self.lesions.records]
        return known[number % len(known)] if known else 1

    def edit(self, plan) -> Change | None:
        """Plan, store and read back, and make an edit; None if it is refused."""
        before = state(self.lesions)
        try:
            change = plan()
        except InputError:
            assert state(self.lesions) == before
            return None
        assert state(self.lesions) == before
        data = change.to_bytes()
        change = Change.from_bytes(data)
        assert change.to_bytes() == data
        self.lesions.apply(change)
        assert self.given.isdisjoint(new_ids(change))
        self.given.update(new_ids(change))
        self.made.append(change)
        self.undone.clear()
        return change

    @rule(numbers=st.lists(numbers, min_size=1, max_size=3), type=st.sampled_from(LesionType))
    def relabel(self, numbers, type):
        before = self.lesions.ids.copy()
        self.edit(lambda: edits.relabel(self.lesions, map(self.lesion, numbers), type))
        np.testing.assert_array_equal(self.lesions.ids, before)

    @rule(number=numbers, step=st.sampled_from([edits.accept, edits.reject, edits.restore]))
    def judge(self, number, step):
        before = self.lesions.ids.copy()
        self.edit(lambda: step(self.lesions, [self.lesion(number)]))
        np.testing.assert_array_equal(self.lesions.ids, before)

    @rule(number=numbers, note=st.text(max_size=4))
    def annotate(self, number, note):
        self.edit(lambda: edits.annotate(self.lesions, [self.lesion(number)], note))

    @rule(number=numbers, way=st.integers(0, 5), k=st.integers(2, 4))
    def split(self, number, way, k):
        lesions, lesion = self.lesions, self.lesion(number)
        voxels = lesions.voxels(lesion)
        offsets = np.random.default_rng(number).integers(-1, 2, (3, *SHAPE))
        points = np.stack(np.unravel_index(voxels[:: max(1, len(voxels) // k)], SHAPE), 1)
        points = points @ AFFINE[:3, :3].T + AFFINE[:3, 3]
        ends = (points[0], points[-1]) if len(points) else (np.zeros(3), np.ones(3))
        ways = [
            lambda: edits.split_components(lesions, lesion, 6),
            lambda: edits.split_acls(lesions, lesion, method="acls-conflunet"),
            lambda: edits.split_offsets(lesions, lesion, offsets),
            lambda: edits.split_seeds(lesions, lesion, points),
            lambda: edits.split_plane(lesions, lesion, *ends, (0.1, 0.2, 1)),
            lambda: edits.split_k(lesions, lesion, k),
        ]
        before = lesions.ids > 0
        change = self.edit(ways[way])
        np.testing.assert_array_equal(lesions.ids > 0, before)
        if change:
            parts = [lesions.voxels(part) for part in new_ids(change)]
            assert len(parts) > 1 and lesion not in lesions.records
            np.testing.assert_array_equal(np.sort(np.concatenate(parts)), voxels)

    @rule(numbers=st.lists(numbers, min_size=2, max_size=4))
    def merge(self, numbers):
        before = self.lesions.ids > 0
        count = len(self.lesions.records)
        change = self.edit(lambda: edits.merge(self.lesions, map(self.lesion, numbers)))
        np.testing.assert_array_equal(self.lesions.ids > 0, before)
        assert not change or len(self.lesions.records) < count

    @rule(number=numbers)
    def delete(self, number):
        lesion, before = self.lesion(number), self.lesions.ids.copy()
        if self.edit(lambda: edits.delete(self.lesions, [lesion])):
            np.testing.assert_array_equal(self.lesions.ids, np.where(before == lesion, 0, before))

    @rule(number=numbers, corner=st.tuples(*(st.integers(0, n - 3) for n in SHAPE)), may_eat=st.booleans())
    def paint(self, number, corner, may_eat):
        lesions, before = self.lesions, self.lesions.ids.copy()
        box = tuple(slice(start, start + 3) for start in corner)
        mask = np.random.default_rng(number).random((3, 3, 3)) > 0.5
        lesion = lesions.next_id if number % 3 == 0 else self.lesion(number)
        rejected = [i for i, record in lesions.records.items() if record.status == "rejected"]
        if lesion == lesions.next_id:
            change = self.edit(lambda: edits.add(lesions, mask, LesionType.MS, box))
        else:
            change = self.edit(lambda: edits.redraw(lesions, lesion, mask, box, may_eat))
        if change:
            painted = np.zeros(SHAPE, bool)
            painted[box] = mask
            drawn = lesions.ids == lesion
            assert drawn.any() and not (drawn & ~painted).any()
            if new_ids(change) or not may_eat:
                assert set(before[drawn].tolist()) <= {0, lesion, *rejected}
            else:
                np.testing.assert_array_equal(drawn, painted)

    @rule(number=numbers, mm=st.sampled_from([0.9, 1.5, 2.5]), may_eat=st.booleans())
    def grow(self, number, mm, may_eat):
        lesion, before = self.lesion(number), self.lesions.ids.copy()
        if self.edit(lambda: edits.grow(self.lesions, lesion, mm, may_eat)):
            assert (self.lesions.ids[before == lesion] == lesion).all()
            assert np.count_nonzero(self.lesions.ids == lesion) > np.count_nonzero(before == lesion)

    @rule(number=numbers, mm=st.sampled_from([0.9, 1.5, 2.5]))
    def shrink(self, number, mm):
        lesion, before = self.lesion(number), self.lesions.ids.copy()
        if self.edit(lambda: edits.shrink(self.lesions, lesion, mm)):
            assert (before[self.lesions.ids == lesion] == lesion).all()
            assert 0 < np.count_nonzero(self.lesions.ids == lesion) < np.count_nonzero(before == lesion)

    @precondition(lambda self: self.made)
    @rule(steps=st.integers(1, 4))
    def take_back(self, steps):
        for _ in range(min(steps, len(self.made))):
            self.undone.append(self.made.pop())
            self.lesions.revert(self.undone[-1])

    @precondition(lambda self: self.undone)
    @rule()
    def make_again(self):
        self.made.append(self.undone.pop())
        self.lesions.apply(self.made[-1])

    @invariant()
    def records_tell_what_the_image_holds(self):
        lesions = self.lesions
        assert list(lesions.records) == sorted(lesions.records)
        assert all(i == record.lesion_id < lesions.next_id for i, record in lesions.records.items())
        assert lesions.next_id == max(self.given, default=0) + 1
        found = voxels_by_id(lesions.ids)
        for lesion_id, flat in found.items():
            np.testing.assert_array_equal(lesions.voxels(lesion_id), flat)
        for lesion_id in lesions.records.keys() - found.keys():
            assert lesions.records[lesion_id].status == "rejected" and not lesions.voxels(lesion_id).size
        for measured in measure_lesions(lesions.ids, AFFINE, lesions.probability):
            record = lesions.records[measured.lesion_id]
            assert record.voxels == measured.voxels
            for name in ("volume_mm3", "centroid_ras_mm", "max_diameter_mm", "mean_probability"):
                np.testing.assert_allclose(getattr(record, name), getattr(measured, name), rtol=1e-12)

    def teardown(self):
        last = state(self.lesions)
        for change in reversed(self.made):
            self.lesions.revert(change)
        assert state(self.lesions) == self.first
        for change in self.made:
            self.lesions.apply(change)
        assert state(self.lesions) == last


Review.TestCase.settings = settings(deadline=None, max_examples=30, stateful_step_count=150)
TestReview = Review.TestCase
