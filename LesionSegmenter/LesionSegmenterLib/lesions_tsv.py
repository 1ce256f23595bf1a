"""The table of lesions of a case folder: one row a lesion, tab-separated."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import InputError
from .labels import LesionType
from .lesions import LesionRecord

MISSING = "n/a"
STATUSES = ("proposed", "accepted", "rejected", "edited")
COLUMNS = (
    "lesion_id",
    "type",
    "type_confidence",
    "status",
    "volume_mm3",
    "voxels",
    "centroid_r_mm",
    "centroid_a_mm",
    "centroid_s_mm",
    "max_diameter_mm",
    "mean_probability",
    "parents",
    "confidence",
)
_NEWER = ("confidence",)  # which tables of earlier versions lack


def write_lesions_tsv(
    path: str | Path, records: Iterable[LesionRecord], positions: Mapping[int, str] | None = None
) -> None:
    """Write one row a lesion with the columns `COLUMNS`; mm to 0.01 (mm3 to 0.001), probabilities to 1e-4.

    ``positions``, lesion id -> class, are a last column ``position``. Notes are not in the table.
    """
    Path(path).write_text(lesions_text(records, positions), encoding="utf-8", newline="\n")


def lesions_text(
    records: Iterable[LesionRecord], positions: Mapping[int, str] | None = None, separator: str = "\t"
) -> str:
    """The table that `write_lesions_tsv` writes, with another separator between columns if asked."""
    table = io.StringIO()
    rows = csv.writer(table, delimiter=separator, lineterminator="\n")
    rows.writerow(COLUMNS if positions is None else [*COLUMNS, "position"])
    for record in records:
        last = [] if positions is None else [positions[record.lesion_id]]
        rows.writerow([*_row(record), *last])
    return table.getvalue()


def _row(record: LesionRecord) -> list[str]:
    def chance(value: float | None) -> str:
        return MISSING if value is None else f"{value:.4f}"

    return [
        str(record.lesion_id),
        record.type.label,
        chance(record.type_confidence),
        record.status,
        f"{record.volume_mm3:.3f}",
        str(record.voxels),
        *(f"{mm:.2f}" for mm in record.centroid_ras_mm),
        f"{record.max_diameter_mm:.2f}",
        chance(record.mean_probability),
        ",".join(map(str, record.parents)) or MISSING,
        chance(record.confidence),
    ]


def read_lesions_tsv(path: str | Path) -> list[LesionRecord]:
    """The records of a lesion table; columns may stand in any order and others are left out.

    Tables of earlier versions, which have no column ``confidence``, are read as well. Raises InputError,
    naming the line, for another missing column, a value that does not fit, or an id given twice.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t")
            header, rows = reader.fieldnames or (), list(reader)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"this lesion table cannot be read ({error})", path) from error
    missing = [column for column in COLUMNS if column not in (*header, *_NEWER)]
    if missing:
        raise InputError(f"this lesion table has no column {', '.join(missing)}", path, "Export it again")
    records = []
    for line, row in enumerate(rows, start=2):
        try:
            records.append(_record(row))
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"line {line} of this lesion table is unusable ({error})", path) from error
    if len({record.lesion_id for record in records}) < len(records):
        raise InputError("this lesion table gives a lesion id twice", path, "Renumber one of them")
    return records


def _record(row: dict[str, str]) -> LesionRecord:
    def optional(text: str, convert: Callable[[str], Any], missing: Any = None) -> Any:
        return missing if text == MISSING else convert(text)

    if row["status"] not in STATUSES:
        raise ValueError(f"unknown status {row['status']!r}: expected one of {', '.join(STATUSES)}")
    return LesionRecord(
        lesion_id=int(row["lesion_id"]),
        type=LesionType.from_label(row["type"]),
        volume_mm3=float(row["volume_mm3"]),
        voxels=int(row["voxels"]),
        centroid_ras_mm=(
            float(row["centroid_r_mm"]),
            float(row["centroid_a_mm"]),
            float(row["centroid_s_mm"]),
        ),
        max_diameter_mm=float(row["max_diameter_mm"]),
        mean_probability=optional(row["mean_probability"], float),
        type_confidence=optional(row["type_confidence"], float),
        status=row["status"],
        parents=optional(row["parents"], lambda text: tuple(map(int, text.split(","))), ()),
        confidence=optional(row.get("confidence", MISSING), float),
    )
