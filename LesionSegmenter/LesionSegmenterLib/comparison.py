"""Two raters' lesions of one scan: how far they agree, and on which lesions they do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .labels import LesionType
from .lesions import LesionMap, LesionRecord
from .measure import Totals, summarise
from .metrics import dice, match_instances

CONSENSUS_DICE = 0.85
"""Masks of two raters with a lower Dice are labelled again until they reach it (DeepWML)."""


@dataclass(frozen=True)
class Pair:
    """A lesion that both raters have, as each of them has it, and the intersection over union (IoU)."""

    a: LesionRecord
    b: LesionRecord
    iou: float

    @property
    def dice(self) -> float:
        """Dice of the two lesions, 2 IoU / (1 + IoU)."""
        return 2 * self.iou / (1 + self.iou)


@dataclass(frozen=True)
class Unmatched:
    """A lesion of one rater without its like; ``covered`` is the share of it in lesions of the other, 0..1.

    0 is a lesion that the other does not have; near 1, the other has it as a part of a larger lesion.
    """

    lesion: LesionRecord
    covered: float


@dataclass(frozen=True)
class Comparison:
    """Agreement of rater A and rater B on one scan; rejected lesions are left out.

    dice : of all lesion voxels; 1.0 where neither has any.
    dice_by_type : of the voxels of each type that either rater has, by ascending label value.
    totals_a, totals_b : count and volume of all lesions.
    totals_by_type : of A and of B, for the same types.
    pairs : lesions that both have, by ascending id of A's.
    only_a, only_b : lesions that found no partner, by ascending id.
    """

    dice: float
    dice_by_type: dict[LesionType, float]
    totals_a: Totals
    totals_b: Totals
    totals_by_type: dict[LesionType, tuple[Totals, Totals]]
    pairs: list[Pair]
    only_a: list[Unmatched]
    only_b: list[Unmatched]

    @property
    def needs_consensus(self) -> bool:
        """Whether the raters have to go over this scan again: Dice under `CONSENSUS_DICE`."""
        return self.dice < CONSENSUS_DICE

    @property
    def type_disagreements(self) -> list[Pair]:
        """Lesions that both have, with different types."""
        return [pair for pair in self.pairs if pair.a.type != pair.b.type]

    @property
    def disputed(self) -> set[int]:
        """Ids of A's lesions that B does not have, or has with another type."""
        return {each.lesion.lesion_id for each in self.only_a} | {
            pair.a.lesion_id for pair in self.type_disagreements
        }

    @property
    def lesion_dice(self) -> float | None:
        """Mean Dice of the lesions that both have; None if there is none."""
        return float(np.mean([pair.dice for pair in self.pairs])) if self.pairs else None


def compare_raters(a: LesionMap, b: LesionMap) -> Comparison:
    """Compare two raters' lesions of one scan.

    Lesions are matched by `metrics.match_instances` (ConfLUNet): an IoU over 0.1, each of A's offered to the
    one of B's that fits it best, which takes the best of its offers. All other figures are the same with the
    raters swapped; where they cut a confluent lesion differently, the pairs may not be.

    Raises InputError if the two are not on one 3D grid.
    """
    types_a, ids_a = a.exported()
    types_b, ids_b = b.exported()
    matching = match_instances(ids_a, ids_b)
    summary_a, summary_b = summarise(a.records.values()), summarise(b.records.values())
    kinds = sorted(summary_a.by_type.keys() | summary_b.by_type.keys())
    none = Totals(0, 0.0)
    return Comparison(
        dice(ids_a, ids_b),
        {kind: dice(types_a == kind, types_b == kind) for kind in kinds},
        summary_a.total,
        summary_b.total,
        {kind: (summary_a.by_type.get(kind, none), summary_b.by_type.get(kind, none)) for kind in kinds},
        [Pair(a.records[i], b.records[j], iou) for i, j, iou in matching.matches],
        [_unmatched(a, i, ids_b) for i in matching.unmatched_pred],
        [_unmatched(b, i, ids_a) for i in matching.unmatched_true],
    )


def _unmatched(lesions: LesionMap, lesion_id: int, others: npt.NDArray[np.int32]) -> Unmatched:
    index = np.unravel_index(lesions.voxels(lesion_id), lesions.shape)
    return Unmatched(lesions.records[lesion_id], float(np.count_nonzero(others[index]) / index[0].size))
