"""Running a network over many inputs of one size, in batches as large as the device's memory allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn

from .device import Device

_GPU_BATCH = 32  # larger ones gain nothing for 2D slices
_GPU_SHARE = 0.6  # of the free memory that a batch may take

Forward = Callable[[nn.Module, torch.Tensor], torch.Tensor]


class BatchRunner:
    """Runs ``forward(network, batch)``; out of GPU memory halves the batch, then turns to the CPU.

    On the CPU one input at a time is fastest. On a GPU the first input's memory decides how many fit.
    ``notes`` says what was changed on the way, for the sidecar.
    """

    def __init__(self, network: nn.Module, device: Device, forward: Forward):
        # An earlier run may have left the network on the CPU.
        self.network, self.device, self.forward = network.to(device.torch_device), device, forward
        self.notes: list[str] = []
        self.batch = 1

    def run(self, count: int, inputs: Callable[[slice], np.ndarray]) -> Iterator[tuple[slice, np.ndarray]]:
        """Outputs (n, ...) float32 of ``inputs(numbers)`` for consecutive ranges of 0..count."""
        start = 0
        while start < count:
            numbers = slice(start, min(start + self.batch, count))
            used_before = self._restart_peak()
            try:
                output = self._on_device(inputs(numbers))
            except torch.OutOfMemoryError:
                output = None
            if output is None:  # not in the except block: there the failed pass still holds its memory
                self._shrink()
                continue
            if start == 0 and self.device.name == "cuda":
                self.batch = self._fitting(torch.cuda.max_memory_allocated() - used_before)
            yield numbers, output
            start = numbers.stop

    @torch.inference_mode()
    def _on_device(self, inputs: np.ndarray) -> np.ndarray:
        batch = torch.from_numpy(inputs).to(self.device.torch_device)
        if batch.ndim == 4:
            batch = batch.contiguous(memory_format=torch.channels_last)
        with self.device.autocast():
            output = self.forward(self.network, batch)
        return output.float().cpu().numpy()

    def _restart_peak(self) -> int:
        """Forget the greatest memory use so far; returns what is in use now, in bytes."""
        if self.device.name != "cuda":
            return 0
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()

    def _fitting(self, one: int) -> int:
        free, _ = torch.cuda.mem_get_info()
        return int(max(1, min(_GPU_BATCH, _GPU_SHARE * free / max(one, 1))))

    def _shrink(self) -> None:
        """Halve the batch; where it is one already, go on on the CPU."""
        if self.device.name == "cpu":
            raise MemoryError("the network does not fit into this machine's memory")
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self.batch > 1:
            self.batch //= 2
            self.notes.append(f"{self.device.name} ran out of memory: batch halved to {self.batch}")
        else:
            self.notes.append(f"{self.device.name} ran out of memory: continued on the CPU in fp32")
            self.device = Device("cpu", "fp32")
            self.network.to("cpu")
