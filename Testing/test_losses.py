"""The papers' losses: values by hand and by MONAI, gradients, and voxels that do not count."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss, DiceLoss, FocalLoss
from torch.nn import functional

from lesion_training.instance_targets import InstanceTarget
from lesion_training.losses import LOSSES, make_loss, segmentation_loss
from LesionSegmenterLib.errors import InputError

ARGUMENTS: dict[str, dict[str, Any]] = {
    "weighted-cross-entropy": {"class_weights": [0.5, 2.0, 3.0]},
    "bootstrapped-cross-entropy": {"threshold": 0.6},
}
VOXELWISE = [name for name in LOSSES if name != "conflunet"]

# Four voxels with the true classes 0, 1, 1, 2, and the probabilities of the classes 0, 1, 2 in each.
TRUTH = [0, 1, 1, 2]
CHANCES = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.25, 0.25], [0.2, 0.2, 0.6]]


def four_voxels() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (1, 3, 2, 2) and target (1, 2, 2) of CHANCES and TRUTH."""
    logits = torch.tensor(CHANCES, dtype=torch.float64).log().T.reshape(1, 3, 2, 2)
    return logits, torch.tensor(TRUTH).reshape(1, 2, 2)


def random_case(channels: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (2, channels, 4, 5) and target (2, 4, 5) in which every class occurs."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, channels, 4, 5, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, max(2, channels), (2, 4, 5), generator=generator)


def instance_case(classes: int = 2, seed: int = 0) -> tuple[torch.Tensor, InstanceTarget]:
    """Outputs (2, classes + 4, 3, 4, 2) and their target."""
    generator = torch.Generator().manual_seed(seed)
    shape = (3, 4, 2)
    outputs = torch.randn(2, classes + 4, *shape, generator=generator, dtype=torch.float64)
    truth = torch.randint(0, classes, (2, *shape), generator=generator)
    heat = torch.rand(2, *shape, generator=generator, dtype=torch.float64)
    offsets = 3 * torch.randn(2, 3, *shape, generator=generator, dtype=torch.float64)
    return outputs, InstanceTarget(truth, heat, offsets)


def loss_of(name: str):
    return make_loss(name, **ARGUMENTS.get(name, {}))


# Values by hand


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cross-entropy", -(math.log(0.7) + math.log(0.8) + math.log(0.25) + math.log(0.6)) / 4),
        (
            "weighted-cross-entropy",
            -(0.5 * math.log(0.7) + 2 * math.log(0.8) + 2 * math.log(0.25) + 3 * math.log(0.6)) / 4,
        ),
        # 0.7 and 0.8 are over 0.6, 0.6 itself is not.
        ("bootstrapped-cross-entropy", -(math.log(0.25) + math.log(0.6)) / 4),
        # 2 x overlap / (predicted + true) of each class; the columns of CHANCES sum to 1.5, 1.45, 1.05.
        ("pseudo-dice", 1 - (2 * 0.7 / (1.5 + 1) + 2 * 1.05 / (1.45 + 2) + 2 * 0.6 / (1.05 + 1)) / 3),
        ("dice", 1 - ((2 * 1.05 + 1) / (1.45 + 2 + 1) + (2 * 0.6 + 1) / (1.05 + 1 + 1)) / 2),
    ],
)
def test_a_loss_has_the_value_that_its_equation_gives_by_hand(name, expected):
    logits, target = four_voxels()
    # A threshold is met exactly in real numbers alone.
    loss = make_loss(name, threshold=0.6 + 1e-9) if name.startswith("boot") else loss_of(name)
    assert float(loss(logits, target)) == pytest.approx(expected, rel=1e-9)


def test_binary_cross_entropy_and_dice_of_one_logit_by_hand():
    chances = torch.tensor([0.9, 0.4, 0.2], dtype=torch.float64)
    logits, target = torch.logit(chances).reshape(1, 1, 3), torch.tensor([[1, 1, 0]])
    entropy = -(math.log(0.9) + math.log(0.4) + math.log(0.8)) / 3
    dice = (2 * (0.9 + 0.4) + 1) / (1.5 + 2 + 1)
    assert float(make_loss("dice-cross-entropy")(logits, target)) == pytest.approx(entropy + 1 - dice)


def test_focal_and_half_the_dice_of_each_volume_by_hand():
    chances = torch.tensor([[0.9, 0.4], [0.2, 0.3]], dtype=torch.float64)  # of lesion, two volumes
    logits = torch.stack([(1 - chances).log(), chances.log()], 1)
    target = torch.tensor([[1, 0], [0, 1]])
    focal = [(1 - p) ** 2 * -math.log(p) for p in (0.9, 0.6, 0.8, 0.3)]
    dice = [2 * 0.9 / (1.3 + 1), 2 * 0.3 / (0.5 + 1)]
    expected = sum(focal) / 4 + 0.5 * (1 - sum(dice) / 2)
    assert float(make_loss("focal-dice")(logits, target)) == pytest.approx(expected, rel=1e-4)


def test_conflunets_loss_adds_its_parts_by_hand():
    outputs = torch.zeros(1, 6, 1, 1, 2, dtype=torch.float64)
    outputs[0, 2, 0, 0] = torch.tensor([0.5, 0.1])
    outputs[0, 3:, 0, 0, 0] = torch.tensor([1.0, -2.0, 0.5])
    outputs[0, 3:, 0, 0, 1] = 77  # no lesion there: does not count
    offsets = torch.zeros(1, 3, 1, 1, 2, dtype=torch.float64)
    offsets[0, 0] = 3.0
    target = InstanceTarget(
        torch.tensor([[[[1, 0]]]]), torch.tensor([[[[1.0, 0.0]]]], dtype=torch.float64), offsets
    )
    segmentation = 0.25 * math.log(2) + 0.5 * (1 - 2 * 0.5 / 2)
    centres = (0.5**2 + 0.1**2) / 2
    apart = (2 + 2 + 0.5) / 3
    expected = segmentation + 2000 * centres + 0.5 * apart
    assert float(make_loss("conflunet")(outputs, target)) == pytest.approx(expected, rel=1e-6)
    lighter = make_loss("conflunet", alpha=0, beta=2, dice=0, gamma=0)(outputs, target)
    assert float(lighter) == pytest.approx(math.log(2) + 2 * apart, rel=1e-6)


def test_offsets_of_a_patch_without_lesion_add_nothing():
    outputs, target = instance_case()
    empty = target._replace(classes=torch.zeros_like(target.classes))
    loss = make_loss("conflunet")
    with_other_offsets = outputs.clone()
    with_other_offsets[:, 3:] += 5
    assert torch.equal(loss(outputs, empty), loss(with_other_offsets, empty))


# Values by MONAI, where it knows the loss


def monai_dice(channels: int, *, smooth: float, batch: bool = True) -> DiceLoss:
    return DiceLoss(
        include_background=channels == 1,
        to_onehot_y=channels > 1,
        softmax=channels > 1,
        sigmoid=channels == 1,
        smooth_nr=smooth,
        smooth_dr=smooth,
        batch=batch,
    )


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_dice_equals_monais(channels):
    logits, target = random_case(channels)
    expected = monai_dice(channels, smooth=1.0)(logits, target[:, None])
    torch.testing.assert_close(make_loss("dice")(logits, target), expected)


@pytest.mark.parametrize("channels", [2, 4])
def test_dice_plus_cross_entropy_equals_monais(channels):
    logits, target = random_case(channels)
    monai = DiceCELoss(
        include_background=False, to_onehot_y=True, softmax=True, smooth_nr=1e-5, smooth_dr=1e-5, batch=True
    )
    ours = make_loss("dice-cross-entropy", smooth=1e-5)(logits, target)
    torch.testing.assert_close(ours, monai(logits, target[:, None]))


def test_pseudo_dice_equals_monais_dice_with_the_background_and_no_smoothing():
    logits, target = random_case(3)
    monai = DiceLoss(to_onehot_y=True, softmax=True, smooth_nr=0, smooth_dr=0, batch=True)
    torch.testing.assert_close(make_loss("pseudo-dice")(logits, target), monai(logits, target[:, None]))


def test_focal_is_twice_monais_which_averages_over_two_channels():
    logits, target = random_case(2)
    monai = FocalLoss(to_onehot_y=True, use_softmax=True, gamma=2.0)
    expected = 2 * monai(logits, target[:, None])
    focal = make_loss("focal-dice", dice=0)(logits, target)
    torch.testing.assert_close(focal.float(), expected)  # MONAI's is float32 whatever it is given


def test_the_dice_of_focal_dice_equals_monais_of_each_volume():
    logits, target = random_case(2)
    focal = make_loss("focal-dice", dice=0)(logits, target)
    expected = monai_dice(2, smooth=1e-5, batch=False)(logits, target[:, None])
    torch.testing.assert_close(make_loss("focal-dice", dice=1)(logits, target) - focal, expected)


def test_one_logit_gives_what_two_classes_give():
    logits, target = random_case(1)
    both = torch.cat([torch.zeros_like(logits), logits], 1)
    for name in ("cross-entropy", "dice", "dice-cross-entropy", "pseudo-dice", "focal-dice"):
        torch.testing.assert_close(loss_of(name)(logits, target), loss_of(name)(both, target))


def test_the_shipped_models_loss_goes_by_a_name_too():
    logits, target = random_case(3)
    weights = torch.rand(target.shape, dtype=torch.float64)
    expected = segmentation_loss(logits, target, weights)
    assert torch.equal(make_loss("segmentation")(logits, target, weights), expected)


# Gradients, and voxels that do not count


def weighted_case(name: str, seed: int = 0) -> tuple[torch.Tensor, Any, torch.Tensor]:
    """A case of a loss with weights, a third of them 0."""
    logits, target = instance_case(seed=seed) if name == "conflunet" else random_case(seed=seed)
    shape = (logits.shape[0], *logits.shape[2:])
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(shape, generator=generator, dtype=torch.float64) + 0.1
    return logits, target, weights * (torch.rand(shape, generator=generator) > 1 / 3)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_is_that_of_the_value(name, weighted):
    logits, target, weights = weighted_case(name)
    loss = make_loss(name, alpha=2.0) if name == "conflunet" else loss_of(name)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, target, weights if weighted else None), (logits,))


@pytest.mark.parametrize("name", LOSSES)
def test_a_voxel_of_weight_0_neither_counts_nor_gets_a_gradient(name):
    logits, target, weights = weighted_case(name)
    loss, ignored = loss_of(name), weights == 0
    other = torch.where(ignored[:, None], 3 * logits + 1, logits).requires_grad_()
    if isinstance(target, InstanceTarget):
        relabelled: Any = InstanceTarget(
            torch.where(ignored, 1 - target.classes, target.classes),
            torch.where(ignored, 0.0, target.heat),
            torch.where(ignored[:, None], 9.0, target.offsets),
        )
    else:
        relabelled = torch.where(ignored, (target + 1) % 3, target)
    value = loss(other, relabelled, weights)
    torch.testing.assert_close(value, loss(logits, target, weights))
    value.backward()
    gradient = other.grad.abs().sum(1)
    assert gradient[ignored].max() == 0 and gradient[~ignored].max() > 0


@pytest.mark.parametrize("name", LOSSES)
def test_weights_of_1_are_as_good_as_none(name):
    logits, target, weights = weighted_case(name)
    loss = loss_of(name)
    torch.testing.assert_close(loss(logits, target, torch.ones_like(weights)), loss(logits, target))


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "segmentation"])
def test_a_batch_in_which_nothing_counts_gives_a_number_and_no_gradient(name):
    logits, target, weights = weighted_case(name)
    logits.requires_grad_()
    loss = loss_of(name)(logits, target, torch.zeros_like(weights))
    loss.backward()
    assert loss.isfinite() and not logits.grad.any()


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_falls_as_the_prediction_nears_the_truth(name):
    if name == "conflunet":
        logits, target = instance_case()
        classes = 20 * functional.one_hot(target.classes, 2).movedim(-1, 1) - 10
        right = torch.cat([classes, target.heat[:, None], target.offsets], 1)
    else:
        logits, target = random_case()
        right = 20.0 * functional.one_hot(target, 3).movedim(-1, 1) - 10
    loss = loss_of(name)
    values = [float(loss(torch.lerp(logits, right.double(), step), target)) for step in (0, 0.3, 0.6, 1)]
    assert values == sorted(values, reverse=True) and values[-1] < 0.01


def test_bootstrapping_leaves_what_is_right_without_gradient():
    logits, target = four_voxels()
    logits.requires_grad_()
    make_loss("bootstrapped-cross-entropy", threshold=0.65)(logits, target).backward()
    taught = logits.grad[0].abs().sum(0).flatten() > 0
    np.testing.assert_array_equal(taught, [False, False, True, True])


# Names and arguments


def test_an_unknown_loss_or_argument_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"no loss 'pseudo-dise'\. Did you mean 'pseudo-dice'"):
        make_loss("pseudo-dise")
    with pytest.raises(InputError, match=r"loss conflunet: unknown key 'alfa'\. Did you mean 'alpha'"):
        make_loss("conflunet", alfa=3)
    with pytest.raises(InputError, match="the key 'threshold' is missing"):
        make_loss("bootstrapped-cross-entropy")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("bootstrapped-cross-entropy", {"threshold": 1.0}),
        ("bootstrapped-cross-entropy", {"threshold": 0}),
        ("weighted-cross-entropy", {"class_weights": []}),
        ("weighted-cross-entropy", {"class_weights": [1, -1]}),
        ("weighted-cross-entropy", {"class_weights": "two"}),
        ("dice", {"smooth": -1}),
        ("focal-dice", {"gamma": float("nan")}),
        ("focal-dice", {"gamma": 0.5}),
        ("conflunet", {"gamma": 0.5}),
        ("conflunet", {"beta": -0.5}),
    ],
)
def test_arguments_out_of_range_are_refused(name, arguments):
    with pytest.raises(InputError, match=f"loss {name}: {next(iter(arguments))}"):
        make_loss(name, **arguments)


def test_class_weights_that_do_not_fit_the_network_are_refused():
    logits, target = random_case(3)
    with pytest.raises(InputError, match="2 weights, the network 3 classes"):
        make_loss("weighted-cross-entropy", class_weights=[1, 2])(logits, target)
