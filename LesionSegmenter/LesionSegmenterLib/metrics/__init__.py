"""Scores of a segmentation against a reference; every function names the definition it follows."""

from .case import evaluate_case
from .detection import LesionDetection, lesion_detection
from .instances import (
    Matching,
    confluent_units,
    count_difference,
    dice_of_matches,
    instance_detection,
    match_instances,
    panoptic_quality,
    recall_of,
)
from .overlap import (
    average_volume_difference,
    dice,
    hausdorff95_wmh,
    precision,
    sensitivity,
    volume_similarity,
)

__all__ = [
    "LesionDetection",
    "Matching",
    "average_volume_difference",
    "confluent_units",
    "count_difference",
    "dice",
    "dice_of_matches",
    "evaluate_case",
    "hausdorff95_wmh",
    "instance_detection",
    "lesion_detection",
    "match_instances",
    "panoptic_quality",
    "precision",
    "recall_of",
    "sensitivity",
    "volume_similarity",
]
