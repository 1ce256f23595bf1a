"""The 2D U-Nets of deepwml and llambias: one body of Ronneberger et al. 2015, with and without norms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from torch import nn

from .ushape import Layer, UShape, convolutions

_WIDTHS = (64, 128, 256, 512, 1024)


class _UNet(UShape):
    """Two 3x3 convolutions a level, 2x2 max-pooling and 2x2 deconvolutions, a 1x1 convolution at the end."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        widths: Sequence[int],
        activation: Callable[[], nn.Module],
        norm: Layer | None = None,
    ):
        block = partial(convolutions, nn.Conv2d, activation=activation, norm=norm)
        upwards = list(reversed(list(pairwise(widths))))
        super().__init__(
            down=[block((before, after, after)) for before, after in pairwise((in_channels, *widths))],
            up=[nn.ConvTranspose2d(deep, shallow, 2, stride=2) for shallow, deep in upwards],
            after=[block((2 * shallow, shallow, shallow)) for shallow, _ in upwards],
            pool=nn.MaxPool2d(2),
            head=nn.Conv2d(widths[0], out_channels, 1),
        )


class DeepWML(_UNet):
    """DeepWML of Zhang et al. 2021 (paper 002): ReLU, no norm, one lesion logit; 31,030,593 parameters.

    Parameters
    ----------
    in_channels : input images, or neighbouring slices, stacked as channels.
    out_channels : 1 for a lesion logit, else classes, the background included.
    widths : channels of each level.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1, widths: Sequence[int] = _WIDTHS):
        super().__init__(in_channels, out_channels, widths, partial(nn.ReLU, inplace=True))


class Llambias(_UNet):
    """The 2D U-Net of Llambias et al. (paper 000): instance norm and LeakyReLU 0.01.

    The paper names the kind of its backbone alone: norm (with scale and shift) and activation are those of
    nnU-Net (Isensee et al. 2021), which it cites. With one input it has 31,042,369 parameters for a lesion
    logit (the binary head) and 31,042,564 for the four classes of the multiclass head; they share all but the
    last convolution.

    Parameters
    ----------
    in_channels : input images, or neighbouring slices, stacked as channels.
    out_channels : 1 for a lesion logit, else classes, the background included.
    widths : channels of each level.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1, widths: Sequence[int] = _WIDTHS):
        super().__init__(
            in_channels,
            out_channels,
            widths,
            partial(nn.LeakyReLU, 0.01, inplace=True),
            partial(nn.InstanceNorm2d, affine=True),
        )
