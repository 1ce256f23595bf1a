"""Which lesions the table shows."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from ..labels import LesionType
from ..lesions import LesionRecord
from ..scene.tags import segment_id


@dataclass(frozen=True)
class LesionFilter:
    """What a lesion has to be to be shown; what is left out asks for nothing.

    text : words that all have to stand in its id, type, status or note, whatever their case.
    among : ids of which it has to be one.
    """

    text: str = ""
    type: LesionType | None = None
    status: str | None = None
    among: Set[int] | None = None

    def accepts(self, record: LesionRecord) -> bool:
        """Whether a lesion is shown."""
        if self.type is not None and record.type != self.type:
            return False
        if self.status is not None and record.status != self.status:
            return False
        if self.among is not None and record.lesion_id not in self.among:
            return False
        words = " ".join((segment_id(record.lesion_id), record.type.label, record.status, record.note))
        return all(word in words.lower() for word in self.text.lower().split())
