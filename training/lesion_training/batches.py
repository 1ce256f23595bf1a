"""Batches by the number of their step: what is drawn follows from seed and step alone, so that a run resumes.

A source is a torch `Dataset` whose item is a whole batch, so that worker processes of a `DataLoader` can make
the next ones during a step. With several training processes each makes its own part of a step's batch.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from .augmentation import Augmentation
from .cases import BACKGROUND, DOUBTFUL, IGNORE, PreparedCase
from .distributed import Processes
from .instance_targets import InstanceTarget, instance_target
from .losses import voxel_weights
from .patches import Patch, PatchSampler
from .pool import weighted
from .recipe import Recipe, StageSettings, WeightSettings
from .sampling import SliceSampler
from .transforms import Transforms


@dataclass(frozen=True)
class Batch:
    """What a step learns from.

    images : (N, channels, ...) float32.
    target : (N, ...) int64 classes, or an `InstanceTarget`.
    weights : (N, ...) float32; 0 where nothing is known.
    unmarked : (N, classes) bool, the classes that an item's truth does not mark; None where all mark all.
    """

    images: torch.Tensor
    target: torch.Tensor | InstanceTarget
    weights: torch.Tensor
    unmarked: torch.Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def parts(self, count: int) -> Iterator[Batch]:
        """The batch in equal parts."""
        size = len(self.images) // count
        for start in range(0, size * count, size):
            yield self._each(lambda tensor, part=slice(start, start + size): tensor[part])

    def pin_memory(self) -> Batch:
        """The batch where a GPU can fetch it from; a `DataLoader` calls this."""
        return self._each(torch.Tensor.pin_memory)

    def _each(self, change: Any) -> Batch:
        target = (
            InstanceTarget(*map(change, self.target))
            if isinstance(self.target, InstanceTarget)
            else change(self.target)
        )
        unmarked = None if self.unmarked is None else change(self.unmarked)
        return Batch(change(self.images), target, change(self.weights), unmarked)


class SliceBatches(Dataset[Batch]):
    """Slices with their neighbours, drawn and augmented as the shipped recipe has it."""

    def __init__(self, recipe: Recipe, cases: list[PreparedCase], seed: int, processes: Processes):
        assert recipe.sampling is not None
        self.recipe, self.seed, self.processes = recipe, seed, processes
        first = SliceSampler(cases, recipe.sampling)
        assert recipe.optimisation.steps is not None, "epochs are of patches alone"
        self.samplers: list[tuple[int, SliceSampler]] = [(recipe.optimisation.steps, first)]
        for stage in recipe.stages:
            self.samplers.append((self.samplers[-1][0] + stage.steps, _of_stage(first, cases, stage)))
        # A network without neighbours sees the middle slice alone.
        self.channels = slice(None) if recipe.context_slices else slice(1, 2)

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step; with several processes each draws a stream of its own."""
        settings, sampling = self.recipe, self.recipe.sampling
        assert sampling is not None
        alone = self.processes.count == 1
        rng = np.random.default_rng((self.seed, step) if alone else (self.seed, step, self.processes.rank))
        generator = torch.Generator().manual_seed(
            self.seed * 1_000_003 + step + (0 if alone else 7_368_787 * (1 + self.processes.rank))
        )
        sampler = self.sampler(step)
        crops = [sampler.draw(rng) for _ in range(settings.optimisation.batch // self.processes.count)]
        images = torch.from_numpy(np.stack([image for image, _ in crops]))
        targets = torch.from_numpy(np.stack([target for _, target in crops]))
        images, target = Augmentation(settings.augmentation, sampling.size, generator)(images, targets)
        return Batch(images[:, self.channels], _classes(target), _weights(target, settings.weights))

    def sampler(self, step: int) -> SliceSampler:
        """The sampler of the stage that a step belongs to."""
        return next((s for end, s in self.samplers if step < end), self.samplers[-1][1])


class PatchBatches(Dataset[Batch]):
    """Slices or volumes drawn by `PatchSampler` and augmented by torchio.

    Each sample of a step has a random stream of its own: any number of processes draws the same batch.
    """

    def __init__(self, recipe: Recipe, cases: list[PreparedCase], seed: int, processes: Processes):
        assert recipe.patches is not None
        self.recipe, self.seed, self.processes = recipe, seed, processes
        types = {kind.label: str(target) for kind, target in recipe.types.items()}
        shares = {types[name]: share for name, share in recipe.patches.voxel_shares.items() if name in types}
        self.patches = PatchSampler(cases, replace(recipe.patches, voxel_shares=shares), seed)
        self.transforms = Transforms(recipe.transforms, flat=not recipe.volumetric)
        self.classes = 1 + max(recipe.types.values())

    def __getitem__(self, step: int) -> Batch:
        """This process's part of the batch of a step."""
        numbers = range(self.processes.rank, self.recipe.optimisation.batch, self.processes.count)
        return self._batch([self._sample(step, number) for number in numbers])

    def _sample(self, step: int, number: int) -> Patch:
        stream = np.random.SeedSequence((self.seed, step, number))
        patch = self.patches.draw(np.random.default_rng(stream))
        return self.transforms(patch, int(stream.generate_state(1, np.uint32)[0]))

    def _batch(self, patches: list[Patch]) -> Batch:
        images = torch.from_numpy(np.stack([patch.image for patch in patches]))
        marks = torch.from_numpy(np.stack([patch.target for patch in patches]))
        weights, target = _weights(marks, self.recipe.weights), _classes(marks)
        unmarked = None
        if any(patch.unmarked for patch in patches):
            unmarked = torch.zeros(len(patches), self.classes, dtype=torch.bool)
            for row, patch in zip(unmarked, patches, strict=True):
                row[list(patch.unmarked)] = True
        if not self.recipe.volumetric:
            return Batch(images[..., 0], target[..., 0], weights[..., 0], unmarked)
        if not self.recipe.instances:
            return Batch(images, target, weights, unmarked)
        ids = np.stack([patch.ids for patch in patches if patch.ids is not None])
        return Batch(images, instance_target(target.numpy(), ids), weights, unmarked)


def make_source(
    recipe: Recipe, cases: list[PreparedCase], seed: int, processes: Processes
) -> SliceBatches | PatchBatches:
    """The batches of a recipe."""
    return (SliceBatches if recipe.sampling else PatchBatches)(recipe, cases, seed, processes)


def prefetched(
    source: Dataset[Batch], steps: Sequence[int], workers: int, *, pin: bool = False
) -> Iterable[Batch]:
    """The batches of the steps in order, made ahead by ``workers`` processes; between the steps where 0.

    Workers are forked, so that they share the cases in memory.
    """
    return DataLoader(
        source,
        batch_size=None,
        sampler=steps,  # type: ignore[arg-type]
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
        pin_memory=pin,
        worker_init_fn=_leave_stopping_to_the_trainer,
    )


def _leave_stopping_to_the_trainer(_worker: int) -> None:
    """A stop reaches the whole group of processes: the trainer ends its step with the batches it has."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _of_stage(first: SliceSampler, cases: list[PreparedCase], stage: StageSettings) -> SliceSampler:
    return first.reweighted(weighted(cases, stage.real, stage.painted, stage.synthetic))


def _classes(target: torch.Tensor) -> torch.Tensor:
    """Classes alone: what is doubtful or ignored is background here, and its weight says the rest."""
    return torch.where(target >= DOUBTFUL, BACKGROUND, target.long())


def _weights(target: torch.Tensor, settings: WeightSettings) -> torch.Tensor:
    if settings.largest > 1:
        return voxel_weights(
            target, doubtful=settings.doubtful, small_area=settings.small_area, largest=settings.largest
        )
    weights = torch.ones(target.shape)
    weights[target == DOUBTFUL] = settings.doubtful
    weights[target == IGNORE] = 0
    return weights
