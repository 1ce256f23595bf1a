"""``lesion-segmenter``: the engine's command line."""

from __future__ import annotations

import argparse
import atexit
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType

from . import __version__
from .command_line import OneLineParser, exit_status, mend_streams
from .commands import batch, compare, demo, evaluate, measure, models, segment, split
from .progress import JsonReporter

_COMMANDS = (demo, segment, batch, split, measure, evaluate, compare, models)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status.

    0 done, 2 the input or the arguments are unusable, 3 cancelled, 1 anything else.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _cancel)
    atexit.register(_ignore_signals)  # the work is done then, and its exit status must stand
    mend_streams()
    options = argparse.Namespace()

    def work() -> None:
        _parser().parse_args(arguments, options)
        options.run(options)

    return exit_status(work, lambda line, status: _tell(options, line, status))


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
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
    _ignore_signals()
    # Not Cancelled itself, which is an Exception: libraries that survive any Exception would swallow it.
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _importing(frame: FrameType | None) -> bool:
    """Whether the program stands in the import of a module."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _tell(options: argparse.Namespace, line: str, status: int) -> None:
    """Say why the run ended: one line on stderr, and an event for a program that reads events."""
    print(f"lesion-segmenter: {line}", file=sys.stderr)
    if getattr(options, "progress", None) == "json":
        JsonReporter().tell("error", message=line, status=status)


if __name__ == "__main__":
    sys.exit(main())
