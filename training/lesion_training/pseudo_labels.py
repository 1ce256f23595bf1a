"""Labels by a model for what a data set does not mark (they did best in arXiv 2601.20503)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from LesionSegmenterLib.engine.model import Model
from LesionSegmenterLib.engine.prediction import predict
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.instances import label_components
from LesionSegmenterLib.labels import LesionType

from .cases import BACKGROUND, IGNORE, PreparedCase


def add_pseudo_labels(case: PreparedCase, classes: Mapping[LesionType, int], model: Model) -> int:
    """Mark, in a case's target, the lesions of types that its truth does not mark where the model finds them.

    Only background is marked, and only by what the model calls a type of its own: a lesion of no stated type
    may be one that the truth would have marked. The classes that the model knows then count as marked.

    Returns the number of voxels marked. InputError where the model reads another kind of image.
    """
    spec = model.bundle.spec
    known = {
        LesionType(label): channel
        for channel, label in spec.output.label_map.items()
        if label not in (0, LesionType.LESION, *case.marked) and LesionType(label) in classes
    }
    if not (case.marked and known):
        return 0
    if len(spec.inputs) > 1 or (not model.is_2d and not case.isotropic):
        raise InputError(
            f"model {spec.name} does not read FLAIRs as the recipe has them",
            todo="Take pseudo-labels from a model of the FLAIR's slices",
        )
    channels = predict(model, [np.asarray(case.image, np.float32)], case.grid, lambda *_: None).channels
    lesion = channels.sum(axis=0) >= spec.output.threshold
    free = (case.target == BACKGROUND) | (case.target == IGNORE)
    best, count = 1 + channels.argmax(axis=0), 0
    for kind, channel in known.items():
        found = lesion & free & (best == channel)
        case.target[found] = classes[kind]
        count += int(found.sum())
        if case.instances is not None:
            new = label_components(found, 6)
            case.instances[found] = new[found] + case.instances.max(initial=0)
    case.unmarked = tuple(sorted(set(case.unmarked) - {classes[kind] for kind in known}))
    return count
