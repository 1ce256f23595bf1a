"""The training loop: mixed precision, averaged weights, checkpoints that a stopped run resumes from."""

from __future__ import annotations

import copy
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from LesionSegmenterLib.engine.device import Device
from LesionSegmenterLib.errors import Cancelled, InputError, LesionSegmenterError
from LesionSegmenterLib.networks import build

from .augmentation import Augmentation
from .cases import PreparedCase
from .losses import segmentation_loss, voxel_weights
from .pool import weighted
from .recipe import OptimisationSettings, Recipe
from .sampling import SliceSampler

CHECKPOINT = "checkpoint.pt"
_SAVE_EVERY = 250


@dataclass(frozen=True)
class Stage:
    """The steps from ``begin`` up to, not with, ``end``: their rate and the cases that they draw."""

    begin: int
    end: int
    learning_rate: float
    sampler: SliceSampler


class Trainer:
    """Trains one network of a recipe on a pool of cases, in the folder ``run``."""

    def __init__(self, recipe: Recipe, cases: list[PreparedCase], run: Path, seed: int, device: Device):
        self.recipe, self.run, self.seed, self.device = recipe, run, seed, device
        torch.manual_seed(seed)
        self.network = build(recipe.network.name, recipe.network.arguments)
        self.network.to(device.torch_device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self.network).eval()
        settings = recipe.optimisation
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        first = SliceSampler(cases, recipe.sampling)
        self.stages = [Stage(0, settings.steps, settings.learning_rate, first)]
        for stage in recipe.stages:
            shares = weighted(cases, stage.real, stage.painted, stage.synthetic)
            begin = self.stages[-1].end
            self.stages.append(
                Stage(begin, begin + stage.steps, stage.learning_rate, first.reweighted(shares))
            )
        self.step, self.loss, self.seconds = 0, math.nan, 0.0

    def fit(self, report: Callable[[int, int, float], None]) -> None:
        """Train up to the recipe's number of steps, from the run's checkpoint where there is one.

        Raises Cancelled after Ctrl-C or SIGTERM, with the checkpoint written, and LesionSegmenterError where
        the loss is not a number.
        """
        settings = self.recipe.optimisation
        self.resume()
        started = time.monotonic() - self.seconds
        with _stop_requested() as stopped:
            while self.step < self.recipe.steps:
                loss = self._train_step(settings)
                if not math.isfinite(loss):
                    raise LesionSegmenterError(
                        f"the loss is {loss} at step {self.step}",
                        self.run,
                        "Lower the learning rate and resume",
                    )
                self.loss = loss if self.step == 0 else 0.99 * self.loss + 0.01 * loss
                self.step += 1
                self.seconds = time.monotonic() - started
                report(self.step, self.recipe.steps, self.loss)
                if self.step % _SAVE_EVERY == 0 or self.step == self.recipe.steps or stopped():
                    self.save()
                if stopped():
                    raise Cancelled(f"stopped at step {self.step}; the same command resumes it")

    def _train_step(self, settings: OptimisationSettings) -> float:
        # A random stream for each step: a resumed run draws what the unbroken one would have drawn.
        rng = np.random.default_rng((self.seed, self.step))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.step)
        sampler = self._stage(self.step).sampler
        crops = [sampler.draw(rng) for _ in range(settings.batch)]
        images = torch.from_numpy(np.stack([image for image, _ in crops]))
        targets = torch.from_numpy(np.stack([target for _, target in crops]))
        images, target = Augmentation(self.recipe.augmentation, settings.size, generator)(images, targets)
        weights = voxel_weights(
            target,
            doubtful=settings.doubtful_weight,
            small_area=settings.small_area,
            largest=settings.largest_weight,
        )
        where = self.device.torch_device
        images = images.to(where).contiguous(memory_format=torch.channels_last)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(self.step)
        self.network.train()
        with self.device.autocast():
            logits = self.network(images)
        loss = segmentation_loss(logits.float(), target.to(where), weights.to(where))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self._average(min(settings.average_decay, (1 + self.step) / (10 + self.step)))
        return float(loss.detach())

    def learning_rate(self, step: int) -> float:
        """The rate at a step: a warm-up and a cosine in each stage."""
        stage = self._stage(step)
        warmup, steps = self.recipe.optimisation.warmup, stage.end - stage.begin
        return stage.learning_rate * _schedule(step - stage.begin, warmup, steps)

    def _stage(self, step: int) -> Stage:
        return next((stage for stage in self.stages if step < stage.end), self.stages[-1])

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        for mean, now in zip(
            self.averaged.state_dict().values(), self.network.state_dict().values(), strict=True
        ):
            if mean.dtype.is_floating_point:
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)

    def save(self) -> None:
        """Write the checkpoint, under a temporary name first."""
        state: dict[str, Any] = {
            "step": self.step,
            "loss": self.loss,
            "seconds": self.seconds,
            "seed": self.seed,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        temporary = self.run / f"{CHECKPOINT}.tmp"
        torch.save(state, temporary)
        temporary.replace(self.run / CHECKPOINT)

    def resume(self) -> None:
        """Take up the run's checkpoint if there is one; InputError if it is cut short or of another run."""
        path = self.run / CHECKPOINT
        if not path.is_file():
            return
        try:
            state = torch.load(path, map_location=self.device.torch_device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.averaged.load_state_dict(state["averaged"])
            self.optimiser.load_state_dict(state["optimiser"])
        except Exception as error:
            raise InputError("the checkpoint cannot be read", path, "Remove it to start anew") from error
        if state["seed"] != self.seed:
            raise InputError(f"the checkpoint was made with seed {state['seed']}", path, "Use that seed")
        self.step, self.loss, self.seconds = state["step"], state["loss"], state["seconds"]


def _schedule(step: int, warmup: int, steps: int) -> float:
    """Linear warm-up, then half a cosine to zero."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


@contextmanager
def _stop_requested() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM came, so that the step under way can end and be saved."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
