"""The Worklist section: how far each case of a folder is, and the way from one case to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="no PySide6: make .venv/slicer")

import slicer
import slicer.util

from LesionSegmenterLib import edits
from LesionSegmenterLib.export import complete_subjects
from LesionSegmenterLib.panel.settings import remember, remembered
from LesionSegmenterLib.review import journal_path
from panel_cases import make_case, open_section, table, write_flair


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Three FLAIRs in ``flairs``; the cases of 01 and 03 in ``cases``, 02 is not segmented."""
    for subject in ("01", "03"):
        make_case(tmp_path, subject)
    write_flair(tmp_path / "flairs" / "sub-02_FLAIR.nii.gz")
    return tmp_path


@pytest.fixture
def app(panel: Any, work: Path) -> Any:
    """The panel with the folder's FLAIRs listed, and exports going to ``out``."""
    panel.ui("run").outputLineEdit.text = str(work / "cases")
    panel.ui("export").exportFolderEdit.text = str(work / "out")
    remember("rater", "Ada")
    open_section(panel, "Worklist")
    list_folder(panel, work / "flairs")
    return panel


def list_folder(app: Any, folder: Path) -> None:
    edit = app.ui("worklist").flairsFolderEdit
    app.type(edit, str(folder))
    app.key("Return", edit)
    settle(app)


def settle(app: Any) -> None:
    """Let the list be read."""
    app.wait(lambda: "…" not in {cell for row in rows(app) for cell in row})


def rows(app: Any) -> list[list[str]]:
    return table(app.ui("worklist").casesTable)


def judge(app: Any, *ids: int) -> None:
    app.panel.review.do("Accept", lambda lesions: edits.accept(lesions, ids))


def open_row(app: Any, row: int) -> None:
    app.double_click_row(app.ui("worklist").casesTable, row)


def message(app: Any) -> str:
    return str(app.panel.ui.messageLabel.text)


@pytest.fixture
def runs(app: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The FLAIRs that Run was told to segment, without a process."""
    began: list[str] = []

    def begin() -> None:
        began.extend(job.source.name for job in app.panel.run._queue.waiting)

    monkeypatch.setattr(app.panel.run, "run", begin)
    return began


def test_the_list_says_what_is_segmented_reviewed_and_exported(app, work):
    assert rows(app) == [
        ["01", "yes", "0 of 3", "no"],
        ["02", "no", "", ""],
        ["03", "yes", "0 of 3", "no"],
    ]
    open_row(app, 0)
    judge(app, 1, 2)
    app.panel.export.export_case()
    assert rows(app)[0] == ["01", "yes", "2 of 3", "yes"]
    judge(app, 3)
    app.click(app.ui("worklist").refreshButton)
    settle(app)
    assert rows(app)[0] == ["01", "yes", "3 of 3", "no"]  # edited since it was exported
    assert app.ui("worklist").worklistLabel.text.startswith("3 cases: 2 segmented, 0 reviewed and exported")


def test_a_bids_data_set_is_listed_by_subject_and_session(app, tmp_path):
    for session in ("01", "02"):
        write_flair(
            tmp_path / "bids" / "sub-7" / f"ses-{session}" / "anat" / f"sub-7_ses-{session}_FLAIR.nii.gz"
        )
    app.answer(str(tmp_path / "bids"))
    app.click(app.ui("worklist").flairsFolderButton)
    settle(app)
    assert [row[0] for row in rows(app)] == ["7ses01", "7ses02"]
    assert remembered("flairs_folder") == str(tmp_path / "bids")


def test_a_folder_without_flairs_is_told_in_the_section(app, tmp_path):
    (tmp_path / "empty").mkdir()
    list_folder(app, tmp_path / "empty")
    assert "no FLAIR here" in app.ui("worklist").worklistLabel.text and rows(app) == []
    assert not app.ui("worklist").nextCaseButton.enabled and not app.ui("worklist").segmentButton.enabled


def test_a_flair_that_comes_into_the_folder_is_listed_after_refresh(app, work):
    write_flair(work / "flairs" / "sub-00_FLAIR.nii.gz")
    app.click(app.ui("worklist").refreshButton)
    settle(app)
    assert [row[0] for row in rows(app)] == ["00", "01", "02", "03"]


def test_a_damaged_case_is_marked_and_says_why(app, work):
    journal_path(work / "cases", "03").write_bytes(b"no journal")
    app.click(app.ui("worklist").refreshButton)
    settle(app)
    assert rows(app)[2] == ["03", "damaged", "", ""]
    open_row(app, 2)
    assert "not the journal of a review" in message(app) and not app.panel.review.is_open


def test_a_double_click_opens_a_segmented_case(app):
    open_row(app, 2)
    assert app.panel.review.subject == "03" and message(app) == ""


def test_a_double_click_has_another_case_segmented(app, runs):
    open_row(app, 1)
    assert runs == ["sub-02_FLAIR.nii.gz"] and "sub-02 is segmented in Run" in message(app)


def test_another_case_takes_the_place_of_the_open_one_whose_edits_stay_in_its_journal(app):
    open_row(app, 0)
    judge(app, 1)
    open_row(app, 2)
    assert app.panel.review.subject == "03"
    assert [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")] == [
        "03 lesions"
    ]
    open_row(app, 0)
    assert app.panel.review.lesions.records[1].status == "accepted"


def test_segment_queues_what_is_not_segmented(app):
    app.click(app.ui("worklist").segmentButton)
    assert [job.source.name for job in app.panel.run._queue.waiting] == ["sub-02_FLAIR.nii.gz"]
    assert "1 cases are queued" in message(app)


def test_segment_queues_of_the_selected_cases_only(app):
    app.click_row(app.ui("worklist").casesTable, 0)
    app.click(app.ui("worklist").segmentButton)
    assert app.panel.run._queue.waiting == [] and "every case is segmented" in message(app)


def test_next_case_exports_this_one_and_opens_the_next_that_is_segmented(app, work, runs):
    open_row(app, 0)
    judge(app, 1, 2, 3)
    app.click(app.ui("worklist").nextCaseButton)
    assert complete_subjects(work / "out" / "rater-Ada") == ["01"]
    assert rows(app)[0] == ["01", "yes", "3 of 3", "yes"]
    assert not app.panel.review.is_open and runs == ["sub-02_FLAIR.nii.gz"]  # the next is to be segmented
    app.click(app.ui("worklist").nextCaseButton)
    assert app.panel.review.subject == "03"


def test_next_case_comes_round_to_cases_that_are_not_done_and_passes_those_that_are(app, work, runs):
    open_row(app, 0)
    judge(app, 1, 2, 3)
    app.panel.export.finish()
    open_row(app, 2)
    judge(app, 1)
    app.click(app.ui("worklist").nextCaseButton)
    assert runs == ["sub-02_FLAIR.nii.gz"]  # round the end and past 01, which is done


def test_next_case_says_when_no_other_is_left(app, work):
    (work / "flairs" / "sub-02_FLAIR.nii.gz").unlink()
    for row in (0, 1):
        app.click(app.ui("worklist").refreshButton)
        settle(app)
        open_row(app, row)
        judge(app, 1, 2, 3)
        app.panel.export.finish()
    app.click(app.ui("worklist").nextCaseButton)
    assert "no other case" in message(app)
    assert app.ui("worklist").worklistLabel.text == "2 cases: 2 segmented, 2 reviewed and exported."


def test_a_case_that_cannot_be_exported_stays_open(app, work):
    (work / "out").write_text("no folder")
    open_row(app, 0)
    judge(app, 1)
    app.click(app.ui("worklist").nextCaseButton)
    assert app.panel.review.subject == "01" and "Choose a folder" in message(app)


def test_the_folder_is_remembered_for_the_next_time(app, work):
    app.widget.exit()
    app.panel.worklist.model.clear()
    app.widget.enter()
    settle(app)
    assert len(rows(app)) == 3 and remembered("flairs_folder") == str(work / "flairs")
