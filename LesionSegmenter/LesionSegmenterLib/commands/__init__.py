"""The commands of ``lesion-segmenter``, one file each: ``add_parser(commands)`` and what it runs."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """``1 lesion``, ``2 lesions``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
