"""Lesions from a network's centre heat and offsets: ConfLUNet's grouping (Wynen et al., paper 004)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ..errors import InputError
from .components import Connectivity, label_components, renumber, split_disconnected
from .nearest import nearest_id
from .separation import merge_unseparated

HEAT_THRESHOLD = 0.2  # the public code has 0.1, which on real FLAIRs gives centres of nothing
CENTRES_APART_MM = 3.0  # the least diameter of a lesion that counts (the small-lesion rule)
CONNECTIVITY: Connectivity = 6
_NEIGHBOURS = [shift for shift in product((-1, 0, 1), repeat=3) if any(shift)]


@dataclass(frozen=True, eq=False)
class OffsetField:
    """What a network says of lesion centres, on its own grid, which need not be the mask's.

    heat : (i, j, k), highest at the centres.
    offsets : (3, i, j, k), centre minus voxel, in voxels along the array's axes.
    spacing : voxel sides in mm.
    scale, shift : along each axis, voxel of this grid = scale * voxel of the mask + shift.
    """

    heat: npt.NDArray[np.floating]
    offsets: npt.NDArray[np.floating]
    spacing: Sequence[float]
    scale: Sequence[float] = (1.0, 1.0, 1.0)
    shift: Sequence[float] = (0.0, 0.0, 0.0)

    def votes(self, voxels: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """The place (n, 3) in voxels of this grid that each voxel (n, 3) of the mask points to.

        A voxel has the offset of the voxel of this grid that it lies in.
        """
        place = np.rint(voxels * np.asarray(self.scale) + np.asarray(self.shift)).astype(np.intp)
        place = np.clip(place, 0, np.array(self.heat.shape) - 1)
        return place + self.offsets[:, *place.T].T.astype(float)


def split_by_offsets(mask: npt.NDArray[Any], field: OffsetField) -> npt.NDArray[np.int32]:
    """Lesions by `group_by_offsets`, without the cuts that the offsets do not support (`merge_unseparated`).

    Arguments, result and errors are those of `group_by_offsets`.
    """
    groups = group_by_offsets(mask, field)
    voxels = np.stack(np.unravel_index(np.flatnonzero(groups), groups.shape), axis=1)
    return renumber(merge_unseparated(groups, field.votes(voxels) * np.asarray(field.spacing, float)))


def group_by_offsets(mask: npt.NDArray[Any], field: OffsetField) -> npt.NDArray[np.int32]:
    """Group a mask's voxels into lesions: each goes to the centre nearest in mm to where its offset points.

    Centres are the `heat_peaks` of at least `HEAT_THRESHOLD`, without those that lie under `CENTRES_APART_MM`
    from a higher one: a real lesion's heat is often ragged (the public code keeps all). Lesions left in parts
    that share no face are split into them. Without any centre the components stay as they are; the public
    code would drop them. The paper drops small components before the grouping and small lesions after it. The
    latter is enough: each part of a small component is small itself, and no voxel's lesion depends on another
    voxel.

    Parameters
    ----------
    mask : (i, j, k)
        Lesion voxels are not 0.
    field : heat and offsets

    Returns
    -------
    (i, j, k) int32 array of lesion ids, ordered as `renumber` does, 0 outside the mask.

    Raises
    ------
    InputError : for arrays that are not 3D or do not fit each other, or offsets that are not finite.
    """
    if mask.ndim != 3 or field.heat.ndim != 3 or field.offsets.shape != (3, *field.heat.shape):
        raise InputError(
            f"grouping needs a 3D mask, a 3D heat and three offsets a voxel, not {mask.shape}, "
            f"{field.heat.shape} and {field.offsets.shape}"
        )
    centres = heat_peaks(field.heat, HEAT_THRESHOLD)
    if not len(centres):
        return label_components(mask, CONNECTIVITY)
    flat = np.flatnonzero(mask)
    votes = field.votes(np.stack(np.unravel_index(flat, mask.shape), axis=1))
    if not np.isfinite(votes).all():
        raise InputError("the offsets hold NaN or Inf", todo="Split the mask another way")
    size = np.asarray(field.spacing, float)
    centres = centres[_highest_apart(centres * size, _at(field.heat, centres))]
    groups = np.zeros(mask.shape, np.int32)
    groups.reshape(-1)[flat] = nearest_id(
        votes * size, centres * size, np.arange(1, len(centres) + 1, dtype=np.int32)
    )
    return split_disconnected(groups, CONNECTIVITY)


def heat_peaks(heat: npt.NDArray[np.floating], least: float) -> npt.NDArray[np.float64]:
    """Where a heat (i, j, k) of at least ``least`` is highest among 3x3x3 voxels: (m, 3), in voxels.

    Of equal neighbours, the mean position is the peak (the public code takes one of them at random). A voxel
    whose neighbours are all equal to it is none: a plateau is found by its rim, however large it is.
    """
    voxels = np.stack(np.unravel_index(np.flatnonzero(heat >= least), heat.shape))
    flat = np.ones(voxels.shape[1], bool)
    for shift in _NEIGHBOURS:
        there = voxels + np.reshape(shift, (3, 1))
        outside = (there < 0) | (there >= np.reshape(heat.shape, (3, 1)))
        neighbour = heat[tuple(np.where(outside, voxels, there))]
        neighbour[outside.any(axis=0)] = -np.inf
        value = heat[tuple(voxels)]
        kept = value >= neighbour
        voxels, flat = voxels[:, kept], flat[kept] & (value == neighbour)[kept]
    return _plateau_means(voxels[:, ~flat].T)


def _at(heat: npt.NDArray[np.floating], places: npt.NDArray[np.float64]) -> npt.NDArray[np.floating]:
    return heat[tuple(np.rint(places).astype(np.intp).T)]


def _highest_apart(
    places: npt.NDArray[np.float64], heights: npt.NDArray[np.floating]
) -> npt.NDArray[np.intp]:
    """Which places (m, 3) in mm are kept if each, from the highest down, drops those too near to it."""
    tree, dropped = cKDTree(places), np.zeros(len(places), bool)
    for index in np.argsort(-heights, kind="stable"):
        if not dropped[index]:
            near = np.array(tree.query_ball_point(places[index], CENTRES_APART_MM - 1e-6))
            dropped[near[near != index]] = True
    return np.flatnonzero(~dropped)


def _plateau_means(voxels: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Mean positions (m, 3) of the groups of voxels (n, 3) that touch, be it by a corner."""
    if not len(voxels):
        return np.empty((0, 3))
    pairs = cKDTree(voxels).query_pairs(1, p=np.inf, output_type="ndarray")
    touching = coo_matrix((np.ones(len(pairs), bool), pairs.T), shape=(len(voxels),) * 2)
    count, group = connected_components(touching, directed=False)
    sums = np.stack([np.bincount(group, axis, count) for axis in voxels.T], axis=1)
    return sums / np.bincount(group)[:, None]
