"""Draws the pictures of docs/splitting.md: each way to split on a synthetic lesion that it is right for.

python Testing/split_pictures.py [folder]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from scipy import ndimage

from LesionSegmenterLib import edits
from LesionSegmenterLib.lesions import Change, LesionMap
from LesionSegmenterLib.measure import measure_lesions
from phantoms import soft_balls

Array = npt.NDArray[np.float64]
Planner = Callable[[LesionMap], Change]

SHAPE = (64, 40, 17)
SLICE = 8
# Okabe and Ito's colours, as the preview in Slicer has them.
COLOURS = ListedColormap(["#00000000", "#0072b2", "#e69f00", "#009e73", "#cc79a7"])


def main(folder: Path) -> None:
    """Write one picture a method."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (probability, planned, points) in _cases().items():
        mask = probability > 0.5
        parts = [(caption, _parts(probability, mask, plan)) for caption, plan in planned]
        _draw(folder / f"split_{name}.png", probability, mask, parts, np.array(points))


def _cases() -> dict[str, tuple[Array, list[tuple[str, Planner]], list[tuple[float, float, float]]]]:
    """Probability map, plans with their captions, and the points clicked, RAS mm, by method."""
    two = _balls([(20, 20), (42, 20)], [9, 7])
    waist = _balls([(22, 20), (44, 20)], [14, 9])
    crescent = _crescent()
    bridge = np.maximum(_balls([(16, 20), (48, 20)], [10, 10]), _bar(20, 44, 3))
    touching = _balls([(18, 16), (36, 24), (50, 16)], [11, 11, 8])
    cut = [(32.0, 12.0, 8.0), (32.0, 28.0, 8.0)]
    three = [(18.0, 16.0, 8.0), (36.0, 24.0, 8.0), (51.0, 15.0, 8.0)]
    pair = [(16.0, 20.0, 8.0), (47.0, 20.0, 8.0)]
    return {
        "components": (two, [("components", lambda m: edits.split_components(m, 1))], []),
        "acls": (touching, [("ACLS", lambda m: edits.split_acls(m, 1))], []),
        "parts": (crescent, [("3 compact parts", lambda m: edits.split_k(m, 1, 3))], []),
        "line": (bridge, [("line", lambda m: edits.split_plane(m, 1, *cut, (0, 0, 1)))], cut),
        "nearest": (touching, [("nearest", lambda m: edits.split_seeds(m, 1, three))], three),
        "watershed": (
            waist,
            [
                ("nearest", lambda m: edits.split_seeds(m, 1, pair)),
                ("watershed", lambda m: edits.split_seeds(m, 1, pair, "watershed")),
            ],
            pair,
        ),
        "random-walker": _two_tones(),
    }


def _two_tones() -> tuple[Array, list[tuple[str, Planner]], list[tuple[float, float, float]]]:
    """A lesion whose brighter part has a border that no geometry knows of."""
    base = _balls([(24, 20), (40, 20)], [14, 14])
    i, j, _ = np.indices(SHAPE)
    bright = i + 5 * np.sin(j / 4) > 38
    flair = base * np.where(bright, 1.0, 0.75) + np.where(base > 0.5, np.where(bright, 0.3, 0), 0)
    flair += np.random.default_rng(0).normal(0, 0.02, SHAPE)
    points = [(20.0, 20.0, 8.0), (46.0, 20.0, 8.0)]
    plans: list[tuple[str, Planner]] = [
        ("nearest", lambda m: edits.split_seeds(m, 1, points)),
        ("random walker", lambda m: edits.split_seeds(m, 1, points, "random-walker", flair)),
    ]
    return np.where(base > 0.5, np.clip(flair, 0.51, None), base), plans, points


def _balls(centres: list[tuple[float, float]], radii: list[float]) -> Array:
    places = [(i, j, float(SLICE)) for i, j in centres]
    return soft_balls(SHAPE, (1.0, 1.0, 1.0), places, radii)[0]


def _bar(start: int, stop: int, half: int) -> Array:
    bar = np.zeros(SHAPE)
    bar[start:stop, 20 - half : 20 + half, SLICE - half : SLICE + half] = 0.7
    return bar


def _crescent() -> Array:
    i, j, k = np.indices(SHAPE)
    ring = np.hypot(i - 32.0, (j - 2.0) * 1.0) - 28
    return np.where(j > 8, np.clip(1 - 0.5 * np.hypot(ring, k - SLICE) / 5.5, 0, 1), 0)


def _parts(probability: Array, mask: npt.NDArray[np.bool_], plan: Planner) -> npt.NDArray[np.int32]:
    """The parts of the lesion, 1, 2, ..., in the slice that is drawn."""
    ids = mask.astype(np.int32)
    records = measure_lesions(ids, np.eye(4), probability)
    lesions = LesionMap.from_arrays(ids, np.eye(4), records, probability=probability)
    lesions.apply(plan(lesions))
    found = lesions.ids[..., SLICE]
    return np.where(found > 0, found - 1, 0)


def _draw(
    path: Path,
    probability: Array,
    mask: npt.NDArray[np.bool_],
    parts: list[tuple[str, npt.NDArray[np.int32]]],
    points: Array,
) -> None:
    """The lesion as it was, and as each method splits it, side by side."""
    figure = Figure(figsize=(3.2 * (1 + len(parts)), 2.25), dpi=90, facecolor="#101012")
    FigureCanvasAgg(figure)
    image = ndimage.gaussian_filter(probability[..., SLICE], 0.5)
    for place, (caption, shown) in enumerate([("one lesion", mask[..., SLICE].astype(np.int32)), *parts]):
        axes = figure.add_subplot(1, 1 + len(parts), 1 + place)
        axes.imshow(image.T, cmap="gray", origin="lower", vmin=0, vmax=1.3)
        if place:
            axes.imshow(shown.T, cmap=COLOURS, origin="lower", vmin=0, vmax=4, alpha=0.8)
            if len(points):
                line = "--" if caption == "line" else "none"
                axes.plot(points[:, 0], points[:, 1], linestyle=line, color="white")
                axes.plot(points[:, 0], points[:, 1], "o", color="white", markeredgecolor="black")
        else:
            axes.contour(shown.T, [0.5], colors=["#e69f00"], linewidths=1.5)
        axes.set_title(caption, color="#e8e8e8", fontsize=10)
        axes.set_axis_off()
    figure.subplots_adjust(0.01, 0.02, 0.99, 0.88, wspace=0.03)
    figure.savefig(path, facecolor=figure.get_facecolor())


if __name__ == "__main__":
    default = Path(__file__).parents[1] / "docs" / "pictures"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
