"""Measuring all lesions in one pass against a loop over lesions in the full volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from benchmarks.images import lesions
from benchmarks.tables import Table, in_turn
from LesionSegmenterLib.instances import label_components
from LesionSegmenterLib.measure import measure_lesions

_SHAPE = (192, 220, 180)
_COUNT = 150
_AFFINE = np.diag([1.0, 1.0, 1.2, 1.0])
_OURS, _LOOP = "measure_lesions", "a loop over lesions, each in the full volume"


def run(repetitions: int) -> Table:
    probability = lesions(_SHAPE, _COUNT, confluent=False)
    instances = label_components(probability > 0.5)
    timings, results = in_turn(
        {_OURS: lambda: _ours(instances, probability), _LOOP: lambda: _loop(instances, probability)},
        repetitions,
    )
    same = np.allclose(results[_OURS], results[_LOOP])
    return Table(
        "Measuring",
        f"The table of {instances.max()} lesions in {'x'.join(map(str, _SHAPE))}: volume, centroid, "
        "greatest diameter and mean probability.",
        ("what", "time", "against the loop"),
        [(name, str(t), t.times_faster_than(timings[_LOOP])) for name, t in timings.items()],
        [f"The two tables are {'the same' if same else 'NOT the same'}."],
    )


def _ours(instances: NDArray, probability: NDArray) -> list[tuple[float, ...]]:
    return [
        (r.volume_mm3, *r.centroid_ras_mm, r.max_diameter_mm, r.mean_probability or 0.0)
        for r in measure_lesions(instances, _AFFINE, probability)
    ]


def _loop(instances: NDArray, probability: NDArray) -> list[tuple[float, ...]]:
    rows = []
    for lesion in range(1, int(instances.max()) + 1):
        mask = instances == lesion
        points = np.argwhere(mask) @ _AFFINE[:3, :3].T + _AFFINE[:3, 3]
        volume = float(mask.sum() * np.linalg.det(_AFFINE))
        diameter = float(pdist(points).max(initial=0))
        rows.append((volume, *points.mean(axis=0).tolist(), diameter, float(probability[mask].mean())))
    return rows
