"""Splitting a lesion by what the data says: its components, the probability map, the network's offsets."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..errors import InputError
from ..instances.components import Connectivity, label_components
from ..instances.methods import METHODS
from ..instances.nearest import nearest_id
from ..instances.offsets import HEAT_THRESHOLD, heat_peaks
from ..lesions import Change, LesionMap
from .planning import change_to_parts, crop, in_use

_REACH = 8  # voxels; ACLS smooths and differentiates over 7
_VOTE_SIGMA = 2.0  # voxels: the width of the centre heat that ConfLUNet is trained on


def split_components(lesions: LesionMap, lesion_id: int, connectivity: Connectivity = 26) -> Change:
    """Split a lesion into its connected components.

    Raises InputError for an unknown or rejected lesion, or one that is connected.
    """
    in_use(lesions, [lesion_id])
    mask, _ = crop(lesions, lesion_id)
    return change_to_parts(lesions, lesion_id, label_components(mask, connectivity)[mask])


def split_acls(
    lesions: LesionMap,
    lesion_id: int,
    probability: npt.NDArray[Any] | None = None,
    method: str = "acls",
) -> Change:
    """Split a lesion at the peaks of the probability map, as `instances.acls` does.

    Parameters
    ----------
    probability : (i, j, k), 0..1
        None for the map's own, or where it has none, the lesion's mask.
    method : ``acls`` or ``acls-conflunet``

    Raises
    ------
    InputError : for an unknown or rejected lesion, a probability map of another shape, or fewer than two
        peaks.
    """
    in_use(lesions, [lesion_id])
    if probability is None:
        probability = lesions.probability
    mask, box = crop(lesions, lesion_id, _REACH)
    if probability is not None:
        _check_shape(probability.shape, lesions, "probability map")
    chance = mask.astype(float) if probability is None else probability[box]
    parts = METHODS[method](chance, mask, lesions.spacing)
    return change_to_parts(lesions, lesion_id, parts[mask])


def split_offsets(lesions: LesionMap, lesion_id: int, offsets: npt.NDArray[Any]) -> Change:
    """Split a lesion by a network's offsets, each of which points from a voxel to its lesion's centre.

    Every voxel votes for the place it points to. Centres are the maxima, in 3x3x3 voxels, of the votes
    smoothed to the width of ConfLUNet's centre heat (2 voxels), of at least a tenth of the highest. A voxel
    goes to the centre nearest in mm to its vote.

    Parameters
    ----------
    offsets : (3, i, j, k)
        Centre minus voxel, in voxels along the array's axes.

    Raises
    ------
    InputError : for an unknown or rejected lesion, offsets of another shape or that are not finite, or votes
        that meet in one place.
    """
    in_use(lesions, [lesion_id])
    _check_shape(offsets.shape[1:] if len(offsets) == 3 else offsets.shape, lesions, "offset field")
    mask, box = crop(lesions, lesion_id)
    votes = np.argwhere(mask) + offsets[(slice(None), *box)][:, mask].T.astype(float)
    if not np.isfinite(votes).all():
        raise InputError(f"the offsets in lesion {lesion_id} hold NaN or Inf", todo="Split it another way")
    votes = np.clip(votes, 0, np.array(mask.shape) - 1)
    centres = _vote_centres(votes, mask.shape)
    ids = np.arange(1, len(centres) + 1, dtype=np.int32)
    parts = nearest_id(votes * lesions.spacing, centres * lesions.spacing, ids)
    return change_to_parts(lesions, lesion_id, parts)


def _vote_centres(votes: npt.NDArray[np.float64], shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Where votes, (n, 3) in voxels of a box, pile up: (m, 3)."""
    cells = np.ravel_multi_index(tuple(np.rint(votes).astype(int).T), shape)
    heat = np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape).astype(float)
    heat = ndimage.gaussian_filter(heat, _VOTE_SIGMA, mode="constant")
    return heat_peaks(heat, HEAT_THRESHOLD * heat.max())


def _check_shape(shape: tuple[int, ...], lesions: LesionMap, what: str) -> None:
    if shape != lesions.shape:
        raise InputError(
            f"the {what} {shape} and the lesion ids {lesions.shape} differ in shape",
            todo="Resample one onto the grid of the other",
        )
