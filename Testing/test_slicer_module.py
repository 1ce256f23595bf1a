"""The module's file, imported with stand-ins for the Slicer application."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import slicer_standins
from LesionSegmenterLib import __version__

TESTING = Path(__file__).resolve().parent
MODULE_FOLDER = TESTING.parent / "LesionSegmenter"


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name, standin in slicer_standins.modules().items():
        monkeypatch.setitem(sys.modules, name, standin)
    spec = importlib.util.spec_from_file_location("LesionSegmenter", MODULE_FOLDER / "LesionSegmenter.py")
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_module_finder_shows_it_under_segmentation(module: ModuleType) -> None:
    parent = SimpleNamespace()
    module.LesionSegmenter(parent)
    assert parent.title == "Lesion Segmenter"
    assert parent.categories == ["Segmentation"]
    assert parent.contributors
    assert "not a medical device" in parent.helpText
    assert parent.acknowledgementText


def test_the_panel_says_how_to_run_the_engine(module: ModuleType) -> None:
    widget = module.LesionSegmenterWidget()
    widget.setup()
    (label,) = widget.layout.widgets
    assert __version__ in label.text
    assert "lesion-segmenter segment" in label.text
    assert "not a medical device" in label.text


def test_the_module_and_its_own_test_run_without_importing_torch() -> None:
    script = (
        "import sys, slicer_standins; sys.modules.update(slicer_standins.modules());"
        "import LesionSegmenter; LesionSegmenter.LesionSegmenterTest().runTest();"
        "print(sorted({'torch', 'matplotlib', 'skimage', 'nibabel'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {[str(TESTING), str(MODULE_FOLDER)]}; {script}"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]"
