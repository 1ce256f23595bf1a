"""Calls of ``lesion-segmenter`` within the test's own process, and images for them."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from LesionSegmenterLib.cli import main

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def call(*arguments: str | Path | int | float) -> int:
    """Run a command; returns its exit status."""
    return main([str(argument) for argument in arguments])


def batch(folder: Path, out: Path, model: Path, *options: str) -> int:
    """Run ``batch`` on the CPU; returns its exit status."""
    return call("batch", folder, "--out", out, "--model", model, "--device", "cpu", *options)
