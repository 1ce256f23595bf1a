"""Hand-made lesions whose truth is known: soft balls on any grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Point = Sequence[float]


def distance_mm(shape: Sequence[int], spacing: Point, centre_mm: Point) -> npt.NDArray[np.float64]:
    """Distance in mm of every voxel centre of an (i, j, k) grid from a point; voxel 0 lies at 0 mm."""
    axes = [n * size - centre for n, size, centre in zip(np.indices(shape), spacing, centre_mm, strict=True)]
    return np.sqrt(sum(axis**2 for axis in axes))


def soft_balls(
    shape: Sequence[int],
    spacing: Point,
    centres_mm: Sequence[Point],
    radii_mm: Sequence[float],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Probability map of balls, and the ball each voxel belongs to.

    The probability falls linearly from each centre and is 0.5 on the ball's surface, so that it peaks at
    the centres alone. Returns the map and int32 ids 1..n (the ball that reaches the higher probability),
    both (i, j, k); the mask is ``ids > 0``.
    """
    each = np.stack(
        [
            np.clip(1 - 0.5 * distance_mm(shape, spacing, centre) / radius, 0, 1)
            for centre, radius in zip(centres_mm, radii_mm, strict=True)
        ]
    )
    probability = each.max(axis=0)
    return probability, np.where(probability > 0.5, each.argmax(axis=0) + 1, 0).astype(np.int32)


def touching_spheres(
    spacing: Point = (1.0, 1.0, 1.0),
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Two equal spheres of 6 mm radius that overlap by 2 mm along the first axis, 5 mm off the borders."""
    extent_mm = (32.0, 22.0, 22.0)
    shape = [round(length / size) + 1 for length, size in zip(extent_mm, spacing, strict=True)]
    return soft_balls(shape, spacing, [(11, 11, 11), (21, 11, 11)], [6, 6])


def smooth_noise(shape: Sequence[int], seed: int, sigma: float = 1.5) -> npt.NDArray[np.float64]:
    """A random smooth map in 0..1, with lesion-like blobs of every size where it is over 0.5."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), sigma)
    return 1 / (1 + np.exp(-4 * noise / noise.std()))


def as_partition(instances: npt.NDArray[np.integer]) -> set[frozenset[int]]:
    """The lesions as sets of voxels, whatever their ids."""
    flat = instances.ravel()
    return {frozenset(np.flatnonzero(flat == lesion).tolist()) for lesion in np.unique(flat[flat > 0])}
