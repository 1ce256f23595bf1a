"""Lesions set against others in a patch: they touch, keep their ids, and look as they did."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from lesion_training.cases import CaseEntry, Preparation, PreparedCase, prepare_case
from lesion_training.joining import add_neighbour, lesions_to_copy
from lesion_training.patches import PatchSampler, PatchSettings
from LesionSegmenterLib.image import Volume, write_volume
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.metrics.instances import confluent_units

SHAPE = (40, 40, 40)
BRIGHT = {3: 4.0, 8: 7.0}  # by lesion id; tissue is 0


def case(shape=SHAPE, **changes) -> PreparedCase:
    """Two lesions of different brightness, class and size, far apart in even tissue; and a crumb."""
    places = np.moveaxis(np.indices(shape), 0, -1)
    ids = np.zeros(shape, np.int32)
    ids[np.linalg.norm(places - (20, 20, 20), axis=-1) < 5] = 3
    ids[np.linalg.norm(places - (8, 30, 8), axis=-1) < 3.5] = 8
    image = np.select([ids == number for number in BRIGHT], list(BRIGHT.values()), 0.0)
    ids[36:38, 36:38, 36:38] = 5  # 8 voxels
    target = np.select([ids == 3, ids == 8, ids == 5], [1, 2, 1]).astype(np.uint8)
    made = PreparedCase("c", "c", image.astype(np.float32), target, (1.0, 1.0, 1.0), 2, False, 1.0)
    return replace(made, instances=ids, **changes)


def patch_of(one: PreparedCase):
    """The whole case as a patch."""
    assert one.instances is not None
    return one.image[None].astype(np.float32), one.target.copy(), one.instances.copy()


def joined(one: PreparedCase, seed: int):
    """The case as a patch after one attempt; None where there was no room."""
    images, target, ids = patch_of(one)
    found = add_neighbour(images, target, ids, one, lesions_to_copy(one), np.random.default_rng(seed))
    return (images[0], target, ids) if found else None


def test_lesions_with_a_shape_are_copied_and_crumbs_are_not():
    lesions = lesions_to_copy(case())
    assert [lesion.number for lesion in lesions] == [3, 8]
    assert lesions[0].box == (slice(13, 28),) * 3, "with a rim"
    assert lesions_to_copy(replace(case(), instances=None)) == []


def test_a_copy_touches_a_lesion_takes_none_of_its_voxels_and_brings_class_and_brightness():
    one, sources = case(), set()
    before = patch_of(one)[2]
    for seed in range(30):
        made = joined(one, seed)
        if made is None:
            continue
        image, target, ids = made
        was = before > 0
        np.testing.assert_array_equal(ids[was], before[was])
        np.testing.assert_array_equal(image[was], one.image[was])
        copy = ids == 9
        assert np.count_nonzero(copy) > 100 and not (copy & was).any()
        assert (ndimage.binary_dilation(copy, np.ones((3, 3, 3))) & was).any(), "it touches"
        kind = set(np.unique(target[copy]))
        assert kind in ({1}, {2})
        core = ndimage.binary_erosion(copy)
        assert np.median(image[core]) == pytest.approx(BRIGHT[3 if kind == {1} else 8], rel=0.05)
        # Beyond the copy's rim nothing has changed.
        far = ndimage.distance_transform_edt(~copy) > 7
        np.testing.assert_array_equal(image[far], one.image[far])
        sources |= kind
    assert sources == {1, 2}


def test_without_tissue_to_lie_in_nothing_is_changed():
    one = case()
    one.image[one.instances == 0] = -4
    images, target, ids = patch_of(one)
    for seed in range(10):
        assert not add_neighbour(images, target, ids, one, lesions_to_copy(one), np.random.default_rng(seed))
    np.testing.assert_array_equal(images[0], one.image)
    np.testing.assert_array_equal(ids, one.instances)


def test_every_input_of_a_patch_gets_its_own_copy():
    one = case()
    one.t1 = -one.image
    images = np.stack([one.image, one.t1])
    ids = patch_of(one)[2]
    seed = next(s for s in range(30) if joined(one, s))
    add_neighbour(images, one.target.copy(), ids, one, lesions_to_copy(one), np.random.default_rng(seed))
    np.testing.assert_allclose(images[1], -images[0])
    assert (images[0] != one.image).any()


def test_a_sampler_joins_lesions_in_the_share_that_is_asked_for():
    def units(share: float) -> list[int]:
        settings = PatchSettings([32, 32, 32], lesion_share=1.0, joined_share=share)
        sampler, rng = PatchSampler([case()], settings), np.random.default_rng(0)
        return [len(confluent_units(sampler.draw(rng).ids, connectivity=26)) for _ in range(60)]

    assert not any(units(0))
    assert 0.15 < np.mean(np.array(units(0.5)) > 0) < 0.6
    assert max(units(1)) > 2, "some get more than one neighbour"


def test_a_flair_without_lesions_has_ids_of_none_for_painted_ones_to_be_added(tmp_path):
    flair = np.zeros((24, 24, 24), np.float32)
    flair[4:20, 4:20, 4:20] = np.random.default_rng(0).normal(100, 5, (16, 16, 16))
    path = tmp_path / "flair.nii.gz"
    write_volume(path, flair, Volume.from_array(flair, np.eye(4)))
    entry = CaseEntry("c", "c", "train", path, None, LesionType.MS, "d")
    prepared = prepare_case(entry, Preparation(instances=True))
    assert prepared.instances is not None and prepared.instances.shape == prepared.image.shape
    assert not prepared.instances.any()
