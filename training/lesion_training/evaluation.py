"""Scores on the cases of a listing: of a bundle, by the engine's own path, or of lesions from elsewhere."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from LesionSegmenterLib.engine.model import Model
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.evaluation.pictures import error_picture
from LesionSegmenterLib.evaluation.tables import plain
from LesionSegmenterLib.image import Volume, read_labels, read_volume, to_canonical
from LesionSegmenterLib.instances import label_components
from LesionSegmenterLib.metrics import evaluate_case
from LesionSegmenterLib.metrics.groups import CaseScores
from LesionSegmenterLib.progress import NoReporter
from LesionSegmenterLib.segment import SegmentOptions, segment

from .baselines import lesions_over, rough_brain, z_scores
from .card import COLUMNS
from .cases import CaseEntry


@dataclass(frozen=True)
class CaseScore:
    """One case: metrics by name (see `evaluate_case`), volumes in ml, and the scan's type.

    ``quiet_ml_per_litre`` is the false-positive volume, per litre of brain, in slices without a lesion;
    ``picture`` a PNG of what was found and missed.
    """

    case: str
    centre: str
    metrics: dict[str, float]
    true_ml: float
    found_ml: float
    quiet_ml_per_litre: float
    true_type: str
    scan_type: str | None
    seconds: float
    picture: bytes = field(default=b"", repr=False)

    def of_model(self, model: str) -> CaseScores:
        """The scores as tables and statistics take them."""
        metrics = {**self.metrics, "quiet_ml_per_litre": self.quiet_ml_per_litre, "seconds": self.seconds}
        return CaseScores(self.case, model, self.centre, self.true_type, metrics, self.scan_type)


def score_case(entry: CaseEntry, options: SegmentOptions, model: Model) -> CaseScore:
    """Segment one listed case with the options' model into a temporary folder and score what was written."""
    _check_truth(entry)
    with tempfile.TemporaryDirectory() as folder:
        if any(item.modality == "T1" for item in model.bundle.spec.inputs):
            options = replace(options, t1=entry.t1)
        result = segment(entry.image, Path(folder), options, NoReporter(), model)
        found = read_labels(result.files["instances"]).array
    seconds = sum(result.sidecar["seconds"].values())
    return score_found(entry, found, scan_type=result.sidecar["scan_type"], seconds=seconds)


def score_z_score(entry: CaseEntry, threshold: float) -> CaseScore:
    """Score what thresholding finds in one listed case (`baselines.z_scores`)."""
    _check_truth(entry)
    start = time.monotonic()
    flair = read_volume(entry.image)
    found = lesions_over(z_scores(flair), threshold, flair.spacing)
    return score_found(entry, found, seconds=time.monotonic() - start)


def _check_truth(entry: CaseEntry) -> None:
    if entry.mask is None:
        raise InputError("the case has no truth to score against", entry.image)


def score_found(
    entry: CaseEntry, found: np.ndarray, *, scan_type: str | None = None, seconds: float = 0.0
) -> CaseScore:
    """Score lesions that were found in one listed case: ids (i, j, k) as its mask is stored.

    InputError for a case without a mask, and for ids on another grid.
    """
    _check_truth(entry)
    truth = read_labels(entry.mask, "mask")  # type: ignore[arg-type]
    lesion = np.isin(truth.array, entry.lesion_values)
    voxel_ml = float(abs(np.linalg.det(truth.affine[:3, :3]))) / 1000
    thick = int(np.argmax(truth.spacing)) if max(truth.spacing) > 1.5 else 2
    others = tuple(axis for axis in range(3) if axis != thick)
    metrics = evaluate_case(found, label_components(lesion), truth.affine)
    quiet = ~(lesion | np.isin(truth.array, entry.doubtful_values)).any(axis=others)
    false_voxels = (found > 0).sum(axis=others)[quiet].sum()
    flair = read_volume(entry.image)
    brain_voxels = rough_brain(flair).sum(axis=others)[quiet].sum()
    return CaseScore(
        entry.case,
        entry.dataset,
        metrics,
        float(lesion.sum()) * voxel_ml,
        float((found > 0).sum()) * voxel_ml,
        1000 * float(false_voxels / brain_voxels) if brain_voxels else float("nan"),
        entry.type.label,
        scan_type,
        round(seconds, 1),
        _picture(flair, found > 0, lesion),
    )


def _picture(flair: Volume, found: np.ndarray, lesion: np.ndarray) -> bytes:
    """The slices of a case where most is wrong."""
    array, affine, orientation = to_canonical(flair.array, flair.affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return error_picture(array, orientation.apply(found), orientation.apply(lesion), spacing)


def score_summary(scores: list[CaseScore]) -> dict[str, Any]:
    """The scores as plain values for JSON: ``cases`` by name, and ``mean`` over them; nan becomes None."""
    mean = {c: float(np.nanmean([s.metrics[c] for s in scores])) for c in COLUMNS}
    mean["quiet"] = float(np.nanmean([s.quiet_ml_per_litre for s in scores]))
    cases = {s.case: {k: v for k, v in asdict(s).items() if k != "picture"} for s in scores}
    return plain({"cases": cases, "mean": mean})


def score_table(scores: list[CaseScore]) -> str:
    """A table with a row a case and their mean."""
    head = f"{'case':<28}{'true ml':>8}{'found':>8}" + "".join(
        f"{c.replace('lesion_', 'les.'):>12}" for c in COLUMNS
    )
    lines = [head + f"{'quiet ml/l':>12}{'type':>8}{'as':>8}{'s':>7}"]
    for s in scores:
        values = "".join(f"{s.metrics[c]:>12.3f}" for c in COLUMNS)
        lines.append(
            f"{s.case:<28}{s.true_ml:>8.2f}{s.found_ml:>8.2f}{values}{s.quiet_ml_per_litre:>12.2f}"
            f"{s.true_type:>8}{s.scan_type or '-':>8}{s.seconds:>7.1f}"
        )
    mean = "".join(f"{np.nanmean([s.metrics[c] for s in scores]):>12.3f}" for c in COLUMNS)
    quiet = float(np.nanmean([s.quiet_ml_per_litre for s in scores]))
    return "\n".join([*lines, f"{'mean':<28}{'':>16}{mean}{quiet:>12.2f}"])
