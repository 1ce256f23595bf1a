"""Bundles, runs and a baseline scored on the real validation cases, each as a process of its own."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

from benchmarks.whole_run import measure
from lesion_training.baselines import Z_SCORE, Case, best_threshold, fitted_z_score, true_lesions
from lesion_training.bundling import make_bundle
from lesion_training.cases import CaseEntry
from lesion_training.checkpoint import CHECKPOINT, result_weights
from lesion_training.evaluation import score_found
from LesionSegmenterLib.bundle import SHIPPED, SPECIFICATION, Bundle, BundleSpec, load_bundle
from LesionSegmenterLib.engine.device import choose_device
from LesionSegmenterLib.engine.model import Model, load_model
from LesionSegmenterLib.engine.scan import predict_scan, read_scan
from LesionSegmenterLib.image import read_labels
from LesionSegmenterLib.progress import NoReporter

METRICS = ("dice", "lesion_recall", "lesion_f1", "pq")
_THRESHOLDS = tuple(n / 20 for n in range(1, 20))
_INSTANCES = "desc-instance_dseg.nii.gz"
_THRESHOLDING = """
import sys
from lesion_training.baselines import lesions_over, z_scores
from LesionSegmenterLib.image import read_volume, write_volume
flair, out = read_volume(sys.argv[1]), sys.argv[3]
write_volume(out, lesions_over(z_scores(flair), float(sys.argv[2]), flair.spacing), flair)
"""


@dataclass(frozen=True)
class Result:
    """One model: its scores by case and name, the mean time of a whole command and its peak memory.

    steps, minutes : of training, where the comparison itself trained it; minutes are those of one core.
    """

    name: str
    about: str
    threshold: float
    cases: dict[str, dict[str, float]]
    seconds: float
    peak_bytes: int
    steps: int | None = None
    minutes: float | None = None

    def mean(self, metric: str) -> float:
        """Of all its cases."""
        return fmean(scores[metric] for scores in self.cases.values())


def score_z_score(listed: Sequence[CaseEntry]) -> Result:
    """The thresholding baseline, its threshold chosen on the training cases."""
    threshold = fitted_z_score(entry for entry in listed if entry.split == "train")

    def command(entry: CaseEntry, folder: Path) -> list[str]:
        out = folder / f"{Z_SCORE}_{_INSTANCES}"
        return [sys.executable, "-c", _THRESHOLDING, str(entry.image), str(threshold), str(out)]

    return _scored(Z_SCORE, "FLAIR z-score over a threshold, in the brain", threshold, listed, command)


def score_shipped(listed: Sequence[CaseEntry]) -> list[Result]:
    """Every bundle that is shipped."""
    bundles = [load_bundle(path.parent) for path in sorted(SHIPPED.glob(f"*/{SPECIFICATION}"))]
    return [score_bundle(bundle, f"shipped, {bundle.spec.version}", listed) for bundle in bundles]


def score_bundle(bundle: Bundle, about: str, listed: Sequence[CaseEntry]) -> Result:
    """A bundle by the command that users run, at the bundle's threshold, small lesions dropped."""

    def command(entry: CaseEntry, folder: Path) -> list[str]:
        t1 = ["--t1", str(entry.t1)] if reads_t1(bundle.spec) else []
        return [
            sys.executable, "-m", "LesionSegmenterLib.cli", "segment", str(entry.image), *t1,
            "--out", str(folder), "--model", str(bundle.folder), "--device", "cpu", "--small-lesions", "drop",
        ]  # fmt: skip

    return _scored(bundle.spec.name, about, bundle.spec.output.threshold, readable(bundle, listed), command)


def _scored(
    name: str,
    about: str,
    threshold: float,
    listed: Sequence[CaseEntry],
    command: Callable[[CaseEntry, Path], list[str]],
) -> Result:
    cases, seconds, peak = {}, [], 0
    for entry in listed:
        if entry.split != "validation":
            continue
        with tempfile.TemporaryDirectory() as folder:
            took, used = measure(command(entry, Path(folder)))
            found = read_labels(next(Path(folder).rglob(f"*{_INSTANCES}")))
        metrics = score_found(entry, found.array).metrics
        cases[entry.case] = {metric: round(metrics[metric], 4) for metric in METRICS}
        seconds.append(took)
        peak = max(peak, used)
    return Result(name, about, threshold, cases, round(fmean(seconds), 2), peak)


def reads_t1(spec: BundleSpec) -> bool:
    """Whether a network reads a T1 besides the FLAIR."""
    return any(item.modality == "T1" for item in spec.inputs)


def readable(bundle: Bundle, listed: Sequence[CaseEntry]) -> list[CaseEntry]:
    """The cases that have what a bundle's network reads."""
    return [entry for entry in listed if entry.t1 or not reads_t1(bundle.spec)]


def bundle_of_run(run: Path, name: str, listed: Sequence[CaseEntry]) -> Bundle:
    """The bundle of a run, at the threshold with the best Dice on the training cases.

    It stays in the run's folder until there is a newer checkpoint.
    """
    place, checkpoint = run / "bundle", run / CHECKPOINT
    made = place / SPECIFICATION
    if made.is_file() and made.stat().st_mtime > checkpoint.stat().st_mtime:
        return load_bundle(place)
    make = partial(make_bundle, run, name=name, version="0", classifier=None, scores={})
    with tempfile.TemporaryDirectory() as folder:
        untuned = make(Path(folder) / "bundle", threshold=None)
        model = load_model(untuned, choose_device("cpu", "auto"))
        threshold = best_threshold(_predicted(model, readable(untuned, listed)), _THRESHOLDS)
    return make(place, threshold=threshold)


def _predicted(model: Model, listed: Sequence[CaseEntry]) -> Iterator[Case]:
    """The model's probabilities for the training cases that have lesions."""
    for entry in listed:
        if entry.split != "train" or not (lesion := true_lesions(entry)).any():
            continue
        scan = read_scan(entry.image, entry.t1 if reads_t1(model.bundle.spec) else None, model.bundle)
        likely = scan.orientation.restore(predict_scan(scan, model, NoReporter()).lesion)
        yield likely, lesion, scan.volume.spacing


def steps_of(run: Path) -> int:
    """How many steps a run was trained for."""
    return int(result_weights(run)[1]["step"])
