"""All lesions of a case at once: as one change, and as a checksum that tells cases apart."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from .lesions import Change, LesionMap

_TOLERANCE_MM = 1e-3  # affines come through float32 headers, or through spacings and directions


@dataclass(frozen=True)
class CaseState:
    """Which lesions stand where.

    sha256 : over shape, ids and voxels of the lesions that are not rejected, which is what an export keeps:
        so a case read back has the state that it was exported in.
    affine : 4 rows of 4, voxel indices to RAS mm.
    """

    sha256: str
    affine: list[list[float]]

    @classmethod
    def of(cls, lesions: LesionMap) -> CaseState:
        """The state of a map as it is now."""
        digest = hashlib.sha256(np.array(lesions.shape, "<i8").tobytes())
        for lesion_id, record in lesions.records.items():
            if record.status != "rejected":
                voxels = lesions.voxels(lesion_id)
                digest.update(np.array([lesion_id, voxels.size], "<i8").tobytes())
                digest.update(voxels.astype("<i8").tobytes())
        return cls(digest.hexdigest(), lesions.affine.tolist())

    def same_as(self, other: CaseState) -> bool:
        """Whether these are the same lesions, voxel by voxel, on one grid (affines to 0.001)."""
        return self.sha256 == other.sha256 and np.allclose(
            self.affine, other.affine, rtol=0, atol=_TOLERANCE_MM
        )


def snapshot(lesions: LesionMap) -> Change:
    """The change that makes these lesions, rejected ones too, on an empty map."""
    ids = np.fromiter(lesions.records, np.int32, len(lesions.records))
    each = [lesions.voxels(lesion_id) for lesion_id in lesions.records]
    voxels = np.concatenate([np.zeros(0, np.int64), *each])
    order = np.argsort(voxels)
    after = np.repeat(ids, [own.size for own in each])[order]
    nothing = dict.fromkeys(lesions.records)
    return Change(
        lesions.shape,
        voxels[order],
        np.zeros_like(after),
        after,
        dict(nothing),
        dict(lesions.records),
        lesions.next_id,
    )


def restore(lesions: LesionMap, state: Change) -> None:
    """Put the lesions of a snapshot in place of those that a map has, in the same array."""
    lesions.revert(snapshot(lesions))
    lesions.apply(state)
