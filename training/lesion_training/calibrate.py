"""``lesion-train calibrate``: a threshold, and the confidence of lesions, from cases never trained on."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from LesionSegmenterLib.atomic import check_not_input, write_json
from LesionSegmenterLib.command_line import share

from .case_arguments import add_case_arguments, chosen_entries

if TYPE_CHECKING:
    from LesionSegmenterLib.engine.model import Model


def add_parser(commands: argparse._SubParsersAction) -> None:
    calibrate = commands.add_parser(
        "calibrate", help="choose a bundle's threshold and fit the confidence of its lesions"
    )
    calibrate.add_argument("bundle", metavar="BUNDLE", help="a bundle's folder, or a model's name")
    add_case_arguments(calibrate, required=False)
    calibrate.add_argument(
        "--report", type=Path, metavar="DIR", help="write calibration.md and reliability.png to this folder"
    )
    calibrate.add_argument(
        "--least-recall", type=share, default=0.0, metavar="R",
        help="share of the true lesions, data sets averaged, that the threshold must leave found",
    )  # fmt: skip
    calibrate.add_argument(
        "--peak-share", type=share, metavar="S",
        help="share of a lesion's highest probability that its voxels must have (default: the bundle's)",
    )  # fmt: skip
    calibrate.add_argument("--out", type=Path, metavar="FILE", help="what lesion-train bundle takes, JSON")
    calibrate.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from LesionSegmenterLib.segment import SegmentOptions, load

    from .calibration_report import summary, write_report
    from .sweep import calibration_of, sweep_case

    entries = chosen_entries(options)
    if options.out:
        check_not_input(options.out, *(path for e in entries for path in (e.image, e.mask) if path))
    model = load(SegmentOptions(model=options.bundle))
    if options.peak_share is not None:
        model = _with_peak_share(model, options.peak_share)
    spec = model.bundle.spec
    with tqdm(entries, desc=f"calibrating {spec.name} {spec.version}", file=sys.stderr) as bar:
        sweeps = [sweep_case(entry, model) for entry in bar]
    found = calibration_of(sweeps, model.bundle, options.least_recall)
    print(summary(found))
    if options.out:
        write_json(options.out, asdict(found))
        print(f"Calibration written to {options.out}")
    if options.report:
        print(f"Report written to {write_report(found, options.report)}")


def _with_peak_share(model: Model, peak_share: float) -> Model:
    """The model as if its bundle said another share of a lesion's highest probability."""
    spec = model.bundle.spec
    spec = replace(spec, output=replace(spec.output, peak_share=peak_share))
    return replace(model, bundle=replace(model.bundle, spec=spec))
