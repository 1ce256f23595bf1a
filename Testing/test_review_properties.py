"""Random sequences of edits, undos, redos and crashes: what must hold after every one of them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from full_disk import full_disk
from lesion_maps import lesion_map, state
from LesionSegmenterLib import edits, review
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.instances import label_components
from LesionSegmenterLib.journal import Journal
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import LesionMap
from phantoms import smooth_noise

SHAPE = (9, 8, 5)
numbers = st.integers(0, 2**16)


class Review(RuleBasedStateMachine):
    """A person who edits at random on a machine that crashes; every state reached is remembered whole."""

    @initialize(seed=st.integers(0, 50))
    def open_case(self, seed: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.patches = [
            patch.object(review, "AUTOSAVE_ACTIONS", 7),
            patch("LesionSegmenterLib.journal.os.fsync"),  # crashes are of the program: skip the wait
        ]
        for each in self.patches:
            each.start()
        self.probability = smooth_noise(SHAPE, seed, sigma=1.0)
        self.ids = label_components(self.probability > 0.6, 6)
        self.session = self.open(self.opening())
        self.states = [self.state()]  # after 0, 1, 2 ... of the actions that can be undone and redone
        self.place = 0
        self.names: list[str] = []

    def opening(self) -> LesionMap:
        return lesion_map(self.ids, probability=self.probability)

    def open(self, lesions: LesionMap) -> review.ReviewSession:
        return review.ReviewSession.open(lesions, self.folder.name, "Ada", "P1")

    def state(self) -> tuple:
        return state(self.session.lesions)

    def lesion(self, number: int) -> int:
        known = [*self.session.lesions.records]
        return known[number % len(known)] if known else 1

    @rule(number=numbers, other=numbers, way=st.integers(0, 7), full=st.booleans())
    def edit(self, number, other, way, full):
        lesions, lesion = self.session.lesions, self.lesion(number)
        box = tuple(slice(number % (n - 2), number % (n - 2) + 3) for n in SHAPE)
        painted = np.random.default_rng(other).random((3, 3, 3)) > 0.5
        plans = [
            lambda: edits.relabel(lesions, [lesion], LesionType(1 + other % 4)),
            lambda: edits.reject(lesions, [lesion]),
            lambda: edits.accept(lesions, [lesion]),
            lambda: edits.split_k(lesions, lesion, 2 + other % 2),
            lambda: edits.merge(lesions, [lesion, self.lesion(other)]),
            lambda: edits.delete(lesions, [lesion]),
            lambda: edits.add(lesions, painted, LesionType.MS, box),
            lambda: edits.redraw(lesions, lesion, painted, box, may_eat_neighbours=bool(other % 2)),
        ]
        try:
            change = plans[way]()
        except InputError:
            return
        name = f"Edit {len(self.session.actions)}"
        if full:
            before = self.state(), lesions.next_id
            with full_disk(other % 50, truncates=bool(other % 3)):
                try:
                    self.session.do(name, change)
                except InputError:
                    assert (self.state(), lesions.next_id) == before
                else:
                    raise AssertionError("an edit was made that no disk holds")
        self.session.do(name, change)
        del self.states[self.place + 1 :], self.names[self.place :]
        self.states.append(self.state())
        self.names.append(name)
        self.place += 1

    @precondition(lambda self: self.place)
    @rule(steps=st.integers(1, 5))
    def undo(self, steps):
        for _ in range(min(steps, self.place)):
            self.session.undo()
            self.place -= 1

    @precondition(lambda self: self.place < len(self.names))
    @rule(steps=st.integers(1, 3))
    def redo(self, steps):
        for _ in range(min(steps, len(self.names) - self.place)):
            self.session.redo()
            self.place += 1

    @rule(step=st.sampled_from(["note", "save"]))
    def record(self, step):
        self.session.save() if step == "save" else self.session.note("A remark")

    @rule(byte=numbers)
    def crash(self, byte):
        """In the middle of one more edit, of which some bytes reach the disk."""
        journal = Path(self.session.journal.path)
        lesion = self.lesion(byte)
        try:
            change = edits.annotate(self.session.lesions, [lesion], f"note {len(self.session.actions)}")
        except InputError:
            return
        end, next_id = self.session.journal.end, self.session.lesions.next_id
        audit = self.session.audit()
        self.session.do("Cut off", change)
        (cut,) = [entry for entry in Journal.open(journal)[1] if entry.start == end]
        with journal.open("r+b") as file:  # an autosave may stand behind it
            file.truncate(end + byte % cut.size)
        self.session = self.open(self.opening())
        assert self.session.lesions.next_id == next_id
        assert self.session.audit()[:-1] == audit

    @rule()
    def export_and_import(self):
        """The case read back as it was exported: without the voxels of rejected lesions."""
        self.session.save()
        lesions = self.session.lesions
        _, instances = lesions.exported()
        records = list(lesions.records.values())
        read_back = LesionMap.from_arrays(instances, lesions.affine, records, probability=self.probability)
        self.session = self.open(read_back)

    @invariant()
    def the_lesions_are_those_of_this_place_in_the_history(self):
        assert self.state() == self.states[self.place]
        assert self.session.undo_name == (self.names[self.place - 1] if self.place else None)
        assert self.session.redo_name == (self.names[self.place] if self.place < len(self.names) else None)

    @invariant()
    def replaying_the_journal_gives_the_live_session(self):
        journal = self.session.journal.path
        content = journal.read_bytes()
        again = self.open(self.opening())
        assert state(again.lesions) == self.state()
        assert again.lesions.next_id == self.session.lesions.next_id
        assert (again.undo_name, again.redo_name) == (self.session.undo_name, self.session.redo_name)
        assert again.audit()[:-1] == self.session.audit()
        journal.write_bytes(content)  # without the record of this opening

    def teardown(self):
        if not hasattr(self, "session"):
            return
        try:
            while self.session.undo_name:
                self.session.undo()
            assert self.state() == state(self.opening()) == self.states[0]
            while self.session.redo_name:
                self.session.redo()
            assert self.state() == self.states[-1]
        finally:
            for each in self.patches:
                each.stop()
            self.folder.cleanup()


Review.TestCase.settings = settings(deadline=None, max_examples=25, stateful_step_count=40)
TestReview = Review.TestCase
