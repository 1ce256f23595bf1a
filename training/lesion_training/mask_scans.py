"""Scans of lesion masks alone: of one type each, put on clinical grids, roughened as a network's output is.

The masks come from the banks (MS, stroke) and from rules of where the diseases go (all three types).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from LesionSegmenterLib.features import features_in_box
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.synthesis.anatomy import Anatomy, load_anatomy
from LesionSegmenterLib.synthesis.programmes import Programme, random_lesions
from LesionSegmenterLib.synthesis.wmh import wmh_mask

from .banks import MaskBank

_DRAWS = {
    "ms_patient": 6,
    "ms_composed": 60,
    "ms_drawn": 60,
    "stroke_acute": 220,
    "stroke_chronic": 60,
    "stroke_drawn": 60,
    "wmh": 170,
}
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
    for index in range(_DRAWS["wmh"]):
        # Ageing widens the ventricles.
        wide = ndimage.binary_dilation(ventricles, iterations=n) if (n := rng.integers(0, 4)) else ventricles
        mask, _ = wmh_mask(wide, white_matter & ~wide, (1, 1, 1), rng, rng.uniform(0.3, 3))
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


def brain_surface() -> NDArray[np.float64]:
    """Points (m, 3) on the template brain's surface, mm."""
    anatomy = load_anatomy()
    brain, affine = anatomy.brain > 0.5, anatomy.affine
    surface = np.argwhere(brain & ~ndimage.binary_erosion(brain))[::5]
    return surface @ affine[:3, :3].T + affine[:3, 3]


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
