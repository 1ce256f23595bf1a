"""Several networks as one: the mean of their probabilities, of slices and of the volume."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Ensemble(nn.Module):
    """Networks of the same inputs and classes, whose class probabilities are averaged.

    What single networks get wrong, they get wrong in different places (Lakshminarayanan et al. 2017,
    arXiv 1612.01474).

    Parameters
    ----------
    members : name and arguments of each network of slices: ``{"name": ..., "arguments": {...}}``.
    volume : those of a network of volumes of 1 mm with the same classes, or None. `forward`, which sees
        slices, leaves it alone: `engine.prediction` counts it as one member more where slices are thick.

    Raises ValueError for fewer than two members.
    """

    def __init__(self, members: list[dict[str, Any]], volume: dict[str, Any] | None = None):
        from . import build  # which knows this network too

        super().__init__()
        if len(members) < 2:
            raise ValueError(f"{len(members)} members are no ensemble")
        self.members = nn.ModuleList(build(member["name"], member["arguments"]) for member in members)
        self.volume = None if volume is None else build(volume["name"], volume["arguments"])
        self.divisor = math.lcm(*(int(getattr(member, "divisor", 1)) for member in self.members))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes, ...) whose softmax is the mean of the members'."""
        each = torch.stack([functional.log_softmax(member(x).float(), 1) for member in self.members])
        return each.logsumexp(0) - math.log(len(self.members))
