"""Listings of cases: tab-separated tables of images, masks and what their values mean."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from LesionSegmenterLib.atomic import atomic_file
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.labels import LesionType

from .cases import CaseEntry
from .splits import check_splits

LISTING = "cases.tsv"
LISTINGS = Path(__file__).parent / "datasets"
SPLITS = ("train", "validation", "test")
COLUMNS = (
    "case", "patient", "split", "image", "mask", "t1", "instances", "lesion_values", "doubtful_values",
    "ventricle_values", "type", "marked", "whole_head", "complete", "weight", "dataset", "painted",
    "unreviewed", "rejected",
)  # fmt: skip


def read_listing(listing: Path, root: Path) -> list[CaseEntry]:
    """The entries of a listing whose images lie under ``root``.

    Columns ``image`` and ``mask`` must be there; the others may be left out or empty. ``lesion_values`` are
    the mask's values that mean lesion, such as ``1,2`` (of the row's ``type``) or ``1=MS,2=stroke``; empty,
    the mask holds the label values of the case folder. InputError for a missing file or column, a value that
    does not fit, and where one patient stands in two splits.
    """
    if not listing.is_file():
        raise InputError("no such listing of cases", listing)
    try:
        with listing.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter="\t")
            columns, rows = reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("cannot be read as a table", listing, "Write it as tab-separated text") from error
    for column in ("image", "mask"):
        if column not in columns:
            raise InputError(f"there is no column {column!r}", listing, "Separate the columns by tabs")
    entries = []
    for number, row in enumerate(rows, start=2):
        try:
            entries.append(_entry({column: row.get(column) or "" for column in COLUMNS}, root))
        except ValueError as error:
            raise InputError(f"line {number} cannot be read: {error}", listing) from error
    for entry in entries:
        for path in (entry.image, entry.mask, entry.t1, entry.instances):
            if path is not None and not path.is_file():
                raise InputError("file is missing", path, f"It is named by {listing}")
    if not entries:
        raise InputError("the listing names no case", listing)
    check_splits((entry for entry in entries if entry.split), listing)
    return entries


def _entry(row: dict[str, str], root: Path) -> CaseEntry:
    def path(column: str) -> Path | None:
        return root / row[column] if row[column] else None

    def numbers(column: str) -> tuple[int, ...]:
        return tuple(int(v) for v in row[column].split(",") if v)

    image, mask = path("image"), path("mask")
    if image is None:
        raise ValueError("there is no image")
    if row["split"] and row["split"] not in SPLITS:
        raise ValueError(f"split is {row['split']!r}: expected one of {', '.join(SPLITS)}")
    values, typed = _lesion_values(row["lesion_values"], mask is not None)
    case = row["case"] or image.name.split(".")[0]
    weight = float(row["weight"] or 1)
    if not 0 <= weight < float("inf"):
        raise ValueError(f"weight is {row['weight']}: expected 0 or more")
    return CaseEntry(
        case=case,
        patient=row["patient"] or case,
        split=row["split"],
        image=image,
        mask=mask,
        type=LesionType.from_label(row["type"] or "lesion"),
        dataset=row["dataset"] or root.name,
        lesion_values=values,
        doubtful_values=numbers("doubtful_values"),
        ventricle_values=numbers("ventricle_values"),
        whole_head=row["whole_head"] == "1",
        complete=row["complete"] != "0",
        weight=weight,
        painted=int(row["painted"] or 0),
        typed=typed,
        t1=path("t1"),
        instances=path("instances"),
        marked=tuple(LesionType.from_label(v) for v in row["marked"].split(",") if v),
        unreviewed=numbers("unreviewed"),
        rejected=numbers("rejected"),
    )


def _lesion_values(text: str, there_is_a_mask: bool) -> tuple[tuple[int, ...], dict[int, LesionType]]:
    """The mask's lesion values, and the types of those that state one."""
    if not text:
        own = {int(kind): kind for kind in LesionType} if there_is_a_mask else {}
        return tuple(own), own
    pairs = [part.partition("=") for part in text.split(",") if part]
    values = tuple(int(value) for value, _, _ in pairs)
    return values, {int(value): LesionType.from_label(kind) for value, equals, kind in pairs if equals}


def write_listing(path: Path, entries: Iterable[CaseEntry]) -> None:
    """Write entries, with absolute paths, as a listing that `read_listing` gives back."""
    table = io.StringIO()
    rows = csv.writer(table, delimiter="\t", lineterminator="\n")
    rows.writerow(COLUMNS)
    for entry in entries:
        rows.writerow([_text(entry, column) for column in COLUMNS])
    with atomic_file(path) as unfinished:
        unfinished.write_text(table.getvalue(), encoding="utf-8", errors="surrogateescape", newline="\n")


def _text(entry: CaseEntry, column: str) -> str:
    value: Any = getattr(entry, column)
    if column == "lesion_values":
        return ",".join(f"{v}={entry.typed[v].label}" if v in entry.typed else str(v) for v in value)
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, LesionType):
        return value.label
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        return ",".join(v.label if isinstance(v, LesionType) else str(v) for v in value)
    return "" if value is None else str(value)
