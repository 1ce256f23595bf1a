"""Cutting a lesion by geometry alone: along a plane, or into a number of parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from ..errors import InputError
from ..lesions import Change, LesionMap
from .planning import change_to_parts, in_use, points_mm

_ROUNDS = 30  # of k-means; it settles within a dozen


def split_plane(
    lesions: LesionMap,
    lesion_id: int,
    point_a_ras: Sequence[float],
    point_b_ras: Sequence[float],
    view_normal_ras: Sequence[float],
) -> Change:
    """Split a lesion in two along a line drawn in a slice view.

    The plane holds both points and the direction of view. A voxel whose centre lies on the plane goes to the
    side that the cross product of the line from a to b and the direction of view points to. Either side is
    one part, in pieces or not.

    Parameters
    ----------
    point_a_ras, point_b_ras : RAS mm
    view_normal_ras : direction in RAS, of any length

    Raises
    ------
    InputError : for an unknown or rejected lesion, points on one line of sight, or a plane that does not
        cross the lesion.
    """
    in_use(lesions, [lesion_id])
    along = np.subtract(point_b_ras, point_a_ras, dtype=float)
    normal = np.cross(along, np.asarray(view_normal_ras, float))
    scale = float(np.linalg.norm(along) * np.linalg.norm(view_normal_ras))
    length = float(np.linalg.norm(normal))
    if not (np.isfinite(scale) and length > 1e-6 * scale):
        raise InputError("the two points do not make a line in this view", todo="Place them further apart")
    away = (points_mm(lesions, lesions.voxels(lesion_id)) - np.asarray(point_a_ras, float)) @ (
        normal / length
    )
    beyond = away > -1e-6  # mm: on the plane but for rounding
    if beyond.all() or not beyond.any():
        raise InputError(f"the line does not cross lesion {lesion_id}", todo="Draw it across the lesion")
    return change_to_parts(lesions, lesion_id, beyond + 1)


def split_k(lesions: LesionMap, lesion_id: int, k: int) -> Change:
    """Split a lesion into ``k`` compact parts of about the same extent.

    By k-means on the voxel centres in mm (Lloyd's algorithm), from the voxel farthest from the centroid and
    then always the voxel farthest from those chosen; no chance is involved.

    Raises InputError for an unknown or rejected lesion, or a ``k`` under 2 or above the number of voxels.
    """
    in_use(lesions, [lesion_id])
    points = points_mm(lesions, lesions.voxels(lesion_id))
    if not 2 <= k <= len(points):
        raise InputError(
            f"lesion {lesion_id} cannot be split in {k} parts",
            todo=f"Choose from 2 to its {len(points)} voxels",
        )
    centres = _far_apart(points, k)
    parts = cdist(points, centres).argmin(axis=1)
    for _ in range(_ROUNDS):
        counts = np.bincount(parts, minlength=k)
        sums = [np.bincount(parts, axis, k) for axis in points.T]
        centres = np.stack(sums, axis=1) / counts[:, None]
        moved = cdist(points, centres).argmin(axis=1)
        if np.array_equal(moved, parts) or not np.bincount(moved, minlength=k).all():
            break  # settled, or a part would run empty
        parts = moved
    return change_to_parts(lesions, lesion_id, parts + 1)


def _far_apart(points: npt.NDArray[np.float64], k: int) -> npt.NDArray[np.float64]:
    """``k`` of the points, each the farthest from those before it."""
    chosen = [int(((points - points.mean(axis=0)) ** 2).sum(axis=1).argmax())]
    distance = np.full(len(points), np.inf)
    while len(chosen) < k:
        np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(axis=1), out=distance)
        chosen.append(int(distance.argmax()))
    return points[chosen]
