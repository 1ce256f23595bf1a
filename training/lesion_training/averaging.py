"""``lesion-train average``: bundles of one network, trained on from one another, their weights averaged."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from LesionSegmenterLib.errors import InputError

from .combining import CLASSES, Aspects, add_options, refuse_difference, stated, write_combined

if TYPE_CHECKING:
    import torch

    from LesionSegmenterLib.bundle import Bundle, BundleSpec

    from .calibration import Calibration


def add_parser(commands: argparse._SubParsersAction) -> None:
    average = commands.add_parser(
        "average", help="make one network of several that were trained on from one another"
    )
    add_options(average)
    average.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from LesionSegmenterLib.bundle import resolve_bundle

    bundles = [resolve_bundle(bundle) for bundle in options.bundles]
    made = make_average(bundles, options.out, **stated(options))
    print(f"Bundle {made.spec.name} {made.spec.version} written to {made.folder}")


def make_average(
    bundles: list[Bundle],
    out: Path,
    *,
    name: str,
    version: str,
    calibration: Calibration | None = None,
    scores: dict[str, Any] | None = None,
) -> Bundle:
    """Write the bundle of a network whose weights are the mean of several (Wortsman et al. 2022).

    It is as fast as one of them. The mean of networks is a network where each was trained on from another,
    or all from one; whether it is a good one only scores tell. InputError where they differ in more than
    their weights, or ``calibration`` is of another model.
    """
    from .card import averaged_card

    _check_alike([bundle.spec for bundle in bundles])
    return write_combined(
        bundles,
        out,
        _mean(bundles),
        averaged_card,
        calibration=calibration,
        name=name,
        version=version,
        title=f"one network, its weights the mean of {len(bundles)} stages of its training",
        scores=scores or {},
    )


_ASPECTS: Aspects = {
    "networks": lambda spec: spec.architecture,
    "inputs": lambda spec: spec.inputs,
    "preprocessing": lambda spec: spec.preprocessing,
    **CLASSES,
}


def _check_alike(specs: list[BundleSpec]) -> None:
    """InputError unless the models differ in their weights alone."""
    if len(specs) < 2:
        raise InputError("one model has no mean", todo="Name two or more")
    first = specs[0]
    if first.architecture.name == "ensemble":
        raise InputError(f"{first.name} is an ensemble", todo="Average its members")
    for other in specs[1:]:
        refuse_difference(first, other, _ASPECTS, "Average stages of one network's training")


def _mean(bundles: list[Bundle]) -> dict[str, torch.Tensor]:
    """The mean of the networks' weights, float32; of counts, such as batch norm's, the first one's."""
    import torch
    from safetensors.torch import load_file

    each = [load_file(bundle.weights) for bundle in bundles]
    return {
        name: torch.stack([weights[name].float() for weights in each]).mean(0)
        if values.is_floating_point()
        else values
        for name, values in each[0].items()
    }
