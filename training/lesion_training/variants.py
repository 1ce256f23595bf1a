"""New training cases from few: lesions of all types painted into real and synthetic heads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from LesionSegmenterLib.engine.preprocessing import prepare
from LesionSegmenterLib.engine.resample import resample
from LesionSegmenterLib.instances import label_components
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.synthesis.anatomy import Anatomy, load_anatomy
from LesionSegmenterLib.synthesis.head import add_noise, deform, synthetic_head
from LesionSegmenterLib.synthesis.painting import paint, soft_mask
from LesionSegmenterLib.synthesis.wmh import SEVERE, USUAL, wmh_mask

from .banks import MaskBank
from .cases import BACKGROUND, DOUBTFUL, IGNORE, Preparation, PreparedCase

NORMAL, FLUID = 0.0, -3.0  # typical normalised intensities of brain tissue and of fluid
_SHADING = (0.5, 1.5)  # mm over which WMH fade into white matter, as a Gaussian's sd
_OLD, _CAVITIES = 0.45, 0.7  # shares: of infarcts the old ones, of these the ones with a cavity
_SEVERE_SHARE = 0.15  # share of the WMH beyond Fazekas 3's usual 35 ml
_RIM = (2.0, 5.0)  # mm of gliosis around a cavity


@dataclass(frozen=True)
class Banks:
    """The mask banks that lesions are taken from."""

    ms: MaskBank
    acute: MaskBank
    chronic: MaskBank

    @classmethod
    def open(cls, folder: Path) -> Banks:
        """The banks of the data folder ``folder/lesion_banks``."""
        banks = folder / "lesion_banks"
        return cls(
            MaskBank(banks / "ms_components_lesionsimulator_mni.npz"),
            MaskBank(banks / "stroke_acute_soop_mni.npz"),
            MaskBank(banks / "stroke_chronic_lesymap_mni.npz"),
        )


@dataclass(frozen=True, eq=False)
class Placement:
    """Where MNI space lies in a case: fine voxel = scale * MNI mm + offset, an axis at a time.

    The fine grid is the case's own, its slices cut into pieces of about 1 mm. ``cortex`` is the normalised
    intensity of the tissue around the white matter.
    """

    scale: np.ndarray
    offset: np.ndarray
    fine_shape: tuple[int, int, int]
    ventricles: np.ndarray
    white: np.ndarray
    cortex: float


def place(case: PreparedCase, anatomy: Anatomy) -> Placement:
    """Lay the atlas over a case by the bounding box of its brain, and find the case's own ventricles."""
    fine_shape = tuple(round(n * s) for n, s in zip(case.image.shape, case.spacing, strict=True))
    fine = resample(case.image, fine_shape)  # type: ignore[arg-type]
    tissue = fine > -2
    low, high = np.empty(3), np.empty(3)
    for axis in range(3):
        share = tissue.mean(axis=tuple(a for a in range(3) if a != axis))
        inside = np.flatnonzero(share > 0.04)
        low[axis], high[axis] = inside[0], inside[-1] + 1
    if case.whole_head:  # scalp and skull: about 13 mm a side
        low[:2] += 13
        high -= 13
    brain = np.argwhere(anatomy.brain[::2, ::2, ::2] > 0.5) * 2
    first, last = brain.min(0), brain.max(0) + 2
    scale = (high - low) / (last - first)
    # The head may be cut off below: its height follows from the other two, counted from the vertex.
    scale[2] = scale[:2].mean()
    low[2] = high[2] - scale[2] * (last[2] - first[2])
    offset = low - scale * (first + anatomy.affine[:3, 3])
    atlas_offset = -(offset + scale * anatomy.affine[:3, 3]) / scale
    ventricles, white = (
        ndimage.affine_transform(m.astype(np.float32), 1 / scale, atlas_offset, fine_shape, order=1)
        for m in (anatomy.ventricles, anatomy.white)
    )
    if case.ventricles is not None:
        own = resample(case.ventricles.astype(np.float32), fine_shape) > 0.5  # type: ignore[arg-type]
    else:
        near = ndimage.distance_transform_edt(ventricles < 0.5) < 7
        own = ndimage.binary_opening((fine < -1.2) & near)
    if own.sum() < 0.25 * (ventricles > 0.5).sum():
        own = ventricles > 0.5
    inner = (white > 0.4) & (fine > -1.2) & ~own
    return Placement(scale, offset, fine_shape, own, inner, _cortex_level(fine, inner, own))  # type: ignore[arg-type]


def _cortex_level(fine: np.ndarray, white: np.ndarray, ventricles: np.ndarray) -> float:
    """Median intensity of the tissue within 3 mm of white matter, but not at the ventricles."""
    near = ndimage.binary_dilation(white, iterations=3) & ~white & (fine > -1)
    near &= ~ndimage.binary_dilation(ventricles, iterations=4)
    return float(np.median(fine[near])) if near.any() else NORMAL


def ignore_unmarked(case: PreparedCase, placement: Placement) -> None:
    """Take bright white matter of a case with a partial truth out of the loss: it may be a lesion left out.

    Bright voxels elsewhere, cortex above all, stay background of low weight.
    """
    near_wall = ndimage.distance_transform_edt(~placement.ventricles) < 6
    white = ndimage.binary_dilation(placement.white, iterations=2) | near_wall
    inside = resample(white.astype(np.float32), case.image.shape) > 0.4  # type: ignore[arg-type]
    case.target[inside & (case.target == DOUBTFUL)] = IGNORE


class Painter:
    """Paints lesions into a copy of one case, with the classes and the contrast that are wanted.

    Where the case has lesion ids, what one stroke of the brush leaves connected (6) gets a new one.
    """

    def __init__(
        self,
        case: PreparedCase,
        placement: Placement,
        wanted: Preparation,
        rng: np.random.Generator,
    ):
        self.placement, self.wanted, self.rng = placement, wanted, rng
        self.faintest = wanted.least_contrast * (placement.cortex - NORMAL)
        self.image, self.target = case.image.copy(), case.target.copy()
        self.instances = None if case.instances is None else case.instances.copy()
        # Fine voxels a voxel of the case, along each axis.
        self.per_voxel = np.array(placement.fine_shape) / np.array(case.image.shape)
        self.texture = rng.uniform(0.05, 0.3)
        self.replace = rng.uniform(0, 1)
        self.blur = rng.uniform(0.35, 0.9)

    def paint_fine(
        self,
        mask: np.ndarray,
        start: np.ndarray,
        contrast: float,
        kind: LesionType,
        blur: float | None = None,
        rim: float | None = None,
    ) -> None:
        """Paint a mask given on the fine grid whose first voxel lies at ``start`` there.

        ``blur`` is the sd of its edge in fine voxels; None takes that of the whole painting. Deeper than
        ``rim`` fine voxels below its surface tissue is lost to fluid, in whole or in part, and is the
        lesion's all the same.
        """
        stop = np.minimum(start + mask.shape, self.placement.fine_shape)
        begin = np.maximum(start, 0)
        if (stop <= begin).any():
            return
        low = np.maximum(np.floor(begin / self.per_voxel).astype(int) - 2, 0)
        high = np.minimum(np.ceil(stop / self.per_voxel).astype(int) + 2, self.image.shape)
        fine_low = np.round(low * self.per_voxel).astype(int)
        fine_high = np.round(high * self.per_voxel).astype(int)
        box = np.zeros(fine_high - fine_low, bool)
        inner = tuple(slice(b - f, e - f) for b, e, f in zip(begin, stop, fine_low, strict=True))
        box[inner] = mask[tuple(slice(b - s, e - s) for b, e, s in zip(begin, stop, start, strict=True))]
        soft = resample(soft_mask(box, (blur or self.blur,) * 3), tuple(high - low))
        where = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        painted = paint(
            self.image[where],
            soft,
            contrast,
            self.rng,
            normal=NORMAL,
            fluid=FLUID,
            texture=self.texture,
            replace=self.replace,
        )
        if rim is not None:
            core = (ndimage.distance_transform_edt(box) > rim).astype(np.float32)
            lost = resample(ndimage.gaussian_filter(core, self.blur), painted.shape) * painted
            self.image[where] += lost * self.rng.uniform(0.4, 1) * (FLUID - self.image[where])
        labels = self.target[where]
        free = (labels == BACKGROUND) | (labels == DOUBTFUL) | (labels == IGNORE)
        filled = free & (painted > 0.5)
        labels[filled] = self.wanted.classes.get(kind, IGNORE)
        if self.instances is not None:
            pieces = label_components(filled, 6)
            self.instances[where][filled] = self.instances.max(initial=0) + pieces[filled]
        # A voxel that the lesion touches without filling it belongs to neither side for certain.
        labels[(labels == BACKGROUND) & (painted > 0.3)] = DOUBTFUL

    def paint_bank_mask(
        self,
        bank: MaskBank,
        contrast: float,
        kind: LesionType,
        *,
        jitter_mm: float,
        size: float,
        rim: float | None = None,
    ) -> bool:
        """Paint a random mask of a bank near its own place in MNI space, turned, scaled and maybe mirrored.

        Returns whether it found tissue to lie in.
        """
        rng = self.rng
        mask, affine = bank.mask(int(rng.integers(len(bank))))
        centre = affine[:3, :3] @ ((np.array(mask.shape) - 1) / 2) + affine[:3, 3]
        mirror = rng.random() < 0.5
        where = centre * (-1 if mirror else 1, 1, 1) + rng.normal(0, jitter_mm, 3)
        turn = _small_rotation(rng)
        if mirror:
            turn = turn @ np.diag((-1.0, 1.0, 1.0))
        forward = np.diag(self.placement.scale * size) @ turn @ affine[:3, :3]  # bank voxel -> fine voxel
        at = self.placement.scale * where + self.placement.offset
        half = np.abs(forward) @ (np.array(mask.shape) / 2) + 1
        start = np.floor(at - half).astype(int)
        shape = tuple(np.ceil(2 * half + 1).astype(int))
        if np.prod(shape) > 12e6:  # larger than a hemisphere
            return False
        inverse = np.linalg.inv(forward)
        shift = (np.array(mask.shape) - 1) / 2 - inverse @ (at - start)
        turned = ndimage.affine_transform(mask.astype(np.float32), inverse, shift, shape, order=1) > 0.5
        if not self._lies_in_tissue(start, turned):
            return False
        self.paint_fine(turned, start, contrast, kind, rim=rim)
        return True

    def _lies_in_tissue(self, start: np.ndarray, mask: np.ndarray) -> bool:
        """Whether half of the mask lies on brain tissue that is neither fluid nor bright already."""
        points = np.argwhere(mask)
        if len(points) == 0:
            return False
        points = points[:: max(1, len(points) // 200)] + start
        voxels = np.floor((points + 0.5) / self.per_voxel).astype(int)
        inside = ((voxels >= 0) & (voxels < self.image.shape)).all(axis=1)
        values = self.image[tuple(voxels[inside].T)]
        return bool(((values > -1.5) & (values < 2.5)).sum() > 0.5 * len(points))

    def paint_ms(self, bank: MaskBank) -> None:
        base = self._contrast()
        wanted = round(np.exp(self.rng.uniform(np.log(3), np.log(60))))
        for _ in range(3 * wanted):
            wanted -= self.paint_bank_mask(
                bank,
                max(self.faintest, base * self.rng.uniform(0.6, 1.3)),
                LesionType.MS,
                jitter_mm=5,
                size=self.rng.uniform(0.6, 1.3),
            )
            if wanted <= 0:
                break

    def paint_wmh(self) -> None:
        severe = self.rng.random() < _SEVERE_SHARE
        severity = float(self.rng.uniform(*(SEVERE if severe else USUAL)))
        mask, _ = wmh_mask(
            self.placement.ventricles, self.placement.white, (1.0, 1.0, 1.0), self.rng, severity
        )
        # They shade off into white matter; experts draw them to about where half of the brightness is left.
        blur = float(self.rng.uniform(*_SHADING))
        self.paint_fine(mask, np.zeros(3, int), self._contrast(), LesionType.WMH, blur)

    def paint_stroke(self, banks: Banks) -> None:
        old = self.rng.random() < _OLD
        bank = banks.chronic if old else banks.acute
        # Most old infarcts are a cavity of fluid in a bright rim of gliosis.
        rim = float(self.rng.uniform(*_RIM)) if old and self.rng.random() < _CAVITIES else None
        contrast = float(np.exp(self.rng.uniform(*np.log(self.wanted.stroke_contrast))))
        wanted = 1 + int(self.rng.random() < 0.3)
        for _ in range(10):
            size = self.rng.uniform(0.7, 1.05)
            wanted -= self.paint_bank_mask(bank, contrast, LesionType.STROKE, jitter_mm=4, size=size, rim=rim)
            if wanted <= 0:
                break

    def _contrast(self) -> float:
        """How far lesions of the white matter stand above it: they outshine the cortex, strokes may not."""
        return max(self.faintest, float(np.exp(self.rng.uniform(np.log(1.2), np.log(4.5)))))

    def paint_programme(self, banks: Banks) -> None:
        """Paint one person's lesions: multiple sclerosis, small vessel disease, stroke, or the latter two."""
        shares = np.array(list(self.wanted.programmes.values()), float)
        programme = self.rng.choice(list(self.wanted.programmes), p=shares / shares.sum())
        if programme == "ms":
            self.paint_ms(banks.ms)
        if "wmh" in programme:
            self.paint_wmh()
        if "stroke" in programme:
            self.paint_stroke(banks)


def _small_rotation(rng: np.random.Generator, degrees: float = 20) -> np.ndarray:
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("xyz", rng.uniform(-degrees, degrees, 3), degrees=True).as_matrix()


def painted_variant(
    case: PreparedCase,
    placement: Placement,
    banks: Banks,
    wanted: Preparation,
    rng: np.random.Generator,
) -> PreparedCase:
    """A copy of ``case`` with the lesions of one random programme painted in."""
    painter = Painter(case, placement, wanted, rng)
    painter.paint_programme(banks)
    return replace(
        case,
        name=f"{case.name}+painted",
        image=painter.image,
        target=painter.target,
        instances=painter.instances,
        ventricles=None,
    )


def synthetic_case(banks: Banks, rng: np.random.Generator, number: int, wanted: Preparation) -> PreparedCase:
    """A synthetic head, whole or stripped, with the lesions of one random programme."""
    skull = bool(rng.random() < 0.6)
    head = synthetic_head(deform(load_anatomy(), rng), rng, skull=skull)
    flair = add_noise(head.flair, rng.uniform(1, 6), rng)
    if not skull:
        flair *= head.anatomy.brain > 0.5
    (image,), grid, _ = prepare(flair, (1.0, 1.0, 1.0))
    case = PreparedCase(
        f"synthetic-{number:03d}",
        f"synthetic-{number:03d}",
        image,
        np.zeros(image.shape, np.uint8),
        grid.spacing,
        grid.slice_axis,
        skull,
        1.0,
        instances=np.zeros(image.shape, np.int32) if wanted.instances else None,
    )
    # The head's own ventricles and white matter, exactly.
    ventricles, white = (
        grid.gather(m.astype(np.float32)) for m in (head.anatomy.ventricles, head.anatomy.white)
    )
    corner = np.array([start for start, _ in grid.box])
    placement = Placement(
        np.ones(3),
        -(head.anatomy.affine[:3, 3] + corner),
        image.shape,
        ventricles > 0.5,
        white > 0.5,
        _cortex_level(image, white > 0.5, ventricles > 0.5),
    )
    return painted_variant(case, placement, banks, wanted, rng)
