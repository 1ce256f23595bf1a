"""The lesions of a case: an id for every voxel, a record for every id, and changes that can be taken back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from .errors import InputError
from .instances.components import voxels_by_id
from .labels import LesionType

Box = tuple[slice, slice, slice]
Shape = tuple[int, int, int]
Voxels = npt.NDArray[np.int64]
"""Voxels of a volume as ascending flat indices in C order of (i, j, k), whatever its memory order."""

_NO_VOXELS: Voxels = np.zeros(0, np.int64)


@dataclass(frozen=True)
class LesionRecord:
    """One lesion of a case; lengths in mm, positions in RAS world space."""

    lesion_id: int
    type: LesionType
    volume_mm3: float
    voxels: int
    centroid_ras_mm: tuple[float, float, float]
    max_diameter_mm: float
    mean_probability: float | None = None  # None where no probability map exists
    type_confidence: float | None = None  # None where no classifier ran, or a person stated the type
    status: str = "proposed"  # proposed, accepted, rejected or edited
    parents: tuple[int, ...] = ()
    note: str = ""
    confidence: float | None = None  # chance that it is real; None where none was fitted, or a person drew it


@dataclass(frozen=True, eq=False)
class Change:
    """What one edit does to a `LesionMap`: voxels that change their id, and the records of lesions touched.

    It holds no volume and no box, so its size is that of what changed, however far apart that lies. Plan one
    with a function of `edits`, then `LesionMap.apply` it.

    shape : voxels along i, j, k of the map it was planned on.
    voxels : those whose id changes; empty where only records change.
    before, after : (n,) int32, the ids of these voxels, 0 for none.
    records_before, records_after : the touched lesions' records by id; None where the lesion does not exist.
    next_id : the least id that the map may give afterwards.
    """

    shape: Shape
    voxels: Voxels
    before: npt.NDArray[np.int32]
    after: npt.NDArray[np.int32]
    records_before: dict[int, LesionRecord | None]
    records_after: dict[int, LesionRecord | None]
    next_id: int

    @property
    def index(self) -> tuple[npt.NDArray[np.intp], ...]:
        """The changed voxels as an (i, j, k) index: ``array[change.index] = change.after``."""
        return np.unravel_index(self.voxels, self.shape)

    @property
    def box(self) -> Box | None:
        """The smallest box that holds every changed voxel; None where only records change."""
        return box_of(self.voxels, self.shape)

    @property
    def nbytes(self) -> int:
        """Memory it takes, about: exact for the arrays, an estimate for the records."""
        records = len(self.records_before) + len(self.records_after)
        return self.voxels.nbytes + self.before.nbytes + self.after.nbytes + 600 * records

    def to_bytes(self) -> bytes:
        """A compact form for storage, the same for the same change; `from_bytes` gives it back exactly."""
        from .change_bytes import pack

        return pack(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Change:
        """What `to_bytes` wrote; InputError for bytes that are damaged or of another version."""
        from .change_bytes import unpack

        return unpack(data)


@dataclass(eq=False)
class LesionMap:
    """Every lesion of a case on the FLAIR's grid: the master of a review. Make one with `from_arrays`.

    ids : (i, j, k) int32, 0 outside the lesions. The voxels of a rejected lesion keep its id, so that it can
        be restored; `exported` leaves them out. Changed by `apply` and `revert` alone.
    affine : (4, 4), voxel indices to RAS mm, without shear.
    records : one a lesion, by ascending id. A rejected lesion may be left without voxels (it was read from an
        exported case, or another lesion was painted over it): its record then tells what it was.
    next_id : the id that the next new lesion gets. It never falls, not even by `revert`: an id that was
        given once means one lesion for good, in a journal of undone edits too.
    probability : (i, j, k), 0..1, for the lesions' mean probability; None where no model ran.
    """

    ids: npt.NDArray[np.int32]
    affine: npt.NDArray[np.float64]
    records: dict[int, LesionRecord]
    next_id: int
    probability: npt.NDArray[Any] | None = None
    _voxels: dict[int, Voxels] = field(default_factory=dict, repr=False)

    @classmethod
    def from_arrays(
        cls,
        ids: npt.NDArray[np.int32],
        affine: npt.NDArray[Any],
        records: Iterable[LesionRecord] | Mapping[int, LesionRecord],
        next_id: int = 1,
        probability: npt.NDArray[Any] | None = None,
    ) -> LesionMap:
        """The map of a case.

        Parameters
        ----------
        ids : (i, j, k) int32
            Lesion ids, 0 outside. The map takes the array over and changes it in place; a read-only one is
            copied.
        affine : (4, 4)
            Voxel indices to RAS mm.
        records : one a lesion, as a table or by id
        next_id : the least id for a new lesion
            Stored with a case that has forgotten some of its ids (deleted lesions). The map goes higher where
            ids, records or their parents do.
        probability : (i, j, k), 0..1

        Raises
        ------
        InputError : if ids, affine, records and probability do not fit each other.
        """
        listed = list(records.values() if isinstance(records, Mapping) else records)
        by_id = {record.lesion_id: record for record in sorted(listed, key=lambda record: record.lesion_id)}
        if len(by_id) < len(listed):
            raise InputError("the lesion table gives a lesion id twice", todo="Renumber one of them")
        affine = _check_grid(ids, affine, probability)
        voxels = {lesion: flat.astype(np.int64) for lesion, flat in voxels_by_id(ids).items()}
        _check_records(by_id, voxels)
        used = [*by_id, *(parent for record in listed for parent in record.parents)]
        owned = ids if ids.flags.writeable else ids.copy()
        return cls(owned, affine, by_id, max(next_id, 1, *(i + 1 for i in used)), probability, voxels)

    @property
    def shape(self) -> Shape:
        """Voxels along i, j and k."""
        return cast(Shape, self.ids.shape)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between voxel centres along i, j and k."""
        return cast(tuple[float, float, float], tuple(np.linalg.norm(self.affine[:3, :3], axis=0).tolist()))

    def voxels(self, lesion_id: int) -> Voxels:
        """A lesion's voxels; empty for a rejected lesion that has lost its own."""
        return self._voxels.get(lesion_id, _NO_VOXELS)

    def box(self, lesion_id: int) -> Box | None:
        """The smallest box that holds a lesion; None for one without voxels."""
        return box_of(self.voxels(lesion_id), self.shape)

    def exported(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
        """Types and ids of every voxel without the rejected lesions: two new (i, j, k) arrays."""
        instances = self.ids.copy(order="K")
        types = np.zeros_like(instances, np.uint8)
        for lesion_id, record in self.records.items():
            index = np.unravel_index(self.voxels(lesion_id), self.shape)
            if record.status == "rejected":
                instances[index] = 0
            else:
                types[index] = record.type
        return types, instances

    def apply(self, change: Change) -> None:
        """Make a change; its cost is that of the lesions it touches.

        Raises InputError, and leaves the map as it is, where the voxels or records are not those that the
        change was planned on.
        """
        self._move(change, change.before, change.after, change.records_before, change.records_after)
        self.next_id = max(self.next_id, change.next_id)

    def revert(self, change: Change) -> None:
        """Take back a change, the last of those applied and not yet taken back; otherwise as `apply`."""
        self._move(change, change.after, change.before, change.records_after, change.records_before)

    def _move(
        self,
        change: Change,
        old_ids: npt.NDArray[np.int32],
        new_ids: npt.NDArray[np.int32],
        old_records: Mapping[int, LesionRecord | None],
        new_records: Mapping[int, LesionRecord | None],
    ) -> None:
        fits = change.shape == self.shape and all(self.records.get(i) == r for i, r in old_records.items())
        if not fits or not np.array_equal(self.ids[change.index], old_ids):
            raise InputError(
                "this edit does not fit the lesions as they are now",
                todo="Edits are made and taken back one after the other, on the case they were made for",
            )
        for lesion_id, voxels in self.voxels_after(change.voxels, old_ids, new_ids).items():
            self._voxels[lesion_id] = voxels
        self.ids[change.index] = new_ids
        for lesion_id, record in new_records.items():
            if record is None:
                self.records.pop(lesion_id, None)
                self._voxels.pop(lesion_id, None)
            else:
                self.records[lesion_id] = record
        if None in old_records.values():  # a new key stands last
            ordered = sorted(self.records.items())
            self.records.clear()
            self.records.update(ordered)

    def voxels_after(
        self, voxels: Voxels, old_ids: npt.NDArray[np.int32], new_ids: npt.NDArray[np.int32]
    ) -> dict[int, Voxels]:
        """The voxels that each lesion touched would have, were `voxels` to go from old to new ids."""
        lost, gained = voxels_by_id(old_ids), voxels_by_id(new_ids)  # positions in `voxels`
        result = {}
        for lesion_id in lost.keys() | gained.keys():
            own = self.voxels(lesion_id)
            if lesion_id in lost:
                own = np.delete(own, np.searchsorted(own, voxels[lost[lesion_id]]))
            if lesion_id in gained:
                new = voxels[gained[lesion_id]]
                own = np.insert(own, np.searchsorted(own, new), new)
            result[lesion_id] = own
        return result


def box_of(voxels: Voxels, shape: Shape) -> Box | None:
    """The smallest box that holds some voxels of a volume, or None for none."""
    if not voxels.size:
        return None
    sides = [slice(int(n.min()), int(n.max()) + 1) for n in np.unravel_index(voxels, shape)]
    return sides[0], sides[1], sides[2]


def _check_grid(
    ids: npt.NDArray[Any], affine: npt.NDArray[Any], probability: npt.NDArray[Any] | None
) -> npt.NDArray[np.float64]:
    """The affine as float64; InputError for arrays that make no map."""
    if ids.ndim != 3 or ids.dtype != np.int32:
        raise InputError(f"lesion ids are a 3D array of int32, not {ids.ndim}D of {ids.dtype}")
    if ids.min(initial=0) < 0:
        raise InputError(
            f"a lesion id is negative ({ids.min()})", todo="Ids are 0 outside and 1 or more inside"
        )
    affine = np.array(affine, np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.linalg.det(affine[:3, :3]):
        raise InputError(
            "the affine of the lesion ids cannot be used", todo="It is 4x4, finite and invertible"
        )
    if probability is not None and probability.shape != ids.shape:
        raise InputError(
            f"the probability map {probability.shape} and the lesion ids {ids.shape} differ in shape",
            todo="Resample one onto the grid of the other",
        )
    return affine


def _check_records(records: Mapping[int, LesionRecord], voxels: Mapping[int, Voxels]) -> None:
    """InputError where the table and the image of lesions contradict each other."""
    unknown = sorted(voxels.keys() - records.keys())
    if unknown:
        raise InputError(
            f"the image holds lesion {unknown[0]}, the lesion table does not", todo="Measure it again"
        )
    if records and min(records) < 1:
        raise InputError(f"{min(records)} is not a lesion id", todo="Ids are 1 or more")
    for lesion_id, record in records.items():
        count = len(voxels.get(lesion_id, ()))
        lost = record.status == "rejected" and not count
        if not lost and (count != record.voxels or not count):
            raise InputError(
                f"lesion {lesion_id} has {count} voxels in the image and {record.voxels} in the lesion table",
                todo="Measure the lesions again",
            )
