"""Training of the cascade's classifier on lesion masks alone, without images.

Scans of one type each are made from the mask banks (MS, stroke) and synthesised (WMH), put on clinical grids
and roughened as a segmentation network's output is, all types alike; their lesions' features train the
classifier.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation
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
from LesionSegmenterLib.synthesis.anatomy import Anatomy, load_anatomy
from LesionSegmenterLib.synthesis.programmes import Programme, random_lesions
from LesionSegmenterLib.synthesis.wmh import SEVERE, USUAL, wmh_mask

from .banks import MaskBank

HELD_OUT_PATIENTS = ("patient07", "patient19")  # of ms_whole_ljubljana; their real masks are reported on
_DRAWS = {
    "ms_patient": 10,
    "ms_composed": 60,
    "ms_drawn": 120,
    "stroke_acute": 360,
    "stroke_chronic": 100,
    "stroke_drawn": 120,
    "wmh": 340,
    "wmh_severe": 60,
}
_HELD_OUT_FRACTION = 0.2
_EPOCHS, _BATCH = 100, 512
_MAX_LESIONS_A_SCAN = 60  # in training, so that a few scans of many specks do not outweigh the rest
# This bank's heads are turned into MNI space but keep their size: 129 x 155 x 124 mm about (0, -20, 6), where
# the template brain has 145 x 181 x 155 about (0, -17, 5). Unmatched, size and place would tell the bank.
_LJUBLJANA_TO_TEMPLATE = np.array([[1.12, 0, 0, 0], [0, 1.16, 0, 6], [0, 0, 1.2, -2], [0, 0, 0, 1.0]])


@dataclass(frozen=True)
class MaskScan:
    """A scan's lesions before they meet a scanner: mask (i, j, k), affine to template mm, and source."""

    type: LesionType
    source: str
    mask: NDArray[np.bool_]
    affine: NDArray[np.float64]


@dataclass(frozen=True)
class ScanFeatures:
    """The lesions of one scan: ``features`` (n, 11)."""

    type: LesionType
    source: str
    features: NDArray[np.float64]


def train_cascade(data_dir: Path, out: Path, seed: int) -> dict[str, Any]:
    """Train the classifier and write ``out``/classifier.safetensors; takes minutes on one core.

    ``data_dir`` holds the folder lesion_banks. A fifth of each type's sources (patients, subjects, single
    compositions) is held out. Returns the scores on it: ``lesion_confusion`` and ``scan_confusion`` (rows
    true, columns predicted, in the order WMH, stroke, MS), their balanced accuracies, and under ``real`` what
    real masks in ``data_dir`` are taken for.

    Raises InputError when a bank is missing or broken. The same seed gives the same weights on one machine.
    """
    rng = np.random.default_rng(seed)
    brain_points = _brain_surface()
    scans = []
    for scan in mask_scans(data_dir / "lesion_banks", rng):
        features = scanned_features(scan, brain_points, rng)
        if len(features):
            scans.append(ScanFeatures(scan.type, scan.source, features))
    held_out = _held_out_sources(scans, rng)
    training = [scan for scan in scans if scan.source not in held_out]
    model = fit(training, rng, seed)
    model.counterpart_shares = counterpart_shares([(scan.type, scan.features) for scan in training])
    scores = validate(model, [scan for scan in scans if scan.source in held_out])
    scores["training_scans"] = len(training)
    scores["real"] = {name: _summary(model, features) for name, features in real_scans(data_dir)}
    out.mkdir(parents=True, exist_ok=True)
    model.save(
        out / "classifier.safetensors", {"seed": str(seed), "scores": json.dumps(scores, sort_keys=True)}
    )
    return scores


def mask_scans(banks: Path, rng: np.random.Generator) -> Iterator[MaskScan]:
    """Scans of all three types, each of one type and one source."""
    patients = MaskBank(banks / "ms_whole_ljubljana_mni.npz")
    for index, source in enumerate(patients.source):
        for _ in range(_DRAWS["ms_patient"]):
            mask, affine = patients.mask(index)
            yield MaskScan(LesionType.MS, source, mask, _LJUBLJANA_TO_TEMPLATE @ affine)
    yield from _composed_ms(MaskBank(banks / "ms_components_lesionsimulator_mni.npz"), rng)
    for name, file in (("stroke_acute", "soop"), ("stroke_chronic", "lesymap")):
        bank = MaskBank(banks / f"{name}_{file}_mni.npz")
        for index in rng.choice(len(bank), _DRAWS[name], replace=False):
            yield MaskScan(LesionType.STROKE, bank.source[index], *bank.mask(index))
    anatomy = load_anatomy()
    ventricles, white_matter = anatomy.ventricles, anatomy.white > 0.5
    severities = [USUAL] * _DRAWS["wmh"] + [SEVERE] * _DRAWS["wmh_severe"]
    for index, severity in enumerate(severities):
        # Ageing widens the ventricles.
        wide = ndimage.binary_dilation(ventricles, iterations=n) if (n := rng.integers(0, 4)) else ventricles
        mask, _ = wmh_mask(wide, white_matter & ~wide, (1, 1, 1), rng, rng.uniform(*severity))
        yield MaskScan(LesionType.WMH, f"wmh{index}", mask, anatomy.affine)
    yield from _drawn(anatomy, rng)


def _drawn(anatomy: Anatomy, rng: np.random.Generator) -> Iterator[MaskScan]:
    """Scans of MS and of stroke by rules of where these diseases go: the banks are of few centres."""
    drawn: list[Programme] = ["ms", "stroke"]
    for programme in drawn:
        for index in range(_DRAWS[f"{programme}_drawn"]):
            for group in random_lesions(anatomy, rng, programme):  # of one type each
                if (mask := group.instances > 0).any():
                    yield MaskScan(group.type, f"{programme}-drawn{index}", mask, anatomy.affine)


def _composed_ms(bank: MaskBank, rng: np.random.Generator) -> Iterator[MaskScan]:
    """MS scans put together from single lesions; no lesion is in two scans."""
    order = rng.permutation(len(bank))
    for index in range(_DRAWS["ms_composed"]):
        count = int(np.clip(rng.lognormal(np.log(20), 0.7), 2, len(bank) // _DRAWS["ms_composed"]))
        chosen, order = order[:count], order[count:]
        mask = np.zeros(bank.grid, dtype=bool)
        for lesion in chosen:
            box, affine = bank.mask(lesion)
            start = np.rint(np.linalg.solve(bank.affine, affine)[:3, 3]).astype(int)
            mask[tuple(slice(s, s + n) for s, n in zip(start, box.shape, strict=True))] |= box
        yield MaskScan(LesionType.MS, f"composed{index}", mask, bank.affine)


def scanned_features(
    scan: MaskScan, brain_points: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Features (n, 11) of the scan's lesions as a network would find them on a random clinical grid.

    ``brain_points`` (m, 3) lie on the template brain's surface, in mm. The head is turned, shifted and
    scaled; the grid is thick-sliced or nearly isotropic; lesions lose their edges or parts, or are missed.
    """
    to_world = _random_head(rng)
    soft, affine = _on_clinical_grid(scan, to_world, rng)
    found = _as_found(soft, rng)
    connectivity = ndimage.generate_binary_structure(3, int(rng.choice([1, 3])))
    instances, count = ndimage.label(found, structure=connectivity)
    if count == 0:
        return np.empty((0, 11))
    missed = rng.random(count + 1) < rng.uniform(0, 0.3)
    missed[rng.integers(1, count + 1)] = False
    instances[missed[instances]] = 0
    turned = brain_points @ to_world[:3, :3].T + to_world[:3, 3]
    box = np.stack([turned.min(axis=0), turned.max(axis=0)]) + rng.normal(0, 2, (2, 3))
    if rng.random() < 0.3:  # the field of view or the brain mask ends above the cerebellum's lower edge
        box[0, 2] += rng.uniform(0, 30)
    return features_in_box(instances, affine, box)[1]


def _random_head(rng: np.random.Generator) -> NDArray[np.float64]:
    """Template mm to scanner mm: turned, shifted, scaled; most heads are smaller than the template."""
    to_world = np.eye(4)
    size = rng.uniform(0.8, 0.95) if rng.random() < 0.8 else rng.uniform(0.95, 1.05)
    turn = Rotation.from_euler("xyz", rng.normal(0, (8, 4, 4)), degrees=True).as_matrix()
    to_world[:3, :3] = turn @ np.diag(size * rng.uniform(0.95, 1.05, 3))
    to_world[:3, 3] = rng.normal(0, 4, 3)
    return to_world


def _on_clinical_grid(
    scan: MaskScan, to_world: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """The share of lesion in each voxel of a random grid around the lesions, and the grid's affine."""
    spacing = np.full(3, rng.uniform(0.8, 1.2))
    slice_axis = int(rng.choice(3, p=[0.1, 0.1, 0.8]))
    if rng.random() < 0.7:
        spacing[:] = rng.uniform(0.45, 1.0)
        spacing[slice_axis] = rng.uniform(2, 8)
    box = ndimage.find_objects(scan.mask.astype(np.int8))[0]
    mask = np.pad(scan.mask[box], 6).astype(np.float32)
    old_affine = to_world @ scan.affine
    old_affine[:3, 3] += old_affine[:3, :3] @ ([s.start - 6 for s in box])
    # The banks' axes are those of the scanner but for flips: blurring along one is the slice's own blur.
    old_spacing = np.linalg.norm(old_affine[:3, :3], axis=0)
    mask = ndimage.gaussian_filter(mask, np.maximum(spacing / old_spacing, 1) / 2.5, truncate=2)

    corners = np.array(np.meshgrid(*[(0, n - 1) for n in mask.shape])).reshape(3, -1).T
    corners = corners @ old_affine[:3, :3].T + old_affine[:3, 3]
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = corners.min(axis=0) - rng.uniform(0, 1, 3) * spacing
    shape = np.ceil((corners.max(axis=0) - affine[:3, 3]) / spacing).astype(int) + 1
    to_old = np.linalg.solve(old_affine, affine)
    return ndimage.affine_transform(mask, to_old[:3, :3], to_old[:3, 3], tuple(shape), order=1), affine


def _as_found(soft: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.bool_]:
    """The mask a network might give: edges in or out, rough, and some lesions in pieces."""
    edge = 4 * soft * (1 - soft)
    level = soft + rng.uniform(0.05, 0.25) * edge * rng.standard_normal(soft.shape, dtype=np.float32)
    if rng.random() < 0.3:  # a faint lesion is found in parts only
        patches = rng.standard_normal([-(-n // 8) + 1 for n in soft.shape]).astype(np.float32)
        patches = ndimage.zoom(patches, 8, order=1)[tuple(slice(n) for n in soft.shape)]
        level -= rng.uniform(0.1, 0.5) * np.clip(patches, 0, 1.5)
    return level > rng.uniform(0.3, 0.6)


def fit(scans: list[ScanFeatures], rng: np.random.Generator, seed: int) -> CascadeClassifier:
    """Adam from 1e-3 (the paper's 0.1 does not train) down to 0 along a cosine, 100 epochs, weighted
    cross-entropy.

    A lesion weighs as its diameter, the cube root of its volume, since large ones decide a scan's type and
    are few; the types weigh the same. Features are jittered by a fifth of their standard deviation, which
    keeps probabilities from running to 0 and 1. Raises InputError when a type has no lesions.
    """
    features, target, weight = _training_rows(scans, rng)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CascadeClassifier()
        model.fit_standardisation(features)
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
        standardised = model.standardise(features)
        steps = _EPOCHS * -(-len(target) // _BATCH)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(_EPOCHS):
            for batch in torch.randperm(len(target)).split(_BATCH):
                noisy = standardised[batch] + 0.2 * torch.randn(len(batch), features.shape[1])
                losses = functional.cross_entropy(model.layers(noisy), target[batch], reduction="none")
                optimiser.zero_grad()
                (losses * weight[batch]).mean().backward()
                optimiser.step()
                schedule.step()
    return model.eval()


def _training_rows(
    scans: list[ScanFeatures], rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features (n, 11), output index (n,) and weight (n,) of mean 1, with equal sums for the types."""
    rows, targets = [], []
    for scan in scans:
        chosen = rng.permutation(len(scan.features))[:_MAX_LESIONS_A_SCAN]
        rows.append(scan.features[chosen])
        targets += [TYPES.index(scan.type)] * len(chosen)
    features, target = np.concatenate(rows), np.array(targets)
    weight = np.cbrt(features[:, 0])
    totals = np.bincount(target, weights=weight, minlength=len(TYPES))
    if (totals == 0).any():
        raise InputError("a lesion type has no training lesions", todo="check the mask banks")
    weight *= len(target) / (len(TYPES) * totals[target])
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


def _brain_surface() -> NDArray[np.float64]:
    """Points (m, 3) on the template brain's surface, mm."""
    anatomy = load_anatomy()
    brain, affine = anatomy.brain > 0.5, anatomy.affine
    surface = np.argwhere(brain & ~ndimage.binary_erosion(brain))[::5]
    return surface @ affine[:3, :3].T + affine[:3, 3]


def _held_out_sources(scans: list[ScanFeatures], rng: np.random.Generator) -> set[str]:
    """A fifth of each type's sources, and always the patients whose real masks are reported."""
    held_out = set(HELD_OUT_PATIENTS)
    for kind in TYPES:
        sources = sorted({scan.source for scan in scans if scan.type is kind})
        held_out.update(rng.choice(sources, int(len(sources) * _HELD_OUT_FRACTION), replace=False).tolist())
    return held_out
