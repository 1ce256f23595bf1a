"""A volume: voxels, affine and spacing; reading, writing, orientation and resampling.

Arrays are indexed (i, j, k) as NIfTI stores them; affines map voxel indices to RAS world space in mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import IOBase
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .atomic import atomic_file, deterministic_gzip
from .errors import InputError
from .nifti import (
    COPY_AGAIN,
    Shape,
    check_shape,
    clean_affine,
    column_norms,
    corners,
    read_header,
    readable,
    slabs,
    times,
)

__all__ = [
    "NiftiWriter",
    "Orientation",
    "Volume",
    "read_labels",
    "read_map",
    "read_volume",
    "resample_onto",
    "same_grid",
    "spacing_of",
    "to_canonical",
    "write_probability",
    "write_volume",
]

MIN_IN_PLANE = 16  # the stride of a network with four poolings; no brain slice has fewer voxels a side
HEAD_MM = (5.0, 1000.0)  # sides of an image: two of them at least, and all at most
MIN_OVERLAP = 0.01  # of the reference's field of view; less is two images that do not share a space
SAME_GRID = 0.01  # of a voxel
# The largest float32 whose 255-fold is not above 1, so that no reader sees a probability over 1.
PROBABILITY_SLOPE = float(np.nextafter(np.float32(1 / 255), np.float32(0)))


@dataclass(frozen=True, eq=False)
class Volume:
    """An image in memory.

    array : (i, j, k).
    affine : 4x4 float64 to RAS mm, without shear: what everything is computed with.
    header : the source's header; files written like this volume repeat its geometry bit for bit.
    path : the source; None for an image made in memory.
    warnings : what was assumed or mended on reading, a line each.
    """

    array: NDArray
    affine: NDArray[np.float64]
    header: nib.Nifti1Header
    path: Path | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_array(cls, array: NDArray, affine: NDArray) -> Volume:
        """A volume without a file, for instance a synthetic one; `affine` 4x4 to RAS mm, unsheared."""
        header = nib.Nifti1Image(array, affine).header
        header.set_xyzt_units("mm")
        return cls(array, np.asarray(affine, np.float64), header)

    @property
    def shape(self) -> Shape:
        """Voxels along i, j and k."""
        return cast(Shape, self.array.shape)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between voxel centres along i, j and k."""
        return spacing_of(self.affine)


def spacing_of(affine: NDArray) -> tuple[float, float, float]:
    """Distance in mm between voxel centres along i, j and k of a 4x4 affine."""
    i, j, k = column_norms(affine).tolist()
    return i, j, k


def read_volume(path: str | Path, what: str = "FLAIR") -> Volume:
    """Read an intensity image as float32, one slab at a time: the peak is the array itself and a few MB.

    Takes .nii and .nii.gz of any integer or float type, scaled or not, in any orientation; 4D if it holds
    one frame. NaN and Inf become 0, shear is removed, a missing orientation is assumed: each with a warning.

    Raises
    ------
    InputError
        naming `what`, for a file that is missing, damaged or no NIfTI; for RGB, complex or several frames;
        for fewer than 16 voxels along more than one axis; for an unusable spacing or affine; for sides that
        no image of a head has; for an image without contrast.
    """
    volume, bad = _read_floats(Path(path), what, MIN_IN_PLANE)
    sides = np.array(volume.shape) * volume.spacing
    if sorted(sides)[1] < HEAD_MM[0] or sides.max() > HEAD_MM[1]:
        raise InputError(
            f"the {what} covers {times(sides)} mm, which is no head's size",
            volume.path,
            "Correct the voxel size or the unit of length in its header",
        )
    if bad == volume.array.size:
        raise InputError(f"the {what} holds only NaN or Inf", volume.path, COPY_AGAIN)
    low, high = float(volume.array.min()), float(volume.array.max())
    if low == high:
        state = "is all zero" if low == 0 else f"is constant ({low:g} everywhere)"
        raise InputError(f"the {what} {state}", volume.path, "Check that this is the right file")
    return volume


def read_map(path: str | Path, what: str) -> Volume:
    """Read any numeric image as float32, (i, j, k), as `read_volume` does, but size and contrast are free."""
    volume, _ = _read_floats(Path(path), what, least_in_plane=1)
    return volume


def _read_floats(path: Path, what: str, least_in_plane: int) -> tuple[Volume, int]:
    """The image with 0 for NaN and Inf, and how many voxels these were."""
    with readable(path, what) as file:
        header = read_header(file, path, what)
        shape = check_shape(header, path, what)
        affine, warnings = clean_affine(header, shape, path, what)
        if sorted(shape)[1] < least_in_plane:
            raise InputError(
                f"the {what} has only {times(shape)} voxels", path, "Use an image that holds a whole slice"
            )
        array = np.empty(shape, np.float32, order="F")
        bad = 0
        for part, values in slabs(file, header, shape, path, what):
            with np.errstate(over="ignore", invalid="ignore"):
                array[part] = values
            finite = np.isfinite(array[part])
            if not finite.all():
                bad += int(finite.size - np.count_nonzero(finite))
                array[part][~finite] = 0
    if bad:
        warnings.append(f"{bad} of {array.size} voxels of the {what} are NaN or Inf: set to 0")
    return Volume(array, affine, header, path, tuple(warnings)), bad


def read_labels(path: str | Path, what: str = "label image") -> Volume:
    """Read a label or instance image of any numeric type as int32, (i, j, k).

    Raises InputError as `read_volume` does, except that size and contrast are free; and for a value that is
    not a whole number within int32.
    """
    path = Path(path)
    with readable(path, what) as file:
        header = read_header(file, path, what)
        shape = check_shape(header, path, what)
        affine, warnings = clean_affine(header, shape, path, what)
        array = np.empty(shape, np.int32, order="F")
        for part, values in slabs(file, header, shape, path, what):
            with np.errstate(invalid="ignore", over="ignore"):
                array[part] = values
            if not np.array_equal(array[part], values):
                raise InputError(
                    f"the {what} holds values that are not whole numbers",
                    path,
                    "Give a label image, or threshold the probability map first",
                )
    return Volume(array, affine, header, path, tuple(warnings))


def same_grid(a: Volume, b: Volume) -> bool:
    """Whether two volumes have one shape and their corners lie within 1 % of a voxel of each other."""
    if a.shape != b.shape:
        return False
    apart = np.linalg.norm(nib.affines.apply_affine(a.affine - b.affine, corners(a.shape)), axis=1)
    return bool(apart.max() <= SAME_GRID * min(a.spacing))


def write_volume(path: str | Path, array: NDArray, like: Volume) -> None:
    """Write `array`, (i, j, k) of `like`'s shape, with its own dtype on `like`'s grid: .nii or .nii.gz.

    The file repeats the geometry of `like`'s header bit for bit, appears whole or not at all, and the same
    input gives the same bytes. InputError where the folder cannot be written or the disk is full.
    """
    _write(Path(path), array, like, slope=None)


def write_probability(path: str | Path, array: NDArray, like: Volume) -> None:
    """Write probabilities in 0..1 on `like`'s grid as uint8 with a slope: exact to 1/510, a value at or above
    0.5 stays so. Otherwise as `write_volume`."""
    levels = np.empty(array.shape, np.uint8, order="F")
    for k in range(array.shape[2]):  # a slice at a time: no float copy of the whole
        levels[..., k] = np.rint(np.clip(array[..., k], 0, 1) * 255)
    _write(Path(path), levels, like, slope=PROBABILITY_SLOPE)


def _write(path: Path, array: NDArray, like: Volume, slope: float | None) -> None:
    if array.shape != like.shape:
        raise ValueError(f"an array of shape {array.shape} does not fit a grid of shape {like.shape}")
    name = path.name.lower()
    if not name.endswith((".nii", ".nii.gz")):
        raise InputError("an image is written as .nii or .nii.gz", path, "Change the file name's ending")
    header = like.header.copy()
    header.set_data_shape(array.shape)
    header.set_data_dtype(array.dtype)
    header["vox_offset"] = 0  # nibabel sets the least: the source's header extensions are left out
    header["cal_min"] = header["cal_max"] = 0  # the source's display window
    header["descrip"] = header["aux_file"] = b""  # free text may name the patient
    header.set_intent("none")
    image_class = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    # No affine: given one, nibabel would rewrite sform and qform from it. Every value is written as it is.
    image = image_class(array, None, header)
    image.header.set_slope_inter(1.0 if slope is None else slope, 0.0)
    with atomic_file(path) as unfinished:
        opener = deterministic_gzip(unfinished) if name.endswith(".gz") else unfinished.open("wb")
        with opener as file:
            image.to_stream(cast(IOBase, file))


@dataclass(frozen=True)
class NiftiWriter:
    """Writes the case folder's volumes on one image's grid (the engine's `export.VolumeWriter`)."""

    like: Volume

    def labels(self, path: Path, array: NDArray) -> None:
        """Write a uint8 or int32 label image, (i, j, k)."""
        write_volume(path, array, self.like)

    def probability(self, path: Path, array: NDArray) -> None:
        """Write a probability map, (i, j, k), 0..1."""
        write_probability(path, array, self.like)


@dataclass(frozen=True)
class Orientation:
    """How an array was transposed and flipped to closest RAS.

    axes : the source axis that each of R, A, S was taken from.
    flips : whether that axis was reversed.
    """

    axes: Shape
    flips: tuple[bool, bool, bool]

    def apply(self, array: NDArray) -> NDArray:
        """The array, (i, j, k), as a view indexed (R, A, S)."""
        return array.transpose(self.axes)[self._reversed]

    def restore(self, array: NDArray) -> NDArray:
        """The exact inverse of `apply`, as a view."""
        return array[self._reversed].transpose(np.argsort(self.axes))

    @property
    def _reversed(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)


def to_canonical(array: NDArray, affine: NDArray) -> tuple[NDArray, NDArray[np.float64], Orientation]:
    """The array as a view whose axes run closest to right, anterior, superior: nothing is interpolated.

    Returns the view, its 4x4 affine (an oblique image stays oblique), and what `restore`s other arrays of
    that shape to the source's order.
    """
    ornt = nib.io_orientation(affine)  # (3, 2): the world axis of each array axis, and its direction
    axes = np.argsort(ornt[:, 0])
    orientation = Orientation(
        cast(Shape, tuple(map(int, axes))),
        cast(tuple[bool, bool, bool], tuple(bool(ornt[axis, 1] < 0) for axis in axes)),
    )
    return orientation.apply(array), affine @ nib.orientations.inv_ornt_aff(ornt, array.shape), orientation


def resample_onto(moving: Volume, reference: Volume) -> tuple[NDArray[np.float32], float]:
    """`moving` at the world positions of `reference`'s voxels, interpolated linearly, 0 outside.

    Returns the float32 array of `reference`'s shape, and the share of `reference`'s field of view that
    `moving` covers, so that the caller can warn of a partial one. No registration: the affines are believed.
    InputError where the share is under 1 %.
    """
    to_moving = np.linalg.inv(moving.affine) @ reference.affine
    steps = [np.linspace(0, n - 1, min(n, 48)) for n in reference.shape]  # enough for a share to a percent
    grid = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1)
    index = nib.affines.apply_affine(to_moving, grid)
    inside = ((index >= -0.5) & (index <= np.array(moving.shape) - 0.5)).all(axis=-1)
    overlap = float(inside.mean())
    if overlap < MIN_OVERLAP:
        raise InputError(
            f"the image covers {100 * overlap:.1f} % of the field of view of "
            f"{reference.path.name if reference.path else 'the reference'}",
            moving.path,
            "Check that both are of one patient and session, and register them first",
        )
    # "constant" would blank an edge slice whose index is off by 1e-13; "grid-constant" interpolates there.
    resampled = ndimage.affine_transform(
        moving.array.astype(np.float32, copy=False),
        to_moving[:3, :3],
        to_moving[:3, 3],
        reference.shape,
        order=1,
        mode="grid-constant",
    )
    return resampled, overlap
