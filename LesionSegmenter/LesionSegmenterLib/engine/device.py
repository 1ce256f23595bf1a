"""Where and in which precision a network runs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import InputError

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Device:
    """A device by name (cpu, cuda or mps) and the precision of its convolutions (fp32, bf16 or fp16)."""

    name: str
    precision: str

    @property
    def torch_device(self) -> torch.device:
        return torch.device(self.name)

    def autocast(self) -> AbstractContextManager:
        """The context in which the forward pass runs."""
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.name, _DTYPES[self.precision])


def choose_device(name: str = "auto", precision: str = "auto") -> Device:
    """The device and precision of the options; auto prefers CUDA, then MPS, then the CPU.

    Auto precision is bf16 where the hardware computes it natively, else fp32. Raises InputError where a
    device is asked for that is not there, or a precision that it cannot use.
    """
    if name not in DEVICES:
        raise InputError(f"unknown device {name!r}", todo=f"Choose one of {', '.join(DEVICES)}")
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}", todo=f"Choose one of {', '.join(PRECISIONS)}")
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if there[device])
    elif not there[name]:
        raise InputError(f"device {name} is not available on this machine", todo="Use --device auto or cpu")
    if precision == "auto":
        precision = "bf16" if _native_bf16(name) else "fp32"
    if precision == "fp16" and name == "cpu":
        raise InputError("fp16 is not used on the CPU", todo="Use --precision auto, fp32 or bf16")
    return Device(name, precision)


def _native_bf16(name: str) -> bool:
    """Whether the hardware multiplies bf16 itself; where it is emulated, it is slower than fp32."""
    if name == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    if name == "mps":
        return False
    flags = Path("/proc/cpuinfo")
    if not flags.is_file():
        return False
    return "avx512_bf16" in (text := flags.read_text()) or "amx_bf16" in text
