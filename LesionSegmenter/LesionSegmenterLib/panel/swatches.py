"""Small squares of a lesion's colour."""

from __future__ import annotations

from typing import Any

import qt

from ..scene.tags import Colour

_SIDE = 12  # pixels


def swatch(colour: Colour) -> Any:
    """An icon of a colour, RGB in 0..1, which a selected row or button leaves as it is.

    Keep icons with the widgets that show them: one that outlives the application can crash Slicer at its end.
    """
    picture = qt.QPixmap(_SIDE, _SIDE)
    picture.fill(qt.QColor(*(round(255 * share) for share in colour)))
    icon = qt.QIcon(picture)
    icon.addPixmap(picture, qt.QIcon.Selected)
    return icon
