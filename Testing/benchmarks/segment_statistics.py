"""The lesion table against the loop over segments that Slicer's SegmentStatistics runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import slicer.util

from benchmarks.images import lesions as lesion_probability
from benchmarks.tables import Table, in_turn
from LesionSegmenterLib.instances import label_components
from LesionSegmenterLib.lesions import LesionMap
from LesionSegmenterLib.measure import measure_lesions
from LesionSegmenterLib.scene.files import load_flair
from LesionSegmenterLib.scene.grid import flair_grid
from LesionSegmenterLib.scene.lesion_scene import LesionScene
from slicer_scene import Application

_SHAPE = (192, 220, 180)
_COUNT = 150
_OURS, _LOOP = "measure_lesions", "a loop over segments with arrayFromSegmentBinaryLabelmap"


def run(repetitions: int) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        application = Application(Path(folder))  # held, as Slicer's own lives as long as the scene
        ids = label_components(lesion_probability(_SHAPE, _COUNT, confluent=False) > 0.5)
        path = Path(folder) / "flair.nii.gz"
        nib.save(nib.Nifti1Image((100 + ids).astype(np.int16), np.eye(4)), path)
        flair = load_flair(path)
        affine = flair_grid(flair).affine
        scene = LesionScene.show(LesionMap.from_arrays(ids, affine, measure_lesions(ids, affine)), flair)
        timings, results = in_turn(
            {_OURS: lambda: _ours(ids, affine), _LOOP: lambda: _loop(scene, flair)}, repetitions
        )
        del application
    same = sorted(results[_OURS]) == sorted(results[_LOOP])
    return Table(
        "Measuring, against Slicer",
        f"Voxels of each of {ids.max()} segments in {'x'.join(map(str, _SHAPE))}: our whole table (volume, "
        "centroid, diameter) against the loop at the heart of Slicer's SegmentStatistics, counting alone.",
        ("what", "time", "against the loop"),
        [(name, str(t), t.times_faster_than(timings[_LOOP])) for name, t in timings.items()],
        [f"The two count {'the same' if same else 'NOT the same'} voxels."],
    )


def _ours(ids: np.ndarray, affine: np.ndarray) -> list[int]:
    return [record.voxels for record in measure_lesions(ids, affine)]


def _loop(scene: LesionScene, flair: object) -> list[int]:
    names = scene.node.GetSegmentation().GetSegmentIDs()
    return [
        int(np.count_nonzero(slicer.util.arrayFromSegmentBinaryLabelmap(scene.node, name, flair)))
        for name in names
    ]
