"""Nothing of a review is lost, whatever ends in the middle of it: Slicer, the scene, the module, a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="no PySide6: make .venv/slicer")

import slicer
import slicer.util
from PySide6.QtCore import QSettings

from LesionSegmenterLib import edits
from LesionSegmenterLib.panel.settings import remember, remembered
from LesionSegmenterLib.review import ReviewSession, journal_path
from panel_cases import make_case, write_flair
from panel_lesions import grid_of_lesions
from scene_cases import paint

_REVIEWER = """
import os, sys
from pathlib import Path
from panel_app import PanelApp
from LesionSegmenterLib import edits
import slicer
app = PanelApp()
app.open()
app.panel.review.open_case(Path(sys.argv[1]), "01", "Ada")
app.panel.review.do("Accept", lambda lesions: edits.accept(lesions, [2]))
app.panel.review.do("Split", lambda lesions: edits.split_k(lesions, 1, 2))
app.process()
print("SETTINGS", slicer.app.userSettings().fileName(), flush=True)
app.process(60)
"""


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    return make_case(tmp_path)


@pytest.fixture
def app(panel: Any, cases: Path) -> Any:
    """The panel with a case open, in which lesion 2 was accepted."""
    remember("rater", "Ada")
    panel.panel.review.open_case(cases, "01", "Ada")
    accept(panel, 2)
    return panel


def accept(app: Any, *ids: int) -> None:
    app.panel.review.do("Accept", lambda lesions: edits.accept(lesions, ids))


def statuses(app: Any) -> list[str]:
    return [record.status for record in app.panel.review.lesions.records.values()]


def offered(app: Any) -> list[str]:
    """What the row at the top of the panel offers; nothing where it is hidden."""
    app.process(0.05)
    recovery = app.panel.recovery
    combo = recovery.ui.reviewCombo
    return [combo.itemText(n) for n in range(combo.count)] if recovery.widget.visible else []


def resume(app: Any) -> None:
    app.click(app.panel.recovery.ui.resumeButton)


def message(app: Any) -> str:
    return str(app.panel.ui.messageLabel.text)


def test_a_review_is_resumed_after_slicer_was_killed_in_the_middle_of_it(panel, cases):
    command = [sys.executable, "-c", _REVIEWER, str(cases)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent) as child:
        assert child.stdout is not None
        line = next(line for line in child.stdout if line.startswith("SETTINGS"))
        child.send_signal(signal.SIGKILL)
    kept = QSettings(line.split(" ", 1)[1].strip(), QSettings.Format.IniFormat)
    remember("open_reviews", json.loads(str(kept.value("LesionSegmenter/open_reviews"))))
    panel.widget.exit()
    panel.widget.enter()
    (text,) = offered(panel)
    assert "sub-01: 3 of 4 reviewed" in text
    resume(panel)
    assert statuses(panel) == ["accepted", "proposed", "edited", "edited"]
    assert panel.panel.review.session.undo_name == "Split" and offered(panel) == []


def test_nothing_is_offered_to_a_new_user_nor_while_a_case_is_open(panel, cases):
    assert offered(panel) == []
    panel.panel.review.open_case(cases, "01", "Ada")
    assert offered(panel) == []
    panel.widget.exit()
    panel.widget.enter()
    assert offered(panel) == [] and panel.panel.review.is_open


def test_a_review_whose_scene_was_closed_is_offered_and_resumed(app):
    slicer.mrmlScene.Clear(0)
    assert not app.panel.review.is_open and len(offered(app)) == 1
    resume(app)
    assert statuses(app) == ["proposed", "accepted", "proposed"]


def test_what_was_painted_when_the_scene_closed_is_kept(app):
    scene = app.panel.review.scene
    paint(scene.node, 3, (scene.lesions.ids == 3) & (np.arange(scene.lesions.shape[0]) > 4)[:, None, None])
    slicer.mrmlScene.Clear(0)
    offered(app)
    resume(app)
    assert app.panel.review.session.undo_name == "Paint L0003"
    assert app.panel.review.lesions.records[3].voxels == 1 * 3 * 2


def test_a_case_whose_node_the_user_deletes_is_closed_without_a_lesion_lost(app):
    slicer.mrmlScene.RemoveNode(app.panel.review.scene.node)
    assert not app.panel.review.is_open and len(offered(app)) == 1
    resume(app)
    assert statuses(app) == ["proposed", "accepted", "proposed"]
    slicer.mrmlScene.RemoveNode(app.panel.review.scene.flair)
    assert not app.panel.review.is_open


def test_a_scene_that_closes_during_a_run_ends_it_and_the_review_is_offered(app, tmp_path, monkeypatch):
    from LesionSegmenterLib.panel.engine_python import Engine

    pid_file = tmp_path / "pid"
    endless = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    monkeypatch.setattr(Engine, "command", lambda *_: [sys.executable, "-c", endless])
    app.panel.run.ui.outputLineEdit.text = str(tmp_path / "out")
    app.panel.run.queue(write_flair(tmp_path / "sub-09_FLAIR.nii.gz"))
    app.panel.run.run()
    app.wait(lambda: pid_file.exists() and pid_file.read_text())
    slicer.mrmlScene.Clear(0)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
    assert not app.panel.run.running and len(offered(app)) == 1


def test_the_module_is_reloaded_and_goes_on_with_the_case_on_the_node_it_had(app):
    node = app.panel.review.scene.node
    paint(node, 2, app.panel.review.scene.lesions.ids == 2 + 1)  # all of 2 is erased: not taken in yet
    reload(app)
    review = app.panel.review
    assert review.is_open and review.scene.node is node and set(review.lesions.records) == {1, 3}
    accept(app, 1)
    slicer.mrmlScene.Clear(0)  # the observers are in another order now
    offered(app)
    resume(app)
    assert statuses(app) == ["accepted", "proposed"]
    assert review.origin["model"]["name"] == "bright"


def reload(app: Any) -> None:
    """What Slicer's Reload button does."""
    slicer.util.reloadScriptedModule("LesionSegmenter")
    app.widget = slicer.util.getModuleWidget("LesionSegmenter")
    app.process()


def test_a_reloaded_module_does_not_take_up_a_case_that_was_finished(app):
    app.panel.recovery.forget(app.panel.review.folder, "01")
    app.panel.review.close()
    reload(app)
    assert not app.panel.review.is_open and offered(app) == []


def test_a_review_that_is_forgotten_is_offered_no_more_and_its_files_stay(app, cases):
    slicer.mrmlScene.Clear(0)
    offered(app)
    app.click(app.panel.recovery.ui.forgetButton)
    assert offered(app) == [] and remembered("open_reviews") == []
    app.panel.review.open_case(cases, "01", "Ada")
    assert statuses(app) == ["proposed", "accepted", "proposed"]


def test_of_several_reviews_the_last_is_offered_first_and_any_can_be_chosen(app, tmp_path):
    make_case(tmp_path / "second", "02")
    app.panel.review.open_case(tmp_path / "second" / "cases", "02", "Ada")
    slicer.mrmlScene.Clear(0)
    assert [text.split(":")[0] for text in offered(app)] == ["sub-02", "sub-01"]
    assert "2 reviews" in app.panel.recovery.ui.recoveryLabel.text
    app.choose(app.panel.recovery.ui.reviewCombo, offered(app)[1])
    resume(app)
    assert app.panel.review.subject == "01"


def test_a_saved_scene_is_taken_up_where_the_journal_ends_with_model_and_probability(app, tmp_path, cases):
    node_name = app.panel.review.scene.node.GetName()
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    accept(app, 1)  # after the scene was saved
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    app.process()
    review = app.panel.review
    assert review.is_open and review.scene.node.GetName() == node_name
    assert statuses(app) == ["accepted", "accepted", "proposed"] and review.lesions.probability is not None
    app.panel.export.export_case()
    assert offered(app) == [] and message(app) == ""


def test_what_was_painted_when_the_scene_was_saved_is_taken_in_when_it_is_loaded(app, tmp_path):
    scene = app.panel.review.scene
    paint(scene.node, 3, (scene.lesions.ids == 3) & (np.arange(scene.lesions.shape[0]) > 4)[:, None, None])
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    app.panel.recovery._observers, kept = [], app.panel.recovery._observers
    for observer in kept:  # as after a crash: nobody takes the painting in
        slicer.mrmlScene.RemoveObserver(observer)
    app.panel.review.close()
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert app.panel.review.lesions.records[3].voxels == 6
    assert statuses(app)[1] == "accepted"


def test_a_scene_whose_journal_is_gone_says_what_to_open(app, tmp_path, cases):
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    journal_path(cases, "01").unlink()
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert not app.panel.review.is_open and "Open the case folder instead" in message(app)


def test_a_review_of_no_case_folder_is_resumed_from_its_journal_and_its_flairs_file(panel, tmp_path):
    flair = slicer.util.loadVolume(str(write_flair(tmp_path / "sub-05_FLAIR.nii.gz")))
    lesions = grid_of_lesions(3)
    _review_on(panel, lesions, flair, tmp_path / "record")
    panel.panel.review.do("Split", lambda lesions: edits.split_k(lesions, 2, 2))
    expected = panel.panel.review.lesions.ids.copy()
    slicer.mrmlScene.Clear(0)
    offered(panel)
    resume(panel)
    np.testing.assert_array_equal(panel.panel.review.lesions.ids, expected)


def test_the_flair_of_a_review_that_is_not_at_hand_is_asked_for(panel, tmp_path):
    path = write_flair(tmp_path / "sub-05_FLAIR.nii.gz")
    _review_on(panel, grid_of_lesions(3), slicer.util.loadVolume(str(path)), tmp_path / "record")
    slicer.mrmlScene.Clear(0)
    path = path.rename(tmp_path / "elsewhere.nii.gz")
    offered(panel)
    resume(panel)
    assert "choose it under Inputs" in message(panel)
    panel.panel.parameters.flair = slicer.util.loadVolume(str(path))
    resume(panel)
    assert panel.panel.review.is_open


def _review_on(app: Any, like: Any, flair: Any, folder: Path) -> None:
    """Review lesions over a FLAIR that are of no case folder."""
    from LesionSegmenterLib.lesions import LesionMap
    from LesionSegmenterLib.measure import measure_lesions
    from LesionSegmenterLib.scene.grid import flair_grid
    from LesionSegmenterLib.scene.io import Opened

    grid = flair_grid(flair)
    ids = np.zeros(grid.shape, np.int32)
    box = tuple(slice(0, min(a, b)) for a, b in zip(grid.shape, like.shape, strict=True))
    ids[box] = like.ids[box]
    lesions = LesionMap.from_arrays(ids, grid.affine, measure_lesions(ids, grid.affine))
    app.panel.review.open(Opened(lesions, flair, ()), folder, "05", "Ada")


def test_a_damaged_journal_is_offered_as_such_and_told_when_it_is_resumed(app, cases):
    slicer.mrmlScene.Clear(0)
    journal_path(cases, "01").write_bytes(b"something else")
    app.widget.exit()
    app.widget.enter()
    assert offered(app) == ["sub-01: its journal is damaged"]
    resume(app)
    assert "not the journal of a review" in message(app)


@pytest.mark.parametrize("rubbish", ["no list", [1, "a", None], [["/x", "../y", ""]], [["/x"]]])
def test_settings_that_make_no_sense_are_left_out(panel, rubbish: Any):
    remember("open_reviews", rubbish)
    panel.widget.exit()
    panel.widget.enter()
    assert offered(panel) == [] and message(panel) == ""


def test_the_journal_alone_gives_a_review_back_to_look_at(app, cases):
    app.panel.review.do("Split", lambda lesions: edits.split_k(lesions, 1, 2))
    app.panel.review.undo()
    path = journal_path(cases, "01")
    size = path.stat().st_size
    seen = ReviewSession.read(path)
    assert seen.lesions.records == app.panel.review.lesions.records
    np.testing.assert_array_equal(seen.lesions.ids, app.panel.review.lesions.ids)
    assert seen.lesions.next_id == app.panel.review.lesions.next_id and seen.redo_name == "Split"
    assert path.stat().st_size == size
