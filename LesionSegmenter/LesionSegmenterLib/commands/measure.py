"""``lesion-segmenter measure``: the table of an image of lesion ids."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..image import Volume
    from ..labels import LesionType


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("measure", help="measure every lesion of an image of lesion ids")
    parser.add_argument("instances", type=Path, metavar="INSTANCES", help="lesion ids, 0 outside")
    parser.add_argument(
        "--types", type=Path, metavar="FILE", help="label image on that grid: 1 WMH, 2 stroke, 3 MS, 4 lesion"
    )
    parser.add_argument(
        "--probability", type=Path, metavar="FILE", help="lesion probability on that grid, 0..1"
    )
    parser.add_argument("--out", type=Path, metavar="TSV", help="write the table here too")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..atomic import atomic_file
    from ..export import write_lesions_tsv
    from ..image import read_labels
    from ..measure import measure_lesions
    from ..report import lesion_table
    from .inputs import check_grid, read_probability, tell_warnings

    instances = read_labels(options.instances, "instance image")
    types = read_labels(options.types, "type image") if options.types else None
    probability = read_probability(options.probability) if options.probability else None
    for volume, what in ((types, "type image"), (probability, "probability map")):
        if volume is not None:
            check_grid(volume, instances, what)
    tell_warnings(*(volume for volume in (instances, types, probability) if volume is not None))
    records = measure_lesions(
        instances.array,
        instances.affine,
        None if probability is None else probability.array,
        None if types is None else _types(instances, types),
    )
    print(lesion_table(records, limit=len(records)))
    if options.out:
        with atomic_file(options.out) as unfinished:
            write_lesions_tsv(unfinished, records)


def _types(instances: Volume, types: Volume) -> dict[int, LesionType]:
    """The type of most of a lesion's voxels, the smaller label value of equals; none for a lesion without."""
    import numpy as np

    from ..errors import InputError
    from ..instances import voxels_by_id
    from ..labels import LesionType

    low, high = int(types.array.min()), int(types.array.max())
    if low < 0 or high > max(LesionType):
        raise InputError(
            f"the type image has labels from {low} to {high}, not 0 to {max(LesionType)}",
            types.path,
            "Use 1 WMH, 2 stroke, 3 MS, 4 lesion",
        )
    found = {}
    for lesion_id, flat in voxels_by_id(instances.array).items():
        labels = types.array[np.unravel_index(flat, types.shape)]
        if labels.any():
            found[lesion_id] = LesionType(int(np.bincount(labels[labels > 0]).argmax()))
    return found
