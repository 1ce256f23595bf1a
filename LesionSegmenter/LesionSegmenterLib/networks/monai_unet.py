"""The plain 2D U-Net of MONAI, to compare with: ``monai.networks.nets.UNet`` as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ..errors import BundleError


class MonaiUNet(nn.Module):
    """MONAI's U-Net without residual units, with its defaults: instance norm, PReLU, 3x3 convolutions.

    Strided convolutions down, strided deconvolutions up, skips concatenated (after Kerfoot et al. 2019). The
    modules are MONAI's; only the last has a name of its own, so that it can be exchanged as other networks'.

    Parameters
    ----------
    in_channels : input images, or neighbouring slices, stacked as channels.
    out_channels : classes, the background included.
    widths : channels of each level; the input's sides must divide by 2**(len(widths) - 1).

    Raises BundleError where MONAI is not installed.
    """

    def __init__(
        self, in_channels: int = 1, out_channels: int = 3, widths: Sequence[int] = (32, 64, 128, 256)
    ):
        super().__init__()
        try:
            from monai.networks.nets import UNet
        except ImportError as error:
            raise BundleError(
                "this model is a network of MONAI, which is not installed",
                todo="Install it with pip install monai, or choose another model",
            ) from error
        strides = (2,) * (len(widths) - 1)
        self.divisor = 2 ** len(strides)
        model: Any = UNet(2, in_channels, out_channels, tuple(widths), strides).model
        self.down, self.inner, self.head = model[0], model[1], model[2].conv

    @property
    def after(self) -> nn.ModuleList:
        """The block before the head: a deconvolution, or with two levels the bottom's convolution."""
        inner = self.inner.submodule
        return nn.ModuleList([inner[-1] if type(inner) is nn.Sequential else inner])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, out_channels, H, W) of images (N, in_channels, H, W)."""
        return self.head(self.inner(self.down(x)))
