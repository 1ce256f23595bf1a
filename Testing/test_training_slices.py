"""The slices that a network is trained on: how they are drawn and how they are augmented."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from lesion_training.augmentation import Augmentation, AugmentationSettings
from lesion_training.cases import PreparedCase
from lesion_training.sampling import SamplingSettings, SliceSampler
from LesionSegmenterLib.engine.device import Device
from LesionSegmenterLib.engine.prediction import predict
from LesionSegmenterLib.engine.preprocessing import WorkingGrid
from small_data import STROKE, WHITE_MATTER_LESION

# Sampling


def numbered_case(spacing: tuple[float, float, float], shape=(30, 26, 22), **changes) -> PreparedCase:
    """A case whose voxels all differ, with a lesion and a stroke off the middle."""
    image = np.random.default_rng(0).uniform(-2, 3, shape).astype(np.float32)
    target = np.zeros(shape, np.uint8)
    target[18:23, 5:9, 12:16], target[4:8, 15:19, 5:8] = WHITE_MATTER_LESION, STROKE
    return replace(PreparedCase("n", "n", image, target, spacing, 2, False, 1.0), **changes)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 6.5)])
def test_crops_have_the_stated_shape_and_neighbours_as_channels(spacing):
    sampler = SliceSampler([numbered_case(spacing)], SamplingSettings(crop=48))
    for seed in range(20):
        image, target = sampler.draw(np.random.default_rng(seed))
        assert image.shape == target.shape == (3, 48, 48)
        assert (image.dtype, target.dtype) == (np.float32, np.uint8)
        assert (image[:, 0, 0] == -4).all() and (target[:, 0, 0] == 0).all(), "air beyond the edge"


def test_the_same_stream_draws_the_same_crops():
    sampler = SliceSampler([numbered_case((1, 1, 1))], SamplingSettings())
    first, again = (sampler.draw(np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])


def test_draws_that_want_a_lesion_have_one_in_their_middle_slice():
    always = SamplingSettings(lesion_share=1.0, thick_share=0.0)
    sampler = SliceSampler([numbered_case((1, 1, 1)), numbered_case((1, 1, 5))], always)
    rng = np.random.default_rng(0)
    assert all((sampler.draw(rng)[1][1] > 0).any() for _ in range(60))


def test_a_wide_images_lesion_is_in_the_crop_that_is_centred_near_it():
    target = np.zeros((400, 400, 3), np.uint8)
    target[330:334, 300:304] = STROKE
    case = numbered_case((1, 1, 5), (400, 400, 3), target=target)
    sampler = SliceSampler([case], SamplingSettings(lesion_share=1.0))
    rng = np.random.default_rng(0)
    assert all((sampler.draw(rng)[1][1] == STROKE).any() for _ in range(40))


def test_a_case_without_a_lesion_is_drawn_too():
    case = numbered_case((1, 1, 5), target=np.zeros((30, 26, 22), np.uint8))
    image, target = SliceSampler([case], SamplingSettings(crop=48)).draw(np.random.default_rng(0))
    assert not target.any() and (image > -4).any()


def test_cases_are_drawn_by_their_weights_and_slices_by_the_root_of_their_lesion_area():
    flat = np.ones((20, 20, 9), np.float32)
    target = np.zeros(flat.shape, np.uint8)
    target[5:7, 5:7, 2], target[3:15, 3:15, 6] = 1, 1  # 4 and 144 pixels: drawn 2 to 12
    cases = [
        numbered_case((1, 1, 5), image=flat * number, target=target, weight=weight)
        for number, weight in ((1, 1.0), (2, 6.0), (3, 3.0))
    ]
    sampler = SliceSampler(cases, SamplingSettings(lesion_share=1.0, crop=40))
    rng = np.random.default_rng(0)
    draws = [sampler.draw(rng) for _ in range(1500)]
    numbers = np.array([image.max() for image, _ in draws])
    shares = [(numbers == n).mean() for n in (1, 2, 3)]
    np.testing.assert_allclose(shares, (0.1, 0.6, 0.3), atol=0.04)
    areas = np.array([(labels[1] > 0).sum() for _, labels in draws])
    assert set(areas) == {4, 144}
    assert (areas == 144).mean() == pytest.approx(12 / 14, abs=0.04)


@pytest.mark.parametrize(("thick", "index"), [(2, 10), (3, 10), (5, 11), (4, 0)])
def test_a_thick_slice_is_the_mean_of_its_slices_and_lesion_where_it_fills_nearly_half(thick, index):
    case = numbered_case((1, 1, 1))
    stack, targets = SliceSampler([case], SamplingSettings())._stack(case, 2, index, thick, thick)
    for channel, middle in enumerate((index - thick, index, index + thick)):
        first = middle - thick // 2
        rows = [min(max(k, 0), 21) for k in range(first, first + thick)]
        np.testing.assert_allclose(stack[channel], case.image[:, :, rows].mean(2), atol=1e-6)
        fraction = (case.target[:, :, rows] == WHITE_MATTER_LESION).mean(2)
        np.testing.assert_array_equal(targets[channel] == WHITE_MATTER_LESION, fraction > 0.45)
        partly = ((case.target[:, :, rows] > 0).mean(2) > 0.25) & (targets[channel] == 0)
        assert not partly.any(), "a lesion that fills a quarter is not background"


class Recorder(torch.nn.Module):
    """A network that keeps the inputs it is given."""

    divisor = 1

    def __init__(self):
        super().__init__()
        self.seen: list[np.ndarray] = []

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.seen += list(batch.numpy().copy())
        return torch.zeros(len(batch), 3, *batch.shape[2:])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 6.5), (1.0, 1.0, 1.3), (1.0, 1.0, 2.0)])
def test_what_the_network_sees_in_training_is_what_it_sees_in_prediction(spacing):
    from types import SimpleNamespace

    from LesionSegmenterLib.engine.model import Preprocessing

    case = numbered_case(spacing)
    shape = case.image.shape
    grid = WorkingGrid(shape, tuple((0, n) for n in shape), shape, spacing, case.slice_axis)
    model = SimpleNamespace(
        network=Recorder(),
        device=Device("cpu", "fp32"),
        is_2d=True,
        gives_instances=False,
        in_volumes=None,
        divisor=1,
        preprocessing=Preprocessing("deep-median-mad", context_slices=1, planes="all"),
    )
    predict(model, [case.image], grid, lambda *_: None)  # type: ignore[arg-type]
    sampler = SliceSampler([case], SamplingSettings())
    axes = (0, 1, 2) if case.isotropic else (case.slice_axis,)
    trained = []
    for axis in axes:
        step = max(1, round(2.0 / spacing[axis]))  # as `draw` has it
        trained += [sampler._stack(case, axis, index, 1, step)[0] for index in range(shape[axis])]
    assert len(trained) == len(model.network.seen)
    for one, other in zip(trained, model.network.seen, strict=True):
        np.testing.assert_array_equal(one, other)


def test_draws_have_the_neighbours_that_prediction_gives_a_slice():
    # A volume whose value is its slice number: the three channels show which slices were taken.
    image = np.broadcast_to(np.arange(22, dtype=np.float32) / 4, (30, 26, 22)).copy()
    for spacing, step in (((1, 1, 1), 2), ((1, 1, 1.4), 1), ((1, 1, 5), 1)):
        case = numbered_case(spacing, image=image)
        sampler = SliceSampler([case], SamplingSettings(crop=40, axial_share=1.0, thick_share=0.0))
        for seed in range(20):
            below, middle, above = sampler.draw(np.random.default_rng(seed))[0].max(axis=(1, 2)) * 4
            assert (below, above) == (max(middle - step, 0), min(middle + step, 21))


# Augmentation

PLAIN = AugmentationSettings(
    rotation_degrees=0, scale=(1, 1), flip_share=0, gain=(1, 1), shift=(0, 0), gamma_share=0, tone_share=0,
    bias_share=0, noise_share=0, blur_share=0, lesion_share=0, alone_share=0, air_share=0,
)  # fmt: skip


def augmentation(settings: AugmentationSettings, seed: int = 0, size: int = 32) -> Augmentation:
    return Augmentation(settings, size, torch.Generator().manual_seed(seed))


def some_slices(count: int = 4, side: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(9)
    image = torch.randn(count, 3, side, side, generator=generator).clamp(-4, 10)
    target = torch.zeros(count, 3, side, side, dtype=torch.uint8)
    target[:, :, 14:22, 16:24], target[:, :, 30:34, 20:30], target[:, :, 25:28, 25:28] = 1, 2, 255
    return image, target


def test_without_its_parts_augmentation_cuts_the_middle_out():
    image, target = some_slices()
    out, labels = augmentation(PLAIN)(image, target)
    torch.testing.assert_close(out, image[:, :, 8:40, 8:40], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(labels, target[:, 1, 8:40, 8:40].long())


def test_the_same_generator_augments_alike_and_another_one_differently():
    first, again, other = (augmentation(AugmentationSettings(), seed)(*some_slices()) for seed in (1, 1, 2))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_augmentation_does_not_change_what_it_is_given():
    image, target = some_slices()
    before = image.clone(), target.clone()
    augmentation(AugmentationSettings())(image, target)
    assert torch.equal(image, before[0]) and torch.equal(target, before[1])


def test_nothing_leaves_the_range_of_preprocessing_and_targets_keep_their_values():
    for seed in range(10):
        image, target = some_slices()
        image[0], image[1] = -4, 10
        out, labels = augmentation(AugmentationSettings(noise=3, gain=(0.5, 3)), seed)(image, target)
        assert out.shape == (4, 3, 32, 32) and labels.shape == (4, 32, 32)
        assert torch.isfinite(out).all()
        assert out.min() >= -4 and out.max() <= 10
        assert set(labels.unique().tolist()) <= {0, 1, 2, 255}


def test_image_and_target_are_moved_alike():
    image, target = torch.full((64, 3, 48, 48), -1.0), torch.zeros(64, 3, 48, 48, dtype=torch.uint8)
    image[:, :, 17:23, 26:32], target[:, :, 17:23, 26:32] = 5, 1
    settings = replace(PLAIN, rotation_degrees=20, scale=(0.8, 1.25), flip_share=0.5)
    out, labels = augmentation(settings)(image, target)
    places = []
    for picture, marked in zip(out[:, 1].numpy() + 1, labels.numpy(), strict=True):
        moved = np.array(ndimage.center_of_mass(picture))
        np.testing.assert_allclose(moved, ndimage.center_of_mass(marked), atol=0.6)
        places.append(np.round(moved))
    assert len(np.unique(places, axis=0)) > 10, "they move to many places"


def warps(settings: AugmentationSettings) -> np.ndarray:
    """The linear parts (n, 2, 2) of many warps, read off images that hold their own coordinates."""
    axis = torch.arange(64.0)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).expand(200, 2, 64, 64)
    out, _ = augmentation(settings)._warp(grid, torch.zeros(200, 2, 64, 64, dtype=torch.uint8))
    steps = torch.stack([out[:, :, 17, 16] - out[:, :, 16, 16], out[:, :, 16, 17] - out[:, :, 16, 16]], 2)
    return steps.numpy()


def test_turns_and_sizes_stay_in_their_ranges():
    linear = warps(replace(PLAIN, rotation_degrees=20, scale=(0.8, 1.25)))
    sizes = 1 / np.sqrt(np.linalg.det(linear))
    assert 0.8 - 1e-3 <= sizes.min() < 0.85 and 1.2 < sizes.max() <= 1.25 + 1e-3
    turns = np.degrees(np.arctan2(linear[:, 1, 0], linear[:, 0, 0]))
    assert -20.01 <= turns.min() < -17 and 17 < turns.max() <= 20.01


def test_turned_and_flipped_slices_keep_their_shape():
    linear = warps(replace(PLAIN, rotation_degrees=20, flip_share=0.5))
    np.testing.assert_allclose(np.swapaxes(linear, 1, 2) @ linear, np.tile(np.eye(2), (200, 1, 1)), atol=1e-3)


def test_lesion_brightness_changes_lesions_and_their_rim_alone():
    image, target = some_slices()
    image = image.abs() + 0.1
    settings = replace(PLAIN, lesion_share=1.0, lesion_gain=(1.5, 1.5))
    out = augmentation(settings)._lesion_brightness(image, target)
    lesion = ((target == 1) | (target == 2)).numpy()
    near = ndimage.binary_dilation(lesion, np.ones((1, 1, 5, 5)))
    changed = (out != image).numpy()
    assert not changed[~near].any()
    torch.testing.assert_close(out[lesion], 1.5 * image[lesion])


def test_a_lifted_band_of_intensities_keeps_their_order():
    """Cortex comes nearer to lesions, but what is brighter stays brighter."""
    settings = replace(PLAIN, tone_share=1.0, tone=0.5)
    ramp = torch.linspace(-3.5, 6, 64).expand(16, 1, 64, 64).clone()
    augmentation = Augmentation(settings, 64, torch.Generator().manual_seed(0))
    image, _ = augmentation(ramp, torch.zeros(16, 1, 64, 64, dtype=torch.uint8))
    rows = image[:, 0, 32]
    assert (rows.diff(dim=1) > 0).all()
    change = rows - ramp[:, 0, 32]
    assert change.max() > 0.2 and change.min() < -0.2
    assert change.abs().max() <= 0.6
    assert change[:, 0].abs().max() < 0.01, "air stays as it is"


def test_blur_spreads_along_each_axis_and_keeps_the_sum():
    image = torch.zeros(1, 1, 33, 33)
    image[0, 0, 16, 16] = 1
    out = augmentation(replace(PLAIN, blur_share=1.0, blur_mm=(1.0, 1.0)))._resolution(image)[0, 0].numpy()
    assert out.sum() == pytest.approx(1, abs=1e-5)
    expected = ndimage.gaussian_filter(image[0, 0].numpy(), 1.0, radius=3)
    np.testing.assert_allclose(out, expected, atol=1e-5)


def test_a_slice_alone_has_itself_as_neighbours():
    image, target = some_slices()
    out, _ = augmentation(replace(PLAIN, alone_share=1.0))(image, target)
    assert torch.equal(out[:, 0], out[:, 1]) and torch.equal(out[:, 2], out[:, 1])


def test_air_may_be_brighter_and_tissue_stays():
    image = some_slices()[0].clamp(-2, 2)
    image[:, :, :, :20] = -4
    out = augmentation(replace(PLAIN, air_share=1.0))._contrast(image)
    assert out[:, :, :, :20].max() <= -2.4 and out[:, :, :, :20].min() >= -4
    assert out[:, :, :, :20].std(dim=(1, 2, 3)).max() < 1e-6, "one level a slice"
    torch.testing.assert_close(out[:, :, :, 20:], image[:, :, :, 20:])
