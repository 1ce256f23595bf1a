"""Splitting a lesion from points that the user clicked, one for each part."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..errors import InputError
from ..lesions import Change, LesionMap, Voxels
from .planning import change_to_parts, crop, in_use, points_mm

SeedMethod = Literal["nearest", "watershed", "random-walker"]


def split_seeds(
    lesions: LesionMap,
    lesion_id: int,
    points_ras: Sequence[Sequence[float]] | npt.NDArray[Any],
    method: SeedMethod = "nearest",
    flair: npt.NDArray[Any] | None = None,
) -> Change:
    """Split a lesion into as many parts as there are seeds, each part holding its seed.

    Parameters
    ----------
    points_ras : (n, 3) RAS mm
        At least two points, in different voxels of the lesion.
    method : how a voxel finds its seed
        ``nearest``: by distance in mm, of equals the first given. ``watershed``: by flooding the distance in
        mm to the lesion's surface, so that parts meet where the lesion is narrow. ``random-walker``: by the
        seed that a walk through voxels of similar FLAIR meets first (Grady, IEEE TPAMI 2006; 28: 1768-83).
        Voxels of a piece of the lesion without a seed go to the nearest one by either.
    flair : (i, j, k)
        For ``random-walker`` alone.

    Raises
    ------
    InputError : for an unknown or rejected lesion; fewer than two seeds, one outside the lesion or two in one
        voxel; an unknown method; a FLAIR that is missing, of another shape or without contrast in the lesion;
        or where scikit-image, which all but ``nearest`` need, is missing.
    """
    in_use(lesions, [lesion_id])
    if method not in get_args(SeedMethod):
        raise InputError(
            f"unknown method {method!r}", todo=f"Choose one of {', '.join(get_args(SeedMethod))}"
        )
    seeds = _seed_voxels(lesions, lesion_id, points_ras)
    parts = np.zeros(lesions.voxels(lesion_id).size, np.int32)
    if method != "nearest":
        markers = np.zeros(parts.size, np.int32)
        markers[np.searchsorted(lesions.voxels(lesion_id), seeds)] = np.arange(1, len(seeds) + 1)
        if method == "watershed":
            parts = _watershed(lesions, lesion_id, markers)
        else:
            parts = _random_walker(lesions, lesion_id, markers, flair)
    left = parts < 1
    parts[left] = _nearest(lesions, lesions.voxels(lesion_id)[left], seeds)
    return change_to_parts(lesions, lesion_id, parts)


def _seed_voxels(lesions: LesionMap, lesion_id: int, points_ras: Sequence[Any] | npt.NDArray[Any]) -> Voxels:
    """The voxel of each seed, in the order given."""
    points = np.asarray(points_ras, float)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) < 2 or not np.isfinite(points).all():
        raise InputError("splitting needs two seeds or more, each a point", todo="Place one in each part")
    inverse = np.linalg.inv(lesions.affine)
    index = np.rint(points @ inverse[:3, :3].T + inverse[:3, 3]).astype(np.int64)
    for number, voxel in enumerate(index.tolist(), 1):
        inside = all(0 <= n < size for n, size in zip(voxel, lesions.shape, strict=True))
        if not inside or lesions.ids[tuple(voxel)] != lesion_id:
            raise InputError(f"seed {number} lies outside lesion {lesion_id}", todo="Place it in the lesion")
    if len(np.unique(index, axis=0)) < len(index):
        raise InputError("two seeds lie in one voxel", todo="Place them further apart")
    return np.ravel_multi_index(tuple(index.T), lesions.shape).astype(np.int64)


def _nearest(lesions: LesionMap, voxels: Voxels, seeds: Voxels) -> npt.NDArray[np.intp]:
    """The seed, from 1, nearest in mm to each voxel; of equals the first."""
    points, places = points_mm(lesions, voxels), points_mm(lesions, seeds)
    best, nearest = np.full(len(points), np.inf), np.zeros(len(points), np.intp)
    for number, place in enumerate(places, 1):
        distance = ((points - place) ** 2).sum(axis=1)
        closer = distance < best * (1 - 1e-9)  # equal on paper is not always equal in floating point
        best[closer], nearest[closer] = distance[closer], number
    return nearest


def _watershed(lesions: LesionMap, lesion_id: int, markers: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    try:
        from skimage.segmentation import watershed
    except ImportError as error:
        raise _without_skimage("a watershed") from error
    mask, _ = crop(lesions, lesion_id)
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=lesions.spacing)[1:-1, 1:-1, 1:-1]
    placed = np.zeros(mask.shape, np.int32)
    placed[mask] = markers
    return watershed(-depth, placed, connectivity=np.ones((3, 3, 3)), mask=mask)[mask]


def _random_walker(
    lesions: LesionMap, lesion_id: int, markers: npt.NDArray[np.int32], flair: npt.NDArray[Any] | None
) -> npt.NDArray[np.int32]:
    try:
        from skimage.segmentation import random_walker
    except ImportError as error:
        raise _without_skimage("a random walker") from error
    if flair is None or flair.shape != lesions.shape:
        raise InputError("a random walker needs the FLAIR on the grid of the lesions", todo="Load the FLAIR")
    mask, box = crop(lesions, lesion_id)
    values = flair[box][mask].astype(float)
    low, high = values.min(), values.max()
    if not np.isfinite(high - low) or low == high:
        raise InputError(f"the FLAIR has no contrast in lesion {lesion_id}", todo="Split it by nearest seeds")
    image = np.full(mask.shape, (values.mean() - low) / (high - low))  # of no account: nobody walks there
    image[mask] = (values - low) / (high - low)  # the scale that Grady gives beta for
    placed = np.full(mask.shape, -1, np.int32)
    placed[mask] = markers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # scikit-image's, of pieces that no walk reaches
        return random_walker(image, placed, mode="cg_j", spacing=lesions.spacing)[mask]


def _without_skimage(what: str) -> InputError:
    return InputError(
        f"splitting by {what} needs scikit-image, which is not installed",
        todo="Install it, or split by nearest seeds",
    )
