"""``lesion-train calibrate``: a threshold, and the confidence of lesions, from cases never trained on."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from LesionSegmenterLib.atomic import check_not_input, write_json
from LesionSegmenterLib.errors import InputError

from .cases import CaseEntry
from .folders import find_entries, of_split
from .splits import SplitSettings


def add_parser(commands: argparse._SubParsersAction) -> None:
    calibrate = commands.add_parser(
        "calibrate", help="choose a bundle's threshold and fit the confidence of its lesions"
    )
    calibrate.add_argument("bundle", metavar="BUNDLE", help="a bundle's folder, or a model's name")
    calibrate.add_argument(
        "--data", type=Path, nargs="+", default=[], metavar="DIR", help="folders of cases, as for evaluate"
    )
    calibrate.add_argument("--listing", default="public.tsv", help="the package's listing to use")
    calibrate.add_argument("--split", default="validation", help="which cases of --data to take")
    calibrate.add_argument(
        "--unseen",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of which nothing was trained on, such as fresh heads of synth: every case is taken",
    )
    calibrate.add_argument(
        "--report", type=Path, metavar="DIR", help="write calibration.md and reliability.png to this folder"
    )
    calibrate.add_argument("--out", type=Path, metavar="FILE", help="what lesion-train bundle takes, JSON")
    calibrate.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from LesionSegmenterLib.segment import SegmentOptions, load

    from .calibration_report import summary, write_report
    from .sweep import calibration_of, sweep_case

    entries = _entries(options)
    if options.out:
        check_not_input(options.out, *(path for e in entries for path in (e.image, e.mask) if path))
    model = load(SegmentOptions(model=options.bundle))
    spec = model.bundle.spec
    with tqdm(entries, desc=f"calibrating {spec.name} {spec.version}", file=sys.stderr) as bar:
        sweeps = [sweep_case(entry, model) for entry in bar]
    found = calibration_of(sweeps, model.bundle)
    print(summary(found))
    if options.out:
        write_json(options.out, asdict(found))
        print(f"Calibration written to {options.out}")
    if options.report:
        print(f"Report written to {write_report(found, options.report)}")


def _entries(options: argparse.Namespace) -> list[CaseEntry]:
    """The cases of the split and of the folders that are unseen as a whole; InputError for none."""
    entries = []
    if options.data:
        listed = find_entries(options.data, listing=options.listing)
        entries += of_split(listed, options.split, options.data)
    if options.unseen:
        entries += find_entries(options.unseen, split=SplitSettings(validation=1.0))
    if not entries:
        raise InputError("there is no case to calibrate on", todo="Give folders with --data or --unseen")
    for entry in entries:
        if entry.mask is None:
            raise InputError("the case has no truth to calibrate on", entry.image)
    return entries
