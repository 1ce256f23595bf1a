"""What ConfLUNet learns of instances: a centre heat and the offsets to each voxel's lesion centre."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from LesionSegmenterLib.instances.components import voxels_by_id

HEAT_SIGMA = 2.0  # voxels
_REACH = 10  # voxels: beyond five standard deviations the heat is under 4e-6, taken as 0


class InstanceTarget(NamedTuple):
    """The target of a batch of patches.

    classes : (N, i, j, k) int64, 0 background.
    heat : (N, i, j, k) float32, 1 at a lesion's centre.
    offsets : (N, 3, i, j, k) float32, centre minus voxel in voxels along i, j, k; 0 outside lesions.
    """

    classes: torch.Tensor
    heat: torch.Tensor
    offsets: torch.Tensor


def instance_target(classes: NDArray[np.integer], ids: NDArray[np.integer]) -> InstanceTarget:
    """The target of a batch: classes and lesion ids, both (N, i, j, k), after every augmentation."""
    each = [centres_and_offsets(item) for item in ids]
    return InstanceTarget(
        torch.from_numpy(classes.astype(np.int64)),
        torch.from_numpy(np.stack([heat for heat, _ in each])),
        torch.from_numpy(np.stack([offsets for _, offsets in each])),
    )


def centres_and_offsets(ids: NDArray[np.integer]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centre heat (i, j, k) and offsets (3, i, j, k) of lesion ids (i, j, k), both float32.

    A lesion's centre is the mean position of its voxels; where a patch cuts a lesion, of those in the patch.
    The heat is the largest of one Gaussian a centre (2 voxels wide, 1 at the centre); offsets are centre
    minus voxel, in voxels along the array's axes, 0 outside lesions (Wynen et al., paper 004).
    """
    heat = np.zeros(ids.shape, np.float32)
    offsets = np.zeros((3, *ids.shape), np.float32)
    for flat in voxels_by_id(ids).values():
        voxels = np.stack(np.unravel_index(flat, ids.shape))
        centre = voxels.mean(axis=1)
        offsets.reshape(3, -1)[:, flat] = centre[:, None] - voxels
        _add_peak(heat, centre)
    return heat, offsets


def _add_peak(heat: NDArray[np.float32], centre: NDArray[np.float64]) -> None:
    """Raise the heat to a Gaussian around the centre, where that is higher."""
    starts = np.maximum(np.rint(centre).astype(int) - _REACH, 0)
    stops = np.minimum(np.rint(centre).astype(int) + _REACH + 1, heat.shape)
    box = tuple(slice(a, b) for a, b in zip(starts, stops, strict=True))
    i, j, k = (
        np.exp(-0.5 * ((np.arange(a, b) - c) / HEAT_SIGMA) ** 2)
        for a, b, c in zip(starts, stops, centre, strict=True)
    )
    peak = i[:, None, None] * j[:, None] * k
    heat[box] = np.maximum(heat[box], peak)
