"""The cases that splitting is measured on: lesions are joined, and each voxel's lesion is still known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from joined_masks import grown, moved
from LesionSegmenterLib.instances import label_components
from LesionSegmenterLib.metrics.instances import confluent_units
from LesionSegmenterLib.synthesis.anatomy import procedural_anatomy


def two_boxes(gap: int) -> np.ndarray:
    """Two boxes of 8 voxels a side with a gap along the first axis."""
    ids = np.zeros((24 + gap, 14, 14), np.int32)
    ids[2:10, 3:11, 3:11] = 1
    ids[10 + gap : 18 + gap, 3:11, 3:11] = 2
    return ids


def test_lesions_a_few_mm_apart_grow_together_and_each_new_voxel_goes_to_the_nearer():
    ids = two_boxes(4)
    joined = grown(ids, (1.0, 1.0, 1.0))
    assert label_components(joined > 0, 6).max() == 1 and confluent_units(joined) == [1, 2]
    np.testing.assert_array_equal(joined[ids > 0], ids[ids > 0])
    assert (joined[10:12, 7, 7] == 1).all() and (joined[12:14, 7, 7] == 2).all()
    assert (joined[:2] == 0).all(), "nothing grows outwards"


def test_lesions_far_apart_in_mm_stay_apart():
    assert label_components(grown(two_boxes(8), (1.0, 1.0, 1.0)) > 0).max() == 2
    assert label_components(grown(two_boxes(4), (3.0, 1.0, 1.0)) > 0).max() == 2


def test_other_lesions_are_moved_against_the_first_and_take_none_of_their_voxels():
    anatomy = procedural_anatomy()
    everywhere = replace(anatomy, white=np.ones_like(anatomy.white), gray=np.zeros_like(anatomy.gray))
    ids = np.zeros(anatomy.brain.shape, np.int32)
    for number in range(1, 9):
        ids[20 * number - 10 : 20 * number - 4, 60:66, 60:66] = number
    result = moved(ids, [np.ones((4, 5, 6), bool)], everywhere, np.random.default_rng(0))
    np.testing.assert_array_equal(result[ids > 0], ids[ids > 0])
    added = set(np.unique(result)) - set(range(9))
    assert len(added) >= 4
    assert added <= set(confluent_units(result, connectivity=26))
