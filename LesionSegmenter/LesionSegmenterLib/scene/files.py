"""Volume files as Slicer's own storage reads them, checked: what it cannot read is refused in one line."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer

from ..errors import InputError
from ..nifti1 import affine_of_header, read_header
from .grid import Grid, array_of, grid_of_volume, label_image, labelled, same_grid


def load_flair(path: str | Path) -> Any:
    """Load a FLAIR into the scene; returns its volume node. InputError where Slicer cannot read it."""
    path = Path(path)
    node, storage = read_volume(path, "FLAIR")
    node.SetName(path.name.split(".")[0])
    slicer.mrmlScene.AddNode(storage)
    slicer.mrmlScene.AddNode(node)
    node.SetAndObserveStorageNodeID(storage.GetID())
    node.CreateDefaultDisplayNodes()
    return node


def read_labels(path: Path, target: Grid) -> tuple[npt.NDArray[np.int32], list[str]]:
    """The labels of an image file, (i, j, k) on the FLAIR's grid, and a word on what was lost or resampled.

    Raises InputError for values that are not whole numbers in 0..int32, or that all lie outside.
    """
    node, _ = read_volume(path, "label image")
    values = array_of(node.GetImageData())
    if values.dtype.kind == "f":
        whole = np.rint(values)
        if not np.array_equal(whole, values):
            raise InputError("this image holds values that are not whole numbers", path, "Give a label image")
        values = whole
    low, high = values.min(initial=0), values.max(initial=0)
    if low < 0 or high > np.iinfo(np.int32).max:
        raise InputError(
            f"this image holds the label {low if low < 0 else high:.0f}", path, "Renumber its labels"
        )
    values, grid = values.astype(np.int32, copy=False), grid_of_volume(node)
    if same_grid(grid, target):
        return values, []
    found, warnings = labelled(values, grid, target, path.name)
    return label_image(target, [found])[0], warnings


def read_probability(path: Path, target: Grid) -> npt.NDArray[np.float32]:
    """A probability map, (i, j, k); InputError where it is not on the FLAIR's grid."""
    node, _ = read_volume(path, "probability map")
    grid = grid_of_volume(node)
    if not same_grid(grid, target):
        raise InputError("the probability map is not on the FLAIR's grid", path, "Segment the case again")
    return array_of(node.GetImageData()).astype(np.float32, copy=False)


def read_volume(path: Path, what: str) -> tuple[Any, Any]:
    """Volume and storage node of a file, neither in the scene; InputError where Slicer cannot read it."""
    check_file(path, what)
    node, storage = slicer.vtkMRMLScalarVolumeNode(), slicer.vtkMRMLVolumeArchetypeStorageNode()
    node.SetName(path.name)
    storage.SetFileName(str(path))
    storage.SetSingleFile(True)
    if not storage.ReadData(node) or node.GetImageData() is None:
        if is_sheared(path):
            raise InputError(f"the axes of the {what} are sheared", path, "Resample it to right angles")
        raise InputError(f"Slicer cannot read this {what}", path, "Convert it to a 3D NIfTI of grey values")
    if node.GetImageData().GetNumberOfScalarComponents() != 1:
        raise InputError(f"the {what} is not one of grey values", path, "Convert it to a 3D NIfTI")
    return node, storage


def is_sheared(path: Path) -> bool:
    """Whether a file's axes are not at right angles, which Slicer refuses; False for what is no NIfTI-1."""
    with suppress(InputError):
        axes = affine_of_header(read_header(path))[:3, :3]
        axes = axes / np.linalg.norm(axes, axis=0)
        return bool(np.abs(axes.T @ axes - np.eye(3)).max() > 1e-4)
    return False


def check_file(path: Path, what: str) -> None:
    """InputError where there is no such file."""
    if not path.is_file():
        raise InputError(f"there is no such {what} file", path, "Check the path")
