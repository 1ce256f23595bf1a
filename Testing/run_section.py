"""The Run section with a program in place of the engine, for the section's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fake_engines import SEGMENT, fake_python


def open_run(section: Any, folder: Path) -> Any:
    """The Run section, with the Inputs that it stands on, and an engine that finds one lesion."""
    inputs = section("inputs", "InputsSection")
    section.app.window._cpp._panel.takeWidget()  # which the next section would otherwise delete
    inputs.widget.show()
    made = section("run", "RunSection", inputs=inputs)
    section.app.type(made.ui.outputLineEdit, str(folder / "out"))
    made.app, made.inputs = section.app, inputs
    use_engine(made, folder, SEGMENT)
    return made


def use_engine(run: Any, folder: Path, body: str) -> None:
    """As the user's choice of another Python, without the check of its packages."""
    from LesionSegmenterLib.panel.settings import remember

    remember("python", fake_python(folder, body))


def segment(run: Any) -> None:
    """Press Run, and wait for the end."""
    run.app.click(run.ui.runButton)
    run.app.wait(lambda: not run.running)


def load(run: Any, path: Path) -> Any:
    """Load a file and choose it as the FLAIR; returns its node."""
    from LesionSegmenterLib.scene.files import load_flair

    node = load_flair(path)
    run.inputs.ui.flairSelector.setCurrentNode(node)
    return node


def states(run: Any) -> list[str]:
    """What the list says of every image, from the top."""
    table = run.ui.queueTable
    return [table.item(row, 2).text() for row in range(table.rowCount)]
