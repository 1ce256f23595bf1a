"""Why a run of the engine failed, in words that say what to do, and what the panel can offer to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from slicer.i18n import tr as _

Remedy = Literal["", "cpu", "install"]

_OUT_OF_MEMORY = re.compile(r"out of memory|OutOfMemory|cannot allocate memory|DefaultCPUAllocator", re.I)
_ON_A_CARD = re.compile(r"CUDA|HIP|MPS|OutOfMemoryError")
_NO_MODULE = re.compile(r"No module named '?([\w.]+)|DLL load failed|cannot open shared object file")
_SIGKILL, _INVALID_INPUT = 9, 2


@dataclass(frozen=True)
class Failure:
    """What to tell the user, and what a button can do about it: ``cpu`` runs on the processor, ``install``
    installs or repairs packages."""

    message: str
    remedy: Remedy = ""


def explain(status: int, told: str, log: Sequence[str], device: str) -> Failure:
    """What became of a process that did not give its result.

    Parameters
    ----------
    status : its exit status; on POSIX minus the signal that killed it
    told : the message of its ``error`` event; empty where there was none
    log : its other output, a line each
    device : what it was to run on
    """
    said = "\n".join([*log[-50:], told])
    last = told or (log[-1] if log else "")
    if _OUT_OF_MEMORY.search(said):
        return _out_of_memory(device != "cpu" and bool(_ON_A_CARD.search(said)))
    if status != _INVALID_INPUT and (found := _NO_MODULE.search(said)):
        what = found[1] or _("a library of PyTorch")
        return Failure(
            _("The engine's Python lacks {what}. Install or repair its packages.").format(what=what),
            "install",
        )
    if status == -_SIGKILL:
        text = _(
            "The engine was killed from outside, as systems do where memory runs out. Close other programs, "
            "or use an image with fewer slices."
        )
        return Failure(text)
    if status < 0:
        text = _("The engine crashed (signal {number}). Repair its packages.").format(number=-status)
        return Failure(text, "install")
    if status == 0:
        text = _("This Python gave no result: it may not be one with the engine. Choose another in Inputs.")
        return Failure(text)
    if not last:
        return Failure(_("The engine ended with status {status} and said nothing.").format(status=status))
    return Failure(_("The engine failed: {last}").format(last=last))


def _out_of_memory(on_a_card: bool) -> Failure:
    if on_a_card:
        return Failure(_("The graphics card's memory is not enough for this image."), "cpu")
    return Failure(
        _("The computer's memory is not enough. Close other programs, or use an image with fewer slices.")
    )
