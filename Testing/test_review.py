"""A review session: undo, what is recorded, resuming, progress, and the order of visiting lesions."""

from __future__ import annotations

import dataclasses
import json
import os
import time
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from full_disk import full_disk
from lesion_maps import lesion_map, refused, state
from LesionSegmenterLib import edits, export
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import LesionMap, LesionRecord
from LesionSegmenterLib.review import AUTOSAVE_ACTIONS, IDLE_SECONDS, ReviewSession, journal_path
from LesionSegmenterLib.visiting import Order, next_lesion, visit_order

AFFINE = np.array([[-0.9, 0, 0, 30], [0, 1.1, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1.0]])


def opening() -> LesionMap:
    """Lesion 1 has 12 voxels, 2 has 6, 3 has 4."""
    ids = np.zeros((8, 6, 4), np.int32)
    ids[0:4, 0:3, 0], ids[6:8, 0:3, 1], ids[0:2, 4:6, 3] = 1, 2, 3
    return lesion_map(ids, AFFINE)


def open_session(folder: Path, lesions: LesionMap | None = None, rater: str = "Ada") -> ReviewSession:
    return ReviewSession.open(opening() if lesions is None else lesions, folder, rater, "P1")


@pytest.fixture
def session(tmp_path) -> ReviewSession:
    return open_session(tmp_path)


@pytest.fixture
def clock(monkeypatch) -> Iterator[list[float]]:
    """Seconds that pass only as the test says."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    yield now


def edit_a_little(session: ReviewSession) -> None:
    """Accept, split, and undo the split."""
    session.do("Accept L0002", edits.accept(session.lesions, [2]), "key A")
    session.do("Split L0001 in 2", edits.split_k(session.lesions, 1, 2), "in k parts")
    session.undo()


def seen(session: ReviewSession) -> tuple:
    """What a user sees of a session, and the id that a new lesion would get."""
    names = session.undo_name, session.redo_name, [action.name for action in session.audit()]
    return state(session.lesions), session.lesions.next_id, names, session.progress().reviewed


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
    export.write_lesions_tsv(tmp_path / "lesions.tsv", session.lesions.records.values())
    rounded = export.read_lesions_tsv(tmp_path / "lesions.tsv")
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
    return lesion_map(np.pad(lesions.ids, ((0, 0), (0, 0), (0, 1))), AFFINE)


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


# What cannot be recorded


@pytest.mark.parametrize("step", ["do", "undo", "redo", "note", "save"])
@pytest.mark.parametrize("truncates", [True, False], ids=["clean", "with a rest that stays"])
def test_on_a_full_disk_nothing_is_done_and_nothing_lost(tmp_path, session, step, truncates):
    edit_a_little(session)
    steps = {
        "do": lambda: session.do("Split L0002", edits.split_k(session.lesions, 2, 2)),
        "undo": session.undo,
        "redo": session.redo,
        "note": lambda: session.note("A remark"),
        "save": session.save,
    }
    before = seen(session)
    with full_disk(20, truncates), refused(session.lesions, "No space left.*Nothing was changed: free some"):
        steps[step]()
    assert seen(session) == before
    assert seen(open_session(tmp_path))[:2] == before[:2]


def test_once_there_is_room_again_the_session_goes_on(tmp_path, session):
    split = edits.split_k(session.lesions, 1, 2)
    with full_disk(20, truncates=False), pytest.raises(InputError):
        session.do("Split L0001 in 2", split)
    session.do("Split L0001 in 2", split)
    assert seen(open_session(tmp_path))[:2] == seen(session)[:2]


def test_an_autosave_that_finds_the_disk_full_does_not_fail_the_edit_before_it(session, monkeypatch):
    for number in range(AUTOSAVE_ACTIONS - 1):
        session.do("Note", edits.annotate(session.lesions, [1], str(number)))
    monkeypatch.setattr(session, "save", _refuse)
    session.do("Accept L0002", edits.accept(session.lesions, [2]))
    assert session.lesions.records[2].status == "accepted" and session.undo_name == "Accept L0002"


def _refuse() -> None:
    raise InputError("the disk is full")


def test_a_folder_that_cannot_be_written_is_refused_before_editing_begins(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: cannot write into this folder"):
        open_session(tmp_path / "file")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions stop")
@pytest.mark.parametrize("resumed", [False, True])
def test_a_read_only_folder_is_refused_before_editing_begins(tmp_path, resumed):
    if resumed:
        open_session(tmp_path).journal.path.chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(InputError, match=r"cannot (write into this folder|be written) \(Permission"):
            open_session(tmp_path)
    finally:
        tmp_path.chmod(0o755)


def test_a_journal_that_cannot_be_written_is_refused_before_editing_resumes(tmp_path, session):
    edit_a_little(session)
    with full_disk(0), pytest.raises(InputError, match="cannot be written"):
        open_session(tmp_path)
    assert state(open_session(tmp_path).lesions) == state(session.lesions)


def test_two_sessions_on_one_case_do_not_overwrite_each_other(tmp_path, session):
    other = open_session(tmp_path, rater="Grace")
    with refused(session.lesions, "another program has written to this journal"):
        session.do("Accept L0001", edits.accept(session.lesions, [1]))
    other.do("Accept L0002", edits.accept(other.lesions, [2]))
    assert state(open_session(tmp_path).lesions) == state(other.lesions)


@pytest.mark.parametrize(("rater", "subject"), [("  ", "P1"), ("", "P1"), ("Ada", "../P1"), ("Ada", "")])
def test_a_session_needs_a_rater_and_a_subject_and_leaves_no_file_without(tmp_path, rater, subject):
    with pytest.raises(InputError, match=r"no rater is named|is not a subject ID"):
        ReviewSession.open(opening(), tmp_path / "new", rater, subject)
    assert not list(tmp_path.iterdir())


def test_a_review_makes_the_folder_that_it_is_given(tmp_path):
    session = open_session(tmp_path / "sub-P1" / "anat")
    expected = tmp_path / "sub-P1" / "anat" / "sub-P1_desc-review_journal.bin"
    assert session.journal.path == expected == journal_path(expected.parent, "P1")
    assert [path.name for path in expected.parent.iterdir()] == [expected.name]


# Audit, time and progress


def test_the_audit_says_who_did_what_to_which_lesions_when_how_long_and_with_which_tool(tmp_path, clock):
    session = open_session(tmp_path)
    clock[0] += 4
    session.do("Split L0001 in 2", edits.split_k(session.lesions, 1, 2), "in k parts")
    clock[0] += 2.5
    session.undo()
    other = open_session(tmp_path, rater=" Grace ")
    clock[0] += 1
    other.note("Exported", "export")
    rows = [(a.rater, a.kind, a.name, a.tool, a.before, a.after, a.seconds) for a in other.audit()]
    assert rows == [
        ("Ada", "begin", "Begin the review", "", [], [], 0),
        ("Ada", "do", "Split L0001 in 2", "in k parts", [1], [4, 5], 4),
        ("Ada", "undo", "Split L0001 in 2", "in k parts", [4, 5], [1], 2.5),
        ("Grace", "resume", "Resume the review", "", [], [], 0),
        ("Grace", "note", "Exported", "export", [], [], 1),
    ]
    assert other.audit()[1].lesions == [1, 4, 5]
    times = [datetime.fromisoformat(action.time) for action in other.audit()]
    assert times == sorted(times) and times[0].tzinfo == UTC
    assert abs(datetime.now(UTC) - times[-1]) < timedelta(minutes=5)


def test_a_pause_counts_as_work_up_to_the_limit_alone(tmp_path, clock):
    session = open_session(tmp_path)
    clock[0] += 3600
    session.do("Accept L0001", edits.accept(session.lesions, [1]))
    clock[0] += 7
    session.do("Accept L0002", edits.accept(session.lesions, [2]))
    assert session.progress().seconds == IDLE_SECONDS + 7
    clock[0] += 3600
    resumed = open_session(tmp_path)  # what went by while it was closed is nobody's time
    clock[0] += 2
    resumed.note("A remark")
    assert resumed.progress().seconds == IDLE_SECONDS + 7 + 2


def test_seconds_go_in_equal_parts_to_the_lesions_that_an_action_found(tmp_path, clock):
    session = open_session(tmp_path)
    clock[0] += 6
    session.do("Accept 2 lesions", edits.accept(session.lesions, [2, 3]))
    clock[0] += 10
    session.do("Split L0001 in 2", edits.split_k(session.lesions, 1, 2))
    clock[0] += 8
    session.undo()  # finds the parts, 4 and 5
    mask = np.zeros(session.lesions.shape, bool)
    mask[5, 5, 2] = True
    clock[0] += 5
    session.do("Add a lesion", edits.add(session.lesions, mask, LesionType.MS))
    assert session.seconds_by_lesion() == {1: 10, 2: 3, 3: 3, 4: 4, 5: 4, 6: 5}


def test_accepted_rejected_and_edited_lesions_count_as_reviewed(session):
    progress = session.progress()
    assert (progress.reviewed, progress.total) == (0, 3)
    session.do("Accept L0001", edits.accept(session.lesions, [1]))
    session.do("Reject L0002", edits.reject(session.lesions, [2]))
    assert session.progress().reviewed == 2
    session.do("Split L0003", edits.split_k(session.lesions, 3, 2))
    assert (session.progress().reviewed, session.progress().total) == (4, 4)
    session.do("Restore L0002", edits.restore(session.lesions, [2]))
    assert session.progress().reviewed == 3


def test_the_history_for_the_sidecar_is_plain_json_with_rater_and_seconds(tmp_path, clock):
    session = open_session(tmp_path)
    clock[0] += 4
    session.do("Accept L0002", edits.accept(session.lesions, [2]), "key A")
    session.save()
    history = session.history()
    assert json.loads(json.dumps(history, allow_nan=False)) == history
    assert history["rater"] == "Ada" and history["seconds_spent"] == 4
    begin, accept = history["history"]
    assert begin["kind"] == "begin" and accept.pop("time").endswith("+00:00")
    assert accept == {
        "kind": "do",
        "name": "Accept L0002",
        "tool": "key A",
        "rater": "Ada",
        "seconds": 4,
        "before": [2],
        "after": [2],
    }


# The order of visiting


def record(lesion_id: int, **values) -> LesionRecord:
    made = LesionRecord(lesion_id, LesionType.WMH, 10.0, 1, (0.0, 0.0, 0.0), 0.0)
    return dataclasses.replace(made, **values)


@pytest.mark.parametrize(
    ("order", "records", "expected"),
    [
        (
            "uncertainty",  # doubts 0.2 (drawn: 0), 1, 0.6 by its type, 0.4, 0
            [
                record(1, mean_probability=0.9),
                record(2, mean_probability=0.5, type_confidence=1.0),
                record(3, mean_probability=0.95, type_confidence=0.4),
                record(4, mean_probability=0.2),
                record(5),
            ],
            [2, 3, 4, 1, 5],
        ),
        ("size", [record(1), record(2, volume_mm3=20.0), record(3, volume_mm3=20.0)], [2, 3, 1]),
        (
            "type",
            [
                record(1, type=LesionType.MS),
                record(2, type=LesionType.STROKE),
                record(3),
                record(4, type=LesionType.MS, volume_mm3=11.0),
            ],
            [3, 2, 4, 1],
        ),
        (
            "position",
            [
                record(1, centroid_ras_mm=(0, 0, 9)),
                record(2, centroid_ras_mm=(5, 1, 2)),
                record(3, centroid_ras_mm=(-5, 1, 2)),
                record(4, centroid_ras_mm=(9, -3, 2)),
            ],
            [4, 3, 2, 1],
        ),
        (
            "unreviewed",
            [
                record(1, status="accepted", mean_probability=0.5),
                record(2),
                record(3, status="edited"),
                record(4, mean_probability=0.6),
            ],
            [4, 2, 1, 3],
        ),
    ],
)
def test_lesions_are_visited_in_the_order_asked_for(order: Order, records, expected):
    assert visit_order(records, order) == expected
    assert visit_order(records[::-1], order) == expected


def test_next_and_previous_go_round():
    records = [record(1, volume_mm3=3.0), record(2, volume_mm3=9.0), record(3, volume_mm3=6.0)]  # 2, 3, 1
    assert [next_lesion(records, "size", current) for current in (2, 3, 1)] == [3, 1, 2]
    assert [next_lesion(records, "size", current, -1) for current in (2, 3, 1)] == [1, 2, 3]
    assert next_lesion(records, "size", None) == 2 and next_lesion(records, "size", None, -1) == 1
    assert next_lesion(records, "size", 77) == 2  # it was split
    assert next_lesion([], "size", None) is None


def test_accept_and_go_on_visits_every_unreviewed_lesion_once_and_then_ends():
    chances = {1: 0.9, 2: 0.5, 3: 0.7, 4: 0.55, 5: 0.52}
    records = {i: record(i, mean_probability=p) for i, p in chances.items()}
    records[5] = dataclasses.replace(records[5], status="rejected")
    visited, current = [], next_lesion(records.values(), "unreviewed", None)
    while current:
        visited.append(current)
        records[current] = dataclasses.replace(records[current], status="accepted")
        current = next_lesion(records.values(), "unreviewed", current)
    assert visited == [2, 4, 3, 1]


def test_the_next_unreviewed_lesion_is_the_next_by_uncertainty_not_the_first():
    chances = {1: 0.9, 2: 0.5, 3: 0.7, 4: 0.55}  # 2, 4, 3, 1
    records = [
        record(i, mean_probability=p, status="accepted" if i == 3 else "proposed") for i, p in chances.items()
    ]
    assert next_lesion(records, "unreviewed", 4) == 1
    assert next_lesion(records, "unreviewed", 1, -1) == 4
    assert next_lesion(records, "unreviewed", 1) == 2


def test_an_unknown_order_is_refused():
    with pytest.raises(
        InputError, match=r"unknown order of lesions 'colour'\. Choose one of uncertainty, size"
    ):
        visit_order([], "colour")  # type: ignore[arg-type]
