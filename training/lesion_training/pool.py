"""The pool of cases that a run draws from: real ones, painted variants of them, and synthetic heads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from LesionSegmenterLib.synthesis.anatomy import load_anatomy

from .cases import CaseEntry, PreparedCase, prepare_case
from .recipe import CaseSettings
from .variants import Banks, ignore_unmarked, painted_variant, place, synthetic_case

Report = Callable[[str, int, int], None]


def build_pool(
    entries: list[CaseEntry], root: Path, settings: CaseSettings, seed: int, report: Report, workers: int = 2
) -> list[PreparedCase]:
    """Every case that training draws from, weighted by the shares of ``settings``.

    Each case and each synthetic head has a random stream of its own, spawned from ``seed``: the pool does
    not depend on the number of workers.
    """
    streams = np.random.SeedSequence(seed).spawn(len(entries) + settings.synthetic_heads)
    jobs: list[Callable[[], list[PreparedCase]]] = [
        partial(_real_and_painted, entry, root, stream)
        for entry, stream in zip(entries, streams, strict=False)
    ]
    jobs += [
        partial(_synthetic, root, stream, number) for number, stream in enumerate(streams[len(entries) :])
    ]
    cases: list[PreparedCase] = []
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        for done, made in enumerate(executor.map(_call, jobs), start=1):
            cases += made
            report("preparing cases", done, len(jobs))
    return weighted(cases, settings.real, settings.painted, settings.synthetic)


def weighted(cases: list[PreparedCase], real: float, painted: float, synthetic: float) -> list[PreparedCase]:
    """The cases with their weights scaled so that each kind is drawn as often as its share says."""
    shares = {"real": real, "painted": painted, "synthetic": synthetic}
    totals = {kind: sum(c.weight for c in cases if _kind(c) == kind) for kind in shares}
    return [replace(c, weight=shares[_kind(c)] * c.weight / totals[_kind(c)]) for c in cases if c.weight > 0]


def _call(job: Callable[[], list[PreparedCase]]) -> list[PreparedCase]:
    return job()


def _kind(case: PreparedCase) -> str:
    if case.name.startswith("synthetic"):
        return "synthetic"
    return "painted" if case.name.endswith("+painted") else "real"


def _stored(case: PreparedCase) -> PreparedCase:
    """The case as it is kept: half precision, without what only painting needs."""
    return replace(case, image=case.image.astype(np.float16), ventricles=None)


def _real_and_painted(entry: CaseEntry, root: Path, stream: np.random.SeedSequence) -> list[PreparedCase]:
    case = prepare_case(entry)
    cases = [_stored(case)]
    if entry.painted:
        banks, placement = Banks.open(root), place(case, load_anatomy())
        if not case.complete:
            ignore_unmarked(case, placement)
        for variant in stream.spawn(entry.painted):
            painted = painted_variant(case, placement, banks, np.random.default_rng(variant))
            cases.append(replace(_stored(painted), weight=1.0))
    return cases


def _synthetic(root: Path, stream: np.random.SeedSequence, number: int) -> list[PreparedCase]:
    return [_stored(synthetic_case(Banks.open(root), np.random.default_rng(stream), number))]
