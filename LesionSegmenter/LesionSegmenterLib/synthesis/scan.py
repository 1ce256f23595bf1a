"""A synthetic FLAIR scan with lesions whose outlines, types and ids are known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..engine.resample import resample
from ..instances import SmallLesionRule, drop_small, renumber, split_disconnected
from ..labels import LesionType
from .anatomy import load_anatomy
from .head import Head, add_noise, deform, synthetic_head
from .painting import paint, soft_mask
from .programmes import LesionGroup, demo_lesions

_WHITE, _FLUID = 100.0, 18.0


@dataclass(frozen=True, eq=False)
class SyntheticScan:
    """A FLAIR (i, j, k) in RAS axis order, its affine, and the true lesions on its grid."""

    flair: np.ndarray
    affine: np.ndarray
    instances: np.ndarray
    types: dict[int, LesionType]


@dataclass(frozen=True)
class Acquisition:
    """How a head is scanned.

    slice_mm : thickness of the axial slices, whole mm.
    in_plane_mm : size of a pixel.
    noise : sigma of Rician noise, white matter being about 100.
    """

    slice_mm: int = 3
    in_plane_mm: float = 1.0
    noise: float = 3.0


def synthetic_scan(seed: int = 0, slice_mm: int = 3) -> SyntheticScan:
    """The demonstration's head: WMH, MS lesions and strokes, some confluent, the same for the same seed."""
    rng = np.random.default_rng(seed)
    anatomy = deform(load_anatomy(), rng)
    head = synthetic_head(anatomy, rng, skull=True)
    return scan_of(head, demo_lesions(anatomy, rng), Acquisition(slice_mm), rng)


def scan_of(
    head: Head, groups: Iterable[LesionGroup], acquisition: Acquisition, rng: np.random.Generator
) -> SyntheticScan:
    """Paint lesions into a head and scan it; where two groups claim a voxel, the first has it.

    The groups' ids lie on the grid of the head's brain, which for a whole head is ``HEAD_MARGIN`` smaller on
    every side than its image.
    """
    flair = head.flair.copy()
    cortex = float(np.median(flair[head.anatomy.gray > 0.8])) - _WHITE
    truth = np.zeros(flair.shape, np.int32)
    types: dict[int, LesionType] = {}
    for group in groups:
        margin = (flair.shape[0] - group.instances.shape[0]) // 2
        inner = tuple(slice(margin, margin + n) for n in group.instances.shape)
        brain, ids = flair[inner], truth[inner]
        free = (ids == 0) & (group.instances > 0)
        # Lesions of the white matter outshine the cortex; strokes may not.
        faintest = 0.0 if group.type is LesionType.STROKE else group.over_cortex * cortex
        painted = paint(
            brain,
            soft_mask(free, (0.6, 0.6, 0.6)),
            max(group.contrast, faintest),
            rng,
            normal=_WHITE,
            fluid=_FLUID,
            texture=0.12,
            replace=0.6,
        )
        lesion = free & (painted > 0.5)
        numbers = np.unique(group.instances[lesion])
        lookup = np.zeros(int(group.instances.max()) + 1, np.int32)
        lookup[numbers] = len(types) + 1 + np.arange(len(numbers))
        ids[lesion] = lookup[group.instances[lesion]]
        types.update(dict.fromkeys(lookup[numbers].tolist(), group.type))
    return _scanned(flair, truth, types, head.anatomy.affine, acquisition, rng)


def _scanned(
    flair: np.ndarray,
    truth: np.ndarray,
    types: dict[int, LesionType],
    affine: np.ndarray,
    acquisition: Acquisition,
    rng: np.random.Generator,
) -> SyntheticScan:
    """The head as a scanner takes it: thick slices, noise, whole numbers; truth by majority of a slice.

    A lesion that the slices cut apart counts as its pieces, and pieces of at most 14 mm3 do not count.
    """
    thick, pixel = acquisition.slice_mm, acquisition.in_plane_mm
    slices = flair.shape[2] // thick
    depth = slices * thick
    plane = tuple(round(n / pixel) for n in flair.shape[:2])
    image = resample(flair[:, :, :depth], (*plane, slices))
    image = np.round(add_noise(image, acquisition.noise, rng) * 4).astype(np.int16)
    slabs = truth[:, :, :depth].reshape(*truth.shape[:2], slices, thick)
    instances = np.zeros((*flair.shape[:2], slices), np.int32)
    filled = (slabs > 0).sum(3) * 2 > thick
    instances[filled] = np.sort(slabs[filled], axis=1)[:, -((thick + 1) // 2)]
    step = [n / m for n, m in zip(flair.shape[:2], plane, strict=True)]  # mm, after rounding
    nearest = [
        np.clip(np.floor((np.arange(m) + 0.5) * s).astype(int), 0, n - 1)
        for m, s, n in zip(plane, step, flair.shape[:2], strict=True)
    ]
    instances = instances[np.ix_(*nearest)]
    spacing = np.array([*step, thick])
    affine = affine @ np.diag([*spacing, 1.0])
    affine[:3, 3] += (spacing - 1) / 2  # the first voxel's centre, when it grows from 1 mm
    size = (float(spacing[0]), float(spacing[1]), float(spacing[2]))
    pieces = renumber(drop_small(split_disconnected(instances), size, SmallLesionRule(0.0)))
    numbers, where = np.unique(pieces, return_index=True)
    whole = instances.ravel()[where]
    kinds = {int(n): types[int(w)] for n, w in zip(numbers, whole, strict=True) if n}
    return SyntheticScan(image, affine, pieces, kinds)
