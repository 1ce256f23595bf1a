"""Tables of types taken for one another, bundles side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

from LesionSegmenterLib.atomic import atomic_file
from LesionSegmenterLib.evaluation.tables import markdown_table, write_tsv
from LesionSegmenterLib.metrics.types import confusion_matrix

from .type_confusion import MISSED, Verdict

GOAL_OF_SCANS = 0.9  # share of the synthetic scans of each type, and 1 of the real ones, that is right
_COLUMNS = ("bundle", "source", "case", "lesion", "true", "stated", "volume_mm3", "type_confidence")


def accuracy(verdicts: Sequence[Verdict]) -> float:
    """Share of the found that is right; nan where none was found."""
    found = [v.right for v in verdicts if v.stated != MISSED]
    return mean(found) if found else float("nan")


def balanced_accuracy(verdicts: Sequence[Verdict]) -> float:
    """Mean over the true types of the share of their found lesions that is right; nan where none is."""
    kinds = sorted({v.true for v in verdicts if v.stated != MISSED})
    shares = [accuracy([v for v in verdicts if v.true == kind]) for kind in kinds]
    return mean(shares) if shares else float("nan")


def scan_accuracy(verdicts: Sequence[Verdict]) -> dict[str, tuple[int, int]]:
    """Of each true type of scan, how many are right and how many there are; one without a lesion is wrong."""
    kinds = sorted({v.true for v in verdicts})
    return {
        kind: (
            sum(v.right for v in verdicts if v.true == kind),
            sum(v.true == kind for v in verdicts),
        )
        for kind in kinds
    }


def markdown(verdicts: Sequence[Verdict]) -> str:
    """Summary, scans and lesions of each source of cases, synthetic ones apart from real ones."""
    parts = []
    for source in dict.fromkeys(v.source for v in verdicts):
        own = [v for v in verdicts if v.source == source]
        bundles = list(dict.fromkeys(v.bundle for v in own))
        parts += [f"### {source.capitalize()} scans", _summary(own, bundles)]
        for bundle in bundles:
            of_bundle = [v for v in own if v.bundle == bundle]
            scans = [v for v in of_bundle if v.lesion is None]
            lesions = [v for v in of_bundle if v.lesion is not None]
            parts += [f"{bundle}, scans:", _confusion(scans), f"{bundle}, lesions:", _confusion(lesions)]
    return "\n\n".join(parts) + "\n"


def _summary(verdicts: Sequence[Verdict], bundles: Sequence[str]) -> str:
    """A row a bundle."""
    rows = []
    goal = GOAL_OF_SCANS if verdicts[0].source == "synthetic" else 1.0
    for bundle in bundles:
        own = [v for v in verdicts if v.bundle == bundle]
        lesions = [v for v in own if v.lesion is not None]
        found = [v for v in lesions if v.stated != MISSED]
        scans = scan_accuracy([v for v in own if v.lesion is None])
        reached = all(right >= goal * count for right, count in scans.values())
        rows.append(
            [
                *(bundle, f"{len(found)} of {len(lesions)}"),
                *(f"{100 * score(lesions):.1f} %" for score in (accuracy, balanced_accuracy)),
                ", ".join(f"{kind} {right}/{count}" for kind, (right, count) in scans.items()),
                "yes" if reached else "no",
                *(_confidence([v for v in found if v.right == right]) for right in (True, False)),
            ]
        )
    head = [
        *("bundle", "lesions found", "accuracy", "balanced accuracy", "scans right"),
        *(f"at least {100 * goal:.0f} % of each", "confidence where right", "where wrong"),
    ]
    return markdown_table(head, rows)


def _confidence(verdicts: Sequence[Verdict]) -> str:
    """Median type confidence and how many lesions it is of."""
    stated = [v.confidence for v in verdicts if v.confidence is not None]
    return f"{median(stated):.2f} (n = {len(stated)})" if stated else "-"


def _confusion(verdicts: Sequence[Verdict]) -> str:
    rows, columns, counts = confusion_matrix((v.true, v.stated) for v in verdicts)
    cells = [[name, *map(str, line)] for name, line in zip(rows, counts.tolist(), strict=True)]
    return markdown_table(["true \\ stated", *columns], cells)


def write_report(verdicts: Sequence[Verdict], folder: Path) -> list[Path]:
    """Write types.tsv (a row a scan and a true lesion) and types.md.

    InputError where the folder cannot be written to.
    """
    table, text = folder / "types.tsv", folder / "types.md"
    write_tsv(table, _COLUMNS, [_row(verdict) for verdict in verdicts])
    with atomic_file(text) as unfinished:
        unfinished.write_text(markdown(verdicts), encoding="utf-8")
    return [table, text]


def _row(verdict: Verdict) -> list[str]:
    confidence = "n/a" if verdict.confidence is None else f"{verdict.confidence:.4f}"
    lesion = "scan" if verdict.lesion is None else str(verdict.lesion)
    return [
        *(verdict.bundle, verdict.source, verdict.case, lesion, verdict.true, verdict.stated),
        *(f"{verdict.volume_mm3:.1f}", confidence),
    ]
