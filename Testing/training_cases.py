"""Tiny heads with FLAIR, T1, typed lesions and their ids: few enough for any recipe to learn by heart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from LesionSegmenterLib.export import CaseData, write_case
from LesionSegmenterLib.image import NiftiWriter, read_volume
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.measure import measure_lesions

SHAPE = (48, 56, 40)
AFFINE = np.array([[1.0, 0, 0, -24], [0, 1, 0, -28], [0, 0, 1, -20], [0, 0, 0, 1]])
BRIGHTER = {LesionType.WMH: 30, LesionType.MS: 55, LesionType.STROKE: 85}  # than tissue, of 100
KINDS = tuple(BRIGHTER)


THICK = 5  # mm, and slices of 1 mm that one of the thick heads' is


def tiny_head(
    seed: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8], NDArray[np.int32]]:
    """FLAIR, T1, types and ids, (i, j, k): six balls, of which two of one type touch."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*(np.arange(n) - n / 2 for n in SHAPE), indexing="ij"))
    radius = np.sqrt(((places / np.array([22, 26, 18])[:, None, None, None]) ** 2).sum(0))
    types, ids = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.int32)
    centres = [(-9, -10, -6), (9, -10, -6), (-9, 9, -6), (9, 9, 6), (-9, -2, 7), (-2, -2, 7)]
    for number, centre in enumerate(centres, start=1):
        kind = KINDS[min(number, 5) % 3]
        shifted = np.array(centre) + rng.uniform(-1, 1, 3) * (number < 5)
        ball = ((places - shifted[:, None, None, None]) ** 2).sum(0) < rng.uniform(4, 4.8) ** 2
        ball &= ids == 0
        ids[ball], types[ball] = number, kind
    # A texture that neither recipe can mistake for a lesion, and a little noise.
    texture = ndimage.gaussian_filter(rng.normal(0, 60, SHAPE), 1.5) + rng.normal(0, 2, SHAPE)
    brain = radius < 1
    contrast = sum((types == kind) * brighter for kind, brighter in BRIGHTER.items())
    flair = np.where(brain, 100 + texture + contrast, 0).astype(np.float32)
    t1 = np.where(brain, 120 - texture - 0.5 * contrast, 0).astype(np.float32)
    return np.maximum(flair, 0), np.maximum(t1, 0), types, ids


def thick_affine() -> NDArray[np.float64]:
    """The affine of every fifth slice, from the third on."""
    affine = AFFINE @ np.diag([1, 1, THICK, 1])
    affine[2, 3] += THICK // 2
    return affine


def write_listed(folder: Path, *, thick: bool, splits: Sequence[str] = ("train",) * 4) -> Path:
    """Cases as images with a cases.tsv, as many as there are splits, of slices of 5 or 1 mm; the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["case\tsplit\timage\tmask\tt1\tinstances"]
    for number, split in enumerate(splits):
        names = [f"{number}_{what}.nii.gz" for what in ("flair", "t1", "types", "ids")]
        for name, array in zip(names, tiny_head(number), strict=True):
            slices = array[:, :, THICK // 2 :: THICK] if thick else array
            nib.save(nib.Nifti1Image(slices, thick_affine() if thick else AFFINE), folder / name)
        flair, t1, types, ids = names
        lines.append(f"case{number}\t{split}\t{flair}\t{types}\t{t1}\t{ids}")
    (folder / "cases.tsv").write_text("\n".join(lines) + "\n")
    return folder


def export_case(
    out: Path,
    subject: str,
    flair: Path,
    types: NDArray[np.uint8],
    ids: NDArray[np.int32],
    statuses: dict[int, str] | None = None,
    *,
    reviewed: bool = True,
) -> None:
    """Write an exported case of lesions that were all accepted, but for the statuses given by id."""
    volume, given = read_volume(flair), statuses or {}
    kinds = {int(i): LesionType(int(types[ids == i][0])) for i in np.unique(ids) if i}
    records = [
        replace(record, status=given.get(record.lesion_id, "accepted"))
        for record in measure_lesions(ids, volume.affine, None, kinds)
    ]
    data = CaseData(subject, types, ids, None, records, {"reviewed": reviewed})
    write_case(out, data, NiftiWriter(volume), flair)
