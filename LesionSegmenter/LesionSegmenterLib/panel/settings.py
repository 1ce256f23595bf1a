"""What the panel remembers for a user, whatever the scene: rater, folders, the engine's Python."""

from __future__ import annotations

import json
from typing import Any

import slicer

_GROUP = "LesionSegmenter"


def remembered(name: str, default: Any = None) -> Any:
    """What `remember` was given last under this name; ``default`` where that is nothing, or damaged."""
    text = slicer.app.userSettings().value(f"{_GROUP}/{name}")
    try:
        return default if text is None else json.loads(text)
    except (TypeError, ValueError):
        return default


def remember(name: str, value: Any) -> None:
    """Keep a value of plain JSON in Slicer's settings, on the disk at once: Slicer may crash."""
    settings = slicer.app.userSettings()
    settings.setValue(f"{_GROUP}/{name}", json.dumps(value))
    settings.sync()
