"""Errors a user can act on: what is wrong, where, and what to do next."""

from __future__ import annotations

from pathlib import Path


class LesionSegmenterError(Exception):
    """Base of every expected error; its text is one line fit to show to a user.

    Parameters
    ----------
    what : what is wrong.
    where : the file, folder or option it concerns.
    todo : what the user can do next.
    """

    exit_status = 1

    def __init__(self, what: str, where: str | Path | None = None, todo: str = ""):
        self.what, self.where, self.todo = what, where, todo
        line = f"{where}: {what}" if where is not None else what
        if todo:
            line = f"{line}. {todo}"
        super().__init__(" ".join(line.split()))


class InputError(LesionSegmenterError):
    """The input or the arguments cannot be used (exit status 2)."""

    exit_status = 2


class BundleError(InputError):
    """A model bundle is incomplete, altered, or made for another version."""


class Cancelled(LesionSegmenterError):
    """The user stopped the run (exit status 3)."""

    exit_status = 3

    def __init__(self, what: str = "cancelled; nothing was written under its final name"):
        super().__init__(what)
