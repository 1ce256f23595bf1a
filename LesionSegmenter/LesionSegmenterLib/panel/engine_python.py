"""Which Python runs the engine, how its commands are called, and whether it has what they need."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer.util

from ..errors import InputError
from .engine_process import Ended, EngineProcess
from .settings import remember, remembered
from .signal import Signal

SEGMENT = "LesionSegmenterLib.cli"
TRAIN = "lesion_training.cli"
_MODULE_FOLDER = Path(__file__).resolve().parents[2]
_TRAINING_FOLDER = _MODULE_FOLDER.parent / "training"  # where the extension stands in its source tree


@dataclass(frozen=True)
class EngineState:
    """What a Python was found to have.

    python, torch : versions; torch's None where it is missing.
    missing : packages the engine lacks, as pip takes them.
    training : whether `lesion-train` can run.
    """

    python: str
    torch: str | None
    missing: tuple[str, ...]
    training: bool

    @property
    def ready(self) -> bool:
        """Whether the engine can run."""
        return not self.missing


class Engine:
    """The Python of the child processes: Slicer's own, or another that the user has named.

    Signals
    -------
    changed : `state` or `trouble` is another; no arguments

    Attributes
    ----------
    state : what the last check found; None before it, and where it failed
    trouble : why the last check failed, one line; empty where it did not
    """

    def __init__(self, requirements: Path) -> None:
        self.changed = Signal()
        self.requirements = requirements
        self.state: EngineState | None = None
        self.trouble = ""
        self._check = EngineProcess()
        self._check.event.connect(self._take)
        self._check.finished.connect(self._checked)

    @property
    def other_python(self) -> str:
        """Path of the Python that the user has named; empty where it is Slicer's own."""
        chosen = remembered("python", "")
        return chosen if isinstance(chosen, str) else ""

    @property
    def checking(self) -> bool:
        """Whether a check is under way."""
        return self._check.running

    def choose(self, path: str) -> None:
        """Use another Python from now on, Slicer's own with an empty path, and look at what it has."""
        remember("python", path)
        self.check()

    def check(self) -> None:
        """Look at what the Python has, in a child process; `changed` follows."""
        self._check.end()
        self.state, self.trouble = None, ""
        command = self.command("LesionSegmenterLib.requirements", str(self.requirements))
        try:
            self._check.start(command, self.environment())
        except InputError as error:
            self.trouble = str(error)
        self.changed.emit()

    def command(self, module: str, *arguments: str) -> list[str]:
        """The command line that runs a module's ``main``."""
        # Slicer's own sys.executable is the application on some platforms; PythonSlicer is on its PATH.
        python = self.other_python or shutil.which("PythonSlicer") or sys.executable
        return [python, "-m", module, *arguments]

    def environment(self) -> dict[str, str]:
        """The variables of a child process: Slicer's own would lead another Python to Slicer's libraries."""
        if self.other_python:
            variables = dict(slicer.util.startupEnvironment())
            variables.pop("PYTHONHOME", None)
            inherited = ""
        else:
            variables = dict(os.environ)
            inherited = variables.get("PYTHONPATH", "")
        folders = [_MODULE_FOLDER, *([_TRAINING_FOLDER] if _TRAINING_FOLDER.is_dir() else [])]
        path = os.pathsep.join([*map(str, folders), *([inherited] if inherited else [])])
        # PYTHONSAFEPATH: no file that happens to lie in the working folder is taken for a module.
        return variables | {"PYTHONPATH": path, "PYTHONUTF8": "1", "PYTHONSAFEPATH": "1"}

    def cleanup(self) -> None:
        """Let a check that is under way go."""
        self._check.cleanup()

    def _take(self, told: dict[str, Any]) -> None:
        if told["event"] == "engine":
            self.state = EngineState(
                str(told.get("python")), told.get("torch"), tuple(told["missing"]), bool(told.get("training"))
            )

    def _checked(self, ended: Ended) -> None:
        if self.state is None and not ended.stopped:
            last = self._check.log[-1] if self._check.log else f"it ended with {ended.status}"
            self.trouble = str(
                InputError(f"this Python does not run ({last})", self.command("")[0], "Choose another one")
            )
        self.changed.emit()
