"""Scores of each lesion type by itself, and of types taken for one another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..labels import LesionType
from .detection import lesion_detection
from .overlap import check_one_grid, dice, precision, sensitivity, volume_similarity


def evaluate_types(pred_types: npt.NDArray[Any], true_types: npt.NDArray[Any]) -> dict[str, dict[str, float]]:
    """Dice, sensitivity, precision, volume similarity and lesion F1 of each type that either image holds.

    Parameters
    ----------
    pred_types, true_types : (i, j, k)
        Label values (`LesionType`), 0 outside, on one grid.
    """
    check_one_grid(pred_types, true_types)
    scores = {}
    for kind in LesionType:
        pred, true = pred_types == kind, true_types == kind
        if pred.any() or true.any():
            scores[kind.label] = {
                "dice": dice(pred, true),
                "sensitivity": sensitivity(pred, true),
                "precision": precision(pred, true),
                "volume_similarity": volume_similarity(pred, true),
                "lesion_f1": lesion_detection(pred, true).f1,
            }
    return scores


def lesion_confusion(
    pred_types: npt.NDArray[Any], true_types: npt.NDArray[Any], true_instances: npt.NDArray[np.integer]
) -> list[tuple[str, str]]:
    """(true, predicted) type of every reference lesion; predicted is ``missed`` where nothing overlaps it.

    A lesion's type is that of most of its voxels; of equally many, the lower label value.
    """
    pairs = []
    for lesion_id, box in enumerate(ndimage.find_objects(true_instances), start=1):
        if box is not None:
            inside = true_instances[box] == lesion_id
            true, stated = commonest_type(true_types[box][inside]), commonest_type(pred_types[box][inside])
            pairs.append((true or LesionType.LESION.label, stated or "missed"))
    return pairs


def confusion_matrix(pairs: Iterable[tuple[str, str]]) -> tuple[list[str], list[str], npt.NDArray[np.intp]]:
    """Row names (true), column names (stated) and counts of (true, stated) pairs."""
    pairs = list(pairs)
    order = [kind.label for kind in LesionType]
    known = {name: rank for rank, name in enumerate(order)}
    rows, columns = (
        sorted({pair[side] for pair in pairs}, key=lambda name: (known.get(name, len(order)), name))
        for side in (0, 1)
    )
    counts = np.zeros((len(rows), len(columns)), np.intp)
    for true, stated in pairs:
        counts[rows.index(true), columns.index(stated)] += 1
    return rows, columns, counts


def commonest_type(values: npt.NDArray[Any]) -> str | None:
    """Name of the type with most voxels, the lower label value of equals; None without lesion voxels."""
    counts = np.bincount(values[values > 0].astype(np.int64))
    return LesionType(int(counts.argmax())).label if counts.size else None
