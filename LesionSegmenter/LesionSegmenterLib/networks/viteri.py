"""The 21-layer U-Net of Viteri et al. (paper 001) for FLAIR and T1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Literal

from torch import nn

from .ushape import UShape, convolutions

_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": partial(nn.ReLU, inplace=True),
    "elu": partial(nn.ELU, inplace=True),
}


class Viteri(UShape):
    """Fifteen convolutions, three poolings, three upsamplings without parameters, no norm.

    The first two convolutions are 5x5, the last is 1x1, the others 3x3. With two inputs and one output it has
    7,849,921 parameters. The paper's third variant takes ELU and He-normal weights (in "the last step", by
    its text; here in every convolution); the others keep torch's initial weights.

    Parameters
    ----------
    in_channels : input images, or neighbouring slices, stacked as channels.
    out_channels : 1 for a lesion logit, else classes, the background included.
    widths : channels of each level.
    activation : ``relu``, or ``elu`` for the third variant.
    """

    def __init__(
        self,
        in_channels: int = 2,
        out_channels: int = 1,
        widths: Sequence[int] = (64, 128, 256, 512),
        activation: Literal["relu", "elu"] = "relu",
    ):
        if activation not in _ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}: expected relu or elu")
        block = partial(convolutions, nn.Conv2d, activation=_ACTIVATIONS[activation])
        first = block((in_channels, widths[0], widths[0]), kernel=5)
        upwards = list(reversed(list(pairwise(widths))))
        super().__init__(
            down=[first, *(block((before, after, after)) for before, after in pairwise(widths))],
            up=[nn.Upsample(scale_factor=2) for _ in upwards],
            after=[block((shallow + deep, shallow, shallow)) for shallow, deep in upwards],
            pool=nn.MaxPool2d(2),
            head=nn.Conv2d(widths[0], out_channels, 1),
        )
        if activation == "elu":
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight)
