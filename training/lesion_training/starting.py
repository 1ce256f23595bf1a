"""Fine-tuning: the weights of a bundle as a beginning, and which of them are trained further."""

from __future__ import annotations

from typing import Literal, cast

import torch
from safetensors.torch import load_file
from torch import nn

from LesionSegmenterLib.bundle import Bundle
from LesionSegmenterLib.errors import InputError

Layers = Literal["all", "last"]
_HEAD = "head."


def take_weights(network: nn.Module, bundle: Bundle) -> None:
    """Set the network's weights to the bundle's; a head of other classes keeps its fresh ones.

    InputError where the bundle holds another network.
    """
    own, given = network.state_dict(), load_file(bundle.weights)
    for name, value in own.items():
        if name in given and given[name].shape == value.shape:
            own[name] = given[name]
        elif not name.startswith(_HEAD):
            raise InputError(
                f"model {bundle.spec.name} is another network ({bundle.spec.architecture.name} "
                f"{bundle.spec.architecture.arguments}): its weights do not fit",
                bundle.folder,
                "Start from a model of the same recipe, or state its network in the recipe",
            )
    if given.keys() - own.keys():
        raise InputError(
            f"model {bundle.spec.name} has layers that the recipe's network lacks",
            bundle.folder,
            "Start from a model of the same recipe",
        )
    network.load_state_dict(own)


def freeze(network: nn.Module, layers: Layers) -> None:
    """Let only the ``last`` layers be trained: the head and the block before it, at the finest level."""
    if layers == "all":
        return
    network.requires_grad_(False)
    after = cast(nn.ModuleList, getattr(network, "after", None) or network.after_skip)
    for module in (after[-1], cast(nn.Module, network.head)):
        module.requires_grad_(True)


def set_training(network: nn.Module) -> None:
    """Training mode; but batch norms whose weights are frozen keep their statistics too."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not any(
            parameter.requires_grad for parameter in module.parameters()
        ):
            module.eval()


def merge_unmarked(logits: torch.Tensor, unmarked: torch.Tensor | None) -> torch.Tensor:
    """Logits in which the classes that an item's truth does not mark count as background.

    Where a data set marks one lesion type only, its background may hold lesions of the others: the loss
    sees the sum of their probabilities (the marginal loss of Shi et al. 2021, arXiv 2007.03868).

    Parameters
    ----------
    logits : (N, channels, ...), the classes first; further channels stay as they are.
    unmarked : (N, classes) bool, or None.
    """
    if unmarked is None or logits.shape[1] == 1:
        return logits
    classes = unmarked.shape[1]
    shape = (*unmarked.shape, *[1] * (logits.ndim - 2))
    left_out = unmarked.view(shape)
    background = left_out.clone()
    background[:, 0] = True
    lowest = -1e4  # a probability of 0 with a gradient of 0
    merged = logits[:, :classes].masked_fill(~background, -torch.inf).logsumexp(1, keepdim=True)
    kept = logits[:, 1:classes].masked_fill(left_out[:, 1:], lowest)
    return torch.cat([merged, kept, logits[:, classes:]], 1)
