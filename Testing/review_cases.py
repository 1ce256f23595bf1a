"""A small case under review, and what is compared of its session."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lesion_maps import lesion_map, state
from LesionSegmenterLib import edits
from LesionSegmenterLib.lesions import LesionMap
from LesionSegmenterLib.review import ReviewSession

AFFINE = np.array([[-0.9, 0, 0, 30], [0, 1.1, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1.0]])


def opening() -> LesionMap:
    """Lesion 1 has 12 voxels, 2 has 6, 3 has 4."""
    ids = np.zeros((8, 6, 4), np.int32)
    ids[0:4, 0:3, 0], ids[6:8, 0:3, 1], ids[0:2, 4:6, 3] = 1, 2, 3
    return lesion_map(ids, AFFINE)


def open_session(folder: Path, lesions: LesionMap | None = None, rater: str = "Ada") -> ReviewSession:
    return ReviewSession.open(opening() if lesions is None else lesions, folder, rater, "P1")


def edit_a_little(session: ReviewSession) -> None:
    """Accept, split, and undo the split."""
    session.do("Accept L0002", edits.accept(session.lesions, [2]), "key A")
    session.do("Split L0001 in 2", edits.split_k(session.lesions, 1, 2), "in k parts")
    session.undo()


def seen(session: ReviewSession) -> tuple:
    """What a user sees of a session, and the id that a new lesion would get."""
    names = session.undo_name, session.redo_name, [action.name for action in session.audit()]
    return state(session.lesions), session.lesions.next_id, names, session.progress().reviewed
