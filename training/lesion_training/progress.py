"""What a training run tells while it goes on: a bar for people, JSON lines for the panel, or nothing."""

from __future__ import annotations

import sys
from typing import Any, Protocol

from LesionSegmenterLib.progress import BarReporter, JsonReporter, NoReporter, make_reporter


class TrainingReporter(Protocol):
    """Told of cases prepared, steps done and warnings."""

    def prepared(self, done: int, total: int) -> None: ...

    def step(self, step: int, steps: int, loss: float, validation: float | None) -> None: ...

    def warn(self, message: str) -> None: ...

    def done(self, **values: Any) -> None: ...

    def close(self) -> None: ...


class Quiet:
    """Warnings alone, on stderr; a line at the end."""

    def __init__(self, inner: NoReporter | JsonReporter | BarReporter | None = None):
        self.inner = inner or NoReporter()

    def prepared(self, done: int, total: int) -> None:
        self.inner.progress("preparing cases", done, total)

    def step(self, step: int, steps: int, loss: float, validation: float | None) -> None:
        """Nothing to tell."""

    def warn(self, message: str) -> None:
        self.inner.warn(message)

    def done(self, **values: Any) -> None:
        print(f"Trained {values['steps']} steps; the run is in {values['run']}")

    def close(self) -> None:
        self.inner.close()


class Events(Quiet):
    """One JSON object a line on stdout; ``event`` is progress, step, warning, done or error."""

    inner: JsonReporter

    def step(self, step: int, steps: int, loss: float, validation: float | None) -> None:
        self.inner.tell("step", step=step, steps=steps, loss=round(loss, 6), validation=validation)

    def done(self, **values: Any) -> None:
        self.inner.tell("done", **values)


class Bar(Quiet):
    """A bar of the cases, then one of the steps with loss and last validation score."""

    def __init__(self, inner: BarReporter):
        super().__init__(inner)
        self.bar: Any = None
        self.score = ""

    def step(self, step: int, steps: int, loss: float, validation: float | None) -> None:
        from tqdm import tqdm

        if self.bar is None:
            self.inner.close()
            self.bar = tqdm(total=steps, initial=step - 1, desc="training", file=sys.stderr, mininterval=1)
        if validation is not None:
            self.score = f", validation {validation:.3f}"
        self.bar.set_postfix_str(f"loss {loss:.3f}{self.score}", refresh=False)
        self.bar.update(step - self.bar.n)

    def close(self) -> None:
        super().close()
        if self.bar is not None:
            self.bar.close()


def training_reporter(mode: str | None) -> Quiet:
    """The reporter of ``--progress``; None chooses a bar in a terminal and nothing elsewhere."""
    inner = make_reporter(mode)
    if isinstance(inner, JsonReporter):
        return Events(inner)
    return Bar(inner) if isinstance(inner, BarReporter) else Quiet(inner)
