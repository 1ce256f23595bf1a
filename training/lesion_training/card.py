"""The model card: what a model is, what it learned from, how it scores, what it is not."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent
from typing import Any

from LesionSegmenterLib.bundle import BundleSpec
from LesionSegmenterLib.labels import LesionType

from .recipe import Recipe

COLUMNS = ("dice", "lesion_recall", "lesion_precision", "lesion_f1", "pq")


def model_card(
    spec: BundleSpec, recipe: Recipe, run: dict[str, Any], progress: dict[str, Any], parameters: int
) -> str:
    """The card's Markdown text.

    ``run`` is what ``fit`` noted, ``progress`` what its checkpoint says (step, loss, seconds, seed,
    validation); the specification's scores are the content of ``lesion-train evaluate --json``.
    """
    painted = recipe.cases.painted or recipe.cases.synthetic
    sections = [
        *_head(spec),
        f"A FLAIR volume of any orientation and slice thickness, whole head or skull-stripped"
        f"{', and a T1 of the same head' if 'T1' in recipe.inputs else ''}. Network: "
        f"{spec.architecture.name}, {parameters:,} parameters, reading {_reads(recipe)}. {_channels(spec)}",
        "## Training data",
        _data_list(spec),
        *([_PAINTED] if painted else []),
        "## Training",
        _training(recipe, run, progress),
        *_scores_and_limits(spec, _patients(run)),
    ]
    return "\n\n".join(sections) + "\n"


def ensemble_card(spec: BundleSpec, members: Sequence[tuple[str, str]], parameters: int) -> str:
    """The card of a bundle that averages others; ``members`` gives each one's name and its card."""
    mirrored = ", of the image and of its mirror image" if spec.preprocessing.get("flip") else ""
    others = [f"{zoom:g}" for zoom in spec.preprocessing.get("zooms", ()) if zoom != 1]
    magnified = f", of slices as they are and {' and '.join(others)} times as large" if others else ""
    in_volumes = (
        " The last one reads scans of thick slices as a volume of 1 mm; isotropic ones it leaves alone."
        if "volume" in spec.architecture.arguments
        else ""
    )
    takes = (
        f"What its members take: a FLAIR volume of any orientation and slice thickness, whole head or "
        f"skull-stripped. {parameters:,} parameters. {_channels(spec)} Their probabilities are "
        f"averaged{mirrored}{magnified}.{in_volumes}"
    )
    return _combined(spec, members, takes)


def averaged_card(spec: BundleSpec, stages: Sequence[tuple[str, str]], parameters: int) -> str:
    """The card of a network whose weights are the mean of others'; ``stages`` gives names and cards."""
    takes = (
        f"A FLAIR volume of any orientation and slice thickness, whole head or skull-stripped. Network: "
        f"{spec.architecture.name}, {parameters:,} parameters, each the mean of those of the networks below "
        f"(Wortsman et al. 2022, arXiv 2203.05482). {_channels(spec)}"
    )
    return _combined(spec, stages, takes)


def _combined(spec: BundleSpec, cards: Sequence[tuple[str, str]], takes: str) -> str:
    """The card of a bundle made of others, whose training their own cards say."""
    lines = [f"- {name}:{_training_stated(card)}" for name, card in cards]
    sections = [
        *_head(spec),
        takes,
        "## Training data",
        _data_list(spec),
        "## Training",
        "\n".join(lines),
        *_scores_and_limits(spec, "the cases of the data named above"),
    ]
    return "\n\n".join(sections) + "\n"


def _training_stated(card: str) -> str:
    """What a card says of its training; where that is itself a list, one below the name."""
    stated = card.partition(_TRAINING)[2].partition(_SECTION)[0] or "its card does not say how."
    return "\n" + indent(stated, "  ") if stated.startswith("- ") else f" {stated}"


_SECTION = "\n\n## "
_TRAINING = f"{_SECTION}Training\n\n"


def _head(spec: BundleSpec) -> list[str]:
    return [
        f"# {spec.name} {spec.version}",
        spec.title[0].upper() + spec.title[1:] + ".",
        "## What it takes and gives",
    ]


def _data_list(spec: BundleSpec) -> str:
    data = [
        f"- {item.name}. Licence: {item.licence}. {item.citation}".rstrip() for item in spec.training_data
    ]
    return "\n".join(data) or "- not stated"


def _scores_and_limits(spec: BundleSpec, patients: str) -> list[str]:
    return [
        "## Scores",
        "Measured by `lesion-train evaluate` on patients that were never trained on, at their native grids. "
        "Lesion recall, precision and F1 as the WMH challenge defines them (26-connected, any overlap); "
        "PQ at IoU > 0.1; quiet: false-positive ml per litre of brain in slices without a lesion.",
        _score_table(spec.scores),
        *(["## Calibration", _calibration(spec)] if "calibration" in spec.scores else []),
        "## What it is not",
        "Not a medical device and not for diagnosis: a proposal for a person to correct. It was trained on "
        f"{patients}. Expect misses among lesions under 3 mm and among faint strokes, false positives "
        "in bright cortex, and types that are wrong for single lesions more often than for scans.",
    ]


_PAINTED = (
    "No real FLAIR with vascular WMH or with stroke was at hand: those lesions were painted into real and "
    "synthetic heads from mask banks and rules. How the model does on real ones, these scores cannot say."
)


def _reads(recipe: Recipe) -> str:
    if recipe.volumetric:
        return "volumes of 1 mm"
    if recipe.sampling is None:
        return "slices of 1 mm pixels as they were acquired"
    neighbours = " with their two neighbours" if recipe.context_slices else ""
    return (
        f"1 mm slices{neighbours}; volumes with slices under 1.5 mm are read in all three planes, and the "
        "least probability counts"
    )


def _channels(spec: BundleSpec) -> str:
    """What the network's channels mean."""
    names = {kind: kind.label for kind in LesionType} | {LesionType.LESION: "lesion of any other type"}
    if spec.output.kind == "binary":
        text = "It marks lesions of any type."
    elif set(spec.output.label_map.values()) == {LesionType.LESION, LesionType.STROKE}:
        text = "Channel 1 is a lesion of the white matter (WMH or MS), channel 2 a stroke."
    else:
        meanings = (f"{channel} {names[LesionType(v)]}" for channel, v in spec.output.label_map.items())
        text = f"Channels: {', '.join(meanings)}."
    if spec.output.kind == "instances":
        text += " A centre heat and offsets to the centre tell lesions that touch apart (Wynen et al. 2024)."
    if spec.classifier:
        text += (
            " A classifier of 11 measures of a lesion tells WMH, stroke and MS apart (the cascade of "
            "Llambias et al.)."
        )
    return text


def _training(recipe: Recipe, run: dict[str, Any], progress: dict[str, Any]) -> str:
    """The command, how long it took, and where it began."""
    start = run.get("start")
    options = (" --small" if run.get("small") else "") + (f" --start {start['name']}" if start else "")
    marker = run.get("pseudo_labels")
    options += f" --pseudo-labels {marker['name']}" if marker else ""
    options += " --layers last" if run.get("layers") == "last" else ""
    # Runs before 0.7.0 did not note these two.
    options += f" --steps {run['steps']}" if run.get("steps") else ""
    options += f" --set {' '.join(run['changes'])}" if run.get("changes") else ""
    validation = progress.get("validation")
    best = "" if validation is None else f"; best validation score {validation:.3f}"
    return (
        f"`lesion-train fit {run['recipe']} --data DATA --out RUN --seed {run['seed']}{options}` on "
        f"{run['started']}: {progress['step']} steps of {recipe.optimisation.batch} "
        f"{'patches' if recipe.volumetric else 'slices'}, {progress['seconds'] / 60:.0f} minutes on "
        f"{run['device']['name']} in {run['device']['precision']}; last loss {progress['loss']:.3f}{best}. "
        + (f"It began with the weights of {start['name']} {start['version']}. " if start else "")
        + (f"{marker['name']} {marker['version']} marked what its data leave open. " if marker else "")
        + "Every other setting is the recipe's."
    )


def _patients(run: dict[str, Any]) -> str:
    cases = run.get("cases", {}).get("train")
    return f"{cases} cases" if cases else "few patients, most of them with MS"


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


def _calibration(spec: BundleSpec) -> str:
    """What threshold, least confidence and confidence were fitted on, and how well they hold."""
    scores = spec.scores["calibration"]
    cases = "; ".join(f"{name} ({', '.join(sorted(own))})" for name, own in scores["cases"].items())
    errors = [
        f"{name.replace('_', ' ')} {scores[name]['ece']:.3f}"
        for name in ("mean_probability", "confidence", "confidence_left_out", "type_confidence")
        if name in scores
    ]
    output = spec.output
    least = f", the least confidence, {output.least_confidence}," if output.least_confidence else ""
    rim = (
        f" Of each lesion, what has less than {output.peak_share:g} of its highest probability is left out."
        if output.peak_share
        else ""
    )
    return (
        f"The threshold, {output.threshold}{least} and the confidence of a lesion were fitted by "
        f"`lesion-train calibrate` on {scores['lesions']} lesions found in these cases, {scores['real']} of "
        f"them real: {cases}. Expected calibration error, every data set weighing the same: "
        f"{', '.join(errors)}.{rim}"
    )


def _number(value: float | None, digits: int) -> str:
    """The value to so many digits; a dash for a score that the case could not define."""
    return "-" if value is None else f"{value:.{digits}f}"
