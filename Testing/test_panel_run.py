"""The Run section: the engine as a child process on the chosen FLAIR, or on a list of files."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from fake_engines import calls_of
from heads import LESIONS, centred_affine, save_head
from run_section import load, segment, states


def test_the_chosen_flair_is_segmented_and_its_lesions_are_opened(run: Any, flair: Path) -> None:
    import slicer.util

    node = load(run, flair)
    segment(run)
    assert states(run) == ["done: 1 lesion"]
    assert list(run.review.lesions.records) == [1]
    assert run.review.session.rater
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == [node]  # and not loaded once more
    assert run.panel.told == []


def test_a_model_of_ours_runs_and_finds_what_is_bright(
    run: Any, flair: Path, bright: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from LesionSegmenterLib.panel.settings import remember

    monkeypatch.setenv("LESION_SEGMENTER_MODELS", str(bright.parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    remember("python", "")
    run.inputs.refresh_models()
    run.app.choose(run.inputs.ui.modelComboBox, "bright 1.0")
    load(run, flair)
    shares = []
    run._process.event.connect(lambda told: shares.append(told.get("fraction", 1.0)))
    run.app.click(run.ui.runButton)
    run.app.wait(lambda: not run.running, 120)
    assert states(run) == [f"done: {len(LESIONS)} lesions"]
    assert len(run.review.lesions.records) == len(LESIONS)
    assert shares == sorted(shares) and len(set(shares)) > 4


def test_files_are_segmented_one_after_the_other_and_the_first_is_opened(
    run: Any, flair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = save_head(tmp_path / "sub-02_FLAIR.nii.gz")
    run.app.answer([str(flair), str(second)])
    run.app.click(run.ui.addFilesButton)
    assert states(run) == ["waiting", "waiting"]
    segment(run)
    assert states(run) == ["done: 1 lesion", "done: 1 lesion"]
    assert [call[call.index("--subject") + 1] for call in calls_of(tmp_path)] == ["01", "02"]
    assert run.review.subject == "01"
    run.app.double_click_row(run.ui.queueTable, 1, 2)
    assert run.review.subject == "02"


def test_the_choices_of_the_inputs_reach_the_engine(run: Any, flair: Path, tmp_path: Path) -> None:
    load(run, flair)
    run.inputs.ui.t1Selector.setCurrentNode(load_other(run, tmp_path))
    run.inputs.use_parameters(
        SimpleNamespace(
            AddObserver=lambda *_: 0,
            RemoveObserver=lambda _: None,
            model="bright",
            split="acls",
            device="cpu",
        )
    )
    segment(run)
    (call,) = calls_of(tmp_path)
    assert call[:4] == ["-m", "LesionSegmenterLib.cli", "segment", str(flair)]
    given = {
        name: call[call.index(f"--{name}") + 1] for name in ("model", "split", "device", "t1", "progress")
    }
    assert given == {
        "model": "bright",
        "split": "acls",
        "device": "cpu",
        "t1": str(tmp_path / "t1.nii.gz"),
        "progress": "json",
    }


def load_other(run: Any, folder: Path) -> Any:
    from LesionSegmenterLib.scene.files import load_flair

    return load_flair(save_head(folder / "t1.nii.gz"))


def test_an_image_that_was_altered_in_slicer_is_segmented_as_it_is_now(
    run: Any, flair: Path, tmp_path: Path
) -> None:
    import slicer.util

    node = load(run, flair)
    slicer.util.arrayFromVolume(node)[0, 0, 0] = 777
    slicer.util.arrayFromVolumeModified(node)
    segment(run)
    (call,) = calls_of(tmp_path)
    written = Path(call[3])
    assert written != flair and not written.exists()
    case = tmp_path / "out" / "sub-01" / "anat"
    (kept,) = case.glob("*_FLAIR.nii.gz")
    image = nib.load(kept)
    assert 777 in np.asarray(image.dataobj)
    assert np.allclose(image.affine, nib.load(flair).affine)
    sidecar = json.loads(next(case.glob("*_desc-lesions.json")).read_text())
    assert sidecar["flair"]["file"] == kept.name
    assert run.review.is_open
    assert np.asarray(nib.load(flair).dataobj)[0, 0, 0] != 777


def test_an_image_without_a_file_is_segmented_too(run: Any, tmp_path: Path) -> None:
    import slicer.util

    matrix = slicer.util.vtkMatrixFromArray(centred_affine())
    array = np.random.default_rng(0).integers(0, 9, (18, 19, 20)).astype(np.int16)
    node = slicer.util.addVolumeFromArray(array, matrix, "Made here")
    run.inputs.ui.flairSelector.setCurrentNode(node)
    segment(run)
    assert states(run) == ["done: 1 lesion"]
    assert (tmp_path / "out" / "sub-Madehere" / "anat" / "sub-Madehere_FLAIR.nii.gz").is_file()


def test_a_flair_under_a_transform_is_refused(run: Any, flair: Path, tmp_path: Path) -> None:
    import slicer

    node = load(run, flair)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Moved")
    node.SetAndObserveTransformNodeID(transform.GetID())
    run.app.click(run.ui.runButton)
    assert "'Moved'" in run.ui.outcomeLabel.text and calls_of(tmp_path) == []


def test_a_sheared_file_is_refused_before_the_engine_works_on_it(run: Any, tmp_path: Path) -> None:
    affine = centred_affine()
    affine[0, 1] = 0.3
    path = tmp_path / "sub-09_FLAIR.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((6, 6, 6), np.int16), affine), path)
    run.queue(path)
    run.app.click(run.ui.runButton)
    assert "sheared" in run.ui.outcomeLabel.text and calls_of(tmp_path) == []
    assert states(run) == ["failed"]


def test_a_subject_can_be_edited_while_it_waits(run: Any, flair: Path, tmp_path: Path) -> None:
    run.queue(flair)
    run.queue(tmp_path / "other" / "sub-01_FLAIR.nii.gz")
    table = run.ui.queueTable
    assert [table.item(row, 0).text() for row in range(2)] == ["01", "012"]
    table.item(1, 0).setText("Ada7")
    assert table.item(1, 0).text() == "Ada7"
    table.item(1, 0).setText("01")
    assert "another image's" in run.panel.told[-1] and table.item(1, 0).text() == "Ada7"
    table.item(1, 0).setText("A/7")
    assert "not a subject ID" in run.panel.told[-1] and table.item(1, 0).text() == "Ada7"


def test_the_list_can_be_shortened(run: Any, flair: Path, tmp_path: Path) -> None:
    run.queue(flair)
    run.queue(tmp_path / "sub-02_FLAIR.nii.gz")
    assert not run.ui.removeButton.enabled
    run.app.click_row(run.ui.queueTable, 0)
    run.app.click(run.ui.removeButton)
    assert run.ui.queueTable.rowCount == 1 and run.ui.queueTable.item(0, 0).text() == "02"


def test_without_a_flair_the_user_is_told_to_choose_one(run: Any) -> None:
    run.app.click(run.ui.addButton)
    assert "choose it in Inputs" in run.panel.told[-1]


def test_the_chosen_flair_can_be_put_into_the_list(run: Any, flair: Path) -> None:
    load(run, flair)
    run.app.click(run.ui.addButton)
    run.app.click(run.ui.addButton)
    assert states(run) == ["waiting"]


def test_the_output_folder_is_chosen_and_remembered(run: Any, tmp_path: Path) -> None:
    from LesionSegmenterLib.panel.settings import remembered

    run.app.answer(str(tmp_path))
    run.app.click(run.ui.outputButton)
    assert run.ui.outputLineEdit.text == str(tmp_path) == remembered("output")
    run.app.type(run.ui.outputLineEdit, " ")
    run.queue(tmp_path / "sub-02_FLAIR.nii.gz")
    run.app.click(run.ui.runButton)
    assert "no output folder" in run.panel.told[-1]


def test_a_case_that_is_there_is_replaced_only_if_the_user_agrees(
    run: Any, flair: Path, tmp_path: Path
) -> None:
    import qt

    run.queue(flair)
    segment(run)
    run.review.close()
    for journal in (tmp_path / "out").rglob("*journal*"):
        journal.unlink()
    run.queue(flair)
    run.app.answer(qt.QMessageBox.No)
    run.app.click(run.ui.runButton)
    assert states(run)[1].startswith("cancelled") and len(calls_of(tmp_path)) == 1
    run.queue(flair)
    run.app.answer(qt.QMessageBox.Yes)
    segment(run)
    assert len(calls_of(tmp_path)) == 2


def test_what_is_added_during_a_run_is_run_too_but_replaces_nothing(
    run: Any, flair: Path, tmp_path: Path
) -> None:
    run.queue(flair)
    run.app.click(run.ui.runButton)
    run.queue(save_head(tmp_path / "sub-02_FLAIR.nii.gz"))
    run.queue(flair)
    run.app.wait(lambda: not run.running)
    assert states(run) == ["done: 1 lesion", "done: 1 lesion", "failed"]
    assert len(calls_of(tmp_path)) == 2


def test_a_case_with_a_review_is_never_replaced(run: Any, flair: Path, tmp_path: Path) -> None:
    run.queue(flair)
    segment(run)
    run.queue(flair)
    run.app.click(run.ui.runButton)
    assert "has a review" in run.ui.outcomeLabel.text and len(calls_of(tmp_path)) == 1


def test_a_result_is_opened_from_the_list(run: Any, flair: Path) -> None:
    run.queue(flair)
    segment(run)
    run.review.close()
    run.app.click_row(run.ui.queueTable, 0)
    run.app.click(run.ui.openButton)
    assert run.review.subject == "01"
