"""A bundle's lesions by every cut of a grid, from one prediction a case, and a calibration by them."""

from __future__ import annotations

from collections.abc import Sequence
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
from LesionSegmenterLib.metrics import dice, lesion_detection, match_instances, panoptic_quality
from LesionSegmenterLib.metrics.types import commonest_type
from LesionSegmenterLib.progress import NoReporter
from LesionSegmenterLib.segment import SegmentOptions, find_lesions, run_settings

from .calibration import (
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


class Cut(NamedTuple):
    """What makes a lesion of a probability: the bundle's threshold and core (`bundle.Output`)."""

    threshold: float
    core: float | None


CUTS = tuple(
    Cut(n / 10, core) for core in (None, 0.9, 0.95) for n in range(1, 10) if core is None or n / 10 < core
)
SCORES = ("dice", "lesion_recall", "lesion_f1", "pq")


@dataclass(frozen=True)
class CaseSweep:
    """One case: by cut its scores by name, and the lesions found."""

    case: str
    dataset: str
    scores: dict[Cut, dict[str, float]]
    lesions: dict[Cut, list[FoundLesion]]


def sweep_case(entry: CaseEntry, model: Model) -> CaseSweep:
    """Run the model on a case with a mask once; find and score its lesions by each of `CUTS`.

    All is done as ``lesion-segmenter segment`` does it by default. Raises InputError for files that cannot be
    used, and for a mask on another grid.
    """
    bundle = model.bundle
    reads_t1 = any(item.modality == "T1" for item in bundle.spec.inputs)
    scan = read_scan(entry.image, entry.t1 if reads_t1 else None, bundle)
    truth = scan.orientation.apply(true_types(entry, scan.volume))
    prediction = predict_scan(scan, model, NoReporter())
    # Beyond this box there is nothing to score by any cut.
    least = min(cut.threshold for cut in CUTS)
    box = bounding_box((truth > 0) | (prediction.lesion >= least)) or (slice(0, 1),) * 3
    truth = truth[box]
    true_lesions = label_components(truth)
    sweep = CaseSweep(entry.case, entry.dataset, {}, {})
    for cut in CUTS:
        settings = run_settings(SegmentOptions(), bundle) | cut._asdict()
        instances, records = find_lesions(scan, prediction, bundle, settings, NoReporter())
        sweep.scores[cut] = _scores(instances[box], true_lesions)
        sweep.lesions[cut] = _judged(entry, records, instances[box], truth)
    return sweep


def _scores(instances: NDArray[np.int32], true_lesions: NDArray[np.int32]) -> dict[str, float]:
    """As ``lesion-train evaluate`` scores, where true lesions are the mask's components."""
    detection = lesion_detection(instances, true_lesions)
    pq, _, _ = panoptic_quality(match_instances(instances, true_lesions))
    values = dice(instances, true_lesions), detection.recall, detection.f1, pq
    return dict(zip(SCORES, values, strict=True))


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


def best_cut(sweeps: Sequence[CaseSweep], least_recall: float = 0.0) -> Cut:
    """The cut with the best mean of Dice and lesion F1, data sets averaged.

    Of cuts that reach ``least_recall`` of the lesions; where none does, the one of the highest recall. Of
    those that are equal to three digits, the one whose threshold is nearest to 0.5: so small a difference is
    chance, and at an extreme threshold a scanner of another look upsets more.
    """

    def merit(cut: Cut) -> tuple[float, float, float]:
        means = _means(sweeps, cut)
        reached = min(means["lesion_recall"], least_recall)
        return reached, round((means["dice"] + means["lesion_f1"]) / 2, 3), -abs(cut.threshold - 0.5)

    return max(CUTS, key=merit)


def _means(sweeps: Sequence[CaseSweep], cut: Cut) -> dict[str, float]:
    """Each score by a cut: the mean over data sets of the mean over a data set's cases."""
    sets: dict[str, list[CaseSweep]] = {}
    for sweep in sweeps:
        sets.setdefault(sweep.dataset, []).append(sweep)
    return {
        name: float(np.mean([np.mean([s.scores[cut][name] for s in each]) for each in sets.values()]))
        for name in SCORES
    }


def calibration_of(sweeps: Sequence[CaseSweep], bundle: Bundle, least_recall: float = 0.0) -> Calibration:
    """The bundle's cut (`best_cut`), the confidence of what it finds, and how far both can be relied on.

    Raises InputError where it finds no lesion.
    """
    cut = best_cut(sweeps, least_recall)
    lesions = [lesion for sweep in sweeps for lesion in sweep.lesions[cut]]
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
    by_cut = [{**cut._asdict(), **_means(sweeps, cut)} for cut in CUTS]
    model = f"{bundle.spec.name} {bundle.spec.version}"
    weights = bundle.spec.files[bundle.weights.name]
    stated = confidences(lesions, fitted) if left_out is None else left_out
    by_dataset = _by_dataset([s.dataset for s in sweeps for _ in s.lesions[cut]], lesions, stated)
    return Calibration(model, weights, *cut, fitted, scores, by_cut, by_dataset, ratings)


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
