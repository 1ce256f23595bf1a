"""From a run to a bundle that the engine loads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save

from LesionSegmenterLib.bundle import (
    CARD,
    WEIGHTS,
    Architecture,
    Bundle,
    BundleSpec,
    ModelInput,
    Output,
    TrainingData,
    write_bundle,
)
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.networks import build

from .card import model_card
from .recipe import LISTINGS, load_recipe
from .trainer import CHECKPOINT

CLASSIFIER = "classifier.safetensors"
_CLASSIFIER_DATA = ("bank_soop", "bank_lesymap", "bank_ms_components", "bank_ms_whole", "icbm152")


def averaged_weights(run: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The averaged weights of a run's checkpoint, and how far it got; InputError without a checkpoint."""
    path = run / CHECKPOINT
    if not path.is_file():
        raise InputError("no checkpoint of a run here", run, "Train one with lesion-train fit")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        weights = {name: value.contiguous() for name, value in state["averaged"].items()}
        return weights, {key: state[key] for key in ("step", "loss", "seconds", "seed")}
    except Exception as error:
        raise InputError(
            "the checkpoint cannot be read", path, "It may be cut short: resume the run"
        ) from error


def training_data(names: Iterable[str]) -> list[TrainingData]:
    """Licence and citation of the data sets of those names, from the package's table."""
    table = yaml.safe_load((LISTINGS / "sources.yaml").read_text())
    return [TrainingData(**table[name]) for name in table if name in set(names)]


def make_bundle(
    run: Path,
    out: Path,
    *,
    name: str,
    version: str,
    classifier: Path | None,
    scores: dict[str, Any],
    threshold: float,
) -> Bundle:
    """Write the bundle of a finished run of a slice network: channel 1 white-matter lesion, 2 stroke.

    ``scores`` is what ``lesion-train evaluate --json`` wrote, empty where nothing was measured yet. Raises
    InputError where ``run`` holds no run or ``classifier`` no file.
    """
    noted = _read_run(run)
    recipe = load_recipe(noted["recipe"])
    weights, progress = averaged_weights(run)
    if classifier is not None and not classifier.is_file():
        raise InputError("no such classifier", classifier, "Train one with lesion-train cascade")
    data = training_data([*noted["data_sets"], *(_CLASSIFIER_DATA if classifier else ())])
    parameters = sum(p.numel() for p in build(recipe.network.name, recipe.network.arguments).parameters())
    spec = BundleSpec(
        name=name,
        version=version,
        title=recipe.purpose,
        architecture=Architecture(recipe.network.name, recipe.network.arguments),
        inputs=[ModelInput("FLAIR")],
        preprocessing={"normalisation": "deep-median-mad", "context_slices": 1, "planes": "all"},
        output=Output("types", {1: int(LesionType.LESION), 2: int(LesionType.STROKE)}, threshold),
        shape="slice",
        training_data=data,
        licence="Apache-2.0; the training data keep their own",
        scores=scores,
        classifier=CLASSIFIER if classifier else None,
        split="components",
    )
    card = model_card(f"{name} {version}", recipe, noted, progress, data, scores, parameters)
    files: dict[str, Path | bytes] = {WEIGHTS: save(weights), CARD: card.encode()}
    if classifier is not None:
        files[CLASSIFIER] = classifier
    return write_bundle(out, spec, files)


def _read_run(run: Path) -> dict[str, Any]:
    """What ``fit`` noted of a run: recipe, seed, start, device, data sets."""
    path = run / "run.json"
    if not path.is_file():
        raise InputError("no run here", run, "Train one with lesion-train fit")
    noted = read_json(path)
    if lacking := {"recipe", "seed", "started", "device", "data_sets"} - noted.keys():
        raise InputError(f"lacks {', '.join(sorted(lacking))}", path, "Resume the run with lesion-train fit")
    return noted


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
