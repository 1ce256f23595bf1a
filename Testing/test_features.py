"""Per-lesion features: known shapes, and independence of how the image is stored."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.features import FEATURE_NAMES, brain_box, lesion_features

ORIENTATIONS = [
    (axes, flips)
    for axes in itertools.permutations(range(3))
    for flips in itertools.product((1, -1), repeat=3)
]


def feature(features: np.ndarray, name: str) -> np.ndarray:
    return features[:, FEATURE_NAMES.index(name)]


def lengths(features: np.ndarray) -> np.ndarray:
    return features[:, -3:]


def angles(features: np.ndarray) -> np.ndarray:
    return features[:, 5:8]


def ellipsoid(half_axes_mm, spacing, rotation=None, shape_mm=(60, 60, 60)) -> tuple[np.ndarray, np.ndarray]:
    """An ellipsoid at the centre of a box and the box's affine, whose world origin is that centre."""
    shape = [round(s / v) for s, v in zip(shape_mm, spacing, strict=True)]
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-(n - 1) / 2 * v for n, v in zip(shape, spacing, strict=True)]
    world = np.moveaxis(np.indices(shape), 0, -1) * spacing + affine[:3, 3]
    turned = world if rotation is None else world @ rotation.as_matrix()
    return ((turned / half_axes_mm) ** 2).sum(axis=-1) <= 1, affine


def stored_as(array: np.ndarray, affine: np.ndarray, axes, flips) -> tuple[np.ndarray, np.ndarray]:
    """The same image with its axes permuted and flipped."""
    to_old = np.zeros((4, 4))
    to_old[3, 3] = 1
    for new, old in enumerate(axes):
        to_old[old, new] = flips[new]
        to_old[old, 3] = 0 if flips[new] > 0 else array.shape[old] - 1
    return np.transpose(array, axes)[tuple(slice(None, None, f) for f in flips)], affine @ to_old


def head_with_lesions(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    instances = np.zeros((14, 12, 9), dtype=np.int32)
    for lesion_id in (2, 5, 9):
        low = rng.integers(1, 6, 3)
        high = low + rng.integers(1, 4, 3)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        instances[box][rng.random(instances[box].shape) < 0.8] = lesion_id
    brain = np.zeros(instances.shape, dtype=bool)
    brain[1:-1, 2:-1, 1:-2] = True
    affine = np.eye(4)
    tilt = Rotation.from_euler("xyz", rng.uniform(-15, 15, 3), degrees=True).as_matrix()
    affine[:3, :3] = tilt @ np.diag([0.45, 0.45, 8.0])
    affine[:3, 3] = rng.uniform(-90, 90, 3)
    return instances, affine, brain


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_every_storage_orientation_gives_the_same_features(axes, flips, seed):
    instances, affine, brain = head_with_lesions(seed)
    expected_ids, expected = lesion_features(instances, affine, brain)
    stored, stored_affine = stored_as(instances, affine, axes, flips)
    ids, features = lesion_features(stored, stored_affine, stored_as(brain, affine, axes, flips)[0])
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_allclose(features, expected, rtol=1e-9, atol=1e-9)


def test_a_ball_has_the_volume_area_and_lengths_of_a_ball():
    mask, affine = ellipsoid((10, 10, 10), (0.5, 0.5, 0.5), shape_mm=(24, 24, 24))
    _, features = lesion_features(mask.astype(int), affine, np.ones_like(mask))
    assert feature(features, "volume_mm3")[0] == pytest.approx(4 / 3 * np.pi * 10**3, rel=0.01)
    # A marching-cubes surface of a binary mask runs a little over the smooth one, voxel faces by half.
    assert feature(features, "surface_area_mm2")[0] == pytest.approx(4 * np.pi * 10**2, rel=0.1)
    np.testing.assert_allclose(lengths(features)[0], 20, rtol=0.01)
    np.testing.assert_array_equal(angles(features)[0], 0)


def test_lengths_and_centroid_hold_on_a_thick_sliced_grid():
    mask, affine = ellipsoid((9, 16, 12), (0.45, 0.45, 6.0))
    _, features = lesion_features(mask.astype(int), affine, np.ones_like(mask))
    # Lengths along A, S and R; slices of 6 mm blur the one along S.
    np.testing.assert_allclose(lengths(features)[0], [32, 24, 18], rtol=0.12)
    np.testing.assert_allclose(features[0, 2:5], 0.5, atol=0.01)


def test_euler_angles_are_those_of_the_lesions_own_rotation():
    turn = Rotation.from_euler("ZYX", [0.4, -0.3, 0.2])
    mask, affine = ellipsoid((20, 12, 6), (1, 1, 1), turn)
    _, features = lesion_features(mask.astype(int), affine, np.ones_like(mask))
    np.testing.assert_allclose(angles(features)[0], [0.4, -0.3, 0.2], atol=0.03)


@pytest.mark.parametrize("long_axis", [0, 1, 2])
def test_principal_axes_are_right_handed_whatever_the_long_axis(long_axis):
    half_axes = np.roll([12, 8, 5], long_axis)
    mask, affine = ellipsoid(half_axes, (1, 1, 1), shape_mm=(30, 30, 30))
    _, features = lesion_features(mask.astype(int), affine, np.ones_like(mask))
    frame = Rotation.from_euler("ZYX", angles(features)[0]).as_matrix()
    # The frame the angles describe has the long axis first and the second longest second, both positive.
    order = np.argsort(-half_axes)
    np.testing.assert_allclose(frame[:, 0], np.eye(3)[order[0]], atol=1e-6)
    np.testing.assert_allclose(frame[:, 1], np.eye(3)[order[1]], atol=1e-6)


def test_one_voxel_has_defined_features():
    instances = np.zeros((5, 5, 5), dtype=np.int32)
    instances[2, 2, 2] = 7
    ids, features = lesion_features(instances, np.diag([1, 1, 3, 1]), np.ones((5, 5, 5)))
    assert ids.tolist() == [7]
    assert feature(features, "volume_mm3")[0] == pytest.approx(3)
    assert feature(features, "surface_area_mm2")[0] > 0
    np.testing.assert_array_equal(angles(features)[0], 0)
    # A box of side a has variance a^2 / 12 along it: 2 sqrt(5 / 12) a.
    np.testing.assert_allclose(lengths(features)[0], 2 * np.sqrt(5 / 12) * np.array([3, 1, 1]))


def test_the_brain_box_spans_the_voxels_to_their_edges():
    brain = np.zeros((10, 10, 10), dtype=bool)
    brain[2:5, 3:9, 4] = True
    affine = np.diag([-2.0, 1.0, 5.0, 1.0])
    affine[:3, 3] = [10, 0, -5]
    np.testing.assert_allclose(brain_box(brain, affine), [[1, 2.5, 12.5], [7, 8.5, 17.5]])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_the_oblique_brain_box_holds_every_voxel_centre_tightly(seed):
    rng = np.random.default_rng(seed)
    brain = rng.random((5, 6, 4)) < 0.2
    brain[2, 2, 2] = True
    affine = np.eye(4)
    affine[:3, :3] = Rotation.random(rng=rng).as_matrix() @ np.diag(rng.uniform(0.5, 6, 3))
    world = np.argwhere(brain) @ affine[:3, :3].T
    half = np.abs(affine[:3, :3]).sum(axis=1) / 2
    np.testing.assert_allclose(
        brain_box(brain, affine), [world.min(axis=0) - half, world.max(axis=0) + half], atol=1e-9
    )


def test_no_lesions_give_no_rows():
    ids, features = lesion_features(np.zeros((4, 4, 4), dtype=np.int32), np.eye(4), np.ones((4, 4, 4)))
    assert ids.shape == (0,)
    assert features.shape == (0, 11)


@pytest.mark.parametrize(
    ("affine", "brain"),
    [
        (np.diag([1, 1, 0, 1]), np.ones((4, 4, 4))),
        (np.eye(4), np.zeros((4, 4, 4))),
        (np.eye(4), np.ones((4, 4, 5))),
    ],
)
def test_unusable_geometry_is_refused(affine, brain):
    with pytest.raises(InputError):
        lesion_features(np.ones((4, 4, 4), dtype=np.int32), affine, brain)
