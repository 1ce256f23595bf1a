"""Which of several numbered places is nearest to a point."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree


def nearest_id(
    points: npt.NDArray[np.floating], places: npt.NDArray[np.floating], ids: npt.NDArray[np.int32]
) -> npt.NDArray[np.int32]:
    """The id of the place nearest to each point; of several as near, the lowest id.

    Equal distances are common on a grid, and which of them a k-d tree returns first is not defined: the
    search is widened for the points that are tied until it has met all their nearest places.

    Parameters
    ----------
    points : (n, 3)
    places : (m, 3), at least one
    ids : (m,), one for each place; several places may have one id
    """
    tree = cKDTree(places)
    nearest = np.zeros(len(points), np.int32)
    rows, count = np.arange(len(points)), 2
    while rows.size:
        count = min(count, len(ids))
        distance, found = tree.query(points[rows], k=np.arange(1, count + 1))
        tied = distance <= distance[:, :1] * (1 + 1e-9)
        nearest[rows] = np.where(tied, ids[found], np.iinfo(np.int32).max).min(axis=1)
        if count == len(ids):
            break
        rows = rows[tied.all(axis=1)]
        count *= 4
    return nearest
