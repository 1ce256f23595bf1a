"""``lesion-segmenter compare``: how far two raters agree, and on which lesions they do not."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import counted

if TYPE_CHECKING:
    from ..comparison import Comparison, Unmatched
    from ..export import CaseFiles
    from ..image import Volume
    from ..lesions import LesionRecord

_LESION_COLUMNS = (
    "lesion_a",
    "lesion_b",
    "type_a",
    "type_b",
    "volume_a_mm3",
    "volume_b_mm3",
    "iou",
    "dice",
    "covered",
)


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "compare",
        help="compare two raters' lesions",
        description="RATER_A and RATER_B are each a case folder, or a folder of cases, matched by subject. "
        "Lesions are the same where their IoU is over 0.1. Cases with a Dice under 0.85 need a consensus.",
    )
    parser.add_argument("a", type=Path, metavar="RATER_A")
    parser.add_argument("b", type=Path, metavar="RATER_B")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures and lesions here")
    parser.add_argument("--tsv", type=Path, metavar="FILE", help="write a row a lesion here")
    parser.set_defaults(run=run)


@dataclass(frozen=True)
class _Rater:
    """The cases of one rater; ``chosen`` if a single case was named."""

    folder: Path
    subjects: list[str]
    chosen: bool


def run(options: argparse.Namespace) -> None:
    from ..atomic import atomic_file, check_not_input, write_json
    from ..export import case_paths

    a, b = _rater(options.a), _rater(options.b)
    for out in filter(None, (options.json, options.tsv)):
        for rater in (a, b):
            for subject in rater.subjects:
                check_not_input(out, *case_paths(rater.folder, subject).values())
    names: dict[str, set[str]] = {"a": set(), "b": set()}
    found: dict[str, Comparison] = {}
    for subject in _common(a, b):
        found[subject], of_a, of_b = _compare(a.folder, b.folder, subject)
        names["a"].add(of_a)
        names["b"].add(of_b)
    for letter, rater in (("a", a), ("b", b)):
        print(f"rater {letter.upper()}: {', '.join(sorted(names[letter]))} ({rater.folder})")
    if len(found) == 1:
        for subject, comparison in found.items():
            print(_case_text(subject, comparison))
    else:
        print(_cases_text(found))
    if options.json:
        write_json(options.json, _json(names, found))
    if options.tsv:
        with atomic_file(options.tsv) as unfinished:
            _write_tsv(unfinished, found)


def _rater(folder: Path) -> _Rater:
    from ..errors import InputError
    from ..export import complete_subjects

    if folder.name.startswith("sub-"):
        return _Rater(folder.parent, [folder.name.removeprefix("sub-")], True)
    subjects = complete_subjects(folder) if folder.is_dir() else []
    if not subjects:
        raise InputError("there is no complete case in this folder", folder, "Check the path")
    return _Rater(folder, subjects, False)


def _common(a: _Rater, b: _Rater) -> list[str]:
    """The subjects that both raters have; a warning names the others, unless one case was asked for."""
    from ..errors import InputError

    common = sorted(set(a.subjects) & set(b.subjects))
    if not common:
        of_a, of_b = (", ".join(rater.subjects[:3]) for rater in (a, b))
        raise InputError(
            f"the raters have no subject in common ({of_a} here, {of_b} in {b.folder})", a.folder
        )
    if not (a.chosen or b.chosen):
        for rater in (a, b):
            if alone := [subject for subject in rater.subjects if subject not in common]:
                print(f"warning: only in {rater.folder}: {', '.join(alone)}", file=sys.stderr)
    return common


def _compare(folder_a: Path, folder_b: Path, subject: str) -> tuple[Comparison, str, str]:
    """The comparison of a subject, and the names of its raters."""
    from ..comparison import compare_raters
    from ..errors import InputError
    from ..image import same_grid
    from ..rater_copy import read_review
    from .inputs import tell_warnings

    case_a, volume_a = _read(folder_a, subject)
    case_b, volume_b = _read(folder_b, subject)
    if not same_grid(volume_a, volume_b):
        raise InputError(
            f"these lesions are not on the grid of {volume_a.path}",
            volume_b.path,
            "Let both raters work on one FLAIR",
        )
    tell_warnings(volume_a, volume_b)
    if case_a.sidecar["flair"].get("sha256") != case_b.sidecar["flair"].get("sha256"):
        print(f"warning: {subject}: the two cases are of different FLAIR files", file=sys.stderr)
    comparison = compare_raters(
        read_review(case_a, volume_a.array, volume_a.affine),
        read_review(case_b, volume_b.array, volume_b.affine),
    )
    return comparison, _name(case_a), _name(case_b)


def _read(folder: Path, subject: str) -> tuple[CaseFiles, Volume]:
    """A case and its lesion ids in canonical order, however the file stores the voxels."""
    from ..export import read_case
    from ..image import read_labels, to_canonical

    case = read_case(folder, subject)
    volume = read_labels(case.paths["instances"], "image of lesions")
    array, affine, _ = to_canonical(volume.array, volume.affine)
    return case, replace(volume, array=array, affine=affine)


def _name(case: CaseFiles) -> str:
    rater = case.sidecar.get("rater")
    return str(rater) if rater else "no rater named"


def _case_text(subject: str, found: Comparison) -> str:
    """All that is to be said of one case."""
    lines = [
        f"\nsub-{subject}",
        f"{'':<8}{'A lesions':>10}{'ml':>9}{'B lesions':>11}{'ml':>9}{'Dice':>8}",
        *(
            f"{name:<8}{a.count:>10}{a.volume_ml:>9.3f}{b.count:>11}{b.volume_ml:>9.3f}{dice:>8.3f}"
            for name, a, b, dice in _rows_by_type(found)
        ),
        "",
        f"{counted(len(found.pairs), 'lesion')} in both"
        + ("" if found.lesion_dice is None else f", mean Dice {found.lesion_dice:.3f}"),
    ]
    for a, b in ((pair.a, pair.b) for pair in found.type_disagreements):
        lines.append(f"  types differ: {_lesion(a)} of A, {_lesion(b)} of B")
    for own, other, alone in (("A", "B", found.only_a), ("B", "A", found.only_b)):
        lines.append(f"{counted(len(alone), 'lesion')} only in {own}")
        for each in alone:
            shared = f", {each.covered:.0%} of it in lesions of {other}" if each.covered else ""
            lines.append(f"  {_lesion(each.lesion)}, {each.lesion.volume_mm3 / 1000:.3f} ml{shared}")
    lines += ["", _verdict([subject] if found.needs_consensus else [], 1)]
    return "\n".join(lines)


def _rows_by_type(found: Comparison) -> Iterator[tuple]:
    yield "all", found.totals_a, found.totals_b, found.dice
    for kind, dice in found.dice_by_type.items():
        yield (kind.label, *found.totals_by_type[kind], dice)


def _lesion(record: LesionRecord) -> str:
    return f"L{record.lesion_id:04d} {record.type.label}"


def _cases_text(found: dict[str, Comparison]) -> str:
    """A line a case."""
    width = max(12, *(len(subject) + 6 for subject in found))
    lines = [
        f"\n{'case':<{width}}{'A ml':>9}{'B ml':>9}{'Dice':>8}{'both':>7}{'only A':>8}{'only B':>8}"
        f"{'types differ':>14}"
    ]
    for subject, case in found.items():
        flag = "  consensus needed" if case.needs_consensus else ""
        lines.append(
            f"{'sub-' + subject:<{width}}{case.totals_a.volume_ml:>9.3f}{case.totals_b.volume_ml:>9.3f}"
            f"{case.dice:>8.3f}{len(case.pairs):>7}{len(case.only_a):>8}{len(case.only_b):>8}"
            f"{len(case.type_disagreements):>14}{flag}"
        )
    low = [subject for subject, case in found.items() if case.needs_consensus]
    return "\n".join([*lines, "", _verdict(low, len(found))])


def _verdict(low: list[str], count: int) -> str:
    from ..comparison import CONSENSUS_DICE

    if not low:
        return f"Dice is at least {CONSENSUS_DICE}: no consensus is needed"
    which = "this case" if count == 1 else f"{len(low)} of {count} cases ({', '.join(low)})"
    return f"Dice is under {CONSENSUS_DICE}: go over {which} together until it is not"


def _json(names: dict[str, set[str]], found: dict[str, Comparison]) -> dict[str, Any]:
    from ..comparison import CONSENSUS_DICE

    return {
        "raters": {letter: sorted(of_letter) for letter, of_letter in names.items()},
        "consensus_dice": CONSENSUS_DICE,
        "cases": {
            subject: {
                "dice": case.dice,
                "needs_consensus": case.needs_consensus,
                "by_type": {
                    name: {
                        "dice": dice,
                        "lesions_a": a.count,
                        "lesions_b": b.count,
                        "volume_a_ml": a.volume_ml,
                        "volume_b_ml": b.volume_ml,
                    }
                    for name, a, b, dice in _rows_by_type(case)
                },
                "lesion_dice": case.lesion_dice,
                "matched": len(case.pairs),
                "only_a": len(case.only_a),
                "only_b": len(case.only_b),
                "type_disagreements": len(case.type_disagreements),
                "lesions": list(_lesion_rows(case)),
            }
            for subject, case in found.items()
        },
    }


def _lesion_rows(found: Comparison) -> Iterator[dict[str, Any]]:
    """A row a lesion: those of both raters, those of A alone, those of B alone; None where there is none."""

    def row(a: LesionRecord | None, b: LesionRecord | None, *scores: float | None) -> dict[str, Any]:
        ids = (a and a.lesion_id, b and b.lesion_id)
        types = (a and a.type.label, b and b.type.label)
        volumes = (a and round(a.volume_mm3, 3), b and round(b.volume_mm3, 3))
        return dict(zip(_LESION_COLUMNS, (*ids, *types, *volumes, *scores), strict=True))

    def covered(each: Unmatched) -> float:
        return round(each.covered, 4)

    for pair in found.pairs:
        yield row(pair.a, pair.b, round(pair.iou, 4), round(pair.dice, 4), None)
    for each in found.only_a:
        yield row(each.lesion, None, None, None, covered(each))
    for each in found.only_b:
        yield row(None, each.lesion, None, None, covered(each))


def _write_tsv(path: Path, found: dict[str, Comparison]) -> None:
    from ..lesions_tsv import MISSING

    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, delimiter="\t", lineterminator="\n")
        table.writerow(("subject", *_LESION_COLUMNS))
        for subject, case in found.items():
            for row in _lesion_rows(case):
                table.writerow([subject, *(MISSING if value is None else value for value in row.values())])
