"""Writing a case's volumes from Slicer, voxel by voxel on the FLAIR's file, and its segmentation.

Slicer's own writer would give the flipped image that Slicer holds, with an affine computed anew. Here the
file repeats the geometry of the FLAIR's header bit for bit, as the engine's do, and a flip is taken back.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer

from ..atomic import atomic_file, deterministic_gzip, scratch_folder, writing_error
from ..errors import InputError
from ..nifti1 import HEADER, affine_of_header, read_header
from .grid import flair_grid

_SEG_NRRD = ".seg.nrrd"
_DATATYPES = {np.dtype(np.uint8): 2, np.dtype(np.int32): 8}
# The largest float32 whose 255-fold is not above 1, so that no reader sees a probability over 1.
_PROBABILITY_SLOPE = float(np.nextafter(np.float32(1 / 255), np.float32(0)))
_SAME_PLACE = 0.01  # of a voxel


def write_segmentation(node: Any, path: Path) -> None:
    """Write a segmentation node as a .seg.nrrd that `io.open_segmentation_file` opens again.

    Ids, records, notes and colours stand in the segments' tags. Raises InputError for another ending, or
    where the file cannot be written whole; an older file of that name stays as it was then.
    """
    if not path.name.endswith(_SEG_NRRD):
        raise InputError(f"a segmentation is written as {_SEG_NRRD}", path, f"End its name in {_SEG_NRRD}")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    # The writer goes by the name's ending, which a hidden name beside the file would not have.
    try:
        with scratch_folder(path) as folder:
            whole = folder / f"whole{_SEG_NRRD}"
            storage.SetFileName(str(whole))
            if not storage.WriteData(node):
                raise InputError("the segmentation could not be written", path, "Check the folder's space")
            whole.replace(path)
    except OSError as error:
        raise writing_error(path.parent, error) from error


class SceneWriter:
    """Writes the case folder's volumes from arrays on the grid of a FLAIR's node (`export.VolumeWriter`).

    flair : volume node of the FLAIR.
    path : the NIfTI file that the case is of; None for that which the node was loaded from.

    Raises InputError for a FLAIR that is no NIfTI file, whose file is gone or altered, or that was moved or
    cropped in Slicer: what is exported would not fit its file.
    """

    def __init__(self, flair: Any, path: Path | None = None) -> None:
        self.path = path or flair_file(flair)
        self._header = read_header(self.path)
        grid = flair_grid(flair)
        to_node = np.linalg.inv(grid.affine) @ affine_of_header(self._header)
        last = grid.shape[2] - 1
        flip = np.diag([1.0, 1.0, -1.0, 1.0])
        flip[2, 3] = last
        far = np.append(np.array(grid.shape) - 1, 1)
        same, flipped = (np.abs((to_node - known) @ far).max() <= _SAME_PLACE for known in (np.eye(4), flip))
        if tuple(self._header["dim"][1:4]) != grid.shape or not (same or flipped):
            raise InputError(
                "the FLAIR in the scene is not where its file is",
                self.path,
                "Load the file anew and use that",
            )
        self._flipped = bool(flipped and not same)

    def labels(self, path: Path, array: npt.NDArray[Any]) -> None:
        """Write a uint8 or int32 label image, (i, j, k) of the node, as .nii.gz."""
        self._write(path, array, slope=1.0)

    def probability(self, path: Path, array: npt.NDArray[Any]) -> None:
        """Write probabilities in 0..1, (i, j, k) of the node, as uint8 with a slope: exact to 1/510."""
        levels = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
        self._write(path, levels, slope=_PROBABILITY_SLOPE)

    def _write(self, path: Path, array: npt.NDArray[Any], slope: float) -> None:
        header = self._header.copy()
        header["dim"] = (3, *array.shape, 1, 1, 1, 1)
        header["datatype"], header["bitpix"] = _DATATYPES[array.dtype], 8 * array.dtype.itemsize
        header["vox_offset"], header["magic"] = 352, b"n+1"
        header["scl_slope"], header["scl_inter"] = slope, 0
        # The source's display window and intent do not hold here, and its free text may name the patient.
        for name in ("cal_min", "cal_max", "intent_p", "intent_code"):
            header[name] = 0
        for name in ("data_type", "db_name", "intent_name", "descrip", "aux_file"):
            header[name] = b""
        header = header.astype(HEADER)  # to this machine's byte order, which is that of the voxels
        with atomic_file(path) as unfinished, deterministic_gzip(unfinished) as file:
            file.write(header.tobytes() + bytes(4))
            for k in range(array.shape[2]):  # a slice at a time: no copy of the whole
                file.write(array[..., -1 - k if self._flipped else k].tobytes(order="F"))


def flair_file(flair: Any) -> Path:
    """The file that a FLAIR's node was loaded from; InputError where it has none, or not a NIfTI file."""
    storage = flair.GetStorageNode()
    name = storage.GetFullNameFromFileName() if storage is not None else None
    if not name or not name.lower().endswith((".nii", ".nii.gz")):
        raise InputError(
            "the FLAIR in the scene is not of a NIfTI file",
            name or flair.GetName(),
            "Save it as .nii.gz (Export to file), load that, and open the lesions on it",
        )
    return Path(name)
