"""Lesions set against others within a patch: confluent lesions whose borders are known.

Real truths give one id to lesions that have grown into each other, and painted ones seldom meet; a network
learns to tell lesions apart where many touch. A copy of another lesion of the same scan, image and all, is
mirrored, moved until it touches a lesion of the patch, and blended in at its rim (copy-paste augmentation,
Ghiasi et al. 2021, arXiv 2012.07177).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .cases import PreparedCase

FEWEST, MOST = 25, 3000  # voxels: with fewer a lesion has no shape, with more no room in a patch
_RIM = 3  # voxels around a lesion that are copied with it, so that its edge stays its own
_TRIES = 4
_FARTHEST = 40  # voxels that a lesion is moved
_OVERLAP = 0.15  # most of a lesion that may disappear in another
_INSIDE = 0.8  # least of it that lies in the patch, and of that what replaces tissue
_FLUID_BELOW = -1.5  # normalised intensity


class Lesion(NamedTuple):
    """A lesion of a case: its id, and the box that holds it and its rim."""

    number: int
    box: tuple[slice, ...]


def lesions_to_copy(case: PreparedCase) -> list[Lesion]:
    """The lesions of a case that are neither too small nor too large to be set against another."""
    found: list[Lesion] = []
    if case.instances is None:
        return found
    for number, box in enumerate(ndimage.find_objects(case.instances), start=1):
        if box and FEWEST <= np.count_nonzero(case.instances[box] == number) <= MOST:
            sides = zip(box, case.instances.shape, strict=True)
            wide = tuple(slice(max(s.start - _RIM, 0), min(s.stop + _RIM, size)) for s, size in sides)
            found.append(Lesion(number, wide))
    return found


def add_neighbour(
    images: NDArray[np.float32],
    target: NDArray[np.uint8],
    ids: NDArray[np.int32],
    case: PreparedCase,
    lesions: list[Lesion],
    rng: np.random.Generator,
) -> bool:
    """Set a copy of one of the case's lesions against a lesion of a patch; whether there was room for it.

    Parameters
    ----------
    images, target, ids : (inputs, i, j, k) and (i, j, k) of a patch of the case, changed in place.
    case, lesions : where copies come from, and its `lesions_to_copy`.
    """
    here = np.unique(ids[ids > 0])
    if not (len(here) and lesions) or case.instances is None:
        return False
    tissue = (images[0] > _FLUID_BELOW) & (ids == 0)
    for _ in range(_TRIES):
        lesion = lesions[rng.integers(len(lesions))]
        flips = tuple(slice(None, None, int(way)) for way in rng.choice((-1, 1), 3))

        def copied(array: NDArray, box: tuple[slice, ...] = lesion.box, flips: tuple = flips) -> NDArray:
            return array[box][flips]

        mask = copied(case.instances) == lesion.number
        start = place_against(mask, ids, int(rng.choice(here)), tissue, rng)
        if start is None:
            continue
        # The part of the copy that lies in the patch, and the part of the patch that it covers.
        low, high = np.maximum(-start, 0), np.minimum(mask.shape, np.array(ids.shape) - start)
        part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        there = tuple(slice(a, b) for a, b in zip(low + start, high + start, strict=True))
        weight = ndimage.gaussian_filter(ndimage.binary_dilation(mask).astype(np.float32), 0.7)[part]
        for image, source in zip(images, (case.image, case.t1), strict=False):
            assert source is not None, "a patch has the inputs of its case"
            old = image[there]
            new = old + weight * (copied(source)[part].astype(np.float32) - old)
            image[there] = np.where(ids[there] > 0, old, new)
        free = mask[part] & (ids[there] == 0)
        target[there][free] = copied(case.target)[part][free]
        ids[there][free] = ids.max() + 1
        return True
    return False


def place_against(
    mask: NDArray[np.bool_],
    ids: NDArray[np.int32],
    number: int,
    tissue: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.intp] | None:
    """Where the mask's first voxel comes to lie so that it touches a lesion of the patch; None for nowhere.

    From that lesion's centre the mask moves in a random direction until it hardly overlaps any lesion.
    """
    voxels = np.argwhere(mask)
    origin = np.argwhere(ids == number).mean(0) - voxels.mean(0)
    direction = rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    most = rng.uniform(0, _OVERLAP)
    for step in range(_FARTHEST):
        start = np.rint(origin + step * direction).astype(np.intp)
        places = voxels + start
        places = places[((places >= 0) & (places < ids.shape)).all(axis=1)]
        if len(places) < _INSIDE * len(voxels):
            return None
        there = tuple(places.T)
        taken = np.count_nonzero(ids[there])
        if taken <= most * len(places):
            touches = taken > 0 or ndimage.binary_dilation(ids > 0)[there].any()
            fits = np.count_nonzero(tissue[there]) >= _INSIDE * (len(places) - taken)
            return start if touches and fits else None
    return None
