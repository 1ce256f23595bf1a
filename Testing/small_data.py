"""A data folder that is read in a blink: tiny heads with their lesions, a listing, and mask banks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import yaml

from heads import LESIONS, centred_affine, save_head
from lesion_training.cases import PreparedCase
from lesion_training.listing import COLUMNS

SHAPE, THICK = (48, 60, 16), (3.0, 3.0, 6.0)

# RAS mm of white matter, where the banks' masks lie.
_PLACES = ((28, -14, 30), (-26, 10, 28), (30, -40, 22), (-30, -30, 24))
_BANKS = {  # half axes of the masks in mm; the affine's sign along R, as the real banks differ in it
    "ms_components_lesionsimulator_mni": ((4, 6, 4), -1),
    "stroke_acute_soop_mni": ((12, 14, 10), -1),
    "stroke_chronic_lesymap_mni": ((14, 12, 12), 1),
    "ms_whole_ljubljana_mni": ((5, 5, 5), -1),
}

WHITE_MATTER_LESION, STROKE = 1, 2  # targets of the default classes


NETWORK: dict[str, Any] = {
    "name": "uresnet",
    "arguments": {"in_channels": 3, "out_channels": 3, "widths": [4, 8]},
}


CLASSES = {"WMH": 1, "MS": 1, "lesion": 1, "stroke": 2}


class InThisProcess:
    """A ProcessPoolExecutor that does the jobs here, one after the other."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    map = staticmethod(map)


def row(case: str, **changes: object) -> dict[str, str]:
    """One row of a listing: a training case of MS, stripped, complete."""
    values: dict[str, object] = {
        "case": case,
        "patient": case,
        "split": "train",
        "image": f"{case}.nii.gz",
        "mask": f"{case}_mask.nii.gz",
        "lesion_values": "1",
        "type": "MS",
        "whole_head": 0,
        "complete": 1,
        "weight": 1,
        "dataset": "ms_tabriz",
        "painted": 0,
    }
    return {column: str((values | changes).get(column, "")) for column in COLUMNS}


def write_listing(path: Path, rows: list[dict[str, str]]) -> Path:
    lines = ["\t".join(rows[0]), *("\t".join(row.values()) for row in rows)] if rows else ["\t".join(COLUMNS)]
    path.write_text("\n".join(lines) + "\n")
    return path


def lesion_labels(affine: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """The lesions of `heads.head` on a grid of SHAPE: value n for the n-th."""
    world = nib.affines.apply_affine(affine, np.moveaxis(np.indices(SHAPE), 0, -1))
    labels = np.zeros(SHAPE, np.uint8)
    for number, (centre, radius, _) in enumerate(LESIONS, start=1):
        labels[np.linalg.norm(world - centre, axis=-1) < radius] = number
    return labels


def save_case(folder: Path, case: str, spacing: tuple[float, ...] = THICK) -> npt.NDArray[np.uint8]:
    """Write the image and mask of one case; returns the mask."""
    affine = centred_affine(SHAPE, spacing)
    save_head(folder / f"{case}.nii.gz", affine)
    labels = lesion_labels(affine)
    nib.save(nib.Nifti1Image(labels, affine), folder / f"{case}_mask.nii.gz")
    return labels


def write_bank(path: Path, half_axes: tuple[int, int, int], sign: int, count: int = 6) -> None:
    """A bank of ellipsoids on a 1 mm grid, in the format of `lesion_training.banks`."""
    affine = np.diag([sign, 1.0, 1.0, 1.0])
    affine[:3, 3] = (-sign * 90, -126, -72)
    axes = np.array(half_axes)
    sides = np.moveaxis(np.indices([2 * side + 1 for side in half_axes]), 0, -1) - axes
    mask = ((sides / (axes + 0.5)) ** 2).sum(-1) < 1
    bits = np.packbits(mask)
    centres = np.array([_PLACES[number % len(_PLACES)] for number in range(count)])
    first = np.rint(nib.affines.apply_affine(np.linalg.inv(affine), centres)).astype(np.int16) - axes
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(
        path,
        bits=np.tile(bits, count),
        ptr=np.arange(count + 1) * len(bits),
        shape=np.tile(mask.shape, (count, 1)).astype(np.int16),
        offset=first.astype(np.int16),
        grid=np.array((181, 217, 181)),
        affine=affine,
        volume_mm3=np.full(count, float(mask.sum())),
        source=np.array([f"patient{number:02d}" for number in range(count)]),
    )


def write_banks(folder: Path, count: int = 6) -> None:
    for name, (half_axes, sign) in _BANKS.items():
        write_bank(folder / "lesion_banks" / f"{name}.npz", half_axes, sign, count)


def small_data(folder: Path) -> Path:
    """Two cases to train on, a third for validation, and the banks; returns the folder."""
    folder.mkdir(exist_ok=True)
    for case in ("first", "second", "third"):
        save_case(folder, case)
    rows = [row("first", lesion_values="1,3"), row("second", lesion_values="1,2,3,4", type="stroke")]
    write_listing(folder / "cases.tsv", [*rows, row("third", lesion_values="1,2,3,4", split="validation")])
    write_banks(folder)
    return folder


def recipe_content() -> dict[Any, Any]:
    return {
        "purpose": "a test",
        "network": NETWORK,
        "classes": CLASSES,
        "listing": "public.tsv",
        "sampling": {"crop": 48, "size": 32},
        "optimisation": {"steps": 3, "batch": 2, "warmup": 2},
    }


def write_recipe(folder: Path, changes: dict[Any, Any] | None = None) -> str:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe_content() | (changes or {})))
    return str(path)


def bright_case(seed: int = 0) -> PreparedCase:
    """Noise with one bright lesion of each kind."""
    image = np.random.default_rng(seed).normal(0, 0.5, (44, 40, 8)).astype(np.float32)
    target = np.zeros(image.shape, np.uint8)
    target[10:18, 12:20, 2:6], target[28:34, 20:30, 1:7] = WHITE_MATTER_LESION, STROKE
    image[target == WHITE_MATTER_LESION] += 3
    image[target == STROKE] += 6
    return PreparedCase(f"case{seed}", f"case{seed}", image, target, (1.0, 1.0, 5.0), 2, False, 1.0)
