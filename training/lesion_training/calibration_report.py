"""A calibration as people read it: a few lines, and a page of tables with the reliability plot."""

from __future__ import annotations

from pathlib import Path

from LesionSegmenterLib.atomic import atomic_file, writing_error
from LesionSegmenterLib.evaluation.plots import reliability
from LesionSegmenterLib.evaluation.tables import markdown_table

from .calibration import SCORES, Calibration

PLOT = "reliability.png"
_TITLES = {
    "mean_probability": "mean probability",
    "confidence": "confidence",
    "confidence_left_out": "confidence, own patient left out",
    "type_confidence": "type confidence",
}
_WEIGHING = (
    "A found lesion is real if it shares a voxel with a true one. Every data set weighs the same, and in it "
    "every case, however many lesions were found in it; counts are of lesions."
)


def summary(calibration: Calibration) -> str:
    """The scores by threshold, the one chosen, the fit, and how far each stated chance can be relied on."""
    scores, fitted = calibration.scores, calibration.confidence
    lines = [
        _threshold_table(calibration),
        f"{_chosen(calibration)}: of {scores['lesions']} lesions found, {scores['real']} are real",
        f"confidence = logistic({fitted.intercept:.3f} {fitted.probability:+.3f} logit(mean probability) "
        f"{fitted.log_volume:+.3f} log(volume in mm3))",
        _error_table(calibration),
        _dataset_table(calibration),
    ]
    return "\n".join(lines)


def write_report(calibration: Calibration, folder: Path) -> Path:
    """Write calibration.md and the plot that it shows to a folder; returns the page's path.

    Raises InputError where the folder cannot be written to.
    """
    curves = {
        name: {
            f"{_TITLES[name]} (error {rating.ece:.3f})": [
                (one.stated, one.observed, one.count) for one in rating.bins
            ]
        }
        for name, rating in calibration.ratings.items()
    }
    of_type = curves.pop("type_confidence", None)
    panels = {"Is it a lesion?": {k: v for curve in curves.values() for k, v in curve.items()}}
    if of_type:
        panels["Is its type right?"] = of_type
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise writing_error(folder, error) from error
    with atomic_file(folder / PLOT) as unfinished:
        unfinished.write_bytes(reliability(panels))
    path = folder / "calibration.md"
    with atomic_file(path) as unfinished:
        unfinished.write_text(_page(calibration), encoding="utf-8")
    return path


def _page(calibration: Calibration) -> str:
    """The page's Markdown text."""
    cases = (f"- {name}: {', '.join(own)}" for name, own in calibration.scores["cases"].items())
    sections = [
        f"# Calibration of {calibration.model}",
        "Cases:",
        "\n".join(cases),
        "## By threshold and least confidence, data sets averaged",
        "The confidence is fitted to what is found at each threshold; lesions under the least are left out.",
        _threshold_table(calibration),
        f"Chosen: {_chosen(calibration)}, the best mean of Dice and lesion F1; of equals to three digits, "
        "the threshold nearest to 0.5.",
        "## What is stated, and what comes true",
        _WEIGHING,
        f"![Reliability]({PLOT})",
        _error_table(calibration),
        "The confidence, where possible by a fit without the lesion's own patient, on each data set:",
        _dataset_table(calibration),
    ]
    for name, rating in calibration.ratings.items():
        head = ["from", "to", "lesions", "stated", "came true"]
        rows = [
            [f"{one.low:.1f}", f"{one.high:.1f}", str(one.count), f"{one.stated:.3f}", f"{one.observed:.3f}"]
            for one in rating.bins
        ]
        sections += [f"### {_TITLES[name].capitalize()}", markdown_table(head, rows)]
    return "\n\n".join(sections) + "\n"


def _chosen(calibration: Calibration) -> str:
    return f"threshold {calibration.threshold} and least confidence {calibration.least_confidence}"


def _threshold_table(calibration: Calibration) -> str:
    names = list(calibration.by_cut[0])
    rows = [
        [f"{value:.3f}" if name in SCORES else f"{value:.1f}" for name, value in row.items()]
        for row in calibration.by_cut
    ]
    return markdown_table([name.replace("_", " ") for name in names], rows)


def _error_table(calibration: Calibration) -> str:
    rows = [
        [
            _TITLES[name],
            str(rating.count),
            f"{rating.ece:.3f}",
            f"{rating.brier:.3f}",
        ]
        for name, rating in calibration.ratings.items()
    ]
    return markdown_table(["stated", "lesions", "expected calibration error", "Brier score"], rows)


def _dataset_table(calibration: Calibration) -> str:
    rows = [
        [name, str(one.count), f"{one.stated:.3f}", f"{one.observed:.3f}"]
        for name, one in calibration.by_dataset.items()
    ]
    return markdown_table(["data set", "lesions", "stated", "came true"], rows)
