"""A bundle made ready to run: its network with weights, and what it expects of its input."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import nn

from ..bundle import Bundle
from ..errors import BundleError
from ..networks import build
from ..networks.conflunet import INSTANCE_CHANNELS
from ..networks.ensemble import Ensemble
from ..strict_json import parse
from .device import Device
from .fusion import fuse
from .normalisation import Normalisation

ZOOMS = (0.5, 2.0)
"""The least and the largest magnification at which slices may be read."""


@dataclass(frozen=True)
class Preprocessing:
    """What a bundle's ``preprocessing`` may say.

    normalisation : where intensities are taken from, see `normalisation`.
    context_slices : neighbours on each side that a 2D network sees as further channels.
    planes : how a 2D network reads isotropic volumes: slice by slice; in ``all`` three planes, averaged; or
        as far as these are ``agreed``, the least probability of the three. A fold of cortex that lies along a
        slice looks like a lesion in that plane alone.
    patch : voxels of 1 mm of a 3D network's window, None for the whole volume at once; or the least sides of
        a slice, padded with air, for a 2D network whose instance norms have seen that much.
    flip : whether the prediction is always averaged with that of the mirrored image.
    zooms : magnifications, within `ZOOMS`, at which a 2D network reads each slice; the mean counts. One that
        has learnt lesions of many sizes finds the smallest more often where they are larger.
    """

    normalisation: Normalisation
    context_slices: int = 0
    planes: Literal["slices", "all", "agreed"] = "slices"
    patch: list[int] | None = None
    flip: bool = False
    zooms: list[float] = field(default_factory=lambda: [1.0])

    def __post_init__(self) -> None:
        least, most = ZOOMS
        if not self.zooms or not all(least <= zoom <= most for zoom in self.zooms):
            raise ValueError(
                f"zooms must be numbers from {least:g} to {most:g}, one or more, not {self.zooms}"
            )


@dataclass(frozen=True, eq=False)
class Model:
    """A network in evaluation mode on its device, fused: for prediction alone.

    splitter : a network of instances by whose offsets the lesions that this one finds are to be split.
    """

    bundle: Bundle
    network: nn.Module
    preprocessing: Preprocessing
    device: Device
    splitter: Model | None = None

    @property
    def is_2d(self) -> bool:
        return self.bundle.spec.shape == "slice"

    @property
    def in_volumes(self) -> Model | None:
        """The network of volumes that an ensemble of slices has beside its members, as a model of its own."""
        volume = self.network.volume if isinstance(self.network, Ensemble) else None
        return replace(self, network=volume) if volume is not None else None

    @property
    def volume_share(self) -> float:
        """What of an ensemble's mean is its network of volumes: as much as each other member."""
        return 1 / (1 + len(self.network.members)) if isinstance(self.network, Ensemble) else 1.0

    @property
    def gives_instances(self) -> bool:
        return self.bundle.spec.output.kind == "instances"

    @property
    def divisor(self) -> int:
        """What the sides of the network's input must divide by."""
        return int(getattr(self.network, "divisor", 1))


def load_model(bundle: Bundle, device: Device) -> Model:
    """The network of a checked bundle; BundleError where weights, network and specification do not fit."""
    spec = bundle.spec
    try:
        preprocessing = parse(spec.preprocessing, Preprocessing)
    except ValueError as error:
        raise BundleError(f"preprocessing: {error}", bundle.folder) from error
    network = build(spec.architecture.name, spec.architecture.arguments)
    try:
        weights = load_file(bundle.weights)
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise BundleError(
            f"the weights do not fit the network {spec.architecture.name}", bundle.folder, "Bundle it again"
        ) from error
    # An infinite variance of a batch norm would mute its channel, the output being finite.
    if not all(values.isfinite().all() for values in weights.values()):
        raise BundleError(
            "the network's weights hold values that are not numbers", bundle.folder, "Train it again"
        )
    fuse(network.eval()).requires_grad_(False)
    _try_out(network, bundle, preprocessing)
    network.to(device.torch_device)
    if spec.shape == "slice":
        in_slices = network.members if isinstance(network, Ensemble) else network
        in_slices.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Model(bundle, network, preprocessing, device)


def _try_out(network: nn.Module, bundle: Bundle, preprocessing: Preprocessing) -> None:
    """BundleError unless the network takes what the bundle states and gives numbers."""
    spec = bundle.spec
    in_2d = spec.shape == "slice"
    channels = len(spec.inputs) * (1 + 2 * preprocessing.context_slices if in_2d else 1)

    def tried(network: nn.Module, channels: int, dimensions: int) -> torch.Tensor:
        side = 2 * int(getattr(network, "divisor", 1))
        return network(torch.zeros(1, channels, *[side] * dimensions))

    try:
        with torch.inference_mode():
            output = tried(network, channels, 2 if in_2d else 3)
            if isinstance(network, Ensemble) and network.volume is not None:
                volume = tried(network.volume, len(spec.inputs), 3)
                output = torch.cat([output[..., 0], volume[..., 0, 0]], 2)  # the same classes, that is
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        inputs = f"{channels} channels of a {spec.shape}"
        raise BundleError(f"the network does not take {inputs}", bundle.folder, "Bundle it again") from error
    least = 2 + INSTANCE_CHANNELS
    if spec.output.kind == "instances" and output.shape[1] < least:
        raise BundleError(
            f"the network gives {output.shape[1]} channels, instances take at least {least}",
            bundle.folder,
            "Bundle it again with output.kind binary or types",
        )
    if not output.isfinite().all():
        raise BundleError("the network gives values that are not numbers", bundle.folder, "Train it again")
