"""Grids of MRML nodes, and lesions brought from one grid onto another by their world positions.

Arrays are (i, j, k) views of VTK's memory (its numpy order is k, j, i), affines map voxel indices to RAS mm.
Slicer flips an image with a left-handed affine along k when it reads it: indices of a node and of its file
differ, world positions do not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import vtk
from scipy import ndimage
from vtk.util.numpy_support import vtk_to_numpy

from ..errors import InputError
from ..instances.components import bounding_box
from ..lesions import Shape, Voxels

_SAME_LATTICE = 0.01  # of a voxel, at the corners


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxels along i, j, k and their 4x4 affine to RAS mm."""

    shape: Shape
    affine: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Labelled:
    """The voxels of a grid that have a label: ascending flat indices in C order, and a label for each."""

    voxels: Voxels
    labels: npt.NDArray[np.int64]


def matrix_to_array(matrix: Any) -> npt.NDArray[np.float64]:
    """A vtkMatrix4x4 as a (4, 4) array."""
    return np.array([matrix.GetElement(row, column) for row in range(4) for column in range(4)]).reshape(4, 4)


def array_of(image: Any) -> npt.NDArray[Any]:
    """The voxels of a vtkImageData of one component as an (i, j, k) view: writing to it changes the image."""
    values = vtk_to_numpy(image.GetPointData().GetScalars())
    return values.reshape(image.GetDimensions()[::-1]).T


def grid_of_volume(node: Any) -> Grid:
    """The grid of a volume node, without its parent transform; InputError for one without voxels."""
    image = node.GetImageData()
    if image is None or min(image.GetDimensions()) < 1:
        raise InputError("this volume is empty", node.GetName(), "Choose a volume that holds an image")
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return Grid(cast(Shape, image.GetDimensions()), matrix_to_array(matrix))


def grid_of_labelmap(image: Any) -> Grid:
    """The grid of a vtkOrientedImageData; voxel (0, 0, 0) is the first of its extent, wherever that is."""
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    affine = matrix_to_array(matrix)
    affine[:3, 3] += affine[:3, :3] @ np.array(image.GetExtent()[::2])
    return Grid(cast(Shape, image.GetDimensions()), affine)


def flair_grid(flair: Any) -> Grid:
    """The grid of the FLAIR that lesions are corrected on.

    Raises InputError where it stands under a transform: what is exported would not lie on its file.
    """
    if flair.GetParentTransformNode() is not None:
        raise InputError(
            f"the FLAIR stands under the transform {flair.GetParentTransformNode().GetName()!r}",
            flair.GetName(),
            "Take it out of the transform, or harden it and save it as a FLAIR of its own",
        )
    return grid_of_volume(flair)


def in_world(node: Any, grid: Grid) -> tuple[Grid, list[str]]:
    """A node's grid with its parent transforms applied, and a word on it; InputError for a warping one."""
    parent = node.GetParentTransformNode()
    if parent is None:
        return grid, []
    matrix = vtk.vtkMatrix4x4()
    if not parent.IsTransformToWorldLinear() or not parent.GetMatrixTransformToWorld(matrix):
        raise InputError(
            f"this stands under the transform {parent.GetName()!r}, which is not linear",
            node.GetName(),
            "Harden the transform first",
        )
    moved = replace(grid, affine=matrix_to_array(matrix) @ grid.affine)
    return moved, [f"{node.GetName()} was read through its transform {parent.GetName()!r}"]


def same_grid(a: Grid, b: Grid) -> bool:
    """Whether two grids have one shape and their corners lie within 1 % of a voxel of each other."""
    step = np.linalg.inv(a.affine) @ b.affine - np.eye(4)
    apart = np.abs(step @ _homogeneous(_corners(b.shape)))[:3].max()
    return a.shape == b.shape and bool(apart <= _SAME_LATTICE)


def label_image(target: Grid, layers: Iterable[Labelled]) -> tuple[npt.NDArray[np.int32], int]:
    """Layers in one (i, j, k) int32 array, in MRML's memory order, and how many voxels lie in two of them.

    Such a voxel stays with the layer that comes first.
    """
    values = np.zeros(target.shape[::-1], np.int32).T
    overlap = 0
    for layer in layers:
        index = np.unravel_index(layer.voxels, target.shape)
        free = values[index] == 0
        overlap += int((~free).sum())
        values[tuple(axis[free] for axis in index)] = layer.labels[free]
    return values, overlap


def labelled(values: npt.NDArray[Any], grid: Grid, target: Grid, what: str) -> tuple[Labelled, list[str]]:
    """The labelled voxels of an image on another grid, and a word on whatever was lost or resampled.

    Where the voxel centres of the two grids coincide, in whatever order and field of view, every label keeps
    its voxel; otherwise each target voxel takes the label of the nearest voxel.

    Parameters
    ----------
    values : (i, j, k) integers on `grid`, 0 for no label

    Raises
    ------
    InputError : if the image holds labels and none lies within the target.
    """
    if same_grid(grid, target):
        found = _nonzero(values)
        return Labelled(found, values[np.unravel_index(found, grid.shape)].astype(np.int64)), []
    to_source = np.linalg.inv(grid.affine) @ target.affine
    whole = np.rint(to_source)
    apart = np.abs((to_source - whole) @ _homogeneous(_corners(target.shape)))[:3].max()
    if np.isclose(abs(np.linalg.det(whole[:3, :3])), 1) and apart <= _SAME_LATTICE:
        result, lost = _moved(values, grid, target, np.linalg.inv(whole))
        warnings = [f"{lost} labelled voxels of {what} lie outside of the FLAIR: left out"] if lost else []
    else:
        result, warnings = _resampled(values, target, to_source, what)
    if not result.voxels.size and values.any():
        raise InputError(
            "no label of this image lies within the FLAIR", what, "Check that both are of one scan"
        )
    return result, warnings


def _nonzero(values: npt.NDArray[Any]) -> Voxels:
    """Ascending flat indices, C order of (i, j, k), of the voxels that are not 0."""
    if values.flags.c_contiguous or not values.flags.f_contiguous:
        return np.flatnonzero(values).astype(np.int64)
    k, j, i = np.unravel_index(np.flatnonzero(values.T), values.T.shape)  # in memory order: ten times faster
    return np.sort(np.ravel_multi_index((i, j, k), values.shape)).astype(np.int64)


def _moved(
    values: npt.NDArray[Any], grid: Grid, target: Grid, to_target: npt.NDArray[np.float64]
) -> tuple[Labelled, int]:
    """Every label at the same voxel centre of another grid, and how many lie outside of it."""
    index = np.unravel_index(_nonzero(values), grid.shape)
    labels = values[index].astype(np.int64)
    moved = np.rint(to_target @ _homogeneous(np.stack(index)))[:3].astype(np.int64)
    inside = ((moved >= 0) & (moved < np.array(target.shape)[:, None])).all(axis=0)
    voxels = np.ravel_multi_index(tuple(moved[:, inside]), target.shape).astype(np.int64)
    order = np.argsort(voxels)
    return Labelled(voxels[order], labels[inside][order]), int((~inside).sum())


def _resampled(
    values: npt.NDArray[Any], target: Grid, to_source: npt.NDArray[np.float64], what: str
) -> tuple[Labelled, list[str]]:
    """The nearest label of every voxel of another grid, looked for around the labels alone."""
    none = np.zeros(0, np.int64)
    box = bounding_box(values)
    if box is None:
        return Labelled(none, none), []
    corners = np.array([[side.start - 0.5 for side in box], [side.stop - 0.5 for side in box]])
    ends = np.array([[corners[n, axis] for axis, n in enumerate(pick)] for pick in np.ndindex(2, 2, 2)]).T
    reach = (np.linalg.inv(to_source) @ _homogeneous(ends))[:3]
    low = np.clip(np.floor(reach.min(axis=1)).astype(int), 0, target.shape)
    high = np.clip(np.ceil(reach.max(axis=1)).astype(int) + 1, low, target.shape)
    linear, origin = to_source[:3, :3], to_source[:3, 3]
    near = ndimage.affine_transform(
        values, linear, linear @ low + origin, tuple(high - low), order=0, mode="grid-constant"
    )
    index = tuple(n + start for n, start in zip(np.nonzero(near), low, strict=True))
    voxels = np.ravel_multi_index(index, target.shape).astype(np.int64)
    result = Labelled(voxels, near[near != 0].astype(np.int64))
    warnings = [f"{what} is on another grid than the FLAIR: resampled to the nearest voxels"]
    gone = set(np.unique(values[values != 0]).tolist()) - set(result.labels.tolist())
    if gone:
        warnings.append(f"{len(gone)} labels of {what} have no voxel on the FLAIR's grid: left out")
    return result, warnings


def _homogeneous(points: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(3, n) points with a row of ones below."""
    return np.vstack([points, np.ones(points.shape[1])])


def _corners(shape: Iterable[int]) -> npt.NDArray[np.int64]:
    """The eight corner voxels, (3, 8)."""
    return np.array(list(np.ndindex(2, 2, 2))).T * (np.array(list(shape)) - 1)[:, None]
