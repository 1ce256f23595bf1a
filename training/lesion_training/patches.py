"""Drawing patches of two or three dimensions: which case, and where in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from LesionSegmenterLib.engine.normalisation import CLIP

from .cases import BACKGROUND, PreparedCase, is_lesion
from .joining import add_neighbour, lesions_to_copy

AIR = CLIP[0]  # what lies beyond an image's edge
AIR_BELOW = -2.6  # what augmentation takes for air; the darkest fluid may be in it
_MOST_COPIES = 4


@dataclass(frozen=True)
class PatchSettings:
    """How patches are drawn.

    size : sides in voxels of the working grid; two for slices (as the image was acquired), three for volumes.
    centre : ``middle`` cuts or pads a whole slice about its middle (Viteri et al., Zhang et al.); ``random``
        lies anywhere in the image; ``voxel`` lies about one of a random subset of lesion voxels, shifted at
        random by up to half a patch (Guerrero et al. 2018).
    lesion_share : of the draws of ``middle`` and ``random``, the share that must hold lesion.
    voxel_shares : for ``voxel``, the share of each class's voxels in the subset, by class; all by default.
    balance : whether cases are drawn by their weight, or data sets first, each as often as any other
        (Llambias et al. 2024), and then their cases by weight.
    per_case : draws that a case counts for in an epoch of ``random``; the other two count slices and voxels.
    joined_share : of the draws with lesion ids, the share in which a copy of another lesion is set against
        one of the patch; of these, the same share gets a second copy, and so on.
    """

    size: list[int]
    centre: Literal["middle", "random", "voxel"] = "random"
    lesion_share: float = 0.0
    voxel_shares: dict[str, float] = field(default_factory=dict)
    balance: Literal["weight", "dataset"] = "weight"
    per_case: int = 1
    joined_share: float = 0.0


class Patch(NamedTuple):
    """One draw, its last axis running across slices, of length 1 for a slice.

    image : (inputs, i, j, k) float32; ``target`` (i, j, k) uint8; ``ids`` (i, j, k) int32 or None.
    spacing : mm along i, j, k.
    unmarked : classes that the case's truth does not mark.
    """

    image: NDArray[np.float32]
    target: NDArray[np.uint8]
    ids: NDArray[np.int32] | None
    spacing: tuple[float, ...]
    unmarked: tuple[int, ...]


class PatchSampler:
    """Draws patches of prepared cases; ``seed`` decides the random subset of the voxels."""

    def __init__(self, cases: Sequence[PreparedCase], settings: PatchSettings, seed: int = 0):
        self.cases = cases = [case for case in cases if case.weight > 0]
        self.settings = settings
        self.flat = len(settings.size) == 2
        self.voxels = [self._voxels(case, np.random.default_rng((seed, n))) for n, case in enumerate(cases)]
        self.copies = [lesions_to_copy(case) if settings.joined_share else [] for case in cases]
        self.cumulative = np.cumsum(self._chances())

    def __len__(self) -> int:
        """Draws of an epoch."""
        if self.settings.centre == "voxel":
            return sum(map(len, self.voxels))
        if self.settings.centre == "middle":
            return sum(case.image.shape[case.slice_axis] for case in self.cases)
        return self.settings.per_case * len(self.cases)

    def draw(self, rng: np.random.Generator) -> Patch:
        """One patch."""
        number = min(int(np.searchsorted(self.cumulative, rng.random(), "right")), len(self.cases) - 1)
        case, voxels = self.cases[number], self.voxels[number]
        size = np.array([*self.settings.size, 1] if self.flat else self.settings.size)
        axes = _axes(case, self.flat)
        shape = np.array(case.image.shape)[axes]
        if self.settings.centre == "middle":
            centre = shape // 2
            centre[2] = rng.integers(shape[2])
        else:  # inside the image; along an axis on which the patch is longer, about its middle
            free = np.maximum(shape - size, 0)
            centre = np.where(free > 0, size // 2 + rng.integers(0, free + 1), shape // 2)
        on_lesion = self.settings.centre == "voxel" or rng.random() < self.settings.lesion_share
        if on_lesion and len(voxels):
            voxel = np.array(np.unravel_index(voxels[rng.integers(len(voxels))], case.image.shape))[axes]
            if self.settings.centre == "middle":
                centre[2] = voxel[2]
            else:
                # Every place of the patch is as likely to hold that voxel.
                centre = voxel + size // 2 - rng.integers(0, size)
        patch = _cut(case, axes, centre - size // 2, size)
        if self.copies[number] and patch.ids is not None:
            for _ in range(_MOST_COPIES):
                if rng.random() >= self.settings.joined_share:
                    break
                add_neighbour(patch.image, patch.target, patch.ids, case, self.copies[number], rng)
        return patch

    def _voxels(self, case: PreparedCase, rng: np.random.Generator) -> NDArray[np.intp]:
        """Flat numbers of the lesion voxels that draws may be placed on."""
        shares = {int(target): share for target, share in self.settings.voxel_shares.items()}
        if self.settings.centre != "voxel" or not shares:
            return np.flatnonzero(is_lesion(case.target))
        chosen = []
        for target, share in shares.items():
            flat = np.flatnonzero(case.target == target)
            chosen.append(rng.choice(flat, round(share * len(flat)), replace=False))
        return np.concatenate(chosen)

    def _chances(self) -> NDArray[np.float64]:
        """Each case's share of the draws."""
        weights = np.array([case.weight for case in self.cases])
        if self.settings.centre == "voxel":
            weights = weights * [len(voxels) for voxels in self.voxels]
        if self.settings.balance == "dataset":
            names = np.array([case.dataset for case in self.cases])
            for name in np.unique(names):
                weights[names == name] /= max(weights[names == name].sum(), 1e-12)
        return weights / weights.sum()


def _axes(case: PreparedCase, flat: bool) -> list[int]:
    """The case's axes in a patch's order: for slices, the one across them last."""
    if not flat:
        return [0, 1, 2]
    return [axis for axis in range(3) if axis != case.slice_axis] + [case.slice_axis]


def _cut(case: PreparedCase, axes: list[int], start: NDArray[np.intp], size: NDArray[np.intp]) -> Patch:
    """The patch whose first voxel lies at ``start``; what lies beyond the image is air."""
    images = [case.image] if case.t1 is None else [case.image, case.t1]
    shape = np.array(case.image.shape)[axes]
    first, last = np.clip(start, 0, shape), np.clip(start + size, 0, shape)
    inner = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    outer = tuple(slice(a, b) for a, b in zip(first - start, last - start, strict=True))

    def cut(array: NDArray, fill: float, kind: type) -> NDArray:
        patch = np.full(tuple(size), fill, kind)
        patch[outer] = array.transpose(axes)[inner]
        return patch

    return Patch(
        np.stack([cut(image, AIR, np.float32) for image in images]),
        cut(case.target, BACKGROUND, np.uint8),
        None if case.instances is None else cut(case.instances, 0, np.int32),
        tuple(case.spacing[axis] for axis in axes),
        case.unmarked,
    )
