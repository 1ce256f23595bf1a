"""Which lesions a person has: those of the demonstration, or random ones of a disease."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..labels import LesionType
from .anatomy import Anatomy
from .shapes import (
    beside,
    dawson_fingers,
    infarct,
    infratentorial,
    juxtacortical,
    lacune,
    numbered,
    striatocapsular,
)
from .wmh import wmh_mask

Programme = Literal["ms", "wmh", "stroke", "mixed"]
PROGRAMMES: tuple[Programme, ...] = ("ms", "wmh", "stroke", "mixed")


SEVERITY = (0.4, 3.0)
"""The least and the most severity of a random person's WMH, see `wmh_mask`."""


@dataclass(frozen=True, eq=False)
class LesionGroup:
    """Lesions of one type, painted alike: ids on the anatomy's grid, 0 outside, and their contrast.

    contrast : how far they stand above white matter, which is about 100.
    over_cortex : WMH and MS lesions stand at least so many times as far above it as the head's cortex does.
    """

    type: LesionType
    instances: np.ndarray
    contrast: float
    over_cortex: float = 1.2


BankMasks = Callable[[Anatomy, np.random.Generator], np.ndarray | None]
"""Gives the ids of real infarct masks laid into an anatomy, or None where none fits."""


def demo_lesions(anatomy: Anatomy, rng: np.random.Generator) -> Iterator[LesionGroup]:
    """An infarct, a lacune, Dawson's fingers that touch, juxtacortical lesions, and WMH."""
    strokes = [infarct(anatomy, rng, 1, rng.uniform(17, 21)), lacune(anatomy, rng, -1)]
    yield LesionGroup(LesionType.STROKE, numbered(strokes), 45.0)
    fingers = dawson_fingers(anatomy, rng, 7)
    fingers += [beside(level, rng) for level in fingers[:3]]
    yield LesionGroup(LesionType.MS, numbered(fingers + juxtacortical(anatomy, rng, 5)), 52.0)
    _, wmh = wmh_mask(anatomy.ventricles, anatomy.white > 0.5, (1.0, 1.0, 1.0), rng, 1.6)
    yield LesionGroup(LesionType.WMH, wmh, 42.0)


def random_lesions(
    anatomy: Anatomy,
    rng: np.random.Generator,
    programme: Programme,
    infarcts: BankMasks | None = None,
    severity: tuple[float, float] = SEVERITY,
) -> Iterator[LesionGroup]:
    """Lesions of one random person: how many, where, how large and how bright differ.

    ``mixed`` is small vessel disease with a stroke. Strokes are those of ``infarcts``, if given, every other
    time. ``severity``: the least and the most of `wmh_mask`.
    """
    if programme in ("stroke", "mixed"):
        yield _strokes(anatomy, rng, infarcts)
    if programme == "ms":
        yield _multiple_sclerosis(anatomy, rng)
    if programme in ("wmh", "mixed"):
        drawn = float(rng.uniform(*severity))
        _, wmh = wmh_mask(anatomy.ventricles, anatomy.white > 0.5, (1.0, 1.0, 1.0), rng, drawn)
        yield LesionGroup(LesionType.WMH, wmh, float(rng.uniform(28, 70)), _over_cortex(rng))


def _multiple_sclerosis(anatomy: Anatomy, rng: np.random.Generator) -> LesionGroup:
    fingers = dawson_fingers(anatomy, rng, int(rng.integers(2, 14)))
    touching = rng.random(len(fingers)) < 0.4
    fingers += [beside(level, rng) for level, joined in zip(fingers, touching, strict=True) if joined]
    levels = fingers + juxtacortical(anatomy, rng, int(rng.integers(0, 9)))
    levels += infratentorial(anatomy, rng, int(rng.integers(0, 4)))
    return LesionGroup(LesionType.MS, numbered(levels), float(rng.uniform(30, 75)), _over_cortex(rng))


def _over_cortex(rng: np.random.Generator) -> float:
    """As real lesions: see docs/synthesis.md, which measures both."""
    return float(rng.uniform(1.3, 2.3))


def _strokes(anatomy: Anatomy, rng: np.random.Generator, infarcts: BankMasks | None) -> LesionGroup:
    contrast = float(rng.uniform(18, 75))
    if infarcts is not None and rng.random() < 0.5:
        ids = infarcts(anatomy, rng)
        if ids is not None:
            return LesionGroup(LesionType.STROKE, ids, contrast)
    levels = []
    for _ in range(1 + int(rng.random() < 0.3)):
        side, kind = int(rng.choice((-1, 1))), rng.choice(("cortical", "striatocapsular", "lacunar"))
        if kind == "cortical":
            levels.append(infarct(anatomy, rng, side, rng.uniform(8, 26)))
        elif kind == "striatocapsular":
            levels.append(striatocapsular(anatomy, rng, side))
        else:
            levels.append(lacune(anatomy, rng, side))
    return LesionGroup(LesionType.STROKE, numbered(levels), contrast)
