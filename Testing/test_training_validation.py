"""Scoring while training: the engine's own prediction, the best weights, early stop, curves and events."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from heads import bright_bundle
from lesion_training import trainer as trainer_module
from lesion_training.bundling import make_bundle
from lesion_training.cases import IGNORE
from lesion_training.checkpoint import result_weights
from lesion_training.cli import main
from lesion_training.curves import Curve, draw_curves, read_curve
from lesion_training.recipe import NetworkSettings, OptimisationSettings, Recipe, ValidationSettings
from lesion_training.sampling import SamplingSettings
from lesion_training.trainer import Trainer
from lesion_training.validation import as_model, case_score
from LesionSegmenterLib.bundle import load_bundle
from LesionSegmenterLib.engine.device import Device
from LesionSegmenterLib.engine.model import load_model
from LesionSegmenterLib.engine.prediction import predict
from small_data import CLASSES, NETWORK, bright_case, row, small_data, write_listing, write_recipe

CPU = Device("cpu", "fp32")
RECIPE = Recipe(
    "a test",
    OptimisationSettings(steps=8, batch=2),
    NetworkSettings(**NETWORK),
    classes=CLASSES,
    sampling=SamplingSettings(crop=48, size=32),
    validation=ValidationSettings(every=2),
)


def test_the_score_is_the_mean_dice_of_the_classes_without_what_is_ignored(tmp_path):
    model = load_model(load_bundle(bright_bundle(tmp_path / "bright")), CPU)
    case = bright_case()
    case.image[case.target == 1], case.image[case.target == 2] = 6.0, 9.5
    assert case_score(model, case) == pytest.approx(1, abs=0.02)
    # Half of the stroke's truth taken away: Dice 1 and 2/3.
    half = replace(case, target=case.target.copy())
    half.target[28:34, 20:25] = np.where(half.target[28:34, 20:25] == 2, 0, half.target[28:34, 20:25])
    assert case_score(model, half) == pytest.approx((1 + 2 / 3) / 2, abs=0.02)
    half.target[28:34, 20:25] = IGNORE
    assert case_score(model, half) == pytest.approx(1, abs=0.02)
    assert case_score(model, replace(half, unmarked=(2,))) == pytest.approx(1, abs=0.02)
    empty = replace(case, image=np.zeros_like(case.image), target=np.zeros_like(case.target))
    assert case_score(model, empty) == 1.0


def scored(monkeypatch, scores: list[float], run: Path, **changes) -> tuple[Trainer, list]:
    """A run whose scorings give these scores."""
    given = iter(scores)
    monkeypatch.setattr(trainer_module, "case_score", lambda *_: next(given))
    recipe = replace(RECIPE, **changes)
    trained = Trainer(recipe, [bright_case(0)], run, 0, CPU, validation=[bright_case(1)])
    told: list = []
    trained.fit(lambda step, steps, loss, score: told.append((step, score)))
    return trained, told


def test_the_best_scored_weights_are_the_result(tmp_path, monkeypatch):
    kept = {}
    real = Trainer._validate

    def noting(self: Trainer) -> float | None:
        kept[self.step] = self.averaged.head.weight.clone()  # type: ignore[union-attr, operator]
        return real(self)

    monkeypatch.setattr(Trainer, "_validate", noting)
    _, told = scored(monkeypatch, [0.1, 0.4, 0.3, 0.2], tmp_path)
    assert told == [(1, None), (2, 0.1), (3, None), (4, 0.4), (5, None), (6, 0.3), (7, None), (8, 0.2)]
    weights, progress = result_weights(tmp_path)
    assert (progress["step"], progress["validation"]) == (4, 0.4)
    assert torch.equal(weights["head.weight"], kept[4])


def test_training_stops_early_where_the_score_no_longer_rises_and_stays_stopped(tmp_path, monkeypatch):
    patient = {"validation": ValidationSettings(every=1, patience=2)}
    trained, told = scored(monkeypatch, [0.1, 0.5, 0.4, 0.5, 0.9], tmp_path, **patient)
    assert told[-1] == (4, 0.5) and trained.finished and trained.step == 4
    again, nothing = scored(monkeypatch, [], tmp_path, **patient)
    assert nothing == [] and again.step == 4 and result_weights(tmp_path)[1]["step"] == 2


def test_the_validation_output_is_the_bundles_but_for_its_half_precision(tmp_path):
    trained = Trainer(RECIPE, [bright_case(0)], tmp_path / "run", 0, CPU)
    (tmp_path / "run").mkdir()
    trained.fit(lambda *_: None)
    note = {"recipe": write_recipe(tmp_path), "seed": 0, "started": "", "data_sets": []}
    note["device"] = {"name": "cpu", "precision": "fp32"}
    (tmp_path / "run/run.json").write_text(json.dumps(note))
    made = make_bundle(
        tmp_path / "run", tmp_path / "b", name="b", version="1", classifier=None, scores={}, threshold=0.5
    )
    case = bright_case(3)
    own, loaded = as_model(trained.averaged, RECIPE, CPU, tmp_path), load_model(made, CPU)
    one, other = (predict(m, [case.image], case.grid, lambda *_: None).channels for m in (own, loaded))
    np.testing.assert_allclose(one, other, atol=2e-3)


# Accumulation and optimisers


def weights_after(tmp_path: Path, name: str, **changes) -> torch.Tensor:
    """The head after some steps of a network without norms, whose loss is a mean over items."""
    recipe = replace(
        RECIPE,
        network=NetworkSettings("deepwml", {"in_channels": 3, "out_channels": 3, "widths": [4, 8]}),
        loss=replace(RECIPE.loss, name="cross-entropy"),
        validation=ValidationSettings(),
        optimisation=OptimisationSettings(**({"steps": 3, "batch": 4, "learning_rate": 0.01} | changes)),
    )
    (tmp_path / name).mkdir()
    trained = Trainer(recipe, [bright_case()], tmp_path / name, 0, CPU)
    trained.fit(lambda *_: None)
    return trained.network.head.weight.detach()  # type: ignore[union-attr, return-value, operator]


def test_a_batch_in_several_passes_teaches_what_it_teaches_in_one(tmp_path):
    one, passes = weights_after(tmp_path, "one"), weights_after(tmp_path, "four", accumulate=4)
    torch.testing.assert_close(one, passes, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(one, weights_after(tmp_path, "other", batch=8), atol=1e-4)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_each_optimiser_trains_as_torchs_own(tmp_path, optimiser):
    changes = {"optimiser": optimiser, "schedule": "constant", "weight_decay": 0.0, "clip_norm": 0.0}
    start = weights_after(tmp_path, "none", **changes, learning_rate=1e-12, steps=1)
    moved = weights_after(tmp_path, "once", **changes, steps=1) - start
    if optimiser == "adam":  # its first step is the rate, against the gradient's sign, where there is one
        moved = moved[moved != 0]
        assert moved.numel() > 5
        torch.testing.assert_close(moved.abs(), torch.full_like(moved, 0.01), atol=1e-3, rtol=0)
    else:
        twice = weights_after(tmp_path, "twice", **changes, steps=1, learning_rate=0.02) - start
        torch.testing.assert_close(twice, 2 * moved, atol=1e-6, rtol=1e-3)


# Curves


def test_curves_drop_what_a_killed_run_wrote_beyond_its_checkpoint(tmp_path):
    curve = Curve(tmp_path, "loss", 0)
    for step in (25, 50, 75):
        curve.add(step, 1 / step)
    assert (tmp_path / "loss.tsv").read_text().splitlines()[0] == "step\tloss"
    Curve(tmp_path, "loss", 50).add(60, 0.5)
    assert read_curve(tmp_path / "loss.tsv") == [(25, 0.04), (50, 0.02), (60, 0.5)]
    Curve(tmp_path, "validation", 0).add(60, 0.25)
    assert draw_curves(tmp_path).read_bytes().startswith(b"\x89PNG")


# Events


def with_validation(folder: Path) -> Path:
    """The small data with a second validation case, which the listing states."""
    data = small_data(folder)
    rows = [row(name, lesion_values="1,2,3,4") for name in ("first", "second")]
    write_listing(data / "cases.tsv", [*rows, row("third", lesion_values="1,2,3,4", split="validation")])
    return data


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> tuple[Path, list[str]]:
    """A run with JSON progress, and the lines that it wrote."""
    import contextlib
    import io

    folder = tmp_path_factory.mktemp("events")
    recipe = write_recipe(folder, {"validation": {"every": 2}})
    arguments = ["fit", recipe, "--data", with_validation(folder / "data"), "--out", folder / "run"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*map(str, arguments), "--device", "cpu", "--workers", "0", "--progress", "json"]) == 0
    return folder / "run", out.getvalue().splitlines()


def test_progress_is_one_json_object_a_line(fitted):
    run, lines = fitted
    events = [json.loads(line) for line in lines]
    steps = [event for event in events if event["event"] == "step"]
    assert [event["step"] for event in steps] == [1, 2, 3] and all(event["steps"] == 3 for event in steps)
    assert [event["validation"] is None for event in steps] == [True, False, False]
    assert all(np.isfinite(event["loss"]) for event in steps)
    assert any(event["event"] == "progress" and event["stage"] == "preparing cases" for event in events)
    assert events[-1]["event"] == "done" and events[-1]["run"] == str(run) and events[-1]["steps"] == 3


def test_a_run_leaves_its_curves_its_cases_and_its_settings(fitted):
    run, _ = fitted
    names = {path.name for path in run.iterdir()}
    assert names == {"cases.tsv", "checkpoint.pt", "curves.png", "loss.tsv", "run.json", "validation.tsv"}
    assert [step for step, _ in read_curve(run / "validation.tsv")] == [2, 3]
    assert "third\tthird\tvalidation" in (run / "cases.tsv").read_text()
    noted = json.loads((run / "run.json").read_text())
    assert noted["cases"] == {"train": 2, "validation": 1, "test": 0}
    assert noted["settings"]["optimisation"]["steps"] == 3


def test_a_run_resumed_on_other_cases_is_refused(fitted, tmp_path, capsys):
    run, _ = fitted
    data = with_validation(tmp_path / "data")
    write_listing(data / "cases.tsv", [row("first", lesion_values="1"), row("third", lesion_values="1")])
    recipe = write_recipe(tmp_path, {"validation": {"every": 2}})
    assert main(["fit", recipe, "--data", str(data), "--out", str(run), "--device", "cpu"]) == 2
    assert "not those that this run was begun with" in capsys.readouterr().err


def test_an_error_is_an_event_too(tmp_path, capsys):
    arguments = ["fit", "uresnet", "--data", tmp_path, "--out", tmp_path / "run", "--progress", "json"]
    assert main(list(map(str, arguments))) == 2
    told = capsys.readouterr()
    event = json.loads(told.out)
    assert event["event"] == "error" and event["status"] == 2 and event["message"] in told.err
