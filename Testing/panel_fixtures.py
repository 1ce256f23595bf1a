"""Fixtures for tests of the panel; ``conftest.py`` makes them known."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def slicer_app() -> Iterator[Any]:
    """The stand-in application with an empty scene, no panel; fails the test if a slot raised."""
    pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer")
    pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)
    from panel_app import PanelApp
    from standins import modal, problems

    app = PanelApp()
    problems.take()
    modal.forget()
    yield app
    app.close()
    unasked, told = modal.forget(), problems.take()
    assert not told, "Slicer would have swallowed:\n" + "\n".join(told)
    assert not unasked, f"no box came up for these answers: {unasked}"


@pytest.fixture
def panel(slicer_app: Any) -> Any:
    """The whole panel, entered: a `panel_app.PanelApp`."""
    slicer_app.open()
    return slicer_app


@pytest.fixture
def section(slicer_app: Any) -> Iterator[Any]:
    """Builds one section on a stub of the panel: ``section("inputs", "InputsSection")``.

    The stub has ``review``, ``resources``, ``shortcuts``, ``slot``, ``tell`` (texts in ``told``), and no
    sections but those that a test sets.
    """
    from panel_app import MODULE_FOLDER

    made: list[Any] = []

    class Builder:
        app = slicer_app

        def __call__(self, module: str, name: str, **others: Any) -> Any:
            stub = stub_of_panel(slicer_app, MODULE_FOLDER / "Resources", **others)
            kind = getattr(importlib.import_module(f"LesionSegmenterLib.panel.{module}"), name)
            built = kind(stub)
            made.append(built)
            slicer_app.show(built.widget)
            return built

    yield Builder()
    for built in made:
        built.cleanup()


@pytest.fixture
def app(section: Any) -> Any:
    """The application of the one section that a test builds."""
    return section.app


@pytest.fixture
def edit(section: Any, tmp_path: Path) -> Any:
    """The Edit section with the lesions of `scene_cases.boxes` under review."""
    from edit_cases import open_edit

    return open_edit(section, tmp_path)


@pytest.fixture
def run(section: Any, tmp_path: Path) -> Any:
    """The Run section, with an engine that finds one lesion."""
    from run_section import open_run

    return open_run(section, tmp_path)


@pytest.fixture
def lesions(section: Any) -> Any:
    """The Lesions section with no case open."""
    made = section("lesions", "LesionsSection")
    made.app = section.app
    made.enter()
    made.panel.shortcuts.activate()
    yield made
    made.panel.shortcuts.cleanup()


@pytest.fixture
def opened(lesions: Any, tmp_path: Path) -> Any:
    """The Lesions section with twelve lesions under review."""
    from panel_lesions import review

    review(lesions.review, tmp_path)
    lesions.app.process()
    return lesions


def stub_of_panel(app: Any, resources: Any, **others: Any) -> Any:
    """What a section asks of the panel, with the other sections given by name."""
    from LesionSegmenterLib.errors import LesionSegmenterError
    from LesionSegmenterLib.panel.case_review import CaseReview
    from LesionSegmenterLib.panel.shortcuts import Shortcuts

    stub = SimpleNamespace(
        resources=resources, review=CaseReview(), shortcuts=Shortcuts(app.window), parameters=None, told=[]
    )

    def slot(action: Any) -> Any:
        def safe(*arguments: Any) -> None:
            try:
                action(*arguments)
            except LesionSegmenterError as error:
                stub.told.append(str(error))

        return safe

    stub.slot, stub.tell = slot, stub.told.append
    vars(stub).update(others)
    return stub
