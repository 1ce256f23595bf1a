"""From a run to a bundle that the engine loads."""

from __future__ import annotations

import json
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

from .recipe import LISTINGS, Recipe
from .trainer import CHECKPOINT

CLASSIFIER = "classifier.safetensors"


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


def training_data(names: set[str]) -> list[TrainingData]:
    """Licence and citation of the data sets of those names, from the package's table."""
    table = yaml.safe_load((LISTINGS / "sources.yaml").read_text())
    return [TrainingData(name=item["name"], licence=item["licence"], citation=item["citation"])
            for key, item in table.items() if key in names]  # fmt: skip


def make_bundle(
    run: Path,
    out: Path,
    recipe: Recipe,
    *,
    name: str,
    version: str,
    data_sets: set[str],
    classifier: Path | None,
    card: str,
    scores: dict[str, Any],
    threshold: float,
) -> Bundle:
    """Write the bundle of a slice network trained by ``recipe``: channel 1 white-matter lesion, 2 stroke."""
    weights, _ = averaged_weights(run)
    spec = BundleSpec(
        name=name,
        version=version,
        title=recipe.purpose,
        architecture=Architecture(recipe.network.name, recipe.network.arguments),
        inputs=[ModelInput("FLAIR")],
        preprocessing={"normalisation": "deep-median-mad", "context_slices": 1, "planes": "all"},
        output=Output("types", {1: int(LesionType.LESION), 2: int(LesionType.STROKE)}, threshold),
        shape="slice",
        training_data=training_data(data_sets),
        licence="Apache-2.0 (code and weights); see the training data for theirs",
        scores=scores,
        classifier=CLASSIFIER if classifier else None,
        split="components",
    )
    files: dict[str, Path | bytes] = {WEIGHTS: save(weights), CARD: card.encode()}
    if classifier:
        files[CLASSIFIER] = classifier
    return write_bundle(out, spec, files)


def read_run(run: Path) -> dict[str, Any]:
    """What ``fit`` noted of a run: recipe, seed, start, device."""
    path = run / "run.json"
    if not path.is_file():
        raise InputError("no run here", run, "Train one with lesion-train fit")
    return json.loads(path.read_text())
