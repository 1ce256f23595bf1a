"""Maps, masks and lesions that commands read from NIfTI files and case folders."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..image import Volume, read_labels, read_map, same_grid


def read_probability(path: Path, what: str = "probability map") -> Volume:
    """A map of values in 0..1 as float32, (i, j, k); InputError for any other value."""
    volume = read_map(path, what)
    low, high = float(volume.array.min()), float(volume.array.max())
    if low < 0 or high > 1:
        raise InputError(f"the {what} has values from {low:g} to {high:g}, not 0 to 1", path, "Rescale it")
    return volume


def read_lesions(path: Path, what: str) -> tuple[Volume, str]:
    """Lesion ids of a mask, an instance image or a case folder, (i, j, k) int32, and how it was taken.

    An image with one value besides 0 is a mask, whose 26-connected components become the lesions.
    """
    from ..export import read_case
    from ..instances import label_components

    if path.is_dir():
        return read_labels(read_case(path).paths["instances"], what), "case folder"
    volume = read_labels(path, what)
    if volume.array.min() < 0:
        raise InputError(f"the {what} has negative values", path, "Give a mask or an image of lesion ids")
    if np.unique(volume.array).size > 2:
        return volume, "lesion ids"
    instances = label_components(volume.array, 26)
    return Volume(instances, volume.affine, volume.header, path, volume.warnings), "mask, 26-connected"


def check_grid(volume: Volume, reference: Volume, what: str) -> None:
    """InputError unless a volume lies on the reference's grid."""
    if not same_grid(volume, reference):
        shapes = " and ".join("x".join(map(str, v.shape)) for v in (volume, reference))
        name = reference.path.name if reference.path else "the other image"
        raise InputError(
            f"the {what} is not on the grid of {name} (shapes {shapes}, or other affines)",
            volume.path,
            "Resample one onto the other",
        )


def tell_warnings(*volumes: Volume) -> None:
    """What was assumed on reading, on stderr."""
    for volume in volumes:
        for warning in volume.warnings:
            print(f"warning: {warning}", file=sys.stderr)
