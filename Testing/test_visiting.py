"""The order in which lesions are visited, and which is next."""

from __future__ import annotations

import dataclasses

import pytest

from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import LesionRecord
from LesionSegmenterLib.visiting import Order, next_lesion, visit_order


def record(lesion_id: int, **values) -> LesionRecord:
    made = LesionRecord(lesion_id, LesionType.WMH, 10.0, 1, (0.0, 0.0, 0.0), 0.0)
    return dataclasses.replace(made, **values)


@pytest.mark.parametrize(
    ("order", "records", "expected"),
    [
        (
            "uncertainty",  # doubts 0.2 (drawn: 0), 1, 0.6 by its type, 0.4, 0
            [
                record(1, mean_probability=0.9),
                record(2, mean_probability=0.5, type_confidence=1.0),
                record(3, mean_probability=0.95, type_confidence=0.4),
                record(4, mean_probability=0.2),
                record(5),
            ],
            [2, 3, 4, 1, 5],
        ),
        ("size", [record(1), record(2, volume_mm3=20.0), record(3, volume_mm3=20.0)], [2, 3, 1]),
        (
            "type",
            [
                record(1, type=LesionType.MS),
                record(2, type=LesionType.STROKE),
                record(3),
                record(4, type=LesionType.MS, volume_mm3=11.0),
            ],
            [3, 2, 4, 1],
        ),
        (
            "position",
            [
                record(1, centroid_ras_mm=(0, 0, 9)),
                record(2, centroid_ras_mm=(5, 1, 2)),
                record(3, centroid_ras_mm=(-5, 1, 2)),
                record(4, centroid_ras_mm=(9, -3, 2)),
            ],
            [4, 3, 2, 1],
        ),
        (
            "unreviewed",
            [
                record(1, status="accepted", mean_probability=0.5),
                record(2),
                record(3, status="edited"),
                record(4, mean_probability=0.6),
            ],
            [4, 2, 1, 3],
        ),
    ],
)
def test_lesions_are_visited_in_the_order_asked_for(order: Order, records, expected):
    assert visit_order(records, order) == expected
    assert visit_order(records[::-1], order) == expected


def test_next_and_previous_go_round():
    records = [record(1, volume_mm3=3.0), record(2, volume_mm3=9.0), record(3, volume_mm3=6.0)]  # 2, 3, 1
    assert [next_lesion(records, "size", current) for current in (2, 3, 1)] == [3, 1, 2]
    assert [next_lesion(records, "size", current, -1) for current in (2, 3, 1)] == [1, 2, 3]
    assert next_lesion(records, "size", None) == 2 and next_lesion(records, "size", None, -1) == 1
    assert next_lesion(records, "size", 77) == 2  # it was split
    assert next_lesion([], "size", None) is None


def test_accept_and_go_on_visits_every_unreviewed_lesion_once_and_then_ends():
    chances = {1: 0.9, 2: 0.5, 3: 0.7, 4: 0.55, 5: 0.52}
    records = {i: record(i, mean_probability=p) for i, p in chances.items()}
    records[5] = dataclasses.replace(records[5], status="rejected")
    visited, current = [], next_lesion(records.values(), "unreviewed", None)
    while current:
        visited.append(current)
        records[current] = dataclasses.replace(records[current], status="accepted")
        current = next_lesion(records.values(), "unreviewed", current)
    assert visited == [2, 4, 3, 1]


def test_the_next_unreviewed_lesion_is_the_next_by_uncertainty_not_the_first():
    chances = {1: 0.9, 2: 0.5, 3: 0.7, 4: 0.55}  # 2, 4, 3, 1
    records = [
        record(i, mean_probability=p, status="accepted" if i == 3 else "proposed") for i, p in chances.items()
    ]
    assert next_lesion(records, "unreviewed", 4) == 1
    assert next_lesion(records, "unreviewed", 3) == 1  # where it stood before it was accepted counts
    assert next_lesion(records, "unreviewed", 1, -1) == 4
    assert next_lesion(records, "unreviewed", 1) == 2
    assert next_lesion(records[:1], "unreviewed", 1) is None  # it is the last one


def test_an_unknown_order_is_refused():
    with pytest.raises(
        InputError, match=r"unknown order of lesions 'colour'\. Choose one of uncertainty, size"
    ):
        visit_order([], "colour")  # type: ignore[arg-type]
