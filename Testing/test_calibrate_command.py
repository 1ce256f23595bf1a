"""``lesion-train calibrate``: from a bundle and cases with a truth to threshold, confidence and a report."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread

from heads import LESIONS, bright_bundle, centred_affine, save_head
from lesion_training.baselines import Z_SCORE
from lesion_training.bundling import calibrated, read_calibration
from lesion_training.calibration import SCORES, Calibration, FoundLesion, fit_confidence
from lesion_training.card import model_card
from lesion_training.cli import main
from lesion_training.evaluation import score_case
from lesion_training.folders import find_entries
from lesion_training.recipe import load_recipe
from lesion_training.sweep import (
    LEAST_CONFIDENCES,
    THRESHOLDS,
    CaseSweep,
    Cut,
    Found,
    best_cut,
    overlaps,
    scores_by_cut,
    sweep_case,
)
from LesionSegmenterLib.bundle import WEIGHTS, load_bundle, write_bundle
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.instances import label_components
from LesionSegmenterLib.metrics import dice, lesion_detection
from LesionSegmenterLib.segment import SegmentOptions, load
from phantoms import smooth_noise
from small_data import SHAPE, THICK, lesion_labels, row, write_listing
from training_cases import export_case

AFFINE = centred_affine(SHAPE, THICK)
FALSE = ((0.0, -55.0, 3.0), 7.0, 30.0)  # bright as the first lesion is, and no lesion


def save_case(folder: Path, case: str, *, typed: bool = False) -> None:
    """A head with the four lesions of `heads`, which its mask holds, and a bright place that it does not."""
    save_head(folder / f"{case}.nii.gz", AFFINE, lesions=(*LESIONS, FALSE))
    labels = lesion_labels(AFFINE)
    mask = np.where(labels > 2, 2, labels) if typed else labels > 0  # third and fourth of one type
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), AFFINE), folder / f"{case}_mask.nii.gz")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """One case to train on, and two patients for validation, the second with typed lesions."""
    folder = tmp_path_factory.mktemp("data")
    save_case(folder, "seen")
    save_case(folder, "ada")
    save_case(folder, "bob", typed=True)
    rows = [
        row("seen"),
        row("ada", split="validation", type="lesion"),
        row("bob", split="validation", lesion_values="1=WMH,2=stroke", type="lesion"),
    ]
    write_listing(folder / "cases.tsv", rows)
    return folder


@pytest.fixture(scope="module")
def bright(tmp_path_factory) -> Path:
    return bright_bundle(tmp_path_factory.mktemp("bundle") / "bright")


@pytest.fixture(scope="module")
def written(data, bright, tmp_path_factory) -> Path:
    """The folder that the command wrote its files to."""
    out = tmp_path_factory.mktemp("out")
    command = ["calibrate", str(bright), "--data", str(data), "--report", str(out / "report")]
    assert main([*command, "--out", str(out / "calibration.json")]) == 0
    return out


def test_it_takes_the_cases_of_the_split_and_counts_what_is_real(written):
    found = read_calibration(written / "calibration.json")
    assert list(found.scores["cases"].values()) == [["ada", "bob"]]
    assert (found.scores["lesions"], found.scores["real"]) == (10, 8)
    assert {"mean_probability", "confidence", "confidence_left_out"} <= found.ratings.keys()
    assert found.ratings["confidence"].count == 10
    (dataset,) = found.by_dataset.values()
    assert (dataset.count, dataset.observed) == (10, pytest.approx(0.8))
    assert found.scores["confidence"]["brier"] < found.scores["mean_probability"]["brier"]


def test_types_are_rated_where_the_truth_has_them(written):
    found = read_calibration(written / "calibration.json")
    rating = found.ratings["type_confidence"]
    assert rating.count == 4, "of ada's lesions the truth has no type"
    right = sum(one.count * one.observed for one in rating.bins)
    assert right == pytest.approx(3), (
        "the third lesion is as bright as a WMH, and bob's truth calls it a stroke"
    )


def test_the_report_shows_thresholds_and_reliability(written):
    page = (written / "report" / "calibration.md").read_text()
    assert "bright 1.0" in page and "ada, bob" in page and "reliability.png" in page
    cuts = [f"| {t:.1f} | {c:.1f} |" for t in THRESHOLDS for c in LEAST_CONFIDENCES]
    rows = [" ".join(line.split()) for line in page.splitlines()]
    assert all(any(row.startswith(cut) for row in rows) for cut in cuts)
    assert imread(written / "report" / "reliability.png").shape[1] > 500


def test_each_cut_is_scored_as_evaluate_does(data, bright, tmp_path):
    (entry,) = (e for e in find_entries([data]) if e.case == "ada")
    options = SegmentOptions(model=str(bright), device="cpu")
    sweep = sweep_case(entry, load(options))
    scores = scores_by_cut([sweep])
    assert scores.keys() == {Cut(t, c) for t in THRESHOLDS for c in LEAST_CONFIDENCES}
    spec = load_bundle(bright).spec
    found = []
    for cut in (Cut(0.1, 0.0), Cut(0.1, 0.5), Cut(0.9, 0.0)):
        fitted = fit_confidence(sweep.found[cut.threshold].lesions)
        output = replace(spec.output, confidence=fitted, **cut._asdict())
        files: dict[str, Path | bytes] = {name: bright / name for name in spec.files}
        folder = tmp_path / f"{cut.threshold}-{cut.least_confidence}"
        own = replace(options, model=str(write_bundle(folder, replace(spec, output=output), files).folder))
        expected = score_case(entry, own, load(own))
        assert scores[cut] == pytest.approx({name: expected.metrics[name] for name in scores[cut]})
        found.append(expected.metrics["dice"])
    assert found[0] != found[2]


def test_scores_of_what_is_kept_are_those_of_a_mask_without_the_rest():
    found = label_components(smooth_noise((24, 22, 20), 2) > 0.93, 26)
    true = label_components(smooth_noise((24, 22, 20), 3) > 0.9, 26)
    lesions = Found([], *overlaps(found, true))
    for seed in range(4):
        kept = np.random.default_rng(seed).random(found.max()) < seed / 3
        rest = np.isin(found, 1 + np.flatnonzero(kept))
        detection = lesion_detection(rest, true)
        expected = dict(zip(SCORES, (dice(rest, true), detection.recall, detection.f1), strict=True))
        assert lesions.scores(kept) == pytest.approx(expected)
    nothing = np.zeros((2, 2, 2), np.int32)
    assert Found([], *overlaps(nothing, nothing)).scores(np.zeros(0, bool)) == dict.fromkeys(SCORES, 1.0)


def export_heads(folder: Path, data: Path, *subjects: str) -> None:
    """Case folders of one head under several names."""
    labels = lesion_labels(AFFINE)
    types, ids = (labels > 0).astype(np.uint8), labels.astype(np.int32)
    for subject in subjects:
        export_case(folder, subject, data / "ada.nii.gz", types, ids)


def test_every_case_of_an_unseen_folder_is_taken(data, bright, tmp_path, capsys):
    export_heads(tmp_path / "heads", data, "one", "two", "three")
    out = tmp_path / "calibration.json"
    command = ["calibrate", str(bright), "--data", str(data), "--unseen", str(tmp_path / "heads")]
    assert main([*command, "--out", str(out)]) == 0
    assert sorted(map(sorted, read_calibration(out).scores["cases"].values())) == [
        ["ada", "bob"],
        ["one", "three", "two"],
    ]
    assert "confidence = logistic(" in capsys.readouterr().out


def test_a_share_of_the_peak_is_swept_with_noted_and_taken_by_the_bundle(data, bright, tmp_path):
    out = {share: tmp_path / f"{share}.json" for share in ("0", "0.99")}
    for share, path in out.items():
        command = ["calibrate", str(bright), "--data", str(data), "--peak-share", share]
        assert main([*command, "--out", str(path)]) == 0
    plain, strict = (read_calibration(path) for path in out.values())
    assert (plain.peak_share, strict.peak_share) == (0, 0.99)
    made = load_bundle(bright)
    spec = calibrated(made.spec, strict, made.weights.read_bytes())
    assert spec.output.peak_share == 0.99
    lowest = [next(row["dice"] for row in c.by_cut if row["threshold"] == 0.1) for c in (plain, strict)]
    assert lowest[0] != lowest[1]


def merits(**by_cut: float) -> dict[Cut, dict[str, float]]:
    """Scores by cuts such as t30 or t30c2 of the merits given, and 0 by the others."""
    scores = {}
    for threshold in THRESHOLDS:
        for least in LEAST_CONFIDENCES:
            name = f"t{round(100 * threshold)}" + (f"c{round(10 * least)}" if least else "")
            merit = by_cut.get(name, 0.0)
            scores[Cut(threshold, least)] = {
                "dice": merit + 0.1,
                "lesion_f1": merit - 0.1,
                "lesion_recall": 0.0,
            }
    return scores


def test_the_best_cut_is_that_of_the_best_mean_and_of_equals_the_middle_one():
    assert best_cut(merits(t30=0.7, t70=0.8)) == (0.7, 0)
    assert best_cut(merits(t60=0.7, t80=0.7003)) == (0.6, 0)
    assert best_cut(merits(t60=0.7, t80=0.702)) == (0.8, 0)
    assert best_cut(merits(t60=0.7, t40c2=0.8, t40c1=0.7)) == (0.4, 0.2)


def test_a_least_recall_comes_before_everything_else():
    scores = merits(t30=0.6, t40=0.65, t80=0.9)
    for threshold, recall in ((0.3, 0.7), (0.4, 0.65), (0.8, 0.5)):
        scores[Cut(threshold, 0)]["lesion_recall"] = recall
    assert best_cut(scores) == best_cut(scores, 0.5) == (0.8, 0)
    assert best_cut(scores, 0.6) == (0.4, 0)
    assert best_cut(scores, 0.99) == (0.3, 0)


def test_data_sets_weigh_the_same_however_many_cases_they_have():
    def sweep(dataset: str, hit: int) -> CaseSweep:
        """One lesion of ten voxels in each, found in whole or not at all."""
        lesion = FoundLesion("a", dataset, 0.9, 10.0, bool(hit), dataset=dataset)
        found = Found([lesion], np.array([[10 * hit]]), np.array([10]), np.array([10]))
        return CaseSweep("a", dataset, dict.fromkeys(THRESHOLDS, found))

    scores = scores_by_cut([*[sweep("heads", 1)] * 3, sweep("patients", 0)])
    assert scores[Cut(0.5, 0)] == {"dice": 0.5, "lesion_recall": 0.5, "lesion_f1": 0.5}


# What a bundle takes of it


def calibration_of(bundle: Path) -> Calibration:
    spec = load_bundle(bundle).spec
    scores = {"cases": {"set": ["ada"]}, "lesions": 9, "real": 7, "confidence": {"ece": 0.0312, "brier": 0.1}}
    fitted = {"intercept": -1.0, "probability": 0.5, "log_volume": 0.25}
    content = {
        "model": "bright 1.0",
        "weights_sha256": spec.files[WEIGHTS],
        "threshold": 0.35,
        "least_confidence": 0.2,
        "peak_share": 0.5,
    }
    more = {"confidence": fitted, "scores": scores, "by_cut": [], "by_dataset": {}, "ratings": {}}
    path = bundle.parent / "calibration.json"
    path.write_text(json.dumps(content | more))
    return read_calibration(path)


def test_a_bundle_gets_threshold_confidence_and_a_card_that_says_on_what_they_were_fitted(bright):
    made, calibration = load_bundle(bright), calibration_of(bright)
    spec = calibrated(made.spec, calibration, made.weights.read_bytes())
    assert (spec.output.threshold, spec.output.least_confidence) == (0.35, 0.2)
    assert spec.output.confidence == calibration.confidence
    noted = {
        "recipe": "uresnet",
        "seed": 1,
        "started": "2026",
        "device": {"name": "cpu", "precision": "fp32"},
    }
    card = model_card(spec, load_recipe("uresnet"), noted, {"step": 1, "seconds": 60, "loss": 0.5}, 100)
    assert "on 9 lesions found in these cases, 7 of them real: set (ada)" in " ".join(card.split())
    assert "confidence 0.031" in card and "0.35, the least confidence, 0.2, and" in card
    assert "what has less than 0.5 of its highest probability is left out" in " ".join(card.split())


def test_a_calibration_of_other_weights_is_refused(bright, tmp_path):
    other = load_bundle(bright_bundle(tmp_path / "wide", widths=(4, 4)))
    with pytest.raises(InputError, match=r"this calibration is of bright 1\.0, which has other weights"):
        calibrated(other.spec, calibration_of(bright), other.weights.read_bytes())


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "no case to measure on"),
        (["--data", "nowhere"], "no such folder of cases"),
        (["--data", "DATA", "--split", "test"], "no case of split 'test'"),
        (["--data", "DATA", "--out", "DATA/ada_mask.nii.gz"], "this file is an input"),
    ],
)
def test_bad_arguments_end_with_one_line(data, bright, capsys, arguments, line):
    given = [argument.replace("DATA", str(data)) for argument in arguments]
    assert main(["calibrate", str(bright), *given]) == 2
    error = capsys.readouterr().err.strip()
    assert line in error and "\n" not in error


def test_cases_in_which_nothing_is_found_are_refused(bright, tmp_path, capsys):
    save_head(tmp_path / "dark.nii.gz", AFFINE, lesions=())
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), AFFINE), tmp_path / "dark_mask.nii.gz")
    write_listing(tmp_path / "cases.tsv", [row("dark", split="validation")])
    assert main(["calibrate", str(bright), "--data", str(tmp_path)]) == 2
    assert "no lesion was found in these cases" in capsys.readouterr().err


def test_a_file_that_is_no_calibration_is_refused(tmp_path):
    (tmp_path / "scores.json").write_text(json.dumps({"cases": {}, "mean": {}}))
    with pytest.raises(InputError, match="unknown key 'cases'"):
        read_calibration(tmp_path / "scores.json")


def test_a_found_lesion_knows_its_type_only_where_model_and_truth_state_one():
    lesion = FoundLesion("a", "a", 0.9, 10.0, True)
    assert asdict(lesion)["type_is_right"] is None
    assert lesion.typed(0.75, False).type_is_right is False


def test_evaluate_scores_unseen_cases_without_listed_ones_but_fits_no_baseline_to_them(
    data, bright, tmp_path, capsys
):
    export_heads(tmp_path / "heads", data, "one", "two")
    command = ["evaluate", str(bright), "--unseen", str(tmp_path / "heads")]
    assert main([*command, "--json", str(tmp_path / "scores.json")]) == 0
    assert len(json.loads((tmp_path / "scores.json").read_text())["cases"]) == 2
    capsys.readouterr()
    assert main(["evaluate", Z_SCORE, "--unseen", str(tmp_path / "heads")]) == 2
    assert "--data" in capsys.readouterr().err
