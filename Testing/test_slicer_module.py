"""The module's file, loaded by the stand-ins for the Slicer application."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTING = Path(__file__).resolve().parent


def test_the_module_finder_shows_it_under_segmentation(panel: Any) -> None:
    import slicer

    module = slicer.modules.lesionsegmenter
    assert module.title == "Lesion Segmenter"
    assert module.categories == ("Segmentation",)
    assert module.contributors
    assert "not a medical device" in module.helpText
    assert module.acknowledgementText
    assert Path(slicer.modules.LesionSegmenterInstance.resourcePath("Icons/LesionSegmenter.png")).is_file()


def test_the_modules_own_test_runs_without_importing_torch() -> None:
    pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer")
    pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)
    script = (
        "import sys; from panel_app import PanelApp; app = PanelApp(); app.open();"
        "import slicer; slicer.modules.LesionSegmenterInstance.runTest(); app.close();"
        "from standins import problems; assert not problems.take();"
        "print('imported', sorted({'torch', 'matplotlib', 'skimage', 'nibabel'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=TESTING, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == "imported []"
