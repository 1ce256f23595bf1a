"""The panel's keys: what they do, when they do it, and that they are nobody else's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

GUIDE = Path(__file__).parents[1] / "docs" / "annotators.md"
# What Slicer 5.12 does with keys: the Segment Editor, slice and 3D views, markups and the window's menus.
SLICERS_OWN = {
    *"ZYQW,./*<>I`~",
    *(f"{shift}{digit}" for shift in ("", "Shift+", "Ctrl+") for digit in range(10)),
    *("Space", "Esc", "Return", "Enter", "Left", "Right", "Up", "Down", "Ctrl+Left", "Ctrl+Right"),
    *("R", "G", "T", "F", "B", "V", "Shift+V", "[", "]", "{", "}", "+", "-", "S", "Del", "Backspace"),
    *(f"Ctrl+{letter}" for letter in "BCFHOSVWXYZ"),
}


@pytest.fixture
def keys(slicer_app: Any) -> Any:
    """Keys of the main window, of which ``K`` and ``Shift+K`` keep in ``pressed`` that they were pressed."""
    from LesionSegmenterLib.panel.shortcuts import Shortcuts

    slicer_app.window.show()
    made = Shortcuts(slicer_app.window)
    made.pressed = []
    for key in ("K", "Shift+K"):
        made.add(key, f"press {key}", lambda key=key: made.pressed.append(key))
    yield made
    made.cleanup()


def test_a_key_works_only_while_the_module_is_entered(slicer_app: Any, keys: Any) -> None:
    slicer_app.key("K")
    assert keys.pressed == []
    keys.activate()
    slicer_app.key("K")
    slicer_app.key("Shift+K")
    assert keys.pressed == ["K", "Shift+K"]
    keys.deactivate()
    slicer_app.key("K")
    assert keys.pressed == ["K", "Shift+K"]


def test_a_key_that_is_typed_into_a_text_is_only_typed(slicer_app: Any, keys: Any) -> None:
    import qt

    edit = qt.QLineEdit()
    slicer_app.show(edit)
    keys.activate()
    edit.setFocus()
    slicer_app.key("K", edit)
    assert (edit.text, keys.pressed) == ("k", [])


def test_a_key_that_presses_a_button_is_told_by_its_tooltip(slicer_app: Any, keys: Any) -> None:
    import qt

    button = qt.QPushButton()
    button.toolTip = "Count"
    counted: list[bool] = []
    button.clicked.connect(counted.append)
    slicer_app.show(button)
    keys.press("J", button)
    keys.activate()
    slicer_app.key("J")
    button.enabled = False
    slicer_app.key("J")
    assert (button.toolTip, len(counted)) == ("Count (J)", 1)
    assert keys.keys() == (("K", "press K"), ("Shift+K", "press Shift+K"), ("J", "Count"))


def test_no_key_is_given_twice(keys: Any) -> None:
    with pytest.raises(ValueError, match="the key K is given to 'press K'"):
        keys.add("K", "something else", print)


def test_after_the_cleanup_no_key_is_left(slicer_app: Any, keys: Any) -> None:
    keys.activate()
    keys.cleanup()
    slicer_app.key("K")
    assert (keys.pressed, keys.keys()) == ([], ())


def test_none_of_the_panels_keys_is_slicers_own(panel: Any) -> None:
    given = dict(panel.panel.shortcuts.keys())
    assert given and not given.keys() & SLICERS_OWN


def test_the_annotators_page_lists_all_keys_and_no_others(panel: Any) -> None:
    listed = re.findall(r"^\| `([^`]+)` \|", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(dict(panel.panel.shortcuts.keys()))
