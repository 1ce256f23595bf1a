"""The report's plots: violins, volumes, Bland-Altman, confusion of types. All return PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..metrics.agreement import bland_altman
from ..metrics.groups import CaseScores, grouped

# The Okabe-Ito palette, told apart with any colour vision.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")


def violins(scores: Sequence[CaseScores], models: Sequence[str], metrics: Sequence[str]) -> bytes:
    """A panel a score, a violin and its cases a model."""
    figure, panels = _figure(len(metrics), width=1.2 + 0.9 * len(models))
    for axes, metric in zip(panels, metrics, strict=True):
        for place, model in enumerate(models):
            _violin(axes, place, [s.metrics[metric] for s in scores if s.model == model])
        axes.set_xticks(range(len(models)), models, rotation=30, ha="right", fontsize=8)
        axes.set_title(metric.replace("_", " "), fontsize=9)
        axes.set_ylim(-0.03, 1.03)
    return _png(figure)


def violins_by_group(scores: Sequence[CaseScores], by: str, metric: str = "dice") -> bytes:
    """One model's score in each group."""
    groups = grouped(scores, by)
    figure, (axes,) = _figure(1, width=1.5 + 0.9 * len(groups))
    for place, own in enumerate(groups.values()):
        _violin(axes, place, [s.metrics[metric] for s in own])
    names = [f"{group}\n(n={len(own)})" for group, own in groups.items()]
    axes.set_xticks(range(len(groups)), names, rotation=20, ha="right", fontsize=8)
    axes.set_ylabel(metric, fontsize=8)
    axes.set_title(f"by {by}", fontsize=9)
    axes.set_ylim(-0.03, 1.03)
    return _png(figure)


def volumes(scores: Sequence[CaseScores], trend: dict[str, Any]) -> bytes:
    """Found against true lesion volume with the trend, and the Bland-Altman plot; ml."""
    true = np.array([s.metrics["true_volume_ml"] for s in scores])
    found = np.array([s.metrics["pred_volume_ml"] for s in scores])
    figure, (left, right) = _figure(2, width=3.6)
    for centre, colour in zip(grouped(scores, "centre"), _cycle(), strict=False):
        own = np.array([s.centre == centre for s in scores])
        left.scatter(true[own], found[own], s=18, color=colour, label=centre)
        right.scatter((true + found)[own] / 2, (found - true)[own], s=18, color=colour)
    most = float(max(true.max(), found.max(), 1e-3))
    left.plot([0, most], [0, most], color="grey", linewidth=0.8, label="equal")
    if np.isfinite(trend["slope"]):
        ends = np.array([0, true.max()])
        label = f"{trend['slope']:.2f} x + {trend['intercept']:.2f}, R2 {trend['r2']:.2f}"
        left.plot(ends, trend["intercept"] + trend["slope"] * ends, "k--", linewidth=1, label=label)
    left.legend(fontsize=7)
    left.set_xlabel("true ml", fontsize=8)
    left.set_ylabel("found ml", fontsize=8)
    limits = bland_altman(found, true)
    for value, style in ((limits.bias, "-"), (limits.lower, "--"), (limits.upper, "--")):
        if np.isfinite(value):
            right.axhline(value, color="black", linestyle=style, linewidth=0.9)
    right.set_xlabel("mean of found and true, ml", fontsize=8)
    right.set_ylabel("found - true, ml", fontsize=8)
    return _png(figure)


def confusion(rows: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]]) -> bytes:
    """A matrix of counts, shaded by the share of its row."""
    table = np.array(counts, float).reshape(len(rows), len(columns))
    share = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    figure, (axes,) = _figure(1, width=1.4 + 0.7 * len(columns), height=1.2 + 0.5 * len(rows))
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(*table.shape):
        ink = "white" if share[row, column] > 0.6 else "black"
        axes.text(column, row, f"{table[row, column]:.0f}", ha="center", va="center", color=ink, fontsize=9)
    axes.set_xticks(range(len(columns)), columns, fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set_xlabel("stated", fontsize=8)
    axes.set_ylabel("true", fontsize=8)
    return _png(figure)


def heat_map(
    rows: Sequence[str], columns: Sequence[str], panels: Mapping[str, Sequence[Sequence[float]]]
) -> bytes:
    """A panel a score: its values from 0 to 1 by row and column, in colour and figures; nan is left empty."""
    figure, axes = _figure(len(panels), width=2.2 + 0.75 * len(columns), height=1.4 + 0.26 * len(rows))
    for place, (one, (title, values)) in enumerate(zip(axes, panels.items(), strict=True)):
        table = np.array(values, float).reshape(len(rows), len(columns))
        one.imshow(np.ma.masked_invalid(table), cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for row, column in np.argwhere(np.isfinite(table)):
            value = table[row, column]
            ink = "white" if value < 0.55 else "black"
            one.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=8)
        one.set_xticks(range(len(columns)), columns, rotation=30, ha="right", fontsize=8)
        one.set_yticks(range(len(rows)), rows if place == 0 else [""] * len(rows), fontsize=8)
        one.set_title(title, fontsize=9)
    return _png(figure)


def reliability(panels: Mapping[str, Mapping[str, Sequence[tuple[float, float, int]]]]) -> bytes:
    """A panel a question, a curve a way of stating its chance: what was stated against what came true.

    panels : title -> name of a curve -> (stated, observed, number of lesions) of its bins, by ascending
        stated. A dot's area goes by its number; on the diagonal, what is stated is what comes true.
    """
    figure, axes = _figure(len(panels), width=3.8, height=3.8)
    for one, (title, curves) in zip(axes, panels.items(), strict=True):
        one.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        for colour, (name, points) in zip(_cycle(), curves.items(), strict=False):
            stated, observed, counts = np.array(points, float).reshape(-1, 3).T
            one.plot(stated, observed, color=colour, linewidth=1, label=name)
            one.scatter(stated, observed, s=8 + 2 * counts, color=colour, alpha=0.6, linewidth=0)
        one.set_xlim(-0.03, 1.03)
        one.set_ylim(-0.03, 1.03)
        one.set_xlabel("stated", fontsize=8)
        one.set_ylabel("share that came true", fontsize=8)
        one.set_title(title, fontsize=9)
        one.legend(fontsize=7, frameon=False)
    return _png(figure)


def _violin(axes: Axes, place: int, values: Sequence[float]) -> None:
    finite = np.array([v for v in values if np.isfinite(v)])
    colour = COLOURS[place % len(COLOURS)]
    if len(finite) > 2 and np.ptp(finite) > 0:
        parts = axes.violinplot(finite, [place], widths=0.8, showextrema=False)
        for body in parts["bodies"]:  # type: ignore[attr-defined]
            body.set_facecolor(colour)
    jitter = np.linspace(-0.12, 0.12, len(finite)) if len(finite) > 1 else np.zeros(len(finite))
    axes.scatter(place + jitter, finite, s=9, color=colour, zorder=3)
    if len(finite):
        axes.hlines(np.median(finite), place - 0.25, place + 0.25, color="black", linewidth=1.5, zorder=4)


def _figure(panels: int, width: float, height: float = 3.2) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(panels * width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    for one in axes:
        one.tick_params(labelsize=8)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _cycle() -> list[str]:
    return list(COLOURS) * 10


def _png(figure: Figure) -> bytes:
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Software": None})
    return png.getvalue()
