"""The baseline that any model must beat: what is brighter than the rest of the brain, by one threshold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from LesionSegmenterLib.engine.brain import depth_within, rough_brain_mask
from LesionSegmenterLib.engine.preprocessing import prepare
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.image import Volume, read_labels, read_volume, to_canonical
from LesionSegmenterLib.instances import drop_small, label_components
from LesionSegmenterLib.metrics.overlap import dice

from .cases import CaseEntry

Z_SCORE = "z-score"
THRESHOLDS = tuple(n / 4 for n in range(4, 17))  # standard deviations above the brain's mean
_RIM_MM = 14.0  # with scalp, meninges and cortex: of 5, 8, 11 and 14 mm the best on the training cases

Case = tuple[NDArray[np.floating], NDArray[np.bool_], Sequence[float]]
"""A map of how likely each voxel (i, j, k) is lesion, the lesions, and the voxel's sides in mm."""


def rough_brain(volume: Volume) -> NDArray[np.bool_]:
    """A rough brain mask (`engine.brain.rough_brain_mask`) on the volume's own grid, (i, j, k)."""
    array, affine, orientation = to_canonical(volume.array, volume.affine)
    (image,), grid, _ = prepare(np.ascontiguousarray(array), tuple(np.linalg.norm(affine[:3, :3], axis=0)))
    mask = grid.scatter(rough_brain_mask(image, grid.spacing).astype(np.float32)) > 0.5
    return orientation.restore(mask)


def z_scores(flair: Volume) -> NDArray[np.float32]:
    """Standard deviations of each voxel (i, j, k) above the mean of the brain, whose rim is left out.

    Outside, and where the image is one brightness, it is -inf: nothing there is over any threshold.
    """
    inside = depth_within(rough_brain(flair), flair.spacing) > _RIM_MM
    scores = np.full(flair.shape, -np.inf, np.float32)
    values = flair.array[inside]
    if values.size and values.std() > 0:
        scores[inside] = (values - values.mean()) / values.std()
    return scores


def lesions_over(
    likely: NDArray[np.floating], threshold: float, spacing: Sequence[float]
) -> NDArray[np.int32]:
    """Ids of the 26-connected components of what is at or over the threshold, small ones dropped."""
    return drop_small(label_components(likely >= threshold), spacing)


def best_threshold(cases: Iterable[Case], thresholds: Sequence[float]) -> float:
    """The threshold at which lesions found (`lesions_over`) have the best mean Dice; of equals the first.

    InputError for no case.
    """
    scores = [
        [dice(lesions_over(likely, threshold, spacing) > 0, lesion) for threshold in thresholds]
        for likely, lesion, spacing in cases
    ]
    if not scores:
        raise InputError("there is no case with a lesion to choose a threshold on", todo="Add training cases")
    return thresholds[int(np.argmax(np.mean(scores, axis=0)))]


def true_lesions(entry: CaseEntry) -> NDArray[np.bool_]:
    """The voxels (i, j, k) of a case's mask that are lesion without a doubt; none where there is no mask."""
    if entry.mask is None or not entry.complete or entry.weight <= 0:
        return np.zeros((0, 0, 0), bool)
    values = set(entry.lesion_values) - set(entry.doubtful_values)
    return np.isin(read_labels(entry.mask, "mask").array, list(values))


def fitted_z_score(entries: Iterable[CaseEntry]) -> float:
    """The best threshold of `THRESHOLDS` on those of the cases that have a lesion."""

    def cases() -> Iterable[Case]:
        for entry in entries:
            if (lesion := true_lesions(entry)).any():
                flair = read_volume(entry.image)
                yield z_scores(flair), lesion, flair.spacing

    return best_threshold(cases(), THRESHOLDS)
