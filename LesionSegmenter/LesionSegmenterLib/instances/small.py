"""The clinical lower limit of a lesion's size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .components import voxels_by_id

# Spacings come from float32 headers: 2.9999998 mm is 3 mm.
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class SmallLesionRule:
    """When a lesion is too small to be called one; the defaults are ConfLUNet's, meant for MS.

    min_side_mm : it is if any side of its bounding box is shorter than this.
    min_volume_mm3 : it is if its volume is this or less.
    """

    min_side_mm: float = 3.0
    min_volume_mm3: float = 14.0


CLINICAL = SmallLesionRule()


def drop_small(
    instances: npt.NDArray[np.integer], spacing: Sequence[float], rule: SmallLesionRule = CLINICAL
) -> npt.NDArray[np.int32]:
    """Remove lesions under the clinical size of an MS lesion (ConfLUNet, section 3.2).

    Parameters
    ----------
    instances : (i, j, k) integers
        Lesion ids, 0 outside.
    spacing : 3 lengths
        Voxel size along i, j, k in mm.
    rule : which lesions go

    Returns
    -------
    (i, j, k) int32 array; the lesions that stay keep their ids.
    """
    size = np.asarray(spacing, float)
    result = np.zeros(instances.shape, np.int32)
    for lesion_id, flat in voxels_by_id(instances).items():
        sides = (np.ptp(np.stack(np.unravel_index(flat, instances.shape)), axis=1) + 1) * size
        wide_enough = sides.min() >= rule.min_side_mm * (1 - _TOLERANCE)
        large_enough = flat.size * size.prod() > rule.min_volume_mm3 * (1 + _TOLERANCE)
        if wide_enough and large_enough:
            result.reshape(-1)[flat] = lesion_id
    return result
