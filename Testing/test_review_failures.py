"""A review session that cannot begin or cannot record: a clear line, and nothing lost."""

from __future__ import annotations

import os

import pytest

from full_disk import full_disk
from lesion_maps import refused, state
from LesionSegmenterLib import edits
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.review import AUTOSAVE_ACTIONS, ReviewSession, journal_path
from review_cases import edit_a_little, open_session, opening, seen


@pytest.fixture
def session(tmp_path) -> ReviewSession:
    return open_session(tmp_path)


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
