"""What the command lines share: exit statuses, errors of one line, and streams that may be closed.

Exit status 0 done, 2 the input or the arguments are unusable, 3 cancelled, 1 anything else.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from .errors import Cancelled, InputError, LesionSegmenterError


class OneLineParser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments, as every other error is said."""

    def error(self, message: str) -> NoReturn:
        program = self.prog.split()[0]
        self.exit(InputError.exit_status, f"{program}: {' '.join(message.split())}. See {self.prog} --help\n")


def whole_number(text: str) -> int:
    """A seed: a whole number from 0 on."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def probability(text: str) -> float:
    """A number strictly between 0 and 1."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def share(text: str) -> float:
    """A number from 0 to under 1."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to under 1")
    return value


def mend_streams() -> None:
    """Make standard output and error fit to write to, wherever the caller has left them.

    One that is closed becomes the null device, so that no file that is opened later takes its place; text
    that its encoding lacks, such as a path that is not UTF-8, is escaped and not an error.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - open for the whole of the process
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def exit_status(work: Callable[[], object], tell: Callable[[str, int], None]) -> int:
    """Do the work of a command; returns its exit status.

    ``tell(line, status)`` is called once where the work does not end well.
    """
    try:
        work()
        sys.stdout.flush()  # here, and not at the interpreter's end, where an error is beyond reach
        return 0
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        _drop_output()
        return 1
    except BaseException as error:
        line, status = _line(error)
        try:
            tell(line, status)
            sys.stdout.flush()
        except OSError:  # output that cannot be written to, which may have been what was wrong
            _drop_output()
        return status


def _line(error: BaseException) -> tuple[str, int]:
    """What to say of an error, on one line, and the status that it ends with."""
    if isinstance(error, LesionSegmenterError):
        line, status = str(error), error.exit_status
    elif isinstance(error, KeyboardInterrupt):
        line, status = str(Cancelled()), Cancelled.exit_status
    elif isinstance(error, MemoryError):
        line = f"out of memory: {error or 'the image does not fit'}. Use a smaller image or machine"
        status = 1
    elif isinstance(error, OSError) and error.filename is not None:
        # A file or folder of the user's that the system refuses in a way that nobody foresaw.
        refused = InputError(error.strerror or str(error), str(error.filename), "Check the path")
        line, status = str(refused), refused.exit_status
    elif isinstance(error, Exception):
        if os.environ.get("LESION_SEGMENTER_DEBUG"):
            traceback.print_exception(error)
        where = traceback.extract_tb(error.__traceback__)[-1]
        line = f"unexpected {type(error).__name__}: {error} ({where.name}, line {where.lineno}). "
        line, status = line + "Set LESION_SEGMENTER_DEBUG=1 for the whole trace", 1
    else:
        raise error
    return " ".join(line.split()), status


def _drop_output() -> None:
    """Send what is left of our output nowhere, so that the interpreter can flush it at its end."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
