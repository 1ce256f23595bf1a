"""The Export section: what will be written is shown first, then written as it was shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="no PySide6: make .venv/slicer")

import slicer
import slicer.util

from LesionSegmenterLib import edits
from LesionSegmenterLib.export import complete_subjects, read_case
from LesionSegmenterLib.panel.settings import remembered
from LesionSegmenterLib.scene.io import open_segmentation_file
from panel_cases import csv_rows, lesion_ids, make_case, open_section, table, write_engine_case
from panel_lesions import review
from scene_cases import paint


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    return make_case(tmp_path)


@pytest.fixture
def app(panel: Any, cases: Path) -> Any:
    """The panel with a case of three lesions open for Ada, and its Export section in sight."""
    open_section(panel, "Export")
    give(panel, "raterEdit", "Ada")
    panel.panel.review.open_case(cases, "01", "Ada")
    return panel


def give(app: Any, name: str, text: str) -> None:
    """Type into a line edit of the section, and press Return."""
    app.type(getattr(app.ui("export"), name), text)
    app.key("Return", getattr(app.ui("export"), name))


def accept_all(app: Any) -> None:
    app.panel.review.do("Accept", lambda lesions: edits.accept(lesions, [1, 2, 3]))


def message(app: Any) -> str:
    return str(app.panel.ui.messageLabel.text)


def files_below(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_the_files_are_listed_before_they_are_written_and_nothing_else_is_written(app, cases):
    ui = app.ui("export")
    shown = table(ui.filesTable)
    assert {fate for _, fate in shown} == {"new"} and str(cases / "rater-Ada") in ui.filesLabel.text
    assert not (cases / "rater-Ada").exists()
    app.click(ui.exportButton)
    assert files_below(cases / "rater-Ada") == {name for name, _ in shown}
    assert {fate for name, fate in table(ui.filesTable)} == {"replaced"}


def test_a_picture_of_an_earlier_export_is_listed_as_removed_and_goes(app, cases):
    write_engine_case(cases / "rater-Ada", cases.parent / "flairs" / "sub-01_FLAIR.nii.gz", rater="Ada")
    app.panel.export.show_plan()
    assert ["sub-01_desc-qc.png", "removed"] in table(app.ui("export").filesTable)
    app.click(app.ui("export").exportButton)
    assert "sub-01_desc-qc.png" not in files_below(cases / "rater-Ada")


def test_export_writes_the_review_voxel_by_voxel_on_the_flairs_file_and_notes_it(app, cases):
    accept_all(app)
    app.panel.review.do("Reject", lambda lesions: edits.reject(lesions, [3]))
    app.click(app.ui("export").exportButton)
    case = read_case(cases / "rater-Ada", "01")
    assert [record.status for record in case.records] == ["accepted", "accepted", "rejected"]
    image = nib.load(case.paths["instances"])
    expected = np.where(lesion_ids() == 3, 0, lesion_ids())
    np.testing.assert_array_equal(np.asarray(image.dataobj), expected)  # though Slicer holds it flipped
    assert case.sidecar["rater"] == "Ada" and case.sidecar["model"]["name"] == "bright"
    last = app.panel.review.session.audit()[-1]
    assert (last.kind, last.tool) == ("note", "Export") and str(cases / "rater-Ada") in last.name


def test_what_was_painted_and_not_taken_in_is_exported(app, cases):
    scene = app.panel.review.scene
    paint(scene.node, 2, scene.lesions.ids == 3)  # 2 goes where 3 is, which keeps its own
    app.click(app.ui("export").exportButton)
    statuses = {record.lesion_id: record.voxels for record in read_case(cases / "rater-Ada", "01").records}
    assert 2 not in statuses and set(statuses) == {1, 3}


def test_the_rater_is_remembered_and_the_case_goes_on_under_the_name(app, cases):
    give(app, "raterEdit", "Bo Lund")
    accept_all(app)
    assert app.panel.review.session.actions[-1].rater == "Bo Lund"
    app.click(app.ui("export").exportButton)
    assert complete_subjects(cases / "rater-BoLund") == ["01"]
    assert remembered("rater") == "Bo Lund"


def test_an_empty_rater_becomes_the_login_name(app, monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "ada.l")
    give(app, "raterEdit", " ")
    assert app.ui("export").raterEdit.text == "ada.l"


def test_a_rater_whose_folder_is_anothers_is_told_so_and_cannot_export(app, cases):
    app.click(app.ui("export").exportButton)
    give(app, "raterEdit", "A. da")
    assert "holds cases of 'Ada'" in app.ui("export").filesLabel.text
    assert not app.ui("export").exportButton.enabled and table(app.ui("export").filesTable) == []


def test_a_folder_that_is_typed_is_used_and_remembered(app, tmp_path):
    give(app, "exportFolderEdit", str(tmp_path / "out"))
    app.click(app.ui("export").exportButton)
    assert complete_subjects(tmp_path / "out" / "rater-Ada") == ["01"]
    assert remembered("export_folder") == str(tmp_path / "out")


def test_a_folder_that_is_chosen_is_used(app, tmp_path):
    app.answer(str(tmp_path / "chosen"))
    app.click(app.ui("export").exportFolderButton)
    assert str(tmp_path / "chosen" / "rater-Ada") in app.ui("export").filesLabel.text


def test_a_case_that_was_opened_from_a_raters_folder_is_exported_beside_it(panel, cases):
    write_engine_case(cases / "rater-Ada", cases.parent / "flairs" / "sub-01_FLAIR.nii.gz", rater="Ada")
    panel.panel.review.open_case(cases / "rater-Ada", "01", "Ada")
    assert panel.panel.export.folder == cases


@pytest.mark.parametrize(
    ("choice", "is_right"),
    [
        ("Copy it into the case", lambda path: path.is_file() and not path.is_symlink()),
        ("Link to it from the case", Path.is_symlink),
        ("Record where it is", lambda path: not path.exists()),
    ],
)
def test_the_flair_is_copied_linked_or_recorded(app, cases, choice: str, is_right: Callable[[Path], bool]):
    app.choose(app.ui("export").keepFlairCombo, choice)
    kept = cases / "rater-Ada" / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz"
    listed = [kept.name, "new"] in table(app.ui("export").filesTable)
    app.click(app.ui("export").exportButton)
    assert is_right(kept) and listed == kept.exists()


def test_a_folder_that_cannot_be_written_is_named_and_the_case_stays(app, tmp_path):
    (tmp_path / "file").write_text("no folder")
    give(app, "exportFolderEdit", str(tmp_path / "file"))
    app.click(app.ui("export").exportButton)
    assert "file" in message(app) and "Choose a folder" in message(app)
    assert app.panel.review.is_open and not app.ui("export").doneLabel.text


def test_a_flair_of_no_file_cannot_be_exported_and_the_section_says_what_to_do(panel, tmp_path):
    review(panel.panel.review, tmp_path)
    assert "Save it as .nii.gz" in panel.ui("export").filesLabel.text
    assert not panel.ui("export").exportButton.enabled and panel.ui("export").copyTableButton.enabled


def test_without_a_case_there_is_nothing_to_press(panel):
    ui = panel.ui("export")
    for name in (
        "export",
        "finish",
        "saveSegmentation",
        "copyTable",
        "compare",
        "compareAgain",
        "endComparison",
    ):
        assert not getattr(ui, f"{name}Button").enabled
    assert "Open a case" in ui.filesLabel.text


def test_finish_exports_closes_and_empties_the_scene(app, cases):
    accept_all(app)
    app.click(app.ui("export").finishButton)
    assert all(record.status == "accepted" for record in read_case(cases / "rater-Ada", "01").records)
    assert not app.panel.review.is_open
    for kind in ("vtkMRMLSegmentationNode", "vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationDisplayNode"):
        assert slicer.util.getNodesByClass(kind) == []
    assert remembered("open_reviews") == []


def test_finish_exports_nothing_of_a_case_in_which_nothing_was_judged(app, cases):
    app.click(app.ui("export").finishButton)
    assert not (cases / "rater-Ada").exists() and not app.panel.review.is_open


def test_finish_does_not_export_again_what_was_exported(app, cases):
    accept_all(app)
    app.click(app.ui("export").exportButton)
    sidecar = read_case(cases / "rater-Ada", "01").paths["sidecar"]
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"mark": 1}))
    app.click(app.ui("export").finishButton)
    assert "mark" in sidecar.read_text()


def test_a_case_that_cannot_be_exported_is_not_finished(app, tmp_path):
    accept_all(app)
    (tmp_path / "file").write_text("no folder")
    give(app, "exportFolderEdit", str(tmp_path / "file"))
    app.click(app.ui("export").finishButton)
    assert app.panel.review.is_open and "Choose a folder" in message(app)


def test_the_segmentation_is_saved_and_opens_again(app, tmp_path):
    accept_all(app)
    app.answer(str(tmp_path / "mine"))  # the ending is added
    app.click(app.ui("export").saveSegmentationButton)
    opened = open_segmentation_file(tmp_path / "mine.seg.nrrd", app.panel.review.scene.flair)
    assert opened.lesions.records == app.panel.review.lesions.records
    assert str(tmp_path / "mine.seg.nrrd") in app.ui("export").doneLabel.text


def test_a_file_whose_name_was_completed_is_replaced_only_if_the_user_agrees(app, tmp_path, monkeypatch):
    (tmp_path / "mine.seg.nrrd").write_text("old")
    monkeypatch.setattr("LesionSegmenterLib.panel.dialogs.confirm", lambda _: False)
    app.answer(str(tmp_path / "mine"))
    app.click(app.ui("export").saveSegmentationButton)
    assert (tmp_path / "mine.seg.nrrd").read_text() == "old"


def test_no_file_is_saved_where_the_dialog_is_cancelled(app):
    app.answer("")
    app.click(app.ui("export").saveSegmentationButton)
    assert app.ui("export").doneLabel.text == "" and message(app) == ""


def test_the_table_is_copied_as_csv(app):
    accept_all(app)
    app.click(app.ui("export").copyTableButton)
    rows = csv_rows(slicer.app.clipboard().text())
    assert [(row["lesion_id"], row["type"], row["status"]) for row in rows] == [
        ("1", "MS", "accepted"),
        ("2", "stroke", "accepted"),
        ("3", "WMH", "accepted"),
    ]
    assert float(rows[0]["volume_mm3"]) == 2 * np.count_nonzero(lesion_ids() == 1)
