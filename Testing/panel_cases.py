"""Case folders on disk for the panel's tests: a FLAIR file and what the engine would have made of it."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from LesionSegmenterLib.export import CaseData, write_case
from LesionSegmenterLib.image import NiftiWriter, read_volume
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.measure import measure_lesions, type_map

AFFINE = np.array([[-1.0, 0, 0, 14], [0, 1.0, 0, -12], [0, 0, 2.0, 5], [0, 0, 0, 1]])
SHAPE = (28, 24, 12)


def lesion_ids(shift: int = 0) -> np.ndarray:
    """Three lesions: a confluent one of two boxes, and two others, all moved along i by some voxels."""
    ids = np.zeros(SHAPE, np.int32)
    ids[4 + shift : 12 + shift, 4:8, 3:6] = 1
    ids[16 + shift : 19 + shift, 14:18, 5:8] = 2
    ids[4 + shift : 6 + shift, 18:21, 8:10] = 3
    return ids


def write_flair(path: Path) -> Path:
    """A FLAIR of noise on which `lesion_ids` are bright."""
    array = np.random.default_rng(0).integers(60, 90, SHAPE).astype(np.int16)
    array[lesion_ids() > 0] += 100
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, AFFINE), path)
    return path


def write_engine_case(
    out: Path, flair: Path, subject: str = "01", ids: np.ndarray | None = None, **sidecar: Any
) -> Path:
    """What ``segment`` writes, with a picture and a probability map; returns the folder."""
    ids = lesion_ids() if ids is None else ids
    types = {1: LesionType.MS, 2: LesionType.STROKE, 3: LesionType.WMH}
    chance = np.where(ids > 0, 0.8, 0.1).astype(np.float32)
    records = measure_lesions(ids, AFFINE, chance, types, dict.fromkeys(types, 0.75))
    model = {"model": {"name": "bright", "version": "1"}} | sidecar
    data = CaseData(subject, type_map(ids, types), ids, chance, records, model, b"picture")
    write_case(out, data, NiftiWriter(read_volume(flair)), flair)
    return out


def make_case(folder: Path, subject: str = "01") -> Path:
    """A FLAIR in ``folder/flairs`` and its case in ``folder/cases``; returns the latter."""
    flair = write_flair(folder / "flairs" / f"sub-{subject}_FLAIR.nii.gz")
    return write_engine_case(folder / "cases", flair, subject)


def open_section(app: Any, title: str) -> None:
    """Unfold a section of the panel, and fold the others."""
    for button in app.panel._buttons:
        button.collapsed = button.text != title
    app.process()


def table(widget: Any) -> list[list[str]]:
    """The texts of a table widget, row by row."""
    return [
        [widget.item(row, column).text() for column in range(widget.columnCount)]
        for row in range(widget.rowCount)
    ]


def csv_rows(text: str) -> list[dict[str, str]]:
    """The rows of a table of comma-separated values."""
    return list(csv.DictReader(io.StringIO(text)))
