"""How far each FLAIR of a folder is, told from the files alone, and which case comes next."""

from __future__ import annotations

from pathlib import Path

import pytest

from LesionSegmenterLib import edits
from LesionSegmenterLib.actions import Action
from LesionSegmenterLib.export_plan import plan_export
from LesionSegmenterLib.lesions import LesionMap
from LesionSegmenterLib.review import ReviewSession, journal_path
from LesionSegmenterLib.worklist import EXPORT, WorkItem, is_exported, next_work, work_item
from panel_cases import make_case
from review_cases import open_session


def action(kind: str, tool: str = "") -> Action:
    return Action(kind, "", tool, "Ada", "2026-01-01T00:00:00+00:00", 0.0)  # type: ignore[arg-type]


def done(subject: str) -> WorkItem:
    return WorkItem(subject, Path(subject), True, 2, 2, True)


def test_a_flair_without_a_case_is_not_segmented(tmp_path):
    item = work_item("01", tmp_path / "flair.nii.gz", tmp_path / "cases")
    assert (item.segmented, item.total, item.is_done) == (False, 0, False)


def test_a_case_without_a_journal_has_as_many_lesions_as_its_table_and_none_reviewed(tmp_path):
    item = work_item("01", tmp_path, make_case(tmp_path))
    assert (item.segmented, item.reviewed, item.total, item.exported) == (True, 0, 3, False)


def test_reading_how_far_a_review_is_leaves_its_journal_as_it_is(tmp_path):
    cases = make_case(tmp_path, "P1")
    session = open_session(cases)  # of another map, whose lesions count
    session.do("Accept", edits.accept(session.lesions, [1, 3]))
    content = session.journal.path.read_bytes()
    item = work_item("P1", tmp_path, cases)
    assert (item.reviewed, item.total) == (2, 3)
    assert session.journal.path.read_bytes() == content


def test_a_damaged_journal_is_told_and_nothing_is_claimed(tmp_path):
    cases = make_case(tmp_path)
    journal_path(cases, "01").write_bytes(b"rubbish")
    item = work_item("01", tmp_path, cases)
    assert "not the journal" in item.trouble and not item.is_done


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([], False),
        (["begin", "do"], False),
        (["begin", "do", EXPORT], True),
        (["do", EXPORT, "resume", "save"], True),
        (["do", EXPORT, "undo"], False),
        (["do", EXPORT, "do", EXPORT], True),
        (["do", "note"], False),
    ],
)
def test_a_review_is_exported_until_it_is_edited_again(kinds, expected):
    actions = [action("note", EXPORT) if kind == EXPORT else action(kind) for kind in kinds]
    assert is_exported(actions) is expected


def test_the_next_case_is_the_first_after_this_one_that_is_not_done_and_then_from_the_top():
    items = [WorkItem("a", Path()), done("b"), WorkItem("c", Path()), done("d")]
    order = {current: next_work(items, current) for current in ("a", "b", "c", "d", None, "elsewhere")}
    assert {current: item and item.subject for current, item in order.items()} == {
        "a": "c",
        "b": "c",
        "c": "a",
        "d": "a",
        None: "a",
        "elsewhere": "a",
    }
    assert next_work([done("a"), WorkItem("b", Path())], "b") is None


def test_a_case_with_lesions_left_is_not_done_though_it_was_exported():
    assert not WorkItem("a", Path(), True, 1, 2, True).is_done


def test_a_plan_of_an_export_names_what_goes_with_what_is_written(tmp_path):
    cases = make_case(tmp_path)
    flair = tmp_path / "flairs" / "sub-01_FLAIR.nii.gz"
    make_case(tmp_path / "other")
    (tmp_path / "other" / "cases").rename(tmp_path / "rater-Ada")
    sidecar = tmp_path / "rater-Ada" / "sub-01" / "anat" / "sub-01_desc-lesions.json"
    sidecar.write_text(sidecar.read_text().replace('"model"', '"rater": "Ada", "model"'))
    plan = {
        path.name: fate for path, fate in plan_export(tmp_path, "Ada", "01", flair, False, "copy").items()
    }
    assert plan == {
        "sub-01_FLAIR.nii.gz": "new",
        "sub-01_desc-type_dseg.nii.gz": "replaced",
        "sub-01_desc-instance_dseg.nii.gz": "replaced",
        "sub-01_desc-lesions.tsv": "replaced",
        "sub-01_desc-lesions.json": "replaced",
        "sub-01_desc-lesion_probseg.nii.gz": "removed",
        "sub-01_desc-qc.png": "removed",
    }
    assert cases.is_dir()


def test_a_review_is_resumed_from_its_journal_alone(tmp_path):
    session = open_session(tmp_path)
    session.do("Split", edits.split_k(session.lesions, 1, 2))
    session.do("Accept", edits.accept(session.lesions, [2]))
    session.undo()
    again = ReviewSession.resume(session.journal.path, "Bo")
    assert again.lesions.records == session.lesions.records
    assert (again.lesions.ids == session.lesions.ids).all()
    assert (again.undo_name, again.redo_name) == ("Split", "Accept")
    assert (again.actions[-1].kind, again.actions[-1].rater) == ("resume", "Bo")
    assert isinstance(again.lesions, LesionMap) and again.lesions.next_id == session.lesions.next_id


def test_the_last_edit_is_where_an_undo_was_recorded_and_no_note(tmp_path):
    session = open_session(tmp_path)
    assert session.last_edit == 0
    session.do("Accept", edits.accept(session.lesions, [2]))
    after_accept = session.journal.end
    session.undo()
    end = session.journal.end
    session.note("Exported", EXPORT)
    assert after_accept == session.last_edit < end
