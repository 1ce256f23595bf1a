"""Progress of a run, for a person (a bar), for a calling program (JSON lines), or for nobody."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any, Protocol

MODES = ("bar", "json", "none")

# Where each stage of a run begins and ends, as a share of the whole.
_STAGES = {
    "reading": (0.0, 0.05),
    "preparing": (0.05, 0.12),
    "predicting": (0.12, 0.85),
    "splitting": (0.85, 0.89),
    "typing": (0.89, 0.92),
    "writing": (0.92, 1.0),
}


class Reporter(Protocol):
    """What a run tells while it goes on; each call may raise Cancelled to stop the run."""

    def progress(self, stage: str, done: int, total: int) -> None: ...

    def warn(self, message: str) -> None: ...

    def close(self) -> None: ...


def overall(stage: str, done: int, total: int) -> float:
    """The share of the whole run that is done, 0..1; a stage of no known place is a whole run by itself."""
    start, stop = _STAGES.get(stage, (0.0, 1.0))
    return start + (stop - start) * min(1.0, done / max(total, 1))


@dataclass(frozen=True)
class StageReporter:
    """Tells a run within one stage of another as progress of that stage."""

    whole: Reporter
    stage: str

    def progress(self, stage: str, done: int, total: int) -> None:
        self.whole.progress(self.stage, round(1000 * overall(stage, done, total)), 1000)

    def warn(self, message: str) -> None:
        self.whole.warn(message)

    def close(self) -> None:
        """The whole is closed by whoever opened it."""


class NoReporter:
    """Tells warnings alone, on stderr."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Nothing to tell."""

    def warn(self, message: str) -> None:
        print(f"warning: {message}", file=sys.stderr)

    def close(self) -> None:
        """Nothing to close."""


class JsonReporter:
    """One JSON object a line on stdout; ``event`` is progress, warning, done or error."""

    def progress(self, stage: str, done: int, total: int) -> None:
        fraction = round(overall(stage, done, total), 4)
        self.tell("progress", stage=stage, done=done, total=total, fraction=fraction)

    def warn(self, message: str) -> None:
        self.tell("warning", message=message)

    def tell(self, event: str, **values: Any) -> None:
        print(json.dumps({"event": event, **values}), flush=True)

    def close(self) -> None:
        """Nothing to close."""


class BarReporter:
    """A bar on stderr that names the stage."""

    def __init__(self) -> None:
        from tqdm import tqdm

        self.bar = tqdm(
            total=100,
            leave=False,
            file=sys.stderr,
            bar_format="{desc:<11}{bar}{percentage:4.0f}% {elapsed}<{remaining}",
        )

    def progress(self, stage: str, done: int, total: int) -> None:
        self.bar.set_description_str(stage, refresh=False)
        self.bar.update(round(100 * overall(stage, done, total), 1) - self.bar.n)

    def warn(self, message: str) -> None:
        self.bar.write(f"warning: {message}", file=sys.stderr)

    def close(self) -> None:
        self.bar.close()


def make_reporter(mode: str | None) -> NoReporter | JsonReporter | BarReporter:
    """The reporter of ``--progress``; None chooses a bar in a terminal and nothing elsewhere."""
    if mode is None:
        mode = "bar" if sys.stderr.isatty() else "none"
    if mode == "json":
        return JsonReporter()
    return BarReporter() if mode == "bar" else NoReporter()
