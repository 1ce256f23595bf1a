"""``lesion-segmenter batch``: a folder of FLAIRs, or a BIDS data set, to one case folder each."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import Cancelled, InputError, LesionSegmenterError
from ..progress import JsonReporter, Reporter, make_reporter, overall
from . import counted
from .segment import add_engine_options, segment_options

if TYPE_CHECKING:
    from ..segment import SegmentResult


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("batch", help="segment a folder of FLAIRs or a BIDS data set")
    parser.add_argument(
        "input", type=Path, metavar="INPUT", help="folder of FLAIR NIfTIs, or a BIDS data set"
    )
    parser.add_argument("--resume", action="store_true", help="skip the subjects whose case is complete")
    add_engine_options(parser)
    parser.set_defaults(run=run)


@dataclass(frozen=True)
class _CaseReporter:
    """One case's share of the progress of all."""

    whole: Reporter
    subject: str
    number: int
    count: int

    def progress(self, stage: str, done: int, total: int) -> None:
        permille = round(1000 * overall(stage, done, total))
        self.whole.progress(
            f"case {self.number + 1}/{self.count}", 1000 * self.number + permille, 1000 * self.count
        )

    def warn(self, message: str) -> None:
        self.whole.warn(f"{self.subject}: {message}")

    def close(self) -> None:
        """The whole is closed by whoever opened it."""


def run(options: argparse.Namespace) -> None:
    from ..export import complete_subjects
    from ..flairs import find_flairs

    flairs = find_flairs(options.input)
    done = set(complete_subjects(options.out)) if options.resume else set()
    left = {subject: path for subject, path in flairs.items() if subject not in done}
    reporter = make_reporter(options.progress)
    try:
        failed = _segment_all(left, options, reporter)
    finally:
        reporter.close()
    written, skipped = len(left) - len(failed), len(flairs) - len(left)
    if isinstance(reporter, JsonReporter):
        lines = {subject: str(error) for subject, error in failed.items()}
        reporter.tell("done", cases=written, skipped=skipped, failed=lines)
    else:
        print(f"{counted(written, 'case')} written to {options.out}, {skipped} skipped")
    if failed:
        _raise_failures(failed, len(left))


def _segment_all(
    flairs: dict[str, Path], options: argparse.Namespace, reporter: Reporter
) -> dict[str, LesionSegmenterError]:
    """Segment every FLAIR; returns the errors of those that failed, by subject."""
    if not flairs:
        return {}
    from ..segment import load, segment

    model = load(segment_options(options, t1=None))
    failed: dict[str, LesionSegmenterError] = {}
    for number, (subject, flair) in enumerate(flairs.items()):
        case = _CaseReporter(reporter, subject, number, len(flairs))
        settings = segment_options(options, t1=None, subject=subject)
        try:
            result = segment(flair, options.out, settings, case, model)
        except (KeyboardInterrupt, Cancelled):
            complete = number - len(failed)
            raise Cancelled(f"cancelled; {complete} complete cases stay, go on with --resume") from None
        except LesionSegmenterError as error:
            failed[subject] = error
        except Exception as error:  # whatever is wrong with one case must not stop the others
            failed[subject] = LesionSegmenterError(f"unexpected {type(error).__name__}: {error}", flair)
        else:
            _tell_case(reporter, subject, result)
        case.progress("writing", 1, 1)
    return failed


def _tell_case(reporter: Reporter, subject: str, result: SegmentResult) -> None:
    volume_ml = sum(record.volume_mm3 for record in result.records) / 1000
    scan_type = result.sidecar["scan_type"]
    if isinstance(reporter, JsonReporter):
        files = {name: str(path) for name, path in result.files.items()}
        reporter.tell("case", subject=subject, lesions=len(result.records), scan_type=scan_type, files=files)
    else:
        from tqdm import tqdm

        # Not print, which would write into a bar.
        tqdm.write(
            f"{subject}: {counted(len(result.records), 'lesion')}, {volume_ml:.2f} ml, {scan_type or '-'}"
        )


def _raise_failures(failed: dict[str, LesionSegmenterError], count: int) -> None:
    """One line a failed case, and an error for them all: of the input if any of theirs was."""
    for subject, error in failed.items():
        print(f"{subject}: {error}", file=sys.stderr)
    on_input = any(isinstance(error, InputError) for error in failed.values())
    kind = InputError if on_input else LesionSegmenterError
    names = ", ".join(list(failed)[:5]) + (", ..." if len(failed) > 5 else "")
    raise kind(
        f"{len(failed)} of {count} cases failed: {names}", todo="Mend them and run again with --resume"
    )
