"""The demonstration: the whole job on a synthetic FLAIR whose lesions are known, and how well it went."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .atomic import writing_error
from .image import Volume, read_labels, write_volume
from .labels import LesionType
from .lesions_tsv import write_lesions_tsv
from .measure import measure_lesions, type_map, volume_ml
from .metrics import evaluate_case, sensitivity
from .progress import Reporter
from .segment import SegmentOptions, SegmentResult, segment
from .synthesis.scan import synthetic_scan

SUBJECT = "demo"


@dataclass(frozen=True)
class TypeRow:
    """One row of the demonstration's table: a type's true and found lesions and their overlap."""

    name: str
    true_lesions: int
    true_ml: float
    found_lesions: int
    found_ml: float
    sensitivity: float  # share of the type's true voxels found as a lesion of any type
    typed: float  # share of those voxels that were given this type


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration found, against the truth it had put in."""

    result: SegmentResult
    rows: list[TypeRow]
    scores: dict[str, float]


def run_demo(out: Path, options: SegmentOptions, reporter: Reporter, seed: int = 0) -> DemoResult:
    """Make a synthetic FLAIR, segment the file as any other, and score the case folder's files.

    The truth is written to ``out/truth``; nothing reads it before the case folder is finished.
    """
    reporter.progress("reading", 0, 3)
    scan = synthetic_scan(seed)
    flair = Volume.from_array(scan.flair, scan.affine)
    truth = out / "truth"
    try:
        truth.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise writing_error(out, error) from error
    path = out / f"sub-{SUBJECT}_FLAIR.nii.gz"
    write_volume(path, scan.flair, flair)
    write_volume(truth / "instances.nii.gz", scan.instances, flair)
    write_lesions_tsv(truth / "lesions.tsv", measure_lesions(scan.instances, scan.affine, types=scan.types))

    result = segment(path, out, options, reporter)

    true_instances = read_labels(truth / "instances.nii.gz").array
    found_instances = read_labels(result.files["instances"]).array
    found_types = read_labels(result.files["types"]).array
    true_types = type_map(true_instances, scan.types)
    rows = [
        _row(kind, true_instances, true_types, found_types, found_instances, scan.affine)
        for kind in (LesionType.WMH, LesionType.STROKE, LesionType.MS)
    ]
    return DemoResult(result, rows, evaluate_case(found_instances, true_instances, scan.affine))


def _row(
    kind: LesionType,
    true_instances: np.ndarray,
    true_types: np.ndarray,
    found_types: np.ndarray,
    found_instances: np.ndarray,
    affine: np.ndarray,
) -> TypeRow:
    true, found = true_types == kind, found_types == kind
    hit = true & (found_types > 0)
    return TypeRow(
        kind.label,
        len(np.unique(true_instances[true])),
        volume_ml(true, affine),
        len(np.unique(found_instances[found])),
        volume_ml(found, affine),
        sensitivity(found_types > 0, true),
        float((hit & found).sum() / max(hit.sum(), 1)),
    )


def demo_table(demo: DemoResult) -> str:
    """The table that the command prints: a row a type, then the scores over all."""
    lines = [f"{'':<8}{'true':>7}{'ml':>8}{'found':>8}{'ml':>8}{'voxels found':>15}{'typed right':>14}"]
    for row in demo.rows:
        lines.append(
            f"{row.name:<8}{row.true_lesions:>7}{row.true_ml:>8.2f}{row.found_lesions:>8}{row.found_ml:>8.2f}"
            f"{row.sensitivity:>15.0%}{row.typed:>14.0%}"
        )
    scores = demo.scores
    lines += [
        "",
        f"All lesions against the truth: Dice {scores['dice']:.3f}, lesion F1 {scores['lesion_f1']:.3f} "
        f"(WMH challenge), PQ {scores['pq']:.3f} (IoU > 0.1)",
    ]
    return "\n".join(lines)
