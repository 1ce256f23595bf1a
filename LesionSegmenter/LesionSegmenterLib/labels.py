"""Lesion types: their label values, names and colours, fixed by the case folder's contract."""

from __future__ import annotations

from enum import IntEnum


class LesionType(IntEnum):
    """Label values of ``desc-type_dseg`` images; 0 is background."""

    WMH = 1  # white matter hyperintensity of presumed vascular origin
    STROKE = 2
    MS = 3
    LESION = 4  # lesion of no stated type

    @property
    def label(self) -> str:
        """Name as it stands in tables: ``WMH``, ``stroke``, ``MS`` or ``lesion``."""
        return _NAMES[self]

    @classmethod
    def from_label(cls, label: str) -> LesionType:
        """The type of a table's name, whatever its case; ValueError for an unknown one."""
        for value, name in _NAMES.items():
            if name.lower() == label.strip().lower():
                return value
        raise ValueError(f"unknown lesion type {label!r}: expected one of {', '.join(_NAMES.values())}")


_NAMES = {
    LesionType.WMH: "WMH",
    LesionType.STROKE: "stroke",
    LesionType.MS: "MS",
    LesionType.LESION: "lesion",
}

# The Okabe-Ito palette's colours, told apart with any colour vision (RGB, 0..1).
TYPE_COLOURS: dict[LesionType, tuple[float, float, float]] = {
    LesionType.WMH: (0.90, 0.62, 0.00),
    LesionType.STROKE: (0.34, 0.71, 0.91),
    LesionType.MS: (0.80, 0.47, 0.65),
    LesionType.LESION: (0.94, 0.89, 0.26),
}
