"""Models trained for the same time and scored on the same cases: budgets, thresholds, tables."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import ablation, accuracy, contenders
from benchmarks.accuracy import Comparison, ablation_table, accuracy_table, last_comparison
from benchmarks.contenders import CONTENDERS, Contender, read_budget, train
from benchmarks.scoring import (
    METRICS,
    Result,
    bundle_of_run,
    readable,
    score_bundle,
    score_z_score,
    steps_of,
)
from heads import bright_bundle
from lesion_training import evaluation
from lesion_training.checkpoint import CHECKPOINT, result_weights
from lesion_training.cli import main
from lesion_training.listing import LISTING, read_listing
from lesion_training.recipe import load_recipe
from LesionSegmenterLib.bundle import load_bundle
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.segment import SegmentOptions, load
from small_data import small_data, write_recipe
from training_cases import write_listed

GOOD = {"dice": 0.8, "lesion_recall": 0.7, "lesion_f1": 0.6, "pq": 0.5}
BAD = {"dice": 0.2, "lesion_recall": 0.1, "lesion_f1": 0.0, "pq": 0.1}
OURS = Result("ours", "a network", 0.45, {"a": GOOD, "b": BAD}, 2.5, 1_500_000_000, 400, 10.04)
THEIRS = Result("theirs", "reads a T1", 0.5, {"a": BAD}, 10, 2_000_000_000, 30, 9.96)


@pytest.fixture
def tiny(tmp_path: Path) -> Contender:
    return Contender("tiny", write_recipe(tmp_path), "a tiny network")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return small_data(tmp_path_factory.mktemp("data"))


def test_monais_network_learns_from_what_ours_learns_from():
    ours, theirs = load_recipe("uresnet"), load_recipe("monai-unet")
    assert theirs.network is not None and theirs.network.name == "monai-unet"
    same = {"purpose": ours.purpose, "cost": ours.cost, "network": ours.network}
    assert replace(theirs, **same) == ours


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
def test_what_is_changed_of_a_papers_recipe_is_its_steps_and_the_memory_they_take(contender):
    as_is, changed = load_recipe(contender.recipe), load_recipe(contender.recipe, changes=contender.changes)
    assert (as_is.network, as_is.loss, as_is.patches) == (changed.network, changed.loss, changed.patches)
    steps, before = changed.optimisation, as_is.optimisation
    if contender.name.endswith("-8"):
        assert (steps.batch, steps.optimiser, steps.learning_rate) == (8, "adam", 0.001)
    else:
        assert (steps.batch, steps.learning_rate) == (before.batch, before.learning_rate)


def test_the_steps_of_a_contender_are_as_many_as_its_minutes_hold(tiny, tmp_path, monkeypatch):
    def fit(contender, data, arguments, told, changes=()):
        """Steps of 5 s, the first of 8 s, until enough are timed."""
        step = 1
        while not told(step, 8.0 + 5 * (step - 1)) and step < 4:
            step += 1

    monkeypatch.setattr(contenders, "_fit", fit)
    monkeypatch.setattr(contenders, "_TIMED_SECONDS", 10.0)
    budget = train(tiny, tmp_path, tmp_path / "run", minutes=10, seed=0)
    assert (budget.seconds_a_step, budget.steps) == (5.0, 120)
    assert budget.seconds_used == 23.0 and budget.finished
    assert read_budget(tmp_path / "run") == budget
    assert train(tiny, tmp_path, tmp_path / "run", minutes=10, seed=0) == budget, "finished: left as it is"
    with pytest.raises(SystemExit, match="begun with 10 minutes"):
        train(tiny, tmp_path, tmp_path / "run", minutes=5, seed=0)


def test_one_step_that_takes_long_is_timed_alone(tiny, tmp_path, monkeypatch):
    def fit(contender, data, arguments, told, changes=()):
        assert told(1, 150.0)

    monkeypatch.setattr(contenders, "_fit", fit)
    assert contenders._seconds_a_step(tiny, tmp_path) == 150.0


def test_a_stopped_training_is_saved_and_goes_on_with_the_steps_that_it_was_begun_with(
    tiny, tmp_path, monkeypatch
):
    data, run = small_data(tmp_path / "data"), tmp_path / "run"
    fit, steps = contenders._fit, []

    def stopped_at_its_second_step(contender, data, arguments, told, *rest):
        def tell(step, seconds):
            told(step, seconds)
            steps.append(step)
            if len(steps) == 2:
                raise KeyboardInterrupt
            return False

        fit(contender, data, arguments, tell, *rest)

    monkeypatch.setattr(contenders, "_seconds_a_step", lambda *_: 0.1)
    monkeypatch.setattr(contenders, "_fit", stopped_at_its_second_step)
    with pytest.raises(KeyboardInterrupt):
        train(tiny, data, run, minutes=0.1, seed=0)
    begun = read_budget(run)
    assert begun is not None and not begun.finished and begun.steps == 60 and begun.seconds_used > 0
    assert steps == [1, 2] and (run / CHECKPOINT).is_file()
    ended = train(tiny, data, run, minutes=0.1, seed=0)
    assert steps[2] > 2, "it goes on after the steps that were saved"
    assert ended.finished and ended.steps == 60 and ended.seconds_used > begun.seconds_used
    assert result_weights(run)[1]["step"] == 60


def test_a_contender_that_reads_a_t1_gets_the_cases_that_have_one(tmp_path, data_dir):
    entries = read_listing(contenders._with_t1(data_dir, tmp_path) / LISTING, tmp_path)
    assert {entry.case for entry in entries} == {"ljubljana-patient19", "ljubljana-patient07", "catania-P18"}
    assert all(entry.t1 for entry in entries)


# Scores


def test_a_bundle_is_scored_on_what_the_command_writes(data, bright):
    listed = read_listing(data / LISTING, data)
    result = score_bundle(load_bundle(bright), "bright", listed)
    options = SegmentOptions(model=str(bright), device="cpu", small_lesions="drop")
    expected = evaluation.score_case(listed[2], options, load(options)).metrics
    assert expected["dice"] > 0.5
    assert result.cases == {"third": {metric: round(expected[metric], 4) for metric in METRICS}}
    assert result.threshold == 0.5 and result.seconds > 0 and 5e7 < result.peak_bytes < 8e9


def test_the_baseline_is_scored_at_the_threshold_of_the_training_cases(data):
    listed = read_listing(data / LISTING, data)
    result = score_z_score(listed)
    expected = evaluation.score_z_score(listed[2], result.threshold).metrics
    assert result.cases["third"] == {metric: round(expected[metric], 4) for metric in METRICS}


def test_a_runs_bundle_gets_a_threshold_from_training_cases_and_stays_until_the_run_goes_on(data, tmp_path):
    run, listed = tmp_path / "run", read_listing(data / LISTING, data)
    fit = ["fit", write_recipe(tmp_path), "--data", str(data), "--out", str(run), "--device", "cpu"]
    assert main([*fit, "--workers", "0", "--progress", "none"]) == 0
    only_validation = [entry for entry in listed if entry.split == "validation"]
    with pytest.raises(InputError, match="no case with a lesion to choose a threshold on"):
        bundle_of_run(run, "tiny", only_validation)
    bundle = bundle_of_run(run, "tiny", listed)
    assert bundle.folder == run / "bundle" and 0 < bundle.spec.output.threshold < 1
    assert steps_of(run) == 3
    made = (bundle.folder / "bundle.json").stat().st_ino
    assert bundle_of_run(run, "tiny", []).folder == bundle.folder, "nothing is predicted again"
    later = (run / CHECKPOINT).stat().st_mtime + 1000
    os.utime(run / CHECKPOINT, (later, later))
    bundle_of_run(run, "tiny", listed)
    assert (bundle.folder / "bundle.json").stat().st_ino != made


def test_a_network_that_reads_a_t1_is_scored_on_the_cases_that_have_one(data, tmp_path):
    bundle = load_bundle(bright_bundle(tmp_path / "both", modalities=("FLAIR", "T1")))
    without = read_listing(data / LISTING, data)
    heads = write_listed(tmp_path / "heads", thick=True, splits=("train", "validation"))
    with_t1 = read_listing(heads / LISTING, heads)
    assert readable(bundle, [*without, *with_t1]) == with_t1


# Tables


def test_the_table_has_means_and_each_cases_dice():
    *_, ours, theirs = accuracy_table([OURS, THEIRS]).rows
    assert ours == (
        "ours", "a network", "0.500", "0.80, 0.20", "0.400", "0.300", "0.300", "2.5 s", "1.50 GB", "0.45",
        "400", "10.0",
    )  # fmt: skip
    assert theirs[:4] == ("theirs", "reads a T1", "0.200", "0.20, -")
    text = accuracy_table([OURS, THEIRS]).markdown()
    assert "Scored on a alone, the one case with a T1: theirs." in text
    assert "alone, the one case" not in accuracy_table([OURS]).markdown()
    shipped = accuracy_table([replace(OURS, steps=None, minutes=None)]).rows[0]
    assert shipped[-3:] == ("0.45", "", "")


def test_the_ablations_table_says_nothing_of_time():
    table = ablation_table([OURS])
    assert table.rows == [
        ("ours", "a network", "0.500", "0.80, 0.20", "0.400", "0.300", "0.300", "0.45", "400")
    ]
    assert len(table.header) == len(table.rows[0])


def test_a_comparison_is_read_as_it_was_written_and_the_runs_come_before_the_docs(tmp_path, monkeypatch):
    monkeypatch.setattr(accuracy, "ROOT", tmp_path)
    runs = tmp_path / "runs"
    assert last_comparison(runs) is None
    old, new = (Comparison(date, "a machine", [OURS], [THEIRS]) for date in ("2026-01-01", "2026-02-02"))
    for folder, comparison in ((tmp_path / "docs", old), (runs, new)):
        folder.mkdir()
        comparison.write(folder / "comparison.json")
        assert last_comparison(runs) == comparison


def test_without_cases_and_without_runs_the_sections_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(accuracy, "real_data", lambda: None)
    monkeypatch.setattr(accuracy, "last_comparison", lambda: None)
    monkeypatch.setattr(ablation, "last_comparison", lambda: None)
    text = accuracy.run(1).markdown()
    assert "Nothing was scored: no real cases in" in text and "run `make compare`" in text
    assert "Not measured" in ablation.run(1).markdown()


def test_without_cases_what_was_recorded_is_shown_with_its_date(monkeypatch):
    shipped = replace(OURS, name="shipped", steps=None)
    record = Comparison("2026-02-02", "a machine", [shipped, OURS])
    monkeypatch.setattr(accuracy, "real_data", lambda: None)
    monkeypatch.setattr(accuracy, "last_comparison", lambda: record)
    table = accuracy.run(1)
    assert [row[0] for row in table.rows] == ["ours"], "what is shipped now is scored now or not at all"
    assert any("2026-02-02" in note for note in table.notes)
