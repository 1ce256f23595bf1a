"""The way through the lesions in the Lesions section: next, accept and reject, and the totals."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed: make .venv/slicer", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError, reason="no PySide6: make .venv/slicer")

import slicer
import slicer.util

from lesions_section import click, shown
from LesionSegmenterLib import edits
from panel_lesions import review


def statuses(section: Any) -> dict[int, str]:
    return {i: record.status for i, record in section.review.lesions.records.items()}


# The way through


@pytest.mark.parametrize(
    ("order", "expected"), [("size", [5, 10, 4]), ("type", [5, 9, 1]), ("position", [1, 2, 3])]
)
def test_next_and_previous_go_in_the_chosen_order(opened: Any, order: str, expected: list[int]) -> None:
    opened.panel.parameters = SimpleNamespace(order=order, flair=None)
    gone = []
    for _ in range(3):
        opened.app.click(opened.ui.nextButton)
        gone.append(opened.review.current)
    assert gone == expected
    opened.app.click(opened.ui.previousButton)
    assert opened.review.current == expected[1]


def test_next_goes_among_the_lesions_that_are_shown(opened: Any) -> None:
    opened.panel.parameters = SimpleNamespace(order="position", flair=None)
    opened.app.choose(opened.ui.typeFilterBox, "MS")
    gone = []
    for _ in range(4):
        opened.app.key("N")
        gone.append(opened.review.current)
    assert gone == [3, 7, 11, 3]
    opened.app.key("Shift+N")
    assert opened.review.current == 11


@pytest.mark.parametrize(("key", "status"), [("A", "accepted"), ("X", "rejected")])
def test_all_lesions_are_judged_by_one_key_each(opened: Any, key: str, status: str) -> None:
    opened.app.key("N")
    for reviewed in range(12):
        assert opened.ui.progressBar.value == reviewed
        opened.app.key(key)
    assert set(statuses(opened).values()) == {status}
    assert (opened.ui.progressBar.value, opened.ui.progressBar.format) == (12, "12 of 12 reviewed")


def test_judging_goes_on_although_the_filter_takes_the_lesion_away(opened: Any) -> None:
    opened.panel.parameters = SimpleNamespace(order="position", flair=None)
    opened.app.choose(opened.ui.statusFilterBox, "proposed")
    click(opened, 5)
    opened.app.click(opened.ui.acceptButton)
    assert opened.review.selection == (6,)
    opened.app.click(opened.ui.rejectButton)
    assert opened.review.selection == (7,)
    assert (statuses(opened)[5], statuses(opened)[6]) == ("accepted", "rejected")
    assert shown(opened) == [1, 2, 3, 4, 7, 8, 9, 10, 11, 12]


def test_accepting_what_is_accepted_goes_on_without_an_edit(opened: Any) -> None:
    opened.review.select([4])
    opened.app.key("A")
    opened.review.select([4])
    before = opened.review.session.undo_name
    opened.app.key("A")
    assert opened.review.current != 4
    assert (opened.review.session.undo_name, opened.panel.told) == (before, [])


def test_several_lesions_are_accepted_in_one_action(opened: Any) -> None:
    opened.review.select([2, 3, 4, 5])
    opened.app.key("A")
    assert opened.review.session.undo_name == "Accept L0002, L0003, L0004 and 1 more"
    opened.review.undo()
    assert set(statuses(opened).values()) == {"proposed"}


def test_buttons_are_enabled_where_they_have_something_to_act_on(lesions: Any, tmp_path: Path) -> None:
    ui = lesions.ui
    going, judging = (ui.previousButton, ui.nextButton), (ui.acceptButton, ui.rejectButton)
    assert not any(button.enabled for button in (*going, *judging, ui.colourBox))
    review(lesions.review, tmp_path)
    assert all(button.enabled for button in (*going, ui.colourBox))
    assert not any(button.enabled for button in judging)
    lesions.review.select([1])
    assert all(button.enabled for button in judging)
    lesions.review.close()
    assert not any(button.enabled for button in (*going, *judging, ui.colourBox))
    assert shown(lesions) == [] and ui.totalsLabel.text == "No case is open."


def test_tooltips_tell_the_keys(opened: Any) -> None:
    for name, key in (("previous", "Shift+N"), ("next", "N"), ("accept", "A"), ("reject", "X")):
        assert getattr(opened.ui, f"{name}Button").toolTip.endswith(f" ({key})")


def test_the_chosen_order_is_the_scenes_and_the_keys_work_while_the_module_is_entered(
    panel: Any, tmp_path: Path
) -> None:
    review(panel.panel.review, tmp_path)
    panel.choose(panel.ui("lesions").orderBox, "size")
    assert panel.panel.parameters.order == "size"
    panel.key("N")
    assert panel.panel.review.current == 5, "the first of the largest"
    slicer.util.selectModule("Data")
    panel.key("N")
    panel.pick(panel.panel.review.lesions.records[2].centroid_ras_mm)
    assert panel.panel.review.current == 5, "keys and clicks are another module's"


# Totals


def test_totals_count_what_is_not_rejected_and_name_the_scans_type(opened: Any) -> None:
    records = opened.review.lesions.records

    def text() -> str:
        return opened.ui.totalsLabel.text.replace("&nbsp;", " ")

    def ml(ids: list[int]) -> str:
        return f"{sum(records[i].volume_mm3 for i in ids) / 1000:.2f} ml"

    assert f"12 lesions, {ml(list(records))}" in text() and "<b>WMH</b>" in text()
    assert f"MS 3 ({ml([3, 7, 11])})" in text()
    opened.review.do("Reject", lambda lesions: edits.reject(lesions, [1, 3, 5]))
    assert f"9 lesions, {ml([2, 4, *range(6, 13)])}" in text()
    assert f"MS 2 ({ml([7, 11])})" in text() and "<b>WMH</b>" not in text()
    opened.review.do("Reject", lambda lesions: edits.reject(lesions, [2, 4, *range(6, 13)]))
    assert text() == "No lesions."


def test_the_time_spent_is_shown(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    later = 7.0 + opened.review.session._last_action
    monkeypatch.setattr("LesionSegmenterLib.review.time.monotonic", lambda: later)
    opened.review.do("Accept", lambda lesions: edits.accept(lesions, [1]))
    assert opened.ui.timeLabel.text == "0:00:07"
