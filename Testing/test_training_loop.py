"""Losses, recipes and the training loop."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from lesion_training import losses as loss_functions
from lesion_training import trainer
from lesion_training.cases import BACKGROUND, DOUBTFUL, IGNORE
from lesion_training.checkpoint import CHECKPOINT, result_weights
from lesion_training.losses import segmentation_loss, voxel_weights
from lesion_training.optimisation import rate_factor
from lesion_training.recipe import (
    NetworkSettings,
    OptimisationSettings,
    Recipe,
    StageSettings,
    load_recipe,
    recipe_names,
)
from lesion_training.sampling import SamplingSettings
from lesion_training.trainer import Trainer
from LesionSegmenterLib.engine.device import Device
from LesionSegmenterLib.errors import Cancelled, InputError, LesionSegmenterError
from LesionSegmenterLib.networks import build
from small_data import CLASSES, NETWORK, STROKE, WHITE_MATTER_LESION, bright_case, write_recipe

CPU = Device("cpu", "fp32")
# Losses


def weights_of(labels: np.ndarray, **changes: float) -> np.ndarray:
    settings = {"doubtful": 0.5, "small_area": 16.0, "largest": 3.0} | changes
    return voxel_weights(torch.from_numpy(labels)[None], **settings)[0].numpy()


def test_small_lesions_weigh_the_root_of_their_smallness_within_bounds():
    labels = np.zeros((20, 20), np.int64)
    labels[0, 0] = WHITE_MATTER_LESION  # 1 pixel: 4, held at 3
    labels[5:7, 0:2] = STROKE  # 4 pixels: 2
    labels[10:16, 0:6] = WHITE_MATTER_LESION  # 36 pixels: 2/3, held at 1
    labels[0, 10:12], labels[1, 12:14] = WHITE_MATTER_LESION, STROKE  # touch at a corner: two of 2 pixels
    weights = weights_of(labels)
    assert weights[0, 0] == 3
    np.testing.assert_allclose(weights[5:7, 0:2], 2)
    np.testing.assert_allclose(weights[10:16, 0:6], 1)
    np.testing.assert_allclose(weights[labels > 0][1:5], np.sqrt(8), rtol=1e-6)
    assert (weights[labels == BACKGROUND] == 1).all()


def test_doubtful_voxels_weigh_little_and_ignored_ones_nothing():
    labels = np.array([[BACKGROUND, DOUBTFUL, IGNORE, WHITE_MATTER_LESION]])
    np.testing.assert_allclose(weights_of(labels, doubtful=0.3), [[1, 0.3, 0, 3]])


def some_batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 4, generator=generator, dtype=torch.float64)
    target = torch.tensor([BACKGROUND, WHITE_MATTER_LESION, STROKE, DOUBTFUL, IGNORE]).repeat(8).view(2, 5, 4)
    weights = torch.rand(2, 5, 4, generator=generator, dtype=torch.float64) * 3
    weights[target == DOUBTFUL], weights[target == IGNORE] = 0.5, 0
    return logits, target, weights


def test_the_loss_is_weighted_cross_entropy_plus_soft_dice_of_lesion():
    logits, target, weights = (part.numpy() for part in some_batch())
    classes = np.where(target > STROKE, BACKGROUND, target)
    entropy = -np.take_along_axis(log_softmax(logits, 1), classes[:, None], 1)[:, 0]
    lesion = 1 - softmax(logits, 1)[:, 0]
    counted, truth = np.minimum(weights, 1), classes > 0
    dice = (2 * (lesion * truth * counted**2).sum() + 1) / (((lesion + truth) * counted).sum() + 1)
    expected = (entropy * weights).sum() / weights.sum() + 1 - dice
    assert float(segmentation_loss(*some_batch())) == pytest.approx(expected, rel=1e-9)


def test_the_loss_has_the_gradient_it_should():
    logits, target, weights = some_batch()
    assert torch.autograd.gradcheck(
        lambda x: segmentation_loss(x, target, weights), (logits.requires_grad_(),)
    )


def test_ignored_voxels_give_no_gradient_and_every_other_one_does():
    logits, target, weights = some_batch()
    segmentation_loss(logits.requires_grad_(), target, weights).backward()
    assert logits.grad is not None
    strength = logits.grad.abs().sum(1)
    assert (strength[target == IGNORE] == 0).all()
    assert (strength[target != IGNORE] > 0).all()


def test_a_perfect_prediction_costs_next_to_nothing_and_its_opposite_a_lot():
    target = torch.zeros(1, 8, 8, dtype=torch.int64)
    target[0, 2:5, 2:5], target[0, 6:8, 6:8], target[0, 0, 0] = WHITE_MATTER_LESION, STROKE, IGNORE
    weights = voxel_weights(target, doubtful=0.5, small_area=60, largest=2)
    right = torch.nn.functional.one_hot(torch.where(target > 2, 1, target), 3).movedim(-1, 1) * 30.0
    assert float(segmentation_loss(right, target, weights)) < 1e-3
    assert float(segmentation_loss(-right, target, weights)) > 10


# Recipes


def test_a_recipe_reads_what_it_says_and_takes_defaults_for_the_rest(tmp_path):
    recipe = load_recipe(write_recipe(tmp_path, {"augmentation": {"scale": [0.9, 1.1]}}))
    assert recipe.optimisation == OptimisationSettings(steps=3, batch=2, warmup=2)
    assert recipe.augmentation.scale == (0.9, 1.1)
    assert recipe.augmentation.noise == 0.45 and recipe.sampling == SamplingSettings(crop=48, size=32)


@pytest.mark.parametrize("small", [False, True], ids=["full", "small"])
@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_the_package_loads_with_its_small_variant(name, small):
    recipe = load_recipe(name, small=small)
    assert recipe.network is None or build(recipe.network.name, recipe.network.arguments)
    assert recipe.optimisation.epochs or recipe.optimisation.steps > recipe.optimisation.warmup
    assert recipe.sampling is None or recipe.sampling.crop >= recipe.sampling.size


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"optimization": {}}, "optimization.*Did you mean 'optimisation'"),
        ({"optimisation": {"steps": 3, "learning_rat": 1}}, "learning_rat.*Did you mean 'learning_rate'"),
        ({"optimisation": {"steps": "many"}}, r"optimisation\.steps.*whole number"),
        ({"optimisation": {"steps": 3.5}}, r"optimisation\.steps.*whole number"),
        ({"optimisation": {"batch": 2}}, r"optimisation\.steps.*missing"),
        ({"optimisation": {"steps": -3}}, r"optimisation\.steps is -3: expected 1 or more"),
        ({"optimisation": {"steps": 3, "batch": 0}}, r"optimisation\.batch is 0"),
        ({"optimisation": {"steps": 3, "learning_rate": -1.0}}, r"optimisation\.learning_rate is -1"),
        ({"optimisation": {"steps": 3, "learning_rate": float("nan")}}, r"learning_rate is nan"),
        ({"optimisation": {"steps": 3, "epochs": 2}}, "steps and optimisation.epochs are both given"),
        ({"optimisation": {"steps": 3, "batch": 4, "accumulate": 3}}, "does not divide"),
        ({"optimisation": {"steps": 3, "optimiser": "adan"}}, "optimiser is 'adan'.*'adam'"),
        ({"sampling": {"lesion_share": -0.1}}, r"sampling\.lesion_share is -0.1: expected 0 to 1"),
        ({"augmentation": {"scale": [1.2, 0.8]}}, r"augmentation\.scale.*smaller number first"),
        ({"cases": {"real": -1.0}}, r"cases\.real is -1"),
        ({"cases": {"real": 1, "programmes": {"strok": 1}}}, "programmes names other than ms, wmh, stroke"),
        ({"cases": {"real": 1, "programmes": {"ms": 0}}}, "programmes names .* or none"),
        ({"cases": {"real": 1, "programmes": {"ms": -1}}}, r"cases\.programmes is -1"),
        ({"cases": {"real": 1, "stroke_contrast": [0, 4]}}, r"cases\.stroke_contrast is 0"),
        ({"stages": [{"steps": 0, "learning_rate": 1.0, "real": 1, "painted": 0, "synthetic": 0}]}, "steps"),
        ({"patches": {"size": [32, 32]}}, "one of sampling and patches"),
        ({"classes": {"WMH": 1, "stroke": 3}}, r"classes are numbered \[1, 3\]"),
        ({"classes": {"tumour": 1}}, "unknown lesion type 'tumour'"),
        (
            {"sampling": None, "patches": {"size": [32, 32], "voxel_shares": {"WHM": 0.2}}},
            "voxel_shares names",
        ),
        ({"inputs": ["T1"]}, "inputs does not begin with FLAIR"),
        ({"split": {"validation": 0.7, "test": 0.3}}, "leaves no patient"),
        ({"augmentation": {"scale": [1]}}, r"augmentation\.scale"),
        ({"network": "uresnet"}, "network is not an object"),
        ({7: 8}, "unknown key '7'"),
        ({"listing": date(2020, 1, 2)}, "listing is .*2020-01-02.*text"),
    ],
)
def test_a_recipe_with_a_wrong_key_or_value_is_refused_by_name(tmp_path, changes, says):
    with pytest.raises(InputError, match=rf"tiny\.yaml.*{says}"):
        load_recipe(write_recipe(tmp_path, changes))


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: [", "\x00"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text):
    (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(InputError, match=r"odd\.yaml"):
        load_recipe(str(tmp_path / "odd.yaml"))


def test_an_unknown_recipe_is_refused_with_the_nearest_known_one():
    with pytest.raises(InputError, match="Did you mean 'uresnet'"):
        load_recipe("uresnett")
    with pytest.raises(InputError, match=r"There are .*uresnet"):
        load_recipe("none such")
    with pytest.raises(InputError, match=r"none\.yaml"):
        load_recipe("none.yaml")


# The trainer


RECIPE = Recipe(
    "a test",
    OptimisationSettings(steps=6, batch=2, warmup=2),
    NetworkSettings(**NETWORK),
    classes=CLASSES,
    sampling=SamplingSettings(crop=48, size=32),
)


def make_trainer(run: Path, recipe: Recipe = RECIPE, seed: int = 1) -> Trainer:
    run.mkdir(exist_ok=True)
    return Trainer(recipe, [bright_case(0), bright_case(1)], run, seed, CPU)


def silent(step: int, steps: int, loss: float, validation: float | None) -> None:
    """Progress that nobody watches."""


def assert_same_weights(one: torch.nn.Module, other: torch.nn.Module) -> None:
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> tuple[Trainer, list[float]]:
    losses: list[float] = []
    done = make_trainer(tmp_path_factory.mktemp("unbroken"))
    done.fit(lambda step, steps, loss, _: losses.append(loss))
    return done, losses


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_stopped_by_a_signal_goes_on_as_if_it_had_not_been(tmp_path, unbroken, number):
    losses: list[float] = []

    def stop_at_3(step: int, _: int, loss: float, validation: float | None) -> None:
        losses.append(loss)
        if step == 3:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(Cancelled, match=r"step 3.*resumes"):
        make_trainer(tmp_path).fit(stop_at_3)
    assert signal.getsignal(number) is before
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]
    resumed = make_trainer(tmp_path)
    resumed.fit(lambda step, steps, loss, _: losses.append(loss))
    assert losses == unbroken[1]
    assert_same_weights(resumed.network, unbroken[0].network)
    assert_same_weights(resumed.averaged, unbroken[0].averaged)


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path, unbroken, monkeypatch):
    monkeypatch.setattr(trainer, "_SAVE_EVERY", 2)

    def die_at_5(step: int, *_) -> None:
        if step == 5:
            raise MemoryError

    with pytest.raises(MemoryError):
        make_trainer(tmp_path).fit(die_at_5)
    assert result_weights(tmp_path)[1]["step"] == 4
    resumed = make_trainer(tmp_path)
    resumed.fit(silent)
    assert_same_weights(resumed.network, unbroken[0].network)


def test_a_finished_run_is_not_trained_again(unbroken):
    done, losses = unbroken
    again = make_trainer(done.run)
    again.fit(lambda *_: pytest.fail("it trained"))
    assert again.step == 6 and again.loss == losses[-1]


def test_another_seed_trains_another_network_and_may_not_resume(tmp_path, unbroken):
    with pytest.raises(InputError, match="made with seed 1"):
        make_trainer(unbroken[0].run, seed=2).fit(silent)
    other = make_trainer(tmp_path, seed=2)
    other.fit(silent)
    assert not torch.equal(other.network.head.weight, unbroken[0].network.head.weight)  # type: ignore[arg-type, union-attr]


def test_a_run_that_an_earlier_version_began_with_other_intensities_is_refused(tmp_path, unbroken):
    state = torch.load(unbroken[0].run / CHECKPOINT, weights_only=True)
    del state["normalisation"]
    torch.save(state, tmp_path / CHECKPOINT)
    with pytest.raises(InputError, match=r"other intensities.*--start"):
        make_trainer(tmp_path).fit(silent)


def test_a_checkpoint_cut_short_is_refused_by_name(tmp_path, unbroken):
    content = (unbroken[0].run / CHECKPOINT).read_bytes()
    for length in (0, 100, len(content) // 2, len(content) - 50):
        (tmp_path / CHECKPOINT).write_bytes(content[:length])
        with pytest.raises(InputError, match=rf"{CHECKPOINT}: .*cannot be read"):
            make_trainer(tmp_path).fit(silent)
        with pytest.raises(InputError, match=CHECKPOINT):
            result_weights(tmp_path)


def test_the_checkpoint_of_another_network_is_refused(unbroken):
    wider = {**NETWORK["arguments"], "widths": [4, 12]}  # type: ignore[dict-item]
    recipe = replace(RECIPE, network=NetworkSettings("uresnet", wider))
    with pytest.raises(InputError, match=CHECKPOINT):
        make_trainer(unbroken[0].run, recipe).fit(silent)


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "_SAVE_EVERY", 2)
    real = loss_functions.segmentation_loss
    calls: list[int] = []

    def breaks(*arguments) -> torch.Tensor:
        calls.append(1)
        return real(*arguments) * (float("nan") if len(calls) == 4 else 1)

    monkeypatch.setattr(loss_functions, "segmentation_loss", breaks)
    with pytest.raises(LesionSegmenterError, match=r"loss is nan at step 3.*learning rate") as error:
        make_trainer(tmp_path).fit(silent)
    assert error.value.exit_status == 1
    weights, progress = result_weights(tmp_path)
    assert progress["step"] == 2
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_training_lowers_the_loss(tmp_path, monkeypatch):
    losses: list[float] = []
    real = loss_functions.segmentation_loss

    def noted(*arguments) -> torch.Tensor:
        loss = real(*arguments)
        losses.append(float(loss.detach()))
        return loss

    monkeypatch.setattr(loss_functions, "segmentation_loss", noted)
    faster = replace(RECIPE.optimisation, steps=60, learning_rate=0.02)
    make_trainer(tmp_path, replace(RECIPE, optimisation=faster)).fit(silent)
    print(losses[:10], losses[-10:])
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])


def test_averaged_weights_follow_the_trained_ones_slowly(tmp_path):
    seen: list[torch.Tensor] = []
    run = make_trainer(tmp_path)
    mean = run.averaged.head.weight.clone()  # type: ignore[union-attr, operator]
    run.fit(lambda *_: seen.append(run.network.head.weight.detach().clone()))  # type: ignore[union-attr, operator]
    for step, now in enumerate(seen):
        decay = (1 + step) / (10 + step)
        mean = decay * mean + (1 - decay) * now
    torch.testing.assert_close(run.averaged.head.weight, mean)  # type: ignore[union-attr]


def test_the_learning_rate_warms_up_and_falls_to_nothing():
    settings = OptimisationSettings(steps=110, warmup=10)
    rates = [rate_factor(settings, step, 110) for step in range(110)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert rates[10] == 1 and rates[60] == pytest.approx(0.5) and rates[-1] < 0.001
    assert all(b < a for a, b in pairwise(rates[10:]))


def test_a_last_stage_has_its_own_rate_and_its_own_shares_of_the_cases(tmp_path):
    recipe = Recipe(
        "a test",
        OptimisationSettings(steps=4, batch=2, warmup=1, learning_rate=1e-2),
        NetworkSettings(**NETWORK),
        classes=CLASSES,
        sampling=SamplingSettings(crop=48, size=32),
        stages=[StageSettings(steps=3, learning_rate=1e-4, real=0.75, painted=0.25, synthetic=0.0)],
    )
    cases = [bright_case(0), replace(bright_case(1), name="case1+painted")]
    run = Trainer(recipe, cases, tmp_path, 0, CPU)
    rates = [run.learning_rate(step) for step in range(run.steps)]
    assert rates[:2] == [1e-2, 1e-2] and rates[4] == 1e-4
    assert all(later < sooner for sooner, later in pairwise(rates[1:4]))
    np.testing.assert_allclose(run.source.sampler(3).cumulative, [0.5, 1])
    np.testing.assert_allclose(run.source.sampler(4).cumulative, [0.75, 1])
    steps = []
    run.fit(lambda step, total, *_: steps.append((step, total)))
    assert steps == [(step, 7) for step in range(1, 8)]
