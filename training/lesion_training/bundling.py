"""From a run to a bundle that the engine loads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

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

from .card import model_card
from .checkpoint import result_weights
from .fit_command import NOTE
from .listing import LISTINGS
from .recipe import Recipe, load_recipe, parse_recipe
from .specification import specification

CLASSIFIER = "classifier.safetensors"
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
) -> Bundle:
    """Write the bundle of a run: its best weights by validation, else the averaged ones.

    ``scores`` is what ``lesion-train evaluate --json`` wrote, empty where nothing was measured yet. Without a
    classifier or a threshold, a run that started from a bundle keeps that one's. InputError where ``run``
    holds no run or ``classifier`` no file.
    """
    noted = _read_run(run)
    recipe = _recipe_of(noted, run)
    weights, progress = result_weights(run)
    start = _start_of(noted)
    if classifier is None and start is not None:
        classifier = start.classifier
    if classifier is not None and not classifier.is_file():
        raise InputError("no such classifier", classifier, "Train one with lesion-train cascade")
    data = training_data([*noted["data_sets"], *(_CLASSIFIER_DATA if classifier else ())])
    if start is not None:  # what its weights came from is in these too
        data += [item for item in start.spec.training_data if item not in data]
    plain = specification(recipe, name, version)
    spec = replace(
        plain,
        output=replace(plain.output, threshold=_threshold(threshold, start)),
        training_data=data,
        scores=scores,
        classifier=CLASSIFIER if classifier else None,
    )
    card = model_card(spec, recipe, noted, progress, _parameters(spec))
    files: dict[str, Path | bytes] = {WEIGHTS: save(weights), CARD: card.encode()}
    if classifier is not None:
        files[CLASSIFIER] = classifier
    return write_bundle(out, spec, files)


def _threshold(stated: float | None, start: Bundle | None) -> float:
    if stated is not None:
        return stated
    return start.spec.output.threshold if start else 0.5


def _parameters(spec: BundleSpec) -> int:
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
