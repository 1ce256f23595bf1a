"""Losses of the papers by name: ``make_loss(name, **arguments)``; and the one of the shipped model.

Every loss takes a network's outputs, the target and, or None, the weight of each voxel; a voxel of weight 0
is ignored, as partial labels need. Sums over voxels are divided by the sum of the weights, so that a learning
rate does not depend on the size of a patch. MONAI's losses know no voxel weights; without any, ours equal
those of them that follow the papers (tested).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.networks.conflunet import INSTANCE_CHANNELS
from LesionSegmenterLib.strict_json import parse

from .cases import BACKGROUND, DOUBTFUL, IGNORE, is_lesion
from .instance_targets import InstanceTarget

_TINY = 1e-12  # a sum under this is that of nothing


def voxel_weights(
    target: torch.Tensor, *, doubtful: float, small_area: float, largest: float
) -> torch.Tensor:
    """Weights (N, H, W) of the cross-entropy.

    A lesion of ``area`` pixels in the slice weighs sqrt(small_area / area) a pixel, held in 1..largest, so
    that small lesions count; doubtful voxels weigh ``doubtful``, ignored ones nothing.
    """
    labels = target.numpy()
    weights = np.ones(labels.shape, np.float32)
    weights[labels == DOUBTFUL] = doubtful
    weights[labels == IGNORE] = 0
    for item, weight in zip(labels, weights, strict=True):
        lesion = is_lesion(item)
        if lesion.any():
            components, _ = ndimage.label(lesion)
            areas = np.bincount(components.ravel())[components[lesion]]
            weight[lesion] = np.clip(np.sqrt(small_area / areas), 1, largest)
    return torch.from_numpy(weights)


def segmentation_loss(logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted cross-entropy of the classes plus soft Dice of lesion against background over the batch.

    Parameters
    ----------
    logits : (N, classes, H, W); class 0 is background.
    target : (N, H, W) int64, with doubtful and ignored voxels marked.
    weights : (N, H, W), as `voxel_weights` gives them.
    """
    classes = torch.where(target >= DOUBTFUL, BACKGROUND, target)
    entropy = functional.cross_entropy(logits, classes, reduction="none")
    entropy = (entropy * weights).sum() / weights.sum()
    counted = weights.clamp(max=1)
    lesion = (1 - torch.softmax(logits, 1)[:, 0]) * counted
    truth = (classes > 0) * counted
    dice = (2 * (lesion * truth).sum() + 1) / (lesion.sum() + truth.sum() + 1)
    return entropy + 1 - dice


class Loss(Protocol):
    """A loss of logits, or of a network's outputs, (N, channels, ...), to be minimised: a scalar tensor.

    ``target`` holds classes (N, ...) int64, 0 background; for ``conflunet`` it is an `InstanceTarget`. Logits
    of one channel are those of lesion against background: every class but 0 is lesion. ``weights`` is
    (N, ...), 0 for voxels to ignore, or None for 1 everywhere.
    """

    def __call__(
        self, logits: torch.Tensor, target: Any, weights: torch.Tensor | None = None
    ) -> torch.Tensor: ...


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy (Guerrero et al., paper 003, equation 3), averaged instead of summed."""

    def __call__(
        self, logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        return _mean(_entropy(logits, target), weights)


@dataclass(frozen=True)
class WeightedCrossEntropy:
    """Cross-entropy whose voxels weigh as their true class does (paper 003, equation 4).

    class_weights : one weight a class, the background's first.
    """

    class_weights: list[float]

    def __post_init__(self) -> None:
        if not self.class_weights or min(self.class_weights) < 0 or not any(self.class_weights):
            raise ValueError(f"class_weights is {self.class_weights}: expected weights of 0 or more")

    def __call__(
        self, logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        classes = max(2, logits.shape[1])
        if len(self.class_weights) != classes:
            raise InputError(
                f"class_weights has {len(self.class_weights)} weights, the network {classes} classes",
                todo="State one weight a class, the background's first",
            )
        truth = target.clamp(max=1) if logits.shape[1] == 1 else target
        return _mean(_entropy(logits, target) * logits.new_tensor(self.class_weights)[truth], weights)


@dataclass(frozen=True)
class BootstrappedCrossEntropy:
    """Cross-entropy without the voxels that are right already (paper 003, equation 5).

    A voxel whose true class has a probability over ``threshold`` adds nothing to the sum, but counts in the
    mean, as in the equation.
    """

    threshold: float

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold is {self.threshold}: expected a probability between 0 and 1")

    def __call__(
        self, logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        entropy = _entropy(logits, target)
        return _mean(entropy * (torch.exp(-entropy) <= self.threshold), weights)


@dataclass(frozen=True)
class PseudoDice:
    """One minus the mean over all classes, background too, of their soft Dice over the batch.

    Paper 003, equation 6, which has no smoothing: a class that is not in the batch scores 0.
    """

    def __call__(
        self, logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        lesion, truth = _foreground(logits, target)
        # The background's probability is what the others leave.
        probability = torch.cat([1 - lesion.sum(1, keepdim=True), lesion], 1)
        truth = torch.cat([1 - truth.sum(1, keepdim=True), truth], 1)
        return 1 - _soft_dice(probability, truth, weights, smooth=0).mean()


@dataclass(frozen=True)
class Dice:
    """One minus the soft Dice of the lesion classes, averaged; over the batch (Viteri et al., paper 001).

    smooth : added to numerator and denominator, so that a batch without lesion teaches to find none.
    """

    smooth: float = 1.0

    def __post_init__(self) -> None:
        _check_not_negative(smooth=self.smooth)

    def __call__(
        self, logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        return 1 - _soft_dice(*_foreground(logits, target), weights, self.smooth).mean()


@dataclass(frozen=True)
class DiceCrossEntropy(Dice):
    """Dice loss plus cross-entropy (Llambias et al., paper 000).

    For a network of one channel it is binary cross-entropy plus Dice (Zhang et al., paper 002).
    """

    def __call__(
        self, logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        return super().__call__(logits, target, weights) + _mean(_entropy(logits, target), weights)


@dataclass(frozen=True)
class SegmentationLoss:
    """The loss of the shipped model, `segmentation_loss`: its target may mark doubtful and ignored voxels."""

    def __call__(
        self, logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        if weights is None:
            weights = torch.ones_like(target, dtype=logits.dtype)
        return segmentation_loss(logits, target, weights)


@dataclass(frozen=True)
class FocalDice:
    """Focal loss plus ``dice`` times the Dice loss, the segmentation loss of ConfLUNet (paper 004).

    The focal loss is (1 - p)^gamma times the cross-entropy, p the probability of the true class (Lin et al.
    2017, without class weights). The Dice loss is taken for each volume, of the lesion classes alone, as in
    the public code.

    gamma : 0, or 1 or more: between them the gradient of a voxel that is wholly right has no bound.
    """

    gamma: float = 2.0
    dice: float = 0.5
    smooth: float = 1e-5

    def __post_init__(self) -> None:
        _check_not_negative(gamma=self.gamma, dice=self.dice, smooth=self.smooth)
        if 0 < self.gamma < 1:
            raise ValueError(f"gamma is {self.gamma}: expected 0, or 1 or more")

    def __call__(
        self, logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        entropy = _entropy(logits, target)
        focal = _mean((1 - torch.exp(-entropy)) ** self.gamma * entropy, weights)
        dice = _soft_dice(*_foreground(logits, target), weights, self.smooth, each=True)
        return focal + self.dice * (1 - dice.mean())


@dataclass(frozen=True)
class ConfLUNetLoss:
    """ConfLUNet's loss (paper 004, equation 1): segmentation, centre heat and offsets.

    alpha : weight of the mean squared error of the centre heat.
    beta : weight of the mean absolute error of the offsets, over the target's lesion voxels and three axes.
    gamma, dice : of `FocalDice`, the segmentation loss of the classes' logits.
    """

    alpha: float = 2000.0
    beta: float = 0.5
    gamma: float = 2.0
    dice: float = 0.5

    def __post_init__(self) -> None:
        _check_not_negative(alpha=self.alpha, beta=self.beta)
        FocalDice(self.gamma, self.dice)  # checks the other two

    def __call__(
        self, logits: torch.Tensor, target: InstanceTarget, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        classes, heat, offsets = logits.split([logits.shape[1] - INSTANCE_CHANNELS, 1, 3], dim=1)
        segmentation = FocalDice(self.gamma, self.dice)(classes, target.classes, weights)
        centres = _mean((heat[:, 0] - target.heat) ** 2, weights)
        lesion = (target.classes > 0).to(logits.dtype)
        counted = lesion if weights is None else lesion * weights
        apart = _mean((offsets - target.offsets).abs().mean(1), counted)
        return segmentation + self.alpha * centres + self.beta * apart


LOSSES: dict[str, Callable[..., Loss]] = {
    "cross-entropy": CrossEntropy,
    "weighted-cross-entropy": WeightedCrossEntropy,
    "bootstrapped-cross-entropy": BootstrappedCrossEntropy,
    "pseudo-dice": PseudoDice,
    "dice": Dice,
    "dice-cross-entropy": DiceCrossEntropy,
    "segmentation": SegmentationLoss,
    "focal-dice": FocalDice,
    "conflunet": ConfLUNetLoss,
}


def make_loss(name: str, **arguments: Any) -> Loss:
    """The loss of a recipe; InputError for an unknown name or argument, with the nearest right one."""
    if name not in LOSSES:
        near = difflib.get_close_matches(name, LOSSES, 1)
        known = f"There are {', '.join(LOSSES)}"
        raise InputError(f"no loss {name!r}", todo=f"Did you mean {near[0]!r}? {known}" if near else known)
    try:
        return parse(arguments, LOSSES[name])
    except ValueError as error:
        raise InputError(f"loss {name}: {error}") from error


def _check_not_negative(**values: float) -> None:
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} is {value}: expected 0 or more")


def _mean(values: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Weighted mean; 0 where nothing counts."""
    if weights is None:
        return values.mean()
    return (values * weights).sum() / weights.sum().clamp(min=_TINY)


def _entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy (N, ...) of each voxel."""
    if logits.shape[1] == 1:
        truth = (target > 0).to(logits.dtype)
        return functional.binary_cross_entropy_with_logits(logits[:, 0], truth, reduction="none")
    return functional.cross_entropy(logits, target, reduction="none")


def _foreground(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Probability and truth of the classes other than background, each (N, classes - 1, ...)."""
    if logits.shape[1] == 1:
        return torch.sigmoid(logits), (target > 0).to(logits.dtype)[:, None]
    truth = functional.one_hot(target, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    return torch.softmax(logits, 1)[:, 1:], truth[:, 1:]


def _soft_dice(
    probability: torch.Tensor,
    truth: torch.Tensor,
    weights: torch.Tensor | None,
    smooth: float,
    *,
    each: bool = False,
) -> torch.Tensor:
    """Soft Dice of each class over the batch, (classes,), or over each of its items, (N, classes)."""
    axes = [axis for axis in range(probability.ndim) if axis != 1 and not (each and axis == 0)]
    counted = 1 if weights is None else weights[:, None]
    overlap = (probability * truth * counted).sum(axes)
    total = ((probability + truth) * counted).sum(axes)
    return (2 * overlap + smooth) / (total + smooth).clamp(min=_TINY)
