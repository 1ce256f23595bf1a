"""Instance segmentation scores as defined by ConfLUNet (Wynen et al.) and its code.

Instances are (i, j, k) integer arrays of lesion ids, 0 outside; ids need not be consecutive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..instances.components import Connectivity, label_components, voxels_by_id
from .detection import LesionDetection
from .overlap import check_one_grid, ratio

Instances = npt.NDArray[np.integer]


class Match(NamedTuple):
    """A predicted lesion and the reference lesion it is taken for."""

    pred_id: int
    true_id: int
    iou: float


class Matching(NamedTuple):
    """Matched lesions (true positives), false positives and false negatives; ids ascending."""

    matches: list[Match]
    unmatched_pred: list[int]
    unmatched_true: list[int]

    @property
    def pred_count(self) -> int:
        """Number of predicted lesions."""
        return len(self.matches) + len(self.unmatched_pred)

    @property
    def true_count(self) -> int:
        """Number of reference lesions."""
        return len(self.matches) + len(self.unmatched_true)

    @property
    def both_empty(self) -> bool:
        """Whether there is no lesion on either side."""
        return self.pred_count == self.true_count == 0


def match_instances(pred: Instances, true: Instances, threshold: float = 0.1) -> Matching:
    """Match predicted to reference lesions by intersection over union (IoU).

    Each predicted lesion is offered to the reference lesion with which its IoU is largest, if that is
    strictly over the threshold; each reference lesion takes the best of its offers, and the others become
    false positives, not offered again. Equal IoUs are settled for the lower id. Greedy and Hungarian
    matchers can differ.

    Parameters
    ----------
    pred, true : (i, j, k) integers
        Lesion ids, 0 outside.
    threshold : 0..1
        The IoU to exceed.

    Raises
    ------
    InputError : if the two are not on one 3D grid.
    """
    check_one_grid(pred, true)
    pred_sizes, true_sizes = _sizes(pred), _sizes(true)
    offers: dict[int, Match] = {}  # by predicted id
    for (pred_id, true_id), common in _common_voxels(pred, true).items():  # ids ascending
        iou = common / (pred_sizes[pred_id] + true_sizes[true_id] - common)
        if iou > threshold and (pred_id not in offers or iou > offers[pred_id].iou):
            offers[pred_id] = Match(pred_id, true_id, iou)
    taken: dict[int, Match] = {}  # by reference id
    for offer in offers.values():
        if offer.true_id not in taken or offer.iou > taken[offer.true_id].iou:
            taken[offer.true_id] = offer
    matched_pred = {match.pred_id for match in taken.values()}
    return Matching(
        sorted(taken.values()),
        [lesion for lesion in pred_sizes if lesion not in matched_pred],
        [lesion for lesion in true_sizes if lesion not in taken],
    )


def panoptic_quality(matching: Matching) -> tuple[float, float, float]:
    """Panoptic, segmentation and recognition quality (PQ, SQ, RQ), PQ = SQ x RQ.

    SQ is the mean IoU of the matches; RQ is TP / (TP + FP/2 + FN/2). Without lesions on either side all are
    1.0; without a match all are 0.0. (panoptica gives nan for the former, MONAI 0.)
    """
    tp = len(matching.matches)
    sq = ratio(sum(match.iou for match in matching.matches), tp, matching.both_empty)
    rq = ratio(tp, (matching.pred_count + matching.true_count) / 2, matching.both_empty)
    return sq * rq, sq, rq


def instance_detection(matching: Matching) -> LesionDetection:
    """Recall TP / (TP + FN), precision TP / (TP + FP) and F1 of matched lesions.

    Without lesions on either side all are 1.0; with lesions on one side alone all are 0.0.
    """
    tp = len(matching.matches)
    return LesionDetection.from_shares(
        recall=ratio(tp, matching.true_count, matching.both_empty),
        precision=ratio(tp, matching.pred_count, matching.both_empty),
    )


def count_difference(matching: Matching) -> int:
    """DiC: the absolute difference of the numbers of predicted and reference lesions."""
    return abs(matching.pred_count - matching.true_count)


def confluent_units(
    instances: Instances,
    definition: Literal["shared-component", "partial-iou"] = "shared-component",
    connectivity: Connectivity = 6,
) -> list[int]:
    """The lesions that are units of a confluent lesion (CLUs), ids ascending.

    "shared-component", ConfLUNet's code: lesions that share a connected component with another lesion.
    "partial-iou", its equation 3: lesions whose IoU with some component lies strictly between 0 and 1,
    which adds lesions that are themselves in several parts.

    Parameters
    ----------
    instances : (i, j, k) integers
        Lesion ids, 0 outside.
    definition : "shared-component" or "partial-iou"
        See above.
    connectivity : 6, 18 or 26
        Of the components; ConfLUNet's code uses 6.
    """
    pairs = _common_voxels(instances, label_components(instances > 0, connectivity))
    components_of = Counter(lesion for lesion, _ in pairs)
    lesions_of = Counter(component for _, component in pairs)
    units = {
        lesion
        for lesion, component in pairs
        if lesions_of[component] > 1 or (definition == "partial-iou" and components_of[lesion] > 1)
    }
    return sorted(units)


def recall_of(true_ids: Collection[int], matching: Matching) -> float:
    """Share of some reference lesions that were matched; Recall_CLU for the confluent units.

    nan without such lesions: a case without confluent lesions says nothing about finding them.
    """
    found = {match.true_id for match in matching.matches}
    return len(found & set(true_ids)) / len(true_ids) if true_ids else float("nan")


def dice_of_matches(matching: Matching, true_ids: Collection[int] | None = None) -> float:
    """Mean Dice of the matched lesions, DSC_TP; of those among ``true_ids`` if given (DSC_TP,CLU).

    nan where there is no such match.
    """
    # Dice of a pair is 2 IoU / (1 + IoU).
    values = [
        2 * match.iou / (1 + match.iou)
        for match in matching.matches
        if true_ids is None or match.true_id in true_ids
    ]
    return float(np.mean(values)) if values else float("nan")


def _sizes(instances: Instances) -> dict[int, int]:
    """Number of voxels of each lesion, ids ascending."""
    return {lesion: flat.size for lesion, flat in voxels_by_id(instances).items()}


def _common_voxels(first: Instances, second: Instances) -> dict[tuple[int, int], int]:
    """Number of voxels that two lesions share, for each pair that shares any; pairs ascending."""
    both = (first > 0) & (second > 0)
    # One 64-bit key a pair sorts far quicker than rows; ids are int32 by contract.
    keys = first[both].astype(np.int64) << 32 | second[both].astype(np.int64)
    pairs, counts = np.unique(keys, return_counts=True)
    first_ids, second_ids = pairs >> 32, pairs & 0xFFFFFFFF
    return dict(zip(zip(first_ids.tolist(), second_ids.tolist(), strict=True), counts.tolist(), strict=True))
