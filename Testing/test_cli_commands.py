"""The other commands: batch, split, measure, evaluate and models."""

from __future__ import annotations

import json
import shutil
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heads import bright_bundle, save_head
from LesionSegmenterLib import bundle
from LesionSegmenterLib.cli import main
from LesionSegmenterLib.export import complete_subjects, read_lesions_tsv
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.metrics import evaluate_case
from phantoms import as_partition, touching_spheres

AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def call(*arguments: str | Path | int | float) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def refused(capsys):
    """Run, and check that it ends with 2 and one line that says these words."""

    def check(*arguments, words: tuple[str, ...] = ()) -> None:
        assert call(*arguments) == 2
        line = capsys.readouterr().err
        assert line.startswith("lesion-segmenter: ") and line.count("\n") == 1
        for word in words:
            assert word in line

    return check


@pytest.fixture
def boxes() -> np.ndarray:
    """Three boxes of ids 1, 2 and 3: 60, 12 and 1 voxels; the first two touch."""
    ids = np.zeros((12, 10, 8), np.int32)
    ids[1:5, 1:4, 1:6] = 1
    ids[5:7, 1:4, 1:3] = 2
    ids[9, 8, 6] = 3
    return ids


# batch


@pytest.fixture(scope="module")
def bright(tmp_path_factory) -> Path:
    return bright_bundle(tmp_path_factory.mktemp("models") / "bright")


def batch(folder: Path, out: Path, bright: Path, *options: str) -> int:
    return call("batch", folder, "--out", out, "--model", bright, "--device", "cpu", *options)


@pytest.fixture(scope="module")
def flair(tmp_path_factory) -> Path:
    return save_head(tmp_path_factory.mktemp("head") / "flair.nii.gz")


def place(flair: Path, *paths: Path) -> None:
    """Copy the head to each path."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(flair, path)


def test_a_folder_of_flairs_gives_a_case_each(tmp_path, flair, bright, capsys):
    place(flair, tmp_path / "in" / "anna.nii.gz", tmp_path / "in" / "ben_2.NII.GZ")
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    assert batch(tmp_path / "in", tmp_path / "out", bright) == 0
    assert complete_subjects(tmp_path / "out") == ["anna", "ben2"]
    said = capsys.readouterr().out
    assert "anna: 4 lesions" in said and "ben2: 4 lesions" in said and "2 cases written" in said


def test_a_bids_data_set_gives_subjects_of_subject_and_session(tmp_path, flair, bright):
    root = tmp_path / "bids"
    place(
        flair,
        root / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz",
        root / "sub-02" / "ses-a" / "anat" / "sub-02_ses-a_FLAIR.nii.gz",
        root / "sub-02" / "ses-b" / "anat" / "sub-02_ses-b_acq-3D_FLAIR.nii.gz",
        root / "sub-01" / "anat" / "sub-01_T1w.nii.gz",
        root / "derivatives" / "x" / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz",
        root / "stray.nii.gz",
    )
    assert batch(root, tmp_path / "out", bright) == 0
    assert complete_subjects(tmp_path / "out") == ["01", "02sesa", "02sesb"]


def test_two_inputs_of_one_subject_are_refused_before_anything_runs(tmp_path, flair, bright, refused):
    place(flair, tmp_path / "in" / "a-1.nii.gz", tmp_path / "in" / "a_1.nii.gz")
    words = ("a-1.nii.gz and a_1.nii.gz", "subject a1")
    refused("batch", tmp_path / "in", "--out", tmp_path / "out", "--model", bright, words=words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["missing", "file", "empty"])
def test_an_input_without_flairs_is_refused(tmp_path, bright, refused, kind):
    folder = tmp_path / "in"
    if kind == "file":
        folder.write_text("a file")
    elif kind == "empty":
        folder.mkdir()
    refused("batch", folder, "--out", tmp_path / "out", "--model", bright, words=(str(folder),))


def test_an_unknown_model_ends_the_batch_at_once(tmp_path, flair, refused):
    place(flair, tmp_path / "in" / "a.nii.gz")
    refused("batch", tmp_path / "in", "--out", tmp_path / "out", "--model", "none-such", words=("no model",))


def test_a_failing_case_does_not_stop_the_others_and_is_told_at_the_end(tmp_path, flair, bright, capsys):
    place(flair, tmp_path / "in" / "a.nii.gz", tmp_path / "in" / "c.nii.gz")
    (tmp_path / "in" / "b.nii.gz").write_text("broken")
    assert batch(tmp_path / "in", tmp_path / "out", bright) == 2
    assert complete_subjects(tmp_path / "out") == ["a", "c"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[0].startswith("b: ") and "not gzip" in lines[0]
    assert lines[1].startswith("lesion-segmenter: 1 of 3 cases failed: b")


def test_a_case_that_fails_for_another_reason_ends_the_batch_with_1(tmp_path, flair, bright, monkeypatch):
    place(flair, tmp_path / "in" / "a.nii.gz", tmp_path / "in" / "b.nii.gz")
    from LesionSegmenterLib import segment

    real = segment.split

    def split(*arguments, **options):
        if not list((tmp_path / "out").glob("sub-a")):
            return real(*arguments, **options)
        raise RuntimeError("a bug")

    monkeypatch.setattr(segment, "split", split)
    assert batch(tmp_path / "in", tmp_path / "out", bright) == 1
    assert complete_subjects(tmp_path / "out") == ["a"]


def test_resume_skips_complete_cases_and_runs_the_rest(tmp_path, flair, bright, capsys):
    place(flair, tmp_path / "in" / "a.nii.gz", tmp_path / "in" / "b.nii.gz")
    assert batch(tmp_path / "in", tmp_path / "out", bright) == 0
    kept, lost = (tmp_path / "out" / f"sub-{s}" / "anat" / f"sub-{s}_desc-lesions.json" for s in "ab")
    time = kept.stat().st_mtime_ns
    lost.unlink()
    capsys.readouterr()
    assert batch(tmp_path / "in", tmp_path / "out", bright, "--resume") == 0
    assert kept.stat().st_mtime_ns == time and lost.is_file()
    assert "1 case written" in (said := capsys.readouterr().out) and "1 skipped" in said
    assert batch(tmp_path / "in", tmp_path / "out", bright, "--resume") == 0


def test_the_progress_of_a_batch_rises_over_all_its_cases(tmp_path, flair, bright, capsys):
    place(flair, tmp_path / "in" / "a.nii.gz", tmp_path / "in" / "b.nii.gz")
    (tmp_path / "in" / "c.nii.gz").write_text("broken")
    assert batch(tmp_path / "in", tmp_path / "out", bright, "--progress", "json") == 2
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions) and fractions[-1] == 1
    assert [event["subject"] for event in events if event["event"] == "case"] == ["a", "b"]
    assert [event["event"] for event in events[-2:]] == ["done", "error"]
    assert (
        events[-2]["cases"] == 2 and "not gzip" in events[-2]["failed"].pop("c") and not events[-2]["failed"]
    )
    assert events[-1]["status"] == 2


def test_a_stopped_batch_ends_with_3_and_keeps_its_complete_cases(
    tmp_path, flair, bright, monkeypatch, capsys
):
    place(flair, tmp_path / "in" / "a.nii.gz", tmp_path / "in" / "b.nii.gz")
    from LesionSegmenterLib import segment

    real = segment.measure_lesions

    def measure(*arguments, **options):
        if list((tmp_path / "out").glob("sub-a")):
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(segment, "measure_lesions", measure)
    assert batch(tmp_path / "in", tmp_path / "out", bright) == 3
    assert "1 complete" in (said := capsys.readouterr().err) and "--resume" in said
    assert complete_subjects(tmp_path / "out") == ["a"]


# split


def instances(path: Path) -> np.ndarray:
    image = nib.load(path)
    assert image.get_data_dtype() == np.int32
    return np.asarray(image.dataobj)


def test_a_mask_is_split_into_its_components_on_its_own_grid(tmp_path, boxes, capsys):
    mask = save(tmp_path / "mask.nii.gz", (boxes > 0).astype(np.uint8))
    out = tmp_path / "ids.nii.gz"
    assert call("split", mask, "--out", out, "--method", "components") == 0
    expected = np.where(boxes == 3, 2, boxes > 0)
    np.testing.assert_array_equal(instances(out), expected)
    assert nib.load(out).affine.tobytes() == AFFINE.tobytes()
    assert "2 lesions, 0.15 ml" in capsys.readouterr().out  # 73 voxels of 2 mm3


def test_every_label_of_a_label_image_is_lesion(tmp_path, boxes):
    labels = save(tmp_path / "labels.nii.gz", boxes.astype(np.float32))
    assert call("split", labels, "--out", tmp_path / "ids.nii.gz") == 0
    assert instances(tmp_path / "ids.nii.gz").max() == 2


@pytest.mark.parametrize(("connectivity", "count"), [(6, 3), (18, 2), (26, 1)])
def test_the_connectivity_says_what_touches(tmp_path, connectivity, count):
    steps = np.zeros((8, 8, 8), np.uint8)
    steps[1, 1, 1] = steps[2, 2, 1] = steps[3, 3, 2] = 1  # joined by an edge, then by a corner
    mask, out = save(tmp_path / "mask.nii", steps), tmp_path / "ids.nii"
    assert call("split", mask, "--out", out, "--connectivity", connectivity) == 0
    assert instances(out).max() == count


def test_a_probability_map_is_cut_at_the_threshold(tmp_path):
    ramp = np.zeros((10, 6, 6), np.float32)
    ramp[:, 2, 2] = np.linspace(0.05, 0.95, 10)
    path, out = save(tmp_path / "p.nii.gz", ramp), tmp_path / "ids.nii.gz"
    assert call("split", path, "--out", out) == 0
    assert np.count_nonzero(instances(out)) == np.count_nonzero(ramp >= 0.5)
    assert call("split", path, "--out", out, "--threshold", "0.9") == 0
    assert np.count_nonzero(instances(out)) == 1


def test_acls_splits_two_touching_spheres_that_components_leave_whole(tmp_path):
    probability, truth = touching_spheres()
    path, out = save(tmp_path / "p.nii.gz", probability.astype(np.float32), np.eye(4)), tmp_path / "ids.nii"
    assert call("split", path, "--out", out, "--method", "components") == 0
    assert instances(out).max() == 1
    assert call("split", path, "--out", out, "--method", "acls", "--threshold", "0.5001") == 0
    assert as_partition(instances(out)) == as_partition(truth)


def test_drop_small_leaves_lesions_of_clinical_size(tmp_path, boxes):
    mask = save(tmp_path / "mask.nii.gz", (boxes > 0).astype(np.uint8))
    assert call("split", mask, "--out", tmp_path / "ids.nii.gz", "--drop-small") == 0
    np.testing.assert_array_equal(instances(tmp_path / "ids.nii.gz"), (boxes == 1) | (boxes == 2))


def test_ids_do_not_depend_on_how_the_file_stores_the_voxels(tmp_path):
    # Equal lesions: only their place can order them.
    mask = np.zeros((8, 9, 10), np.uint8)
    for corner in ((1, 1, 1), (1, 6, 1), (5, 1, 7), (5, 6, 7)):
        mask[tuple(slice(n, n + 2) for n in corner)] = 1
    image = nib.Nifti1Image(mask, AFFINE)
    seen = set()
    for axes in permutations(["LR", "PA", "IS"]):
        for code in product(*axes):
            turned = image.as_reoriented(
                nib.orientations.ornt_transform(
                    nib.io_orientation(AFFINE), nib.orientations.axcodes2ornt(code)
                )
            )
            nib.save(turned, tmp_path / "mask.nii")
            assert call("split", tmp_path / "mask.nii", "--out", tmp_path / "ids.nii") == 0
            result = nib.as_closest_canonical(nib.load(tmp_path / "ids.nii"))
            seen.add(np.asarray(result.dataobj).tobytes())
    assert len(seen) == 1


def test_an_empty_map_gives_an_empty_image(tmp_path, capsys):
    empty = save(tmp_path / "empty.nii.gz", np.zeros((4, 4, 4), np.float32))
    assert call("split", empty, "--out", tmp_path / "ids.nii.gz", "--method", "acls") == 0
    assert not instances(tmp_path / "ids.nii.gz").any() and "0 lesions" in capsys.readouterr().out


def test_nan_counts_as_no_lesion_with_a_warning(tmp_path, capsys):
    probability = np.full((4, 4, 4), 0.7, np.float32)
    probability[0, 0, :2] = np.nan
    path = save(tmp_path / "p.nii.gz", probability)
    assert call("split", path, "--out", tmp_path / "ids.nii.gz") == 0
    assert np.count_nonzero(instances(tmp_path / "ids.nii.gz")) == 62
    assert "2 of 64 voxels" in capsys.readouterr().err


def test_split_refuses_what_it_cannot_use(tmp_path, refused):
    grey = save(tmp_path / "grey.nii.gz", np.linspace(0, 50, 64, dtype=np.float32).reshape(4, 4, 4))
    out = tmp_path / "ids.nii.gz"
    refused("split", grey, "--out", out, words=("from 0 to 50", "Give probabilities"))
    refused("split", tmp_path / "none.nii", "--out", out, words=("no such",))
    mask = save(tmp_path / "mask.nii.gz", np.ones((4, 4, 4), np.uint8))
    refused("split", mask, "--out", tmp_path / "ids.txt", words=("ids.txt", ".nii"))
    refused("split", mask, "--out", tmp_path / "none" / "ids.nii", words=("cannot write",))
    assert not out.exists()


# measure


def test_measure_writes_and_prints_the_table_of_every_lesion(tmp_path, boxes, capsys):
    ids = save(tmp_path / "ids.nii.gz", boxes)
    types = save(tmp_path / "types.nii.gz", np.array([0, 3, 2, 0], np.uint8)[boxes])
    probability = save(tmp_path / "p.nii.gz", np.where(boxes, 0.25 * boxes, 0).astype(np.float32))
    out = tmp_path / "lesions.tsv"
    options = ("--types", types, "--probability", probability, "--out", out)
    assert call("measure", ids, *options) == 0
    records = read_lesions_tsv(out)
    assert [record.lesion_id for record in records] == [1, 2, 3]
    assert [record.volume_mm3 for record in records] == [120, 24, 2]
    assert [record.type for record in records] == [LesionType.MS, LesionType.STROKE, LesionType.LESION]
    assert [record.mean_probability for record in records] == [0.25, 0.5, 0.75]
    assert records[0].centroid_ras_mm == (2.5, 2.0, 6.0)
    said = capsys.readouterr().out
    assert all(f"L000{n}" in said for n in (1, 2, 3)) and "MS" in said


def test_measure_prints_every_lesion_even_of_many(tmp_path, capsys):
    ids = np.zeros((30, 4, 4), np.int32)
    ids[:, 1, 1] = np.arange(1, 31)
    assert call("measure", save(tmp_path / "ids.nii.gz", ids)) == 0
    said = capsys.readouterr().out
    assert all(f"L{n:04d}" in said for n in range(1, 31))


def test_the_type_of_a_lesion_is_that_of_most_of_its_voxels(tmp_path, boxes):
    labels = np.where(boxes == 1, 1, 0).astype(np.uint8)
    labels[1, 1:4, 1:6] = 2  # 15 of the 60 voxels
    ids, types = save(tmp_path / "ids.nii", boxes), save(tmp_path / "types.nii", labels)
    assert call("measure", ids, "--types", types, "--out", tmp_path / "lesions.tsv") == 0
    assert [r.type.label for r in read_lesions_tsv(tmp_path / "lesions.tsv")] == ["WMH", "lesion", "lesion"]


def test_measure_refuses_what_does_not_fit(tmp_path, boxes, refused):
    ids = save(tmp_path / "ids.nii.gz", boxes)
    other = save(tmp_path / "other.nii.gz", boxes, np.eye(4))
    refused("measure", ids, "--types", other, words=("type image is not on the grid of ids.nii.gz",))
    refused("measure", ids, "--probability", other, words=("values from 0 to 3",))
    labels = save(tmp_path / "labels.nii.gz", (7 * (boxes > 0)).astype(np.uint8))
    refused("measure", ids, "--types", labels, words=("labels from 0 to 7", "1 WMH"))
    refused("measure", save(tmp_path / "p.nii.gz", boxes / 2), words=("not whole numbers",))
    refused("measure", ids, "--out", tmp_path / "none" / "x.tsv", words=("cannot write",))


# evaluate


def test_evaluate_prints_the_scores_by_definition_and_writes_json(tmp_path, boxes, capsys):
    shifted = np.roll(boxes, 1, axis=1)
    pred, truth = save(tmp_path / "pred.nii.gz", shifted), save(tmp_path / "truth.nii.gz", boxes)
    assert call("evaluate", pred, truth, "--json", tmp_path / "scores.json") == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    expected = evaluate_case(shifted, boxes, AFFINE)
    assert scores == pytest.approx(expected, nan_ok=True)
    assert 0 < scores["dice"] < 1
    said = capsys.readouterr().out
    for text in ("overlap", "WMH challenge", "lesions (26-connected", "ConfLUNet", f"{scores['dice']:.3f}"):
        assert text in said
    for name in expected:
        assert f"  {name} " in said
    assert said.count("(lesion ids)") == 2


def test_masks_are_labelled_26_connected_for_evaluation(tmp_path, boxes):
    mask = save(tmp_path / "mask.nii.gz", (boxes > 0).astype(np.uint8))
    assert call("evaluate", mask, mask, "--json", tmp_path / "scores.json") == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert (scores["pred_count"], scores["true_count"], scores["pq"]) == (2, 2, 1)


def test_undefined_scores_are_null(tmp_path, boxes, capsys):
    empty = save(tmp_path / "empty.nii.gz", np.zeros_like(boxes))
    full = save(tmp_path / "full.nii.gz", boxes)
    assert call("evaluate", full, empty, "--json", tmp_path / "scores.json") == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["dice"] == 0 and scores["hausdorff95_wmh_mm"] is None
    assert "undefined" in capsys.readouterr().out


def test_a_case_folder_is_scored_by_its_lesion_ids(tmp_path, flair, bright):
    place(flair, tmp_path / "in" / "a.nii.gz")
    assert batch(tmp_path / "in", tmp_path / "out", bright) == 0
    truth = tmp_path / "out" / "sub-a" / "anat" / "sub-a_desc-instance_dseg.nii.gz"
    for folder in (tmp_path / "out", tmp_path / "out" / "sub-a"):
        assert call("evaluate", folder, truth, "--json", tmp_path / "scores.json") == 0
        scores = json.loads((tmp_path / "scores.json").read_text())
        assert (scores["pq"], scores["pred_count"]) == (1, 4)


def test_evaluate_refuses_what_cannot_be_compared(tmp_path, boxes, refused):
    pred = save(tmp_path / "pred.nii.gz", boxes)
    refused("evaluate", pred, save(tmp_path / "moved.nii.gz", boxes, np.eye(4)), words=("not on the grid",))
    refused("evaluate", pred, save(tmp_path / "cut.nii.gz", boxes[:-1]), words=("12x10x8 and 11x10x8",))
    refused("evaluate", pred, save(tmp_path / "half.nii.gz", boxes / 2), words=("not whole numbers",))
    refused("evaluate", pred, save(tmp_path / "neg.nii.gz", -boxes), words=("negative",))
    (tmp_path / "empty").mkdir()
    refused("evaluate", tmp_path / "empty", pred, words=("no complete case",))


# models


@pytest.fixture
def places(tmp_path, monkeypatch) -> Path:
    """Shipped and added models in folders of their own; returns that of the added."""
    monkeypatch.setattr(bundle, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("LESION_SEGMENTER_MODELS", str(tmp_path / "user"))
    return tmp_path / "user"


def test_an_added_model_is_listed_shown_and_found_by_name(places, tmp_path, flair, capsys):
    source = bright_bundle(tmp_path / "source", version="2.1")
    assert call("models", "list") == 0
    assert capsys.readouterr().out == ""
    assert call("models", "add", source) == 0
    assert str(places / "bright-2.1") in capsys.readouterr().out
    shutil.rmtree(source)
    assert call("models", "list") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split()[:2] == ["bright", "2.1"] and "Whatever is bright" in line
    assert call("models", "show", "bright") == 0
    assert capsys.readouterr().out == "# Bright\n"
    place(flair, tmp_path / "in" / "a.nii.gz")
    assert batch(tmp_path / "in", tmp_path / "out", Path("bright")) == 0


def test_an_unusable_model_is_listed_as_such_and_does_not_hide_the_others(places, tmp_path, capsys):
    call("models", "add", bright_bundle(tmp_path / "source"))
    (places / "broken").mkdir()
    (places / "broken" / "bundle.json").write_text("{")
    capsys.readouterr()
    assert call("models", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        len(lines) == 2 and lines[0].startswith("bright ") and "broken" in lines[1] and "unusable" in lines[1]
    )


def test_a_whole_bundle_is_valid_and_an_edited_one_is_not(places, tmp_path, capsys, refused):
    folder = bright_bundle(tmp_path / "source")
    assert call("models", "validate", folder) == 0
    assert "bright 1.0 is complete" in capsys.readouterr().out
    (folder / "MODEL_CARD.md").write_text("edited")
    refused("models", "validate", folder, words=("MODEL_CARD.md", "edited"))
    refused("models", "add", folder, words=("edited",))
    assert not places.exists()


def test_weights_that_do_not_fit_the_network_are_not_valid(tmp_path, refused):
    folder = bright_bundle(tmp_path / "source")
    content = json.loads((folder / "bundle.json").read_text())
    content["architecture"]["arguments"]["widths"] = [4, 4]
    (folder / "bundle.json").write_text(json.dumps(content))
    refused("models", "validate", folder, words=("weights do not fit",))


def test_a_model_that_is_not_there_is_refused_with_the_names_that_are(places, tmp_path, refused):
    call("models", "add", bright_bundle(tmp_path / "source"))
    refused("models", "show", "brigt", words=("Did you mean 'bright'?",))
    refused("models", "validate", tmp_path / "none", words=("no model bundle here",))
