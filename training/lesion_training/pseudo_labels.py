"""Labels by a model for what a data set does not mark (they did best in arXiv 2601.20503)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from LesionSegmenterLib.engine.model import Model
from LesionSegmenterLib.engine.normalisation import NORMALISATION
from LesionSegmenterLib.engine.prediction import predict
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.instances import label_components, outline_lesions
from LesionSegmenterLib.labels import LesionType

from .cases import BACKGROUND, DOUBTFUL, IGNORE, PreparedCase

UNSURE = 0.15  # from here up to the model's threshold a lesion may be or not


def add_pseudo_labels(case: PreparedCase, classes: Mapping[LesionType, int], model: Model) -> int:
    """Mark, in a case's target, the lesions that its truth does not mark where the model finds them.

    A case whose truth is partial gets all that the model finds, as lesions of the case's type, and is
    complete then: what the model is unsure of (`UNSURE`) is left out of the loss, the rest is background. It
    is drawn like any other even if it was there for painting alone (weight 0).

    A case whose truth marks some types only gets those of other types. Only background is marked, and only by
    what the model calls a type of its own: a lesion of no stated type may be one that the truth would have
    marked. The classes that the model knows then count as marked.

    Returns the number of voxels marked. InputError where the model reads another kind of image.
    """
    if not case.complete:
        return _complete(case, classes.get(case.type, IGNORE), model)
    spec = model.bundle.spec
    known = {
        LesionType(label): channel
        for channel, label in spec.output.label_map.items()
        if label not in (0, LesionType.LESION, *case.marked) and LesionType(label) in classes
    }
    if not (case.marked and known):
        return 0
    channels = _predicted(case, model)
    lesion = outline_lesions(channels.sum(axis=0), spec.output.threshold, spec.output.peak_share)
    free = (case.target == BACKGROUND) | (case.target == IGNORE)
    best, count = 1 + channels.argmax(axis=0), 0
    for kind, channel in known.items():
        found = lesion & free & (best == channel)
        case.target[found] = classes[kind]
        count += int(found.sum())
        _number(case, found)
    case.unmarked = tuple(sorted(set(case.unmarked) - {classes[kind] for kind in known}))
    return count


def _complete(case: PreparedCase, target: int, model: Model) -> int:
    lesion = _predicted(case, model).sum(axis=0)
    free = (case.target == BACKGROUND) | (case.target == DOUBTFUL) | (case.target == IGNORE)
    output = model.bundle.spec.output
    case.target[free] = BACKGROUND
    case.target[free & (lesion >= UNSURE)] = IGNORE
    found = free & outline_lesions(lesion, output.threshold, output.peak_share)
    case.target[found] = target
    _number(case, found)
    case.complete, case.weight = True, case.weight or 1.0
    return int(found.sum())


def _predicted(case: PreparedCase, model: Model) -> np.ndarray:
    """Probabilities (channel, i, j, k) by the model."""
    spec = model.bundle.spec
    if len(spec.inputs) > 1 or (not model.is_2d and not case.isotropic):
        raise InputError(
            f"model {spec.name} does not read FLAIRs as the recipe has them",
            todo="Take pseudo-labels from a model of the FLAIR's slices",
        )
    if model.preprocessing.normalisation != NORMALISATION:
        raise InputError(
            f"model {spec.name} reads other intensities ({model.preprocessing.normalisation})",
            todo="Take pseudo-labels from a model trained with this version",
        )
    image = np.asarray(case.image, np.float32)
    return predict(model, [image], case.grid, lambda *_: None).channels


def _number(case: PreparedCase, found: np.ndarray) -> None:
    """Give the connected pieces of what was found ids of their own, where the case has ids."""
    if case.instances is not None:
        new = label_components(found, 6)
        case.instances[found] = new[found] + case.instances.max(initial=0)
