"""The course of a run: loss.tsv, validation.tsv, and a picture of both."""

from __future__ import annotations

import csv
from pathlib import Path

from LesionSegmenterLib.atomic import atomic_file, writing_error

EVERY = 25  # steps between rows of the loss
_TITLES = {"loss": "loss (running mean)", "validation": "validation, mean Dice"}


class Curve:
    """A table that a run appends steps and values to; rows beyond ``step``, of a killed run, are dropped."""

    def __init__(self, run: Path, name: str, step: int):
        self.path, self.name = run / f"{name}.tsv", name
        rows = [row for row in read_curve(self.path) if row[0] <= step]
        with atomic_file(self.path) as unfinished:
            lines = [f"step\t{name}", *(f"{at}\t{value:.5f}" for at, value in rows)]
            unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def add(self, step: int, value: float) -> None:
        """Append a row; InputError where the disk is full."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{step}\t{value:.5f}\n")
        except OSError as error:
            raise writing_error(self.path.parent, error) from error


def read_curve(path: Path) -> list[tuple[int, float]]:
    """Steps and values of a table; a line that is not two numbers, such as the head, is passed over."""
    if not path.is_file():
        return []
    rows = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file, delimiter="\t"):
            if len(row) == 2 and row[0].isdecimal():
                rows.append((int(row[0]), float(row[1])))
    return rows


def draw_curves(run: Path) -> Path:
    """Write ``curves.png`` of what the run's tables hold; returns its path."""
    from matplotlib.figure import Figure

    curves = {name: read_curve(run / f"{name}.tsv") for name in _TITLES}
    shown = [name for name, rows in curves.items() if rows] or ["loss"]
    figure = Figure(figsize=(5 * len(shown), 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        axes.plot(*zip(*curves[name], strict=True) if curves[name] else ((), ()), linewidth=1.2)
        axes.set(title=_TITLES[name], xlabel="step")
        axes.grid(alpha=0.3)
    path = run / "curves.png"
    with atomic_file(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=120)
    return path
