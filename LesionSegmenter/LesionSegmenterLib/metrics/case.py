"""All scores of one case, under the names that tables and JSON files use."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .detection import lesion_detection
from .instances import (
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
    check_one_grid,
    dice,
    hausdorff95_wmh,
    precision,
    sensitivity,
    volume_similarity,
    voxel_steps,
)


def evaluate_case(
    pred_instances: npt.NDArray[np.integer],
    true_instances: npt.NDArray[np.integer],
    geometry: npt.ArrayLike,
) -> dict[str, float]:
    """Score predicted lesions against reference lesions.

    Parameters
    ----------
    pred_instances, true_instances : (i, j, k) integers
        Lesion ids, 0 outside.
    geometry : (4, 4) or (3,)
        Affine, voxel indices to mm, or voxel size along i, j, k in mm.

    Returns
    -------
    Scores by name, in this order. Of the masks: ``dice``, ``sensitivity``, ``precision``,
    ``volume_similarity``, ``volume_difference_percent`` (AVD), ``hausdorff95_wmh_mm``, ``pred_volume_ml``,
    ``true_volume_ml``. Of the masks' 26-connected components (WMH challenge): ``lesion_recall``,
    ``lesion_precision``, ``lesion_f1``. Of the instances (ConfLUNet, IoU over 0.1): ``pq``, ``sq``, ``rq``,
    ``instance_recall``, ``instance_precision``, ``instance_f1``, ``instance_dice``, ``pred_count``,
    ``true_count``, ``count_difference`` (DiC), ``confluent_units``, ``confluent_recall``,
    ``confluent_dice``. Those that a case cannot define are nan: see each function's docstring.

    Raises
    ------
    InputError : if the two are not on one 3D grid.
    """
    check_one_grid(pred_instances, true_instances)
    pred, true = pred_instances > 0, true_instances > 0
    voxel_ml = abs(float(np.linalg.det(voxel_steps(geometry)))) / 1000
    lesions = lesion_detection(pred, true)
    matching = match_instances(pred_instances, true_instances)
    pq, sq, rq = panoptic_quality(matching)
    instances = instance_detection(matching)
    units = confluent_units(true_instances)
    return {
        "dice": dice(pred, true),
        "sensitivity": sensitivity(pred, true),
        "precision": precision(pred, true),
        "volume_similarity": volume_similarity(pred, true),
        "volume_difference_percent": average_volume_difference(pred, true),
        "hausdorff95_wmh_mm": hausdorff95_wmh(pred, true, geometry),
        "pred_volume_ml": np.count_nonzero(pred) * voxel_ml,
        "true_volume_ml": np.count_nonzero(true) * voxel_ml,
        "lesion_recall": lesions.recall,
        "lesion_precision": lesions.precision,
        "lesion_f1": lesions.f1,
        "pq": pq,
        "sq": sq,
        "rq": rq,
        "instance_recall": instances.recall,
        "instance_precision": instances.precision,
        "instance_f1": instances.f1,
        "instance_dice": dice_of_matches(matching),
        "pred_count": matching.pred_count,
        "true_count": matching.true_count,
        "count_difference": count_difference(matching),
        "confluent_units": len(units),
        "confluent_recall": recall_of(units, matching),
        "confluent_dice": dice_of_matches(matching, units),
    }
