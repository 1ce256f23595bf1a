"""Cases, segmentations and label images are opened in the Lesions section, and closed with the scene."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="no PySide6: make .venv/slicer")

import slicer
import slicer.util

from lesions_section import TYPE, cells, shown, slice_node
from LesionSegmenterLib.scene.io import Opened
from panel_cases import make_case
from panel_lesions import flair_of, grid_of_lesions, review


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Answer the questions for folders and files."""
    from LesionSegmenterLib.panel import dialogs

    def answer(folder: Path | None = None, file: Path | None = None) -> None:
        monkeypatch.setattr(dialogs, "ask_folder", lambda *_: folder)
        monkeypatch.setattr(dialogs, "ask_file", lambda *_: file)

    return answer


def menu(section: Any, holds: str) -> dict[str, Any]:
    """The entries of the button for segmentations, under one of its meanings."""
    section._opening._menu.aboutToShow.emit()
    return {action.text: action for action in section._opening._submenus[holds].actions()}


@pytest.mark.parametrize("inside", [False, True])
def test_a_case_folder_or_its_sub_folder_is_opened_and_its_flair_shown(
    lesions: Any, tmp_path: Path, ask: Callable[..., None], inside: bool
) -> None:
    case = make_case(tmp_path)
    ask(case / "sub-01" if inside else case)
    lesions.app.click(lesions.ui.openCaseButton)
    assert lesions.panel.told == []
    assert (shown(lesions), lesions.review.folder, lesions.review.subject) == ([1, 2, 3], case, "01")
    flair = lesions.review.scene.flair
    layers = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {layer.GetBackgroundVolumeID() for layer in layers} == {flair.GetID()}


def test_views_that_show_the_flair_already_stay_as_the_user_has_them(opened: Any, tmp_path: Path) -> None:
    flair, red = opened.review.scene.flair, slice_node("Red")
    red.SetFieldOfView(10, 10, 1)
    opened.review.open(Opened(grid_of_lesions(12), flair, ()), tmp_path / "second", "02", "Ada")
    assert red.GetFieldOfView() == (10, 10, 1)
    other = flair_of(grid_of_lesions(12), "other")
    slicer.util.setSliceViewerLayers(background=other)
    opened.review.open(Opened(grid_of_lesions(12), flair, ()), tmp_path / "third", "03", "Ada")
    assert red.GetFieldOfView() != (10, 10, 1)


def test_a_folder_without_a_case_or_with_many_is_refused(
    lesions: Any, tmp_path: Path, ask: Callable[..., None]
) -> None:
    ask(tmp_path)
    lesions.app.click(lesions.ui.openCaseButton)
    for subject in ("01", "02"):
        make_case(tmp_path, subject)
    ask(tmp_path / "cases")
    lesions.app.click(lesions.ui.openCaseButton)
    none, many = lesions.panel.told
    assert "no complete case" in none and "several cases" in many and "Worklist" in many
    assert not lesions.review.is_open


def test_cancelled_questions_open_nothing(lesions: Any, ask: Callable[..., None]) -> None:
    ask(None)
    lesions.app.click(lesions.ui.openCaseButton)
    lesions.panel.parameters = SimpleNamespace(flair=flair_of(grid_of_lesions(4)), order="size")
    menu(lesions, "lesions")["File…"].trigger()
    assert not lesions.review.is_open and lesions.panel.told == []


def other_segmentation(lesions: Any) -> Any:
    """A segmentation node with lesions 1 to 4 of the grid as segments of its own."""
    from LesionSegmenterLib.scene.lesion_scene import LesionScene

    node = LesionScene.show(grid_of_lesions(4), lesions.panel.parameters.flair, "Drawn by hand").node
    node.SetName("Drawn by hand")
    return node


def test_a_segmentation_of_the_scene_is_reviewed_as_lesions(
    lesions: Any, tmp_path: Path, ask: Callable[..., None]
) -> None:
    lesions.panel.parameters = SimpleNamespace(
        flair=flair_of(grid_of_lesions(4), "sub-07_FLAIR"), order="size"
    )
    other_segmentation(lesions)
    ask(tmp_path)
    menu(lesions, "lesions")["Drawn by hand"].trigger()
    assert lesions.panel.told == []
    assert (shown(lesions), lesions.review.subject) == ([1, 2, 3, 4], "07")
    assert cells(lesions, TYPE) == ["WMH", "stroke", "MS", "lesion"]
    assert list(tmp_path.glob("*journal.bin")), "what is done is recorded in the folder that was chosen"
    own = lesions.review.scene.node.GetName()
    assert own not in menu(lesions, "lesions"), "the case under review is not offered again"


def test_a_label_image_of_types_is_opened_from_a_file(
    lesions: Any, tmp_path: Path, ask: Callable[..., None]
) -> None:
    import nibabel as nib

    labels = grid_of_lesions(4)
    lesions.panel.parameters = SimpleNamespace(flair=flair_of(labels), order="size")
    types = np.where(labels.ids > 2, 3, labels.ids > 0).astype(np.uint8)
    nib.save(nib.Nifti1Image(types, labels.affine), tmp_path / "types.nii.gz")
    ask(tmp_path, tmp_path / "types.nii.gz")
    menu(lesions, "types")["File…"].trigger()
    assert lesions.panel.told == []
    assert sorted(cells(lesions, TYPE)) == ["MS", "MS", "WMH", "WMH"]


def test_without_a_flair_the_user_is_told_to_choose_one(lesions: Any) -> None:
    menu(lesions, "lesions")["File…"].trigger()
    (told,) = lesions.panel.told
    assert "no FLAIR is chosen" in told and "under Inputs" in told


# In the whole panel


def test_the_flair_of_a_case_that_is_opened_becomes_the_scenes(
    panel: Any, tmp_path: Path, ask: Callable[..., None]
) -> None:
    ask(make_case(tmp_path))
    panel.click(panel.ui("lesions").openCaseButton)
    flair = panel.panel.review.scene.flair
    assert panel.ui("inputs").flairSelector.currentNode() is flair


def test_a_closed_scene_leaves_an_empty_table(panel: Any, tmp_path: Path) -> None:
    review(panel.panel.review, tmp_path)
    slicer.mrmlScene.Clear(0)
    panel.process()
    assert shown(panel.panel.lesions) == []
    assert panel.ui("lesions").totalsLabel.text == "No case is open."
