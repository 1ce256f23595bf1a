"""Connected components, and lesion ids that never depend on the order of work."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Connectivity = Literal[6, 18, 26]

# Rank of scipy's generate_binary_structure: how many axes a neighbour may differ in.
_RANK = {6: 1, 18: 2, 26: 3}


def label_components(mask: npt.NDArray[Any], connectivity: Connectivity = 26) -> npt.NDArray[np.int32]:
    """Label the connected components of a mask.

    The number of components depends on the connectivity, and libraries differ in their default (6 in
    scipy and SimpleITK, 26 in scikit-image and cc3d), so it is always stated.

    Parameters
    ----------
    mask : (i, j, k)
        Every voxel that is not 0 belongs to a component.
    connectivity : 6, 18 or 26
        Neighbours share a face; a face or an edge; a face, an edge or a corner.

    Returns
    -------
    (i, j, k) int32 array, 0 outside the mask. Ids are 1..n by descending number of voxels; of two
    components of one size, the one whose first voxel in C order comes first has the lower id.
    """
    structure = ndimage.generate_binary_structure(3, _RANK[connectivity])
    labels = np.zeros(mask.shape, np.int32)
    box = bounding_box(mask)
    if box is not None:
        labels[box] = renumber(ndimage.label(mask[box], structure)[0])
    return labels


def bounding_box(mask: npt.NDArray[Any]) -> tuple[slice, slice, slice] | None:
    """The smallest box (i, j, k slices) that holds every voxel of a mask, or None for an empty mask."""
    sides = []
    for other_axes in ((1, 2), (0, 2), (0, 1)):
        used = np.flatnonzero(mask.any(axis=other_axes))
        if not used.size:
            return None
        sides.append(slice(int(used[0]), int(used[-1]) + 1))
    return sides[0], sides[1], sides[2]


def _flat_lesion_voxels(instances: npt.NDArray[np.integer]) -> npt.NDArray[np.intp]:
    """C-order numbers of the voxels of any lesion, ascending.

    MRML's arrays run in the other order: found in that order and sorted, they come 20 times sooner.
    """
    if not instances.flags.f_contiguous or instances.flags.c_contiguous:
        return np.flatnonzero(instances > 0)
    index = np.unravel_index(np.flatnonzero(instances.T > 0), instances.T.shape)
    return np.sort(np.ravel_multi_index(index[::-1], instances.shape))


def voxels_by_id(instances: npt.NDArray[np.integer]) -> dict[int, npt.NDArray[np.intp]]:
    """The voxels of every lesion, in one pass over the volume.

    Parameters
    ----------
    instances : (i, j, k) integers
        Lesion ids; 0 and below are background.

    Returns
    -------
    Lesion id -> ascending flat indices in C order (see ``numpy.unravel_index``); ids ascending. Ids need
    not be consecutive, and their size costs nothing.
    """
    flat = _flat_lesion_voxels(instances)
    ids = instances[np.unravel_index(flat, instances.shape)]
    order = np.argsort(ids, kind="stable")  # stable: keeps each lesion's voxels ascending
    unique, starts = np.unique(ids[order], return_index=True)
    groups = np.split(flat[order], starts[1:])
    return dict(zip(unique.tolist(), groups, strict=False))  # an empty map has one empty group, no id


def renumber(instances: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
    """Give lesions the ids 1..n by descending number of voxels, ties by first voxel in C order.

    Takes an (i, j, k) integer array of ids (0 and below are background) and returns a new int32 array;
    the result depends on the partition alone, not on the ids it came with.
    """
    lesions = sorted(voxels_by_id(instances).values(), key=lambda flat: (-flat.size, flat[0]))
    result = np.zeros(instances.shape, np.int32)
    for lesion_id, flat in enumerate(lesions, 1):
        result.reshape(-1)[flat] = lesion_id
    return result


def split_disconnected(
    instances: npt.NDArray[np.integer], connectivity: Connectivity = 26
) -> npt.NDArray[np.int32]:
    """Give every disconnected part of a lesion its own id, and renumber.

    Parameters
    ----------
    instances : (i, j, k) integers
        Lesion ids; 0 and below are background.
    connectivity : 6, 18 or 26
        As in `label_components`.
    """
    structure = ndimage.generate_binary_structure(3, _RANK[connectivity])
    result = np.zeros(instances.shape, np.int32)
    used = 0
    for flat in voxels_by_id(instances).values():
        voxels = np.stack(np.unravel_index(flat, instances.shape))
        corner = voxels.min(axis=1, keepdims=True)
        inside = np.zeros(tuple(np.ptp(voxels, axis=1) + 1), bool)
        inside[tuple(voxels - corner)] = True
        parts, count = ndimage.label(inside, structure)
        result.reshape(-1)[flat] = parts[inside] + used
        used += count
    return renumber(result)
