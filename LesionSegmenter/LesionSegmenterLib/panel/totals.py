"""What the panel says of a case as a whole."""

from __future__ import annotations

from collections.abc import Collection

from slicer.i18n import tr as _

from ..labels import TYPE_COLOURS
from ..lesions import LesionRecord
from ..measure import scan_type, summarise


def totals_text(records: Collection[LesionRecord]) -> str:
    """Count and volume of all lesions and of each type, and the scan's type, as rich text.

    Rejected lesions do not count.
    """
    summary, kind = summarise(records), scan_type(records)
    if kind is None:
        return _("No lesions.")
    whole = _("{count} lesions, {volume} ml; by volume a scan of <b>{type}</b>").format(
        count=summary.total.count, volume=f"{summary.total.volume_ml:.2f}", type=kind.label
    )
    types = [
        f"{_swatch(TYPE_COLOURS[lesion_type])}&nbsp;{lesion_type.label}&nbsp;{totals.count}"
        f"&nbsp;({totals.volume_ml:.2f}&nbsp;ml)"
        for lesion_type, totals in summary.by_type.items()
    ]
    return f"{whole}<br>{' &nbsp; '.join(types)}"


def time_text(seconds: float) -> str:
    """A time as ``0:07:30``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def _swatch(rgb: tuple[float, float, float]) -> str:
    red, green, blue = (round(255 * share) for share in rgb)
    return f'<span style="background-color: rgb({red}, {green}, {blue})">&nbsp;&nbsp;&nbsp;</span>'
