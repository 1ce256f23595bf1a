"""A NIfTI file's header, affine and voxels, checked: the unusable is refused, the assumed is said.

Below `image`, which makes volumes of it. Arrays are (i, j, k), affines map voxel indices to RAS mm.
"""

from __future__ import annotations

import gzip
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from .errors import InputError

Shape = tuple[int, int, int]

CONVERT = "Convert it to a 3D NIfTI (.nii or .nii.gz), for example with dcm2niix"
COPY_AGAIN = "Copy or convert it again"
SHEAR_TOLERANCE = 1e-3  # cosine between two axes; float32 affines of rigid files stay under 1e-6
MIN_UNIT_VOLUME = 0.5  # of the parallelepiped of the axes' unit vectors: 1 right-angled, 0 singular
PLAUSIBLE_MM = (0.05, 30.0)
FARTHEST_MM = 1e5  # from the origin; the float32 of a header is good to 0.01 mm there
SLAB_BYTES = 1 << 23
_LENGTHS = {1: ("metres", 1e3), 3: ("micrometres", 1e-3)}  # of xyzt_units; 2 is mm, 0 is not stated


@contextmanager
def readable(path: Path, what: str) -> Iterator[IO[bytes]]:
    """Open a NIfTI file for reading; every way in which reading it can fail becomes an InputError."""
    name = path.name.lower()
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"the {what} is a folder", path, "Name the image file in it")
        if not name.endswith((".nii", ".nii.gz")):
            raise InputError(f"the {what} is not a NIfTI file", path, CONVERT)
        if not stat.S_ISREG(mode):  # to open a pipe would wait for its writer for ever
            raise InputError(f"the {what} is no file but a pipe or device", path, "Give a file")
        with gzip.open(path) if name.endswith(".gz") else path.open("rb") as file:
            yield cast(IO[bytes], file)
    except FileNotFoundError as error:
        raise InputError(f"there is no such {what} file", path, "Check the path") from error
    except EOFError as error:
        raise InputError(f"the {what} is cut short", path, COPY_AGAIN) from error
    except gzip.BadGzipFile as error:
        raise InputError(f"the {what} is damaged or not gzip", path, COPY_AGAIN) from error
    except zlib.error as error:
        raise InputError(f"the {what} is damaged", path, COPY_AGAIN) from error
    except OSError as error:
        raise InputError(f"the {what} cannot be read ({error.strerror or error})", path) from error


def read_header(file: IO[bytes], path: Path, what: str) -> nib.Nifti1Header:
    """The header as it stands: nibabel's own loading would mend a zero or negative spacing unasked."""
    block = file.read(348)
    header_class: type[nib.Nifti1Header] = nib.Nifti1Header
    if 540 in (int.from_bytes(block[:4], "little"), int.from_bytes(block[:4], "big")):
        header_class, block = nib.Nifti2Header, block + file.read(192)
    magic = block[4:8] if header_class is nib.Nifti2Header else block[344:348]
    if magic not in (b"n+1\0", b"n+2\0"):
        raise InputError(f"the {what} is not a NIfTI file", path, CONVERT)
    if len(block) < header_class.template_dtype.itemsize:
        raise EOFError
    header = header_class(block, check=False)
    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1  # what the standard takes it for; nibabel refuses it
    return header


def check_shape(header: nib.Nifti1Header, path: Path, what: str) -> Shape:
    """The shape in three axes of an image of one channel and one frame."""
    try:
        dtype, shape = header.get_data_dtype(), tuple(map(int, header.get_data_shape()))
    except (HeaderDataError, KeyError, ValueError) as error:
        raise InputError(f"the {what} has a damaged header", path, COPY_AGAIN) from error
    if dtype.kind not in "iuf":
        kind = "an RGB" if dtype.fields else "a complex" if dtype.kind == "c" else "an unreadable"
        raise InputError(f"the {what} is {kind} image, not one of grey values", path, CONVERT)
    if len(shape) < 3 or min(shape) < 1:
        raise InputError(f"the {what} is not 3D (its shape is {times(shape)})", path, CONVERT)
    frames = int(np.prod(shape[3:], dtype=np.int64))
    if frames != 1:
        raise InputError(
            f"the {what} is a series of {frames} frames ({times(shape)})", path, "Extract one 3D frame"
        )
    offset = float(header["vox_offset"])
    size = int(np.prod(shape, dtype=np.float64)) * dtype.itemsize
    # Deflate packs at most 1032 to 1: a header that promises more is not worth allocating for.
    if not np.isfinite(offset) or offset < header.sizeof_hdr or size > 1032 * path.stat().st_size:
        raise InputError(f"the {what} is cut short or has a damaged header", path, COPY_AGAIN)
    return cast(Shape, shape[:3])


def slabs(
    file: IO[bytes], header: nib.Nifti1Header, shape: Shape, path: Path, what: str
) -> Iterator[tuple[tuple, NDArray]]:
    """Yield (index, values) of a few slices at a time, scaled by scl_slope and scl_inter in float64."""
    dtype = header.get_data_dtype()
    try:
        slope, inter = header.get_slope_inter()
    except HeaderDataError as error:
        raise InputError(f"the {what} has a damaged scaling", path, COPY_AGAIN) from error
    slice_voxels = shape[0] * shape[1]
    step = max(1, SLAB_BYTES // (slice_voxels * dtype.itemsize))
    file.seek(int(header["vox_offset"]))
    for start in range(0, shape[2], step):
        stop = min(start + step, shape[2])
        wanted = slice_voxels * (stop - start) * dtype.itemsize
        block = file.read(wanted)
        if len(block) < wanted:
            raise EOFError
        values = np.frombuffer(block, dtype).reshape((*shape[:2], stop - start), order="F")
        if slope is not None and (slope, inter) != (1, 0):
            values = values * np.float64(slope) + np.float64(inter)
        yield (..., slice(start, stop)), values
    while file.read(SLAB_BYTES):  # to the end of the stream, where gzip checks its checksum
        pass


def clean_affine(
    header: nib.Nifti1Header, shape: Shape, path: Path, what: str
) -> tuple[NDArray[np.float64], list[str]]:
    """The affine without shear, and warnings on what was assumed."""
    warnings = []
    for name in ("sform_code", "qform_code"):
        if not 0 <= header[name] <= 5:  # some programs believe such a code and some do not
            raise InputError(f"the {what} has an unknown {name} of {header[name]}", path, COPY_AGAIN)
    unit, mm = _LENGTHS.get(int(header["xyzt_units"]) & 7, ("", 1.0))
    if unit:
        warnings.append(f"the {what} states its lengths in {unit}: converted to mm")
    pixdim = np.array(header["pixdim"][1:4], np.float64) * mm
    if not (np.isfinite(pixdim).all() and (pixdim > 0).all()):
        raise InputError(
            f"the {what} has a voxel size of {times(pixdim)} mm", path, "Correct pixdim in its header"
        )
    try:
        affine = np.array(header.get_best_affine(), np.float64)
    except (HeaderDataError, ValueError) as error:
        raise InputError(f"the {what} has an invalid orientation ({error})", path, COPY_AGAIN) from error
    affine[:3] *= mm
    norms = column_norms(affine)
    if not np.isfinite(affine).all() or not norms.all():
        raise InputError(f"the {what} has a singular or non-finite affine", path, COPY_AGAIN)
    if abs(np.linalg.det(affine[:3, :3] / norms)) < MIN_UNIT_VOLUME:
        raise InputError(
            f"the {what} has a singular affine, or axes far from right angles",
            path,
            "Resample it onto a rectangular grid",
        )
    if np.abs(affine[:3, 3]).max() > FARTHEST_MM:
        raise InputError(
            f"the {what} lies {np.abs(affine[:3, 3]).max():.3g} mm from the origin of its space",
            path,
            "Correct the offset in its header",
        )
    if header["sform_code"] == 0 and header["qform_code"] == 0:
        axes = "".join(map(str, nib.aff2axcodes(affine)))
        warnings.append(f"the {what} states no orientation (sform and qform codes are 0): {axes} is assumed")
    elif not np.allclose(norms, pixdim, rtol=0.02):
        warnings.append(
            f"the {what} states voxels of {times(pixdim)} mm, its affine {times(norms)} mm: "
            "the affine is used"
        )
    if header["sform_code"] > 0 and header["qform_code"] > 0:
        apart = mm * _apart(header, shape)
        if apart > norms.min() / 2:
            warnings.append(
                f"the sform and the qform of the {what} are up to {apart:.1f} mm apart: the sform is used"
            )
    if norms.min() < PLAUSIBLE_MM[0] or norms.max() > PLAUSIBLE_MM[1]:
        warnings.append(f"the {what} has voxels of {times(norms)}, taken as mm")
    clean = _without_shear(affine, shape)
    if clean is not affine:
        moved = np.linalg.norm(nib.affines.apply_affine(clean - affine, corners(shape)), axis=1)
        angle = np.degrees(np.arcsin(_max_cosine(affine)))
        warnings.append(
            f"the axes of the {what} are sheared by {angle:.2f} degrees: removed for computing, "
            f"which moves voxels by up to {moved.max():.1f} mm"
        )
    return clean, warnings


def _apart(header: nib.Nifti1Header, shape: Shape) -> float:
    """Greatest distance between the places that sform and qform give a voxel; 0 for an invalid qform."""
    try:
        between = header.get_sform() - header.get_qform()
    except HeaderDataError:
        return 0.0
    return float(
        np.nan_to_num(np.linalg.norm(nib.affines.apply_affine(between, corners(shape)), axis=1)).max()
    )


def _without_shear(affine: NDArray[np.float64], shape: Shape) -> NDArray[np.float64]:
    """The same affine if right-angled; else the nearest rotation (polar decomposition) about the centre."""
    if _max_cosine(affine) <= SHEAR_TOLERANCE:
        return affine
    norms = column_norms(affine)
    u, _, vt = np.linalg.svd(affine[:3, :3] / norms)
    # Shear narrows a voxel: shrink all sides alike, so that volumes in mm3 stay true.
    scale = np.cbrt(abs(np.linalg.det(affine[:3, :3] / norms)))
    clean = np.eye(4)
    clean[:3, :3] = (u @ vt) * norms * scale
    centre = (np.array(shape) - 1) / 2
    clean[:3, 3] = affine[:3, :3] @ centre + affine[:3, 3] - clean[:3, :3] @ centre
    return clean


def column_norms(affine: NDArray) -> NDArray[np.float64]:
    return np.linalg.norm(affine[:3, :3], axis=0)


def _max_cosine(affine: NDArray) -> float:
    """Largest |cosine| between two different axes: 0 where all are at right angles."""
    unit = affine[:3, :3] / column_norms(affine)
    return float(np.abs(unit.T @ unit - np.diag((unit**2).sum(axis=0))).max())


def corners(shape: Shape) -> NDArray[np.float64]:
    """The eight corner voxels, (8, 3)."""
    return np.array(list(np.ndindex(2, 2, 2))) * (np.array(shape) - 1.0)


def times(numbers: NDArray | tuple[int, ...]) -> str:
    return "x".join(f"{number:.4g}" for number in numbers)
