"""Augmentation of a batch of slices: geometry, contrast, bias field, noise, resolution and lesion brightness.

All of it runs batched in torch, so that it costs little beside a training step and also runs on a GPU.
Images are in normalised units (brain tissue about 0, its spread about 1, air about -4).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from .cases import BACKGROUND, DOUBTFUL
from .patches import AIR_BELOW


@dataclass(frozen=True)
class AugmentationSettings:
    """Ranges of the augmentation; each share is the part of the slices that get it."""

    rotation_degrees: float = 20.0
    scale: tuple[float, float] = (0.8, 1.25)
    flip_share: float = 0.5
    gain: tuple[float, float] = (0.7, 1.4)
    shift: tuple[float, float] = (-0.5, 0.5)
    gamma_share: float = 0.4
    tone_share: float = 0.0
    tone: float = 0.5
    bias_share: float = 0.6
    bias: float = 0.35
    noise_share: float = 0.6
    noise: float = 0.45
    blur_share: float = 0.4
    blur_mm: tuple[float, float] = (0.4, 1.2)
    lesion_share: float = 0.5
    lesion_gain: tuple[float, float] = (0.6, 1.5)
    alone_share: float = 0.1
    air_share: float = 0.3


class Augmentation:
    """Turns crops (N, C, S, S) into training slices (N, C, size, size); all draws come from one generator."""

    def __init__(self, settings: AugmentationSettings, size: int, generator: torch.Generator):
        self.settings, self.size, self.generator = settings, size, generator

    def __call__(self, image: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Augmented images (N, C, size, size) float32 and the middle slice's targets (N, size, size)."""
        image, target = self._warp(image, target)
        image = self._lesion_brightness(image, target)
        image = self._resolution(image)
        image = self._tone(image)
        image = self._contrast(image)
        image = self._noise(image)
        return image, target[:, target.shape[1] // 2].long()

    def _uniform(self, count: int, low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, generator=self.generator)

    def _chosen(self, count: int, share: float) -> torch.Tensor:
        return torch.rand(count, generator=self.generator) < share

    def _warp(self, image: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotation, scaling, flips and a cut to size, one interpolation for all."""
        settings, count = self.settings, len(image)
        angle = torch.deg2rad(self._uniform(count, -settings.rotation_degrees, settings.rotation_degrees))
        scale = self._uniform(count, *settings.scale) * image.shape[-1] / self.size
        flip_i = torch.where(self._chosen(count, settings.flip_share), -1.0, 1.0)
        flip_j = torch.where(self._chosen(count, settings.flip_share / 2), -1.0, 1.0)
        cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
        zero = torch.zeros(count)
        theta = torch.stack([cos * flip_j, -sin * flip_i, zero, sin * flip_j, cos * flip_i, zero], 1).view(
            count, 2, 3
        )
        grid = functional.affine_grid(theta, [count, 1, self.size, self.size], align_corners=False)
        # Air at the crop's rim and beyond: the crop is the same everywhere around it.
        warped = functional.grid_sample(image, grid, padding_mode="border", align_corners=False)
        labels = functional.grid_sample(target.float(), grid, mode="nearest", align_corners=False)
        return warped, labels.round().to(torch.uint8)

    def _lesion_brightness(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Lesions fainter or brighter than they were, tissue untouched."""
        count = len(image)
        gain = torch.where(
            self._chosen(count, self.settings.lesion_share),
            self._uniform(count, *self.settings.lesion_gain),
            1.0,
        )
        lesion = ((target > BACKGROUND) & (target < DOUBTFUL)).float()
        soft = functional.avg_pool2d(functional.max_pool2d(lesion, 3, 1, 1), 3, 1, 1)
        return torch.where(image > 0, image * (1 + soft * (gain.view(-1, 1, 1, 1) - 1)), image)

    def _resolution(self, image: torch.Tensor) -> torch.Tensor:
        """Blur along each axis on its own, as coarser pixels would."""
        count, channels = image.shape[:2]
        radius = 3
        for axis in (2, 3):
            sigma = torch.where(
                self._chosen(count, self.settings.blur_share),
                self._uniform(count, *self.settings.blur_mm),
                0.05,
            )
            offsets = torch.arange(-radius, radius + 1)
            kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
            kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
            shape = (-1, 1, 2 * radius + 1, 1) if axis == 2 else (-1, 1, 1, 2 * radius + 1)
            padding = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
            flat = functional.pad(image, padding, mode="replicate").flatten(0, 1)[None]
            image = functional.conv2d(flat, kernel.view(shape), groups=count * channels).view_as(image)
        return image

    def _tone(self, image: torch.Tensor) -> torch.Tensor:
        """A band of intensities lifted or lowered: cortex nearer to white matter or nearer to lesions.

        Scanners and echo times differ in how bright the cortex is. Half the band's width is the most that is
        added, so that what is brighter stays brighter.
        """
        settings, count = self.settings, len(image)
        if not settings.tone_share:
            return image
        centre = self._uniform(count, -0.5, 1.5).view(-1, 1, 1, 1)
        width = self._uniform(count, 0.4, 1.2).view(-1, 1, 1, 1)
        height = torch.where(
            self._chosen(count, settings.tone_share), self._uniform(count, -settings.tone, settings.tone), 0.0
        ).view(-1, 1, 1, 1)
        return image + height * width * torch.exp(-(((image - centre) / width) ** 2))

    def _contrast(self, image: torch.Tensor) -> torch.Tensor:
        """Gain, shift, gamma, bias field, and another level of air."""
        settings, count = self.settings, len(image)
        air = image < AIR_BELOW
        level = torch.where(self._chosen(count, settings.air_share), self._uniform(count, -4, -2.4), -4.0)
        image = torch.where(air, torch.maximum(image, level.view(-1, 1, 1, 1)), image)
        gain = self._uniform(count, *settings.gain).view(-1, 1, 1, 1)
        shift = self._uniform(count, *settings.shift).view(-1, 1, 1, 1)
        coarse = torch.randn(count, 1, 4, 4, generator=self.generator)
        field = functional.interpolate(coarse, size=image.shape[2:], mode="bicubic", align_corners=False)
        strength = torch.where(
            self._chosen(count, settings.bias_share), self._uniform(count, 0, settings.bias), 0.0
        )
        image = image * gain + (shift + field * strength.view(-1, 1, 1, 1)) * ~air
        gamma = torch.where(self._chosen(count, settings.gamma_share), self._uniform(count, 0.75, 1.3), 1.0)
        return image.sign() * image.abs().clamp_min(1e-6) ** gamma.view(-1, 1, 1, 1)

    def _noise(self, image: torch.Tensor) -> torch.Tensor:
        """White noise; neighbours sometimes replaced by the slice itself; the clip of preprocessing."""
        settings, count = self.settings, len(image)
        sigma = torch.where(
            self._chosen(count, settings.noise_share), self._uniform(count, 0, settings.noise), 0.0
        )
        alone = self._chosen(count, settings.alone_share).view(-1, 1, 1, 1)
        middle = image[:, image.shape[1] // 2].unsqueeze(1)
        image = torch.where(alone, middle, image)
        noise = torch.randn(image.shape, generator=self.generator)
        return (image + noise * sigma.view(-1, 1, 1, 1)).clamp(-4, 10)
