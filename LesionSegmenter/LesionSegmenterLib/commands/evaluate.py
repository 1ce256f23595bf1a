"""``lesion-segmenter evaluate``: scores of a segmentation against a reference."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from ..errors import InputError

_GROUPS = {
    "overlap (voxels; volume difference and Hausdorff as in the WMH challenge)": (
        "dice",
        "sensitivity",
        "precision",
        "volume_similarity",
        "volume_difference_percent",
        "hausdorff95_wmh_mm",
        "pred_volume_ml",
        "true_volume_ml",
    ),
    "lesions (26-connected components, found if one voxel overlaps: WMH challenge)": (
        "lesion_recall",
        "lesion_precision",
        "lesion_f1",
    ),
    "instances (lesion ids matched by IoU over 0.1: ConfLUNet)": (
        "pq",
        "sq",
        "rq",
        "instance_recall",
        "instance_precision",
        "instance_f1",
        "instance_dice",
        "pred_count",
        "true_count",
        "count_difference",
        "confluent_units",
        "confluent_recall",
        "confluent_dice",
    ),
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="score a segmentation against a reference",
        description="PRED and TRUTH are each a mask, an image of lesion ids or a case folder, on one grid. "
        "An image with one value besides 0 is a mask: its 26-connected components are the lesions. "
        "Of two folders of many cases, those in both are scored; a participants.tsv in TRUTH groups them.",
    )
    parser.add_argument("pred", type=Path, metavar="PRED")
    parser.add_argument("truth", type=Path, metavar="TRUTH")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the scores here too; null where undefined"
    )
    parser.add_argument(
        "--report", type=Path, metavar="DIR", help="of two folders: tables, statistics and report.html"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..export import complete_subjects

    many = all(path.is_dir() and len(complete_subjects(path)) > 1 for path in (options.pred, options.truth))
    if many or (options.report and options.pred.is_dir() and options.truth.is_dir()):
        _score_folders(options)
    elif options.report:
        raise InputError("--report compares folders of cases", todo="Give --json for a single case")
    else:
        _score_one(options)


def _score_one(options: argparse.Namespace) -> None:
    from ..atomic import check_not_input, write_json
    from ..metrics import evaluate_case
    from .inputs import check_grid, read_lesions, tell_warnings

    if options.json:
        check_not_input(options.json, options.pred, options.truth)
    pred, pred_kind = read_lesions(options.pred, "prediction")
    truth, truth_kind = read_lesions(options.truth, "reference")
    check_grid(pred, truth, "prediction")
    tell_warnings(pred, truth)
    scores = evaluate_case(pred.array, truth.array, truth.affine)
    print(f"prediction: {options.pred} ({pred_kind})\nreference:  {options.truth} ({truth_kind})")
    print(scores_text(scores))
    if options.json:
        plain = {name: None if math.isnan(value) else value for name, value in scores.items()}
        write_json(options.json, plain)


def _score_folders(options: argparse.Namespace) -> None:
    from ..atomic import write_json
    from ..evaluation.folders import common_subjects, participants, score_pair
    from ..evaluation.report import write_report
    from ..evaluation.statistics import TESTED, statistics
    from ..evaluation.tables import plain

    columns = participants(options.truth)
    scored = [
        score_pair(options.pred, options.truth, subject, options.pred.name, columns.get(subject, {}))
        for subject in common_subjects(options.pred, options.truth)
    ]
    rows = [row for row, _ in scored]
    print("case".ljust(20) + "".join(name.rjust(18) for name in TESTED))
    for row in rows:
        print(row.case.ljust(20) + "".join(f"{row.metrics[name]:18.3f}" for name in TESTED))
    if options.json:
        write_json(options.json, plain(statistics(rows)))
    if options.report:
        pictures = {(row.model, row.case): picture for row, picture in scored if picture}
        print(f"Report written to {write_report(rows, options.report, pictures)}")


def scores_text(scores: dict[str, float]) -> str:
    """The scores of `metrics.evaluate_case`, grouped under the names of their definitions."""
    lines = []
    for group, names in _GROUPS.items():
        lines += ["", group]
        for name in names:
            value = scores[name]
            text = (
                "undefined" if math.isnan(value) else str(value) if isinstance(value, int) else f"{value:.3f}"
            )
            lines.append(f"  {name:<26}{text:>10}")
    return "\n".join(lines)
