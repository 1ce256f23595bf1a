"""The robustness grid: which cells a case reaches, what is named worst, and the command that makes it."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heads import bright_bundle, centred_affine, head
from lesion_training.cli import main
from lesion_training.evaluation import score_case
from lesion_training.folders import find_entries
from lesion_training.held_out import PROGRAMMES, is_synthetic, kept_streams, read_truth
from lesion_training.named_models import load_models
from lesion_training.robustness import (
    LEVELS,
    CellScore,
    GridCase,
    Level,
    countable,
    score_grid,
    synthetic_cases,
)
from lesion_training.robustness_report import ALL, make_grid, markdown, skull_lines, worst_cell
from lesion_training.scan_changes import Protocol, Scan
from small_data import SHAPE, lesion_labels, row, save_case, write_listing

GIVEN, WHOLE, STRIPPED = (
    next(level for level in LEVELS if level.name == name) for name in ("as given", "whole head", "stripped")
)
THICK = Level("slices", "12 mm", {"slice_mm": 12.0})


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """One validation case of 3 mm pixels and 6 mm slices, its lesions typed."""
    folder = tmp_path_factory.mktemp("data")
    save_case(folder, "one")
    typed = row("one", split="validation", lesion_values="1=WMH,2=stroke,3=WMH,4=stroke")
    write_listing(folder / "cases.tsv", [typed])
    return folder


def score(level: Level, case: str, kind: str, dice: float, f1: float = 0.5) -> CellScore:
    return CellScore("model", case, kind, level, dice, f1, 1.0, 1.0, 1.0)


SCORES = [
    *(score(GIVEN, case, kind, d) for case, kind, d in (("a", "real MS", 0.8), ("b", "synthetic MS", 0.6))),
    score(WHOLE, "b", "synthetic MS", 0.6),
    *(
        score(STRIPPED, case, kind, d)
        for case, kind, d in (("a", "real MS", 0.8), ("b", "synthetic MS", 0.55))
    ),
    score(LEVELS[2], "b", "synthetic MS", 0.3, 0.25),
]


def test_the_change_of_a_level_is_against_the_same_cases_as_given():
    grid = make_grid(SCORES)
    assert grid[GIVEN, ALL][:2] == (2, pytest.approx(0.7))
    # Only b could be brought to that level: its own loss counts, not that against the mean of all.
    assert grid[LEVELS[2], ALL] == (1, pytest.approx(0.3), pytest.approx(0.25), pytest.approx(-0.3))
    assert (LEVELS[2], "real MS") not in grid
    assert grid[STRIPPED, ALL].change == pytest.approx(-0.025)


def test_the_worst_cell_is_named_with_its_level_and_kind():
    line = worst_cell(make_grid(SCORES))
    assert line.startswith("Worst cell: slices: 2 mm, on synthetic MS: Dice 0.300 (-0.300 against")
    assert "lesion F1 0.250" in line and "\n" not in line


def test_skull_against_none_is_told_by_case_with_the_goal():
    assert skull_lines(SCORES) == [
        "a: skull-stripped as given, no whole head to compare with",
        "b: whole 0.600, stripped 0.550, difference +0.050 (over 0.03)",
    ]


def test_the_table_leaves_cells_empty_that_no_case_reached():
    lines = markdown("model", SCORES).splitlines()
    cells = next(
        [c.strip() for c in line.split("|")[1:-1]] for line in lines if "2 mm" in line and "|" in line
    )
    assert cells == ["slices", "2 mm", "1", "0.300", "-0.300", "0.250", "-", "0.30 / 0.25"]


def test_every_bad_level_is_scored_on_the_changed_grids_truth(tmp_path):
    """The model finds what is bright: the scalp of the whole head too, and nothing wrong without it."""
    affine = centred_affine()
    brain = head(lesions=()) > 50
    truth = lesion_labels(affine) > 0
    whole = GridCase("one", "real WMH", Protocol(), lambda: Scan(head(scalp=150.0), truth, affine, brain))
    model = load_models([str(bright_bundle(tmp_path / "bright"))])
    scores = list(score_grid(model, [whole], [GIVEN, WHOLE, STRIPPED, THICK, LEVELS[1]], seed=0))
    given, same, stripped, thick, thin = scores
    assert thin is None
    assert given is not None and same == replace(given, level=WHOLE)
    assert stripped is not None and stripped.dice > 0.75 > given.dice + 0.1
    pairs = truth.reshape(48, 60, 8, 2).sum(axis=3) >= 1  # at least half of two slices
    assert thick is not None and thick.true_ml == pytest.approx(pairs.sum() * 3 * 3 * 12 / 1000)


def test_slivers_of_at_most_14_mm3_do_not_count():
    lesions = np.zeros((6, 6, 6), bool)
    lesions[:2, :2, :2], lesions[4, 4, 4] = True, True
    assert countable(lesions, (1.0, 1.0, 2.0)).sum() == 8
    assert countable(lesions, (3.0, 3.0, 3.0)).sum() == 9


def test_the_command_writes_tables_a_heat_map_and_the_worst_cell(data, tmp_path, capsys):
    bright, out = bright_bundle(tmp_path / "bright"), tmp_path / "out"
    command = ["robustness", str(bright), "--data", str(data), "--out", str(out), "--heads", "0", "--quick"]
    assert main(command) == 0
    assert "bright 1.0: Worst cell: " in capsys.readouterr().out
    assert (out / "robustness-bright-1.0.png").read_bytes().startswith(b"\x89PNG")
    assert "Worst cell" in (out / "robustness.md").read_text()
    with (out / "robustness.tsv").open() as file:
        rows = {row["level"]: row for row in csv.DictReader(file, delimiter="\t")}
    # Slices of 6 mm cannot become 5 mm thin, and a stripped head gets no skull.
    assert set(rows) == {"as given", "stripped", "SNR 10"}
    assert rows["as given"]["dice"] == rows["stripped"]["dice"] and rows["as given"]["kind"] == "real WMH"
    model = load_models([str(bright)])[0]
    evaluated = score_case(find_entries([data])[0], model.options, model.model)
    assert float(rows["as given"]["dice"]) == pytest.approx(evaluated.metrics["dice"], abs=1e-4)
    assert float(rows["as given"]["lesion_f1"]) == pytest.approx(evaluated.metrics["lesion_f1"], abs=1e-4)


def test_two_bundles_of_one_name_stay_apart(tmp_path):
    first, second = (bright_bundle(tmp_path / name) for name in ("first", "second"))
    assert [m.name for m in load_models([str(first), str(second)])] == ["bright 1.0", "bright 1.0 (2)"]


@pytest.mark.parametrize("wrong", [["--split", "test"], ["--data", "nowhere"]])
@pytest.mark.parametrize("command", ["robustness", "types"])
def test_unusable_arguments_end_in_one_line(command, wrong, data, bright, tmp_path, capsys):
    out = tmp_path / "out"
    status = main([command, str(bright), "--data", str(data), "--out", str(out), "--heads", "0", *wrong])
    assert status == 2 and len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not out.exists()


def test_a_model_that_reads_a_t1_is_refused(data, tmp_path, capsys):
    both = bright_bundle(tmp_path / "both", modalities=("FLAIR", "T1"))
    assert main(["robustness", str(both), "--data", str(data), "--out", str(tmp_path / "out")]) == 2
    assert "reads a T1" in capsys.readouterr().err


def test_kept_heads_are_of_streams_that_no_set_of_that_seed_draws():
    def states(streams) -> set:
        return {tuple(stream.generate_state(4)) for stream in streams}

    kept = [states(kept_streams(3, programme, 5)) for programme in PROGRAMMES]
    assert len(set.union(*kept)) == 15
    assert not set.union(*kept) & states(np.random.SeedSequence(3).spawn(50))


def test_a_synthetic_head_is_whole_with_its_brain_known_and_the_same_each_time():
    case = synthetic_cases(1, 0, None)[2]
    scan, again = case.read(), case.read()
    assert (case.kind, scan.spacing) == ("synthetic MS", (1.0, 1.0, 1.0))
    assert np.array_equal(scan.flair, again.flair) and np.array_equal(scan.lesions, again.lesions)
    assert scan.brain is not None and 900 < scan.brain.sum() / 1000 < 2200
    assert scan.lesions.any() and (scan.brain & scan.lesions).sum() > 0.95 * scan.lesions.sum()
    assert scan.flair[~scan.brain].max() > 100  # a scalp


def test_a_listed_case_is_real_and_its_lesions_have_their_types(data):
    entry = find_entries([data])[0]
    truth = read_truth(entry)
    assert not is_synthetic(entry) and truth.type == "WMH"
    number = lesion_labels(truth.flair.affine)
    assert np.array_equal(truth.types, np.array([0, 1, 2, 1, 2])[number]) and truth.types.shape == SHAPE
