"""A review session: undo and redo, and resuming where it was left or killed."""

from __future__ import annotations

import os
import tracemalloc

import numpy as np
import pytest

from lesion_maps import lesion_map, refused, state
from LesionSegmenterLib import edits, lesions_tsv
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import LesionMap
from LesionSegmenterLib.review import AUTOSAVE_ACTIONS, ReviewSession
from review_cases import AFFINE, edit_a_little, open_session, opening, seen


@pytest.fixture
def session(tmp_path) -> ReviewSession:
    return open_session(tmp_path)


# Undo and redo


def test_an_edit_is_undone_and_redone_by_the_name_it_was_made_with(session):
    first = state(session.lesions)
    assert session.undo_name is None and session.redo_name is None
    change = edits.split_k(session.lesions, 1, 2)
    session.do("Split L0001 in 2", change, "in k parts")
    second = state(session.lesions)
    assert second != first and session.undo_name == "Split L0001 in 2"
    assert session.undo().records_before.keys() == change.records_before.keys()
    assert state(session.lesions) == first
    assert (session.undo_name, session.redo_name) == (None, "Split L0001 in 2")
    session.redo()
    assert state(session.lesions) == second and session.redo_name is None


def test_a_new_edit_ends_what_could_be_redone_but_stays_in_the_audit(session):
    edit_a_little(session)
    session.do("Note on L0003", edits.annotate(session.lesions, [3], "vessel?"))
    assert session.redo_name is None
    with refused(session.lesions, "there is nothing to redo"):
        session.redo()
    assert "Split L0001 in 2" in [action.name for action in session.audit()]


def test_with_nothing_done_there_is_nothing_to_undo(session):
    with refused(session.lesions, "there is nothing to undo"):
        session.undo()


def test_a_change_planned_on_other_lesions_is_refused_and_not_recorded(session):
    stale = edits.accept(session.lesions, [1])
    session.do("Reject L0001", edits.reject(session.lesions, [1]))
    recorded = session.journal.path.read_bytes()
    with refused(session.lesions, "does not fit"):
        session.do("Accept L0001", stale)
    assert session.journal.path.read_bytes() == recorded and session.undo_name == "Reject L0001"


def test_250_edits_are_undone(session):
    for number in range(250):
        session.do(f"Note {number}", edits.annotate(session.lesions, [1], str(number)))
    for number in reversed(range(250)):
        assert session.undo_name == f"Note {number}"
        session.undo()
    assert session.undo_name is None and state(session.lesions) == state(opening())


def test_what_can_be_undone_keeps_no_voxels_in_memory(tmp_path):
    session = open_session(tmp_path, lesion_map(np.ones((20, 20, 10), np.int32)))
    first, changed = state(session.lesions), 0
    tracemalloc.start()
    for _ in range(40):
        split = edits.split_k(session.lesions, max(session.lesions.records), 2)
        session.do("Split", split)
        merge = edits.merge(session.lesions, session.lesions.records)
        session.do("Merge", merge)
        changed += split.nbytes + merge.nbytes
    del split, merge
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < changed / 10
    while session.undo_name:
        session.undo()
    assert state(session.lesions) == first


# Resuming


def test_a_session_resumes_where_it_was_killed_undo_included(tmp_path, session):
    edit_a_little(session)
    resumed = open_session(tmp_path)
    assert seen(resumed)[:2] == seen(session)[:2]
    assert (resumed.undo_name, resumed.redo_name) == ("Accept L0002", "Split L0001 in 2")
    split = resumed.redo()
    assert split.records_before[1] == opening().records[1]
    resumed.undo()
    resumed.undo()
    assert state(resumed.lesions) == state(opening())


@pytest.mark.parametrize("last", ["do", "undo", "redo", "note", "save", "resume"])
def test_killed_within_its_last_record_a_session_resumes_as_it_was_before_that(
    tmp_path, session, last, monkeypatch
):
    monkeypatch.setattr(os, "fsync", lambda _: None)  # the program is killed, not the machine
    edit_a_little(session)
    before, start = seen(session), session.journal.end
    match last:
        case "do":
            session.do("Delete L0003", edits.delete(session.lesions, [3]))
        case "undo" | "redo" | "save":
            getattr(session, last)()
        case "note":
            session.note("A remark")
        case "resume":
            session = open_session(tmp_path)
    after, path = seen(session), session.journal.path
    whole = path.read_bytes()
    assert start < len(whole)
    for end in range(start, len(whole) + 1):
        path.write_bytes(whole[:end])
        resumed = open_session(tmp_path)
        expected = after if end == len(whole) else before
        names = [*expected[2][2], "Resume the review"]
        assert seen(resumed) == (*expected[:2], (*expected[2][:2], names), *expected[3:])
        assert resumed.journal.torn == (start < end < len(whole))


def test_resuming_from_the_stored_state_is_the_same_as_from_the_beginning(tmp_path, session, monkeypatch):
    for number in range(AUTOSAVE_ACTIONS + 7):
        session.do(f"Note {number}", edits.annotate(session.lesions, [1 + number % 3], str(number)))
        if number % 5 == 4:
            session.undo()
    saves = [action for action in session.actions if action.kind == "save"]
    assert len(saves) == 1 and not any(action.kind == "save" for action in session.audit())
    replayed = []
    real_apply = LesionMap.apply
    monkeypatch.setattr(LesionMap, "apply", lambda *call: (replayed.append(call), real_apply(*call)))
    resumed = open_session(tmp_path)
    assert len(replayed) < AUTOSAVE_ACTIONS / 2
    assert seen(resumed)[0] == seen(session)[0]
    while session.undo_name:
        assert session.undo_name == resumed.undo_name
        resumed.undo()
        session.lesions.revert(session._stored(session._done.pop()[1]))
        assert state(resumed.lesions) == state(session.lesions)


def test_ids_given_before_the_crash_are_not_given_again_even_if_undone(tmp_path, session):
    edit_a_little(session)  # the split's parts were 4 and 5
    resumed = open_session(tmp_path)
    change = edits.split_k(resumed.lesions, 1, 2)
    assert {6, 7} <= change.records_after.keys()


def test_an_exported_case_read_back_resumes_with_its_rejected_lesions(tmp_path, session):
    session.do("Reject L0003", edits.reject(session.lesions, [3]))
    session.do("Merge 2 lesions", edits.merge(session.lesions, [1, 2]))
    session.save()
    live = state(session.lesions)
    _, instances = session.lesions.exported()
    lesions_tsv.write_lesions_tsv(tmp_path / "lesions.tsv", session.lesions.records.values())
    rounded = lesions_tsv.read_lesions_tsv(tmp_path / "lesions.tsv")
    nearly = AFFINE + 1e-7 * np.eye(4)  # as from another program's reading of the same header
    read_back = LesionMap.from_arrays(instances, nearly, rounded)
    assert state(read_back) != live and not read_back.voxels(3).size
    resumed = open_session(tmp_path, read_back)
    assert state(resumed.lesions) == live
    resumed.undo()
    resumed.undo()
    assert state(resumed.lesions) == state(opening())


def test_saving_twice_stores_the_lesions_once(session):
    session.save()
    assert [action.kind for action in session.actions] == ["begin"]
    session.do("Accept L0002", edits.accept(session.lesions, [2]))
    session.save()
    size = session.journal.path.stat().st_size
    session.save()
    assert session.journal.path.stat().st_size == size


def other_ids(lesions: LesionMap) -> LesionMap:
    ids = lesions.ids.copy()
    ids[0, 0, 0] = 0
    return lesion_map(ids, AFFINE)


def other_shape(lesions: LesionMap) -> LesionMap:
    return lesion_map(np.pad(lesions.ids, ((0, 1), (0, 0), (0, 0))), AFFINE)


def other_affine(lesions: LesionMap) -> LesionMap:
    return lesion_map(lesions.ids, AFFINE + np.diag([0.01, 0, 0, 0]))


@pytest.mark.parametrize("other", [other_ids, other_shape, other_affine])
def test_a_journal_of_another_case_is_refused_and_left_alone(tmp_path, session, other):
    edit_a_little(session)
    recorded = session.journal.path.read_bytes()
    lesions = other(opening())
    with refused(lesions, r"desc-review_journal\.bin: this journal is of another case"):
        open_session(tmp_path, lesions)
    assert session.journal.path.read_bytes() == recorded


def test_a_journal_with_an_action_of_no_known_kind_is_refused(tmp_path, session):
    session.journal.append({"kind": "teleport"})
    with pytest.raises(InputError, match=r"journal\.bin: this journal holds an action that is unknown"):
        open_session(tmp_path)


def test_a_case_without_lesions_can_be_reviewed(tmp_path):
    empty = np.zeros((8, 6, 4), np.int32)
    session = open_session(tmp_path, lesion_map(empty, AFFINE))
    mask = np.zeros(empty.shape, bool)
    mask[2:4, 2, 2] = True
    session.do("Add a lesion", edits.add(session.lesions, mask, LesionType.MS), "paint")
    resumed = open_session(tmp_path, lesion_map(empty, AFFINE))
    assert state(resumed.lesions) == state(session.lesions) and resumed.lesions.ids.sum() == 2
