"""A normal brain to build on: tissue maps in MNI space at 1 mm, RAS axis order.

The ICBM152 maps that nilearn ships inside its wheel are used where nilearn is installed; elsewhere a
procedural brain of the same size and layout stands in.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec

import numpy as np
from scipy import ndimage

# The box of the ICBM152 grid that holds the whole brain, and the affine of that box.
_SHAPE = (160, 196, 168)
_ORIGIN = (-80.0, -114.0, -72.0)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Tissue maps on one 1 mm grid (i to the right, j to the front, k up); fractions 0..1, masks boolean."""

    brain: np.ndarray
    gray: np.ndarray
    white: np.ndarray
    ventricles: np.ndarray  # the lateral ventricles
    affine: np.ndarray

    @property
    def fluid(self) -> np.ndarray:
        """Cerebrospinal fluid: what of the brain mask is neither gray nor white."""
        return np.clip(self.brain - self.gray - self.white, 0, 1)


@lru_cache(maxsize=1)
def load_anatomy() -> Anatomy:
    """The tissue maps: nilearn's ICBM152 where it is installed, else the procedural brain."""
    return _icbm152() if find_spec("nilearn") else procedural_anatomy()


def _icbm152() -> Anatomy:
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_gm_template, load_mni152_wm_template

    def read(load) -> np.ndarray:
        image = load(resolution=1)
        start = np.round(np.linalg.inv(image.affine) @ (*_ORIGIN, 1))[:3].astype(int)
        box = tuple(slice(s, s + n) for s, n in zip(start, _SHAPE, strict=True))
        return image.get_fdata(dtype=np.float32)[box]

    brain = read(load_mni152_brain_mask)
    gray, white = read(load_mni152_gm_template), read(load_mni152_wm_template)
    gray, white = gray / max(gray.max(), 1), white / max(white.max(), 1)
    return _with_ventricles(brain, gray, white)


def _affine() -> np.ndarray:
    affine = np.eye(4)
    affine[:3, 3] = _ORIGIN
    return affine


def _coordinates() -> list[np.ndarray]:
    """R, A and S in mm of every voxel, each broadcastable to the grid."""
    return [
        np.arange(n, dtype=np.float32).reshape([-1 if a == axis else 1 for a in range(3)]) + _ORIGIN[axis]
        for axis, n in enumerate(_SHAPE)
    ]


def _with_ventricles(brain: np.ndarray, gray: np.ndarray, white: np.ndarray) -> Anatomy:
    right, front, up = _coordinates()
    # The template labels no ventricles: they are its fluid where the lateral ventricles lie, without the
    # third ventricle, the septum and the cisterns behind the thalamus; the left and the right part.
    around = (np.abs(right) < 38) & (front > -52) & (front < 36) & (up > -3) & (up < 32)
    middle = np.abs(right) < 2
    middle = middle | ((np.abs(right) < 6) & (up < 12) & (front < 4))
    middle = middle | ((np.abs(right) < 14) & (front < -22) & (up < 9))
    parts, _ = ndimage.label((brain > 0.5) & (gray + white < 0.5) & around & ~middle)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    ventricles = np.isin(parts, np.argsort(sizes)[-2:])
    return Anatomy(brain, gray, white, ventricles, _affine())


def procedural_anatomy() -> Anatomy:
    """A brain drawn from ellipsoids: folded cortex, white matter, deep gray matter and lateral ventricles."""
    rng = np.random.default_rng(0)
    right, front, up = _coordinates()

    def ellipsoid(centre, radii) -> np.ndarray:
        terms = ((x - c) / r for x, c, r in zip((right, front, up), centre, radii, strict=True))
        return sum(t * t for t in terms)  # type: ignore[return-value]

    whole = ellipsoid((0, -16, 10), (68, 86, 62))
    whole = np.where(up < -12, np.minimum(whole, 9.0), whole)
    whole = np.minimum(whole, ellipsoid((0, -58, -38), (48, 36, 26)))  # cerebellum
    whole = np.minimum(whole, ellipsoid((0, -28, -45), (14, 14, 32)))  # brain stem
    # Folds: a band-passed noise field pushes sulci into the cortex.
    noise = rng.standard_normal([n // 2 for n in _SHAPE]).astype(np.float32)
    folds = ndimage.gaussian_filter(noise, 2.0) - ndimage.gaussian_filter(noise, 4.5)
    folds = ndimage.zoom(folds / folds.std(), 2, order=1)
    depth = (1 - np.sqrt(whole)) * 65  # mm inside the surface, roughly
    brain = (depth > 0).astype(np.float32)
    cortex_depth = depth - np.clip(folds * 6 + 2, -1, 14)
    midline = np.exp(-((right / 1.6) ** 2)) * (up > 18) * 9
    cortex_depth = cortex_depth - midline

    def step(x, width=0.8) -> np.ndarray:
        return np.clip(x / (2 * width) + 0.5, 0, 1)

    ventricles = np.zeros(_SHAPE, bool)
    for side in (-1, 1):
        for t in np.linspace(0, 1, 40):  # body and horns: a tube that bends outward and down at the back
            y = 30 - 75 * t
            x = side * (9 + 16 * max(0.0, t - 0.55) / 0.45 + 6 * max(0.0, 0.15 - t) / 0.15)
            z = 18 + 6 * np.sin(np.pi * t) - 14 * max(0.0, t - 0.6) / 0.4
            ventricles |= ellipsoid((x, y, z), (5.0, 5.0, 5.5)) < 1
    deep_gray = np.zeros(_SHAPE, bool)
    for side in (-1, 1):
        deep_gray |= ellipsoid((side * 12, -18, 7), (7, 12, 7)) < 1  # thalamus
        deep_gray |= ellipsoid((side * 25, 3, 4), (6, 16, 8)) < 1  # putamen and pallidum
    tissue = step(cortex_depth) * brain * (1 - ndimage.gaussian_filter(ventricles.astype(np.float32), 0.6))
    white = (
        step(cortex_depth - 3.5) * tissue * (1 - ndimage.gaussian_filter(deep_gray.astype(np.float32), 0.8))
    )
    return Anatomy(
        brain, (tissue - white).astype(np.float32), white.astype(np.float32), ventricles, _affine()
    )
