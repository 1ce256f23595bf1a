"""From a run to a bundle that the engine loads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save

from LesionSegmenterLib.bundle import (
    CARD,
    WEIGHTS,
    Bundle,
    BundleSpec,
    TrainingData,
    load_bundle,
    write_bundle,
)
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.networks import build
from LesionSegmenterLib.strict_json import parse

from .calibration import Calibration
from .card import model_card
from .checkpoint import result_weights
from .fit_command import NOTE
from .listing import LISTINGS
from .recipe import Recipe, load_recipe, parse_recipe
from .specification import specification

CLASSIFIER = "classifier.safetensors"
_FIRST_NORMALISATION = "deep-median-mad"  # of runs that note none
_CLASSIFIER_DATA = ("bank_soop", "bank_lesymap", "bank_ms_components", "bank_ms_whole", "icbm152")


def training_data(names: Iterable[str]) -> list[TrainingData]:
    """Licence and citation of the data sets of those names; what the package's table lacks is the user's."""
    table = yaml.safe_load((LISTINGS / "sources.yaml").read_text(encoding="utf-8"))
    wanted = set(names)
    known = [TrainingData(**table[name]) for name in table if name in wanted]
    return known + [TrainingData(name, "the user's own data", "") for name in sorted(wanted - table.keys())]


def make_bundle(
    run: Path,
    out: Path,
    *,
    name: str,
    version: str,
    classifier: Path | None,
    scores: dict[str, Any],
    threshold: float | None,
    calibration: Calibration | None = None,
    normalisation: str | None = None,
) -> Bundle:
    """Write the bundle of a run: its best weights by validation, else the averaged ones.

    ``scores`` is what ``lesion-train evaluate --json`` wrote, empty where nothing was measured yet. Without a
    threshold, a run that started from a bundle keeps that one's, unless a least confidence goes with it, and
    without a classifier too, if the classes are the same; its calibration, which is of other weights, it does
    not. InputError where ``run`` holds no run or ``classifier`` no file, where ``calibration`` is of other
    weights, and for both a calibration and a threshold.
    """
    noted = _read_run(run)
    recipe = _recipe_of(noted, run)
    result, progress = result_weights(run)
    weights = stored(result)
    start = _start_of(noted)
    trained_on = noted.get("normalisation", _FIRST_NORMALISATION)
    plain = specification(recipe, name, version, normalisation or trained_on)
    if classifier is None and start is not None and plain.output.label_map == start.spec.output.label_map:
        classifier = start.classifier
    if classifier is not None and not classifier.is_file():
        raise InputError("no such classifier", classifier, "Train one with lesion-train cascade")
    data = training_data([*noted["data_sets"], *(_CLASSIFIER_DATA if classifier else ())])
    if start is not None:  # what its weights came from is in these too
        data += [item for item in start.spec.training_data if item not in data]
    spec = replace(
        plain,
        output=replace(plain.output, threshold=_threshold(threshold, start)),
        training_data=data,
        scores=scores,
        classifier=CLASSIFIER if classifier else None,
    )
    if calibration is not None:
        if threshold is not None:
            raise InputError(
                "a threshold is stated twice", todo="Leave out --threshold: --calibration has one"
            )
        spec = calibrated(spec, calibration, weights)
    card = model_card(spec, recipe, noted, progress, parameters_of(spec))
    files: dict[str, Path | bytes] = {WEIGHTS: weights, CARD: card.encode()}
    if classifier is not None:
        files[CLASSIFIER] = classifier
    return write_bundle(out, spec, files)


def _threshold(stated: float | None, start: Bundle | None) -> float:
    if stated is not None:
        return stated
    return 0.5 if start is None else plain_threshold(start.spec)


def plain_threshold(spec: BundleSpec) -> float:
    """A model's threshold for another made of it; one chosen with a least confidence is too low without."""
    return 0.5 if spec.output.least_confidence else spec.output.threshold


def calibrated(spec: BundleSpec, calibration: Calibration, weights: bytes) -> BundleSpec:
    """The specification with a calibration's threshold, least confidence, peak share, confidence and scores.

    Raises InputError where it was fitted on other weights than these, the content of the weights' file.
    """
    if hashlib.sha256(weights).hexdigest() != calibration.weights_sha256:
        raise InputError(
            f"this calibration is of {calibration.model}, which has other weights",
            todo="Make the bundle without it, run lesion-train calibrate on that, and make it again with it",
        )
    output = replace(
        spec.output,
        threshold=calibration.threshold,
        least_confidence=calibration.least_confidence,
        peak_share=calibration.peak_share,
        confidence=calibration.confidence,
    )
    return replace(spec, output=output, scores={**spec.scores, "calibration": calibration.scores})


def stored(weights: Mapping[str, torch.Tensor]) -> bytes:
    """The content of a weights' file, in half precision: half the size, the same lesions.

    Counts, such as batch norm's, stay whole numbers. What half precision has no number for, such as the
    variance of a batch norm that sees large sums, stays in single precision.
    """

    def halved(values: torch.Tensor) -> torch.Tensor:
        fits = values.dtype.is_floating_point and bool((values.abs() <= torch.finfo(torch.half).max).all())
        return values.half() if fits else values

    return save({name: halved(values) for name, values in weights.items()})


def parameters_of(spec: BundleSpec) -> int:
    """Number of parameters of a bundle's network."""
    network = build(spec.architecture.name, spec.architecture.arguments)
    return sum(parameter.numel() for parameter in network.parameters())


def _read_run(run: Path) -> dict[str, Any]:
    """What ``fit`` noted of a run: recipe, seed, start, device, data sets, settings."""
    path = run / NOTE
    if not path.is_file():
        raise InputError("no run here", run, "Train one with lesion-train fit")
    noted = read_json(path)
    if lacking := {"recipe", "seed", "started", "device", "data_sets"} - noted.keys():
        raise InputError(f"lacks {', '.join(sorted(lacking))}", path, "Resume the run with lesion-train fit")
    return noted


def _recipe_of(noted: dict[str, Any], run: Path) -> Recipe:
    """The recipe as the run had it; earlier runs noted its name alone."""
    if "settings" not in noted:
        return load_recipe(noted["recipe"])
    try:
        return parse_recipe(noted["settings"])
    except ValueError as error:
        raise InputError(f"settings: {error}", run / NOTE, "Train with this version") from error


def _start_of(noted: dict[str, Any]) -> Bundle | None:
    start = noted.get("start")
    return load_bundle(start["folder"]) if start else None


def read_json(path: Path) -> dict[str, Any]:
    """What a command of this package noted in a JSON file, an object; InputError where it cannot be read."""
    todo = "Write it again with lesion-train"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("cannot be read as JSON", path, todo) from error
    if not isinstance(content, dict):
        raise InputError("holds no JSON object", path, todo)
    return content


def read_calibration(path: Path) -> Calibration:
    """What ``lesion-train calibrate`` wrote; InputError for another file, or one that was altered."""
    try:
        calibration: Calibration = parse(read_json(path), Calibration)
    except ValueError as error:
        raise InputError(str(error), path, "Write it again with lesion-train calibrate") from error
    return calibration
