"""The Run section: the engine as a child process, with engines that work and engines that fail."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from fake_engines import SEGMENT, alive, calls_of, fake_python
from heads import LESIONS, centred_affine, save_head


@pytest.fixture
def flair(tmp_path: Path) -> Path:
    return save_head(tmp_path / "sub-01_FLAIR.nii.gz")


@pytest.fixture
def run(section: Any, tmp_path: Path) -> Any:
    """The Run section, with the Inputs that it stands on, and an engine that finds one lesion."""
    inputs = section("inputs", "InputsSection")
    section.app.window._cpp._panel.takeWidget()  # which the next section would otherwise delete
    inputs.widget.show()
    made = section("run", "RunSection", inputs=inputs)
    section.app.type(made.ui.outputLineEdit, str(tmp_path / "out"))
    made.app, made.inputs = section.app, inputs
    use_engine(made, tmp_path, SEGMENT)
    return made


def use_engine(run: Any, folder: Path, body: str) -> None:
    """As the user's choice of another Python, without the check of its packages."""
    from LesionSegmenterLib.panel.settings import remember

    remember("python", fake_python(folder, body))


def segment(run: Any) -> None:
    run.app.click(run.ui.runButton)
    run.app.wait(lambda: not run.running)


def load(run: Any, path: Path) -> Any:
    from LesionSegmenterLib.scene_files import load_flair

    node = load_flair(path)
    run.inputs.ui.flairSelector.setCurrentNode(node)
    return node


def states(run: Any) -> list[str]:
    table = run.ui.queueTable
    return [table.item(row, 2).text() for row in range(table.rowCount)]


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
    from LesionSegmenterLib.scene_files import load_flair

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


FAILURES = {
    "exits with a line": ("sys.exit('lesion-segmenter: the model is cursed')", "the model is cursed", ""),
    "tells an error": ("tell('error', message='x.nii: bad image', status=2); sys.exit(2)", "bad image", ""),
    "is killed": ("os.kill(os.getpid(), signal.SIGKILL)", "killed from outside", ""),
    "crashes": ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed", "install"),
    "prints rubbish": ("print('{\\n]\\0'); sys.stdout.buffer.write(bytes(range(256)))", "gave no result", ""),
    "runs out of memory": (
        "tell('error', message='unexpected OutOfMemoryError: CUDA out of memory.', status=1); sys.exit(1)",
        "graphics card's memory",
        "cpu",
    ),
    "runs out of the computer's memory": (
        "sys.exit('RuntimeError: DefaultCPUAllocator: can not allocate memory')",
        "computer's memory",
        "",
    ),
    "lacks a package": ("import package_that_is_not_there", "package_that_is_not_there", "install"),
    "says nothing": ("sys.exit(7)", "status 7", ""),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_an_engine_that_fails_is_explained(run: Any, flair: Path, tmp_path: Path, failure: str) -> None:
    body, words, remedy = FAILURES[failure]
    use_engine(run, tmp_path, body)
    load(run, flair)
    segment(run)
    assert words in run.ui.outcomeLabel.text
    assert run.ui.cpuButton.visible == (remedy == "cpu")
    assert run.ui.packagesButton.visible == (remedy == "install")
    assert states(run) == ["failed"]
    assert not run.review.is_open and run.ui.runButton.enabled
    assert not (tmp_path / "out").exists()


def test_a_program_that_does_not_start_is_explained(run: Any, flair: Path, tmp_path: Path) -> None:
    from LesionSegmenterLib.panel.settings import remember

    remember("python", str(tmp_path / "nowhere" / "python"))
    load(run, flair)
    run.app.click(run.ui.runButton)
    assert "cannot be started" in run.ui.outcomeLabel.text and "Inputs" in run.ui.outcomeLabel.text
    assert not run.running and run.ui.runButton.enabled


def test_what_did_not_fit_on_the_card_runs_on_the_processor_at_a_click(
    run: Any, flair: Path, tmp_path: Path
) -> None:
    out_of_memory = "if option('--device') != 'cpu': sys.exit('torch.OutOfMemoryError: CUDA out of memory')\n"
    use_engine(run, tmp_path, out_of_memory + SEGMENT)
    load(run, flair)
    segment(run)
    run.app.click(run.ui.cpuButton)
    run.app.wait(lambda: not run.running)
    assert states(run) == ["done: 1 lesion"]
    assert not run.ui.outcomeLabel.visible and not run.ui.cpuButton.visible


def test_the_last_lines_are_shown_and_all_of_the_log_at_a_click(
    run: Any, flair: Path, tmp_path: Path
) -> None:
    use_engine(run, tmp_path, "for n in range(30): print('line', n, file=sys.stderr)\nsys.exit(1)")
    load(run, flair)
    segment(run)
    assert "line 29" in run.ui.outcomeLabel.text and "line 2\n" not in run.ui.outcomeLabel.text
    assert not run.ui.logView.visible
    run.app.click(run.ui.logButton)
    assert run.ui.logView.visible
    assert "line 2\n" in run.ui.logView.toPlainText()


# The process and one that it starts, which lives on where only the first is killed.
_TREE = """
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("tree", os.getpid(), child.pid, flush=True)
tell("progress", stage="predicting", done=1, total=9, fraction=0.3)
{more}
time.sleep(60)
"""


def start_tree(run: Any, flair: Path, folder: Path, more: str = "") -> list[int]:
    use_engine(run, folder, _TREE.format(more=more))
    load(run, flair)
    run.app.click(run.ui.runButton)
    run.app.wait(lambda: run._process.log)
    run.app.wait(lambda: run.ui.progressBar.value == 30)
    pids = [int(word) for word in run._process.log[0].split()[1:]]
    assert all(map(alive, pids))
    return pids


def test_cancel_ends_the_process_and_all_that_it_started(run: Any, flair: Path, tmp_path: Path) -> None:
    pids = start_tree(run, flair, tmp_path)
    run.queue(tmp_path / "sub-02_FLAIR.nii.gz")
    assert "finding lesions" in run.ui.stageLabel.text
    run.app.click(run.ui.cancelButton)
    run.app.wait(lambda: not run.running)
    run.app.wait(lambda: not any(map(alive, pids)))
    assert states(run) == ["cancelled", "waiting"]
    assert run.ui.runButton.enabled and not run.ui.cancelButton.enabled and not run.ui.progressBar.visible


def test_what_a_launcher_has_started_may_tidy_up_before_it_ends(
    run: Any, flair: Path, tmp_path: Path
) -> None:
    """PythonSlicer is such a launcher: it ends at once, and leaves the engine behind."""
    tidies = tmp_path / "tidies.py"
    tidies.write_text(
        "import signal, sys, time\n"
        "from pathlib import Path\n"
        "def tidy(*_):\n"
        "    time.sleep(0.3)\n"
        "    Path(sys.argv[1]).write_text('done')\n"
        "    sys.exit(3)\n"
        "signal.signal(signal.SIGTERM, tidy)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    tidied = tmp_path / "tidied"
    use_engine(run, tmp_path, f"subprocess.run([sys.executable, {str(tidies)!r}, {str(tidied)!r}])")
    load(run, flair)
    run.app.click(run.ui.runButton)
    run.app.wait(lambda: run._process.log == ["ready"])
    run.app.click(run.ui.cancelButton)
    run.app.wait(lambda: not run.running)
    assert tidied.read_text() == "done" and states(run) == ["cancelled"]


def test_a_process_that_does_not_listen_is_killed(
    run: Any, flair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from LesionSegmenterLib.panel import engine_process

    monkeypatch.setattr(engine_process, "GRACE_SECONDS", 0.2)
    pids = start_tree(
        run, flair, tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)"
    )
    run.app.wait(lambda: "deaf" in run._process.log)
    run.app.click(run.ui.cancelButton)
    run.app.wait(lambda: not run.running)
    run.app.wait(lambda: not any(map(alive, pids)))


def test_what_a_crashed_engine_leaves_behind_is_ended(run: Any, flair: Path, tmp_path: Path) -> None:
    pids = start_tree(run, flair, tmp_path, "time.sleep(0.3); os.kill(os.getpid(), signal.SIGKILL)")
    run.app.wait(lambda: not run.running)
    run.app.wait(lambda: not any(map(alive, pids)))
    assert "killed from outside" in run.ui.outcomeLabel.text


@pytest.mark.parametrize("event", ["the scene closes", "the module is unloaded"])
def test_nothing_is_left_running_when(panel: Any, flair: Path, tmp_path: Path, event: str) -> None:
    import slicer

    run = panel.panel.run
    run.app, run.inputs = panel, panel.panel.inputs
    panel.type(run.ui.outputLineEdit, str(tmp_path / "out"))
    pids = start_tree(run, flair, tmp_path)
    run.queue(tmp_path / "sub-02_FLAIR.nii.gz")
    if event == "the scene closes":
        slicer.mrmlScene.Clear(0)
        assert states(run) == ["cancelled", "waiting"]
        assert run.ui.runButton.enabled and not run.ui.progressBar.visible
        use_engine(run, tmp_path, SEGMENT)
        save_head(tmp_path / "sub-02_FLAIR.nii.gz")
        segment(run)
        assert states(run) == ["cancelled", "done: 1 lesion"] and run.review.subject == "02"
    else:
        slicer.app._cpp.moduleManager()._unload("LesionSegmenter")
        panel.widget = None
    run.app.wait(lambda: not any(map(alive, pids)))


def test_a_flood_of_output_leaves_the_window_alive(run: Any, flair: Path, tmp_path: Path) -> None:
    use_engine(run, tmp_path, "while True: print('y' * 40)")
    load(run, flair)
    run.app.click(run.ui.runButton)
    ticks = []
    import qt

    timer = qt.QTimer()
    timer.setInterval(10)
    tick = ticks.append
    timer.timeout.connect(lambda: tick(1))
    timer.start()
    run.app.wait(lambda: len(ticks) > 20 and run._process.log)
    timer.stop()
    run.app.click(run.ui.cancelButton)
    run.app.wait(lambda: not run.running)


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


def test_an_engine_known_to_be_incomplete_is_not_started(run: Any, flair: Path, tmp_path: Path) -> None:
    from LesionSegmenterLib.panel.engine_python import EngineState

    run.inputs.engine.state = EngineState("3.12", None, ("torch>=2.6",), False)
    load(run, flair)
    run.app.click(run.ui.runButton)
    assert "torch>=2.6" in run.ui.outcomeLabel.text and run.ui.packagesButton.visible
    assert calls_of(tmp_path) == []
