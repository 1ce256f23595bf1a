"""Several networks as one: the mean of their probabilities."""

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
    members : name and arguments of each network: ``{"name": ..., "arguments": {...}}``.

    Raises ValueError for fewer than two members.
    """

    def __init__(self, members: list[dict[str, Any]]):
        from . import build  # which knows this network too

        super().__init__()
        if len(members) < 2:
            raise ValueError(f"{len(members)} members are no ensemble")
        self.members = nn.ModuleList(build(member["name"], member["arguments"]) for member in members)
        self.divisor = math.lcm(*(int(getattr(member, "divisor", 1)) for member in self.members))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, classes, ...) whose softmax is the mean of the members'."""
        each = torch.stack([functional.log_softmax(member(x).float(), 1) for member in self.members])
        return each.logsumexp(0) - math.log(len(self.members))
