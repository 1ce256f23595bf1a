"""Tiny synthetic heads with lesions of known place, and bundles that find whatever is bright."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save

from LesionSegmenterLib import bundle
from LesionSegmenterLib.engine.normalisation import NORMALISATION
from LesionSegmenterLib.networks.uresnet import UResNet

SHAPE, SPACING = (48, 60, 16), (3.0, 3.0, 6.0)

# Centre in RAS mm, radius in mm, and brightness over tissue: no two alike, none symmetric.
LESIONS = (
    ((-25.0, 30.0, 9.0), 11.0, 26.0),
    ((28.0, -14.0, 3.0), 8.0, 50.0),
    ((-15.0, -40.0, -9.0), 7.0, 26.0),
    ((9.0, 12.0, 27.0), 6.0, 50.0),
)
TYPES = ["WMH", "stroke", "WMH", "stroke"]  # as `bright_bundle` finds them, largest first
BRIGHT = 8.0  # normalised brightness from which `bright_bundle` calls a lesion a stroke


def centred_affine(
    shape: Sequence[int] = SHAPE, spacing: Sequence[float] = SPACING
) -> npt.NDArray[np.float64]:
    """A right-anterior-superior affine whose world origin is the middle of the grid."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) / 2 * spacing
    return affine


def head(
    affine: npt.NDArray[np.float64] | None = None,
    shape: Sequence[int] = SHAPE,
    *,
    scalp: float | None = None,
    lesions: Iterable[tuple[tuple[float, float, float], float, float]] = LESIONS,
) -> npt.NDArray[np.float32]:
    """A brain of about 100 with lesions, (i, j, k) on any grid; stripped, or in a skull and a scalp."""
    affine = centred_affine() if affine is None else affine
    world = np.moveaxis(nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1)), -1, 0)
    r, a, s = world
    reach = np.sqrt((r / 55) ** 2 + (a / 72) ** 2 + (s / 40) ** 2)
    # A texture that is a function of the place, so that every grid sees one head.
    image = np.where(reach < 1, 100 + 4 * (np.sin(r / 9) + np.cos(a / 11) * np.sin(s / 13 + 1)), 0)
    if scalp is not None:
        image[(reach >= 1) & (reach < 1.08)] = 12
        image[(reach >= 1.08) & (reach < 1.2)] = scalp
    for centre, radius, brightness in lesions:
        distance = np.linalg.norm(np.moveaxis(world, 0, -1) - centre, axis=-1)
        share = np.clip((radius - distance) / 2 + 0.5, 0, 1)
        image += share * (100 + brightness - image)
    return image.astype(np.float32)


def save_head(
    path: Path, affine: npt.NDArray[np.float64] | None = None, dtype: npt.DTypeLike = np.int16, **options
) -> Path:
    """Write a head as NIfTI in the data type; returns the path."""
    affine = centred_affine() if affine is None else affine
    nib.save(nib.Nifti1Image(head(affine, **options).astype(dtype), affine), path)
    return path


def bright_bundle(
    folder: Path,
    *,
    modalities: Sequence[str] = ("FLAIR",),
    widths: tuple[int, int] = (2, 2),
    version: str = "1.0",
    normalisation: str = NORMALISATION,
) -> Path:
    """A bundle whose weights are set by hand: lesion where the inputs sum to over 4, stroke over BRIGHT.

    A uresnet of two levels in which one channel of the first level passes to the head, and nothing comes up
    from below. Class 1 is WMH, class 2 stroke. More `widths` make it slower, not other.
    """
    network = UResNet(len(modalities), 3, widths)
    with torch.no_grad():
        for name, weights in network.named_parameters():
            if not name.endswith("norm.weight"):
                weights.zero_()
        network.down[0].projection.weight[0] = 1
        network.after_skip[0].projection.weight[0, 0] = 1
        network.head.weight[1, 0, 0, 0], network.head.bias[1] = 4, -16
        network.head.weight[2, 0, 0, 0], network.head.bias[2] = 8, -16 - 4 * BRIGHT
    spec = bundle.BundleSpec(
        name="bright",
        version=version,
        title="Whatever is bright",
        architecture=bundle.Architecture(
            "uresnet", {"in_channels": len(modalities), "out_channels": 3, "widths": list(widths)}
        ),
        inputs=[bundle.ModelInput(modality) for modality in modalities],
        preprocessing={"normalisation": normalisation, "planes": "all"},
        output=bundle.Output("types", {1: 1, 2: 2}),
        shape="slice",
        training_data=[],
        licence="CC0-1.0",
    )
    weights = save(network.state_dict())
    bundle.write_bundle(folder, spec, {"weights.safetensors": weights, "MODEL_CARD.md": b"# Bright\n"})
    return folder
