"""Small lesion maps for the tests of reviewing, and what is compared of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import Change, LesionMap, LesionRecord
from LesionSegmenterLib.measure import measure_lesions


def lesion_map(
    ids: npt.NDArray[Any],
    affine: npt.NDArray[Any] | None = None,
    probability: npt.NDArray[Any] | None = None,
    types: dict[int, LesionType] | None = None,
    confidences: dict[int, float] | None = None,
) -> LesionMap:
    """A map of measured lesions; the affine's default has 1 mm voxels and indices for coordinates."""
    ids = np.array(ids, np.int32)
    affine = np.eye(4) if affine is None else affine
    records = measure_lesions(ids, affine, probability, types, confidences)
    return LesionMap.from_arrays(ids, affine, records, probability=probability)


def row_of_lesions() -> LesionMap:
    """Along i: lesion 1 (voxels 1 to 6), 2 (7 to 9, touching 1) and 3 (11 to 12), with voxel 10 free."""
    ids = np.zeros((14, 3, 3), np.int32)
    ids[1:7, 1, 1], ids[7:10, 1, 1], ids[11:13, 1, 1] = 1, 2, 3
    types = {1: LesionType.WMH, 2: LesionType.MS, 3: LesionType.WMH}
    return lesion_map(ids, types=types, confidences={1: 0.6, 2: 0.8, 3: 0.9})


def state(lesions: LesionMap) -> tuple[bytes, list[tuple[int, LesionRecord]]]:
    """All of a map that an edit may change and its reversal must restore."""
    return lesions.ids.tobytes(), list(lesions.records.items())


def done(lesions: LesionMap, change: Change) -> Change:
    """The change, once made."""
    lesions.apply(change)
    return change


def new_ids(change: Change) -> list[int]:
    """The lesions that a change makes."""
    return [lesion for lesion, record in change.records_before.items() if record is None]


@contextmanager
def refused(lesions: LesionMap, line: str) -> Iterator[None]:
    """An InputError whose line matches, and a map left as it was."""
    before = state(lesions), lesions.next_id
    with pytest.raises(InputError, match=line):
        yield
    assert (state(lesions), lesions.next_id) == before
