"""Cases that nothing was trained on: listed ones of a split, and synthetic heads of seeds kept for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.export import read_case
from LesionSegmenterLib.image import Volume, read_labels, read_volume, same_grid
from LesionSegmenterLib.metrics.types import commonest_type
from LesionSegmenterLib.synthesis.programmes import Programme

from .banks import MaskBank
from .cases import CaseEntry
from .synth import STROKE_BANK

PROGRAMMES: tuple[Programme, ...] = ("wmh", "stroke", "ms")
"""The programmes of one type of lesion each, as `lesion-train synth` makes them."""

_KEPT = 0x7E57  # the branch of every seed that trainings, which use the seed itself, never draw from


@dataclass(frozen=True, eq=False)
class Truth:
    """A case as its files store it: the FLAIR, and its lesions' label values, (i, j, k) on one grid."""

    flair: Volume
    types: NDArray[np.uint8]

    @property
    def type(self) -> str:
        """The type with most voxels; ``lesion`` where there is no lesion."""
        return commonest_type(self.types) or "lesion"


def read_truth(entry: CaseEntry) -> Truth:
    """Read a listed case. InputError for one without truth, and where its mask is on another grid."""
    if entry.mask is None:
        raise InputError("the case has no truth to score against", entry.image)
    flair = read_volume(entry.image)
    return Truth(flair, true_types(entry, flair))


def true_types(entry: CaseEntry, flair: Volume) -> NDArray[np.uint8]:
    """Label values, (i, j, k) as the files store them, of a case with a mask; InputError on another grid."""
    assert entry.mask is not None
    mask = read_labels(entry.mask, "mask")
    if not same_grid(mask, flair):
        raise InputError("the mask is on another grid than its image", entry.mask, f"Image: {entry.image}")
    types = np.zeros(mask.shape, np.uint8)
    for value in entry.lesion_values:
        types[mask.array == value] = entry.type_of(value)
    return types


def is_synthetic(entry: CaseEntry) -> bool:
    """Whether `lesion-train synth` made the case: its sidecar says so."""
    if entry.mask is None or entry.mask.name != f"sub-{entry.case}_desc-type_dseg.nii.gz":
        return False
    return "synthetic" in read_case(entry.mask.parents[2], entry.case).sidecar


def kept_streams(seed: int, programme: Programme, count: int) -> list[np.random.SeedSequence]:
    """Random streams of so many heads of a programme, of a branch of the seed that no training uses."""
    return np.random.SeedSequence([seed, _KEPT, PROGRAMMES.index(programme)]).spawn(count)


def stroke_bank(folders: Sequence[Path]) -> MaskBank | None:
    """The bank of real infarcts in the first folder that has one."""
    return next((MaskBank(f / STROKE_BANK) for f in folders if (f / STROKE_BANK).is_file()), None)
