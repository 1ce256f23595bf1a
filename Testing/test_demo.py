"""The demonstration: the whole job on a synthetic FLAIR, scored against a truth that nothing knew before."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import signal
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from LesionSegmenterLib import demo
from LesionSegmenterLib.cli import main
from LesionSegmenterLib.segment import SegmentOptions, segment

KINDS = ("WMH", "stroke", "MS")


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@dataclass
class Demonstration:
    """One run of the command: its folder, what it printed, and the case folder as `segment` left it."""

    out: Path
    printed: str
    segmented: dict[str, str]

    def image(self, name: str) -> nib.Nifti1Image:
        return nib.Nifti1Image.from_filename(self.out / name)

    def labels(self, name: str) -> np.ndarray:
        return np.asarray(self.image(name).dataobj)

    @property
    def found(self) -> np.ndarray:
        return self.labels("sub-demo/anat/sub-demo_desc-instance_dseg.nii.gz")

    @property
    def true(self) -> np.ndarray:
        return self.labels("truth/instances.nii.gz")

    def lesions(self, name: str) -> list[dict[str, str]]:
        with (self.out / name).open(newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))

    def row(self, kind: str) -> list[str]:
        return next(line for line in self.printed.splitlines() if line.startswith(kind)).split()


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> Demonstration:
    """The real command, once, with the FLAIR alone in sight while it is segmented."""
    out, alone = tmp_path_factory.mktemp("demo") / "out", tmp_path_factory.mktemp("alone")
    segmented: dict[str, str] = {}

    def blindfolded(flair: Path, folder: Path, options: SegmentOptions, *rest):
        assert folder == out and not {"truth", "instances"} & set(vars(options))
        (out / "truth").rename(alone / "truth")
        result = segment(flair, folder, options, *rest)
        segmented.update(digests(out / "sub-demo"))
        (alone / "truth").rename(out / "truth")
        return result

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(demo, "segment", blindfolded)
        status = main(["demo", "--out", str(out), "--device", "cpu", "--progress", "none"])
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert status == 0
    return Demonstration(out, printed.getvalue(), segmented)


def test_it_writes_the_flair_the_truth_and_the_whole_case_folder(shown):
    assert set(digests(shown.out)) == {
        "dataset_description.json",
        "sub-demo_FLAIR.nii.gz",
        "truth/instances.nii.gz",
        "truth/lesions.tsv",
        *(
            f"sub-demo/anat/sub-demo_desc-{part}"
            for part in (
                "type_dseg.nii.gz",
                "instance_dseg.nii.gz",
                "lesion_probseg.nii.gz",
                "lesions.tsv",
                "lesions.json",
                "qc.png",
            )
        ),
    }
    flair = shown.image("sub-demo_FLAIR.nii.gz")
    for name in ("truth/instances.nii.gz", "sub-demo/anat/sub-demo_desc-instance_dseg.nii.gz"):
        assert shown.image(name).shape == flair.shape
        np.testing.assert_array_equal(shown.image(name).affine, flair.affine)


def test_what_was_segmented_without_the_truth_in_sight_is_what_stands_in_the_case_folder(shown):
    assert shown.segmented and digests(shown.out / "sub-demo") == shown.segmented


def test_the_flair_holds_nothing_but_the_image(shown):
    # The truth could reach the model in the file itself: in its header's extensions, or as more frames.
    flair = shown.image("sub-demo_FLAIR.nii.gz")
    assert flair.ndim == 3 and len(flair.header.extensions) == 0
    assert not shown.found[shown.labels("sub-demo_FLAIR.nii.gz") < 40].any(), "no lesion in air"


def test_the_truth_is_of_three_types_some_of_them_confluent(shown):
    lesions = shown.lesions("truth/lesions.tsv")
    assert {lesion["type"] for lesion in lesions} == set(KINDS)
    assert {int(lesion["lesion_id"]) for lesion in lesions} == set(np.unique(shown.true)) - {0}
    parts, count = ndimage.label(shown.true > 0, np.ones((3, 3, 3)))
    assert max(len(np.unique(shown.true[parts == part])) for part in range(1, count + 1)) > 1


def test_the_table_has_a_row_for_each_type_with_counts_and_volumes_of_the_files(shown):
    for kind in KINDS:
        _, true_count, true_ml, found_count, found_ml, _, _ = shown.row(kind)
        for name, count, ml in (
            ("truth/lesions.tsv", true_count, true_ml),
            ("sub-demo/anat/sub-demo_desc-lesions.tsv", found_count, found_ml),
        ):
            lesions = [lesion for lesion in shown.lesions(name) if lesion["type"] == kind]
            assert int(count) == len(lesions)
            volume = sum(float(lesion["volume_mm3"]) for lesion in lesions) / 1000
            assert float(ml) == pytest.approx(volume, abs=0.006)


def test_the_tables_percentages_are_those_of_the_files(shown):
    values = {"WMH": 1, "stroke": 2, "MS": 3}
    found = shown.labels("sub-demo/anat/sub-demo_desc-type_dseg.nii.gz")
    for kind in KINDS:
        ids = [int(one["lesion_id"]) for one in shown.lesions("truth/lesions.tsv") if one["type"] == kind]
        within = found[np.isin(shown.true, ids)]
        sensitivity, typed = (float(cell.rstrip("%")) for cell in shown.row(kind)[-2:])
        assert sensitivity == pytest.approx(100 * (within > 0).mean(), abs=0.51)
        hit = within[within > 0]
        assert typed == pytest.approx(100 * (hit == values[kind]).mean() if len(hit) else 0, abs=0.51)


def printed_score(shown: Demonstration, name: str) -> float:
    return float(shown.printed.split(f"{name} ")[1].split()[0].rstrip(","))


def test_the_printed_scores_are_those_of_the_files(shown):
    found, true = shown.found, shown.true
    dice = 2 * ((found > 0) & (true > 0)).sum() / ((found > 0).sum() + (true > 0).sum())
    assert printed_score(shown, "Dice") == pytest.approx(dice, abs=0.0006)

    def hits(these: np.ndarray, those: np.ndarray) -> float:
        parts, count = ndimage.label(these > 0, np.ones((3, 3, 3)))
        return len(np.unique(parts[(parts > 0) & (those > 0)])) / count

    recall, precision = hits(true, found), hits(found, true)
    f1 = 2 * recall * precision / (recall + precision)
    assert printed_score(shown, "lesion F1") == pytest.approx(f1, abs=0.0006)
    assert printed_score(shown, "PQ") == pytest.approx(panoptic_quality(found, true), abs=0.0006)


def panoptic_quality(found: np.ndarray, true: np.ndarray) -> float:
    """Each found lesion goes to its best true one, IoU over 0.1; of several, the best one matches."""
    overlaps = np.zeros((found.max() + 1, true.max() + 1))
    np.add.at(overlaps, (found.ravel(), true.ravel()), 1)
    union = overlaps.sum(1, keepdims=True) + overlaps.sum(0, keepdims=True) - overlaps
    iou = (overlaps / np.maximum(union, 1))[1:, 1:]
    best: dict[int, float] = {}
    for row in iou:
        if row.max() > 0.1:
            best[int(row.argmax())] = max(best.get(int(row.argmax()), 0), row.max())
    counts = len(np.unique(found)) - 1 + len(np.unique(true)) - 1
    return 2 * sum(best.values()) / counts


def test_the_shipped_model_finds_lesions_that_are_there(shown):
    assert printed_score(shown, "Dice") > 0.4
