"""Drawing training slices: which case, which plane, which slice, and where."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from LesionSegmenterLib.engine.normalisation import CLIP
from LesionSegmenterLib.engine.slicing import CONTEXT_MM, CONTEXT_SLICES

from .cases import BACKGROUND, DOUBTFUL, PreparedCase, is_lesion

_AIR = CLIP[0]  # what lies beyond an image's edge


@dataclass(frozen=True)
class SamplingSettings:
    """How slices are drawn.

    crop : side of the square that is cut out, in pixels of 1 mm.
    size : side of what augmentation cuts out of that, for the network.
    lesion_share : share of the draws that are centred near a lesion.
    axial_share : of an isotropic case, the share of axial slices; the rest is sagittal or coronal.
    thick_share : of an isotropic case's axial slices, the share averaged to thick ones.
    thickest_mm : the thickest of those.
    """

    crop: int = 208
    size: int = 160
    lesion_share: float = 0.7
    axial_share: float = 0.6
    thick_share: float = 0.5
    thickest_mm: int = 8


class SliceSampler:
    """Draws (image, target) crops with their neighbouring slices as channels.

    Cases are drawn by weight. Lesion slices are drawn by the square root of their lesion area, so that
    slices with much lesion do not drown those with little.
    """

    def __init__(self, cases: list[PreparedCase], settings: SamplingSettings):
        self.cases, self.settings = cases, settings
        self.cumulative = _cumulative(cases)
        self.areas = [_lesion_areas(case) for case in cases]

    def reweighted(self, cases: list[PreparedCase]) -> SliceSampler:
        """A sampler of the same cases with other weights."""
        other = copy.copy(self)
        other.cases, other.cumulative = cases, _cumulative(cases)
        return other

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One crop: image (channels, side, side) float32 and targets of the same shape, uint8."""
        number = int(np.searchsorted(self.cumulative, rng.random()))
        case = self.cases[min(number, len(self.cases) - 1)]
        axis, thick = case.slice_axis, 1
        if case.isotropic:
            if rng.random() > self.settings.axial_share:
                axis = int(rng.integers(2))
            elif rng.random() < self.settings.thick_share:
                thick = int(rng.integers(2, self.settings.thickest_mm + 1))
        areas = self.areas[min(number, len(self.cases) - 1)][axis]
        wants_lesion = rng.random() < self.settings.lesion_share and areas.any()
        if wants_lesion:
            chances = np.sqrt(areas)
            index = int(rng.choice(len(areas), p=chances / chances.sum()))
        else:
            index = int(rng.integers(len(areas)))
        step = thick if thick > 1 else max(1, round(CONTEXT_MM / case.spacing[axis]))
        image, target = self._stack(case, axis, index, thick, step)
        return self._crop(image, target, wants_lesion, rng)

    def _stack(
        self, case: PreparedCase, axis: int, index: int, thick: int, step: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The slice at ``index`` and its neighbours ``step`` away, each averaged over ``thick`` slices."""
        size = case.image.shape[axis]
        images, targets = [], []
        for offset in range(-CONTEXT_SLICES, CONTEXT_SLICES + 1):
            first = index + offset * step - thick // 2
            rows = np.clip(np.arange(first, first + thick), 0, size - 1)
            image, target = case.image.take(rows, axis), case.target.take(rows, axis)
            images.append(image.mean(axis, dtype=np.float32) if thick > 1 else image.take(0, axis))
            targets.append(_majority(target, axis) if thick > 1 else target.take(0, axis))
        return np.stack(images).astype(np.float32), np.stack(targets)

    def _crop(
        self, image: np.ndarray, target: np.ndarray, near_lesion: np.bool_ | bool, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        side = self.settings.crop
        middle = target[CONTEXT_SLICES]
        lesion = np.argwhere(near_lesion & is_lesion(middle))
        if len(lesion):
            centre = lesion[rng.integers(len(lesion))] + rng.integers(-50, 51, 2)
        else:
            centre = rng.integers(0, middle.shape)
        # Towards the image's own middle, so that crops are not mostly air.
        centre = np.clip(centre, *(np.array(middle.shape) * share for share in (0.3, 0.7))).astype(int)
        start = centre - side // 2
        stop = start + side
        inner = tuple(slice(max(a, 0), min(b, n)) for a, b, n in zip(start, stop, middle.shape, strict=True))
        outer = tuple(slice(i.start - a, i.stop - a) for i, a in zip(inner, start, strict=True))
        crop = np.full((len(image), side, side), _AIR, np.float32)
        labels = np.zeros(crop.shape, np.uint8)
        crop[(slice(None), *outer)] = image[(slice(None), *inner)]
        labels[(slice(None), *outer)] = target[(slice(None), *inner)]
        return crop, labels


def _cumulative(cases: list[PreparedCase]) -> np.ndarray:
    """Running sums of the cases' shares of the draws."""
    weights = np.array([case.weight for case in cases])
    return np.cumsum(weights / weights.sum())


def _lesion_areas(case: PreparedCase) -> list[np.ndarray]:
    """Lesion voxels of each slice across i, j and k."""
    lesion = is_lesion(case.target)
    return [lesion.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]


def _majority(target: np.ndarray, axis: int) -> np.ndarray:
    """A thick slice's target: lesion where it fills over 45%, doubtful where it fills over a quarter."""
    result = np.zeros([n for a, n in enumerate(target.shape) if a != axis], np.uint8)
    for value in np.unique(target)[::-1]:  # from ignore and doubtful down to lesions, which win
        if is_lesion(value):
            result[(target == value).mean(axis) > 0.45] = value
        elif value:
            result[(target == value).mean(axis) > 0.5] = value
    partly = is_lesion(target).mean(axis)
    result[(result == BACKGROUND) & (partly > 0.25)] = DOUBTFUL
    return result
