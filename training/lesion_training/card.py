"""The model card: what a model is, what it learned from, how it scores, what it is not."""

from __future__ import annotations

from typing import Any

from LesionSegmenterLib.bundle import TrainingData

from .recipe import Recipe

COLUMNS = ("dice", "lesion_recall", "lesion_precision", "lesion_f1", "pq")


def model_card(
    title: str,
    recipe: Recipe,
    run: dict[str, Any],
    progress: dict[str, Any],
    data: list[TrainingData],
    scores: dict[str, Any],
    parameters: int,
) -> str:
    """The card's Markdown text.

    ``run`` is what ``fit`` noted, ``progress`` what its checkpoint says (step, loss, seconds, seed),
    ``scores`` the content of ``lesion-train evaluate --json``.
    """
    settings = recipe.optimisation
    sections = [
        f"# {title}",
        recipe.purpose[0].upper() + recipe.purpose[1:] + ".",
        "## What it takes and gives",
        f"A FLAIR volume of any orientation and slice thickness, whole head or skull-stripped. Network: "
        f"{recipe.network.name}, {parameters:,} parameters, reading 1 mm slices with their two neighbours; "
        "volumes with slices under 1.5 mm are read in all three planes and averaged. Channel 1 is a lesion "
        "of the white matter (WMH or MS), channel 2 a stroke; a classifier of 11 measures of a lesion tells "
        "WMH, stroke and MS apart (the cascade of Llambias et al.).",
        "## Training data",
        "\n".join(f"- {item.name}. Licence: {item.licence}. {item.citation}" for item in data),
        "No real FLAIR with vascular WMH or with stroke was at hand: those lesions were painted into real "
        "and synthetic heads from mask banks and rules. How the model does on real ones, these scores "
        "cannot say.",
        "## Training",
        f"`lesion-train fit {run['recipe']} --data DATA --out RUN --seed {run['seed']}` on {run['started']}: "
        f"{progress['step']} steps of {settings.batch} slices, {progress['seconds'] / 60:.0f} minutes on "
        f"{run['device']['name']} in {run['device']['precision']}; last loss {progress['loss']:.3f}. "
        "Every other setting is in the recipe file.",
        "## Scores",
        "Measured by `lesion-train evaluate` on patients that were never trained on, at their native grids. "
        "Lesion recall, precision and F1 as the WMH challenge defines them (26-connected, any overlap); "
        "PQ at IoU > 0.1; quiet: false-positive ml per litre of brain in slices without a lesion.",
        _score_table(scores),
        "## What it is not",
        "Not a medical device and not for diagnosis: a proposal for a person to correct. It was trained on "
        "few patients, most of them with MS. Expect misses among lesions under 3 mm and among faint strokes, "
        "false positives in bright cortex, and types that are wrong for single lesions more often than for "
        "scans.",
    ]
    return "\n\n".join(sections) + "\n"


def _score_table(scores: dict[str, Any]) -> str:
    rows = ["| case | " + " | ".join(n.replace("_", " ") for n in COLUMNS) + " | quiet ml/l | scan type |"]
    rows.append("| --- |" + " --- |" * (len(COLUMNS) + 2))
    for name, case in scores.get("cases", {}).items():
        values = " | ".join(_number(case["metrics"][n], 3) for n in COLUMNS)
        quiet, kind = _number(case["quiet_ml_per_litre"], 2), case["scan_type"] or "-"
        rows.append(f"| {name} | {values} | {quiet} | {kind} |")
    mean = scores.get("mean", {})
    if mean:
        values = " | ".join(_number(mean[n], 3) for n in COLUMNS)
        rows.append(f"| mean | {values} | {_number(mean['quiet'], 2)} | |")
    return "\n".join(rows)


def _number(value: float | None, digits: int) -> str:
    """The value to so many digits; a dash for a score that the case could not define."""
    return "-" if value is None else f"{value:.{digits}f}"
