"""Automated confluent lesion splitting (ACLS): lesion centres from the probability map's Hessian."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .components import Connectivity, label_components, renumber, split_disconnected
from .hessian import Box, negative_definite
from .nearest import nearest_id

ORIGINAL_SIGMA = 1.2  # voxels
ORIGINAL_CENTRE_VOXELS = 10  # at 1 mm or coarser; see minimum_centre_voxels
ORIGINAL_CENTRE_CONNECTIVITY: Connectivity = 6
CONFLUNET_SIGMA = 1.0  # voxels
CONFLUNET_CENTRE_CONNECTIVITY: Connectivity = 26


def acls(
    probability: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    spacing: Sequence[float],
    *,
    connectivity: Connectivity = 26,
) -> npt.NDArray[np.int32]:
    """Split confluent lesions as Dworkin et al. did (AJNR 2018; 39: 626-633).

    The probability map is smoothed (1.2 voxels); voxels of the mask where all three eigenvalues of its
    Hessian are negative are centre voxels; face-connected clusters of at least `minimum_centre_voxels`
    are lesion centres. Within each connected component every voxel goes to the lesion of the nearest
    centre voxel; a component with fewer than two centres stays whole.

    Our choices where the paper works on 1 mm voxels: smoothing and Hessian are taken in voxels whatever
    the spacing, as in the authors' code (a Hessian's signs do not depend on the spacing, only the
    smoothing does); distances are in mm; a voxel as near to two centres goes to the larger one.

    Parameters
    ----------
    probability : (i, j, k), 0..1
        Lesion probability, not masked: its slope outside the mask counts. Where only a mask exists,
        pass it as a float array.
    mask : (i, j, k)
        Lesion voxels are not 0.
    spacing : 3 lengths
        Voxel size along i, j, k in mm.
    connectivity : 6, 18 or 26
        Of the components, as in `label_components`.

    Returns
    -------
    (i, j, k) int32 array of lesion ids, ordered as `renumber` does, 0 outside the mask.
    """
    smallest = minimum_centre_voxels(spacing)
    components = label_components(mask, connectivity)
    result = np.zeros_like(components)
    used = 0
    for inside, box in _boxes(components):
        lesions = np.ones(np.count_nonzero(inside), np.int32)
        if lesions.size >= 2 * smallest:  # fewer voxels cannot hold two centres
            peaks = negative_definite(probability, inside, box, ORIGINAL_SIGMA)
            centres = _centres(peaks, smallest)
            if centres.max() > 1:
                lesions = _nearest_centre(inside, centres, spacing)
        result[box][inside] = lesions + used
        used += int(lesions.max())
    return renumber(result)


def acls_conflunet(
    probability: npt.NDArray[Any],
    mask: npt.NDArray[Any],
    spacing: Sequence[float],
    *,
    connectivity: Connectivity = 26,
) -> npt.NDArray[np.int32]:
    """Split confluent lesions as ConfLUNet's ACLS baseline does.

    It differs from `acls` in that the probability is 0 outside the mask, the smoothing is 1 voxel,
    26-connected centres of any size count, and a voxel goes to the nearest of all centres, of whatever
    component; lesions left in disconnected parts are split into them. It finds more, and smaller, lesions.
    Centre voxels outside the mask are not used; without any centre the components stay as they are.
    Distances are in mm; a voxel as near to two centres goes to the larger one.

    Parameters and result are those of `acls`; ``connectivity`` is also that of the disconnected parts.
    """
    lesion = mask.astype(bool, copy=False)
    components = label_components(lesion, connectivity)
    peaks = np.zeros(mask.shape, bool)
    for inside, box in _boxes(components):
        peaks[box] |= negative_definite(probability, inside, box, CONFLUNET_SIGMA, support=lesion)
    if not peaks.any():
        return components
    centres = label_components(peaks, CONFLUNET_CENTRE_CONNECTIVITY)
    components[lesion] = _nearest_centre(lesion, centres, spacing)
    return split_disconnected(components, connectivity)


def minimum_centre_voxels(spacing: Sequence[float]) -> int:
    """Smallest cluster of centre voxels that `acls` accepts: 10, times ceil((1 / mean spacing)^3).

    The spacing is the voxel size along i, j, k in mm. The scale keeps the limit's volume about the same
    under 1 mm; from 1 mm on it is 1.
    """
    return ORIGINAL_CENTRE_VOXELS * math.ceil((1 / float(np.mean(spacing))) ** 3 - 1e-5)  # 0.9999999 is 1 mm


def _boxes(components: npt.NDArray[np.int32]) -> Iterator[tuple[npt.NDArray[np.bool_], Box]]:
    """Each component's own voxels in its bounding box, and that box, by ascending id."""
    for index, box in enumerate(ndimage.find_objects(components), 1):
        yield components[box] == index, box


def _centres(peaks: npt.NDArray[np.bool_], smallest: int) -> npt.NDArray[np.int32]:
    """Label clusters of centre voxels, leaving out those with fewer than ``smallest``."""
    centres = label_components(peaks, ORIGINAL_CENTRE_CONNECTIVITY)
    kept = np.count_nonzero(np.bincount(centres.ravel())[1:] >= smallest)
    centres[centres > kept] = 0  # ids go by descending size
    return centres


def _nearest_centre(
    inside: npt.NDArray[np.bool_], centres: npt.NDArray[np.int32], spacing: Sequence[float]
) -> npt.NDArray[np.int32]:
    """The id of the centre nearest in mm to each voxel of ``inside``; of several, the lowest id."""
    size = np.asarray(spacing, float)
    nearest = centres[inside]
    rows = nearest == 0
    points = np.argwhere(inside)[rows] * size
    nearest[rows] = nearest_id(points, np.argwhere(centres) * size, centres[centres > 0])
    return nearest
