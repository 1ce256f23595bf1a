"""A bundle's lesions at every threshold of a grid, from one prediction a case, and a calibration by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from LesionSegmenterLib.bundle import Bundle
from LesionSegmenterLib.confidence import LesionConfidence
from LesionSegmenterLib.engine.model import Model
from LesionSegmenterLib.engine.scan import predict_scan, read_scan
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.instances import label_components
from LesionSegmenterLib.instances.components import bounding_box, voxels_by_id
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import LesionRecord
from LesionSegmenterLib.metrics.detection import LesionDetection
from LesionSegmenterLib.metrics.overlap import ratio
from LesionSegmenterLib.metrics.types import commonest_type
from LesionSegmenterLib.progress import NoReporter
from LesionSegmenterLib.segment import SegmentOptions, find_lesions, run_settings

from .calibration import (
    SCORES,
    Bin,
    Calibration,
    Floats,
    FoundLesion,
    Rating,
    case_weights,
    confidences,
    fit_confidence,
    left_out_confidences,
    mean_bin,
    rate,
)
from .cases import CaseEntry
from .held_out import true_types

THRESHOLDS = tuple(n / 10 for n in range(1, 10))
LEAST_CONFIDENCES = tuple(n / 10 for n in range(6))


class Cut(NamedTuple):
    """What makes a lesion of a probability: the bundle's threshold and least confidence."""

    threshold: float
    least_confidence: float


@dataclass(frozen=True, eq=False)
class Found:
    """The n lesions found in a case at one threshold, beside its m true ones.

    shared : (n, m) voxels of both; ``found_voxels`` (n,) and ``true_voxels`` (m,) of each.
    """

    lesions: list[FoundLesion]
    shared: NDArray[np.int64]
    found_voxels: NDArray[np.int64]
    true_voxels: NDArray[np.int64]

    def scores(self, kept: NDArray[np.bool_]) -> dict[str, float]:
        """As ``lesion-train evaluate`` scores those of ``kept`` (n,), where lesions are components."""
        touched = self.shared[kept] > 0
        voxels = self.found_voxels[kept].sum() + self.true_voxels.sum()
        empty = not voxels
        detection = LesionDetection.from_shares(
            recall=ratio(int(touched.any(axis=0).sum()), len(self.true_voxels), empty),
            precision=ratio(int(touched.any(axis=1).sum()), int(kept.sum()), empty),
        )
        overlap = ratio(2 * int(self.shared[kept].sum()), int(voxels), empty)
        return dict(zip(SCORES, (overlap, detection.recall, detection.f1), strict=True))


@dataclass(frozen=True)
class CaseSweep:
    """One case: what was found at each of `THRESHOLDS`."""

    case: str
    dataset: str
    found: dict[float, Found]


def sweep_case(entry: CaseEntry, model: Model) -> CaseSweep:
    """Run the model on a case with a mask once, and find its lesions at each of `THRESHOLDS`.

    All is done as ``lesion-segmenter segment`` does it by default, and every lesion is kept. Raises
    InputError for files that cannot be used, and for a mask on another grid.
    """
    bundle = model.bundle
    reads_t1 = any(item.modality == "T1" for item in bundle.spec.inputs)
    scan = read_scan(entry.image, entry.t1 if reads_t1 else None, bundle)
    truth = scan.orientation.apply(true_types(entry, scan.volume))
    prediction = predict_scan(scan, model, NoReporter())
    # Beyond this box there is nothing to score at any threshold.
    box = bounding_box((truth > 0) | (prediction.lesion >= min(THRESHOLDS))) or (slice(0, 1),) * 3
    truth = truth[box]
    true_lesions = label_components(truth)
    found = {}
    for threshold in THRESHOLDS:
        settings = run_settings(SegmentOptions(), bundle) | {"threshold": threshold, "least_confidence": 0.0}
        instances, records = find_lesions(scan, prediction, bundle, settings, NoReporter())
        lesions = _judged(entry, records, instances[box], truth)
        found[threshold] = Found(lesions, *overlaps(instances[box], true_lesions))
    return CaseSweep(entry.case, entry.dataset, found)


def overlaps(found: NDArray[np.int32], true: NDArray[np.int32]) -> tuple[NDArray[np.int64], ...]:
    """Shared voxels (n, m), and the voxels of each of n found and m true lesions, whose ids run from 1."""
    n, m = int(found.max(initial=0)), int(true.max(initial=0))
    pairs = np.bincount((found.astype(np.int64) * (m + 1) + true).ravel(), minlength=(n + 1) * (m + 1))
    table = pairs.reshape(n + 1, m + 1)
    return table[1:, 1:], table[1:].sum(axis=1), table[:, 1:].sum(axis=0)


def _judged(
    entry: CaseEntry,
    records: Sequence[LesionRecord],
    instances: NDArray[np.int32],
    truth: NDArray[np.uint8],
) -> list[FoundLesion]:
    """Each lesion that was found, with whether it is real and whether its type is right."""
    # Two folders of synthetic heads have cases of one name.
    case, patient = str(entry.image), f"{entry.dataset}/{entry.patient}"
    flat_truth, voxels, found = truth.ravel(), voxels_by_id(instances), []
    for record in records:
        assert record.mean_probability is not None, "a model ran"
        kind = commonest_type(flat_truth[voxels[record.lesion_id]])
        lesion = FoundLesion(
            case,
            patient,
            record.mean_probability,
            record.volume_mm3,
            kind is not None,
            dataset=entry.dataset,
        )
        if kind not in (None, LesionType.LESION.label) and record.type_confidence is not None:
            lesion = lesion.typed(record.type_confidence, record.type.label == kind)
        found.append(lesion)
    return found


def scores_by_cut(sweeps: Sequence[CaseSweep]) -> dict[Cut, dict[str, float]]:
    """The scores by each threshold and least confidence: means over data sets of the means over their cases.

    The confidence is fitted to all that is found at the threshold, in these cases.
    """
    scores = {}
    for threshold in THRESHOLDS:
        found = [sweep.found[threshold] for sweep in sweeps]
        everything = [lesion for one in found for lesion in one.lesions]
        fitted = fit_confidence(everything) if everything else None
        sure = [confidences(one.lesions, fitted) if fitted else np.empty(0) for one in found]
        for least in LEAST_CONFIDENCES:
            each = [one.scores(stated >= least) for one, stated in zip(found, sure, strict=True)]
            scores[Cut(threshold, least)] = {
                name: _mean_of_sets([(s.dataset, e[name]) for s, e in zip(sweeps, each, strict=True)])
                for name in SCORES
            }
    return scores


def _mean_of_sets(values: Sequence[tuple[str, float]]) -> float:
    sets: dict[str, list[float]] = {}
    for dataset, value in values:
        sets.setdefault(dataset, []).append(value)
    return float(np.mean([np.mean(each) for each in sets.values()]))


def best_cut(scores: Mapping[Cut, Mapping[str, float]], least_recall: float = 0.0) -> Cut:
    """The cut with the best mean of Dice and lesion F1.

    Of cuts that reach ``least_recall`` of the lesions; where none does, the one of the highest recall. Of
    those that are equal to three digits, the one whose threshold is nearest to 0.5: so small a difference is
    chance, and at an extreme threshold a scanner of another look upsets more.
    """

    def merit(cut: Cut) -> tuple[float, float, float]:
        means = scores[cut]
        reached = min(means["lesion_recall"], least_recall)
        return reached, round((means["dice"] + means["lesion_f1"]) / 2, 3), -abs(cut.threshold - 0.5)

    return max(scores, key=merit)


def calibration_of(sweeps: Sequence[CaseSweep], bundle: Bundle, least_recall: float = 0.0) -> Calibration:
    """The bundle's cut (`best_cut`), the confidence of what it finds, and how far both can be relied on.

    Raises InputError where it finds no lesion.
    """
    by_cut = scores_by_cut(sweeps)
    cut = best_cut(by_cut, least_recall)
    lesions = [lesion for sweep in sweeps for lesion in sweep.found[cut.threshold].lesions]
    if not lesions:
        raise InputError(
            "no lesion was found in these cases", bundle.folder, "Give cases with lesions that it finds"
        )
    fitted = fit_confidence(lesions)
    left_out = left_out_confidences(lesions)
    ratings = _ratings(lesions, fitted, left_out)
    cases: dict[str, list[str]] = {}
    for sweep in sweeps:
        cases.setdefault(sweep.dataset, []).append(sweep.case)
    scores = {
        "cases": cases,
        "lesions": len(lesions),
        "real": sum(lesion.real for lesion in lesions),
        **{name: {"ece": rating.ece, "brier": rating.brier} for name, rating in ratings.items()},
    }
    model = f"{bundle.spec.name} {bundle.spec.version}"
    weights = bundle.spec.files[bundle.weights.name]
    stated = confidences(lesions, fitted) if left_out is None else left_out
    by_dataset = _by_dataset([lesion.dataset for lesion in lesions], lesions, stated)
    rows = [{**cut._asdict(), **means} for cut, means in by_cut.items()]
    peak_share = bundle.spec.output.peak_share
    return Calibration(model, weights, *cut, peak_share, fitted, scores, rows, by_dataset, ratings)


def _by_dataset(datasets: Sequence[str], lesions: Sequence[FoundLesion], stated: Floats) -> dict[str, Bin]:
    """Each data set's lesions as one bin: by how much its confidences are too high or too low."""
    weights, names = case_weights(lesions), np.array(datasets)
    real = np.array([lesion.real for lesion in lesions])
    return {
        name: mean_bin(stated[names == name], real[names == name], weights[names == name], weights.sum())
        for name in dict.fromkeys(datasets)
    }


def _ratings(
    lesions: Sequence[FoundLesion], fitted: LesionConfidence, left_out: Floats | None
) -> dict[str, Rating]:
    """How far each stated chance can be relied on, by its name."""
    real, weights = np.array([lesion.real for lesion in lesions]), case_weights(lesions)
    ratings = {
        "mean_probability": rate(np.array([one.mean_probability for one in lesions]), real, weights),
        "confidence": rate(confidences(lesions, fitted), real, weights),
    }
    if left_out is not None:
        ratings["confidence_left_out"] = rate(left_out, real, weights)
    if typed := [lesion for lesion in lesions if lesion.type_confidence is not None]:
        stated = np.array([lesion.type_confidence for lesion in typed], float)
        right = np.array([lesion.type_is_right for lesion in typed], bool)
        ratings["type_confidence"] = rate(stated, right, case_weights(typed))
    return ratings
