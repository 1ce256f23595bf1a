"""How far a run is, in words."""

from __future__ import annotations

from slicer.i18n import tr as _

_LEAST_SHARE, _LEAST_SECONDS = 0.05, 2.0  # before that, an estimate would jump about


def stage_text(stage: str, fraction: float, seconds: float) -> str:
    """The stage's name and the time left.

    stage : one of those of `progress.overall`
    fraction : of the whole run that is done, 0..1
    seconds : since the run began
    """
    names = {
        "reading": _("reading the image and the model"),
        "preparing": _("preparing the image"),
        "predicting": _("finding lesions"),
        "splitting": _("splitting lesions"),
        "typing": _("telling lesion types apart"),
        "writing": _("writing the results"),
    }
    name = names.get(stage, stage)
    if fraction < _LEAST_SHARE or seconds < _LEAST_SECONDS:
        return name
    return f"{name}, {time_left(fraction, seconds)}"


def time_left(fraction: float, seconds: float) -> str:
    """How long the rest will take if it goes on as it has."""
    left = seconds * (1 - fraction) / fraction
    if left < 90:
        return _("about {seconds} s left").format(seconds=max(round(left), 1))
    if left < 90 * 60:
        return _("about {minutes} min left").format(minutes=round(left / 60))
    return _("about {hours} h left").format(hours=round(left / 3600))
