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
from .positions import Position

_FEW_POINTS = 64  # all pairs are quicker than looking for the outermost points
_LARGE_BOX = 2**20  # voxels; to look through a larger one takes longer than the hull of all points...
_SPARSE_BOX = 64  # ...where it has more than so many voxels for one of the lesion's
_HULL_POINTS = 500  # from here on a convex hull is quicker than all pairs


@dataclass(frozen=True)
class Totals:
    """Number of lesions and their volume in ml."""

    count: int
    volume_ml: float


@dataclass(frozen=True)
class Summary:
    """What is reported of a scan as a whole.

    total, by_type, by_position : counts and volumes; types and positions that do not occur are left out.
    largest_diameter_mm : of all lesions; 0 without one.
    percent_of_brain : volume of all lesions in percent of the brain mask's; None without a mask. With a mask
        of the intracranial volume it is the percentage of that.
    """

    total: Totals
    by_type: dict[LesionType, Totals]
    by_position: dict[Position, Totals]
    largest_diameter_mm: float
    percent_of_brain: float | None


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

    But for the confidence, which becomes None: it was fitted on lesions as a model outlines them.

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
        confidence=None,
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
    by_type: dict[LesionType, list[LesionRecord]] = {}
    for record in _counted(records):
        by_type.setdefault(record.type, []).append(record)
    return {kind: _totals(group) for kind, group in sorted(by_type.items())}


def summarise(
    records: Iterable[LesionRecord],
    positions: Mapping[int, Position] | None = None,
    brain_ml: float | None = None,
) -> Summary:
    """What is reported of a scan as a whole; rejected lesions do not count.

    Parameters
    ----------
    records : one a lesion
    positions : lesion id -> class, as `positions.classify_positions` gives it
        Lesions that are not in it are `Position.UNKNOWN`; without it nothing is said by position.
    brain_ml : volume of the brain mask, or of an intracranial one, see `volume_ml`

    Raises
    ------
    InputError : if the brain has no volume.
    """
    if brain_ml is not None and not brain_ml > 0:
        raise InputError("the brain mask is empty", todo="Give a mask of the whole brain")
    records = _counted(records)
    total = _totals(records)
    by_position: dict[Position, list[LesionRecord]] = {}
    if positions is not None:
        for record in records:
            by_position.setdefault(positions.get(record.lesion_id, Position.UNKNOWN), []).append(record)
    return Summary(
        total,
        totals_by_type(records),
        {where: _totals(by_position[where]) for where in Position if where in by_position},
        max((record.max_diameter_mm for record in records), default=0.0),
        None if brain_ml is None else 100 * total.volume_ml / brain_ml,
    )


def volume_ml(mask: npt.NDArray[Any], affine: npt.NDArray[Any]) -> float:
    """Volume in ml of a mask, (i, j, k), not 0 inside; ``affine`` 4x4, voxel indices to mm."""
    return np.count_nonzero(mask) * abs(float(np.linalg.det(affine[:3, :3]))) / 1000


def type_map(instances: npt.NDArray[np.integer], types: Mapping[int, LesionType]) -> npt.NDArray[np.uint8]:
    """Label values of every voxel, (i, j, k) uint8, from lesion ids and the type of each of them."""
    lookup = np.zeros(max(types, default=0) + 1, np.uint8)
    for lesion_id, kind in types.items():
        lookup[lesion_id] = kind
    return lookup[instances]


def _counted(records: Iterable[LesionRecord]) -> list[LesionRecord]:
    return [record for record in records if record.status != "rejected"]


def _totals(records: list[LesionRecord]) -> Totals:
    return Totals(len(records), sum(record.volume_mm3 for record in records) / 1000)


def scan_type(records: Iterable[LesionRecord]) -> LesionType | None:
    """The type with the largest volume in a scan (Llambias et al.), or None without lesions.

    Of types with one volume, the one with the smallest label value.
    """
    totals = totals_by_type(records)
    return max(totals, key=lambda kind: totals[kind].volume_ml) if totals else None
