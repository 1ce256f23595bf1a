"""A synthetic FLAIR scan with lesions of all three types, some of them confluent, and their truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..engine.resample import resample
from ..instances import SmallLesionRule, drop_small, renumber, split_disconnected
from ..labels import LesionType
from .anatomy import Anatomy, load_anatomy
from .head import HEAD_MARGIN, add_noise, deform, synthetic_head
from .painting import paint, soft_mask
from .shapes import dawson_fingers, infarct, juxtacortical, lacune, ovoid
from .wmh import wmh_mask

_WHITE, _FLUID = 100.0, 18.0


@dataclass(frozen=True, eq=False)
class SyntheticScan:
    """A whole-head FLAIR (i, j, k) in RAS axis order, its affine, and the true lesions on its grid."""

    flair: np.ndarray
    affine: np.ndarray
    instances: np.ndarray
    types: dict[int, LesionType]


def synthetic_scan(seed: int = 0, slice_mm: int = 3) -> SyntheticScan:
    """One head with WMH, MS lesions and strokes, in slices of ``slice_mm``, the same for the same seed."""
    rng = np.random.default_rng(seed)
    anatomy = deform(load_anatomy(), rng)
    head = synthetic_head(anatomy, rng, skull=True)
    flair = head.flair.copy()
    brain = flair[(slice(HEAD_MARGIN, -HEAD_MARGIN),) * 3]
    truth = np.zeros(brain.shape, np.int32)
    types: dict[int, LesionType] = {}
    for kind, instances, contrast in _lesions(anatomy, rng):
        free = (truth == 0) & (instances > 0)
        painted = paint(
            brain,
            soft_mask(free, (0.6, 0.6, 0.6)),
            contrast,
            rng,
            normal=_WHITE,
            fluid=_FLUID,
            texture=0.12,
            replace=0.6,
        )
        lesion = free & (painted > 0.5)
        numbers = np.unique(instances[lesion])
        lookup = np.zeros(int(instances.max()) + 1, np.int32)
        lookup[numbers] = len(types) + 1 + np.arange(len(numbers))
        truth[lesion] = lookup[instances[lesion]]
        types.update(dict.fromkeys(lookup[numbers].tolist(), kind))
    return _in_slices(flair, np.pad(truth, HEAD_MARGIN), types, head.anatomy, slice_mm, rng)


def _lesions(anatomy: Anatomy, rng: np.random.Generator):
    """(type, instance ids, contrast) of each group of lesions: first come, first painted."""
    shape = anatomy.brain.shape
    yield (
        LesionType.STROKE,
        _numbered([infarct(anatomy, rng, 1, rng.uniform(17, 21)), lacune(anatomy, rng, -1)]),
        45.0,
    )
    fingers = dawson_fingers(anatomy, rng, 7)
    # A second ovoid against each of three fingers: confluent, yet two lesions.
    for level in fingers[:3]:
        centre = np.argwhere(level < 1).mean(0)
        beside = centre + np.array([0.0, rng.choice((-1, 1)) * 6.0, rng.uniform(-2, 2)])
        fingers.append(ovoid(shape, beside, np.array([1.0, 0.2, 0.3]), 5.5, 3.5))
    yield LesionType.MS, _numbered(fingers + juxtacortical(anatomy, rng, 5)), 52.0
    _, wmh = wmh_mask(anatomy.ventricles, anatomy.white > 0.5, (1.0, 1.0, 1.0), rng, 1.6)
    yield LesionType.WMH, wmh, 42.0


def _numbered(levels: list[np.ndarray]) -> np.ndarray:
    """Ids from 1; a voxel of two lesions goes to the one it lies deeper in."""
    deepest = np.ones_like(levels[0])
    ids = np.zeros(deepest.shape, np.int32)
    for number, level in enumerate(levels, start=1):
        ids[level < deepest] = number
        np.minimum(deepest, level, out=deepest)
    return ids


def _in_slices(
    flair: np.ndarray,
    truth: np.ndarray,
    types: dict[int, LesionType],
    anatomy: Anatomy,
    slice_mm: int,
    rng: np.random.Generator,
) -> SyntheticScan:
    """The head as a scanner takes it: thick slices, noise, whole numbers; truth by majority of a slice.

    A lesion that the slices cut apart counts as its pieces, and pieces of at most 14 mm3 do not count.
    """
    slices = flair.shape[2] // slice_mm
    depth = slices * slice_mm
    image = resample(flair[:, :, :depth], (*flair.shape[:2], slices))
    image = np.round(add_noise(image, 3.0, rng) * 4).astype(np.int16)
    slabs = truth[:, :, :depth].reshape(*truth.shape[:2], slices, slice_mm)
    instances = np.zeros(image.shape, np.int32)
    filled = (slabs > 0).sum(3) * 2 > slice_mm
    instances[filled] = np.sort(slabs[filled], axis=1)[:, -((slice_mm + 1) // 2)]
    affine = anatomy.affine @ np.diag([1.0, 1.0, slice_mm, 1.0])
    affine[2, 3] += (slice_mm - 1) / 2
    pieces = drop_small(split_disconnected(instances), (1.0, 1.0, float(slice_mm)), SmallLesionRule(0.0))
    pieces = renumber(pieces)
    numbers, where = np.unique(pieces, return_index=True)
    whole = instances.ravel()[where]
    kinds = {int(n): types[int(w)] for n, w in zip(numbers, whole, strict=True) if n}
    return SyntheticScan(image, affine, pieces, kinds)
