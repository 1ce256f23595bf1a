"""Timings taken in turn, and the tables they are shown in."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Timing:
    """The durations of one candidate in seconds."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def __str__(self) -> str:
        unit, factor = ("s", 1) if max(self.seconds) >= 1 else ("ms", 1000)
        middle, least, most = (
            f"{factor * s:.3g}" for s in (self.median, min(self.seconds), max(self.seconds))
        )
        return f"{middle} {unit} ({least} to {most})" if len(self.seconds) > 1 else f"{middle} {unit}"

    def times_faster_than(self, other: Timing) -> str:
        """The ratio of the medians, for a table."""
        return f"{other.median / self.median:.1f}x"


def in_turn(
    candidates: Mapping[str, Callable[[], Any]], repetitions: int
) -> tuple[dict[str, Timing], dict[str, Any]]:
    """Durations and last results by name: A B A B, so that a busy moment of the machine falls on all."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    results = {}
    for _ in range(repetitions):
        for name, candidate in candidates.items():
            start = time.perf_counter()
            results[name] = candidate()
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}, results


@dataclass(frozen=True)
class Table:
    """A titled Markdown table with a paragraph before and notes after it."""

    title: str
    about: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """The table as text, its columns aligned, readable in a terminal too."""
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        cells = [self.header, tuple("-" * width for width in widths), *self.rows]
        lines = [
            "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells
        ]
        notes = [f"- {note}" for note in self.notes]
        return "\n".join([f"## {self.title}", "", self.about, "", *lines, *([""] if notes else []), *notes])
