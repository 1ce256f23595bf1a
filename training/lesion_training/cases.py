"""The cases of a listing, read, checked and put on the network's working grid."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from LesionSegmenterLib.engine.preprocessing import ISOTROPIC_BELOW_MM, prepare
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.image import read_labels, read_volume, same_grid, to_canonical
from LesionSegmenterLib.labels import LesionType

# Training targets. White-matter lesions (WMH or MS) and strokes differ in place and shape; WMH and MS of
# one voxel's neighbourhood do not, so telling those apart is left to the classifier of whole lesions.
BACKGROUND, WHITE_MATTER_LESION, STROKE, DOUBTFUL, IGNORE = 0, 1, 2, 3, 255
TARGET_OF_TYPE = {
    LesionType.WMH: WHITE_MATTER_LESION,
    LesionType.MS: WHITE_MATTER_LESION,
    LesionType.LESION: WHITE_MATTER_LESION,
    LesionType.STROKE: STROKE,
}
UNMARKED_BRIGHT = 1.2  # an unmarked voxel this bright may be a lesion that a partial truth leaves out
LISTING = "cases.tsv"


@dataclass(frozen=True)
class CaseEntry:
    """One row of a listing; paths are relative to the data folder.

    ``lesion_values`` are the mask's values that mean lesion, ``doubtful_values`` those that experts call
    normal though bright (half weight), ``ventricle_values`` those that mark the ventricles.
    ``complete`` says whether every lesion is marked; ``weight`` how often the case is drawn; ``painted`` how
    many variants with lesions painted in are made of it.
    """

    case: str
    patient: str
    split: str
    image: Path
    mask: Path | None
    type: LesionType
    dataset: str
    lesion_values: tuple[int, ...] = ()
    doubtful_values: tuple[int, ...] = ()
    ventricle_values: tuple[int, ...] = ()
    whole_head: bool = False
    complete: bool = True
    weight: float = 1.0
    painted: int = 0


@dataclass(eq=False)
class PreparedCase:
    """A case on the working grid: image float32 and targets uint8, both (i, j, k) in RAS axis order."""

    name: str
    patient: str
    image: np.ndarray
    target: np.ndarray
    spacing: tuple[float, float, float]
    slice_axis: int
    whole_head: bool
    weight: float
    complete: bool = True
    ventricles: np.ndarray | None = field(default=None, repr=False)

    @property
    def isotropic(self) -> bool:
        return max(self.spacing) < ISOTROPIC_BELOW_MM


def read_listing(listing: Path, root: Path) -> list[CaseEntry]:
    """The entries of a tab-separated listing whose images lie under ``root``.

    Raises InputError for a missing file or column, and where one patient stands in two splits.
    """
    if not listing.is_file():
        raise InputError("no such listing of cases", listing)
    try:
        with listing.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("cannot be read as a table", listing, "Write it as tab-separated text") from error
    entries = []
    for number, row in enumerate(rows, start=2):
        try:
            entries.append(_entry(row, root))
        except KeyError as error:
            raise InputError(f"there is no column {error}", listing) from error
        except (ValueError, TypeError, AttributeError) as error:  # the latter two where a line is too short
            raise InputError(f"line {number} cannot be read: {error}", listing) from error
    check_splits(entries, listing)
    for entry in entries:
        for path in (entry.image, entry.mask):
            if path is not None and not path.is_file():
                raise InputError("file is missing", path, f"It is named by {listing}")
    if not entries:
        raise InputError("the listing names no case", listing)
    return entries


def check_splits(entries: list[CaseEntry], listing: Path | None = None) -> None:
    """Raise InputError where one patient stands in two splits."""
    splits: dict[str, str] = {}
    for entry in entries:
        if splits.setdefault(entry.patient, entry.split) != entry.split:
            raise InputError(f"patient {entry.patient} stands in two splits", listing, "Keep each in one")


def _entry(row: dict[str, str], root: Path) -> CaseEntry:
    def values(column: str) -> tuple[int, ...]:
        return tuple(int(v) for v in row[column].split(",") if v)

    return CaseEntry(
        case=row["case"],
        patient=row["patient"],
        split=row["split"],
        image=root / row["image"],
        mask=root / row["mask"] if row["mask"] else None,
        type=LesionType.from_label(row["type"]),
        dataset=row["dataset"],
        lesion_values=values("lesion_values"),
        doubtful_values=values("doubtful_values"),
        ventricle_values=values("ventricle_values"),
        whole_head=row["whole_head"] == "1",
        complete=row["complete"] == "1",
        weight=float(row["weight"]),
        painted=int(row["painted"]),
    )


def prepare_case(entry: CaseEntry) -> PreparedCase:
    """Read a case and put it on the working grid; InputError where mask and image do not share a grid."""
    volume = read_volume(entry.image)
    array, affine, _ = to_canonical(volume.array, volume.affine)
    (image,), grid = prepare(array, tuple(np.linalg.norm(affine[:3, :3], axis=0)))
    target = np.zeros(image.shape, np.uint8)
    ventricles = None
    if entry.mask is not None:
        mask = read_labels(entry.mask, "mask")
        if not same_grid(mask, volume):
            raise InputError(
                "the mask is on another grid than its image", entry.mask, f"Image: {entry.image}"
            )
        labels = to_canonical(mask.array, mask.affine)[0]

        def gathered(values: tuple[int, ...]) -> np.ndarray:
            return grid.gather(np.isin(labels, values)) > 0.5

        target[gathered(entry.doubtful_values)] = DOUBTFUL
        target[gathered(entry.lesion_values)] = TARGET_OF_TYPE[entry.type]
        if entry.ventricle_values:
            ventricles = gathered(entry.ventricle_values)
    if not entry.complete:
        target[(target == BACKGROUND) & (image > UNMARKED_BRIGHT)] = DOUBTFUL
    return PreparedCase(
        entry.case,
        entry.patient,
        image,
        target,
        grid.spacing,
        grid.slice_axis,
        entry.whole_head,
        entry.weight,
        entry.complete,
        ventricles,
    )
