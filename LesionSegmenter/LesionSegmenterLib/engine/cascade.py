"""The type of each lesion: the cascade's classifier, joined with what the network says of stroke."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from ..classifier import TYPES, CascadeClassifier, adjusted_to_scan
from ..features import FEATURE_NAMES, lesion_features
from ..labels import LesionType

_LEAST_EVIDENCE = 0.05  # no voxel-wise vote rules a type out
# The stroke channel's share at which a lesion is a stroke as likely as not: of strokes the network says less
# than the truth, since most that it has learnt from is no stroke. Measured on synthetic heads, docs/types.md.
_EVEN_SHARE = 0.2

Typed = dict[int, tuple[LesionType, float]]


def classify_lesions(
    classifier: Path,
    instances: np.ndarray,
    affine: np.ndarray,
    brain_mask: np.ndarray,
    stroke: np.ndarray | None,
) -> Typed:
    """Type and confidence of each lesion id.

    The classifier of Llambias et al. (paper 000) sees 11 measures of a lesion's shape and place; lesions on
    the other side of the brain speak against a stroke (`CascadeClassifier.classify_scan`). Where the network
    has a stroke channel, its share of the lesion's probability (``stroke``, on the grid of ``instances``,
    0..1 a voxel) multiplies in as a second, independent opinion: above `_EVEN_SHARE` it speaks for a stroke,
    below it against one. What all lesions of the scan say of its mix of types comes last
    (`adjusted_to_scan`).
    """
    ids, features = lesion_features(instances, affine, brain_mask)
    if len(ids) == 0:
        return {}
    probabilities = CascadeClassifier.load(classifier).classify_scan(features)
    if stroke is not None:
        share = _means(stroke, instances, ids)
        share = np.clip(share, _LEAST_EVIDENCE, 1 - _LEAST_EVIDENCE)
        probabilities[:, TYPES.index(LesionType.STROKE)] *= (
            share / (1 - share) * (1 - _EVEN_SHARE) / _EVEN_SHARE
        )
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    probabilities = adjusted_to_scan(probabilities, features[:, FEATURE_NAMES.index("volume_mm3")])
    best = probabilities.argmax(axis=1)
    return {
        int(i): (TYPES[b], round(float(p[b]), 4)) for i, b, p in zip(ids, best, probabilities, strict=True)
    }


def types_of_channels(instances: np.ndarray, channels: dict[LesionType, np.ndarray]) -> Typed:
    """Type and confidence of each lesion id from the network's own channels: the largest mean probability."""
    ids = np.unique(instances)
    ids = ids[ids > 0]
    if len(ids) == 0:
        return {}
    kinds = sorted(channels)
    means = np.stack([_means(channels[kind], instances, ids) for kind in kinds], axis=1)
    share = means / np.maximum(means.sum(axis=1, keepdims=True), 1e-9)
    best = share.argmax(axis=1)
    return {int(i): (kinds[b], round(float(s[b]), 4)) for i, b, s in zip(ids, best, share, strict=True)}


def _means(values: np.ndarray, instances: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Mean of ``values`` over each lesion id; full volumes at a time would cost seconds and 1 GB."""
    inside = instances > 0
    return np.asarray(ndimage.mean(values[inside], instances[inside], ids))
