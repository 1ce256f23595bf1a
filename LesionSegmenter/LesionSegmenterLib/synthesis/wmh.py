"""Synthesised masks of white matter hyperintensities of presumed vascular origin.

The patterns are those of the Fazekas scale: periventricular caps, pencil-thin lining, smooth halo and thick
rims; deep lesions that are punctate, begin to flow together, or are confluent.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import InputError

MOST_SEVERE = 4.5
"""The highest severity of `wmh_mask`: Fazekas 3 is any confluence, and the worst is far more than most."""

USUAL, SEVERE = (0.3, 3.0), (3.0, MOST_SEVERE)
"""The severities, least and most, among which training draws."""

_MARGIN_MM = ((45, 45), (40, 40), (12, 30))  # around the lateral ventricles, below and above along R, A, S
_CRUMB_MM3 = 4.0


def wmh_mask(
    ventricles: NDArray[np.bool_],
    white_matter: NDArray[np.bool_],
    spacing: Sequence[float],
    rng: np.random.Generator,
    severity: float,
) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """White matter hyperintensities of one person.

    Every voxel gets a level, its distance to a lesion's core in units of that lesion's reach; the mask is the
    lowest levels that make up the volume drawn for the severity. So rims thicken, and deep lesions grow and
    flow together, as one.

    Parameters
    ----------
    ventricles : (i, j, k)
        The lateral ventricles, axes towards R, A, S, upright.
    white_matter : (i, j, k)
        The white matter on the same grid.
    spacing : (3,)
        Voxel size in mm, about 1.
    rng : numpy.random.Generator
        Everything random comes from it.
    severity : float
        Fazekas-like grade, 0 (none) to 3 (confluent), and on to `MOST_SEVERE` (hardly any white matter is
        spared); volume is about 2, 12, 35 and 75 ml at 1, 2, 3 and 4.

    Returns
    -------
    mask : (i, j, k) bool
    instances : (i, j, k) int32
        Lesion ids from 1: each periventricular cap or rim that holds together, and each deep lesion; where
        they flow together, a voxel belongs to the lesion for which its level is lowest.

    Raises
    ------
    InputError
        The severity is outside 0 to `MOST_SEVERE`, a mask is empty, or shapes differ.
    """
    if not 0 <= severity <= MOST_SEVERE:
        raise InputError(f"severity must be from 0 to {MOST_SEVERE}, not {severity}")
    if ventricles.shape != white_matter.shape or not ventricles.any() or not white_matter.any():
        raise InputError("ventricles and white matter must be two masks on one grid, neither of them empty")
    step = np.asarray(spacing, dtype=np.float32)
    box = _box(ventricles, step)
    anatomy = _Anatomy(ventricles[box], white_matter[box], step)
    target = 2000 * severity**2.6 * rng.lognormal(0, 0.25)  # mm3
    in_deep = target * rng.beta(1 + severity / 2, 4)

    noise = _smooth_noise(anatomy.distance.shape, rng, coarse=3)
    waves = _smooth_noise(anatomy.distance.shape, rng, coarse=10)
    rims, rim_ids = _periventricular(anatomy, rng, severity)
    blobs, blob_ids = _deep(anatomy, rng, severity, in_deep)
    rims = rims * np.exp(0.15 * noise + 0.35 * waves)
    rims = _scaled(rims, anatomy.allowed, (target - in_deep) / step.prod())
    blobs = blobs * np.exp(0.25 * noise)
    level = _scaled(np.minimum(rims, blobs), anatomy.allowed, target / step.prod())
    ids = np.where((level < 1) & anatomy.allowed, np.where(blobs < rims, blob_ids, rim_ids), 0)

    instances = np.zeros(ventricles.shape, dtype=np.int32)
    instances[box] = _without_crumbs(ids, _CRUMB_MM3 / float(step.prod()))
    return instances > 0, instances


class _Anatomy:
    """Where lesions can lie and the coordinates they are described in, in the box around the ventricles."""

    def __init__(self, ventricles: NDArray[np.bool_], white_matter: NDArray[np.bool_], step: NDArray) -> None:
        self.ventricles, self.step = ventricles, step
        self.points = np.indices(ventricles.shape, dtype=np.float32) * step[:, None, None, None]  # mm
        self.midline = float(self.points[0][ventricles].mean())
        distance, nearest = ndimage.distance_transform_edt(~ventricles, sampling=step, return_indices=True)
        self.distance = distance.astype(np.float32)  # mm to the lateral ventricles
        self.away = self.points - nearest * step[:, None, None, None]  # mm, from the nearest ventricle voxel
        self.lateral = np.abs(self.points[0] - self.midline)  # mm from the midline
        # The ependyma's partial volume is neither white matter nor ventricle: close that gap.
        lining = (self.distance <= 2) & ndimage.binary_dilation(white_matter, iterations=2)
        self.allowed = (white_matter | lining) & ~ventricles
        self.inner = ndimage.binary_erosion(white_matter, iterations=2)  # spares the U-fibres


def _box(ventricles: NDArray[np.bool_], step: NDArray) -> tuple[slice, ...]:
    found = ndimage.find_objects(ventricles.astype(np.int8))[0]
    return tuple(
        slice(max(int(f.start - low / s), 0), min(int(f.stop + high / s), n))
        for f, (low, high), s, n in zip(found, _MARGIN_MM, step, ventricles.shape, strict=True)
    )


def _periventricular(
    anatomy: _Anatomy, rng: np.random.Generator, severity: float
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Level of rims and caps, distance to the ventricle over their thickness, and id (1 left, 2 right)."""
    right = anatomy.points[0] > anatomy.midline
    outward = (np.where(right, 1, -1) * anatomy.away[0] + 0.7 * anatomy.away[2]) / (anatomy.distance + 1e-3)
    # Along the lateral and upper walls; the corpus callosum and the inner walls are mostly spared.
    wall = np.clip(0.15 + 0.85 * outward, 0.15, 1) * np.clip((anatomy.lateral - 4) / 8, 0.1, 1)
    rim = rng.uniform(0.15, 0.5) + 0.25 * severity
    thickness = rim * wall
    frontal, occipital = rng.uniform(1.2, 2.6, 2)
    for side in (right, ~right):
        horns = np.argwhere(anatomy.ventricles & side) * anatomy.step
        for size, tip in ((frontal, horns[:, 1].max() - 3), (occipital, horns[:, 1].min() + 3)):
            beyond = horns[(horns[:, 1] - tip) * np.sign(tip - horns[:, 1].mean()) >= 0]
            offset = anatomy.points - beyond.mean(axis=0).astype(np.float32)[:, None, None, None]
            near = np.exp(-np.square(offset).sum(axis=0) / (2 * rng.uniform(7, 11) ** 2))
            thickness = thickness + size * rng.lognormal(0, 0.15) * near * side
    return (anatomy.distance - anatomy.step.min() / 2) / thickness, np.where(right, 2, 1).astype(np.int32)


def _deep(
    anatomy: _Anatomy, rng: np.random.Generator, severity: float, volume: float
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Level of deep lesions, ellipsoids of ``volume`` mm3 together, and each voxel's lesion (ids from 3)."""
    level = np.full(anatomy.allowed.shape, np.inf, dtype=np.float32)
    ids = np.zeros(level.shape, dtype=np.int32)
    places, cumulative = _deep_density(anatomy)
    volume = volume if len(places) else 0.0
    lesion_id, centre = 2, None
    while volume > 0:
        radius = min(rng.lognormal(np.log(1.1 + 0.6 * severity), 0.45), 9.0)
        radii = radius * rng.lognormal(0, 0.2, 3) * (0.85, 1.35, 0.9)  # longer from front to back
        if centre is not None and rng.random() < 0.2 * severity:  # flows together with the last one
            centre = centre + rng.normal(0, 1.3, 3) * radii / anatomy.step
        else:
            centre = places[np.searchsorted(cumulative, rng.random())].astype(np.float64)
        twins = [centre]
        if rng.random() < 0.5:  # the disease is fairly symmetric
            mirrored = centre.copy()
            mirrored[0] = 2 * anatomy.midline / anatomy.step[0] - centre[0]
            twins.append(mirrored + rng.normal(0, 4, 3) / anatomy.step)
        for place in twins:
            lesion_id += 1
            _lower(level, ids, place, radii / anatomy.step, lesion_id)
            volume -= 4 / 3 * np.pi * radii.prod()
    return level, ids


def _deep_density(anatomy: _Anatomy) -> tuple[NDArray[np.integer], NDArray[np.float64]]:
    """Voxels that can hold a deep lesion's centre, (n, 3), and their cumulative chance.

    Most are in the corona radiata and the centrum semiovale, off the midline.
    """
    top = anatomy.points[2][anatomy.ventricles].max()
    height = np.exp(-np.square((anatomy.points[2] - top - 2) / 13) / 2)
    reach = np.exp(-np.square((anatomy.distance - 8) / 9) / 2)
    chance = height * reach * (anatomy.inner & (anatomy.lateral > 12) & (anatomy.distance > 3))
    places = np.argwhere(chance > 0.02)
    weights = chance[tuple(places.T)].astype(np.float64)
    return places, np.cumsum(weights) / max(weights.sum(), 1e-9)


def _lower(level: NDArray, ids: NDArray, centre: NDArray, radii: NDArray, lesion_id: int) -> None:
    """Paint one ellipsoid's level (voxel units), in a box three radii wide, where it is the lowest so far."""
    reach = 3 * radii + 1
    box = tuple(
        slice(max(int(c - r), 0), max(min(int(c + r) + 1, n), 0))
        for c, r, n in zip(centre, reach, level.shape, strict=True)
    )
    axes = np.ogrid[box]
    own = sum(np.square((a - c) / r) for a, c, r in zip(axes, centre, radii, strict=True))
    own = np.sqrt(own).astype(np.float32)
    lower = own < level[box]
    level[box][lower] = own[lower]
    ids[box][lower] = lesion_id


def _scaled(level: NDArray[np.float32], allowed: NDArray[np.bool_], voxels: float) -> NDArray[np.float32]:
    """The level, scaled so that about ``voxels`` allowed ones are under 1."""
    finite = level[allowed & np.isfinite(level)]
    rank = min(round(voxels), len(finite) - 1)
    if rank < 1:
        return np.full_like(level, np.inf)
    return level / np.partition(finite, rank)[rank]


def _smooth_noise(shape: tuple[int, ...], rng: np.random.Generator, coarse: int) -> NDArray[np.float32]:
    """Noise of variance about 1 that changes over ``coarse`` voxels."""
    small = rng.standard_normal([-(-n // coarse) + 1 for n in shape]).astype(np.float32)
    small = ndimage.gaussian_filter(small, 0.8)
    large = ndimage.zoom(small / small.std(), coarse, order=1)
    return large[tuple(slice(n) for n in shape)]


def _without_crumbs(ids: NDArray[np.int32], min_voxels: float) -> NDArray[np.int32]:
    """Every connected part (26) of an id gets its own id from 1; parts under ``min_voxels`` are dropped."""
    out = np.zeros_like(ids)
    new_id = 0
    for old_id, box in enumerate(ndimage.find_objects(ids), start=1):
        if box is None:
            continue
        parts, n = ndimage.label(ids[box] == old_id, structure=np.ones((3, 3, 3)))
        sizes = np.bincount(parts.ravel(), minlength=n + 1)
        for part in range(1, n + 1):
            if sizes[part] >= min_voxels:
                new_id += 1
                out[box][parts == part] = new_id
    return out
