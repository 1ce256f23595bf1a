"""Pictures and tables of a case: the montage that a reader checks first, and a table for the terminal."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scipy import ndimage

from .labels import TYPE_COLOURS, LesionType
from .lesions import LesionRecord

COLUMNS = 4
PANEL_PIXELS = (330, 460)  # greatest width and height of one slice in the montage
SLICE_GAP_MM = 5.0  # between two chosen slices: neighbours show the same lesions twice
WINDOW_PERCENTILES = (2.0, 99.7)  # of the foreground
BACKGROUND = "#101012"
TEXT = "#e8e8e8"
DPI = 100


def qc_montage(
    flair: NDArray,
    types: NDArray,
    instances: NDArray,
    spacing: Sequence[float],
    title: str = "",
    max_slices: int = 12,
) -> bytes:
    """A PNG of the axial slices with the most lesion, every lesion outlined in its type's colour.

    `flair` (intensities), `types` (label values) and `instances` (lesion ids) are (R, A, S) as
    `image.to_canonical` gives them, `spacing` is in mm along those axes, `title` a line over the picture. At
    most `max_slices` are shown, at least 5 mm apart, in order from inferior to superior.

    Slices are shown in the radiological convention, the patient's right on the left. Without lesions evenly
    spaced slices are shown. The same input gives the same bytes.
    """
    # Percentiles of every voxel of a large image take a second and hardly differ.
    thin = tuple(slice(None, None, max(1, size // 128)) for size in flair.shape)
    low, high = np.percentile(flair[thin], (1, 99))
    foreground = flair > low + 0.1 * (high - low)
    chosen = _choose_slices(instances, foreground, spacing[2], max_slices)
    window = grey_window(flair[thin], foreground[thin])
    box = _in_plane_box(foreground[:, :, chosen])
    panels = [
        _panel(flair[..., k][box], types[..., k][box], instances[..., k][box], spacing, window)
        for k in chosen
    ]
    captions = [f"slice {k + 1}/{flair.shape[2]}" for k in chosen]
    return _compose(panels, captions, _legend(types, instances, float(np.prod(spacing))), title)


def _choose_slices(instances: NDArray, foreground: NDArray, gap: float, count: int) -> list[int]:
    """Greedy: the slice with the most lesion, then the next at least `SLICE_GAP_MM` away from all chosen."""
    area = np.count_nonzero(instances, axis=(0, 1))
    if not area.any():
        filled = np.flatnonzero(np.count_nonzero(foreground, axis=(0, 1)) > 0.2 * foreground[..., 0].size)
        filled = filled if filled.size else np.arange(area.size)
        spread = np.linspace(0, filled.size - 1, min(count, filled.size) + 2)[1:-1]
        return sorted({int(filled[round(position)]) for position in spread})
    chosen: list[int] = []
    # Most lesion first, then nearest to it: slices without any fill a first row.
    order = np.lexsort((np.abs(np.arange(area.size) - area.argmax()), -area))
    for k in order:
        if len(chosen) == count or (area[k] == 0 and len(chosen) >= COLUMNS):
            break
        if all(abs(k - other) * gap >= SLICE_GAP_MM for other in chosen):
            chosen.append(int(k))
    return sorted(chosen)


def grey_window(flair: NDArray, foreground: NDArray) -> tuple[float, float]:
    """Grey values that are best shown as black and white, by the foreground's intensities."""
    values = flair[foreground] if foreground.any() else flair.ravel()
    low, middle, high = np.percentile(values, (WINDOW_PERCENTILES[0], 50, WINDOW_PERCENTILES[1]))
    # Where the skin is in the image, its fat is far brighter than any lesion.
    high = min(high, middle + 1.3 * (middle - low))
    return float(low), float(max(high, low + np.finfo(np.float32).eps))


def _in_plane_box(foreground: NDArray) -> tuple[slice, slice]:
    """The part of the plane that holds the head in the chosen slices, with a margin of 3 %."""
    box = []
    for axis in (0, 1):
        hit = np.flatnonzero(foreground.mean(axis=(1 - axis, 2)) > 0.01)  # not a few voxels of noise
        size = foreground.shape[axis]
        margin = round(0.03 * size) + 1
        first, last = (hit[0], hit[-1]) if hit.size else (0, size - 1)
        box.append(slice(max(int(first) - margin, 0), min(int(last) + margin + 1, size)))
    return box[0], box[1]


def _panel(
    flair: NDArray, types: NDArray, instances: NDArray, spacing: Sequence[float], window: tuple[float, float]
) -> NDArray[np.uint8]:
    """One slice, (R, A), as RGB in screen pixels of equal mm: anterior up, the patient's right on the left.

    The outline lies on the lesion's own outermost screen pixels: touching lesions get one each.
    """
    extent = (flair.shape[0] * spacing[0], flair.shape[1] * spacing[1])
    scale = min(PANEL_PIXELS[0] / extent[0], PANEL_PIXELS[1] / extent[1])
    width, height = (max(round(scale * mm), 1) for mm in extent)
    across = (np.arange(width)[::-1] + 0.5) / width * flair.shape[0] - 0.5
    up = (np.arange(height)[::-1] + 0.5) / height * flair.shape[1] - 0.5
    rows, columns = np.meshgrid(up, across, indexing="ij")
    grey = ndimage.map_coordinates(flair.astype(np.float32), [columns, rows], order=1, mode="nearest")
    grey = np.clip((grey - window[0]) / (window[1] - window[0]), 0, 1)
    picture = np.repeat((grey * 255).astype(np.uint8)[..., None], 3, axis=2)
    nearest = np.ix_(np.rint(across).astype(int), np.rint(up).astype(int))
    ids, kinds = instances[nearest].T, types[nearest].T
    inner = (ndimage.minimum_filter(ids, 3) == ids) & (ndimage.maximum_filter(ids, 3) == ids)
    for lesion_type, colour in TYPE_COLOURS.items():
        picture[(kinds == lesion_type) & ~inner] = np.rint(np.array(colour) * 255)
    return picture


def _legend(types: NDArray, instances: NDArray, voxel_mm3: float) -> list[tuple[LesionType, str]]:
    """Number and volume of the lesions of each type that there is."""
    entries = []
    for lesion_type in LesionType:
        ids = instances[types == lesion_type]
        if ids.size:
            count = np.unique(ids).size
            millilitres = ids.size * voxel_mm3 / 1000
            entries.append((lesion_type, f"{lesion_type.label}: {_lesions(count)}, {millilitres:.2f} ml"))
    return entries


def _lesions(count: int) -> str:
    return f"{count} lesion" if count == 1 else f"{count} lesions"


def _compose(
    panels: list[NDArray[np.uint8]], captions: list[str], legend: list[tuple[LesionType, str]], title: str
) -> bytes:
    """Panels in a grid under a title, with a legend below; PNG bytes."""
    columns = min(len(panels), COLUMNS)
    rows = -(-len(panels) // columns)
    height, width = panels[0].shape[:2]
    gap, head, foot = 6, 44, 24 + 24 * max(-(-len(legend) // columns), 1)
    size = (columns * (width + gap) + gap, rows * (height + gap) + gap + head + foot)
    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    for index, (panel, caption) in enumerate(zip(panels, captions, strict=True)):
        row, column = divmod(index, columns)
        left, top = gap + column * (width + gap), head + gap + row * (height + gap)
        # Pixel for pixel: the axes are exactly as large as the panel.
        axes = figure.add_axes(
            (left / size[0], 1 - (top + height) / size[1], width / size[0], height / size[1])
        )
        axes.imshow(panel, interpolation="none", aspect="auto")
        axes.set_axis_off()
        for x, side in ((0.03, "R"), (0.97, "L")):
            axes.text(
                x, 0.5, side, transform=axes.transAxes, color=TEXT, fontsize=10, ha="center", va="center"
            )
        axes.text(0.02, 0.02, caption, transform=axes.transAxes, color=TEXT, fontsize=8, va="bottom")
    figure.text(gap / size[0], 1 - head / 2 / size[1], title, color=TEXT, fontsize=12, va="center")
    if legend:
        handles = [Patch(facecolor="none", edgecolor=TYPE_COLOURS[kind], linewidth=2) for kind, _ in legend]
        figure.legend(
            handles,
            [text for _, text in legend],
            loc="lower left",
            bbox_to_anchor=(0, 0),
            ncols=columns,
            frameon=False,
            labelcolor=TEXT,
            fontsize=10,
        )
    else:
        figure.text(
            gap / size[0], foot / 2 / size[1], "no lesion found", color=TEXT, fontsize=10, va="center"
        )
    png = io.BytesIO()
    figure.savefig(png, format="png", facecolor=BACKGROUND, metadata={"Software": None})
    return png.getvalue()


def lesion_table(records: Iterable[LesionRecord], limit: int = 20) -> str:
    """A plain-text table of the `limit` largest lesions, largest first, and the totals of each type."""
    ordered = sorted(records, key=lambda record: (-record.volume_mm3, record.lesion_id))
    if not ordered:
        return "no lesion found"
    lines = ["lesion  type    volume ml  diameter mm  probability      R      A      S"]
    for record in ordered[:limit]:
        chance = "-" if record.mean_probability is None else f"{record.mean_probability:.2f}"
        position = " ".join(f"{mm:6.1f}" for mm in record.centroid_ras_mm)
        lines.append(
            f"L{record.lesion_id:04d}   {record.type.label:<6}  {record.volume_mm3 / 1000:9.3f}  "
            f"{record.max_diameter_mm:11.1f}  {chance:>11} {position}"
        )
    if len(ordered) > limit:
        lines.append(f"... and {len(ordered) - limit} smaller")
    lines.append("")
    for lesion_type in LesionType:
        volumes = [record.volume_mm3 for record in ordered if record.type == lesion_type]
        if volumes:
            lines.append(
                f"{lesion_type.label + ':':<8}{_lesions(len(volumes)):>12}, {sum(volumes) / 1000:.2f} ml"
            )
    return "\n".join(lines)
