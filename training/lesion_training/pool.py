"""The pool of cases that a run draws from: real ones, painted variants of them, and synthetic heads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from LesionSegmenterLib.atomic import writing_error
from LesionSegmenterLib.synthesis.anatomy import load_anatomy

from .cases import CaseEntry, Preparation, PreparedCase, prepare_case
from .recipe import CaseSettings
from .variants import Banks, ignore_unmarked, painted_variant, place, synthetic_case

Report = Callable[[int, int], None]
_FEW = 8  # cases as they are, read before a worker process has started
_Made = tuple[list[PreparedCase], list[str]]


class CaseStore:
    """Keeps cases in memory up to ``budget`` bytes, and maps the rest from files in ``folder``."""

    def __init__(self, budget: float, folder: Path):
        self.budget, self.folder = budget, folder
        self.used, self.files = 0, 0

    def keep(self, case: PreparedCase) -> PreparedCase:
        """The case, its arrays in memory or on the disk; InputError where the disk is full."""
        arrays = {
            name: array
            for name in ("image", "target", "t1", "instances")
            if (array := getattr(case, name)) is not None
        }
        size = sum(array.nbytes for array in arrays.values())
        if self.used + size <= self.budget:
            self.used += size
            return case
        mapped: dict[str, Any] = {name: self._mapped(array) for name, array in arrays.items()}
        return replace(case, **mapped)

    def _mapped(self, array: np.ndarray) -> np.ndarray:
        path = self.folder / f"{self.files}.npy"
        self.files += 1
        try:
            np.save(path, array)
            return np.load(path, mmap_mode="r")
        except OSError as error:
            raise writing_error(self.folder.parent, error) from error


def build_pool(
    entries: list[CaseEntry],
    root: Path,
    settings: CaseSettings,
    seed: int,
    report: Report,
    *,
    preparation: Preparation,
    store: CaseStore | None = None,
    amend: Callable[[PreparedCase], object] | None = None,
    warn: Callable[[str], None] = lambda _: None,
    workers: int = 2,
) -> list[PreparedCase]:
    """Every case that training draws from, weighted by the shares of ``settings``.

    Each case and each synthetic head has a random stream of its own, spawned from ``seed``: the pool does
    not depend on the number of workers. ``root`` holds the mask banks; ``amend`` may change each case as it
    was read, before lesions are painted into it.
    """
    streams = np.random.SeedSequence(seed).spawn(len(entries) + settings.synthetic_heads)
    jobs: list[partial[_Made]] = [
        partial(_real_and_painted, entry, preparation, root, stream, bool(settings.painted), amend)
        for entry, stream in zip(entries, streams, strict=False)
    ]
    jobs += [
        partial(_synthetic, preparation, root, stream, number)
        for number, stream in enumerate(streams[len(entries) :])
    ]
    # Painting takes long enough for processes of its own; reading a few cases does not.
    alone = len(jobs) <= _FEW and not (settings.painted or settings.synthetic_heads)
    cases = list(_made(jobs, report, store, warn, 0 if alone else workers))
    return weighted(cases, settings.real, settings.painted, settings.synthetic)


def read_cases(
    entries: Sequence[CaseEntry],
    preparation: Preparation,
    report: Report,
    *,
    store: CaseStore | None = None,
    warn: Callable[[str], None] = lambda _: None,
    workers: int = 2,
) -> list[PreparedCase]:
    """Cases as they are, at the precision that the engine has them in: those that a run is scored on."""
    jobs = [partial(_as_it_is, entry, preparation) for entry in entries]
    workers = workers if len(jobs) > _FEW else 0
    return list(_made(jobs, report, store, warn, workers))


def weighted(cases: list[PreparedCase], real: float, painted: float, synthetic: float) -> list[PreparedCase]:
    """The cases with their weights scaled so that each kind is drawn as often as its share says."""
    shares = {"real": real, "painted": painted, "synthetic": synthetic}
    totals = {kind: sum(c.weight for c in cases if _kind(c) == kind) for kind in shares}
    return [replace(c, weight=shares[_kind(c)] * c.weight / totals[_kind(c)]) for c in cases if c.weight > 0]


def _made(
    jobs: Sequence[Callable[[], _Made]],
    report: Report,
    store: CaseStore | None,
    warn: Callable[[str], None],
    workers: int,
) -> Iterator[PreparedCase]:
    """The cases of the jobs in order, as they are ready; made by this process where ``workers`` is 0."""

    def kept(results: Iterator[_Made]) -> Iterator[PreparedCase]:
        for done, (made, warnings) in enumerate(results, start=1):
            for line in warnings:
                warn(line)
            for case in made:
                yield store.keep(case) if store else case
            report(done, len(jobs))

    if not workers:
        yield from kept(job() for job in jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        yield from kept(iter(executor.map(_call, jobs)))


def _call(job: Callable[[], _Made]) -> _Made:
    return job()


def _kind(case: PreparedCase) -> str:
    if case.name.startswith("synthetic"):
        return "synthetic"
    return "painted" if case.name.endswith("+painted") else "real"


def _stored(case: PreparedCase, kind: DTypeLike = np.float16) -> PreparedCase:
    """The case as it is kept: half precision, small ids, without what only painting needs."""
    t1 = None if case.t1 is None else case.t1.astype(kind)
    ids = case.instances
    if ids is not None:
        ids = ids.astype(np.min_scalar_type(ids.max(initial=0)))
    return replace(case, image=case.image.astype(kind), t1=t1, instances=ids, ventricles=None)


def _as_it_is(entry: CaseEntry, preparation: Preparation) -> _Made:
    warnings: list[str] = []
    return [_stored(prepare_case(entry, preparation, warnings.append), np.float32)], warnings


def _real_and_painted(
    entry: CaseEntry,
    preparation: Preparation,
    root: Path,
    stream: np.random.SeedSequence,
    paints: bool,
    amend: Callable[[PreparedCase], object] | None,
) -> _Made:
    warnings: list[str] = []
    case = prepare_case(entry, preparation, warnings.append)
    if amend is not None:
        amend(case)
    cases = [_stored(case)]
    if entry.painted and paints:
        banks, placement = Banks.open(root), place(case, load_anatomy())
        if not case.complete:
            ignore_unmarked(case, placement)
        for variant in stream.spawn(entry.painted):
            painted = painted_variant(case, placement, banks, preparation, np.random.default_rng(variant))
            cases.append(replace(_stored(painted), weight=1.0))
    return cases, warnings


def _synthetic(preparation: Preparation, root: Path, stream: np.random.SeedSequence, number: int) -> _Made:
    return [_stored(synthetic_case(Banks.open(root), np.random.default_rng(stream), number, preparation))], []
