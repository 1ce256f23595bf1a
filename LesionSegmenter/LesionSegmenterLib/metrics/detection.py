"""Lesion detection by overlap, without separating confluent lesions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..instances.components import label_components
from .overlap import check_one_grid, ratio


class LesionDetection(NamedTuple):
    """How many lesions were found, and how many of the found ones are real; each 0..1."""

    recall: float
    precision: float
    f1: float

    @classmethod
    def from_shares(cls, recall: float, precision: float) -> LesionDetection:
        """Complete a recall and a precision with their harmonic mean (0.0 where both are 0)."""
        f1 = 2 * recall * precision / (recall + precision) if recall + precision else 0.0
        return cls(recall, precision, f1)


def lesion_detection(pred_mask: npt.NDArray[Any], true_mask: npt.NDArray[Any]) -> LesionDetection:
    """Lesion recall, precision and F1 as defined by the WMH segmentation challenge.

    Lesions are 26-connected components; overlap in one voxel detects. Recall is the
    share of the reference's components that the prediction touches, precision the share of the
    prediction's components that touch the reference, F1 their harmonic mean. Both masks empty: all 1.0;
    one empty: all 0.0.

    Parameters
    ----------
    pred_mask, true_mask : (i, j, k)
        Not 0 in lesions.

    Raises
    ------
    InputError : if the masks are not on one 3D grid.
    """
    check_one_grid(pred_mask, true_mask)
    touched_true, n_true = _touched(true_mask, pred_mask)
    touched_pred, n_pred = _touched(pred_mask, true_mask)
    both_empty = n_true == n_pred == 0
    return LesionDetection.from_shares(
        recall=ratio(touched_true, n_true, both_empty), precision=ratio(touched_pred, n_pred, both_empty)
    )


def _touched(mask: npt.NDArray[Any], other: npt.NDArray[Any]) -> tuple[int, int]:
    """How many components of a mask another mask touches, and how many there are."""
    components = label_components(mask, 26)
    touched = np.unique(components[other != 0])
    return int(np.count_nonzero(touched)), int(components.max(initial=0))
