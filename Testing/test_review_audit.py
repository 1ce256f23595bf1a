"""What a review session tells of itself: who did what and when, seconds spent, lesions reviewed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from LesionSegmenterLib import edits
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.review import IDLE_SECONDS
from review_cases import open_session


@pytest.fixture
def clock(monkeypatch) -> Iterator[list[float]]:
    """Seconds that pass only as the test says."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    yield now


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


def test_accepted_rejected_and_edited_lesions_count_as_reviewed(tmp_path):
    session = open_session(tmp_path)
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
