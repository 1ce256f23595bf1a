"""What the U-Nets have in common: blocks of convolutions, and the way down and up again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import nn

Layer = Callable[[int], nn.Module]


def convolutions(
    convolution: type[nn.Conv2d] | type[nn.Conv3d],
    channels: Sequence[int],
    *,
    activation: Callable[[], nn.Module],
    norm: Layer | None = None,
    kernel: int = 3,
    bias: bool = True,
) -> nn.Sequential:
    """Convolutions from each number of channels to the next, each with its norm and activation.

    The sides stay as they are: the image is padded with zeros.
    """
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers.append(convolution(before, after, kernel, padding=kernel // 2, bias=bias))
        if norm is not None:
            layers.append(norm(after))
        layers.append(activation())
    return nn.Sequential(*layers)


class UShape(nn.Module):
    """A block a level on the way down, and one a level on the way up, where the skip is concatenated.

    Parameters
    ----------
    down : blocks from the finest level to the bottom.
    up : modules that double the sides, from the bottom to the finest level.
    after : blocks that take what came up, concatenated with the skip of that level, in the order of ``up``.
    pool : halves the sides.
    head : the last convolution.
    """

    def __init__(
        self,
        down: Sequence[nn.Module],
        up: Sequence[nn.Module],
        after: Sequence[nn.Module],
        pool: nn.Module,
        head: nn.Module,
    ):
        super().__init__()
        self.divisor = 2 ** (len(down) - 1)
        self.down, self.up, self.after = nn.ModuleList(down), nn.ModuleList(up), nn.ModuleList(after)
        self.pool, self.head = pool, head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (N, out_channels, ...) of images (N, in_channels, ...), whose sides `divisor` divides."""
        return self.head(self.level(x, 0))

    def level(self, x: torch.Tensor, number: int) -> torch.Tensor:
        """What comes up to a level (0 the finest) of what comes down to it."""
        skip = self.down[number](x)
        if number == len(self.down) - 1:
            return skip
        below = self.level(self.pool(skip), number + 1)
        return self.joined(skip, below, number)

    def joined(self, skip: torch.Tensor, below: torch.Tensor, number: int) -> torch.Tensor:
        """A level's way up: the skip joined with what comes from below."""
        return self.after[-1 - number](torch.cat([skip, self.up[-1 - number](below)], 1))
