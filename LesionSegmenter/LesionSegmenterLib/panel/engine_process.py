"""A child process that tells its progress in JSON lines, and that ends with all that it has started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qt

from ..errors import InputError
from .signal import Signal

GRACE_SECONDS = 20.0
"""How long a process that was asked to stop may take to write its checkpoint, or to tidy up."""

_POLL_MS = 50
_MOST_LINES = 5000
_MOST_BYTES = 1 << 14  # of each stream at a time: a flood of output must not freeze the window
_LONGEST_LINE = 1 << 16
_LAST_READS = 64  # a pipe holds less; more can only come from someone who has left the group
_IS_POSIX = os.name == "posix"


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit status (POSIX: minus the signal that killed it), or by `stop`."""

    status: int
    stopped: bool


class EngineProcess:
    """One process at a time. Nothing here waits for it: a timer reads what it has written.

    Python's own subprocess, and not QProcess, because it can start a process in a session of its own: then
    a launcher, such as PythonSlicer, and all that the program behind it starts form one group that can be
    ended together.

    Signals
    -------
    event : a line of standard output that is a JSON object with an ``event``; the object
    lines : any other lines of either stream, several at a time; a list of texts
    finished : nothing of the process is left; an `Ended`
    """

    def __init__(self) -> None:
        self.event, self.lines, self.finished = Signal(), Signal(), Signal()
        self._log: deque[str] = deque(maxlen=_MOST_LINES)
        self._process: subprocess.Popen[bytes] | None = None
        self._streams: tuple[_Lines, ...] = ()
        self._stop_before: float | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.timeout.connect(self._poll)

    @property
    def running(self) -> bool:
        """Whether a process was started and `finished` has not been emitted for it yet."""
        return self._process is not None

    @property
    def log(self) -> list[str]:
        """The last lines of the process that runs, or ran last: all but the events."""
        return list(self._log)

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start a program; InputError where it cannot be started."""
        if self.running:
            raise InputError("a process is running already", todo="Wait for it, or cancel it")
        self._log.clear()
        self._stop_before = None
        alone: dict[str, Any] = (
            {"start_new_session": True} if _IS_POSIX else {"creationflags": subprocess.CREATE_NO_WINDOW}  # type: ignore[attr-defined,unused-ignore]
        )
        try:
            process = subprocess.Popen(
                list(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                cwd=Path.home(),
                **alone,
            )
        except (OSError, ValueError) as error:
            raise InputError(
                f"this program cannot be started ({error})", command[0], "Check the engine's Python in Inputs"
            ) from error
        self._process, self._streams = process, (_Lines(process.stdout), _Lines(process.stderr))
        self._timer.start()

    def stop(self) -> None:
        """Ask the process to end; `finished` follows, after `GRACE_SECONDS` at the latest."""
        if self._process is None or self._stop_before is not None:
            return
        self._stop_before = time.monotonic() + GRACE_SECONDS
        if _IS_POSIX:
            self._signal(signal.SIGTERM)
        else:  # a program without a window cannot be asked
            self._kill()

    def end(self, seconds: float = 3.0) -> None:
        """End the process and wait for that, for ``seconds`` at the most before it is killed. For cleanup."""
        self._timer.stop()
        if self._process is None:
            return
        self.stop()
        limit = time.monotonic() + seconds
        while (self._process.poll() is None or self._group_lives()) and time.monotonic() < limit:
            self._read()  # a full pipe would hold it up
            time.sleep(0.02)
        self._kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self._let_go()

    def cleanup(self) -> None:
        """Let the process and the timer go for good."""
        self.end()
        self._timer.timeout.disconnect(self._poll)

    def _poll(self) -> None:
        process = self._process
        if process is None:
            return
        ended = process.poll() is not None
        self._read()
        waits = self._stop_before is not None and time.monotonic() < self._stop_before
        if not ended:
            if self._stop_before is not None and not waits:
                self._kill()
            return
        if waits and self._group_lives():
            return  # the launcher has gone first: what it started is still tidying up
        self._kill()  # also what a process that crashed has left behind
        self._timer.stop()
        for _ in range(_LAST_READS):
            if not self._read():
                break
        outcome = Ended(process.returncode, self._stop_before is not None)
        self._let_go()
        self.finished.emit(outcome)

    def _read(self) -> bool:
        """Pass on what has been written since; whether there was anything."""
        output, errors = (stream.read() for stream in self._streams)
        events = [(text, _event(text)) for text in output or ()]
        other = [text for text, event in events if event is None] + (errors or [])
        if told := [text for text in other if text.strip()]:
            self._log.extend(told)
            self.lines.emit(told)
        for _, event in events:
            if event is not None:
                self.event.emit(event)
        return output is not None or errors is not None

    def _signal(self, number: int) -> bool:
        """Send a signal to all of the group; whether there is anyone left in it."""
        assert self._process is not None
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS: the latter where only zombies are left
            return False
        return True

    def _group_lives(self) -> bool:
        return _IS_POSIX and self._signal(0)

    def _kill(self) -> None:
        assert self._process is not None
        if _IS_POSIX:
            self._signal(signal.SIGKILL)
        elif self._process.poll() is None:
            subprocess.run(
                ["taskkill", "/PID", str(self._process.pid), "/T", "/F"],
                capture_output=True,
                creationflags=subprocess.CREATE_NO_WINDOW,  # type: ignore[attr-defined,unused-ignore]
            )

    def _let_go(self) -> None:
        for lines in self._streams:
            lines.close()
        self._process, self._streams = None, ()


class _Lines:
    """The lines of a pipe, read without ever waiting for one."""

    def __init__(self, pipe: Any) -> None:
        self._pipe, self._rest = pipe, b""
        os.set_blocking(pipe.fileno(), False)

    def read(self) -> list[str] | None:
        """The lines that are whole by now, and at the end of the stream the last; None where nothing came."""
        block = self._pipe.read(_MOST_BYTES)
        if block is None or not (block or self._rest):
            return None
        lines = (self._rest + block).split(b"\n")
        self._rest = lines.pop()
        if (not block or len(self._rest) > _LONGEST_LINE) and self._rest:
            lines.append(self._rest)
            self._rest = b""
        # Of a progress bar, which draws over itself, the last state is all there is to see.
        return [line.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2] for line in lines]

    def close(self) -> None:
        self._pipe.close()


def _event(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and isinstance(content.get("event"), str) else None
