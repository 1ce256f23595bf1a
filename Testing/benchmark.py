"""Measures what the project promises, each beside a named alternative in the same run: ``make bench``."""

from __future__ import annotations

import argparse
import datetime
import importlib
import importlib.util
import os
import platform
from pathlib import Path
from types import ModuleType

import torch

from benchmarks import (
    ablation,
    accuracy,
    measuring,
    offsets,
    prediction,
    review,
    splitting,
    training,
    whole_run,
)

_SECTIONS = (accuracy, ablation, whole_run, prediction, splitting, offsets, measuring, review, training)
_REPETITIONS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one repetition of each instead of five")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write the tables as a Markdown page")
    options = parser.parse_args()
    repetitions = 1 if options.quick else _REPETITIONS
    page = [_head(repetitions)]
    print(page[0])
    for section in (*_SECTIONS, *_in_slicer()):
        page.append(section.run(repetitions).markdown())
        print("\n" + page[-1], flush=True)
    if options.write:
        options.write.write_text("\n\n".join(page) + "\n", encoding="utf-8")


def _in_slicer() -> list[ModuleType]:
    """The sections that need Slicer's MRML libraries, where they are installed."""
    if importlib.util.find_spec("slicer") is None:
        return []
    names = ("scene", "segment_statistics", "panel")
    return [importlib.import_module(f"benchmarks.{name}") for name in names]


def _head(repetitions: int) -> str:
    times = "once" if repetitions == 1 else f"{repetitions} times, in turn: median (least to most)"
    return (
        "# Benchmarks\n\n"
        "Written by `.venv/bin/python Testing/benchmark.py --write docs/benchmarks.md`, which `make bench` "
        f"runs without writing. Each was timed {times}.\n\n"
        f"{datetime.date.today()}, {machine()}."
    )


def machine() -> str:
    """The processor, its cores and what torch makes of it."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = (line.partition(":")[2] for line in info.read_text().splitlines() if "model name" in line)
        model = next(names, model).strip()
    return (
        f"{model}, {os.cpu_count()} cores ({torch.get_num_threads()} threads used), {platform.system()}, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )


if __name__ == "__main__":
    main()
