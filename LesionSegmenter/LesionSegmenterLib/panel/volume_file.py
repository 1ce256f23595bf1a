"""Volumes of the scene as the NIfTI files that the engine reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer

from ..errors import InputError
from ..scene.export import SceneWriter, flair_file
from ..scene.files import is_sheared


def file_of(node: Any, what: str, name: str, folder: Path) -> tuple[Path, bool]:
    """The file with exactly a volume's voxels at their world positions, and whether it had to be written.

    Written to ``folder`` as ``name`` where the volume has no NIfTI file, or was altered since it was loaded.
    ``what`` is what the user calls it.

    Raises InputError for a volume under a transform, without an image, with sheared axes, or that cannot be
    written.
    """
    if node.GetParentTransformNode() is not None:
        raise InputError(
            f"the {what} stands under the transform {node.GetParentTransformNode().GetName()!r}",
            node.GetName(),
            "Take it out of the transform, or harden it",
        )
    if node.GetImageData() is None:
        raise InputError(f"the {what} is empty", node.GetName(), "Choose a volume that holds an image")
    path = _own_file(node)
    if path is not None:
        return path, False
    path = folder / f"{name}.nii.gz"
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    if not storage.WriteData(node):
        raise InputError(f"the {what} cannot be written as NIfTI", path, "Check the disk's space")
    check_axes(path, what)
    return path, True


def check_axes(path: Path, what: str) -> None:
    """InputError for a NIfTI file that Slicer will refuse to load: before the engine works on it for long."""
    if is_sheared(path):
        raise InputError(f"the axes of the {what} are sheared", path, "Resample it to right angles")


def _own_file(node: Any) -> Path | None:
    """The file that a volume was loaded from, if the volume is still what the file holds."""
    try:
        path = flair_file(node)
        SceneWriter(node)  # which refuses a file that is gone, or that lies elsewhere than the node
    except InputError:
        return None
    return None if node.GetModifiedSinceRead() else path
