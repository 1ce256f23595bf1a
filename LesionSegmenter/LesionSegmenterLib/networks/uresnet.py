"""uResNet, the residual U-Net of Guerrero et al. 2018 (NeuroImage: Clinical 17:918-934)."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional


class ResidualElement(nn.Module):
    """A convolution of three voxels a side summed with a projection of one, batch norm, then ReLU."""

    def __init__(self, in_channels: int, out_channels: int, dimensions: int = 2):
        super().__init__()
        convolution, norm = (nn.Conv3d, nn.BatchNorm3d) if dimensions == 3 else (nn.Conv2d, nn.BatchNorm2d)
        self.conv = convolution(in_channels, out_channels, 3, padding=1)
        self.projection = convolution(in_channels, out_channels, 1)
        self.norm = norm(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.norm(self.conv(x) + self.projection(x)))


class UResNet(nn.Module):
    """Two residual elements a level on the way down, one on the way up, skips summed.

    With the paper's settings (one input, three outputs, widths 32 to 256) it has 984,963 parameters:
    eight residual elements, three deconvolutions and one 1x1 convolution, the paper's twelve layers.

    Parameters
    ----------
    in_channels : input images, or neighbouring slices, stacked as channels.
    out_channels : classes, the background included.
    widths : channels of each level; the input's sides must divide by 2**(len(widths) - 1).
    dimensions : 2 for slices, as in the paper, or 3 for volumes: the same plan, one axis more.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 3,
        widths: tuple[int, ...] = (32, 64, 128, 256),
        dimensions: int = 2,
    ):
        if dimensions not in (2, 3):
            raise ValueError(f"dimensions is {dimensions}: expected 2 or 3")
        super().__init__()
        element = partial(ResidualElement, dimensions=dimensions)
        convolution, up, pool = {
            2: (nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d),
            3: (nn.Conv3d, nn.ConvTranspose3d, nn.MaxPool3d),
        }[dimensions]
        widths = tuple(widths)
        self.divisor = 2 ** (len(widths) - 1)
        self.pool = pool(2)
        # The paper's plan: one element a level before each pooling, the bottom's, and a second one
        # after each deconvolution, on both sides of the summed skip at the first level up.
        self.down = nn.ModuleList(element(i, o) for i, o in pairwise((in_channels, *widths)))
        self.up = nn.ModuleList(
            up(deep, shallow, 2, stride=2) for shallow, deep in reversed(list(pairwise(widths)))
        )
        self.before_skip = element(widths[-2], widths[-2])
        self.after_skip = nn.ModuleList(element(w, w) for w in reversed(widths[:-1]))
        self.head = convolution(widths[0], out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, out_channels, ...) of images (N, in_channels, ...), (H, W) or (i, j, k)."""
        skips = []
        for level, element in enumerate(self.down):
            x = element(self.pool(x) if level else x)
            skips.append(x)
        skips.pop()
        for level, (up, element) in enumerate(zip(self.up, self.after_skip, strict=True)):
            x = up(x)
            if level == 0:
                x = self.before_skip(x)
            x = element(x + skips.pop())
        return self.head(x)
