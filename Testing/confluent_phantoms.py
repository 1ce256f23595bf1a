"""Confluent phantoms with known instances: does a network's own splitting beat components and ACLS?

    .venv/bin/python Testing/confluent_phantoms.py make PHANTOMS
    .venv/bin/lesion-train fit conflunet-quarter --data PHANTOMS/train --out RUN --seed 0
    .venv/bin/lesion-train bundle RUN --out BUNDLE --name confluent-phantoms
    .venv/bin/python Testing/confluent_phantoms.py score BUNDLE PHANTOMS/test

The table is that of Wynen et al. (ConfLUNet): every method splits the same semantic mask.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy import ndimage

from lesion_training.synth import write_synthetic_case
from LesionSegmenterLib.export import complete_subjects, read_case
from LesionSegmenterLib.image import read_labels
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.metrics import evaluate_case
from LesionSegmenterLib.progress import NoReporter
from LesionSegmenterLib.segment import SegmentOptions, load, segment
from LesionSegmenterLib.synthesis.scan import SyntheticScan
from LesionSegmenterLib.synthesis.shapes import numbered, ovoid

SIDE, HEAD_RADIUS = 80, 34.0
METHODS = ("components", "acls", "acls-conflunet", "offsets")
COLUMNS = (
    "dice",
    "pq",
    "instance_f1",
    "instance_recall",
    "confluent_recall",
    "confluent_dice",
    "count_difference",
)


def phantom(rng: np.random.Generator) -> SyntheticScan:
    """A ball of noisy tissue with 8 to 20 ovoids of 2 to 7 mm, most of them in touch with another, 1 mm."""
    middle = np.full(3, (SIDE - 1) / 2)
    distance = np.linalg.norm(np.indices((SIDE,) * 3) - middle[:, None, None, None], axis=0)
    levels: list[np.ndarray] = []
    for _ in range(int(rng.integers(5, 10))):
        centre = middle + _inside(rng) * (HEAD_RADIUS - 8)
        levels.append(_ovoid(centre, rng))
        while rng.random() < 0.55:  # another against it
            centre = centre + _direction(rng) * rng.uniform(4.5, 7.5)
            if np.linalg.norm(centre - middle) < HEAD_RADIUS - 5:
                levels.append(_ovoid(centre, rng))
    ids = numbered(levels)
    bright = ndimage.gaussian_filter((ids > 0).astype(np.float32), 0.7)
    texture = ndimage.gaussian_filter(rng.standard_normal(ids.shape), 1.0)
    tissue = 100 + 12 * texture + rng.uniform(35, 80) * bright
    flair = np.where(distance < HEAD_RADIUS, tissue, 0) + np.abs(rng.normal(0, 4, ids.shape))
    ids[distance >= HEAD_RADIUS] = 0
    affine = np.eye(4)
    affine[:3, 3] = -middle
    types = dict.fromkeys(np.unique(ids[ids > 0]).tolist(), LesionType.MS)
    return SyntheticScan(flair.astype(np.int16), affine, ids, types)


def _ovoid(centre: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    short = rng.uniform(2.2, 4.5)
    return ovoid((SIDE,) * 3, centre, _direction(rng), short * rng.uniform(1.0, 1.5), short)


def _direction(rng: np.random.Generator) -> np.ndarray:
    vector = rng.standard_normal(3)
    return vector / np.linalg.norm(vector)


def _inside(rng: np.random.Generator) -> np.ndarray:
    """A point of the unit ball, evenly."""
    return _direction(rng) * rng.random() ** (1 / 3)


def make(folder: Path, train: int, test: int) -> None:
    """Write case folders ``train`` and ``test``; the same each time."""
    for name, count, seed in (("train", train, 1), ("test", test, 2)):
        for number, stream in enumerate(np.random.SeedSequence(seed).spawn(count)):
            scan = phantom(np.random.default_rng(stream))
            write_synthetic_case(folder / name, f"{name}{number:03d}", scan, "ms", seed)


def score(bundle: str, folder: Path) -> str:
    """A Markdown table: each method's mean scores over the cases of a folder."""
    rows: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    model = load(SegmentOptions(model=bundle))
    for subject in complete_subjects(folder):
        case = read_case(folder, subject)
        truth = read_labels(case.paths["instances"])
        for method in METHODS:
            with tempfile.TemporaryDirectory() as out:
                options = SegmentOptions(model=bundle, split=method, small_lesions="drop", subject=subject)
                result = segment(case.flair, Path(out), options, NoReporter(), model)
                found = read_labels(result.files["instances"])
            rows[method].append(evaluate_case(found.array, truth.array, truth.affine))
    lines = ["| split | " + " | ".join(COLUMNS) + " |", "| --- |" + " --- |" * len(COLUMNS)]
    for method, scores in rows.items():
        means = (f"{np.nanmean([s[column] for s in scores]):.3f}" for column in COLUMNS)
        lines.append(f"| {method} | " + " | ".join(means) + " |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("folder", type=Path)
    making.add_argument("--train", type=int, default=24)
    making.add_argument("--test", type=int, default=8)
    scoring = commands.add_parser("score")
    scoring.add_argument("bundle")
    scoring.add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.command == "make":
        make(options.folder, options.train, options.test)
    else:
        print(score(options.bundle, options.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
