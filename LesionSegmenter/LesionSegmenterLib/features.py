"""The eleven features of one lesion that the cascade's classifier sees (paper: Llambias et al., heterogeneous
learning for brain lesion segmentation, detection and classification).

The paper counts voxels and takes centroids in voxel indices, both of which tell data sets apart by their
grids. Here every feature is in mm or relative to the brain, and computed in RAS world space, so that it does
not depend on how the image is stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from .errors import InputError
from .image import to_canonical

FEATURE_NAMES: tuple[str, ...] = (
    "volume_mm3",
    "surface_area_mm2",
    "centroid_r",
    "centroid_a",
    "centroid_s",
    "euler_z_rad",
    "euler_y_rad",
    "euler_x_rad",
    "axis_length_1_mm",
    "axis_length_2_mm",
    "axis_length_3_mm",
)

_MIN_VOXELS_FOR_AXES = 4  # fewer voxels lie in one plane: their axes are the grid's, not the lesion's
_ISOTROPIC = 1.05  # longest over shortest axis under which the axes are arbitrary


def lesion_features(
    instances: NDArray[np.integer], affine: NDArray[np.floating], brain_mask: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Features of every lesion, relative to the brain.

    Parameters
    ----------
    instances : (i, j, k)
        Lesion ids, 0 background. The paper's components are 6-connected; any labelling is taken as it is.
    affine : (4, 4)
        Voxel indices to RAS world mm.
    brain_mask : (i, j, k)
        Non-zero in the brain.

    Returns
    -------
    ids : (n,)
        Lesion ids, ascending.
    features : (n, 11)
        In the order of ``FEATURE_NAMES``; see ``features_in_box``.

    Raises
    ------
    InputError
        Shapes differ, the affine is singular, or the brain mask is empty.
    """
    if np.shape(brain_mask) != np.shape(instances):
        raise InputError(
            f"the brain mask has shape {np.shape(brain_mask)}, the lesions {np.shape(instances)}",
            todo="Give both on one grid",
        )
    return features_in_box(instances, affine, brain_box(brain_mask, affine))


def brain_box(brain_mask: NDArray[Any], affine: NDArray[np.floating]) -> NDArray[np.float64]:
    """Bounding box of the mask's voxels, edges included, along the RAS axes.

    Returns (2, 3), the lower and the upper corner in mm. Raises InputError when the mask is empty or the
    affine is singular.
    """
    mask, to_world = _canonical(np.asarray(brain_mask) != 0, affine)
    occupied = mask.any(axis=0)
    if not occupied.any():
        raise InputError(
            "the brain mask is empty", todo="Check the brain extraction or the image's intensities"
        )
    # A linear function over the mask is extreme at the first or last voxel of a row along the first axis.
    j, k = np.nonzero(occupied)
    first = mask.argmax(axis=0)[j, k]
    last = mask.shape[0] - 1 - mask[::-1].argmax(axis=0)[j, k]
    ends = np.concatenate([np.stack([first, j, k], axis=1), np.stack([last, j, k], axis=1)])
    points = ends @ to_world[:3, :3].T + to_world[:3, 3]
    half_voxel = np.abs(to_world[:3, :3]).sum(axis=1) / 2
    return np.stack([points.min(axis=0) - half_voxel, points.max(axis=0) + half_voxel])


def features_in_box(
    instances: NDArray[np.integer], affine: NDArray[np.floating], box: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Features of every lesion for a known brain box (2, 3), lower and upper corner in RAS mm.

    Per lesion: volume (mm3); surface area (mm2) of the marching-cubes mesh at level 0.5 of the mask padded
    by one voxel, which is defined down to one voxel; centroid (3) as a fraction of the brain box along R, A
    and S; intrinsic Z-Y-X Euler angles (3, rad) of the principal axes; lengths (3, mm, descending) of the
    axes of the ellipsoid with the lesion's second moments, 2 sqrt(5 eigenvalue), voxel extent included.

    The principal axes are made unique by pointing the first two along their largest component and completing
    a right-handed frame. Lesions of fewer than four voxels, and those whose longest axis is within 5% of the
    shortest, have angles 0.

    Returns ids (n,) ascending and features (n, 11). Raises InputError for a singular affine.
    """
    labels, to_world = _canonical(np.asarray(instances), affine)
    ids, rows = [], []
    for lesion_id, lesion_box in enumerate(ndimage.find_objects(labels), start=1):
        if lesion_box is None:
            continue
        mask = labels[lesion_box] == lesion_id
        start = np.array([s.start for s in lesion_box])
        ids.append(lesion_id)
        rows.append(_features(mask, start, to_world, np.asarray(box, dtype=np.float64)))
    features = np.array(rows, dtype=np.float64).reshape(-1, len(FEATURE_NAMES))
    return np.array(ids, dtype=np.int64), features


def _features(
    mask: NDArray[np.bool_],
    start: NDArray[np.integer],
    to_world: NDArray[np.float64],
    box: NDArray[np.float64],
) -> NDArray[np.float64]:
    """One lesion's row; ``start`` is the index of the mask's first voxel."""
    linear = to_world[:3, :3]
    voxels = np.argwhere(mask)
    mean = voxels.mean(axis=0)
    centred = voxels - mean
    moments = centred.T @ centred / len(voxels) + np.eye(3) / 12  # 1/12: variance within a voxel
    lengths, axes = _principal_axes(linear @ moments @ linear.T)
    centroid = linear @ (start + mean) + to_world[:3, 3]
    has_axes = len(voxels) >= _MIN_VOXELS_FOR_AXES and lengths[0] > _ISOTROPIC * lengths[2]
    return np.concatenate(
        [
            [len(voxels) * abs(np.linalg.det(linear)), _surface_area(mask, np.linalg.norm(linear, axis=0))],
            (centroid - box[0]) / (box[1] - box[0]),
            _euler_angles(axes) if has_axes else np.zeros(3),
            lengths,
        ]
    )


def _principal_axes(covariance: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ellipsoid lengths (3,), descending, and the axes as columns of a right-handed (3, 3) frame."""
    eigenvalues, vectors = np.linalg.eigh(covariance)
    lengths = 2 * np.sqrt(5 * eigenvalues[::-1])
    first, second = (_along_largest_component(vectors[:, i]) for i in (2, 1))
    return lengths, np.stack([first, second, np.cross(first, second)], axis=1)


def _along_largest_component(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    # Rounded, so that equal components choose the same one whatever the last bits.
    return axis * np.sign(axis[np.abs(axis).round(6).argmax()])


def _euler_angles(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intrinsic Z-Y-X angles (3,) in rad; at gimbal lock the last one is 0."""
    z_axis_row = np.clip(axes[2, 0], -1, 1)
    if abs(z_axis_row) > 1 - 1e-9:  # scipy would warn for this, the common case of a lesion along S
        return np.array([np.arctan2(-axes[0, 1], axes[1, 1]), -np.arcsin(z_axis_row), 0.0])
    return Rotation.from_matrix(axes).as_euler("ZYX")


def _surface_area(mask: NDArray[np.bool_], spacing: NDArray[np.float64]) -> float:
    """Area in mm2 of the marching-cubes surface (Lewiner) of a mask with at least one voxel."""
    from skimage.measure import marching_cubes, mesh_surface_area

    padded = np.pad(mask, 1).astype(np.float32)
    vertices, faces, _, _ = marching_cubes(padded, 0.5, spacing=tuple(spacing.tolist()))
    return float(mesh_surface_area(vertices, faces))


def _canonical(array: NDArray[Any], affine: NDArray[np.floating]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The array as a view with its axes nearest to R, A, S, and its affine.

    Every storage orientation of one image gives the same voxels in the same order here, so that features are
    equal, not just close: marching cubes and eigenvectors both depend on the order of axes.
    """
    affine = np.asarray(affine, dtype=np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or np.linalg.det(affine[:3, :3]) == 0:
        raise InputError("the image's affine is singular", todo="Repair the image's geometry")
    if array.ndim != 3:
        raise InputError(f"a 3D image is needed, this one has {array.ndim} axes")
    view, to_world, _ = to_canonical(array, affine)
    return view, to_world
