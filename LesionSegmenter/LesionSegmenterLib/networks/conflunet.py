"""ConfLUNet, the 3D U-Net of Wynen et al. (paper 004) that says which lesion a voxel belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import nn

from .ushape import UShape, convolutions

_SLAB_BYTES = 2**28  # of a slab's joined channels, while the finest level is predicted

INSTANCE_CHANNELS = 4
"""Channels after the classes' logits: the centre heat, and the offsets along the array's three axes."""


class ConfLUNet(UShape):
    """A 3D U-Net whose last four channels are a lesion-centre heat and the offsets to a voxel's centre.

    A block's first convolution has half its channels on the way down; each convolution has its own batch
    norm (the public code shares one between two on the way up, by mistake). Deconvolutions keep their
    channels. With one input and six outputs it has 19,073,094 parameters, as the public code has; at half of
    the widths 4,770,342, at a quarter 1,193,622. Weights are He-normal. With two outputs it is the paper's
    semantic baseline.

    Parameters
    ----------
    in_channels : input images, stacked as channels.
    out_channels : logits of the classes, the background included, and for instances
        `INSTANCE_CHANNELS` more.
    widths : channels of each level, even.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2 + INSTANCE_CHANNELS,
        widths: Sequence[int] = (64, 128, 256, 512),
    ):
        if any(width % 2 for width in widths):
            raise ValueError(f"widths are {list(widths)}: expected even ones")
        block = partial(
            convolutions, nn.Conv3d, activation=partial(nn.ReLU, inplace=True), norm=nn.BatchNorm3d
        )
        # A batch norm takes away whatever bias precedes it. On the way up there is none, which makes up for
        # the parameters of the norms that are not shared.
        upwards = list(reversed(list(pairwise(widths))))
        super().__init__(
            down=[block((before, after // 2, after)) for before, after in pairwise((in_channels, *widths))],
            up=[nn.ConvTranspose3d(deep, deep, 2, stride=2) for _, deep in upwards],
            after=[block((shallow + deep, shallow, shallow), bias=False) for shallow, deep in upwards],
            pool=nn.MaxPool3d(2),
            head=nn.Conv3d(widths[0], out_channels, 1),
        )
        self.joined_channels = widths[0] + widths[1]
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (N, out_channels, i, j, k) of images (N, in_channels, i, j, k); sides as `divisor` asks.

        In evaluation without gradients the finest level, which takes most of the memory, is worked through in
        slabs, with the same result.
        """
        if self.training or torch.is_grad_enabled():
            return super().forward(x)
        below = self.level(torch.cat([self.pool(self._skip(x, slab)) for slab in self._slabs(x)], 2), 1)
        return torch.cat([self._finest(x, below, slab) for slab in self._slabs(x)], 2)

    def _slabs(self, x: torch.Tensor) -> list[range]:
        """Even numbers of planes along i, so thin that a slab's joined channels take _SLAB_BYTES."""
        step = 2 * max(1, _SLAB_BYTES // (8 * self.joined_channels * x[:, 0, 0].numel()))
        return [range(start, min(start + step, x.shape[2])) for start in range(0, x.shape[2], step)]

    def _skip(self, x: torch.Tensor, slab: range) -> torch.Tensor:
        """The finest level's skip in a slab. Two 3x3x3 convolutions see two planes more on either side."""
        wide = _widened(slab, x.shape[2])
        skip = self.down[0](x[:, :, wide.start : wide.stop])
        return skip[:, :, slab.start - wide.start : slab.stop - wide.start]

    def _finest(self, x: torch.Tensor, below: torch.Tensor, slab: range) -> torch.Tensor:
        """The output in a slab; the skip is computed anew, which costs less than to keep it."""
        wide = _widened(slab, x.shape[2])
        joined = self.joined(self._skip(x, wide), below[:, :, wide.start // 2 : wide.stop // 2], 0)
        return self.head(joined[:, :, slab.start - wide.start : slab.stop - wide.start])


def _widened(slab: range, size: int) -> range:
    return range(max(slab.start - 2, 0), min(slab.stop + 2, size))
