"""Networks by name: ``build(architecture, arguments)`` makes the module a bundle names."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..errors import BundleError
from .uresnet import UResNet

NETWORKS: dict[str, type[nn.Module]] = {"uresnet": UResNet}


def build(name: str, arguments: dict[str, Any]) -> nn.Module:
    """The network ``name`` with its arguments; BundleError if either is unknown."""
    if name not in NETWORKS:
        raise BundleError(
            f"unknown architecture {name!r}", todo=f"This version knows {', '.join(sorted(NETWORKS))}"
        )
    try:
        return NETWORKS[name](**arguments)
    except (TypeError, ValueError, IndexError, RuntimeError) as error:
        raise BundleError(f"arguments {arguments} do not fit architecture {name!r}: {error}") from error
