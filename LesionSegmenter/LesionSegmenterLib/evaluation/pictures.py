"""Pictures of single cases: where a model was right, where it found too much, and what it missed."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage

from ..report import grey_window

RIGHT, FALSE, MISSED = "#009e73", "#d55e00", "#56b4e9"
SLICES = 4


def error_picture(flair: NDArray, found: NDArray, true: NDArray, spacing: Sequence[float]) -> bytes:
    """A PNG of the axial slices where found and true lesions differ most, each with its outlines.

    flair : (R, A, S) intensities, as `image.to_canonical` gives them; ``found`` and ``true`` are masks on its
    grid, ``spacing`` is in mm. Outlined are what is found and true (green), found alone (orange) and missed
    (blue). The patient's right is on the left.
    """
    wrong = (found != true).sum(axis=(0, 1))
    chosen = sorted(np.argsort(-wrong, kind="stable")[: min(SLICES, flair.shape[2])].tolist())
    floor, ceiling = np.percentile(flair, (1, 99))
    low, high = grey_window(flair, flair > floor + 0.1 * (ceiling - floor))
    height = 2.6 * flair.shape[1] * spacing[1] / (flair.shape[0] * spacing[0])
    figure = Figure(figsize=(2.6 * len(chosen), height), dpi=110, facecolor="black")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(chosen), squeeze=False)[0]
    figure.subplots_adjust(0, 0, 1, 1, 0.01, 0.01)
    for axes, k in zip(panels, chosen, strict=True):
        grey = np.clip((flair[..., k] - low) / max(high - low, 1e-6), 0, 1)
        picture = np.repeat(grey[..., None], 3, axis=2)
        for mask, colour in (
            (found[..., k] & true[..., k], RIGHT),
            (found[..., k] & ~true[..., k], FALSE),
            (true[..., k] & ~found[..., k], MISSED),
        ):
            picture[mask & ~ndimage.binary_erosion(mask)] = to_rgb(colour)
        aspect = spacing[1] / spacing[0]
        axes.imshow(picture[::-1, ::-1].transpose(1, 0, 2), aspect=aspect, interpolation="nearest")
        axes.set_axis_off()
    png = io.BytesIO()
    figure.savefig(png, format="png", facecolor="black", metadata={"Software": None})
    return png.getvalue()
