"""``lesion-train ensemble``: several bundles of slices as one, their probabilities averaged."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from LesionSegmenterLib.errors import InputError

from .combining import CLASSES, Aspects, add_options, refuse_difference, stated, write_combined

if TYPE_CHECKING:
    import torch

    from LesionSegmenterLib.bundle import Bundle, BundleSpec

    from .calibration import Calibration


def add_parser(commands: argparse._SubParsersAction) -> None:
    ensemble = commands.add_parser("ensemble", help="make one bundle of several, their predictions averaged")
    add_options(ensemble)
    ensemble.add_argument(
        "--volume", metavar="BUNDLE", help="a bundle of volumes, one member more for scans of thick slices"
    )
    ensemble.add_argument(
        "--flip", action="store_true", help="average with the mirrored image as well: twice the time"
    )
    ensemble.add_argument(
        "--zoom", type=float, help="average with the slices so many times as large as well, 0.5 to 2"
    )
    ensemble.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from LesionSegmenterLib.bundle import resolve_bundle

    made = make_ensemble(
        [resolve_bundle(bundle) for bundle in options.bundles],
        options.out,
        volume=resolve_bundle(options.volume) if options.volume else None,
        flip=options.flip,
        zoom=options.zoom,
        **stated(options),
    )
    print(f"Bundle {made.spec.name} {made.spec.version} written to {made.folder}")


def make_ensemble(
    bundles: list[Bundle],
    out: Path,
    *,
    name: str,
    version: str,
    volume: Bundle | None = None,
    flip: bool = False,
    zoom: float | None = None,
    calibration: Calibration | None = None,
    scores: dict[str, Any] | None = None,
) -> Bundle:
    """Write the bundle of several networks whose probabilities are averaged.

    ``volume`` reads thick slices as a volume; ``flip`` and ``zoom`` average further views in (see
    `Preprocessing`). InputError where they read or mean different things, for another zoom than 0.5 to 2, or
    where ``calibration`` is of another model.
    """
    from LesionSegmenterLib.bundle import Architecture

    from .card import ensemble_card

    specs = [bundle.spec for bundle in bundles]
    _check_alike(specs)
    first = specs[0]
    views: dict[str, Any] = {"flip": True} if flip else {}
    if zoom is not None:
        views["zooms"] = _zooms(zoom, first)
    networks: dict[str, Any] = {"members": [asdict(spec.architecture) for spec in specs]}
    if volume is not None:
        _check_volume(volume.spec, first)
        networks["volume"] = asdict(volume.spec.architecture)
        bundles = [*bundles, volume]
    return write_combined(
        bundles,
        out,
        _weights(bundles, volume),
        ensemble_card,
        calibration=calibration,
        name=name,
        version=version,
        title=f"the mean of {len(bundles)} networks: slower than each of them, and steadier",
        architecture=Architecture("ensemble", networks),
        preprocessing=first.preprocessing | views,
        scores=scores or {},
    )


_ASPECTS: Aspects = {
    "inputs": lambda spec: spec.inputs,
    "shape": lambda spec: spec.shape,
    "preprocessing": lambda spec: spec.preprocessing,
    **CLASSES,
}
_VOLUME_ASPECTS: Aspects = {
    "inputs": lambda spec: spec.inputs,
    "classes": lambda spec: spec.output.label_map,
    "intensities": lambda spec: spec.preprocessing["normalisation"],
}


def _check_alike(specs: list[BundleSpec]) -> None:
    """InputError unless the models can be averaged."""
    first, todo = specs[0], "Average models that read and give the same"
    if len(specs) < 2:
        raise InputError("one model is no ensemble", todo="Name two or more")
    if first.output.kind == "instances":
        raise InputError(f"{first.name} gives offsets, which cannot be averaged", todo=todo)
    for spec in specs:
        if "volume" in spec.architecture.arguments:
            raise InputError(
                f"{spec.name} has a network of volumes of its own", todo="Name its members instead"
            )
    for other in specs[1:]:
        refuse_difference(first, other, _ASPECTS, todo)


def _zooms(zoom: float, first: BundleSpec) -> list[float]:
    """The magnifications of an ensemble of slices that reads each as it is and so many times as large."""
    from LesionSegmenterLib.engine.model import ZOOMS

    if first.shape != "slice":
        raise InputError(f"{first.name} reads volumes", todo="Leave --zoom out: it is for models of slices")
    least, most = ZOOMS
    if not least <= zoom <= most:
        raise InputError(f"--zoom is {zoom:g}", todo=f"Give a number from {least:g} to {most:g}")
    return [1.0, zoom]


def _check_volume(volume: BundleSpec, first: BundleSpec) -> None:
    """InputError unless the model reads volumes of what the others read in slices, and means the same."""
    from LesionSegmenterLib.engine.prediction import normalises_by_instance
    from LesionSegmenterLib.networks import build

    todo = "Train one with lesion-train fit uresnet-volume"
    if first.shape != "slice":
        raise InputError(
            f"{first.name} reads volumes itself", todo="Name it with --volume, beside models of slices"
        )
    if volume.shape != "patch" or volume.output.kind == "instances":
        raise InputError(f"{volume.name} is no model of lesions in volumes", todo=todo)
    refuse_difference(first, volume, _VOLUME_ASPECTS, todo)
    if normalises_by_instance(build(volume.architecture.name, volume.architecture.arguments)):
        raise InputError(f"{volume.name} needs windows, as its norms depend on the field of view", todo=todo)


def _weights(bundles: list[Bundle], volume: Bundle | None) -> dict[str, torch.Tensor]:
    """The networks' weights under the names that the ensemble has them by."""
    from safetensors.torch import load_file

    return {
        f"volume.{name}" if bundle is volume else f"members.{number}.{name}": value
        for number, bundle in enumerate(bundles)
        for name, value in load_file(bundle.weights).items()
    }
