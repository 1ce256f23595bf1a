"""Installing the engine's packages into Slicer's own Python, on the user's click alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import slicer.util
from slicer.i18n import tr as _

from ..requirements import read_requirements

_SLICERS_OWN = ("numpy", "scipy")
"""Loaded in Slicer's process: they are installed where they are missing, but never replaced."""


def to_install(requirements: Path, missing: Sequence[str]) -> list[str]:
    """What pip is to be called with: the packages that are missing, or, where none is, all of them anew."""
    if missing:
        return list(missing)
    ours = read_requirements(requirements).items()
    anew = [f"{name}>={least}" for name, least in ours if name not in _SLICERS_OWN]
    return ["--force-reinstall", "--no-deps", *anew]


def question(arguments: Sequence[str]) -> str:
    """What the user agrees to: the packages by name, and how much there is to download and to store."""
    names = [argument for argument in arguments if not argument.startswith("--")]
    if not any(name.startswith("torch") for name in names):
        size = _("about 100 MB")
    elif sys.platform.startswith("linux"):
        size = _("up to 3 GB to download and 7 GB on the disk, as PyTorch brings its CUDA libraries along")
    else:
        size = _("about 300 MB to download and 1 GB on the disk, most of it PyTorch for the CPU")
    return _(
        "The engine needs these packages in Slicer's Python:\n\n{names}\n\n"
        "This takes {size}, and a network connection. Install them now?"
    ).format(names="\n".join(names), size=size)


def install(arguments: Sequence[str], log: Callable[[str], None], done: Callable[[int], None]) -> None:
    """Run pip for Slicer's Python; ``done`` is called with its exit status.

    Slicer 5.12 runs it beside the window; 5.10 holds the window until it ends.
    """
    try:
        from slicer.packaging import pip_install
    except ImportError:
        pip_install = None
    try:
        if pip_install is None:
            slicer.util.pip_install(list(arguments))
        elif slicer.app.testingEnabled():  # where Slicer runs it to the end, and calls nobody back
            pip_install(list(arguments))
        else:
            pip_install(
                list(arguments),
                blocking=False,
                show_progress=False,
                logCallback=log,
                completedCallback=done,
            )
            return
    except (subprocess.CalledProcessError, RuntimeError, OSError) as error:  # RuntimeError: Slicer's refusal
        log(str(error))
        done(getattr(error, "returncode", 1))
        return
    done(0)
