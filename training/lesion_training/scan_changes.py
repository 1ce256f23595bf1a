"""A scan as another scanner or protocol would have taken it: FLAIR and true lesions changed together.

Everything is in physical terms (mm, signal-to-noise ratio, percent), and lesions stay where they are in the
world: the affine of the new grid is exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from LesionSegmenterLib.engine.normalisation import deep_values
from LesionSegmenterLib.engine.preprocessing import foreground
from LesionSegmenterLib.engine.resample import resample
from LesionSegmenterLib.image import spacing_of
from LesionSegmenterLib.synthesis.head import add_noise, smooth_noise

SAME_SIZE = 0.05  # a voxel side that differs by less is left as it is: resampling would only blur
_FWHM = 2.355  # of a Gaussian, in standard deviations
_TISSUE_WIDTH = 0.35  # of the tissue's level: gray and white matter lie within, most lesions and fluid not


@dataclass(frozen=True, eq=False)
class Scan:
    """A FLAIR and its truth on one grid, (i, j, k) in RAS axis order.

    lesions : bool. brain : the brain of a whole head, bool; None where the scan is skull-stripped.
    """

    flair: NDArray[np.float32]
    lesions: NDArray[np.bool_]
    affine: NDArray[np.float64]
    brain: NDArray[np.bool_] | None

    @property
    def spacing(self) -> tuple[float, float, float]:
        return spacing_of(self.affine)


@dataclass(frozen=True)
class Protocol:
    """What is changed of a scan; the defaults change nothing.

    slice_mm, in_plane_mm : voxel size, rounded so that whole voxels fill the field of view.
    skull : whether the head is whole or stripped.
    bias : intensity non-uniformity as BrainWeb states it: 0.2 is a field from 0.9 to 1.1 over the brain.
    snr : tissue's level over the sigma of Rician noise, added after resampling.
    gamma : power of the intensities, the 99.5th percentile staying.
    gray_white : factor of the contrast of gray and white matter.
    blur_mm : full width at half maximum of a Gaussian in plane.
    """

    slice_mm: float | None = None
    in_plane_mm: float | None = None
    skull: Literal["whole", "stripped"] | None = None
    bias: float = 0.0
    snr: float | None = None
    gamma: float = 1.0
    gray_white: float = 1.0
    blur_mm: float = 0.0


def feasible(scan: Scan, protocol: Protocol) -> Protocol | None:
    """The protocol without what the scan fulfils as it is; None where it cannot be fulfilled.

    A scan cannot get thinner slices than it has, nor a skull that was taken away. Finer pixels are possible:
    scanners interpolate too.
    """
    thick = slice_axis(scan.spacing)
    pixel = min(s for axis, s in enumerate(scan.spacing) if axis != thick)
    slice_mm, in_plane_mm = protocol.slice_mm, protocol.in_plane_mm
    if slice_mm is not None:
        if slice_mm < (1 - SAME_SIZE) * scan.spacing[thick]:
            return None
        slice_mm = None if slice_mm < (1 + SAME_SIZE) * scan.spacing[thick] else slice_mm
    if in_plane_mm is not None and abs(in_plane_mm / pixel - 1) < SAME_SIZE:
        in_plane_mm = None
    whole = scan.brain is not None
    if protocol.skull == "whole" and not whole:
        return None
    skull: Literal["stripped"] | None = "stripped" if whole and protocol.skull == "stripped" else None
    return replace(protocol, slice_mm=slice_mm, in_plane_mm=in_plane_mm, skull=skull)


def slice_axis(spacing: tuple[float, float, float]) -> int:
    """The axis across the slices: that of clearly the longest voxel side, else the third (axial slices)."""
    return int(np.argmax(spacing)) if max(spacing) > 1.25 * min(spacing) else 2


def rescan(scan: Scan, protocol: Protocol, rng: np.random.Generator) -> Scan:
    """The scan as a `feasible` protocol would have taken it.

    In the order of the physics: contrast, coil sensitivity (bias), blur, sampling, noise; then stripping.
    A voxel of the new grid is lesion, or brain, where at least half of its volume is.
    """
    image = _contrast(scan.flair.astype(np.float32), scan.spacing, protocol)
    level = tissue_level(image, scan.spacing) if protocol.snr else 0.0
    if protocol.bias:
        image = image * bias_field(scan.flair != 0 if scan.brain is None else scan.brain, protocol.bias, rng)
    if protocol.blur_mm:
        thick = slice_axis(scan.spacing)
        sigma = [
            0.0 if axis == thick else protocol.blur_mm / _FWHM / s for axis, s in enumerate(scan.spacing)
        ]
        image = ndimage.gaussian_filter(image, sigma)
    shape = new_shape(scan, protocol)
    image = resample(image, shape)
    if protocol.snr:
        image = add_noise(image, level / protocol.snr, rng)
    lesions = _mostly(scan.lesions, shape)
    brain = None if scan.brain is None else _mostly(scan.brain, shape)
    if brain is None:  # stripped after it was taken: what was cut away is empty of noise as well
        image = np.where(_mostly(scan.flair != 0, shape), image, 0).astype(np.float32)
    elif protocol.skull == "stripped":
        image, brain = np.where(brain, image, 0).astype(np.float32), None
    return Scan(image, lesions, _affine(scan, shape), brain)


def tissue_level(image: NDArray[np.float32], spacing: tuple[float, float, float]) -> float:
    """The brain's typical intensity: the median of the deep foreground (see `normalisation`)."""
    return float(np.median(deep_values(image, spacing, *foreground(image, spacing))))


def _contrast(
    image: NDArray[np.float32], spacing: tuple[float, float, float], protocol: Protocol
) -> NDArray[np.float32]:
    if protocol.gray_white != 1:
        level = tissue_level(image, spacing)
        away = image - level
        near = np.exp(-((away / (_TISSUE_WIDTH * level)) ** 2))
        image = image + (protocol.gray_white - 1) * away * near
    if protocol.gamma != 1:
        top = float(np.percentile(image[::2, ::2], 99.5))
        image = top * np.clip(image / top, 0, None) ** protocol.gamma
    return image


def bias_field(brain: NDArray[np.bool_], amount: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """A smooth random factor whose least and greatest over the brain are 1 -+ amount / 2 (BrainWeb's)."""
    field = smooth_noise(brain.shape, 2, rng)
    low, high = float(field[brain].min()), float(field[brain].max())
    return (1 - amount / 2 + amount * (field - low) / (high - low)).astype(np.float32)


def new_shape(scan: Scan, protocol: Protocol) -> tuple[int, int, int]:
    """The number of voxels a side that fill the scan's field of view at the protocol's voxel size."""
    thick = slice_axis(scan.spacing)

    def count(axis: int) -> int:
        wanted = protocol.slice_mm if axis == thick else protocol.in_plane_mm
        size = scan.flair.shape[axis]
        return size if wanted is None else max(1, round(size * scan.spacing[axis] / wanted))

    return count(0), count(1), count(2)


def coverage(mask: NDArray[np.bool_], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """The share of each voxel's volume that lies in the mask, on a grid of ``shape`` over the same extent."""
    share = mask.astype(np.float32)
    for axis, new in enumerate(shape):
        size = share.shape[axis]
        if size != new:
            edges = np.linspace(0, size, new + 1)
            start = np.arange(size)
            overlap = np.minimum(edges[1:, None], start + 1) - np.maximum(edges[:-1, None], start)
            weights = (np.clip(overlap, 0, None) * new / size).astype(np.float32)
            share = np.moveaxis(np.tensordot(weights, share, (1, axis)), 0, axis)
    return share


def _mostly(mask: NDArray[np.bool_], shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """The voxels of a grid of ``shape`` of which at least half lies in the mask."""
    return coverage(mask, shape) >= 0.5 - 1e-6


def _affine(scan: Scan, shape: tuple[int, int, int]) -> NDArray[np.float64]:
    """The affine of a grid whose outer voxel edges are those of the scan's."""
    steps = np.array(scan.flair.shape) / shape
    to_old = np.diag([*steps, 1.0])
    to_old[:3, 3] = (steps - 1) / 2
    return scan.affine @ to_old
