"""``lesion-train``: from a data folder to a bundle that the engine loads, and what bad input gets."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from heads import bright_bundle
from lesion_training import cascade, losses
from lesion_training.bundling import make_bundle
from lesion_training.checkpoint import result_weights
from lesion_training.cli import main
from lesion_training.recipe import (
    load_recipe,
    recipe_names,
)
from LesionSegmenterLib.bundle import load_bundle, write_bundle
from LesionSegmenterLib.classifier import CascadeClassifier
from LesionSegmenterLib.confidence import LesionConfidence
from LesionSegmenterLib.engine.device import Device
from LesionSegmenterLib.engine.model import load_model
from LesionSegmenterLib.networks import build
from small_data import NETWORK, InThisProcess, bright_case, row, small_data, write_listing, write_recipe

CPU = Device("cpu", "fp32")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return small_data(tmp_path_factory.mktemp("loop") / "data")


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    """A run of three steps by the command line."""
    folder = tmp_path_factory.mktemp("run")
    recipe = write_recipe(folder)
    with pytest.MonkeyPatch.context() as patch:  # worker processes would take seconds to start
        patch.setattr("lesion_training.pool.ProcessPoolExecutor", InThisProcess)
        assert main(["fit", recipe, "--data", str(data), "--out", str(folder / "run"), *FIXED]) == 0
    return folder / "run"


FIXED = ["--seed", "3", "--device", "cpu", "--precision", "fp32"]


def test_fit_notes_what_was_run_and_on_what(run):
    noted = json.loads((run / "run.json").read_text())
    assert (noted["seed"], noted["device"]["precision"]) == (3, "fp32")
    assert noted["data_sets"] == ["ms_tabriz"]
    assert result_weights(run)[1]["step"] == 3


def test_a_bundles_network_is_the_runs_averaged_one(run, tmp_path):
    made = make_bundle(
        run, tmp_path / "tiny", name="tiny", version="1.0", classifier=None, scores={}, threshold=0.4
    )
    assert load_bundle(made.folder).spec.output.threshold == 0.4
    averaged = build("uresnet", NETWORK["arguments"])  # type: ignore[arg-type]
    averaged.load_state_dict(result_weights(run)[0])
    stored = build("uresnet", NETWORK["arguments"])  # type: ignore[arg-type]
    stored.load_state_dict(load_file(made.weights))
    image = torch.randn(2, 3, 24, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = torch.softmax(averaged.eval()(image), 1)
        kept = torch.softmax(stored.eval()(image), 1)
        loaded = load_model(made, CPU).network(image)
    torch.testing.assert_close(kept, expected, atol=1e-3, rtol=0)  # bundles hold half precision
    torch.testing.assert_close(torch.softmax(loaded, 1), kept, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("least", "expected"), [(0.0, 0.3), (0.2, 0.5)])
def test_a_run_keeps_its_starts_threshold_unless_a_least_confidence_goes_with_it(
    run, tmp_path, least, expected
):
    plain = load_bundle(bright_bundle(tmp_path / "plain"))
    fitted = LesionConfidence(0.0, 1.0, 0.0)
    output = replace(plain.spec.output, threshold=0.3, confidence=fitted, least_confidence=least)
    files: dict[str, Path | bytes] = {name: plain.folder / name for name in plain.spec.files}
    start = write_bundle(tmp_path / "start", replace(plain.spec, output=output), files)
    shutil.copytree(run, tmp_path / "run")
    noted = json.loads((tmp_path / "run/run.json").read_text())
    noted["start"] = {"name": "bright", "version": "1.0", "folder": str(start.folder)}
    (tmp_path / "run/run.json").write_text(json.dumps(noted))
    made = make_bundle(
        tmp_path / "run", tmp_path / "made", name="m", version="1", classifier=None, scores={}, threshold=None
    )
    assert (made.spec.output.threshold, made.spec.output.confidence) == (expected, None)


def test_the_bundle_command_writes_a_card_with_data_licences_command_and_seed(run, tmp_path, capsys):
    out = tmp_path / "tiny"
    assert main(["bundle", str(run), "--out", str(out), "--name", "tiny"]) == 0
    assert "tiny 0.1.0" in capsys.readouterr().out
    card = (out / "MODEL_CARD.md").read_text()
    spec = load_bundle(out).spec
    assert [item.name for item in spec.training_data] and all(
        part in card for item in spec.training_data for part in (item.name, item.licence, item.citation)
    )
    recipe = json.loads((run / "run.json").read_text())["recipe"]
    assert f"lesion-train fit {recipe} --data DATA --out RUN --seed 3" in card
    parameters = sum(p.numel() for p in build("uresnet", NETWORK["arguments"]).parameters())  # type: ignore[arg-type]
    assert f"{parameters:,} parameters" in card and "3 steps of 2 slices" in card
    assert "Not a medical device" in card


def test_the_bundle_of_an_older_run_reads_the_intensities_that_it_was_trained_with(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    noted = json.loads((tmp_path / "run/run.json").read_text())
    assert noted.pop("normalisation") == "brain-median-mad"
    (tmp_path / "run/run.json").write_text(json.dumps(noted))
    for folder, expected in ((run, "brain-median-mad"), (tmp_path / "run", "deep-median-mad")):
        assert main(["bundle", str(folder), "--out", str(tmp_path / expected), "--name", "made"]) == 0
        assert load_bundle(tmp_path / expected).spec.preprocessing["normalisation"] == expected
    other = ["--out", str(tmp_path / "other"), "--name", "other", "--normalisation", "brain-median-mad"]
    assert main(["bundle", str(tmp_path / "run"), *other]) == 0
    assert load_bundle(tmp_path / "other").spec.preprocessing["normalisation"] == "brain-median-mad"


def test_a_run_notes_how_it_departs_from_its_recipe_and_the_card_says_so(data, tmp_path, monkeypatch):
    monkeypatch.setattr("lesion_training.pool.ProcessPoolExecutor", InThisProcess)
    marker, out = bright_bundle(tmp_path / "bright"), tmp_path / "run"
    command = ["fit", write_recipe(tmp_path), "--data", str(data), "--out", str(out), *FIXED]
    changed = ["--steps", "2", "--set", "optimisation.batch=1", "cases.real=1"]
    assert main([*command, "--pseudo-labels", str(marker), *changed]) == 0
    assert json.loads((out / "run.json").read_text())["pseudo_labels"] == {"name": "bright", "version": "1.0"}
    assert main(["bundle", str(out), "--out", str(tmp_path / "made"), "--name", "made"]) == 0
    card = (tmp_path / "made" / "MODEL_CARD.md").read_text()
    departs = "--seed 3 --pseudo-labels bright --steps 2 --set optimisation.batch=1 cases.real=1`"
    assert departs in card and "bright 1.0 marked what its data leave open" in card


def test_evaluate_scores_the_validation_cases_and_the_card_repeats_them(data, run, tmp_path, capsys):
    bright = bright_bundle(tmp_path / "bright", normalisation="deep-median-mad")
    scores = tmp_path / "scores.json"
    assert main(["evaluate", str(bright), "--data", str(data), "--json", str(scores)]) == 0
    table = capsys.readouterr().out
    measured = json.loads(scores.read_text())
    assert list(measured["cases"]) == ["third"] and "third" in table and "first" not in table
    case = measured["cases"]["third"]
    assert case["metrics"]["dice"] > 0.75 and case["metrics"]["lesion_recall"] == 1
    assert measured["mean"]["dice"] == pytest.approx(case["metrics"]["dice"])
    assert case["quiet_ml_per_litre"] == 0 and case["found_ml"] == pytest.approx(case["true_ml"], rel=0.4)
    out = ["--out", str(tmp_path / "tiny"), "--name", "tiny", "--scores", str(scores)]
    assert main(["bundle", str(run), *out]) == 0
    assert f"| third | {case['metrics']['dice']:.3f} |" in (tmp_path / "tiny" / "MODEL_CARD.md").read_text()
    assert load_bundle(tmp_path / "tiny").spec.scores == measured


def test_scores_that_a_case_cannot_define_do_not_break_the_card(run, tmp_path):
    nothing = dict.fromkeys(("dice", "lesion_recall", "lesion_precision", "lesion_f1", "pq"))
    scores = tmp_path / "scores.json"
    case = {"metrics": nothing, "quiet_ml_per_litre": None, "scan_type": None}
    scores.write_text(json.dumps({"cases": {"empty": case}, "mean": nothing | {"quiet": None}}))
    out = ["--out", str(tmp_path / "tiny"), "--name", "tiny", "--scores", str(scores)]
    assert main(["bundle", str(run), *out]) == 0
    assert "| empty | - |" in (tmp_path / "tiny" / "MODEL_CARD.md").read_text()


def test_a_run_cancelled_by_sigterm_ends_with_status_3_and_resumes(data, run, tmp_path, monkeypatch, capsys):
    real = losses.segmentation_loss

    def stop(*arguments) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments)

    command = ["fit", write_recipe(tmp_path), "--data", str(data), "--out", str(tmp_path / "run"), *FIXED]
    with monkeypatch.context() as patch:
        patch.setattr("lesion_training.pool.build_pool", lambda *_, **__: [bright_case()])
        patch.setattr(losses, "segmentation_loss", stop)
        assert main(command) == 3
        assert "stopped at step 1" in capsys.readouterr().err
        patch.setattr(losses, "segmentation_loss", real)
        assert main(command) == 0
    assert result_weights(tmp_path / "run")[1]["step"] == 3


def test_sigterm_while_cases_are_prepared_ends_with_status_3(data, tmp_path, monkeypatch, capsys):
    def stopped(*_, **__) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    # So that a missing handler fails this test and does not end pytest.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    monkeypatch.setattr("lesion_training.pool.build_pool", stopped)
    try:
        command = ["fit", write_recipe(tmp_path), "--data", str(data), "--out", str(tmp_path / "run")]
        assert main([*command, *FIXED]) == 3
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "cancelled" in capsys.readouterr().err


def test_cascade_trains_a_classifier_that_loads(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cascade, "_DRAWS", dict.fromkeys(cascade._DRAWS, 6))
    assert main(["cascade", "--data", str(data), "--out", str(tmp_path)]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert np.array(scores["scan_confusion"]).sum() > 0 and scores["real"] == {}
    classifier = CascadeClassifier.load(tmp_path / "classifier.safetensors")
    assert classifier.classify(np.ones((2, 11))).shape == (2, 3)


def test_recipes_lists_them_with_their_purpose(capsys):
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{name}: {load_recipe(name).purpose}" in listed for name in recipe_names())


def refused(arguments: list[object], says: str, capsys: pytest.CaptureFixture) -> None:
    assert main([str(argument) for argument in arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("lesion-train: ") and says in error


def test_bad_input_to_fit_is_refused_in_one_line(data, tmp_path, capsys):
    recipe = write_recipe(tmp_path)
    out = ["--out", tmp_path / "run"]
    refused(["fit", "uresnett", "--data", data, *out], "Did you mean 'uresnet'", capsys)
    refused(["fit", recipe, "--data", tmp_path / "none", *out], "no such folder", capsys)
    (tmp_path / "empty").mkdir()
    refused(["fit", recipe, "--data", tmp_path / "empty", *out], "there is no case in this folder", capsys)
    unknown = write_recipe(tmp_path, {"listing": "none.tsv"})
    refused(["fit", unknown, "--data", tmp_path / "empty", *out], "no such listing", capsys)
    if not torch.cuda.is_available():
        refused(["fit", recipe, "--data", data, *out, "--device", "cuda"], "not available", capsys)
    file = tmp_path / "file"
    file.touch()
    refused(["fit", recipe, "--data", data, "--out", file], "file", capsys)
    assert not (tmp_path / "run").exists()


def test_fit_without_a_training_case_or_without_steps_is_refused(data, tmp_path, capsys):
    for name in ("third.nii.gz", "third_mask.nii.gz"):
        (tmp_path / name).write_bytes((data / name).read_bytes())
    write_listing(tmp_path / "cases.tsv", [row("third", split="validation")])
    command = ["fit", write_recipe(tmp_path), "--data", tmp_path, "--out", tmp_path / "run"]
    refused(command, "'train'", capsys)
    refused([*command, "--steps", 0], "steps", capsys)


def test_bad_input_to_bundle_is_refused_in_one_line(run, tmp_path, capsys):
    out = ["--out", tmp_path / "out", "--name", "tiny"]
    refused(["bundle", tmp_path, *out], "no run here", capsys)
    refused(["bundle", run, *out, "--classifier", tmp_path / "none"], "no such classifier", capsys)
    refused(["bundle", run, *out, "--scores", tmp_path / "none.json"], "none.json", capsys)
    refused(["bundle", run, *out, "--threshold", 1.5], "threshold", capsys)
    refused(["bundle", run, "--out", tmp_path / "out", "--name", "a name"], "name", capsys)
    (tmp_path / "run.json").write_text("{")
    refused(["bundle", tmp_path, *out], "run.json", capsys)
    assert not (tmp_path / "out").exists()


def test_bad_input_to_evaluate_and_cascade_is_refused_in_one_line(data, tmp_path, capsys):
    bright = bright_bundle(tmp_path / "bright")
    refused(["evaluate", "none", "--data", data], "there is no model", capsys)
    refused(["evaluate", bright, "--data", tmp_path / "none"], "no such folder", capsys)
    refused(["evaluate", bright, "--data", data, "--split", "test"], "'test'", capsys)
    refused(["cascade", "--data", tmp_path, "--out", tmp_path], "mask bank", capsys)
