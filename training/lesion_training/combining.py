"""Making one bundle of several: what `ensembling` and `averaging` have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from LesionSegmenterLib.errors import InputError

if TYPE_CHECKING:
    import torch

    from LesionSegmenterLib.bundle import Bundle, BundleSpec

    from .calibration import Calibration

Card = Callable[["BundleSpec", list[tuple[str, str]], int], str]
"""Of the specification, the names and cards of the bundles it is made of, and the number of parameters."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """What every command states that makes one bundle of several."""
    parser.add_argument("bundles", nargs="+", metavar="BUNDLE", help="a bundle's folder, or a model's name")
    parser.add_argument("--out", type=Path, required=True, help="the bundle's folder")
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--calibration", type=Path, help="what calibrate --out wrote")
    parser.add_argument("--scores", type=Path, help="what evaluate --json wrote")


def stated(options: argparse.Namespace) -> dict[str, Any]:
    """Those of `add_options` but bundles and folder, as `make_ensemble` and `make_average` take them."""
    from .bundling import read_calibration, read_json

    return {
        "name": options.name,
        "version": options.version,
        "calibration": read_calibration(options.calibration) if options.calibration else None,
        "scores": read_json(options.scores) if options.scores else {},
    }


Aspects = Mapping[str, Callable[["BundleSpec"], Any]]
"""What two models may differ in: its name, and how it is read of a specification."""
CLASSES: Aspects = {"classes": lambda spec: (spec.output.kind, spec.output.label_map)}


def refuse_difference(first: BundleSpec, other: BundleSpec, aspects: Aspects, todo: str) -> None:
    """InputError for the first of ``aspects`` in which two models differ."""
    for what, of in aspects.items():
        if of(other) != of(first):
            raise InputError(f"{first.name} and {other.name} differ in their {what}", todo=todo)


def write_combined(
    bundles: list[Bundle],
    out: Path,
    weights: Mapping[str, torch.Tensor],
    card: Card,
    *,
    calibration: Calibration | None,
    **changes: Any,
) -> Bundle:
    """Write the bundle of several: the first one's classifier and threshold, everybody's training data.

    changes : what the first one's specification says otherwise. InputError where ``calibration`` is of
        another model.
    """
    from LesionSegmenterLib.bundle import CARD, WEIGHTS, write_bundle

    from .bundling import calibrated, parameters_of, plain_threshold, stored

    first = bundles[0].spec
    data = {item.name: item for bundle in bundles for item in bundle.spec.training_data}
    output = replace(first.output, threshold=plain_threshold(first), confidence=None, least_confidence=0.0)
    spec = replace(first, output=output, training_data=list(data.values()), **changes)
    content = stored(weights)
    if calibration is not None:
        spec = calibrated(spec, calibration, content)
    cards = [
        (f"{one.spec.name} {one.spec.version}", (one.folder / CARD).read_text(encoding="utf-8"))
        for one in bundles
    ]
    text = card(spec, cards, parameters_of(spec))
    files: dict[str, Path | bytes] = {WEIGHTS: content, CARD: text.encode()}
    if bundles[0].classifier is not None and first.classifier is not None:
        files[first.classifier] = bundles[0].classifier
    return write_bundle(out, spec, files)
