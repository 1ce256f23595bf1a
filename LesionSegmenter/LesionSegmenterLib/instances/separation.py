"""Cuts through a lesion that a network's votes do not support, taken back."""

from __future__ import annotations

import heapq
from collections import defaultdict
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import numpy.typing as npt

LEAST_SEPARATION = 3.5  # a bar cut in its middle, all voxels voting for themselves, has 2 sqrt(3) = 3.46
VOTE_ERROR_MM = 0.25  # votes are known no better, however well those of a few voxels agree


def merge_unseparated(
    groups: npt.NDArray[np.int32], votes: npt.NDArray[np.floating], least: float = LEAST_SEPARATION
) -> npt.NDArray[np.int32]:
    """Join neighbouring groups of voxels unless their votes lie clearly apart.

    A ragged centre heat puts several centres into one lesion, and each voxel goes to the nearest, whether its
    offset leads there or somewhere between. Of groups that are lesions of their own, the votes gather in as
    many places. So the two neighbours least apart are joined, again and again, until all neighbours have a
    separation of ``least`` or more: Ashman's D, the distance of the means over the root mean square of the
    spreads, along the line from mean to mean (Ashman, Bird and Zepf 1994, Astronomical Journal 108:2348).

    Parameters
    ----------
    groups : (i, j, k) ids 1..n, 0 outside; neighbours share a face.
    votes : (m, 3) the place in mm that each voxel of a group points to, in the voxels' order in memory (C).

    Returns
    -------
    (i, j, k) int32 array: a joined group has the least id of its parts.
    """
    flat = np.flatnonzero(groups)
    ids = groups.ravel()[flat]
    count = int(ids.max(initial=0))
    if count < 2:
        return groups

    def sums(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.bincount(ids, values, count + 1)

    size = np.bincount(ids, minlength=count + 1).astype(float)
    total = np.stack([sums(axis) for axis in votes.T], axis=1)
    squares = np.empty((count + 1, 3, 3))
    for a, b in combinations_with_replacement(range(3), 2):
        squares[:, a, b] = squares[:, b, a] = sums(votes[:, a] * votes[:, b])
    neighbours = _neighbours(groups, flat)
    joined_to = np.arange(count + 1)

    def separation(one: int, other: int) -> float:
        pair = [one, other]
        means = total[pair] / size[pair, None]
        way = means[1] - means[0]
        distance = float(np.linalg.norm(way))
        if distance == 0:
            return 0.0
        along = way / distance
        second = along @ (squares[pair] / size[pair, None, None]) @ along
        spread = np.maximum(second - (means @ along) ** 2, 0).mean()
        return float(distance / np.sqrt(spread + VOTE_ERROR_MM**2))

    # Lazily kept: what is no longer so, since one of the two has been joined, is skipped.
    queue = [(separation(a, b), a, b, 0, 0) for a in neighbours for b in neighbours[a] if a < b]
    heapq.heapify(queue)
    times_joined: dict[int, int] = defaultdict(int)
    while queue and queue[0][0] < least:
        _, one, other, before, before_other = heapq.heappop(queue)
        if (times_joined[one], times_joined[other]) != (before, before_other):
            continue
        for table in (size, total, squares):
            table[one] += table[other]  # type: ignore[index]
        joined_to[joined_to == other] = one
        times_joined[one] += 1
        times_joined[other] = -1  # gone
        near = (neighbours[one] | neighbours.pop(other)) - {one, other}
        neighbours[one] = near
        for third in near:
            neighbours[third] = (neighbours[third] - {other}) | {one}
            a, b = sorted((one, third))
            heapq.heappush(queue, (separation(a, b), a, b, times_joined[a], times_joined[b]))
    joined = np.zeros(groups.size, np.int32)
    joined[flat] = joined_to[ids]
    return joined.reshape(groups.shape)


def _neighbours(groups: npt.NDArray[np.int32], flat: npt.NDArray[np.intp]) -> dict[int, set[int]]:
    """The groups that share a face with each group; ``flat`` are the indices of their voxels."""
    found: dict[int, set[int]] = defaultdict(set)
    every = groups.ravel()
    for axis, size in enumerate(groups.shape):
        step = int(np.prod(groups.shape[axis + 1 :]))
        inner = flat[flat // step % size < size - 1]
        lower, upper = every[inner], every[inner + step]
        border = (lower != upper) & (upper > 0)
        for code in np.unique(lower[border].astype(np.int64) << 32 | upper[border]).tolist():
            a, b = code >> 32, code & 0xFFFFFFFF
            found[a].add(b)
            found[b].add(a)
    return found
