"""The whole way of a case through the panel, as a radiologist goes it: from a FLAIR to an export and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="no PySide6: make .venv/slicer")

import slicer

from heads import centred_affine, head
from LesionSegmenterLib.export import read_case
from panel_cases import open_section

CONFLUENT = ((-8.0, 0.0, 3.0), (8.0, 0.0, 3.0))
"""Centres of two balls of 10 mm, RAS mm, that the model finds as one lesion."""


def many_lesions() -> list[tuple[tuple[float, float, float], float, float]]:
    """The confluent pair and small lesions in two layers around it: centre, radius and brightness."""
    small = [
        ((float(r), float(a), float(s)), 4.5, 26.0)
        for s in (-15, 21)
        for r in (-30, -15, 0, 15, 30)
        for a in (-30, -15, 0, 15, 30)
    ]
    return [*((centre, 10.0, 26.0) for centre in CONFLUENT), *small]


@pytest.fixture
def flair(tmp_path: Path) -> Path:
    path = tmp_path / "sub-01_FLAIR.nii.gz"
    nib.save(nib.Nifti1Image(head(lesions=many_lesions()), centred_affine()), path)
    return path


@pytest.fixture
def app(panel: Any, bright: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The panel of a user with the model that finds what is bright, and with folders of its own."""
    monkeypatch.setenv("LESION_SEGMENTER_MODELS", str(bright.parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    panel.panel.inputs.refresh_models()
    return panel


def state(app: Any) -> tuple[bytes, dict[int, Any]]:
    """All that an edit may change."""
    lesions = app.panel.review.lesions
    return lesions.ids.tobytes(), dict(lesions.records)


def lesion_at(app: Any, ras: tuple[float, float, float]) -> int:
    found: int | None = app.panel.review.scene.lesion_at(ras)
    assert found is not None
    return found


def select_rows(app: Any, *lesion_ids: int) -> None:
    """Click the lesions' rows in the table, with Ctrl from the second on."""
    import qt

    view = app.ui("lesions").lesionTable
    model = view.model()
    ids = [model.index(row, 0).data() for row in range(model.rowCount())]
    for n, lesion_id in enumerate(lesion_ids):
        app.click_row(view, ids.index(f"L{lesion_id:04d}"), 0, qt.Qt.ControlModifier if n else None)
    assert set(app.panel.review.selection) == set(lesion_ids)


def segment(app: Any, flair: Path, out: Path) -> None:
    from LesionSegmenterLib.scene.files import load_flair

    open_section(app, "Inputs")
    app.choose(app.ui("inputs").modelComboBox, "bright 1.0")
    app.ui("inputs").flairSelector.setCurrentNode(load_flair(flair))
    open_section(app, "Run")
    app.type(app.ui("run").outputLineEdit, str(out))
    app.click(app.ui("run").runButton)
    app.wait(lambda: not app.panel.run.running, 120)
    assert app.panel.review.is_open, app.ui("run").outcomeLabel.text


def split_by_seeds(app: Any) -> None:
    edit = app.ui("edit")
    open_section(app, "Lesions")
    select_rows(app, lesion_at(app, CONFLUENT[0]))
    open_section(app, "Edit")
    app.click(edit.splitButton)
    app.choose(edit.methodComboBox, "Seeds: nearest")
    for point in CONFLUENT:
        app.pick(point)
    app.wait(lambda: edit.applyButton.enabled)
    app.click(edit.applyButton)
    assert lesion_at(app, CONFLUENT[0]) != lesion_at(app, CONFLUENT[1])


def merge_two(app: Any) -> None:
    open_section(app, "Lesions")
    first, second = (lesion_at(app, (r, 30.0, 21.0)) for r in (-30.0, -15.0))
    select_rows(app, first, second)
    app.key("M")
    assert lesion_at(app, (-30, 30, 21)) == lesion_at(app, (-15, 30, 21))


def paint_one(app: Any) -> None:
    open_section(app, "Lesions")
    lesion_id = lesion_at(app, (30.0, -30.0, 21.0))
    select_rows(app, lesion_id)
    before = app.panel.review.lesions.records[lesion_id].voxels
    app.key("P")
    app.pick((36.0, -30.0, 21.0))
    app.key("Shift+P")
    assert app.panel.review.lesions.records[lesion_id].voxels > before
    app.key("P")


def press_until_disabled(app: Any, key: str, button: Any) -> int:
    """How often a key could be pressed."""
    times = 0
    while button.enabled:
        app.key(key)
        times += 1
    return times


def test_from_a_flair_to_an_export_and_back(app: Any, flair: Path, tmp_path: Path) -> None:
    out, exports = tmp_path / "out", tmp_path / "exports"
    segment(app, flair, out)
    review, edit = app.panel.review, app.ui("edit")
    assert len(review.lesions.records) == 51
    found = state(app)

    open_section(app, "Lesions")
    app.key("N")
    for _ in range(30):
        app.key("A")
    assert review.session.progress().reviewed == 30
    split_by_seeds(app)
    merge_two(app)
    paint_one(app)
    edited = state(app)
    names = [action.name.split()[0] for action in review.session.actions if action.kind == "do"]
    assert names == ["Accept"] * 30 + ["Split", "Merge", "Paint"]

    assert press_until_disabled(app, "U", edit.undoButton) == 33
    assert state(app) == found
    assert press_until_disabled(app, "Shift+U", edit.redoButton) == 33
    assert state(app) == edited

    open_section(app, "Export")
    export = app.ui("export")
    app.type(export.raterEdit, "Ada")
    app.key("Return", export.raterEdit)
    app.type(export.exportFolderEdit, str(exports))
    app.key("Return", export.exportFolderEdit)
    app.click(export.finishButton)
    assert not review.is_open
    slicer.mrmlScene.Clear(0)
    app.process()

    open_section(app, "Lesions")
    app.answer(str(exports / "rater-Ada"))
    app.click(app.ui("lesions").openCaseButton)
    assert review.is_open
    kept, records = review.lesions.ids, review.lesions.records
    assert kept.tobytes() == edited[0]
    assert {i: (r.type, r.status, r.voxels, r.parents) for i, r in records.items()} == {
        i: (r.type, r.status, r.voxels, r.parents) for i, r in edited[1].items()
    }
    case = read_case(exports / "rater-Ada", "01")
    assert np.array_equal(np.asarray(nib.load(case.paths["instances"]).dataobj), kept)
    assert case.sidecar["rater"] == "Ada"
    assert app.panel.ui.messageLabel.text == ""
