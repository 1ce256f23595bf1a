"""The commands that work on lesions already found: split, measure and evaluate."""

from __future__ import annotations

import json
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from command_calls import AFFINE, batch, call, save
from heads import save_head
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions_tsv import read_lesions_tsv
from LesionSegmenterLib.metrics import evaluate_case
from phantoms import as_partition, touching_spheres


@pytest.fixture
def boxes() -> np.ndarray:
    """Three boxes of ids 1, 2 and 3: 60, 12 and 1 voxels; the first two touch."""
    ids = np.zeros((12, 10, 8), np.int32)
    ids[1:5, 1:4, 1:6] = 1
    ids[5:7, 1:4, 1:3] = 2
    ids[9, 8, 6] = 3
    return ids


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


def test_a_case_folder_is_scored_by_its_lesion_ids(tmp_path, bright):
    (tmp_path / "in").mkdir()
    save_head(tmp_path / "in" / "a.nii.gz")
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
