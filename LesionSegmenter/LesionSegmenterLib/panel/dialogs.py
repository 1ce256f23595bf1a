"""Questions to the user, in one place, so that tests can answer them."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer.util


def ask_folder(caption: str, start: str = "") -> Path | None:
    """A folder that exists; None where the user cancels."""
    chosen = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), caption, start)
    return Path(chosen) if chosen else None


def ask_file(caption: str, kinds: str, start: str = "") -> Path | None:
    """A file that exists, of kinds such as ``Images (*.nii *.nii.gz)``; None where the user cancels."""
    chosen = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), caption, start, kinds)
    return Path(chosen) if chosen else None


def ask_files(caption: str, kinds: str, start: str = "") -> list[Path]:
    """Files that exist, as `ask_file`; none where the user cancels."""
    return [
        Path(name)
        for name in qt.QFileDialog.getOpenFileNames(slicer.util.mainWindow(), caption, start, kinds)
    ]


def ask_new_file(caption: str, kinds: str, start: str = "") -> Path | None:
    """A file to be written; the user has agreed to its being replaced. None where the user cancels."""
    chosen = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), caption, start, kinds)
    return Path(chosen) if chosen else None


def confirm(question: str) -> bool:
    """Whether the user says yes."""
    return bool(slicer.util.confirmYesNoDisplay(question))
