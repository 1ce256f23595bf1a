"""What Slicer would print and go on from: kept here, so that a test can fail on it."""

from __future__ import annotations

import sys
import traceback
from types import TracebackType

problems: list[str] = []


def tell(message: str) -> None:
    """Print a message, as PythonQt does, and keep it."""
    print(message, file=sys.stderr)
    problems.append(message)


def tell_exception(where: str) -> None:
    """Print and keep the exception being handled, which PythonQt swallows."""
    tell(f"Exception in {where}:\n{traceback.format_exc()}")


def watch() -> None:
    """Keep, too, what is raised where Python is called by C++ and nobody catches it: in observers of VTK."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        tell("Exception in a callback:\n" + "".join(traceback.format_exception(kind, error, trace)))

    sys.excepthook = hook


def take() -> list[str]:
    """Return what was kept, and forget it."""
    kept = problems.copy()
    problems.clear()
    return kept
