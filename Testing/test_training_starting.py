"""Fine-tuning from a bundle, partial labels in the loss, pseudo-labels, and what a recipe's network means."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from heads import bright_bundle
from lesion_training.cases import DOUBTFUL, IGNORE, PreparedCase
from lesion_training.losses import make_loss
from lesion_training.pseudo_labels import add_pseudo_labels
from lesion_training.recipe import NetworkSettings, OptimisationSettings, Recipe, load_recipe
from lesion_training.sampling import SamplingSettings
from lesion_training.specification import completed, specification
from lesion_training.starting import freeze, merge_unmarked, set_training, take_weights
from lesion_training.trainer import Trainer
from LesionSegmenterLib.bundle import Bundle, load_bundle
from LesionSegmenterLib.engine.device import Device
from LesionSegmenterLib.engine.model import load_model
from LesionSegmenterLib.engine.normalisation import NORMALISATION
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.networks import NETWORKS, build
from small_data import CLASSES, bright_case

CPU = Device("cpu", "fp32")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    return load_bundle(bright_bundle(tmp_path_factory.mktemp("start") / "bright", widths=(4, 8)))


ARGUMENTS = {"in_channels": 1, "out_channels": 3, "widths": [4, 8]}


# Weights


def test_a_network_takes_the_bundles_weights(bundle):
    network = build("uresnet", ARGUMENTS)
    take_weights(network, bundle)
    given = load_model(bundle, CPU).network
    image = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 4
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(image), given(image), atol=1e-4, rtol=1e-4)


def test_a_head_of_other_classes_starts_afresh_and_the_rest_does_not(bundle):
    network = build("uresnet", {**ARGUMENTS, "out_channels": 2})
    fresh = network.head.weight.clone()  # type: ignore[union-attr, operator]
    take_weights(network, bundle)
    assert torch.equal(network.head.weight, fresh)  # type: ignore[union-attr, arg-type]
    assert network.down[0].projection.weight[0] == 1  # type: ignore[union-attr, index]


@pytest.mark.parametrize(
    ("name", "changes"),
    [("uresnet", {"widths": [4, 12]}), ("uresnet", {"widths": [4, 8, 16]}), ("deepwml", {})],
)
def test_a_bundle_of_another_network_is_refused(bundle, name, changes):
    with pytest.raises(InputError, match=r"bright is another network|bright has layers"):
        take_weights(build(name, {**ARGUMENTS, **changes}), bundle)


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - {"ensemble"}))
def test_the_last_layers_are_the_head_and_the_block_before_it(name):
    network = build(name, {"in_channels": 1, "widths": [4, 8, 12]})
    freeze(network, "last")
    trained = {key.split(".")[0] for key, value in network.named_parameters() if value.requires_grad}
    assert "head" in trained and len(trained) == 2 and "down" not in trained
    some = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert 0 < some < 0.7 * sum(p.numel() for p in network.parameters())


def tuning(bundle: Bundle) -> Recipe:
    recipe = Recipe(
        "a test",
        OptimisationSettings(steps=4, batch=2, learning_rate=0.01),
        sampling=SamplingSettings(crop=48, size=32),
        start="bright",
    )
    return completed(recipe, bundle.spec)


def test_training_the_last_layers_leaves_the_others_as_the_bundle_has_them(bundle, tmp_path):
    trainer = Trainer(tuning(bundle), [bright_case()], tmp_path, 0, CPU, start=bundle, layers="last")
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    trainer.fit(lambda *_: None)
    changed = {
        name for name, value in trainer.network.state_dict().items() if not torch.equal(value, before[name])
    }
    assert {"head.weight", "head.bias"} <= changed
    assert all(name.startswith(("head.", "after_skip.")) for name in changed), "statistics of norms too"


def test_training_all_layers_begins_with_the_bundles_weights(bundle, tmp_path):
    trainer = Trainer(tuning(bundle), [bright_case()], tmp_path, 0, CPU, start=bundle)
    assert trainer.network.head.bias[1] == -16  # type: ignore[union-attr, index]
    trainer.fit(lambda *_: None)
    assert trainer.network.down[0].projection.weight[0] != 1  # type: ignore[union-attr, index]


def test_frozen_norms_keep_their_statistics_in_training_mode():
    network = build("uresnet", ARGUMENTS)
    freeze(network, "last")
    set_training(network)
    assert not network.down[0].norm.training and network.after_skip[-1].norm.training  # type: ignore[union-attr, index]


# Partial labels


def test_unmarked_classes_count_as_background_in_the_loss():
    logits = torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unmarked = torch.tensor([[False, False, True, True], [False, False, False, False]])
    merged = torch.softmax(merge_unmarked(logits, unmarked), 1)
    plain = torch.softmax(logits, 1)
    torch.testing.assert_close(merged[1], plain[1])
    torch.testing.assert_close(merged[0, 0], plain[0, 0] + plain[0, 2] + plain[0, 3])
    torch.testing.assert_close(merged[0, 1], plain[0, 1])
    assert (merged[0, 2:] == 0).all()


def test_an_unmarked_class_where_the_truth_says_background_is_not_punished():
    logits = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    logits[:, 2] = 8.0  # all stroke, by a network that a data set of WMH alone teaches
    target = torch.zeros(1, 4, 4, dtype=torch.int64)
    loss = make_loss("dice-cross-entropy")
    unmarked = torch.tensor([[False, False, True]])
    assert float(loss(merge_unmarked(logits, unmarked), target)) < 0.2 < float(loss(logits, target))
    wanted = logits.clone().requires_grad_()
    loss(merge_unmarked(wanted, unmarked), target).backward()
    assert wanted.grad is not None and wanted.grad.isfinite().all()


# Pseudo-labels


def marked_case(**changes) -> PreparedCase:
    """A case of a data set that marks WMH alone; its stroke is as bright as `bright_bundle` has them."""
    case = bright_case()
    case.image[case.target == 2] += 5
    case.target[case.target == 2] = 0
    return replace(case, marked=(LesionType.WMH,), unmarked=(2,), **changes)


def test_a_model_marks_the_lesions_of_the_types_that_a_data_set_does_not(tmp_path):
    model = load_model(load_bundle(bright_bundle(tmp_path / "bright")), CPU)
    case, whole = marked_case(), bright_case()
    classes = {LesionType.WMH: 1, LesionType.STROKE: 2}
    found = add_pseudo_labels(case, classes, model)
    stroke = whole.target == 2
    assert found == (case.target == 2).sum() and (case.target == 2)[stroke].mean() > 0.95
    assert not (case.target == 2)[~stroke].any()
    np.testing.assert_array_equal(case.target == 1, whole.target == 1)
    assert case.unmarked == ()


def test_pseudo_labels_leave_a_full_truth_alone_and_fill_what_was_ignored(tmp_path):
    model = load_model(load_bundle(bright_bundle(tmp_path / "bright")), CPU)
    full = replace(marked_case(), marked=(), unmarked=())
    before = full.target.copy()
    assert add_pseudo_labels(full, {LesionType.WMH: 1, LesionType.STROKE: 2}, model) == 0
    np.testing.assert_array_equal(full.target, before)
    case = marked_case(instances=np.zeros(before.shape, np.int32))
    case.target[bright_case().target == 2] = IGNORE
    add_pseudo_labels(case, dict.fromkeys(LesionType, 1), model)
    assert case.instances is not None
    assert (case.target[bright_case().target == 2] == 1).mean() > 0.95 and case.instances.max() == 1


def test_pseudo_labels_of_a_model_that_reads_other_intensities_are_refused(tmp_path):
    older = bright_bundle(tmp_path / "older", normalisation="deep-median-mad")
    with pytest.raises(InputError, match="bright reads other intensities"):
        add_pseudo_labels(marked_case(), dict.fromkeys(LesionType, 1), load_model(load_bundle(older), CPU))


def test_a_model_completes_a_partial_truth_and_leaves_out_what_it_is_unsure_of(tmp_path):
    model = load_model(load_bundle(bright_bundle(tmp_path / "bright")), CPU)
    case = bright_case()
    lesions, known = case.target > 0, case.target.copy()
    case.image[known == 1] += 3
    case.target[:] = np.where(case.image > 1.2, DOUBTFUL, 0)  # as `prepare_case` leaves an unmarked scan
    case.target[lesions & (known == 2)] = 2  # one lesion that the truth does mark
    case.image[2:5, 2:5, 3:5] = 3.7  # of a probability of a quarter by that model
    case = replace(case, complete=False, weight=0.0, type=LesionType.MS)
    found = add_pseudo_labels(case, {LesionType.MS: 1, LesionType.STROKE: 2}, model)
    assert case.complete and case.weight == 1
    assert found == (case.target == 1).sum() and (case.target == 1)[known == 1].mean() > 0.8
    assert ((case.target == 1) <= lesions).all()
    np.testing.assert_array_equal(case.target == 2, known == 2)
    assert (case.target[2:5, 2:5, 3:5] == IGNORE).all()
    assert not (case.target == DOUBTFUL).any()


# What a network is to the engine


def test_a_recipe_without_a_network_takes_the_bundles_and_its_classes(bundle):
    recipe = tuning(bundle)
    assert recipe.network == NetworkSettings("uresnet", {**ARGUMENTS, "widths": [4, 8]})
    assert recipe.classes == {"WMH": 1, "stroke": 2} and recipe.context_slices == 0


def test_the_shipped_models_channels_stand_for_the_types_that_share_them():
    from LesionSegmenterLib.bundle import resolve_bundle

    shipped = resolve_bundle("uresnet-flair").spec
    recipe = completed(load_recipe("retrain"), shipped)
    assert recipe.classes == CLASSES and recipe.context_slices == 1
    made = specification(recipe)
    assert made.output.label_map == shipped.output.label_map
    assert made.preprocessing == shipped.preprocessing | {"normalisation": NORMALISATION}
    assert made.shape == shipped.shape


def test_retraining_a_model_of_volumes_or_of_two_images_points_to_its_own_recipe(tmp_path):
    spec = load_bundle(bright_bundle(tmp_path / "two", modalities=("FLAIR", "T1"))).spec
    with pytest.raises(InputError, match="lesion-train fit RECIPE --start"):
        completed(load_recipe("retrain"), spec)


@pytest.mark.parametrize(
    ("name", "kind", "labels", "shape"),
    [
        ("viteri", "binary", {1: 4}, "slice"),
        ("llambias-multiclass", "types", {1: 1, 2: 2, 3: 3}, "slice"),
        ("uresnet-paper", "types", {1: 4, 2: 2}, "slice"),
        ("conflunet", "instances", {1: 4}, "patch"),
        ("conflunet-semantic", "binary", {1: 4}, "patch"),
    ],
)
def test_each_recipes_bundle_says_what_its_channels_mean(name, kind, labels, shape):
    spec = specification(load_recipe(name))
    assert (spec.output.kind, spec.output.label_map, spec.shape) == (kind, labels, shape)
    assert [item.modality for item in spec.inputs] == load_recipe(name).inputs


def test_a_network_that_does_not_fit_inputs_or_classes_is_refused(tmp_path):
    recipe = load_recipe("uresnet", small=True)
    for arguments, says in (
        ({"in_channels": 3, "out_channels": 4}, "gives 4 channels, the recipe's classes take 3"),
        ({"in_channels": 2, "out_channels": 3}, "does not take FLAIR"),
    ):
        changed = replace(recipe, network=NetworkSettings("uresnet", {**arguments, "widths": [4, 8]}))
        with pytest.raises(InputError, match=says):
            Trainer(changed, [bright_case()], tmp_path, 0, CPU)


def test_sides_that_the_networks_poolings_do_not_halve_are_refused(tmp_path):
    recipe = load_recipe("uresnet", small=True)
    odd = replace(recipe, sampling=SamplingSettings(crop=80, size=66))
    with pytest.raises(InputError, match="sides of 66 do not divide by 4"):
        Trainer(odd, [bright_case()], tmp_path, 0, CPU)


def test_a_start_that_is_not_there_says_what_to_do(tmp_path, capsys):
    from lesion_training.cli import main

    arguments = ["fit", "llambias-multiclass", "--data", str(tmp_path), "--out", str(tmp_path / "run")]
    assert main(arguments) == 2
    line = capsys.readouterr().err
    assert "starts from the model llambias-binary" in line and "--start" in line and line.count("\n") == 1
    assert not Path(tmp_path / "run").exists()
