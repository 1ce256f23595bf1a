"""Shapes of lesions: MS ovoids at the ventricles and under the cortex, infarcts of a territory, lacunes.

Every function returns a level map: below 1 inside the lesion, growing outwards, so that lesions that touch
can be told apart by the lower level.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .anatomy import Anatomy
from .head import distance_to, smooth_noise

FAR = 9.0


def ovoid(
    shape: tuple[int, ...], centre: np.ndarray, direction: np.ndarray, long: float, short: float
) -> np.ndarray:
    """A spheroid with half axes ``long`` (along ``direction``) and ``short``, in voxels; 9 far outside it."""
    start = np.maximum(np.floor(centre - long - 2), 0).astype(int)
    stop = np.minimum(np.ceil(centre + long + 3), shape).astype(int)
    offsets = np.moveaxis(np.mgrid[tuple(map(slice, start, stop))], 0, -1) - centre
    along = offsets @ (direction / max(float(np.linalg.norm(direction)), 1e-6))
    across = np.maximum((offsets**2).sum(-1) - along**2, 0)
    level = np.full(shape, FAR, np.float32)
    level[tuple(map(slice, start, stop))] = np.sqrt((along / long) ** 2 + across / short**2)
    return level


def dawson_fingers(anatomy: Anatomy, rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Ovoids that stand on the wall of the lateral ventricles, pointing away from it (Dawson's fingers)."""
    distance, directions = _from_wall(anatomy.ventricles)
    up = _up(anatomy)
    places = np.argwhere((distance > 3) & (distance < 5) & (anatomy.white > 0.8) & (up > 12) & (up < 32))
    return [
        ovoid(distance.shape, places[p], directions(places[p]), rng.uniform(5, 8), rng.uniform(2.5, 3.5))
        for p in _spread(places, rng, count, 14)
    ]


def juxtacortical(anatomy: Anatomy, rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Round lesions in the white matter that touches the cortex."""
    to_gray = distance_to(anatomy.gray > 0.5)
    places = np.argwhere((to_gray > 1) & (to_gray < 3) & (anatomy.white > 0.7) & (_up(anatomy) > 15))
    return [
        ovoid(
            anatomy.white.shape, places[p], rng.standard_normal(3), rng.uniform(3, 5), rng.uniform(2.5, 3.5)
        )
        for p in _spread(places, rng, count, 20)
    ]


def infarct(anatomy: Anatomy, rng: np.random.Generator, side: int, radius: float) -> np.ndarray:
    """A cortical infarct: a ragged ball about the lateral cortex of the right (1) or left (-1) side."""
    right, front, up = _world(anatomy)
    tissue = (anatomy.gray + anatomy.white > 0.7) & (anatomy.brain > 0.5)
    depth = distance_to(anatomy.brain <= 0.5)
    places = np.argwhere(
        tissue & (depth < 8) & (right * side > 48) & (front > -40) & (front < 0) & (up > 10) & (up < 40)
    )
    centre = places[rng.integers(len(places))]
    ragged = 0.12 * smooth_noise(tissue.shape, 24, rng)
    ball = ovoid(tissue.shape, centre, np.array([1.0, 0.0, 0.0]), 1.4 * radius, 1.4 * radius) * 1.4
    return np.where(tissue, ball + ragged, FAR)


def lacune(anatomy: Anatomy, rng: np.random.Generator, side: int) -> np.ndarray:
    """A small deep infarct beside the basal ganglia of one side."""
    right, front, up = _world(anatomy)
    deep = (np.abs(right * side - 26) < 5) & (np.abs(front + 8) < 10) & (np.abs(up - 12) < 8)
    places = np.argwhere(deep & (anatomy.brain > 0.5) & (anatomy.fluid < 0.2))
    centre = places[rng.integers(len(places))]
    return ovoid(deep.shape, centre, np.array([0.0, 1.0, 0.5]), rng.uniform(5.5, 7.5), rng.uniform(4, 5))


def infratentorial(anatomy: Anatomy, rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Ovoids in the brain stem and the cerebellar white matter, where MS lesions sit and WMH seldom do."""
    _, front, up = _world(anatomy)
    tissue = (anatomy.white > 0.6) & (anatomy.fluid < 0.2)
    places = np.argwhere(tissue & (up < -18) & (up > -50) & (front < -10) & (front > -70))
    return [
        ovoid(tissue.shape, places[p], rng.standard_normal(3), rng.uniform(3, 6), rng.uniform(2.2, 3.5))
        for p in _spread(places, rng, count, 12)
    ]


def striatocapsular(anatomy: Anatomy, rng: np.random.Generator, side: int) -> np.ndarray:
    """An infarct of the lenticulostriate territory: long from front to back, ragged, beside the ventricle."""
    centre = np.array([rng.uniform(22, 28) * side, rng.uniform(-12, 6), rng.uniform(6, 16)])
    voxel = centre - anatomy.affine[:3, 3]
    direction = np.array([-0.25 * side, 1.0, rng.uniform(-0.2, 0.3)])
    shape = anatomy.brain.shape
    ball = ovoid(shape, voxel, direction, rng.uniform(14, 22), rng.uniform(7, 10))
    tissue = (anatomy.brain > 0.5) & (anatomy.fluid < 0.3) & ~anatomy.ventricles
    return np.where(tissue, ball + 0.12 * smooth_noise(shape, 24, rng), FAR)


def beside(level: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An ovoid against another lesion, given by its level: confluent with it, yet a lesion of its own."""
    centre = np.argwhere(level < 1).mean(0)
    place = centre + np.array([0.0, rng.choice((-1, 1)) * 6.0, rng.uniform(-2, 2)])
    return ovoid(level.shape, place, np.array([1.0, 0.2, 0.3]), 5.5, 3.5)


def numbered(levels: list[np.ndarray]) -> np.ndarray:
    """Ids from 1 of lesions given by their levels; a voxel of two goes to the one it lies deeper in."""
    deepest = np.ones_like(levels[0])
    ids = np.zeros(deepest.shape, np.int32)
    for number, level in enumerate(levels, start=1):
        ids[level < deepest] = number
        np.minimum(deepest, level, out=deepest)
    return ids


def _world(anatomy: Anatomy) -> list[np.ndarray]:
    """R, A and S in mm of every voxel, each broadcastable to the grid."""
    return [
        (np.arange(n, dtype=np.float32) + anatomy.affine[axis, 3]).reshape(
            [-1 if a == axis else 1 for a in range(3)]
        )
        for axis, n in enumerate(anatomy.brain.shape)
    ]


def _up(anatomy: Anatomy) -> np.ndarray:
    return np.broadcast_to(_world(anatomy)[2], anatomy.brain.shape)


def _from_wall(ventricles: np.ndarray):
    """Distance to the ventricles, and a function that gives the direction away from them at a voxel."""
    distance, nearest = ndimage.distance_transform_edt(~ventricles, return_indices=True)

    def direction(voxel: np.ndarray) -> np.ndarray:
        return voxel - nearest[(slice(None), *voxel)].astype(float)

    return distance, direction


def _spread(places: np.ndarray, rng: np.random.Generator, count: int, apart: float) -> list[int]:
    """Numbers of up to ``count`` random places at least ``apart`` voxels from each other."""
    chosen: list[int] = []
    for candidate in rng.permutation(len(places))[:2000]:
        if len(chosen) == count:
            break
        near = np.linalg.norm(places[chosen] - places[candidate], axis=1) if chosen else np.array([np.inf])
        if near.min() >= apart:
            chosen.append(int(candidate))
    return chosen
