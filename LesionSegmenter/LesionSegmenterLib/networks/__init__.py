"""Networks by name: ``build(architecture, arguments)`` makes the module a bundle names."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..errors import BundleError
from .conflunet import ConfLUNet
from .ensemble import Ensemble
from .monai_unet import MonaiUNet
from .unet import DeepWML, Llambias
from .uresnet import UResNet
from .viteri import Viteri

NETWORKS: dict[str, type[nn.Module]] = {
    "conflunet": ConfLUNet,
    "deepwml": DeepWML,
    "ensemble": Ensemble,
    "llambias": Llambias,
    "monai-unet": MonaiUNet,
    "uresnet": UResNet,
    "viteri": Viteri,
}


def build(name: str, arguments: dict[str, Any]) -> nn.Module:
    """The network ``name`` with its arguments; BundleError if either is unknown."""
    if name not in NETWORKS:
        raise BundleError(
            f"unknown architecture {name!r}", todo=f"This version knows {', '.join(sorted(NETWORKS))}"
        )
    try:
        _check_positive(arguments)
        return NETWORKS[name](**arguments)
    except (TypeError, ValueError, IndexError, KeyError, RuntimeError) as error:
        raise BundleError(f"arguments {arguments} do not fit architecture {name!r}: {error}") from error


def _check_positive(arguments: dict[str, Any]) -> None:
    """ValueError for a number of channels under 1, with which torch would build an empty network."""
    for key, value in arguments.items():
        for number in value if isinstance(value, list | tuple) else [value]:
            if isinstance(number, int) and number < 1:
                raise ValueError(f"{key} is {value}, expected 1 or more")
