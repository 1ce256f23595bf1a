"""Mask banks: many lesion masks packed into one .npz, each in its own box of a common grid."""

from __future__ import annotations

import zipfile
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from LesionSegmenterLib.errors import InputError

_KEYS = ("ptr", "shape", "offset", "grid", "affine", "volume_mm3", "source")
_TODO = "Copy the mask bank again"


class MaskBank:
    """A bank of boolean masks, read as they are asked for.

    The file holds ``bits`` (all masks, packed, C order), ``ptr`` (n + 1 positions in bits), ``shape`` and
    ``offset`` (n, 3) of each mask's box in the grid, ``grid`` (3,), ``affine`` (4, 4) of the grid to RAS
    world mm, ``volume_mm3`` (n,) and ``source`` (n,), the file or patient a mask came from.

    Raises InputError when the file is missing, broken, or its parts disagree.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        parts = {key: self._read(key) for key in _KEYS}
        self.affine: NDArray[np.float64] = parts["affine"].astype(np.float64)
        self.grid: tuple[int, ...] = tuple(parts["grid"].tolist())
        self.volume_mm3: NDArray[np.float64] = parts["volume_mm3"].astype(np.float64)
        self.source: list[str] = parts["source"].tolist()
        self._pointers, self._shapes = parts["ptr"].astype(np.int64), parts["shape"].astype(np.int64)
        self._offsets = parts["offset"].astype(np.int64)
        self._check()

    def __len__(self) -> int:
        return len(self._shapes)

    def mask(self, index: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Mask ``index`` (0 to len - 1): its box (i, j, k) and the box's affine (4, 4) to RAS world mm."""
        if not 0 <= index < len(self):
            raise IndexError(f"mask {index} of a bank of {len(self)}")
        packed = self._bits[self._pointers[index] : self._pointers[index + 1]]
        shape = self._shapes[index]
        box = np.unpackbits(packed, count=int(shape.prod())).reshape(shape).astype(bool)
        affine = self.affine.copy()
        affine[:3, 3] += self.affine[:3, :3] @ self._offsets[index]
        return box, affine

    @cached_property
    def _bits(self) -> NDArray[np.uint8]:
        bits = self._read("bits")
        if bits.dtype != np.uint8 or bits.ndim != 1 or len(bits) < self._pointers[-1]:
            raise InputError("the mask bank's bits are incomplete", self.path, _TODO)
        return bits

    def _read(self, key: str) -> NDArray:
        try:
            with np.load(self.path, allow_pickle=False) as file:
                return file[key]
        except KeyError:
            raise InputError(f"the mask bank has no '{key}'", self.path, _TODO) from None
        except (OSError, ValueError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise InputError("cannot be read as a mask bank (.npz)", self.path, _TODO) from error

    def _check(self) -> None:
        n = len(self._shapes)
        consistent = (
            self._shapes.shape == self._offsets.shape == (n, 3)
            and self._pointers.shape == (n + 1,)
            and len(self.volume_mm3) == len(self.source) == n
            and self.affine.shape == (4, 4)
            and len(self.grid) == 3
        )
        if not consistent:
            raise InputError("the mask bank's parts have different lengths", self.path, _TODO)
        inside = (self._offsets >= 0).all() and (self._offsets + self._shapes <= self.grid).all()
        enough = (np.diff(self._pointers) * 8 >= self._shapes.prod(axis=1)).all() and self._pointers[0] >= 0
        if not (inside and enough and (self._shapes > 0).all()):
            raise InputError("a mask of the bank lies outside its grid or its bits", self.path, _TODO)
