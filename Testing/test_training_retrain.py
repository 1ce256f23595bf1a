"""The loop closes: a model errs, a person corrects its exports, and the model made of them errs no more."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lesion_training.cli import main
from LesionSegmenterLib.bundle import load_bundle
from LesionSegmenterLib.image import read_labels
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.progress import NoReporter
from LesionSegmenterLib.segment import SegmentOptions, load, segment
from training_cases import THICK, export_case, thick_affine, tiny_head

FIXED = ("--device", "cpu", "--precision", "fp32", "--workers", "0", "--progress", "none")
FAINT = LesionType.WMH  # the faintest of the heads' lesions


def save(folder: Path, seed: int) -> tuple[Path, np.ndarray, np.ndarray]:
    """One head in slices of 5 mm: its FLAIR's file, types and ids."""
    flair, _, types, ids = (array[:, :, THICK // 2 :: THICK] for array in tiny_head(seed))
    folder.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(flair, thick_affine()), folder / f"{seed}.nii.gz")
    return folder / f"{seed}.nii.gz", types, ids


def fit(recipe: str, data: Path, out: Path, *options: str) -> Path:
    """Train a small variant and bundle it."""
    arguments = ["fit", recipe, "--small", "--data", str(data), "--out", str(out / "run"), *FIXED, *options]
    assert main(arguments) == 0
    assert main(["bundle", str(out / "run"), "--out", str(out / "bundle"), "--name", out.name]) == 0
    return out / "bundle"


def found(bundle: Path, flair: Path, out: Path) -> np.ndarray:
    """The lesion ids that the engine finds."""
    options = SegmentOptions(model=str(bundle), device="cpu", precision="fp32", small_lesions="keep")
    return read_labels(segment(flair, out, options, NoReporter(), load(options)).files["instances"]).array


@pytest.fixture(scope="module")
def blind(tmp_path_factory) -> Path:
    """A model that leaves faint lesions out, as its training's truth did."""
    folder = tmp_path_factory.mktemp("blind")
    rows = ["image\tmask\tsplit"]
    for seed in range(4):
        flair, types, _ = save(folder / "data", seed)
        mask = flair.with_name(f"{seed}_mask.nii.gz")
        nib.save(nib.Nifti1Image(np.where(types == FAINT, 0, types), thick_affine()), mask)
        rows.append(f"{flair.name}\t{mask.name}\ttrain")
    (folder / "data/cases.tsv").write_text("\n".join(rows) + "\n")
    return fit("uresnet", folder / "data", folder / "blind")


def recalls(bundle: Path, seeds: range, folder: Path) -> tuple[float, float, float]:
    """Share of the voxels found of faint and of other lesions, and of what is found that is lesion."""
    hits = np.zeros(3)
    totals = np.zeros(3)
    for seed in seeds:
        flair, types, ids = save(folder / "images", seed)
        mask = found(bundle, flair, folder / "out") > 0
        for number, lesion in enumerate((types == FAINT, (types > 0) & (types != FAINT))):
            hits[number] += (mask & lesion).sum()
            totals[number] += lesion.sum()
        hits[2] += (mask & (ids > 0)).sum()
        totals[2] += mask.sum()
    faint, others, precision = hits / totals
    return float(faint), float(others), float(precision)


def corrected(bundle: Path, seeds: range, folder: Path) -> Path:
    """What a person exports: the model's lesions accepted, the faint ones that it missed drawn in."""
    for seed in seeds:
        flair, types, ids = save(folder / "images", seed)
        lesions = found(bundle, flair, folder / "model")
        kinds = np.zeros(lesions.shape, np.uint8)
        for lesion in np.unique(lesions[lesions > 0]):
            inside = types[(lesions == lesion) & (types > 0)]
            kinds[lesions == lesion] = np.bincount(inside, minlength=1).argmax() if len(inside) else 0
        lesions[kinds == 0] = 0  # those that are none were rejected
        statuses = {}
        for missed in np.unique(ids[types == FAINT]):
            drawn = (ids == missed) & (lesions == 0)
            if drawn.any():
                number = int(lesions.max()) + 1
                lesions[drawn], kinds[drawn], statuses[number] = number, FAINT, "edited"
        export_case(folder / "exports", f"p{seed}", flair, kinds, lesions, statuses)
    return folder / "exports"


def test_ten_corrected_cases_mend_a_systematic_error_on_ten_others_and_keep_the_rest(blind, tmp_path):
    others = range(30, 40)
    faint, bright, precision = recalls(blind, others, tmp_path / "before")
    assert faint < 0.5 and bright > 0.85 and precision > 0.85, (faint, bright, precision)
    exports = corrected(blind, range(10, 20), tmp_path / "corrected")
    better = fit("retrain", exports, tmp_path / "better", "--start", str(blind))
    after = recalls(better, others, tmp_path / "after")
    print((faint, bright, precision), after)
    assert after[0] > 0.8, "the error is gone"
    assert after[1] > bright - 0.05 and after[2] > precision - 0.1, "the rest holds"
    assert load_bundle(better).spec.output.label_map == load_bundle(blind).spec.output.label_map
