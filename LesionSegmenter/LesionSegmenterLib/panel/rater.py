"""Who reviews: the name that actions are recorded under and that a rater's export folder bears."""

from __future__ import annotations

import getpass

from .settings import remember, remembered


def rater_name() -> str:
    """The name given last; the login name where none was, and ``rater`` where the system knows none."""
    name = remembered("rater")
    if isinstance(name, str) and name.strip():
        return name
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without a user entry
        return "rater"


def remember_rater(name: str) -> None:
    """Keep a name for the next time; an empty one brings the login name back."""
    remember("rater", name.strip())
