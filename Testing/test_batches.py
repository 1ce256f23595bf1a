"""Devices and precisions, and batches as large as the device's memory allows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from heads import bright_bundle, save_head
from LesionSegmenterLib import bundle as bundles
from LesionSegmenterLib.engine import batches, device
from LesionSegmenterLib.engine.model import load_model
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.networks import UResNet
from LesionSegmenterLib.progress import NoReporter
from LesionSegmenterLib.segment import SegmentOptions, segment

CPU = device.Device("cpu", "fp32")


# The device


def test_auto_prefers_cuda_then_mps_then_the_cpu(monkeypatch):
    monkeypatch.setattr(device, "_native_bf16", lambda name: name == "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device.choose_device() == device.Device("cuda", "bf16")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.choose_device() == device.Device("mps", "fp32")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device.choose_device() == device.Device("cpu", "fp32")


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused_by_name(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match=rf"device {name} is not available.*--device auto or cpu"):
        device.choose_device(name)


@pytest.mark.parametrize("options", [("tpu", "auto"), ("cpu", "int8"), ("cpu", "fp16")])
def test_an_unusable_device_or_precision_is_refused(options):
    with pytest.raises(InputError):
        device.choose_device(*options)


# Batches


class Memory:
    """A forward pass on a device that holds so many inputs at a time; doubles its input."""

    def __init__(self, holds: int):
        self.holds, self.sizes = holds, []

    def __call__(self, network: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(batch))
        if len(batch) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 2 * batch


class Gpu(device.Device):
    """Called cuda, computing on the CPU."""

    @property
    def torch_device(self) -> torch.device:
        return torch.device("cpu")


@pytest.fixture
def small_gpu(monkeypatch):
    """A runner whose GPU seems to take eight inputs at once."""
    monkeypatch.setattr(batches.BatchRunner, "_restart_peak", lambda self: 0)
    monkeypatch.setattr(batches.BatchRunner, "_fitting", lambda self, one: 8)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def run_all(runner: batches.BatchRunner, count: int = 20) -> np.ndarray:
    data = np.arange(count * 4, dtype=np.float32).reshape(count, 1, 2, 2)
    outputs = list(runner.run(count, lambda numbers: data[numbers]))
    assert [n for numbers, _ in outputs for n in range(numbers.start, numbers.stop)] == list(range(count))
    result = np.concatenate([output for _, output in outputs])
    np.testing.assert_array_equal(result, 2 * data)
    return result


def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_nothing_is_lost(small_gpu):
    memory = Memory(holds=3)
    runner = batches.BatchRunner(nn.Identity(), Gpu("cuda", "fp32"), memory)
    run_all(runner)
    assert memory.sizes[:4] == [1, 8, 4, 2] and set(memory.sizes[3:-1]) == {2}
    assert runner.notes == [
        "cuda ran out of memory: batch halved to 4",
        "cuda ran out of memory: batch halved to 2",
    ]


def test_an_input_that_does_not_fit_at_all_goes_to_the_cpu_and_this_is_noted(small_gpu):
    class OnlyCpu(Memory):
        def __call__(self, network, batch):
            if runner.device.name == "cuda":
                raise torch.OutOfMemoryError("CUDA out of memory")
            return 2 * batch

    runner = batches.BatchRunner(nn.Identity(), Gpu("cuda", "fp32"), OnlyCpu(0))
    run_all(runner)
    assert runner.device == CPU
    assert runner.notes == ["cuda ran out of memory: continued on the CPU in fp32"]


def test_out_of_memory_on_the_cpu_ends_the_run():
    runner = batches.BatchRunner(nn.Identity(), CPU, Memory(holds=0))
    with pytest.raises(MemoryError):
        run_all(runner)


def test_the_cpu_takes_one_input_at_a_time():
    memory = Memory(holds=1)
    run_all(batches.BatchRunner(nn.Identity(), CPU, memory))
    assert memory.sizes == [1] * 20


def test_what_ran_out_of_memory_stands_in_the_sidecar(tmp_path, small_gpu, monkeypatch):
    real, calls = UResNet.forward, []

    def forward(self, x):
        calls.append(len(x))
        if len(x) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, x)

    monkeypatch.setattr(UResNet, "forward", forward)
    folder = bright_bundle(tmp_path / "bright")
    model = replace(load_model(bundles.load_bundle(folder), CPU), device=Gpu("cuda", "fp32"))
    calls.clear()  # loading tries the network out
    result = segment(
        save_head(tmp_path / "flair.nii.gz"), tmp_path / "out", SegmentOptions(), NoReporter(), model
    )
    assert result.sidecar["device"] == {
        "name": "cuda",
        "precision": "fp32",
        "notes": ["cuda ran out of memory: batch halved to 4"],
    }
    assert calls[:3] == [1, 8, 4] and len(result.records) == 4
