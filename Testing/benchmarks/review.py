"""Edits of one lesion among many and their undo against the same on full volumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.images import lesions
from benchmarks.tables import Table, in_turn
from LesionSegmenterLib import edits
from LesionSegmenterLib.instances import label_components
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import Change, LesionMap
from LesionSegmenterLib.measure import measure_lesions

_SHAPE = (512, 512, 192)
_COUNT = 200
_AFFINE = np.diag([0.5, 0.5, 1.0, 1.0])
_STEPS = 200
_FULL = ", full volume"


def run(repetitions: int) -> Table:
    probability = lesions(_SHAPE, _COUNT, confluent=True).astype(np.float32)
    ids = label_components(probability > 0.5)
    lesion_map = LesionMap.from_arrays(
        ids, _AFFINE, measure_lesions(ids, _AFFINE, probability), probability=probability
    )
    timings, _ = in_turn(_candidates(lesion_map), repetitions)
    rows = [
        (name, str(timing), str(timings[name + _FULL]), timing.times_faster_than(timings[name + _FULL]))
        for name, timing in timings.items()
        if not name.endswith(_FULL)
    ]
    return Table(
        "Reviewing",
        f"{len(lesion_map.records)} lesions in {'x'.join(map(str, _SHAPE))}. Ours plans the edit, measures "
        "the lesions touched and changes the map; the alternative finds the voxels in the full volume, keeps "
        "a copy for undo, and measures nothing. Goals: relabel under 5 ms, the others under 50 ms.",
        ("what", "time", "full volume", "faster"),
        rows,
        [f"{_STEPS} edits keep {_undo_megabytes(lesion_map):.1f} MB for their undo (goal: under 200 MB)."],
    )


def _candidates(lesion_map: LesionMap) -> dict[str, Callable[[], Any]]:
    """Edits and their undo in turn, so that each repetition starts from the same lesions."""
    first, second, *_, last = lesion_map.records
    plans = {
        "relabel": lambda: edits.relabel(lesion_map, [first], LesionType.MS),
        "split in two": lambda: edits.split_k(lesion_map, first, 2),
        "split by ACLS": lambda: edits.split_acls(lesion_map, second),
        "merge two far apart": lambda: edits.merge(lesion_map, [first, last]),
        "grow by 2 mm": lambda: edits.grow(lesion_map, first, 2.0),
    }
    made: list[Change] = []
    kept: list[Any] = []
    plain = lesion_map.ids.copy()

    def make(plan: Callable[[], Change]) -> None:
        made.append(plan())
        lesion_map.apply(made[-1])

    def full_volume() -> None:
        kept.append(plain.copy())
        plain[plain == first] = _COUNT + 1

    def full_undo() -> None:
        plain[...] = kept.pop()

    candidates: dict[str, Callable[[], Any]] = {}
    for name, plan in plans.items():
        candidates[name] = lambda plan=plan: make(plan)
        candidates[f"undo of {name}"] = lambda: lesion_map.revert(made.pop())
        candidates[name + _FULL] = full_volume
        candidates[f"undo of {name}{_FULL}"] = full_undo
    return candidates


def _undo_megabytes(lesion_map: LesionMap) -> float:
    """What the undo of mixed edits holds; the lesions are changed for good."""
    size = 0
    for step in range(_STEPS):
        by_size = sorted(lesion_map.records, key=lambda i: -lesion_map.records[i].voxels)
        if step % 4 == 0:
            change = edits.split_k(lesion_map, by_size[0], 2)
        elif step % 4 == 1:
            change = edits.merge(lesion_map, by_size[:2])
        elif step % 4 == 2:
            change = edits.relabel(lesion_map, by_size[:1], LesionType(1 + step % 3))
        else:
            change = edits.shrink(lesion_map, by_size[step % 100], 0.5)
        lesion_map.apply(change)
        size += change.nbytes
    return size / 1e6
