"""The order in which lesions are visited in a review."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

from .errors import InputError
from .lesions import LesionRecord

Order = Literal["uncertainty", "size", "type", "position", "unreviewed"]


def visit_order(records: Iterable[LesionRecord], order: Order) -> list[int]:
    """Lesion ids in the order of visiting; equals go by ascending id.

    ``uncertainty``: the most doubtful first, see `doubt`. ``size``: by volume, the largest first. ``type``:
    by label value, in each type by size. ``position``: by centroid from inferior to superior, then posterior
    to anterior, then left to right. ``unreviewed``: the proposed ones before the others, each by uncertainty.

    Raises InputError for another order.
    """
    if order not in get_args(Order):
        raise InputError(
            f"unknown order of lesions {order!r}", todo=f"Choose one of {', '.join(get_args(Order))}"
        )
    return [record.lesion_id for record in sorted(records, key=_KEYS[order])]


def next_lesion(
    records: Iterable[LesionRecord], order: Order, current: int | None, step: Literal[1, -1] = 1
) -> int | None:
    """The lesion after ``current``, or with a step of -1 before it; beyond either end it goes round.

    In the order ``unreviewed``, the next of the lesions by uncertainty that is still proposed, wherever the
    current one went when it was judged. None where no lesion is left to go to. From a lesion that is not
    among the records (it was split or deleted), or from None, it is the first; with a step of -1 the last.
    """
    records = list(records)
    walk = visit_order(records, "uncertainty" if order == "unreviewed" else order)[::step]
    if current in walk:
        place = walk.index(current)
        walk = walk[place + 1 :] + walk[: place + 1]
    if order == "unreviewed":
        open_ones = {record.lesion_id for record in records if record.status == "proposed"}
        walk = [lesion_id for lesion_id in walk if lesion_id in open_ones and lesion_id != current]
    return walk[0] if walk else None


def doubt(record: LesionRecord) -> float:
    """How doubtful a lesion is, 0..1: the larger of two doubts, that it is one and that its type is right.

    The first is 1 at a confidence of 0.5, or where there is none at a mean probability of 0.5, and falls to 0
    at 0 and 1; the second is what the type confidence lacks to 1. A value that does not exist (the lesion was
    drawn, or its type stated) is no doubt.
    """
    chance = record.mean_probability if record.confidence is None else record.confidence
    about_lesion = 0.0 if chance is None else 1 - abs(2 * chance - 1)
    about_type = 0.0 if record.type_confidence is None else 1 - record.type_confidence
    return max(about_lesion, about_type)


def _position(record: LesionRecord) -> tuple[float, ...]:
    r, a, s = record.centroid_ras_mm
    return s, a, r, record.lesion_id


_KEYS: dict[Order, Callable[[LesionRecord], Any]] = {
    "uncertainty": lambda record: (-doubt(record), record.lesion_id),
    "size": lambda record: (-record.volume_mm3, record.lesion_id),
    "type": lambda record: (record.type, -record.volume_mm3, record.lesion_id),
    "position": _position,
    "unreviewed": lambda record: (record.status != "proposed", -doubt(record), record.lesion_id),
}
