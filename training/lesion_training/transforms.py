"""Augmentation of patches by torchio, each recipe with its own ranges; MONAI for shear and Gibbs ringing.

Spatial transforms move image, target and lesion ids alike, the latter two by the nearest voxel, so that ids
stay ids; whatever is computed from ids comes afterwards. Intensities are handed over as fractions of normal
tissue (air 0, tissue 1), as scanners give them, since fields, powers and k-space know no negative ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from math import radians, tan
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from LesionSegmenterLib.engine.normalisation import CLIP

from .patches import AIR, AIR_BELOW, Patch

if TYPE_CHECKING:
    import torchio as tio

    Step = Callable[[tio.Subject], tio.Subject]


@dataclass(frozen=True)
class Flip:
    """Mirroring along each of ``axes`` (of the patch: 0 is left to right) in a share of the draws."""

    share: float = 0.5
    axes: list[int] | None = None


@dataclass(frozen=True)
class Affine:
    """Rotation (in plane for slices, else about all axes), scaling and shear; degrees to either side."""

    share: float = 1.0
    rotation_degrees: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    shear_degrees: float = 0.0


@dataclass(frozen=True)
class Elastic:
    """B-splines of ``control_points`` an axis, displaced by up to so many mm."""

    share: float
    displacement_mm: float
    control_points: int = 7


@dataclass(frozen=True)
class LowResolution:
    """Sampling ``factor`` times coarser along one axis, and back."""

    share: float
    factor: tuple[float, float]


@dataclass(frozen=True)
class Blur:
    """A Gaussian of so many mm."""

    share: float
    sd_mm: tuple[float, float]


@dataclass(frozen=True)
class Bias:
    """A smooth field of polynomials whose coefficients lie within this of 0, as an exponent."""

    share: float
    coefficients: float


@dataclass(frozen=True)
class Gamma:
    """A power of e to a value within this of 0."""

    share: float
    log_gamma: float


@dataclass(frozen=True)
class Contrast:
    """All but air ``gain`` times as far from normal tissue, and shifted by up to ``shift`` of its brightness.

    Normalisation by the median and its deviation leaves both uncertain: how bright the cortex is moves them.
    """

    share: float
    gain: tuple[float, float]
    shift: float = 0.0


@dataclass(frozen=True)
class Gibbs:
    """Ringing: the outer part of k-space cut off; 0 keeps all of it, 1 nothing."""

    share: float
    alpha: tuple[float, float]


@dataclass(frozen=True)
class Motion:
    """The head moves so many times while k-space is filled."""

    share: float
    rotation_degrees: float
    translation_mm: float
    moves: int = 2


@dataclass(frozen=True)
class Ghosting:
    """Copies along one axis, of this strength."""

    share: float
    intensity: tuple[float, float]
    ghosts: tuple[int, int] = (2, 6)


@dataclass(frozen=True)
class Noise:
    """White noise; its standard deviation as a fraction of normal tissue's brightness."""

    share: float
    sd: tuple[float, float]


@dataclass(frozen=True)
class TransformSettings:
    """Which transforms, in this order; ``share`` is the part of the draws that get one."""

    flip: Flip | None = None
    affine: Affine | None = None
    elastic: Elastic | None = None
    low_resolution: LowResolution | None = None
    blur: Blur | None = None
    bias: Bias | None = None
    gamma: Gamma | None = None
    contrast: Contrast | None = None
    gibbs: Gibbs | None = None
    motion: Motion | None = None
    ghosting: Ghosting | None = None
    noise: Noise | None = None


class Transforms:
    """Turns patches into augmented ones; what it draws follows from the seed of each call alone."""

    def __init__(self, settings: TransformSettings, *, flat: bool):
        self.settings, self.flat = settings, flat

    def __call__(self, patch: Patch, seed: int) -> Patch:
        """The patch transformed; of the same shape."""
        if not self._steps:
            return patch
        import torchio as tio

        subject = tio.Subject(image=tio.ScalarImage(tensor=_fractions(patch.image), affine=_affine(patch)))
        subject.add_image(_labels(patch.target, patch), "target")
        if patch.ids is not None:
            subject.add_image(_labels(patch.ids, patch), "ids")
        with _seeded(seed):
            for step in self._steps:
                subject = step(subject)
        image, target = (subject.get_image(name).data.numpy() for name in ("image", "target"))
        return patch._replace(
            image=np.clip(image * -AIR + AIR, *CLIP).astype(np.float32),
            target=target[0].astype(np.uint8),
            ids=None if patch.ids is None else subject.get_image("ids").data[0].numpy().astype(np.int32),
        )

    @cached_property
    def _steps(self) -> list[Step]:
        stated = [getattr(self.settings, item.name) for item in fields(self.settings)]
        if not any(stated):
            return []
        import SimpleITK

        # Starting threads takes longer than a slice; workers are processes of their own.
        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        return [step for settings in stated if settings and settings.share for step in self._made(settings)]

    def _made(self, settings: Any) -> list[Step]:
        """The steps of one setting."""
        import torchio as tio

        # The subject is ours alone: copying it before each step would take longer than most steps.
        flat, share = self.flat, {"p": settings.share, "copy": False}
        match settings:
            case Flip(axes=axes):
                return [tio.RandomFlip(tuple(axes or (0,)), flip_probability=settings.share, copy=False)]
            case Affine(rotation_degrees=turn, scale=(low, high), shear_degrees=shear):
                turned = tio.RandomAffine(
                    scales=(low, high, low, high, 1, 1) if flat else (low, high),
                    degrees=(0, 0, 0, 0, -turn, turn) if flat else turn,
                    isotropic=not flat,
                    **share,
                )
                return [turned, *([_shear(settings.share, shear)] if shear else [])]
            case Elastic(displacement_mm=mm, control_points=points):
                return [tio.RandomElasticDeformation(points, (mm, mm, 0) if flat else mm, **share)]
            case LowResolution(factor=factor):
                return [tio.RandomAnisotropy(self._axes, factor, **share)]
            case Blur(sd_mm=(low, high)):
                in_plane: Any = (low, high, low, high, 0, 0)
                return [tio.RandomBlur(in_plane if flat else (low, high), **share)]
            case Bias(coefficients=coefficients):
                return [tio.RandomBiasField(coefficients, **share)]
            case Gamma(log_gamma=log_gamma):
                return [tio.RandomGamma(log_gamma, **share)]
            case Contrast(gain=gain, shift=shift):
                return [_contrast(settings.share, gain, shift)]
            case Gibbs(alpha=alpha):
                return [_gibbs(settings.share, alpha)]
            case Motion(rotation_degrees=turn, translation_mm=shift, moves=moves):
                return [tio.RandomMotion(turn, shift, moves, **share)]
            case Ghosting(ghosts=ghosts, intensity=intensity):
                return [tio.RandomGhosting(ghosts, self._axes, intensity, **share)]
            case Noise(sd=sd):
                return [tio.RandomNoise(0, sd, **share)]
        raise TypeError(f"no transform for {settings}")

    @property
    def _axes(self) -> tuple[int, ...]:
        """Axes that artefacts may run along: for a slice, those of its plane."""
        return (0, 1) if self.flat else (0, 1, 2)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's one generator, which torchio draws from, at a seed; and as it was afterwards."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)  # torch.manual_seed looks for GPUs as well, and takes longer
    try:
        yield
    finally:
        torch.set_rng_state(before)


def _fractions(image: NDArray[np.float32]) -> torch.Tensor:
    """Normalised intensities as fractions of normal tissue's, air being 0."""
    return torch.from_numpy((image - AIR) / -AIR)


def _affine(patch: Patch) -> NDArray[np.float64]:
    return np.diag([*patch.spacing, 1.0])


def _labels(labels: NDArray[np.integer], patch: Patch) -> tio.LabelMap:
    import torchio as tio

    return tio.LabelMap(tensor=torch.from_numpy(labels[None].astype(np.int32)), affine=_affine(patch))


def _contrast(share: float, gain: tuple[float, float], shift: float) -> Step:
    """See `Contrast`; of images as fractions of normal tissue's brightness."""

    def step(subject: tio.Subject) -> tio.Subject:
        chosen, by, to = torch.rand(3).tolist()
        if chosen < share:
            image = subject.get_image("image")
            old = image.data
            new = 1 + (old - 1) * (gain[0] + by * (gain[1] - gain[0])) + (2 * to - 1) * shift
            image.set_data(torch.where(old > 1 - AIR_BELOW / AIR, new.clamp_min(0), old))
        return subject

    return step


def _shear(share: float, degrees: float) -> Step:
    """Shear within the plane of the first two axes."""
    from monai.transforms import RandAffined

    by = tan(radians(degrees))
    return _by_monai(
        share,
        RandAffined(
            ("image", "target", "ids"),
            prob=1.0,
            shear_range=[(-by, by), (0, 0), (-by, by), (0, 0), (0, 0), (0, 0)],
            mode=("bilinear", "nearest", "nearest"),
            padding_mode="zeros",
            allow_missing_keys=True,
        ),
    )


def _gibbs(share: float, alpha: tuple[float, float]) -> Step:
    from monai.transforms import RandGibbsNoised

    return _by_monai(share, RandGibbsNoised(("image",), prob=1.0, alpha=alpha))


def _by_monai(share: float, transform: Any) -> Step:
    """A MONAI transform of a dictionary in a share of the draws, which draws from torch's generator."""
    import torchio as tio

    adapter = tio.MonaiAdapter(transform, copy=False)

    def step(subject: tio.Subject) -> tio.Subject:
        if torch.rand(1).item() > share:
            return subject
        transform.set_random_state(seed=int(torch.randint(2**31, (1,))))
        return adapter(subject)

    return step
