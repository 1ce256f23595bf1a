"""ACLS on lesion boxes against the Hessian of the full volume."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist
from skimage.feature import hessian_matrix, hessian_matrix_eigvals

from benchmarks.images import lesions
from benchmarks.tables import Table, in_turn
from LesionSegmenterLib.instances import acls
from phantoms import as_partition

_SHAPE = (182, 218, 182)
_COUNT = 80
_SIGMA, _LEAST = 1.2, 10  # voxels; Dworkin et al., AJNR 2018, at 1 mm
_BOXES, _FULL = "ACLS on lesion boxes", "ACLS, Hessian and eigenvalues of the full volume (scikit-image)"


def run(repetitions: int) -> Table:
    probability = lesions(_SHAPE, _COUNT, confluent=True)
    mask = probability > 0.5
    timings, results = in_turn(
        {
            _BOXES: lambda: acls(probability, mask, (1.0, 1.0, 1.0)),
            _FULL: lambda: _full_volume_acls(probability, mask),
        },
        repetitions,
    )
    same = as_partition(results[_BOXES]) == as_partition(results[_FULL])
    rows = [
        (name, str(timing), timing.times_faster_than(timings[_FULL]), str(results[name].max()))
        for name, timing in timings.items()
    ]
    return Table(
        "Splitting",
        f"A probability map of {'x'.join(map(str, _SHAPE))} at 1 mm with {_COUNT} components, many of them "
        "confluent. Both find centres and nearest centres within each component's box; only the Hessian "
        "differs. Goal: at least 10x, the same lesions.",
        ("what", "time", "against the full volume", "lesions"),
        rows,
        [f"The two partitions are {'the same' if same else 'NOT the same'}, voxel by voxel."],
    )


def _full_volume_acls(probability: NDArray, mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-image's, of its coming default
        elements = hessian_matrix(probability, _SIGMA, mode="constant", use_gaussian_derivatives=False)
    peaks = (hessian_matrix_eigvals(elements)[0] < 0) & mask  # the first eigenvalue is the largest
    components, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    result = np.zeros(mask.shape, np.int32)
    for number, box in enumerate(ndimage.find_objects(components), 1):
        inside = components[box] == number
        found = _nearest_centres(inside, peaks[box] & inside)
        result[box][inside] = found + result.max()
    return result


def _nearest_centres(inside: NDArray[np.bool_], peaks: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The nearest large enough centre of each voxel inside, the larger of two that are as near."""
    labels, _ = ndimage.label(peaks)
    sizes = np.bincount(labels.ravel())[1:]
    kept = [i + 1 for i in np.argsort(-sizes, kind="stable") if sizes[i] >= _LEAST]
    points = np.argwhere(inside)
    if len(kept) < 2:
        return np.ones(len(points), np.intp)
    distances = [cdist(points, np.argwhere(labels == i)).min(axis=1) for i in kept]
    return np.argmin(np.round(distances, 9), axis=0) + 1
