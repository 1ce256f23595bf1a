"""``lesion-segmenter``: the engine's command line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from . import __version__
from .commands import batch, compare, demo, evaluate, measure, models, segment, split
from .errors import Cancelled, InputError, LesionSegmenterError
from .progress import JsonReporter

_COMMANDS = (demo, segment, batch, split, measure, evaluate, compare, models)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status.

    0 done, 2 the input or the arguments are unusable, 3 cancelled, 1 anything else.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _cancel)
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except LesionSegmenterError as error:
        return _tell(options, str(error), error.exit_status)
    except KeyboardInterrupt:
        return _tell(options, str(Cancelled()), Cancelled.exit_status)
    except MemoryError as error:
        return _tell(
            options, f"out of memory: {error or 'the image does not fit'}. Use a smaller image or machine", 1
        )
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("LESION_SEGMENTER_DEBUG"):
            traceback.print_exc()
        where = traceback.extract_tb(error.__traceback__)[-1]
        return _tell(
            options,
            f"unexpected {type(error).__name__}: {error} ({where.name}, line {where.lineno}). "
            "Set LESION_SEGMENTER_DEBUG=1 for the whole trace",
            1,
        )
    return 0


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with the arguments, as every other error is said."""

    def error(self, message: str) -> NoReturn:
        self.exit(InputError.exit_status, f"lesion-segmenter: {message}. See {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "lesion-segmenter", description="Brain lesions in FLAIR MRI: found, typed, split and measured."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


def _cancel(number: int, frame: FrameType | None) -> None:
    """Stop where the program stands; what is open cleans up after itself on the way out."""
    if _importing(frame):
        # An exception within the import of a C extension, such as torch, aborts the process: ask again soon.
        again = threading.Timer(0.05, signal.raise_signal, [number])
        again.daemon = True
        again.start()
        return
    for later in (signal.SIGINT, signal.SIGTERM):
        signal.signal(later, signal.SIG_IGN)
    # Not Cancelled itself, which is an Exception: libraries that survive any Exception would swallow it.
    raise KeyboardInterrupt


def _importing(frame: FrameType | None) -> bool:
    """Whether the program stands in the import of a module."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _tell(options: argparse.Namespace, message: str, status: int) -> int:
    """Say why the run ended: one line on stderr, and an event for a program that reads events."""
    line = " ".join(message.split())
    if getattr(options, "progress", None) == "json":
        JsonReporter().tell("error", message=line, status=status)
    print(f"lesion-segmenter: {line}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
