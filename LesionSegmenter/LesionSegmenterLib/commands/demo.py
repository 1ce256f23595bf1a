"""``lesion-segmenter demo``: the whole job on a synthetic FLAIR with known lesions."""

from __future__ import annotations

import argparse
import time

from ..command_line import whole_number
from ..progress import JsonReporter, make_reporter
from .segment import add_engine_options, segment_options


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("demo", help="segment a synthetic FLAIR and score it against its truth")
    add_engine_options(parser)
    parser.add_argument("--seed", type=whole_number, default=0, help="another seed is another head")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    started = time.monotonic()
    reporter = make_reporter(options.progress)
    from ..demo import SUBJECT, demo_table, run_demo

    try:
        settings = segment_options(options, t1=None, subject=SUBJECT)
        demo = run_demo(options.out, settings, reporter, options.seed)
    finally:
        reporter.close()
    if isinstance(reporter, JsonReporter):
        reporter.tell("done", scores=demo.scores, files={k: str(v) for k, v in demo.result.files.items()})
        return
    print(demo_table(demo))
    print(f"\nPicture: {demo.result.files['qc']}")
    print(f"Case folder: {options.out} ({time.monotonic() - started:.0f} s)")
