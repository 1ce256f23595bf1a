"""Clicks in Slicer's slice views, told without taking them from the views."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import slicer

_CLICK_PIXELS = 3  # the mouse moves less than this in a click; more is a drag, which is the view's own
_PRIORITY = 0.5  # before the view, which keeps events to itself; after the Segment Editor's effects (1.0)

Point = tuple[float, float, float]


class Picker:
    """Watches the slice views while it is started.

    picked : called with the place of a click, RAS mm, and whether Ctrl was held.
    """

    def __init__(self, picked: Callable[[Point, bool], Any]) -> None:
        self._picked = picked
        self._watched: list[tuple[Any, int]] = []
        self._pressed: tuple[int, int] | None = None

    def start(self) -> None:
        """Watch all slice views, those that another layout brings included."""
        layout = slicer.app.layoutManager()
        if layout is not None and not self._watched:
            layout.layoutChanged.connect(self._watch)
            self._watch()

    def stop(self) -> None:
        """Watch none."""
        layout = slicer.app.layoutManager()
        if layout is not None and self._watched:
            layout.layoutChanged.disconnect(self._watch)
        self._leave()

    def _watch(self, _layout: int = 0) -> None:
        self._leave()
        layout = slicer.app.layoutManager()
        for name in layout.sliceViewNames():
            view = layout.sliceWidget(name).sliceView()
            interactor, node = view.interactor(), view.mrmlSliceNode()
            for event, react in (
                ("LeftButtonPressEvent", self._press),
                ("LeftButtonReleaseEvent", partial(self._release, node)),
            ):
                self._watched.append((interactor, interactor.AddObserver(event, react, _PRIORITY)))

    def _leave(self) -> None:
        for interactor, tag in self._watched:
            interactor.RemoveObserver(tag)
        self._watched.clear()
        self._pressed = None

    def _press(self, interactor: Any, _event: str = "") -> None:
        self._pressed = interactor.GetEventPosition() if _views_are_idle() else None

    def _release(self, node: Any, interactor: Any, _event: str = "") -> None:
        pressed, self._pressed = self._pressed, None
        if pressed is None:
            return
        x, y = interactor.GetEventPosition()
        if max(abs(x - pressed[0]), abs(y - pressed[1])) < _CLICK_PIXELS:
            r, a, s, _ = node.GetXYToRAS().MultiplyPoint((x, y, 0.0, 1.0))
            self._picked((r, a, s), bool(interactor.GetControlKey()))


def _views_are_idle() -> bool:
    """Whether a click means nothing else, such as placing a point or setting the window level."""
    mode = slicer.app.applicationLogic().GetInteractionNode()
    return mode is None or mode.GetCurrentInteractionMode() == mode.ViewTransform
