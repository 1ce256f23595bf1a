"""Lesions as records: one row of ``desc-lesions.tsv`` a lesion."""

from __future__ import annotations

from dataclasses import dataclass

from .labels import LesionType


@dataclass(frozen=True)
class LesionRecord:
    """One lesion of a case; lengths in mm, positions in RAS world space."""

    lesion_id: int
    type: LesionType
    volume_mm3: float
    voxels: int
    centroid_ras_mm: tuple[float, float, float]
    max_diameter_mm: float
    mean_probability: float | None = None  # None where no probability map exists
    type_confidence: float | None = None  # None where no classifier ran
    status: str = "proposed"  # proposed, accepted, rejected or edited
    parents: tuple[int, ...] = ()
