"""Lesions under review in the panel's tests: of any number, of every type, some of them sure and some not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import slicer
import slicer.util

from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import LesionMap
from LesionSegmenterLib.measure import measure_lesions
from LesionSegmenterLib.scene.io import Opened

AFFINE = np.array([[1.0, 0, 0, -40], [0, 1.0, 0, -50], [0, 0, 2.0, 10], [0, 0, 0, 1]])
_PITCH = 8  # voxels from lesion to lesion


def grid_of_lesions(count: int, side: int = 8) -> LesionMap:
    """Boxes on a grid, five sizes and four types in turn, each lesion as probable and sure as it happens."""
    layers = -(-count // side**2)
    shape = (side * _PITCH, side * _PITCH, layers * _PITCH)
    ids = np.zeros(shape[::-1], np.int32).T
    probability = np.zeros(shape, np.float32)
    for n in range(count):
        corner = np.array([n % side, n // side % side, n // side**2]) * _PITCH + 1
        i, j, k = (slice(c, c + s) for c, s in zip(corner, (2 + n % 5, 3, 2), strict=True))
        ids[i, j, k] = n + 1
        probability[i, j, k] = 0.55 + 0.44 * ((n * 7) % count) / count
    types = {n + 1: list(LesionType)[n % 4] for n in range(count)}
    sure = {n + 1: 0.5 + (n * 3 % 50) / 100 for n in range(count)}
    records = measure_lesions(ids, AFFINE, probability, types, sure)
    return LesionMap.from_arrays(ids, AFFINE, records, probability=probability)


def flair_of(lesions: LesionMap, name: str = "FLAIR") -> Any:
    """A FLAIR's volume node on which the lesions are bright, shown in all slice views."""
    rng = np.random.default_rng(0)
    array = rng.integers(60, 100, lesions.shape).astype(np.int16)
    array[lesions.ids > 0] += 120
    matrix = slicer.util.vtkMatrixFromArray(lesions.affine)
    node = slicer.util.addVolumeFromArray(np.ascontiguousarray(array.T), matrix, name)
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node


def review(case: Any, folder: Path, count: int = 12) -> LesionMap:
    """Open lesions in a `CaseReview`; returns them."""
    lesions = grid_of_lesions(count)
    case.open(Opened(lesions, flair_of(lesions), ()), folder, "01", "Ada")
    return case.lesions
