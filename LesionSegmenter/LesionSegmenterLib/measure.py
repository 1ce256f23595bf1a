"""Volume, position and size of every lesion, and the totals of a scan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import pdist

from .errors import InputError
from .instances.components import voxels_by_id
from .labels import LesionType
from .lesions import LesionRecord

_FEW_POINTS = 64  # all pairs are quicker than looking for the outermost points
_LARGE_BOX = 2**20  # voxels; to look through a larger one takes longer than the hull of all points...
_SPARSE_BOX = 64  # ...where it has more than so many voxels for one of the lesion's
_HULL_POINTS = 500  # from here on a convex hull is quicker than all pairs


@dataclass(frozen=True)
class Totals:
    """Number of lesions and their volume in ml."""

    count: int
    volume_ml: float


def measure_lesions(
    instances: npt.NDArray[np.integer],
    affine: npt.NDArray[Any],
    probability: npt.NDArray[Any] | None = None,
    types: Mapping[int, LesionType] | None = None,
    type_confidences: Mapping[int, float] | None = None,
) -> list[LesionRecord]:
    """Measure every lesion of a case.

    The volume is the number of voxels times the voxel's volume, the absolute determinant of the affine's
    3x3 part. The centroid is the mean of the voxel centres in RAS. The maximum diameter is the largest
    distance between two voxel centres, so it is 0 for a lesion of one voxel.

    Parameters
    ----------
    instances : (i, j, k) integers
        Lesion ids, 0 outside; they need not be consecutive.
    affine : (4, 4)
        Voxel indices to RAS mm.
    probability : (i, j, k), 0..1
        Its mean over each lesion is reported.
    types : lesion id -> type
        Lesions that are not in it are `LesionType.LESION`.
    type_confidences : lesion id -> 0..1
        How sure the classifier was of the type.

    Returns
    -------
    One record a lesion, by ascending id.

    Raises
    ------
    InputError : if the probability map is not on the grid of the ids.
    """
    if probability is not None and probability.shape != instances.shape:
        raise InputError(
            f"the probability map {probability.shape} and the lesion ids {instances.shape} differ in shape"
        )
    affine = np.asarray(affine, float)
    records = []
    for lesion_id, flat in voxels_by_id(instances).items():
        kind = (types or {}).get(lesion_id, LesionType.LESION)
        confidence = (type_confidences or {}).get(lesion_id)
        record = LesionRecord(lesion_id, kind, 0.0, 0, (0.0, 0.0, 0.0), 0.0, type_confidence=confidence)
        records.append(measured(record, np.unravel_index(flat, instances.shape), affine, probability))
    return records


def measured(
    record: LesionRecord,
    index: tuple[npt.NDArray[np.integer], ...],
    affine: npt.NDArray[np.float64],
    probability: npt.NDArray[Any] | None = None,
) -> LesionRecord:
    """A lesion's record with the measures of `measure_lesions` taken of some voxels; the rest stays.

    Parameters
    ----------
    index : (i, j, k) indices, at least one voxel
    affine : (4, 4)
        Voxel indices to RAS mm.
    probability : (i, j, k), 0..1
    """
    linear, origin = affine[:3, :3], affine[:3, 3]
    voxels = np.stack(index, axis=1)
    r, a, s = (linear @ voxels.mean(axis=0) + origin).tolist()
    return replace(
        record,
        volume_mm3=len(voxels) * abs(float(np.linalg.det(linear))),
        voxels=len(voxels),
        centroid_ras_mm=(r, a, s),
        max_diameter_mm=max_diameter(voxels, linear),
        mean_probability=None if probability is None else float(probability[index].mean(dtype=float)),
    )


def max_diameter(voxels: npt.NDArray[np.integer], linear: npt.NDArray[np.float64]) -> float:
    """Largest distance in mm between two voxel centres; 0 for a single voxel.

    Parameters
    ----------
    voxels : (n, 3) integers
        Voxel indices, at least one.
    linear : (3, 3)
        Voxel steps to mm.
    """
    if len(voxels) == 1:
        return 0.0
    box = int(np.prod(np.ptp(voxels, axis=0) + 1))
    if len(voxels) > _FEW_POINTS and box <= max(_LARGE_BOX, _SPARSE_BOX * len(voxels)):
        voxels = _outermost(voxels)
    points = voxels @ linear.T
    if len(points) > _HULL_POINTS:
        with suppress(QhullError):  # all in one plane: no hull in 3D, and few enough points without one
            points = points[ConvexHull(points).vertices]
    return float(pdist(points).max())


def _outermost(voxels: npt.NDArray[np.integer]) -> npt.NDArray[np.intp]:
    """Drop the voxels that lie between two others on a grid line: none can end the longest distance."""
    corner = voxels.min(axis=0)
    inside = np.zeros(tuple(np.ptp(voxels, axis=0) + 1), bool)
    inside[tuple((voxels - corner).T)] = True
    kept = inside.copy()
    for axis in range(3):
        lines, result = np.moveaxis(inside, axis, 0), np.moveaxis(kept, axis, 0)
        before = np.logical_or.accumulate(lines, axis=0)[:-2]
        after = np.logical_or.accumulate(lines[::-1], axis=0)[::-1][2:]
        result[1:-1] &= ~(before & after)
    return np.argwhere(kept) + corner


def totals_by_type(records: Iterable[LesionRecord]) -> dict[LesionType, Totals]:
    """Count and volume of the lesions of each type that occurs, by ascending label value.

    Rejected lesions do not count.
    """
    totals: dict[LesionType, Totals] = {}
    for record in records:
        if record.status != "rejected":
            so_far = totals.get(record.type, Totals(0, 0.0))
            volume_ml = so_far.volume_ml + record.volume_mm3 / 1000
            totals[record.type] = Totals(so_far.count + 1, volume_ml)
    return dict(sorted(totals.items()))


def scan_type(records: Iterable[LesionRecord]) -> LesionType | None:
    """The type with the largest volume in a scan (Llambias et al.), or None without lesions.

    Of types with one volume, the one with the smallest label value.
    """
    totals = totals_by_type(records)
    return max(totals, key=lambda kind: totals[kind].volume_ml) if totals else None
