"""A NIfTI-1 header with numpy alone, for Slicer's process, which has no nibabel; `nifti` is the engine's."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from .errors import InputError

# NIfTI-1: https://nifti.nimh.nih.gov/nifti-1. All of its fields, used here or not: what lies between fields
# numpy leaves undefined where it converts a header to another byte order.
_FIELDS = {
    "sizeof_hdr": ("i4", 0),
    "data_type": ("S10", 4),
    "db_name": ("S18", 14),
    "extents": ("i4", 32),
    "session_error": ("i2", 36),
    "regular": ("S1", 38),
    "dim_info": ("u1", 39),
    "dim": ("8i2", 40),
    "intent_p": ("3f4", 56),
    "intent_code": ("i2", 68),
    "datatype": ("i2", 70),
    "bitpix": ("i2", 72),
    "slice_start": ("i2", 74),
    "pixdim": ("8f4", 76),
    "vox_offset": ("f4", 108),
    "scl_slope": ("f4", 112),
    "scl_inter": ("f4", 116),
    "slice_end": ("i2", 120),
    "slice_code": ("u1", 122),
    "xyzt_units": ("u1", 123),
    "cal_max": ("f4", 124),
    "cal_min": ("f4", 128),
    "slice_duration": ("f4", 132),
    "toffset": ("f4", 136),
    "glmax": ("i4", 140),
    "glmin": ("i4", 144),
    "descrip": ("S80", 148),
    "aux_file": ("S24", 228),
    "qform_code": ("i2", 252),
    "sform_code": ("i2", 254),
    "quatern": ("3f4", 256),
    "qoffset": ("3f4", 268),
    "srow": ("(3,4)f4", 280),
    "intent_name": ("S16", 328),
    "magic": ("S4", 344),
}
HEADER = np.dtype(
    {
        "names": list(_FIELDS),
        "formats": [kind for kind, _ in _FIELDS.values()],
        "offsets": [offset for _, offset in _FIELDS.values()],
        "itemsize": 348,
    }
)


def read_header(path: Path) -> npt.NDArray[np.void]:
    """The header of a .nii or .nii.gz file in its own byte order; InputError where it is no NIfTI-1."""
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as file:
            block = file.read(348)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"this file cannot be read ({error})", path, "Copy it again") from error
    if len(block) == 348:
        for dtype in (HEADER.newbyteorder("<"), HEADER.newbyteorder(">")):
            header = np.frombuffer(block, dtype)[0].copy()
            if header["sizeof_hdr"] == 348:
                return header
    raise InputError("this file is not NIfTI-1", path, "Convert it to NIfTI-1 (.nii.gz)")


def affine_of_header(header: npt.NDArray[np.void]) -> npt.NDArray[np.float64]:
    """Voxel indices to RAS mm, the sform before the qform, as Slicer and nibabel take them."""
    affine = np.eye(4)
    if header["sform_code"] > 0:
        affine[:3] = header["srow"]
    elif header["qform_code"] > 0:
        b, c, d = header["quatern"].astype(float)
        a = np.sqrt(max(0.0, 1 - b * b - c * c - d * d))
        sides = header["pixdim"][1:4] * (1, 1, -1 if header["pixdim"][0] < 0 else 1)
        affine[:3, :3] = Rotation.from_quat([b, c, d, a]).as_matrix() * sides
        affine[:3, 3] = header["qoffset"]
    else:
        raise InputError("this image states no orientation", todo="Convert it again, with one")
    return affine
