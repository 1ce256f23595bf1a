"""Volumes, positions, diameters and totals of lesions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import pdist

from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.measure import Totals, max_diameter, measure_lesions, scan_type, totals_by_type
from phantoms import soft_balls

MM1 = np.eye(4)


def oblique(spacing, degrees):
    """An affine turned about two axes, with a flip and an origin."""
    turn = np.deg2rad(degrees)
    c, s = np.cos(turn), np.sin(turn)
    affine = np.eye(4)
    affine[:3, :3] = [[c, -s, 0], [s, c, 0], [0, 0, 1]] @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine[:3, :3] = affine[:3, :3] @ np.diag([-spacing[0], spacing[1], spacing[2]])
    affine[:3, 3] = [90.0, -126.0, -72.0]
    return affine


def test_a_lesion_is_measured_in_mm_and_ras_by_hand():
    instances = np.zeros((10, 10, 10), np.int32)
    instances[2:4, 5, 1:4] = 7
    affine = np.array([[-2.0, 0, 0, 10], [0, 1, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1]])
    probability = np.zeros(instances.shape, np.float32)
    probability[2, 5, 1:4], probability[3, 5, 1:4] = 0.5, 1.0
    (record,) = measure_lesions(instances, affine, probability, {7: LesionType.MS}, {7: 0.9})
    assert record.lesion_id == 7 and record.voxels == 6
    assert record.volume_mm3 == pytest.approx(36)
    assert record.centroid_ras_mm == pytest.approx((10 - 2 * 2.5, -20 + 5, 5 + 3 * 2))
    assert record.max_diameter_mm == pytest.approx(np.hypot(2, 6))
    assert record.mean_probability == pytest.approx(0.75)
    assert record.type is LesionType.MS and record.type_confidence == 0.9
    assert record.status == "proposed" and record.parents == ()


def test_what_is_not_known_of_a_lesion_is_left_open():
    instances = np.ones((1, 1, 1), np.int32)
    (record,) = measure_lesions(instances, MM1)
    assert record.type is LesionType.LESION
    assert record.mean_probability is None and record.type_confidence is None


@pytest.mark.parametrize("degrees", [0, 20, 135])
def test_turning_or_flipping_the_image_changes_no_volume_and_no_diameter(degrees):
    spacing = (0.8, 1.1, 2.0)
    _, instances = soft_balls((24, 20, 12), spacing, [(6, 6, 12), (14, 14, 10)], [4, 3])
    straight = measure_lesions(instances, np.diag([*spacing, 1.0]))
    turned = measure_lesions(instances, oblique(spacing, degrees))
    assert len(straight) == 2
    for a, b in zip(straight, turned, strict=True):
        assert b.volume_mm3 == pytest.approx(a.volume_mm3)
        assert b.max_diameter_mm == pytest.approx(a.max_diameter_mm)


def test_a_sheared_affine_counts_its_determinant():
    affine = np.eye(4)
    affine[0, 1] = 0.5
    affine[2, 2] = -4.0
    (record,) = measure_lesions(np.ones((2, 2, 2), np.int32), affine)
    assert record.volume_mm3 == pytest.approx(32)


def test_lesions_come_by_ascending_id_even_with_gaps_and_large_ids():
    instances = np.zeros((4, 4, 4), np.int32)
    instances[0, 0, 0], instances[1, 1, 1], instances[3, 3, 3] = 2_000_000_000, 12, 5
    assert [r.lesion_id for r in measure_lesions(instances, MM1)] == [5, 12, 2_000_000_000]


def test_a_case_without_lesions_has_no_records():
    assert measure_lesions(np.zeros((4, 4, 4), np.int32), MM1) == []


@settings(deadline=None)
@given(
    hnp.arrays(bool, (7, 6, 5), elements=st.sampled_from([True, True, False])).filter(np.any),
    st.tuples(*[st.floats(0.3, 8)] * 3),
    st.integers(0, 90),
)
def test_the_diameter_is_the_largest_of_all_distances(mask, spacing, degrees):
    linear = oblique(spacing, degrees)[:3, :3]
    voxels = np.argwhere(mask)
    expected = pdist(voxels @ linear.T).max() if len(voxels) > 1 else 0.0
    assert max_diameter(voxels, linear) == pytest.approx(expected)


def sheet(n):
    """An oblique plane of single voxels, i == j, two voxels high."""
    mask = np.zeros((n, n, 2), bool)
    mask[np.arange(n), np.arange(n)] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (np.ones((1, 1, 1), bool), 0.0),
        (np.ones((100, 1, 1), bool), 99.0),  # a line
        (np.ones((30, 41, 1), bool), np.hypot(29, 40)),  # one slice
        (sheet(400), np.sqrt(399**2 * 2 + 1)),  # an oblique plane too large for all pairs
        (np.ones((20, 20, 20), bool), 19 * np.sqrt(3)),
    ],
)
def test_points_lines_planes_and_blocks_have_their_diameters(mask, expected):
    assert max_diameter(np.argwhere(mask), np.eye(3)) == pytest.approx(expected)


def test_a_large_ball_has_its_diameter():
    _, ball = soft_balls((43, 43, 43), (1, 1, 1), [(21, 21, 21)], [20.5])
    assert max_diameter(np.argwhere(ball), np.eye(3)) == pytest.approx(np.sqrt(41**2), abs=1)


def test_a_probability_map_on_another_grid_is_refused():
    with pytest.raises(InputError, match="differ in shape"):
        measure_lesions(np.ones((2, 2, 2), np.int32), MM1, np.ones((2, 2, 3)))


# Totals


def records(*types_and_voxels, **changes):
    """Records of blocks of so many 1 mm3 voxels each."""
    instances = np.zeros((len(types_and_voxels), 2000, 1), np.int32)
    for row, (_, voxels) in enumerate(types_and_voxels):
        instances[row, :voxels] = row + 1
    types = {row + 1: kind for row, (kind, _) in enumerate(types_and_voxels)}
    return [replace(record, **changes) for record in measure_lesions(instances, MM1, types=types)]


WMH, STROKE, MS = LesionType.WMH, LesionType.STROKE, LesionType.MS


def test_totals_count_lesions_and_millilitres_by_type():
    totals = totals_by_type(records((MS, 500), (WMH, 250), (MS, 1000)))
    assert list(totals) == [WMH, MS]
    assert totals == {WMH: Totals(1, 0.25), MS: Totals(2, 1.5)}


def test_the_type_of_a_scan_is_the_one_with_the_largest_volume_not_the_most_lesions():
    assert scan_type(records((WMH, 100), (WMH, 100), (STROKE, 300))) is STROKE


def test_equal_volumes_give_the_smaller_label_value():
    assert scan_type(records((MS, 300), (STROKE, 150), (STROKE, 150))) is STROKE


def test_a_scan_without_lesions_has_no_type_and_no_totals():
    assert scan_type([]) is None
    assert totals_by_type([]) == {}


def test_rejected_lesions_do_not_count():
    kept, rejected = records((WMH, 100)), records((MS, 900), status="rejected")
    assert totals_by_type(kept + rejected) == {WMH: Totals(1, 0.1)}
    assert scan_type(kept + rejected) is WMH
