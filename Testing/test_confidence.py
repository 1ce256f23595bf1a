"""The confidence of a lesion: from the bundle, by a run, through edits and files, to who reads it."""

from __future__ import annotations

import csv
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from heads import bright_bundle, save_head
from lesion_maps import done, lesion_map, row_of_lesions
from LesionSegmenterLib import edits
from LesionSegmenterLib.bundle import load_bundle, write_bundle
from LesionSegmenterLib.confidence import LesionConfidence
from LesionSegmenterLib.errors import BundleError, InputError
from LesionSegmenterLib.export import read_case
from LesionSegmenterLib.image import read_labels, read_volume
from LesionSegmenterLib.instances import outline_lesions
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import Change, LesionMap
from LesionSegmenterLib.lesions_tsv import read_lesions_tsv, write_lesions_tsv
from LesionSegmenterLib.progress import NoReporter
from LesionSegmenterLib.scene.tags import record_of, record_text
from LesionSegmenterLib.segment import SegmentOptions, SegmentResult, segment
from LesionSegmenterLib.snapshot import snapshot
from LesionSegmenterLib.visiting import visit_order

FITTED = LesionConfidence(-1.0, 0.25, 0.3)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory) -> Path:
    """A bundle that finds whatever is bright, with a confidence."""
    return bundle_with(FITTED, tmp_path_factory.mktemp("bundles"))


def bundle_with(confidence: LesionConfidence, folder: Path) -> Path:
    plain = load_bundle(bright_bundle(folder / "plain"))
    spec = replace(plain.spec, output=replace(plain.spec.output, confidence=confidence))
    files: dict[str, Path | bytes] = {name: plain.folder / name for name in plain.spec.files}
    return write_bundle(folder / "calibrated", spec, files).folder


def run(model: Path, folder: Path, **settings) -> SegmentResult:
    folder.mkdir(exist_ok=True)
    options = SegmentOptions(model=str(model), device="cpu", small_lesions="keep", **settings)
    return segment(save_head(folder / "sub-01_FLAIR.nii.gz"), folder / "out", options, NoReporter())


def rated(lesions: LesionMap) -> LesionMap:
    """The map with a confidence for every lesion."""
    records = [replace(record, confidence=0.25) for record in lesions.records.values()]
    return LesionMap.from_arrays(lesions.ids, lesions.affine, records)


# The bundle


def test_a_bundle_keeps_its_confidence_and_one_of_before_has_none(calibrated, tmp_path):
    assert load_bundle(calibrated).spec.output.confidence == FITTED
    older = bright_bundle(tmp_path / "older")
    content = json.loads((older / "bundle.json").read_text())
    del content["output"]["confidence"]
    (older / "bundle.json").write_text(json.dumps(content))
    assert load_bundle(older).spec.output.confidence is None


def test_a_confidence_that_is_no_number_is_refused(tmp_path):
    with pytest.raises(BundleError, match=r"output\.confidence holds a number that is not finite"):
        bundle_with(LesionConfidence(float("nan"), 1.0, 1.0), tmp_path)


# A run


def test_a_run_states_the_confidence_of_every_lesion_and_its_table_holds_it(calibrated, tmp_path):
    result = run(calibrated, tmp_path)
    assert len(result.records) == 4
    for record in result.records:
        assert record.confidence == FITTED.of(record.mean_probability or 0, record.volume_mm3)
    assert len({record.confidence for record in result.records}) == 4
    read = read_case(tmp_path / "out").records
    assert [r.confidence for r in read] == pytest.approx([r.confidence for r in result.records], abs=5e-5)


@pytest.mark.parametrize("settings", [{"threshold": 0.4}, {"split": "acls"}])
def test_lesions_found_otherwise_than_calibrated_have_none_and_the_user_is_told(
    calibrated, tmp_path, settings, capsys
):
    result = run(calibrated, tmp_path, **settings)
    assert result.records and all(record.confidence is None for record in result.records)
    assert "no confidence is stated" in capsys.readouterr().err
    assert any("no confidence is stated" in warning for warning in result.sidecar["warnings"])


def test_lesions_under_the_least_confidence_are_left_out_and_the_rest_renumbered(calibrated, tmp_path):
    everything = run(calibrated, tmp_path / "all")
    confidences = sorted(record.confidence or 0 for record in everything.records)
    least = (confidences[1] + confidences[2]) / 2
    assert 0 < confidences[1] < least < confidences[2]
    result = run(calibrated, tmp_path / "sure", least_confidence=least)
    assert [record.lesion_id for record in result.records] == [1, 2]
    kept = [record for record in everything.records if (record.confidence or 0) >= least]
    assert [r.volume_mm3 for r in result.records] == [r.volume_mm3 for r in kept]
    case = read_case(tmp_path / "sure" / "out")
    sizes = np.bincount(read_labels(case.paths["instances"]).array.ravel())
    assert len(sizes) == 3 and result.sidecar["settings"]["least_confidence"] == least


def test_a_mask_that_is_split_another_way_has_its_components_judged(calibrated, tmp_path):
    everything = run(calibrated, tmp_path / "all")
    confidences = sorted(record.confidence or 0 for record in everything.records)
    least = (confidences[1] + confidences[2]) / 2
    result = run(calibrated, tmp_path / "acls", split="acls", least_confidence=least)
    kept = [record for record in everything.records if (record.confidence or 0) >= least]
    assert all(record.confidence is None for record in result.records)
    assert sum(r.volume_mm3 for r in result.records) == pytest.approx(sum(r.volume_mm3 for r in kept))
    assert result.sidecar["settings"]["least_confidence"] == least


def test_a_bundles_least_confidence_holds_unless_another_is_stated(calibrated, tmp_path):
    plain = load_bundle(calibrated)
    output = replace(plain.spec.output, least_confidence=0.999)
    files: dict[str, Path | bytes] = {name: calibrated / name for name in plain.spec.files}
    strict = write_bundle(tmp_path / "strict", replace(plain.spec, output=output), files).folder
    assert run(strict, tmp_path / "own").records == []
    assert len(run(strict, tmp_path / "none", least_confidence=0.0).records) == 4
    other = run(strict, tmp_path / "other", threshold=0.4)
    assert len(other.records) == 4 and other.sidecar["settings"]["least_confidence"] == 0


def test_a_bundles_peak_share_takes_the_unsure_rim_off_every_lesion(calibrated, tmp_path):
    plain = load_bundle(calibrated)
    output = replace(plain.spec.output, threshold=0.1, peak_share=0.9)
    files: dict[str, Path | bytes] = {name: calibrated / name for name in plain.spec.files}
    sure = write_bundle(tmp_path / "sure", replace(plain.spec, output=output), files).folder
    result, wide = run(sure, tmp_path / "own"), run(calibrated, tmp_path / "wide", threshold=0.1)
    ids, probability = (read_volume(result.files[name]).array for name in ("instances", "probability"))
    everything = read_labels(wide.files["instances"]).array
    assert 0 < (ids > 0).sum() < (everything > 0).sum()
    np.testing.assert_array_equal(ids > 0, outline_lesions(probability, 0.1, 0.9))
    assert result.sidecar["settings"]["peak_share"] == 0.9
    assert all(record.confidence is not None for record in result.records), "it was fitted with that share"


def test_a_least_confidence_where_none_is_stated_is_refused(calibrated, tmp_path):
    for model, more in ((calibrated, {"threshold": 0.4}), (bright_bundle(tmp_path / "plain"), {})):
        with pytest.raises(InputError, match="states no confidence"):
            run(model, tmp_path / "out", least_confidence=0.2, **more)


def test_what_a_calibrated_model_uses_by_itself_may_be_stated_too(calibrated, tmp_path):
    result = run(calibrated, tmp_path, threshold=0.5, split="components")
    assert all(record.confidence for record in result.records) and result.sidecar["warnings"] == []


def test_a_model_without_calibration_states_none_and_says_nothing(tmp_path):
    result = run(bright_bundle(tmp_path / "plain"), tmp_path)
    assert all(record.confidence is None for record in result.records)
    assert result.sidecar["warnings"] == []


# Edits


@pytest.mark.parametrize(
    "edit",
    [
        lambda lesions: edits.accept(lesions, [1]),
        lambda lesions: edits.reject(lesions, [1]),
        lambda lesions: edits.relabel(lesions, [1], LesionType.STROKE),
        lambda lesions: edits.annotate(lesions, [1], "see T1"),
    ],
    ids=["accept", "reject", "relabel", "annotate"],
)
def test_judging_a_lesion_leaves_its_confidence(edit: Callable[[LesionMap], Change]):
    lesions = rated(row_of_lesions())
    done(lesions, edit(lesions))
    assert [record.confidence for record in lesions.records.values()] == [0.25] * 3


def painted(lesions: LesionMap, *places: int) -> np.ndarray:
    mask = np.zeros(lesions.shape, bool)
    mask[list(places), 1, 1] = True
    return mask


@pytest.mark.parametrize(
    ("edit", "without"),
    [
        (lambda lesions: edits.redraw(lesions, 1, painted(lesions, 1, 2)), [1]),
        (lambda lesions: edits.redraw(lesions, 1, painted(lesions, 6, 7), may_eat_neighbours=True), [1, 2]),
        (lambda lesions: edits.merge(lesions, [1, 2]), [1]),
        (lambda lesions: edits.split_k(lesions, 1, 2), [4, 5]),
        (lambda lesions: edits.split_seeds(lesions, 1, [(1, 1, 1), (6, 1, 1)]), [4, 5]),
        (lambda lesions: edits.grow(lesions, 3, 1), [3]),
        (lambda lesions: edits.add(lesions, painted(lesions, 10), LesionType.MS), [4]),
    ],
    ids=["redraw", "eat", "merge", "split", "seeds", "grow", "add"],
)
def test_a_lesion_that_a_person_reshaped_has_no_confidence_until_it_is_undone(
    edit: Callable[[LesionMap], Change], without: list[int]
):
    lesions = rated(row_of_lesions())
    change = done(lesions, edit(lesions))
    assert [i for i, record in lesions.records.items() if record.confidence is None] == without
    lesions.revert(change)
    assert [record.confidence for record in lesions.records.values()] == [0.25] * 3


# Where it is kept


def test_journals_and_scenes_give_it_back_exactly():
    lesions = rated(row_of_lesions())
    lesions.records[1] = replace(lesions.records[1], confidence=1 / 3)
    assert Change.from_bytes(snapshot(lesions).to_bytes()).records_after == lesions.records
    assert record_of(record_text(lesions.records[1])) == lesions.records[1]


def test_journals_and_scenes_of_before_are_read():
    lesions = row_of_lesions()
    data = snapshot(lesions).to_bytes()
    content = zlib.decompress(data[5:])
    size = int.from_bytes(content[:4], "little")
    head = content[4 : 4 + size].replace(b',"confidence":null', b"")
    assert len(head) < size
    older = zlib.compress(len(head).to_bytes(4, "little") + head + content[4 + size :])
    assert Change.from_bytes(data[:5] + older).records_after == lesions.records
    tag = record_text(lesions.records[1]).replace(',"confidence":null', "")
    assert record_of(tag) == lesions.records[1]


def test_a_table_of_before_is_read_and_a_new_one_gives_it_back(tmp_path):
    records = list(rated(row_of_lesions()).records.values())
    write_lesions_tsv(tmp_path / "new.tsv", records)
    assert read_lesions_tsv(tmp_path / "new.tsv") == records
    with (tmp_path / "new.tsv").open(newline="") as file:
        *columns, last = zip(*csv.reader(file, delimiter="\t"), strict=True)
    assert last == ("confidence", "0.2500", "0.2500", "0.2500")
    lines = ("\t".join(row) for row in zip(*columns, strict=True))
    (tmp_path / "old.tsv").write_text("\n".join(lines) + "\n")
    assert read_lesions_tsv(tmp_path / "old.tsv") == [replace(r, confidence=None) for r in records]


# Who reads it


def test_the_most_doubtful_lesion_is_that_of_a_confidence_of_a_half():
    ids = np.zeros((8, 1, 1), np.int32)
    ids[1], ids[3], ids[5] = 1, 2, 3
    chance = np.full(ids.shape, 0.9)
    records = lesion_map(ids, probability=chance).records
    rated = [replace(records[i], confidence=c) for i, c in ((1, 0.95), (2, 0.45), (3, None))]
    assert visit_order(rated, "uncertainty") == [2, 3, 1]
