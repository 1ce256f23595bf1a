"""Training of the cascade's classifier on scans of one type of lesion each.

Half of it are lesion masks alone, without images (`mask_scans`); the other half, where a model is given, what
that model finds in synthetic heads (`found_scans`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from LesionSegmenterLib.classifier import (
    TYPES,
    CascadeClassifier,
    adjusted_to_scan,
    counterpart_shares,
)
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.features import brain_box, features_in_box
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.segment import SegmentOptions, load

from .banks import MaskBank
from .found_scans import ScanFeatures, found_scans
from .mask_scans import brain_surface, mask_scans, scanned_features
from .synth import STROKE_BANK

HELD_OUT_PATIENTS = ("patient07", "patient19")  # of ms_whole_ljubljana; their real masks are reported on
_HELD_OUT_FRACTION = 0.2
_MAX_LESIONS_A_SCAN = 60  # in training, so that a few scans of many specks do not outweigh the rest


def train_cascade(
    data_dir: Path, out: Path, seed: int, model: str | None = None, heads: int = 30
) -> dict[str, Any]:
    """Train the classifier and write ``out``/classifier.safetensors; takes minutes on one core.

    ``data_dir`` holds the folder lesion_banks. ``model`` is the bundle that the classifier will follow: what
    it finds in ``heads`` synthetic heads of each type is trained on as well. A fifth of each type's sources
    (patients, subjects, heads, single compositions) is held out. Returns the scores on it:
    ``lesion_confusion`` and ``scan_confusion`` (rows true, columns predicted, in the order WMH, stroke, MS),
    their balanced accuracies, and under ``real`` what real masks in ``data_dir`` are taken for.

    Raises InputError when a bank is missing or broken, BundleError for a model that cannot be used. The same
    seed gives the same weights on one machine.
    """
    finder = load(SegmentOptions(model=model)) if model else None
    rng = np.random.default_rng(seed)
    brain_points = brain_surface()
    scans = []
    for scan in mask_scans(data_dir / "lesion_banks", rng):
        features = scanned_features(scan, brain_points, rng)
        if len(features):
            scans.append(ScanFeatures(scan.type, scan.source, features))
    if finder:
        scans += found_scans(finder, heads, MaskBank(data_dir / STROKE_BANK), rng)
    held_out = _held_out_sources(scans, rng)
    training = [scan for scan in scans if scan.source not in held_out]
    classifier = fit(training, rng, seed)
    classifier.counterpart_shares = counterpart_shares([(scan.type, scan.features) for scan in training])
    scores = validate(classifier, [scan for scan in scans if scan.source in held_out])
    scores["training_scans"] = len(training)
    scores["found_scans"] = sum(scan.found for scan in scans)
    scores["real"] = {name: _summary(classifier, features) for name, features in real_scans(data_dir)}
    out.mkdir(parents=True, exist_ok=True)
    classifier.save(
        out / "classifier.safetensors", {"seed": str(seed), "scores": json.dumps(scores, sort_keys=True)}
    )
    return scores


def fit(scans: list[ScanFeatures], rng: np.random.Generator, seed: int) -> CascadeClassifier:
    """Adam at 1e-3 (the paper's 0.1 does not train), 100 epochs, weighted cross-entropy.

    A lesion weighs as its diameter, the cube root of its volume, since large ones decide a scan's type and
    are few; the types weigh the same, and in a type what a model found as much as masks. Features are
    jittered by a fifth of their standard deviation, which keeps probabilities from running to 0 and 1.
    Raises InputError when a type has no lesions.
    """
    features, target, weight = _training_rows(scans, rng)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CascadeClassifier()
        model.fit_standardisation(features)
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
        standardised = model.standardise(features)
        for _ in range(100):
            for batch in torch.randperm(len(target)).split(512):
                noisy = standardised[batch] + 0.2 * torch.randn(len(batch), features.shape[1])
                losses = functional.cross_entropy(model.layers(noisy), target[batch], reduction="none")
                optimiser.zero_grad()
                (losses * weight[batch]).mean().backward()
                optimiser.step()
    return model.eval()


def _training_rows(
    scans: list[ScanFeatures], rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features (n, 11), output index (n,) and weight (n,) of mean 1, with equal sums for the types."""
    rows, targets, found = [], [], []
    for scan in scans:
        chosen = rng.permutation(len(scan.features))[:_MAX_LESIONS_A_SCAN]
        rows.append(scan.features[chosen])
        targets += [TYPES.index(scan.type)] * len(chosen)
        found += [scan.found] * len(chosen)
    features, target = np.concatenate(rows), np.array(targets)
    if len(set(targets)) < len(TYPES):
        raise InputError("a lesion type has no training lesions", todo="check the mask banks")
    _, group = np.unique(2 * target + np.array(found), return_inverse=True)
    weight = np.cbrt(features[:, 0])
    weight /= np.bincount(group, weights=weight)[group]
    weight *= len(weight) / len(TYPES) / np.bincount(target, weights=weight)[target]
    return torch.from_numpy(features).float(), torch.from_numpy(target), torch.from_numpy(weight).float()


def validate(model: CascadeClassifier, scans: list[ScanFeatures]) -> dict[str, Any]:
    """Confusion (rows true, columns predicted; WMH, stroke, MS) and accuracy by lesion and by scan."""
    lesions = np.zeros((len(TYPES), len(TYPES)), dtype=int)
    whole = np.zeros_like(lesions)
    for scan in scans:
        true = TYPES.index(scan.type)
        types, predicted = _typed(model, scan.features)
        lesions[true] += np.bincount([TYPES.index(LesionType(t)) for t in types], minlength=len(TYPES))
        whole[true, TYPES.index(predicted)] += 1
    return {
        "lesion_confusion": lesions.tolist(),
        "lesion_balanced_accuracy": _balanced(lesions),
        "scan_confusion": whole.tolist(),
        "scan_balanced_accuracy": _balanced(whole),
    }


def _balanced(confusion: NDArray[np.integer]) -> float:
    """Mean recall of the types that occur."""
    total = confusion.sum(axis=1)
    recalls = np.diag(confusion)[total > 0] / total[total > 0]
    return round(float(recalls.mean()), 4)


def _typed(model: CascadeClassifier, features: NDArray[np.float64]) -> tuple[NDArray[np.int64], LesionType]:
    """Each lesion's type and the scan's: the one with the largest volume."""
    probabilities = adjusted_to_scan(model.classify_scan(features), features[:, 0])
    types = np.array(TYPES)[probabilities.argmax(axis=1)]
    return types, LesionType(int(np.bincount(types, features[:, 0]).argmax()))


def _summary(model: CascadeClassifier, features: NDArray[np.float64]) -> dict[str, Any]:
    types, kind = _typed(model, features)
    return {
        "scan": kind.label,
        "lesions": {t.label: int((types == t).sum()) for t in TYPES},
        "ml": {t.label: round(float(features[types == t, 0].sum()) / 1000, 2) for t in TYPES},
    }


def real_scans(data_dir: Path) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Name and features (n, 11) of the 26-connected lesions in each real mask at hand; none is trained on."""
    import nibabel

    for name, image, lesions, label in _REAL:
        if not (data_dir / lesions).is_file():
            continue
        head = nibabel.Nifti1Image.from_filename(data_dir / image)
        mask = np.asarray(nibabel.Nifti1Image.from_filename(data_dir / lesions).dataobj) == label
        instances, _ = ndimage.label(mask, structure=np.ones((3, 3, 3)))
        box = brain_box(_rough_brain(np.asarray(head.dataobj)), head.affine)
        yield name, features_in_box(instances, head.affine, box)[1]


def _rough_brain(image: NDArray[Any]) -> NDArray[np.bool_]:
    """The largest bright part once the scalp is cut off in each slice: enough for a bounding box."""
    bright = ndimage.binary_erosion(image > 0.15 * np.percentile(image, 99.5), np.ones((7, 7, 1)))
    parts, _ = ndimage.label(bright)
    largest = np.bincount(parts.ravel())[1:].argmax() + 1
    return ndimage.binary_dilation(parts == largest, np.ones((7, 7, 1)))


_TABRIZ_LABELS = "labels_derived_1vent_2normal_3abnormal.nii.gz"
# Name, image, mask, and the mask's value of lesions.
_REAL = [
    *(
        (f"MS {p}", f"ms_ljubljana/{p}/FLAIR_mni_brain.nii.gz", f"ms_ljubljana/{p}/lesion_mni.nii.gz", 1)
        for p in HELD_OUT_PATIENTS
    ),
    *(
        (f"MS {p}", f"ms_tabriz/{p}/FLAIR_prep.nii.gz", f"ms_tabriz/{p}/{_TABRIZ_LABELS}", 3)
        for p in ("104252", "105465", "105911")
    ),
    ("MS catania P18", "ms_catania/P18_T1/FLAIR.nii.gz", "ms_catania/P18_T1/MASK.nii.gz", 1),
    *(
        (f"stroke isles {n}", f"{folder}/dwi.nii.gz", f"{folder}/lesion_dwispace.nii.gz", 1)
        for n in range(1, 5)
        for folder in (f"stroke_isles22/sub-strokecase000{n}",)
    ),
]


def _held_out_sources(scans: list[ScanFeatures], rng: np.random.Generator) -> set[str]:
    """A fifth of each type's sources, and always the patients whose real masks are reported."""
    held_out = set(HELD_OUT_PATIENTS)
    for kind in TYPES:
        sources = sorted({scan.source for scan in scans if scan.type is kind})
        held_out.update(rng.choice(sources, int(len(sources) * _HELD_OUT_FRACTION), replace=False).tolist())
    return held_out
