"""``lesion-segmenter segment``: one FLAIR to its case folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from ..bundle import DEFAULT_MODEL, INSTANCE_MODEL, SplitName
from ..command_line import probability, share
from ..progress import MODES, JsonReporter, make_reporter


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("segment", help="segment the lesions of one FLAIR")
    parser.add_argument("flair", type=Path, metavar="FLAIR", help="NIfTI file: whole head or skull-stripped")
    parser.add_argument(
        "--subject", metavar="ID", help="subject of the case folder (default: from the file's name)"
    )
    add_engine_options(parser)
    parser.add_argument(
        "--t1", type=Path, metavar="FILE", help="T1 of the same head, resampled onto the FLAIR"
    )
    parser.set_defaults(run=run)


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that runs a model."""
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder the case is written into"
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, metavar="NAME|DIR", help="default: %(default)s")
    parser.add_argument(
        "--split", default="auto", choices=get_args(SplitName),
        help="how a confluent mask becomes lesions (default: as the model says)",
    )  # fmt: skip
    parser.add_argument(
        "--splitter", default=INSTANCE_MODEL, metavar="NAME|DIR",
        help="whose offsets --split offsets takes where the model gives none (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16", "fp16"))
    parser.add_argument(
        "--flip", action="store_true", help="average with the mirrored image: slower, a little better"
    )
    parser.add_argument(
        "--small-lesions", default="keep", choices=("keep", "drop"),
        help="what becomes of lesions under 3 mm on a side or of at most 14 mm3 (default: keep)",
    )  # fmt: skip
    parser.add_argument(
        "--threshold", type=probability, metavar="P", help="lesion probability (default: the model's)"
    )
    parser.add_argument(
        "--least-confidence", type=share, metavar="P",
        help="leave out lesions less sure than this (default: the model's; 0 keeps all)",
    )  # fmt: skip
    parser.add_argument(
        "--keep-flair", default="path", choices=("path", "copy", "link"),
        help="how the case folder refers to the FLAIR (default: its path and checksum)",
    )  # fmt: skip
    parser.add_argument("--progress", choices=MODES, help="default: a bar in a terminal, else none")


def run(options: argparse.Namespace) -> None:
    reporter = make_reporter(options.progress)
    # Heavy imports come after the arguments are known to be right.
    from ..report import lesion_table
    from ..segment import segment

    try:
        result = segment(options.flair, options.out, segment_options(options, t1=options.t1), reporter)
    finally:
        reporter.close()
    if isinstance(reporter, JsonReporter):
        reporter.tell(
            "done",
            lesions=len(result.records),
            scan_type=result.sidecar["scan_type"],
            files={name: str(path) for name, path in result.files.items()},
        )
        return
    print(lesion_table(result.records))
    print(f"Written to {result.files['sidecar'].parent}")


def segment_options(options: argparse.Namespace, *, t1: Path | None, subject: str | None = None):
    """The settings of a run from the command's options."""
    from ..segment import SegmentOptions

    return SegmentOptions(
        t1=t1,
        model=options.model,
        split=options.split,
        splitter=options.splitter,
        device=options.device,
        precision=options.precision,
        subject=getattr(options, "subject", None) if subject is None else subject,
        flip=options.flip,
        small_lesions=options.small_lesions,
        threshold=options.threshold,
        least_confidence=options.least_confidence,
        keep_flair=options.keep_flair,
    )
