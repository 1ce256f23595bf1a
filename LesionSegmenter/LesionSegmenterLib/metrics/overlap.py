"""Voxel overlap, volume and surface distance of two masks.

Every mask is an (i, j, k) array whose lesion voxels are not 0. A score whose denominator is 0 is 1.0 where
both masks are empty (there is nothing to disagree on) and 0.0 otherwise, unless its docstring says nan.
Masks of different shapes raise `InputError`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from ..errors import InputError
from ..instances.components import bounding_box

Mask = npt.NDArray[Any]


def check_one_grid(pred: Mask, true: Mask) -> None:
    """Raise `InputError` unless a prediction and its reference are 3D arrays of one shape."""
    if pred.ndim != 3 or pred.shape != true.shape:
        raise InputError(
            f"the prediction {pred.shape} and the reference {true.shape} are not on one 3D grid",
            todo="Resample the prediction onto the reference's grid",
        )


def ratio(part: float, whole: float, both_empty: bool) -> float:
    """``part / whole``; where ``whole`` is 0, 1.0 if nothing was to be found and nothing was, else 0.0."""
    if whole:
        return part / whole
    return 1.0 if both_empty else 0.0


def dice(pred: Mask, true: Mask) -> float:
    """Dice similarity coefficient, 2|P & T| / (|P| + |T|); 1.0 if both masks are empty."""
    common, n_pred, n_true = _counts(pred, true)
    return ratio(2 * common, n_pred + n_true, both_empty=True)


def sensitivity(pred: Mask, true: Mask) -> float:
    """Voxel sensitivity (recall), |P & T| / |T|; empty reference: 1.0 if nothing is predicted, else 0.0."""
    common, n_pred, n_true = _counts(pred, true)
    return ratio(common, n_true, both_empty=n_pred == 0)


def precision(pred: Mask, true: Mask) -> float:
    """Voxel precision, |P & T| / |P|; empty prediction: 1.0 if the reference is empty too, else 0.0."""
    common, n_pred, n_true = _counts(pred, true)
    return ratio(common, n_pred, both_empty=n_true == 0)


def volume_similarity(pred: Mask, true: Mask) -> float:
    """Volume similarity (Llambias et al.), 1 - ||P| - |T|| / (|P| + |T|); 1.0 if both masks are empty."""
    _, n_pred, n_true = _counts(pred, true)
    return 1 - abs(n_pred - n_true) / (n_pred + n_true) if n_pred + n_true else 1.0


def average_volume_difference(pred: Mask, true: Mask) -> float:
    """AVD of the WMH challenge, ||P| - |T|| / |T| x 100, in percent of the reference.

    Empty reference: 0.0 if nothing is predicted, else nan (no percentage of nothing says how much).
    """
    _, n_pred, n_true = _counts(pred, true)
    if n_true == 0:
        return 0.0 if n_pred == 0 else float("nan")
    return abs(n_pred - n_true) / n_true * 100


def hausdorff95_wmh(pred: Mask, true: Mask, geometry: npt.ArrayLike) -> float:
    """95th percentile Hausdorff distance in mm, as defined by the WMH segmentation challenge.

    Surface voxels are those that an in-plane erosion (3x3x1; the plane is that of the first two axes)
    takes away, the world beyond the image counting as lesion; distances run between voxel centres; the
    result is the larger of the two directed 95th percentiles. Other libraries' definitions differ by up to
    a factor of 1.7 on one pair of masks. The challenge removes voxels of "other pathology" (reference
    label 2) from the prediction first: do so before calling.

    Parameters
    ----------
    pred, true : (i, j, k)
        Masks, not 0 in lesions.
    geometry : (4, 4) or (3,)
        Affine, voxel indices to mm, or voxel size along i, j, k in mm.

    Returns
    -------
    Distance in mm; 0.0 if both masks are empty, nan if one is.
    """
    check_one_grid(pred, true)
    linear = voxel_steps(geometry)
    surfaces = [_in_plane_surface(mask) @ linear.T for mask in (pred, true)]
    if not all(map(len, surfaces)):
        return float("nan") if any(map(len, surfaces)) else 0.0
    from_pred = cKDTree(surfaces[1]).query(surfaces[0])[0]
    from_true = cKDTree(surfaces[0]).query(surfaces[1])[0]
    return float(max(np.percentile(from_pred, 95), np.percentile(from_true, 95)))


def voxel_steps(geometry: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The 3x3 matrix of voxel steps in mm of a 4x4 affine, or of three voxel sizes."""
    matrix = np.asarray(geometry, float)
    return np.diag(matrix) if matrix.ndim == 1 else matrix[:3, :3]


def _counts(pred: Mask, true: Mask) -> tuple[int, int, int]:
    """Voxels of both masks together, of the prediction and of the reference."""
    check_one_grid(pred, true)
    common = np.count_nonzero(np.logical_and(pred, true))
    return int(common), int(np.count_nonzero(pred)), int(np.count_nonzero(true))


def _in_plane_surface(mask: Mask) -> npt.NDArray[np.intp]:
    """(n, 3) indices of the voxels that a 3x3x1 erosion removes."""
    box = bounding_box(mask)
    if box is None:
        return np.empty((0, 3), np.intp)
    # One voxel of background around the box, unless the image ends there: beyond it counts as lesion.
    wide = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
    inside = mask[wide].astype(bool)
    surface = inside & ~ndimage.binary_erosion(inside, np.ones((3, 3, 1)), border_value=1)
    return np.argwhere(surface) + [side.start for side in wide]
