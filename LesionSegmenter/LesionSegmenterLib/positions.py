"""Where in the brain each lesion lies: periventricular, juxtacortical, deep or infratentorial."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from .errors import InputError
from .instances.components import voxels_by_id

PERIVENTRICULAR_MM = 3.0
JUXTACORTICAL_MM = 1.0

_ROUNDING = 1 + 1e-6  # affines come through float32 headers


class Position(StrEnum):
    """A position class, as tables name it."""

    PERIVENTRICULAR = "periventricular"
    JUXTACORTICAL = "juxtacortical"
    DEEP = "deep"
    INFRATENTORIAL = "infratentorial"
    UNKNOWN = "unknown"


def classify_positions(
    instances: npt.NDArray[np.integer],
    affine: npt.NDArray[Any],
    ventricles: npt.NDArray[Any] | None = None,
    cortex: npt.NDArray[Any] | None = None,
    infratentorial: npt.NDArray[Any] | None = None,
) -> dict[int, Position]:
    """The position class of every lesion.

    The first that holds of: infratentorial, more than half of the lesion's voxels lie in that mask;
    periventricular, the lesion touches the ventricles or comes within 3 mm of them; juxtacortical, it touches
    the cortex or comes within 1 mm of it; deep, none of these, which takes masks of both ventricles and
    cortex to say; unknown. A class whose mask is not given is not found. So a lesion that reaches from the
    ventricles to the cortex is periventricular, and without an infratentorial mask a lesion of the cerebellum
    may be called deep.

    Distances are between voxel centres. Neighbouring voxels (of a face, an edge or a corner) touch, however
    thick the slices: their centres may be farther apart than the distances above. The limit of 1 mm is ours,
    for the voxel of partial volume between; in the MAGNIMS criteria (Filippi et al. 2016), from which all
    classes but deep are, lesions touch.

    Parameters
    ----------
    instances : (i, j, k) integers
        Lesion ids, 0 outside.
    affine : (4, 4)
        Voxel indices to RAS mm.
    ventricles, cortex, infratentorial : (i, j, k)
        Masks on the grid of the ids, not 0 inside.

    Returns
    -------
    Lesion id -> class, ids ascending.

    Raises
    ------
    InputError : if a mask is not on the grid of the ids.
    """
    for mask, what in ((ventricles, "ventricle"), (cortex, "cortex"), (infratentorial, "infratentorial")):
        if mask is not None and mask.shape != instances.shape:
            raise InputError(
                f"the {what} mask {mask.shape} and the lesion ids {instances.shape} differ in shape",
                todo="Resample one onto the grid of the other",
            )
    linear = np.asarray(affine, float)[:3, :3]

    def position(index: tuple[npt.NDArray[np.intp], ...]) -> Position:
        if infratentorial is not None and np.count_nonzero(infratentorial[index]) > len(index[0]) / 2:
            return Position.INFRATENTORIAL
        voxels = np.stack(index, axis=1)
        if ventricles is not None and _near(voxels, ventricles, linear, PERIVENTRICULAR_MM):
            return Position.PERIVENTRICULAR
        if cortex is not None and _near(voxels, cortex, linear, JUXTACORTICAL_MM):
            return Position.JUXTACORTICAL
        return Position.UNKNOWN if ventricles is None or cortex is None else Position.DEEP

    return {
        lesion_id: position(np.unravel_index(flat, instances.shape))
        for lesion_id, flat in voxels_by_id(instances).items()
    }


def _near(
    voxels: npt.NDArray[np.intp], mask: npt.NDArray[Any], linear: npt.NDArray[np.float64], limit_mm: float
) -> bool:
    """Whether (n, 3) voxels touch a mask or come within a distance of it; looks at their box alone."""
    limit_mm *= _ROUNDING
    margin = np.maximum(np.ceil(limit_mm * np.linalg.norm(np.linalg.inv(linear), axis=1)), 1).astype(int)
    low = np.maximum(voxels.min(axis=0) - margin, 0)
    high = voxels.max(axis=0) + margin + 1  # a slice may end beyond the volume
    around = mask[tuple(map(slice, low, high))] != 0
    if not around.any():
        return False
    lesion = np.zeros(around.shape, np.uint8)
    lesion[tuple((voxels - low).T)] = 1
    if (ndimage.maximum_filter(lesion, 3, mode="constant") & around).any():
        return True
    tree = cKDTree((np.argwhere(around) + low) @ linear.T)
    distances, _ = tree.query(voxels @ linear.T, distance_upper_bound=limit_mm)
    return bool(np.isfinite(distances).any())
