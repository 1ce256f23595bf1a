"""The robustness grid as tables and a picture, with its worst cell named."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from LesionSegmenterLib.atomic import atomic_file
from LesionSegmenterLib.evaluation.plots import heat_map
from LesionSegmenterLib.evaluation.tables import markdown_table, write_tsv

from .robustness import AS_GIVEN, LEVELS, CellScore, Level

ALL = "all"
GOAL_OF_SKULL = 0.03  # of Dice, between a whole head and the same head stripped
_COLUMNS = (
    "bundle", "case", "kind", "factor", "level", "dice", "lesion_f1", "true_ml", "found_ml", "seconds",
)  # fmt: skip


class Cell(NamedTuple):
    """Means over the cases of one kind at one level; ``change``, of Dice against the same cases as given."""

    cases: int
    dice: float
    lesion_f1: float
    change: float


Grid = dict[tuple[Level, str], Cell]
"""The cells that any case reached, by level and kind of case, `ALL` among them."""


def make_grid(scores: Sequence[CellScore]) -> Grid:
    """The grid of one bundle's scores; kinds in order of name, `ALL` first."""
    given = {score.case: score.dice for score in scores if score.level.factor == AS_GIVEN}
    kinds = [ALL, *sorted({score.kind for score in scores})]
    grid = {}
    for level in dict.fromkeys(score.level for score in scores):
        for kind in kinds:
            own = [s for s in scores if s.level == level and kind in (ALL, s.kind)]
            if own:
                dice, f1, change = np.mean([(s.dice, s.lesion_f1, s.dice - given[s.case]) for s in own], 0)
                grid[level, kind] = Cell(len(own), float(dice), float(f1), float(change))
    return grid


def worst_cell(grid: Grid) -> str:
    """One line that names the level and kind of lowest Dice, and the level of lowest Dice over all cases."""
    (level, kind), cell = min(
        ((place, cell) for place, cell in grid.items() if place[1] != ALL), key=lambda item: item[1].dice
    )
    (over_all, _), mean = min(
        ((place, cell) for place, cell in grid.items() if place[1] == ALL), key=lambda item: item[1].dice
    )
    return (
        f"Worst cell: {level}, on {kind}: Dice {cell.dice:.3f} ({cell.change:+.3f} against the same cases as "
        f"given), lesion F1 {cell.lesion_f1:.3f}. Worst level over all cases: {over_all}: Dice "
        f"{mean.dice:.3f} ({mean.change:+.3f}), lesion F1 {mean.lesion_f1:.3f}."
    )


def skull_lines(scores: Sequence[CellScore]) -> list[str]:
    """A line a case that was scored both whole and stripped: the difference of its Dice, and the goal."""
    dice = {(s.case, s.level.name): s.dice for s in scores if s.level.factor == "skull"}
    lines = []
    for case in dict.fromkeys(s.case for s in scores):
        if (case, "whole head") not in dice:
            lines.append(f"{case}: skull-stripped as given, no whole head to compare with")
        elif (case, "stripped") in dice:
            whole, stripped = dice[case, "whole head"], dice[case, "stripped"]
            kept = "within" if abs(whole - stripped) <= GOAL_OF_SKULL else "over"
            lines.append(
                f"{case}: whole {whole:.3f}, stripped {stripped:.3f}, difference {whole - stripped:+.3f} "
                f"({kept} {GOAL_OF_SKULL})"
            )
    return lines


def markdown(bundle: str, scores: Sequence[CellScore]) -> str:
    """The section of one bundle: worst cell, table of levels, and skull against none."""
    grid = make_grid(scores)
    kinds = list(dict.fromkeys(kind for _, kind in grid))
    levels = [level for level in LEVELS if (level, ALL) in grid]
    rows = [
        [level.factor if changed else "", level.name, *_cells(grid, level, kinds)]
        for level, changed in zip(levels, _factor_changes(levels), strict=True)
    ]
    head = ["factor", "level", "cases", "Dice", "change", "lesion F1", *kinds[1:]]
    parts = [
        f"### {bundle}",
        worst_cell(grid),
        markdown_table(head, rows),
        "Dice with and without the skull, on the same heads:",
        "\n".join(f"- {line}" for line in skull_lines(scores)),
    ]
    return "\n\n".join(parts) + "\n"


def _factor_changes(levels: Sequence[Level]) -> list[bool]:
    return [True, *(before.factor != after.factor for before, after in pairwise(levels))]


def _cells(grid: Grid, level: Level, kinds: Sequence[str]) -> list[str]:
    mean = grid[level, ALL]
    cells = [grid.get((level, kind)) for kind in kinds[1:]]
    return [
        *(str(mean.cases), f"{mean.dice:.3f}", f"{mean.change:+.3f}", f"{mean.lesion_f1:.3f}"),
        *(f"{cell.dice:.2f} / {cell.lesion_f1:.2f}" if cell else "-" for cell in cells),
    ]


def write_report(scores: Sequence[CellScore], folder: Path) -> list[Path]:
    """Write robustness.tsv (a row a cell and case), robustness.md, and a heat map for every bundle.

    InputError where the folder cannot be written to.
    """
    bundles = list(dict.fromkeys(score.bundle for score in scores))
    table, text = folder / "robustness.tsv", folder / "robustness.md"
    write_tsv(table, _COLUMNS, [_row(score) for score in scores])
    sections = {bundle: [score for score in scores if score.bundle == bundle] for bundle in bundles}
    with atomic_file(text) as unfinished:
        unfinished.write_text(
            "\n".join(markdown(bundle, own) for bundle, own in sections.items()), encoding="utf-8"
        )
    pictures = []
    for bundle, own in sections.items():
        pictures.append(folder / f"robustness-{bundle.replace(' ', '-')}.png")
        with atomic_file(pictures[-1]) as unfinished:
            unfinished.write_bytes(picture(make_grid(own)))
    return [table, text, *pictures]


def picture(grid: Grid) -> bytes:
    """A PNG of Dice and lesion F1 by level and kind; cells that no case reached are left empty."""
    kinds = list(dict.fromkeys(kind for _, kind in grid))
    levels = [level for level in LEVELS if (level, ALL) in grid]
    missing = Cell(0, float("nan"), float("nan"), float("nan"))
    panels = {
        title: [[getattr(grid.get((level, kind), missing), score) for kind in kinds] for level in levels]
        for title, score in (("Dice", "dice"), ("lesion F1", "lesion_f1"))
    }
    return heat_map([str(level) for level in levels], kinds, panels)


def _row(score: CellScore) -> list[str]:
    level = score.level
    return [
        *(score.bundle, score.case, score.kind, level.factor, level.name),
        *(f"{value:.4f}" for value in (score.dice, score.lesion_f1, score.true_ml, score.found_ml)),
        f"{score.seconds:.1f}",
    ]
