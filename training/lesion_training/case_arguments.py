"""Which cases a command that scores bundles takes: arguments, and the entries they name."""

from __future__ import annotations

import argparse
from pathlib import Path

from LesionSegmenterLib.errors import InputError

from .cases import CaseEntry
from .folders import find_entries, of_split
from .splits import SplitSettings


def add_case_arguments(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    """``--data`` with ``--listing`` and ``--split``, and ``--unseen``; ``required``, whether --data is."""
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=required,
        default=[],
        metavar="DIR",
        help="folders of the listed cases",
    )
    parser.add_argument("--listing", default="public.tsv", help="the package's listing to use")
    parser.add_argument("--split", default="validation", help="which cases of --data to take")
    parser.add_argument(
        "--unseen",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of which nothing was trained on, such as fresh heads of synth: every case is taken",
    )


def listed_entries(options: argparse.Namespace) -> list[CaseEntry]:
    """The cases of --data, of every split; none without it."""
    return find_entries(options.data, listing=options.listing) if options.data else []


def chosen_entries(options: argparse.Namespace, listed: list[CaseEntry] | None = None) -> list[CaseEntry]:
    """The split's cases of the data and all that are unseen; InputError for none, or one without a mask.

    ``listed``: what `listed_entries` gave, where the caller needs the other splits too.
    """
    entries: list[CaseEntry] = []
    if options.data:
        listed = listed_entries(options) if listed is None else listed
        entries += of_split(listed, options.split, options.data)
    if options.unseen:
        entries += find_entries(options.unseen, split=SplitSettings(validation=1.0))
    if not entries:
        raise InputError("there is no case to measure on", todo="Give folders with --data or --unseen")
    for entry in entries:
        if entry.mask is None:
            raise InputError("the case has no truth to measure on", entry.image)
    return entries
