"""The Edit section on a small case, for the tests of its buttons, of splitting and of painting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from LesionSegmenterLib.scene.io import Opened
from panel_lesions import flair_of
from scene_cases import affine, boxes, lesion_map

LESION, LEFT, RIGHT, BAR = 40000, 1, 2, 3
"""Of `scene_cases.boxes`: a box of 6x8x6 voxels, two boxes that touch, and a bar of 12x1x1."""


def open_edit(section: Any, folder: Path) -> Any:
    """The Edit section with the boxes under review by Ada; nothing is selected."""
    edit = section("edit", "EditSection")
    lesions = lesion_map(boxes(), affine())
    edit.review.open(Opened(lesions, flair_of(lesions), ()), folder, "01", "Ada")
    return edit


def state(edit: Any) -> tuple[bytes, dict[int, Any]]:
    """All that an edit may change."""
    return edit.review.lesions.ids.tobytes(), dict(edit.review.lesions.records)


def voxels(edit: Any, lesion_id: int) -> npt.NDArray[np.bool_]:
    """Where a lesion is."""
    return edit.review.lesions.ids == lesion_id


def centre(edit: Any, lesion_id: int) -> tuple[float, float, float]:
    """A lesion's centroid, RAS mm."""
    place: tuple[float, float, float] = edit.review.lesions.records[lesion_id].centroid_ras_mm
    return place


def last_action(edit: Any) -> tuple[str, str, str]:
    """Kind, name and tool of what was recorded last."""
    action = edit.review.session.actions[-1]
    return action.kind, action.name, action.tool
