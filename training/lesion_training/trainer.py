"""The training loop of every recipe: one process or several, stopped and resumed as if it had run through."""

from __future__ import annotations

import copy
import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from LesionSegmenterLib.bundle import Bundle
from LesionSegmenterLib.engine.device import Device
from LesionSegmenterLib.engine.normalisation import NORMALISATION
from LesionSegmenterLib.errors import Cancelled, InputError, LesionSegmenterError
from LesionSegmenterLib.networks import build
from LesionSegmenterLib.networks.conflunet import INSTANCE_CHANNELS

from .batches import Batch, PatchBatches, SliceBatches, make_source, prefetched
from .cases import PreparedCase
from .checkpoint import CHECKPOINT, read_checkpoint, unreadable, write_checkpoint
from .distributed import Processes
from .losses import make_loss
from .optimisation import make_optimiser, rate_factor
from .recipe import Recipe
from .starting import Layers, freeze, merge_unmarked, set_training, take_weights
from .validation import as_model, case_score

_SAVE_EVERY = 250

Report = Callable[[int, int, float, float | None], None]
"""Told after each step: the step, all steps, the running mean of the loss, and a new validation score."""


@dataclass(frozen=True)
class Stage:
    """The steps from ``begin`` up to, not with, ``end``, and their rate."""

    begin: int
    end: int
    learning_rate: float


class Trainer:
    """Trains one network of a recipe on a pool of cases, in the folder ``run``, on from where it stopped.

    InputError where the run's checkpoint is cut short or of another run, the network does not fit the recipe,
    or the bundle not the network.

    Parameters
    ----------
    cases, validation : what is trained and scored on, prepared as the recipe wants it.
    start, layers : a bundle whose weights training begins with, and which layers it changes.
    processes : this one among those that train together, which must have joined (`distributed.joined`).
    workers : processes that make batches ahead; 0 makes them between the steps.
    """

    def __init__(
        self,
        recipe: Recipe,
        cases: list[PreparedCase],
        run: Path,
        seed: int,
        device: Device,
        *,
        validation: Sequence[PreparedCase] = (),
        start: Bundle | None = None,
        layers: Layers = "all",
        processes: Processes | None = None,
        workers: int = 0,
    ):
        self.run, self.seed, self.device = run, seed, device
        self.validation, self.workers = validation, workers
        self.processes = processes or Processes()
        parts = self.processes.count * recipe.optimisation.accumulate
        if recipe.optimisation.batch % parts:
            raise InputError(
                f"a batch of {recipe.optimisation.batch} does not divide by {self.processes.count} processes "
                f"of {recipe.optimisation.accumulate} passes each",
                todo="Change optimisation.batch",
            )
        self.source = make_source(recipe, cases, seed, self.processes)
        self.recipe = _with_steps(recipe, self.source)
        assert recipe.network is not None
        torch.manual_seed(seed)
        self.network = build(recipe.network.name, recipe.network.arguments)
        if start is not None:
            take_weights(self.network, start)
        self._try_out()
        freeze(self.network, layers)
        self.network.to(device.torch_device)
        self.layout = torch.channels_last_3d if recipe.volumetric else torch.channels_last
        self.network.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.parallel = self._in_parallel()
        self.averaged = copy.deepcopy(self.network).eval()
        named = recipe.loss
        self.loss_of = make_loss(named.name, **named.arguments)
        self.optimiser = make_optimiser(self.network.parameters(), recipe.optimisation)
        self.scaler = torch.amp.GradScaler(device.name, enabled=device.precision == "fp16")
        self.stages = [Stage(0, self.recipe.optimisation.steps or 0, recipe.optimisation.learning_rate)]
        for stage in recipe.stages:
            begin = self.stages[-1].end
            self.stages.append(Stage(begin, begin + stage.steps, stage.learning_rate))
        self.step, self.loss, self.seconds, self.waited = 0, math.nan, 0.0, 0.0
        self.best: dict[str, Any] | None = None
        self.scorings_without_gain = 0
        self._resume()

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return self.stages[-1].end

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do: all steps are done, or validation has not gained for long enough."""
        patience = self.recipe.validation.patience
        return self.step >= self.steps or 0 < patience <= self.scorings_without_gain

    def fit(self, report: Report) -> None:
        """Train to the end.

        Raises Cancelled after Ctrl-C or SIGTERM, with the checkpoint written, and LesionSegmenterError where
        the loss is not a number or the GPU's memory is too small.
        """
        started, where = time.monotonic() - self.seconds, self.device.torch_device
        pin = self.device.name == "cuda" and self.workers > 0
        batches = iter(prefetched(self.source, range(self.step, self.steps), self.workers, pin=pin))
        with _stop_requested() as stopped:
            while not self.finished:
                before = time.monotonic()
                batch = next(batches)
                self.waited += time.monotonic() - before
                loss = self.processes.mean(self._train_step(batch), where)
                if not math.isfinite(loss):
                    raise LesionSegmenterError(
                        f"the loss is {loss} at step {self.step}",
                        self.run,
                        "Lower the learning rate and resume",
                    )
                # A running mean over the last hundred steps, and at first over those that there were.
                kept = min(0.99, self.step / (1 + self.step))
                self.loss = loss if self.step == 0 else kept * self.loss + (1 - kept) * loss
                self.step += 1
                score = self._validate()
                self.seconds = time.monotonic() - started
                report(self.step, self.steps, self.loss, score)
                stop = self.processes.largest(stopped(), where) > 0
                if self.step % _SAVE_EVERY == 0 or self.finished or stop:
                    self.save()
                if stop and not self.finished:
                    raise Cancelled(f"stopped at step {self.step}; the same command resumes it")

    def _train_step(self, batch: Batch) -> float:
        settings = self.recipe.optimisation
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate(self.step)
        set_training(self.network)
        self.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        try:
            for number, part in enumerate(batch.parts(settings.accumulate), start=1):
                with self._gathering(last=number == settings.accumulate):
                    loss = self._loss(part.to(self.device.torch_device)) / settings.accumulate
                    self.scaler.scale(loss).backward()
                total += float(loss.detach())
        except torch.OutOfMemoryError as error:
            raise LesionSegmenterError(
                f"the {self.device.name} device has too little memory for a batch of {len(batch.images)}",
                self.run,
                "Raise optimisation.accumulate in the recipe and resume",
            ) from error
        if settings.clip_norm:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self._average(min(settings.average_decay, (1 + self.step) / (10 + self.step)))
        return total

    def _loss(self, batch: Batch) -> torch.Tensor:
        images = batch.images.contiguous(memory_format=self.layout)
        with self.device.autocast():
            outputs = self.parallel(images)
        return self.loss_of(merge_unmarked(outputs.float(), batch.unmarked), batch.target, batch.weights)

    def learning_rate(self, step: int) -> float:
        """The rate at a step: warm-up and schedule of its stage."""
        stage = next((stage for stage in self.stages if step < stage.end), self.stages[-1])
        factor = rate_factor(self.recipe.optimisation, step - stage.begin, stage.end - stage.begin)
        return stage.learning_rate * factor

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        for mean, now in zip(
            self.averaged.state_dict().values(), self.network.state_dict().values(), strict=True
        ):
            if mean.dtype.is_floating_point:
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)

    def _validate(self) -> float | None:
        """The score of this step where it is time for one; the best weights are kept."""
        every = self.recipe.validation.every
        if not self.validation or not every or (self.step % every and self.step != self.steps):
            return None
        model = as_model(self.averaged, self.recipe, self.device, self.run)
        mine = self.validation[self.processes.rank :: self.processes.count]
        total = self.processes.mean(sum(case_score(model, case) for case in mine), self.device.torch_device)
        score = total * self.processes.count / len(self.validation)
        if self.best is None or score > self.best["score"]:
            weights = {name: value.clone() for name, value in self.averaged.state_dict().items()}
            self.best = {"score": score, "step": self.step, "weights": weights}
            self.scorings_without_gain = 0
        else:
            self.scorings_without_gain += 1
        return score

    def save(self) -> None:
        """Write the checkpoint."""
        if self.processes.first:
            state = {
                "step": self.step,
                "loss": self.loss,
                "seconds": self.seconds,
                "seed": self.seed,
                "normalisation": NORMALISATION,
                "network": self.network.state_dict(),
                "averaged": self.averaged.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "scaler": self.scaler.state_dict(),
                "best": self.best,
                "scorings_without_gain": self.scorings_without_gain,
            }
            write_checkpoint(self.run, state)
        self.processes.wait()

    def _resume(self) -> None:
        """Take up the run's checkpoint if there is one."""
        path = self.run / CHECKPOINT
        if not path.is_file():
            return
        state = read_checkpoint(self.run, self.device.torch_device)
        try:
            self.network.load_state_dict(state["network"])
            self.averaged.load_state_dict(state["averaged"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise unreadable(path) from error
        if state["seed"] != self.seed:
            raise InputError(f"the checkpoint was made with seed {state['seed']}", path, "Use that seed")
        if state.get("normalisation") != NORMALISATION:
            raise InputError(
                "the run was begun with other intensities, by an earlier version",
                path,
                "Make a bundle of it and --start from that in another --out",
            )
        self.scaler.load_state_dict(state.get("scaler", {}) if self.scaler.is_enabled() else {})
        self.step, self.loss, self.seconds = state["step"], state["loss"], state["seconds"]
        self.best, self.scorings_without_gain = state.get("best"), state.get("scorings_without_gain", 0)

    def _try_out(self) -> None:
        """InputError unless the network takes the recipe's inputs and gives its classes."""
        side = 2 * int(getattr(self.network, "divisor", 1))
        recipe = self.recipe
        channels = len(recipe.inputs) * (1 + 2 * recipe.context_slices)
        try:
            with torch.no_grad():
                outputs = self.network.eval()(
                    torch.zeros(1, channels, *[side] * (3 if recipe.volumetric else 2))
                ).shape[1]
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            raise InputError(
                f"the network {recipe.network.name if recipe.network else ''} does not take "
                f"{', '.join(recipe.inputs)}",
                todo="Give it as many in_channels as the recipe has inputs",
            ) from error
        sides = recipe.patches.size if recipe.patches else [recipe.sampling.size] if recipe.sampling else []
        if any(2 * length % side for length in sides):
            raise InputError(
                f"sides of {', '.join(map(str, sides))} do not divide by {side // 2}, as this network's must",
                todo="Change the size in patches or sampling",
            )
        classes = max(recipe.types.values())
        wanted = 1 + classes + (INSTANCE_CHANNELS if recipe.instances else 0)
        if outputs != wanted and not (outputs == classes == 1):
            raise InputError(
                f"the network gives {outputs} channels, the recipe's classes take {wanted}",
                todo="Correct out_channels or classes in the recipe",
            )

    def _in_parallel(self) -> nn.Module:
        """The network, or what keeps it the same in all processes."""
        if self.processes.count == 1:
            return self.network
        if self.device.name != "cuda":
            return DistributedDataParallel(self.network)
        self.network = nn.SyncBatchNorm.convert_sync_batchnorm(self.network)
        return DistributedDataParallel(self.network, device_ids=[int(os.environ.get("LOCAL_RANK", 0))])

    def _gathering(self, *, last: bool) -> AbstractContextManager:
        """The context of one of the passes that a step accumulates: processes meet in the last alone."""
        if last or not isinstance(self.parallel, DistributedDataParallel):
            return nullcontext()
        return self.parallel.no_sync()


def _with_steps(recipe: Recipe, source: SliceBatches | PatchBatches) -> Recipe:
    """The recipe with its epochs counted in steps."""
    settings = recipe.optimisation
    if settings.epochs is None:
        return recipe
    assert isinstance(source, PatchBatches), "a recipe's check sees to it"
    steps = settings.epochs * max(1, math.ceil(len(source.patches) / settings.batch))
    return replace(recipe, optimisation=replace(settings, steps=steps, epochs=None))


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
