"""The optimiser of a recipe and its rate at each step."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from .recipe import OptimisationSettings


def make_optimiser(
    parameters: Iterable[nn.Parameter], settings: OptimisationSettings
) -> torch.optim.Optimizer:
    """The recipe's optimiser of the parameters that are trained."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimiser == "sgd":
        return torch.optim.SGD(trained, rate, momentum=settings.momentum, weight_decay=decay)
    kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return kind(trained, rate, weight_decay=decay)


def rate_factor(settings: OptimisationSettings, step: int, steps: int) -> float:
    """What the rate is multiplied by at a step of a stage of so many: the warm-up, then the schedule."""
    if step < settings.warmup:
        return (step + 1) / settings.warmup
    if settings.schedule == "constant":
        return 1.0
    if settings.schedule == "step":
        return 1.0 if step < settings.drop_at * steps else 0.1
    return 0.5 * (1 + math.cos(math.pi * (step - settings.warmup) / max(1, steps - settings.warmup)))
