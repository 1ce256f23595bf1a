"""The synthetic scan among Slicer's sample data: made by a child process, loaded, and kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="no PySide6: make .venv/slicer")

import slicer
import slicer.util

from LesionSegmenterLib.scene.export import flair_file
from LesionSegmenterLib.synthesis import sample
from panel_app import MODULE_FOLDER


@pytest.fixture
def registered(slicer_app: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the module registers when Slicer has started, with a maker that makes a small scan."""
    told: dict[str, Any] = {}
    module: Any = ModuleType("SampleData")

    class Logic:
        @staticmethod
        def registerCustomSampleDataSource(**fields: Any) -> None:  # noqa: N802 (Slicer's name)
            told.update(fields)

    module.SampleDataLogic = Logic
    monkeypatch.setitem(sys.modules, "SampleData", module)
    shutil.rmtree(slicer.app.cachePath, ignore_errors=True)
    slicer_app.open()
    slicer.app.startupCompleted.emit()
    return told


def make(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let a child process run this instead of making the synthetic scan."""
    call(monkeypatch, lambda _self, _module, *rest: [sys.executable, "-c", code, *rest])


def call(monkeypatch: pytest.MonkeyPatch, command: Any) -> None:
    from LesionSegmenterLib.panel.engine_python import Engine

    monkeypatch.setattr(Engine, "command", command)


SMALL = """
import sys, numpy as np
affine = np.diag([1.0, 1.0, 3.0, 1.0])
np.savez(sys.argv[1], flair=np.arange(60, dtype=np.int16).reshape(3, 4, 5), affine=affine)
"""


def volumes() -> list[Any]:
    return list(slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"))


def test_the_sample_is_offered_with_a_picture(registered):
    assert registered["sampleName"] == "LesionSegmenterSynthetic"
    assert Path(registered["thumbnailFileName"]).is_file()


def test_the_scan_is_made_loaded_and_saved_as_a_file_that_can_be_exported_on(
    registered, slicer_app, monkeypatch
):
    make(monkeypatch, SMALL)
    registered["customDownloader"](None)
    slicer_app.wait(volumes)
    (node,) = volumes()
    assert slicer.util.arrayFromVolume(node).shape == (3, 4, 5) and node.GetSpacing() == (1.0, 1.0, 3.0)
    assert flair_file(node).name == "sub-synthetic_FLAIR.nii.gz" and flair_file(node).is_file()


def test_the_second_time_the_file_is_loaded_again(registered, slicer_app, monkeypatch):
    make(monkeypatch, SMALL)
    registered["customDownloader"](None)
    slicer_app.wait(volumes)
    slicer.mrmlScene.Clear(0)
    make(monkeypatch, "raise SystemExit('not again')")
    registered["customDownloader"](None)
    assert len(volumes()) == 1


def test_a_maker_that_fails_is_told_and_can_be_tried_again(registered, slicer_app, monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(slicer.util, "errorDisplay", told.append)
    make(monkeypatch, "raise SystemExit('no numpy here')")
    registered["customDownloader"](None)
    slicer_app.wait(lambda: told)
    assert "no numpy here" in told[0] and volumes() == []
    make(monkeypatch, SMALL)
    registered["customDownloader"](None)
    slicer_app.wait(volumes)


def test_a_program_that_does_not_start_is_told(registered, monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(slicer.util, "errorDisplay", told.append)
    call(monkeypatch, lambda *_: ["/no/such/python"])
    registered["customDownloader"](None)
    assert "cannot be started" in told[0]


def test_what_the_child_writes_is_the_demonstrations_scan_without_torch(tmp_path, monkeypatch):
    class Scan:
        flair = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
        affine = np.eye(4)

    monkeypatch.setattr(sample, "synthetic_scan", lambda: Scan)
    monkeypatch.setattr(sys, "argv", ["sample", str(tmp_path / "scan.npz")])
    sample.main()
    with np.load(tmp_path / "scan.npz") as scan:
        np.testing.assert_array_equal(scan["flair"].T, Scan.flair)
        np.testing.assert_array_equal(scan["affine"], Scan.affine)


def test_the_maker_needs_nothing_that_slicer_does_not_have(tmp_path):
    absent = ("torch", "nibabel", "skimage", "matplotlib", "nilearn")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}));import LesionSegmenterLib.synthesis.sample"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(MODULE_FOLDER)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
