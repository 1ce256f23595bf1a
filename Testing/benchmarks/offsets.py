"""Grouping by offsets on lesion voxels against the distances of all voxels to all centres."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from benchmarks.images import lesions
from benchmarks.tables import Table, in_turn
from lesion_training.instance_targets import centres_and_offsets
from LesionSegmenterLib.instances import (
    OffsetField,
    acls,
    group_by_offsets,
    split_by_offsets,
    split_disconnected,
)
from LesionSegmenterLib.instances.offsets import CONNECTIVITY, HEAT_THRESHOLD
from phantoms import as_partition

_SHAPE = (182, 218, 182)
_COUNT = 40
_NOISE = 0.7  # voxels, of the offsets
_OURS = "group_by_offsets, on lesion voxels"
_SPLIT = "split_by_offsets: the same, unsupported cuts taken back"
_FORMULA = "all voxels, all centres: the norm of their differences (torch)"
_CDIST = "all voxels, all centres: torch.cdist"

Nearest = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def run(repetitions: int) -> Table:
    probability = lesions(_SHAPE, _COUNT, confluent=True)
    mask = probability > 0.5
    truth = acls(probability, mask, (1.0, 1.0, 1.0))
    heat, offsets = centres_and_offsets(truth)
    offsets += np.random.default_rng(0).normal(0, _NOISE, offsets.shape).astype(np.float32)
    field = OffsetField(heat, offsets, (1.0, 1.0, 1.0))
    timings, results = in_turn(
        {
            _OURS: lambda: group_by_offsets(mask, field),
            _SPLIT: lambda: split_by_offsets(mask, field),
            _FORMULA: lambda: _full_volume(mask, heat, offsets, _by_norm),
            _CDIST: lambda: _full_volume(mask, heat, offsets, _by_cdist),
        },
        repetitions,
    )
    same = all(as_partition(results[_OURS]) == as_partition(results[other]) for other in (_FORMULA, _CDIST))
    rows = [
        (name, str(timing), timing.times_faster_than(timings[_FORMULA]), str(results[name].max()))
        for name, timing in timings.items()
    ]
    return Table(
        "Grouping by offsets",
        f"A mask of {'x'.join(map(str, _SHAPE))} voxels of 1 mm with {_COUNT} components, many of them "
        f"confluent, the heat of their lesions' centres and offsets that are {_NOISE} voxels wrong. Each "
        "finds the peaks of the heat and groups the voxels; what does not touch is split in the same way. "
        "The distances of the full volume are taken plane by plane: at once they would take 5 GB and more. "
        "Goal: under 50 ms, at least 100x the formula of the public code (the norm of all differences), the "
        "same lesions.",
        ("what", "time", "against the formula", "lesions"),
        rows,
        [f"The partitions by grouping are {'the same' if same else 'NOT the same'}, voxel by voxel."],
    )


@torch.inference_mode()
def _full_volume(
    mask: NDArray[np.bool_], heat: NDArray, offsets: NDArray, nearest: Nearest
) -> NDArray[np.int32]:
    """Equation 2 of the paper as it stands, for every voxel of the volume."""
    centres = torch.from_numpy(_full_volume_centres(heat))
    votes = torch.from_numpy(np.indices(mask.shape, np.float32) + offsets)
    groups = np.zeros(mask.shape, np.int32)
    for index in range(mask.shape[0]):
        found = nearest(votes[:, index].reshape(3, -1).T.contiguous(), centres)
        groups[index] = found.reshape(mask.shape[1:]).numpy() + 1
    groups[~mask] = 0
    return split_disconnected(groups, CONNECTIVITY)


def _by_norm(votes: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    return torch.norm(centres[:, None] - votes, dim=-1).argmin(0)


def _by_cdist(votes: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    return torch.cdist(votes, centres, compute_mode="donot_use_mm_for_euclid_dist").argmin(1)


def _full_volume_centres(heat: NDArray) -> NDArray[np.float32]:
    """Voxels that 3x3x3 max-pooling leaves as they are, each plateau of them as its mean position."""
    pooled = functional.max_pool3d(torch.from_numpy(heat)[None], 3, stride=1, padding=1)[0].numpy()
    peaks, count = ndimage.label((pooled == heat) & (heat >= HEAT_THRESHOLD), np.ones((3, 3, 3)))
    return np.array(ndimage.center_of_mass(peaks > 0, peaks, range(1, count + 1)), np.float32)
