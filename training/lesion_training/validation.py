"""Scores on cases that are not trained on, by the engine's own prediction."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from torch import nn

from LesionSegmenterLib.bundle import Bundle
from LesionSegmenterLib.engine.device import Device
from LesionSegmenterLib.engine.fusion import fuse
from LesionSegmenterLib.engine.model import Model, Preprocessing
from LesionSegmenterLib.engine.prediction import predict
from LesionSegmenterLib.metrics.overlap import dice
from LesionSegmenterLib.strict_json import parse

from .cases import DOUBTFUL, IGNORE, PreparedCase
from .recipe import Recipe
from .specification import specification


def as_model(network: nn.Module, recipe: Recipe, device: Device, run: Path) -> Model:
    """A copy of the network as the engine would load it from a bundle of the run."""
    spec = specification(recipe)
    fused = fuse(copy.deepcopy(network).eval()).requires_grad_(False).to(device.torch_device)
    if spec.shape == "slice":
        fused.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Model(Bundle(spec, run), fused, parse(spec.preprocessing, Preprocessing), device)


def case_score(model: Model, case: PreparedCase) -> float:
    """Mean Dice over the classes that a case's truth or the prediction holds; 1 where neither holds any.

    On the working grid, voxels that are ignored or doubtful and classes that are not marked left out.
    """
    images = [np.asarray(image, np.float32) for image in (case.image, case.t1) if image is not None]
    channels = predict(model, images, case.grid, lambda *_: None).channels
    lesion = channels.sum(axis=0) >= model.bundle.spec.output.threshold
    found = np.where(lesion, 1 + channels.argmax(axis=0), 0)
    counted = (case.target != IGNORE) & (case.target != DOUBTFUL)
    classes = {
        number
        for number in range(1, 1 + len(channels))
        if number not in case.unmarked and (counted & ((found == number) | (case.target == number))).any()
    }
    if not classes:
        return 1.0
    return float(np.mean([dice((found == n) & counted, (case.target == n) & counted) for n in classes]))
