"""Scores of the cases of one derivative folder against those of another."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from ..export import complete_subjects, read_case
from ..image import Volume, read_labels, read_volume, same_grid, to_canonical
from ..metrics import evaluate_case
from ..metrics.groups import CaseScores
from ..metrics.types import commonest_type, evaluate_types
from .pictures import error_picture

PARTICIPANTS = "participants.tsv"


def common_subjects(pred: Path, truth: Path) -> list[str]:
    """IDs of the cases that both folders hold; InputError where there is none."""
    found = sorted(set(complete_subjects(pred)) & set(complete_subjects(truth)))
    if not found:
        raise InputError("no case stands in both folders", f"{pred}, {truth}", "Check their subject IDs")
    return found


def participants(folder: Path) -> dict[str, dict[str, str]]:
    """Columns of a BIDS ``participants.tsv`` by subject; empty where the folder has none.

    ``centre`` (or ``site``) groups the cases in a report; numbers, such as a Fazekas grade, are correlated.
    """
    path = folder / PARTICIPANTS
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    if rows and "participant_id" not in rows[0]:
        raise InputError("there is no column participant_id", path)
    return {row.pop("participant_id").removeprefix("sub-"): row for row in rows}


def score_pair(
    pred: Path, truth: Path, subject: str, model: str, columns: dict[str, str]
) -> tuple[CaseScores, bytes | None]:
    """Scores of one case, and a picture of what is wrong where its FLAIR is at hand.

    Beside the scores of `metrics.evaluate_case` there are those of each type, such as ``dice_MS``.

    Raises InputError where the two are not on one grid.
    """
    ours, theirs = read_case(pred, subject), read_case(truth, subject)
    found, true = (read_labels(case.paths["instances"]) for case in (ours, theirs))
    if not same_grid(found, true):
        raise InputError("the two are not on one grid", ours.paths["instances"], "Compare copies of one case")
    types = [read_labels(case.paths["types"]).array for case in (ours, theirs)]
    metrics = evaluate_case(found.array, true.array, true.affine)
    for kind, scores in evaluate_types(*types).items():
        metrics |= {f"{name}_{kind}": value for name, value in scores.items()}
    extra = {name: value for name, value in columns.items() if name not in ("centre", "site")}
    stated, real = map(commonest_type, types)
    centre = columns.get("centre") or columns.get("site") or "all"
    row = CaseScores(subject, model, centre, real or "none", metrics, stated, extra)
    return row, _picture(theirs.flair, found, true)


def _picture(path: Path, found: Volume, true: Volume) -> bytes | None:
    if not path.is_file():
        return None
    array, affine, orientation = to_canonical(read_volume(path).array, true.affine)
    spacing: Sequence[float] = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return error_picture(
        array, orientation.apply(found.array) > 0, orientation.apply(true.array) > 0, spacing
    )
