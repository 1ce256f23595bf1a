"""A synthetic FLAIR: tissue maps deformed, given FLAIR contrast, and wrapped in a skull if asked."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from ..engine.resample import resample
from .anatomy import Anatomy

HEAD_MARGIN = 22  # voxels of 1 mm around the brain's box that hold skull and scalp


@dataclass(frozen=True, eq=False)
class Head:
    """A FLAIR in arbitrary units (white matter about 100) and the anatomy it shows, on one 1 mm grid."""

    flair: np.ndarray
    anatomy: Anatomy


def smooth_noise(shape: tuple[int, ...], cells: int, rng: np.random.Generator) -> np.ndarray:
    """A smooth random field of unit spread: white noise on about ``cells`` points an axis, interpolated."""
    coarse = rng.standard_normal([cells] * 3).astype(np.float32)
    return resample(ndimage.zoom(coarse, 2, order=3, mode="nearest"), shape)  # type: ignore[arg-type]


def distance_to(mask: np.ndarray, closing: int = 0) -> np.ndarray:
    """Distance in voxels to a mask, measured on every second voxel, after closing it by so many of those."""
    coarse = mask[::2, ::2, ::2]
    if closing:
        coarse = ndimage.binary_closing(coarse, iterations=closing)
    distance = ndimage.distance_transform_edt(~coarse, sampling=2).astype(np.float32)
    return resample(distance, mask.shape)  # type: ignore[arg-type]


def deform(anatomy: Anatomy, rng: np.random.Generator, amount_mm: float = 4.0) -> Anatomy:
    """Another person's brain: each axis scaled, a smooth warp, and ventricles of another width."""
    shape = anatomy.brain.shape
    centre = (np.array(shape) - 1) / 2
    scale = rng.uniform(0.93, 1.07, 3)
    coordinates = [
        (np.arange(n, dtype=np.float32).reshape([-1 if a == axis else 1 for a in range(3)]) - centre[axis])
        / scale[axis]
        + centre[axis]
        + smooth_noise(shape, 4, rng) * amount_mm
        for axis, n in enumerate(shape)
    ]
    grid = np.stack(np.broadcast_arrays(*coordinates))
    brain, gray, white, ventricles = (
        ndimage.map_coordinates(m.astype(np.float32), grid, order=1, output=np.float32)
        for m in (anatomy.brain, anatomy.gray, anatomy.white, anatomy.ventricles)
    )
    # Ageing widens the ventricles; tissue within the new wall becomes fluid.
    widened = distance_to(ventricles > 0.5) < rng.uniform(0, 4)
    ventricles = (ventricles > 0.5) | (widened & (brain > 0.5))
    tissue = 1 - ndimage.gaussian_filter(ventricles.astype(np.float32), 0.5)
    return replace(anatomy, brain=brain, gray=gray * tissue, white=white * tissue, ventricles=ventricles)


def _sharpened(fractions: list[np.ndarray], power: float) -> list[np.ndarray]:
    """Tissue fractions of one person rather than of an average of many: larger shares grow."""
    powered = [f**power for f in fractions]
    total = np.maximum(sum(powered), 1e-3)
    return [f / total for f in powered]


def synthetic_head(anatomy: Anatomy, rng: np.random.Generator, *, skull: bool) -> Head:
    """A lesion-free FLAIR of ``anatomy`` with random contrast, texture and bias field, without noise."""
    present = np.clip(anatomy.brain, 0, 1)
    gray, white, fluid = _sharpened([anatomy.gray, anatomy.white, anatomy.fluid], rng.uniform(1.5, 3))
    to_wall = distance_to(anatomy.ventricles)
    wm_level = 100 + rng.uniform(0, 4) * smooth_noise(present.shape, 8, rng)
    wm_level += rng.uniform(0, 14) * np.exp(-to_wall / rng.uniform(1, 4))  # the normal bright ependymal rim
    gm_level = 100 + rng.uniform(4, 42) + rng.uniform(1, 6) * smooth_noise(present.shape, 10, rng)
    fluid_level = rng.uniform(4, 32)
    flair = white * wm_level + gray * gm_level + fluid * fluid_level
    fine = rng.standard_normal(present.shape).astype(np.float32)
    flair += rng.uniform(2, 7) * ndimage.gaussian_filter(fine, 0.8) * (1 - fluid)
    flair *= present
    if skull:
        flair, anatomy = _wrap(flair, anatomy, rng)
    flair *= np.exp(rng.uniform(0, 0.15) * smooth_noise(flair.shape, 2, rng))
    return Head(flair.astype(np.float32), anatomy)


def _wrap(flair: np.ndarray, anatomy: Anatomy, rng: np.random.Generator) -> tuple[np.ndarray, Anatomy]:
    """The brain inside subarachnoid fluid, skull and scalp, on a grid with a margin."""

    def pad(array: np.ndarray) -> np.ndarray:
        return np.pad(array, HEAD_MARGIN)

    affine = anatomy.affine.copy()
    affine[:3, 3] -= HEAD_MARGIN
    anatomy = Anatomy(
        pad(anatomy.brain), pad(anatomy.gray), pad(anatomy.white), pad(anatomy.ventricles), affine
    )
    flair = pad(flair)
    # Closed, so that the skull follows the head's outline and not the folds.
    outside = distance_to(anatomy.brain > 0.3, closing=4) + 0.8 * smooth_noise(flair.shape, 8, rng)
    skull_at = rng.uniform(2, 4)
    scalp_at = skull_at + rng.uniform(4, 8)
    skin_at = scalp_at + rng.uniform(4, 10)
    scalp = rng.uniform(60, 260) * (1 + 0.35 * smooth_noise(flair.shape, 12, rng))
    marrow = rng.uniform(5, 60)
    shell = np.select(
        [
            outside < skull_at,
            outside < skull_at + 1.5,
            outside < scalp_at - 1.5,
            outside < scalp_at,
            outside < skin_at,
        ],
        [rng.uniform(5, 30), 6.0, marrow, 6.0, scalp],
        0.0,
    )
    shell = ndimage.gaussian_filter(shell.astype(np.float32), 0.6)
    return np.where(anatomy.brain > 0.5, flair, np.maximum(shell, flair)), anatomy


def add_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Rician noise of a magnitude image: ``sigma`` in the image's units in each of two channels."""
    real = image + sigma * rng.standard_normal(image.shape, dtype=np.float32)
    imaginary = sigma * rng.standard_normal(image.shape, dtype=np.float32)
    return np.hypot(real, imaginary)
