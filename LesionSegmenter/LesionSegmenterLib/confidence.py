"""A lesion's confidence: the calibrated chance that what a model found is a real lesion."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from .lesions import LesionRecord

_LEAST = 1e-4  # probabilities nearer to 0 or 1 are rounding of the network's output, and have no logit


@dataclass(frozen=True)
class LesionConfidence:
    """A logistic function of a lesion's mean probability and volume, as ``lesion-train calibrate`` fits it.

    Platt scaling (Platt 1999) of the logit of the mean probability, with the logarithm of the volume in mm3
    as a second predictor: of two lesions of one mean probability, the larger one is real more often. It holds
    for lesions found as those it was fitted on: at the bundle's own threshold, split by its own method.
    """

    intercept: float
    probability: float
    log_volume: float

    def of(self, mean_probability: float, volume_mm3: float) -> float:
        """The chance, 0..1, that a found lesion is real; the volume is above 0."""
        logit, log_volume = predictors(mean_probability, volume_mm3)
        return logistic(self.intercept + self.probability * logit + self.log_volume * log_volume)

    def stated(self, records: Iterable[LesionRecord]) -> list[LesionRecord]:
        """The records with their confidence; None where a lesion has no mean probability."""
        return [
            record
            if record.mean_probability is None
            else replace(record, confidence=self.of(record.mean_probability, record.volume_mm3))
            for record in records
        ]


def predictors(mean_probability: float, volume_mm3: float) -> tuple[float, float]:
    """What the confidence is a function of: the logit of the mean probability, and log(volume in mm3)."""
    chance = min(max(mean_probability, _LEAST), 1 - _LEAST)
    return math.log(chance / (1 - chance)), math.log(volume_mm3)


def logistic(x: float) -> float:
    """1 / (1 + exp(-x)), for any x."""
    return 0.5 * (1 + math.tanh(x / 2))
