"""Training by several processes, as torchrun starts them: who each is, and what they agree on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed

from LesionSegmenterLib.engine.device import Device


@dataclass(frozen=True)
class Processes:
    """This process among those that train together; alone, 0 of 1."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and talks to the user."""
        return self.rank == 0

    def largest(self, value: float, device: torch.device) -> float:
        """The largest of the processes' values, known to all of them."""
        return self._reduced(value, device, distributed.ReduceOp.MAX)

    def mean(self, value: float, device: torch.device) -> float:
        """The mean of the processes' values, known to all of them."""
        return self._reduced(value, device, distributed.ReduceOp.SUM) / self.count

    def wait(self) -> None:
        """Go on once all processes have come here."""
        if self.count > 1:
            distributed.barrier()

    def _reduced(self, value: float, device: torch.device, operation: Any) -> float:
        if self.count == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=device)
        distributed.all_reduce(tensor, operation)
        return float(tensor)


def started_processes() -> Processes:
    """What torchrun's environment says; alone without one."""
    return Processes(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))


@contextmanager
def joined(processes: Processes, device: Device) -> Iterator[None]:
    """Join the other processes while the block runs: by NCCL on CUDA, one GPU a process, else by gloo."""
    if processes.count == 1:
        yield
        return
    if device.name == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    distributed.init_process_group("nccl" if device.name == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()
