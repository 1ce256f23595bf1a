"""``lesion-segmenter split``: a lesion mask or probability map to an image of lesion ids."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..command_line import probability
from . import counted

_METHODS = ("components", "acls", "acls-conflunet")


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("split", help="split a lesion mask or probability map into lesions")
    parser.add_argument(
        "map", type=Path, metavar="PROB_OR_MASK",
        help="probabilities in 0..1, or a label image whose voxels above 0 are lesion",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="lesion ids, .nii or .nii.gz")
    parser.add_argument("--method", default="components", choices=_METHODS, help="default: %(default)s")
    parser.add_argument(
        "--threshold",
        type=probability,
        default=0.5,
        metavar="P",
        help="of probabilities; default: %(default)s",
    )
    parser.add_argument(
        "--connectivity", type=int, default=26, choices=(6, 18, 26), help="default: %(default)s"
    )
    parser.add_argument(
        "--drop-small", action="store_true", help="drop lesions under 3 mm on a side or of at most 14 mm3"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    import numpy as np

    from ..atomic import check_not_input
    from ..errors import InputError
    from ..image import read_map, spacing_of, to_canonical, write_volume
    from ..instances import SmallLesionRule, split
    from ..measure import volume_ml
    from .inputs import tell_warnings

    check_not_input(options.out, options.map)
    volume = read_map(options.map, "map")
    tell_warnings(volume)
    # Canonical order, so that ids do not depend on how the file stores the voxels.
    values, affine, orientation = to_canonical(volume.array, volume.affine)
    if np.array_equal(values, np.rint(values)):
        mask = values > 0
        chances = mask.astype(np.float32)
    elif values.min() < 0 or values.max() > 1:
        raise InputError(
            f"its values run from {values.min():g} to {values.max():g}: neither probabilities nor labels",
            options.map,
            "Give probabilities in 0..1, or whole numbers",
        )
    else:
        mask, chances = values >= options.threshold, values
    instances = split(
        options.method,
        chances,
        mask,
        spacing_of(affine),
        connectivity=options.connectivity,
        small_lesion_rule=SmallLesionRule() if options.drop_small else None,
    )
    write_volume(options.out, orientation.restore(instances), volume)
    total_ml = volume_ml(instances, affine)
    print(f"{counted(int(instances.max()), 'lesion')}, {total_ml:.2f} ml. Written to {options.out}")
