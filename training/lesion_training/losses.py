"""Losses of voxel-wise training."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from .cases import BACKGROUND, DOUBTFUL, IGNORE, STROKE, WHITE_MATTER_LESION


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
        lesion = (item == WHITE_MATTER_LESION) | (item == STROKE)
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
    classes = torch.where(target > STROKE, BACKGROUND, target)
    entropy = functional.cross_entropy(logits, classes, reduction="none")
    entropy = (entropy * weights).sum() / weights.sum()
    counted = weights.clamp(max=1)
    lesion = (1 - torch.softmax(logits, 1)[:, 0]) * counted
    truth = (classes > 0) * counted
    dice = (2 * (lesion * truth).sum() + 1) / (lesion.sum() + truth.sum() + 1)
    return entropy + 1 - dice
