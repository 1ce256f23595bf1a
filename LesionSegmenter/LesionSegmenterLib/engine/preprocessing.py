"""From a canonical FLAIR to the network's working grid and intensities, and back again.

The same code prepares training cases and new ones. A volume is cropped to the head or brain, resampled to
1 mm in plane, and normalised (see `normalisation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

from ..errors import InputError
from ..instances.components import bounding_box
from .brain import without_holes
from .normalisation import (
    CLIP,
    NORMALISATION,
    Normalisation,
    brain_of,
    deep_values,
    median_and_deviation,
    without_outliers,
)
from .resample import resample

WORKING_MM = 1.0
ISOTROPIC_BELOW_MM = 1.5  # thinner slices are resampled to 1 mm and read in all three planes
_COARSE_MM = 4.0
_MARGIN_MM = 6.0


@dataclass(frozen=True)
class WorkingGrid:
    """Where the network works: a box of the canonical image on a grid of its own.

    ``box`` holds (start, stop) per canonical axis; ``shape`` is the working grid over that box;
    ``spacing`` its voxel sides in mm; ``slice_axis`` the axis across the slices.
    """

    image_shape: tuple[int, int, int]
    box: tuple[tuple[int, int], ...]
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    slice_axis: int

    @property
    def isotropic(self) -> bool:
        """Whether the three planes look alike, so that each can be predicted and averaged."""
        return max(self.spacing) < ISOTROPIC_BELOW_MM

    @property
    def from_image(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(scale, shift): along each axis, working voxel = scale * canonical voxel + shift."""
        scale = tuple(size / (stop - start) for size, (start, stop) in zip(self.shape, self.box, strict=True))
        # Voxel edges, not voxel centres, coincide, as in `resample`.
        return scale, tuple((0.5 - start) * s - 0.5 for s, (start, _) in zip(scale, self.box, strict=True))

    def gather(self, array: np.ndarray) -> np.ndarray:
        """A canonical array (image_shape) on the working grid, float32."""
        return resample(array[tuple(slice(*side) for side in self.box)], self.shape)

    def scatter(self, working: np.ndarray) -> np.ndarray:
        """A working array back on the canonical grid, float32, 0 outside the box."""
        full = np.zeros(self.image_shape, np.float32)
        i, j, k = (stop - start for start, stop in self.box)
        full[tuple(slice(*side) for side in self.box)] = resample(working, (i, j, k))
        return full


def foreground(array: np.ndarray, spacing: tuple[float, ...]) -> tuple[np.ndarray, tuple[int, ...]]:
    """The head or brain on a coarse grid of about 4 mm: (mask, voxels averaged per axis).

    A coarse voxel belongs to it if it is brighter than 8% of the range up to the 99th percentile, and than
    the air, whose noise may be brighter than that; the largest connected piece is kept and its holes are
    filled.
    """
    factors = tuple(max(1, min(round(_COARSE_MM / s), n)) for s, n in zip(spacing, array.shape, strict=True))
    coarse_shape = tuple(-(-n // f) for n, f in zip(array.shape, factors, strict=True))
    padded = np.pad(
        array,
        [(0, c * f - n) for c, f, n in zip(coarse_shape, factors, array.shape, strict=True)],
        mode="edge",
    )
    split = [size for c, f in zip(coarse_shape, factors, strict=True) for size in (c, f)]
    coarse = padded.reshape(split).mean(axis=(1, 3, 5))
    low, high = np.percentile(array[::2, ::2], (1, 99))
    mask = coarse > max(low + 0.08 * (high - low), _brightest_air(np.clip(coarse, low, high)))
    labels, count = ndimage.label(mask)
    if count == 0:
        raise InputError(
            "no head or brain stands out from the background", todo="Check that it is a FLAIR volume"
        )
    mask = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    # Slice by slice along each axis: the ventricles and sinuses of a head cut off below are open in 3D.
    for axis in range(3):
        mask = without_holes(mask, axis)
    return mask, factors


def _brightest_air(coarse: np.ndarray) -> float:
    """The intensity up to which the darker of two classes (Otsu's) counts as air.

    A tenth of the way to the brighter class, or four spreads of the darker one where noise makes that more.
    Where there is little air the darker class is fluid: Otsu's threshold bounds what it can take away.
    """
    middle = float(threshold_otsu(coarse))
    dark, bright = coarse[coarse <= middle], coarse[coarse > middle]
    if not bright.size:
        return middle
    air = float(np.median(dark))
    spread = 1.4826 * float(np.median(np.abs(dark - air)))
    return min(air + max(0.1 * (float(np.median(bright)) - air), 4 * spread), 0.6 * middle)


def working_grid(
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
    mask: np.ndarray,
    factors: tuple[int, ...],
    *,
    keep_slices: bool = True,
) -> WorkingGrid:
    """The working grid of a canonical image whose coarse foreground is ``mask``.

    Slices of ISOTROPIC_BELOW_MM or more keep their thickness if ``keep_slices``; all else becomes 1 mm.
    """
    inside = bounding_box(mask)
    assert inside is not None, "a foreground holds something"
    box = []
    for axis in range(3):
        margin = round(_MARGIN_MM / spacing[axis])
        start = max(0, inside[axis].start * factors[axis] - margin)
        stop = min(shape[axis], inside[axis].stop * factors[axis] + margin)
        box.append((start, stop))
    thickest = max(spacing)
    # Axial is the default; slices clearly thicker than the pixels decide otherwise.
    clearly_thicker = thickest >= max(ISOTROPIC_BELOW_MM, 1.25 * spacing[2])
    slice_axis = list(spacing).index(thickest) if clearly_thicker else 2
    new_shape = []
    for axis, (start, stop) in enumerate(box):
        thick = axis == slice_axis and spacing[axis] >= ISOTROPIC_BELOW_MM
        in_mm = (stop - start) * spacing[axis]
        new_shape.append(stop - start if thick and keep_slices else max(1, round(in_mm / WORKING_MM)))
    new_spacing = [
        (stop - start) * step / size
        for (start, stop), step, size in zip(box, spacing, new_shape, strict=True)
    ]
    return WorkingGrid(_three(shape), tuple(box), _three(new_shape), _three(new_spacing), slice_axis)


def _three(values: Sequence[Any]) -> tuple[Any, Any, Any]:
    first, second, third = values
    return first, second, third


class Prepared(NamedTuple):
    """What the network reads of a scan.

    images : (i, j, k) float32 each, on the working grid, clipped to CLIP.
    brain : the rough brain mask that intensities were taken from, None where they were taken from elsewhere.
    """

    images: list[np.ndarray]
    grid: WorkingGrid
    brain: np.ndarray | None


def prepare(
    flair: np.ndarray,
    spacing: tuple[float, ...],
    *others: np.ndarray,
    keep_slices: bool = True,
    normalisation: Normalisation = NORMALISATION,
) -> Prepared:
    """The working images, their grid, and the brain.

    Parameters
    ----------
    flair : (i, j, k)
        Canonical volume in RAS axis order; the grid and the head's outline are taken from it.
    spacing : 3 lengths
        Its voxel sides in mm.
    *others : (i, j, k)
        Further modalities on the same grid, normalised in the same region.
    keep_slices : bool
        Whether thick slices stay as they are (2D networks) or become 1 mm too (3D networks).
    normalisation
        Where intensities are taken from, see `normalisation`.

    Raises InputError where no head or brain can be told from the background.
    """
    mask, factors = foreground(flair, spacing)
    grid = working_grid(flair.shape, spacing, mask, factors, keep_slices=keep_slices)
    working = grid.gather(flair)
    brain = None
    if normalisation == "brain-median-mad":
        brain = brain_of(working, grid.spacing, deep_values(flair, spacing, mask, factors))
    images = []
    for array in (flair, *others):
        if array is not flair:
            working = grid.gather(array)
        if brain is not None:
            median, scale = without_outliers(working[brain])
        else:
            median, scale = median_and_deviation(deep_values(array, spacing, mask, factors))
        image = working - median  # a new array: what was gathered may be a view of the caller's
        image /= scale
        images.append(np.clip(image, *CLIP, out=image))
    return Prepared(images, grid, brain)
