"""The Run section with engines that fail or are cancelled: told in words, and nothing is left running."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fake_engines import SEGMENT, alive, calls_of
from heads import save_head
from run_section import load, segment, states, use_engine

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


def test_an_engine_known_to_be_incomplete_is_not_started(run: Any, flair: Path, tmp_path: Path) -> None:
    from LesionSegmenterLib.panel.engine_python import EngineState

    run.inputs.engine.state = EngineState("3.12", None, ("torch>=2.6",), False)
    load(run, flair)
    run.app.click(run.ui.runButton)
    assert "torch>=2.6" in run.ui.outcomeLabel.text and run.ui.packagesButton.visible
    assert calls_of(tmp_path) == []
