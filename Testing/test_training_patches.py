"""Patches: where they are drawn, and what augmentation does to images, classes and lesion ids."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from lesion_training.batches import Batch, PatchBatches, SliceBatches, prefetched
from lesion_training.cases import DOUBTFUL, IGNORE, PreparedCase
from lesion_training.distributed import Processes
from lesion_training.instance_targets import InstanceTarget
from lesion_training.patches import AIR, PatchSampler, PatchSettings
from lesion_training.recipe import (
    NetworkSettings,
    OptimisationSettings,
    Recipe,
    StageSettings,
    WeightSettings,
)
from lesion_training.sampling import SamplingSettings
from lesion_training.transforms import (
    Affine,
    Bias,
    Blur,
    Contrast,
    Elastic,
    Flip,
    Gamma,
    Ghosting,
    Gibbs,
    LowResolution,
    Motion,
    Noise,
    Transforms,
    TransformSettings,
)
from small_data import CLASSES, NETWORK, bright_case


def case(seed: int = 0, shape=(40, 36, 20), **changes) -> PreparedCase:
    """Noise with lesions of two classes and their ids, off the middle."""
    image = np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)
    target, ids = np.zeros(shape, np.uint8), np.zeros(shape, np.int32)
    target[6:12, 20:26, 12:16], target[28:31, 8:11, 3:5] = 1, 2
    ids[6:9, 20:26, 12:16], ids[9:12, 20:26, 12:16], ids[28:31, 8:11, 3:5] = 7, 100_000, 3
    image[target > 0] += 4
    made = PreparedCase(f"c{seed}", f"c{seed}", image, target, (1.0, 1.0, 5.0), 2, False, 1.0)
    return replace(made, instances=ids, **changes)


def draws(sampler: PatchSampler, count: int = 60):
    rng = np.random.default_rng(0)
    return [sampler.draw(rng) for _ in range(count)]


# Sampling


def test_whole_slices_are_cut_or_padded_about_their_middle():
    one = case()
    for patch in draws(PatchSampler([one], PatchSettings([48, 24], "middle")), 20):
        assert patch.image.shape == (1, 48, 24, 1) and patch.target.shape == (48, 24, 1)
        assert patch.spacing == (1.0, 1.0, 5.0)
        inside = patch.image[0, 4:44, :, 0]
        assert (patch.image[0, :4] == AIR).all() and (patch.image[0, 44:] == AIR).all()
        assert any(np.array_equal(inside, one.image[:, 6:30, k]) for k in range(20))


def test_slices_run_across_the_axis_on_which_the_image_was_acquired():
    turned = case(slice_axis=0, spacing=(5.0, 1.0, 1.0))
    patch = draws(PatchSampler([turned], PatchSettings([36, 20], "middle")), 1)[0]
    assert any(np.array_equal(patch.image[0, :, :, 0], turned.image[i]) for i in range(40))


def test_random_patches_lie_inside_and_reach_every_side():
    for axis, size in enumerate((40, 36, 20)):
        place = np.arange(size, dtype=np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        one = case(image=np.broadcast_to(place, (40, 36, 20)))
        patches = draws(PatchSampler([one], PatchSettings([16, 16, 16], "random")), 150)
        lowest, highest = {patch.image.min() for patch in patches}, {patch.image.max() for patch in patches}
        assert lowest == set(range(size - 15)) and highest == set(range(15, size)), "every place, and no air"


def test_a_share_of_the_random_patches_holds_a_lesion_anywhere_in_it():
    sampler = PatchSampler([case()], PatchSettings([12, 12, 12], "random", lesion_share=1.0))
    patches = draws(sampler, 300)
    assert all((patch.target > 0).any() for patch in patches)
    middles = np.array([ndimage.center_of_mass(patch.target > 0) for patch in patches])
    assert middles.min() < 3 and middles.max() > 8 and abs(middles.mean() - 5.5) < 1


def test_voxel_patches_are_shifted_by_up_to_half_a_patch_and_drawn_by_the_shares_of_their_classes():
    shares = {"1": 0.25, "2": 1.0}
    sampler = PatchSampler([case()], PatchSettings([16, 16], "voxel", voxel_shares=shares))
    # 36 * 4 voxels of class 1 and 9 * 2 of class 2.
    assert len(sampler) == 36 + 18
    patches = draws(sampler, 600)
    assert all((patch.target > 0).any() for patch in patches)
    second = np.mean([(patch.target == 2).any() for patch in patches])
    assert second == pytest.approx(18 / 54, abs=0.06)
    middles = np.array(
        [ndimage.center_of_mass(p.target[:, :, 0] == 2) for p in patches if (p.target == 2).any()]
    )
    assert middles.min() < 2 and middles.max() > 13


def test_the_subset_of_voxels_follows_from_the_seed():
    settings = PatchSettings([16, 16], "voxel", voxel_shares={"1": 0.25})
    one, again, other = (PatchSampler([case()], settings, seed).voxels[0] for seed in (1, 1, 2))
    assert np.array_equal(one, again) and not np.array_equal(np.sort(one), np.sort(other))


def test_data_sets_are_drawn_alike_however_many_cases_each_has():
    cases = [case(n, dataset="many", image=np.full((40, 36, 20), n, np.float32)) for n in range(9)]
    cases.append(case(9, dataset="one", image=np.full((40, 36, 20), 9, np.float32)))
    for balance, share in (("weight", 0.1), ("dataset", 0.5)):
        sampler = PatchSampler(cases, PatchSettings([8, 8], "middle", balance=balance))  # type: ignore[arg-type]
        assert np.mean([p.image.max() == 9 for p in draws(sampler, 500)]) == pytest.approx(share, abs=0.07)


def test_cases_without_weight_are_never_drawn_and_a_t1_is_a_second_channel():
    one, none = case(0), case(1, weight=0.0)
    one.t1 = one.image * 2
    for patch in draws(PatchSampler([none, one], PatchSettings([16, 16], "random")), 20):
        np.testing.assert_array_equal(patch.image[1], patch.image[0] * 2)


# Transforms

ALL = TransformSettings(
    flip=Flip(1.0, [0, 1]), affine=Affine(1.0, 15, (0.9, 1.1), 10), elastic=Elastic(1.0, 3),
    low_resolution=LowResolution(1.0, (1.5, 2)), blur=Blur(1.0, (0.5, 1)), bias=Bias(1.0, 0.3),
    gamma=Gamma(1.0, 0.2), contrast=Contrast(1.0, (0.7, 1.4), 0.1), gibbs=Gibbs(1.0, (0.2, 0.5)),
    motion=Motion(1.0, 3, 2), ghosting=Ghosting(1.0, (0.1, 0.3)), noise=Noise(1.0, (0.01, 0.05)),
)  # fmt: skip
SPATIAL = ("flip", "affine", "elastic")


def patch_of(size: list[int]):
    sampler = PatchSampler([case()], PatchSettings(size, "random", lesion_share=1.0))
    return sampler.draw(np.random.default_rng(4))


@pytest.mark.parametrize("size", [[32, 32], [24, 24, 16]], ids=["slice", "volume"])
@pytest.mark.parametrize("name", [item.name for item in fields(TransformSettings)])
def test_each_transform_changes_the_image_by_its_seed_and_keeps_classes_and_ids_whole(name, size):
    patch = patch_of(size)
    assert patch.ids is not None
    transforms = Transforms(replace(TransformSettings(), **{name: getattr(ALL, name)}), flat=len(size) == 2)
    changed, again = transforms(patch, 1), transforms(patch, 1)
    assert changed.ids is not None
    np.testing.assert_array_equal(changed.image, again.image)
    np.testing.assert_array_equal(changed.ids, again.ids)
    assert changed.image.shape == patch.image.shape and changed.image.dtype == np.float32
    assert not np.array_equal(changed.image, patch.image) and changed.image.min() >= AIR
    # No id and no class comes from between two others; where there is an id there is its class.
    assert set(np.unique(changed.ids)) <= set(np.unique(patch.ids))
    for value in np.unique(changed.ids)[1:]:
        assert set(changed.target[changed.ids == value]) == set(patch.target[patch.ids == value])
    if name not in SPATIAL:
        np.testing.assert_array_equal(changed.target, patch.target)
        np.testing.assert_array_equal(changed.ids, patch.ids)


@pytest.mark.parametrize("name", SPATIAL)
def test_spatial_transforms_move_image_and_ids_alike(name):
    patch = patch_of([32, 32])
    lesion = np.zeros((32, 32, 1), bool)
    lesion[8:20, 14:24] = True
    image = np.where(lesion, 4, 0).astype(np.float32)[None]
    clean = patch._replace(image=image, target=lesion.astype(np.uint8))
    moved = Transforms(replace(TransformSettings(), **{name: getattr(ALL, name)}), flat=True)(clean, 3)
    found, marked = moved.image[0] > 2, moved.target > 0
    assert not np.array_equal(marked, lesion)
    assert 2 * (found & marked).sum() / (found.sum() + marked.sum()) > 0.85


def test_tissue_stays_where_normalisation_put_it_and_air_stays_air():
    flat = patch_of([32, 32])
    image = np.zeros_like(flat.image)
    image[:, :8] = AIR
    changed = Transforms(TransformSettings(gamma=Gamma(1.0, 0.5)), flat=True)(flat._replace(image=image), 1)
    np.testing.assert_allclose(changed.image, image, atol=1e-5)


def test_contrast_stretches_brightness_about_normal_tissue_and_leaves_air():
    flat = patch_of([32, 32])
    image = np.linspace(-1, 4, flat.image.size, dtype=np.float32).reshape(flat.image.shape)
    image[:, :8] = AIR
    settings = TransformSettings(contrast=Contrast(1.0, (1.3, 1.3), 0.0))
    changed = Transforms(settings, flat=True)(flat._replace(image=image), 1)
    np.testing.assert_allclose(changed.image, np.where(image == AIR, AIR, 1.3 * image), atol=1e-5)
    shifted = Transforms(TransformSettings(contrast=Contrast(1.0, (1, 1), 0.1)), flat=True)
    by = [
        float((shifted(flat._replace(image=image), seed).image - image)[:, 8:].mean()) for seed in range(40)
    ]
    assert -0.4 <= min(by) < -0.2 and 0.2 < max(by) <= 0.4  # a tenth of the tissue's brightness, which is 4


def test_the_shares_are_kept_and_other_draws_are_left_as_they_are():
    patch = patch_of([16, 16])
    transforms = Transforms(TransformSettings(gibbs=Gibbs(0.3, (0.4, 0.5)), noise=None), flat=True)
    changed = [not np.allclose(transforms(patch, seed).image, patch.image, atol=1e-4) for seed in range(150)]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.1)


def test_augmentation_leaves_torchs_own_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Transforms(TransformSettings(noise=Noise(1.0, (0.1, 0.2))), flat=True)(patch_of([16, 16]), 1)
    assert torch.equal(torch.rand(3), expected)


# Batches

PATCHES = Recipe(
    "a test",
    OptimisationSettings(steps=4, batch=6),
    NetworkSettings("deepwml", {"widths": [4, 8]}),
    classes=CLASSES,
    patches=PatchSettings([16, 16], "random"),
    transforms=TransformSettings(noise=Noise(0.5, (0.01, 0.1))),
)


def test_several_processes_draw_together_what_one_draws_alone():
    whole = PatchBatches(PATCHES, [case(0), case(1)], 3, Processes())[2]
    parts = [PatchBatches(PATCHES, [case(0), case(1)], 3, Processes(rank, 3))[2] for rank in range(3)]
    for rank, part in enumerate(parts):
        assert torch.equal(part.images, whole.images[rank::3])
        assert isinstance(part.target, torch.Tensor) and isinstance(whole.target, torch.Tensor)
        assert torch.equal(part.target, whole.target[rank::3])


def test_batches_made_ahead_are_those_made_in_turn():
    source = PatchBatches(PATCHES, [case(0), case(1)], 3, Processes())
    ahead = list(prefetched(source, range(1, 4), 1))
    for step, batch in zip(range(1, 4), ahead, strict=True):
        assert torch.equal(batch.images, source[step].images)


def test_doubtful_and_ignored_voxels_are_background_of_less_or_no_weight():
    one = case()
    one.target[:, :, :] = np.tile(np.array([0, 1, DOUBTFUL, IGNORE], np.uint8), 9)[None, :, None]
    batch = PatchBatches(replace(PATCHES, weights=WeightSettings(doubtful=0.3)), [one], 0, Processes())[0]
    assert isinstance(batch.target, torch.Tensor)
    assert set(batch.target.unique().tolist()) <= {0, 1}
    np.testing.assert_allclose(batch.weights.unique(), [0, 0.3, 1], rtol=1e-6)
    assert (batch.weights[batch.target == 1] == 1).all() and (batch.weights == 0).any()


def test_instance_batches_carry_heat_and_offsets_of_the_augmented_ids():
    recipe = replace(PATCHES, patches=PatchSettings([16, 16, 16], lesion_share=1.0), instances=True)
    recipe = replace(recipe, transforms=TransformSettings(flip=Flip(1.0, [0])))
    batch = PatchBatches(recipe, [case()], 0, Processes())[0]
    assert isinstance(batch.target, InstanceTarget)
    assert batch.images.shape == (6, 1, 16, 16, 16) and batch.target.offsets.shape == (6, 3, 16, 16, 16)
    places = torch.stack(torch.meshgrid(*[torch.arange(16.0)] * 3, indexing="ij"))
    centres = (places + batch.target.offsets)[:, :, :].permute(0, 2, 3, 4, 1)[batch.target.classes > 0]
    # Every lesion voxel points to a voxel where the heat is near its peak.
    at = centres.round().long().clamp(0, 15)
    items = torch.nonzero(batch.target.classes > 0)[:, 0]
    assert (batch.target.heat[items, at[:, 0], at[:, 1], at[:, 2]] > 0.8).all()


def test_what_a_case_does_not_mark_goes_with_its_item():
    cases = [case(0, unmarked=(2,)), case(1)]
    batch = PatchBatches(PATCHES, cases, 0, Processes())[0]
    assert batch.unmarked is not None and batch.unmarked.shape == (6, 3)
    assert set(map(tuple, batch.unmarked.tolist())) == {(False, False, True), (False, False, False)}


def test_a_batch_in_parts_is_the_batch():
    batch = PatchBatches(PATCHES, [case(0, unmarked=(2,))], 0, Processes())[0]
    parts = list(batch.parts(3))
    assert [len(part.images) for part in parts] == [2, 2, 2]
    assert torch.equal(torch.cat([part.weights for part in parts]), batch.weights)
    assert parts[0].unmarked is not None and isinstance(batch, Batch)


# The shipped recipe's draws


def test_the_shipped_recipe_draws_what_it_drew_when_its_model_was_trained():
    """Sums of one batch's images and the places of its targets, as they were at uresnet-flair's training."""
    recipe = Recipe(
        "a test",
        OptimisationSettings(steps=6, batch=4),
        NetworkSettings(**NETWORK),
        classes=CLASSES,
        sampling=SamplingSettings(crop=48, size=32),
        weights=WeightSettings(largest=1.5),
        stages=[StageSettings(4, 1e-3, 1, 0, 0)],
    )
    source = SliceBatches(recipe, [bright_case(0), bright_case(1)], 1, Processes())
    batch = source[5]
    assert isinstance(batch.target, torch.Tensor)
    sums = batch.images.sum((1, 2, 3)).tolist(), batch.weights.sum((1, 2)).tolist()
    places = [int((target * torch.arange(1, 1025).view(32, 32)).sum()) for target in batch.target]
    assert sums[0] == pytest.approx([-3076.853, 2251.63, 2107.157, -1750.442], rel=1e-3)
    assert sums[1] == pytest.approx([1040.65259, 1031.0, 1024.0, 1024.0], rel=1e-5)
    assert places == [45989, 86058, 100466, 0]
