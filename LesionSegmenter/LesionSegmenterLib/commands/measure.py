"""``lesion-segmenter measure``: the table of an image of lesion ids."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import counted

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ..image import Volume
    from ..labels import LesionType
    from ..measure import Summary, Totals

_MASKS = {
    "ventricles": "lesions that touch it or come within 3 mm are periventricular",
    "cortex": "lesions that touch it or come within 1 mm are juxtacortical",
    "infratentorial": "lesions with more than half of their voxels in it are infratentorial",
    "brain": "of the brain or the intracranial volume, which the lesions' volume is given in percent of",
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("measure", help="measure every lesion of an image of lesion ids")
    parser.add_argument("instances", type=Path, metavar="INSTANCES", help="lesion ids, 0 outside")
    parser.add_argument(
        "--types", type=Path, metavar="FILE", help="label image on that grid: 1 WMH, 2 stroke, 3 MS, 4 lesion"
    )
    parser.add_argument(
        "--probability", type=Path, metavar="FILE", help="lesion probability on that grid, 0..1"
    )
    for name, use in _MASKS.items():
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"mask on that grid: {use}")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="TSV",
        help="write the table here too, with the position of each lesion if masks for that are given",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from ..atomic import atomic_file, check_not_input
    from ..image import read_labels
    from ..lesions_tsv import write_lesions_tsv
    from ..measure import measure_lesions, summarise, volume_ml
    from ..positions import classify_positions
    from ..report import lesion_table
    from .inputs import check_grid, read_probability, tell_warnings

    if options.out:
        read = (getattr(options, name) for name in ("instances", "types", "probability", *_MASKS))
        check_not_input(options.out, *filter(None, read))
    instances = read_labels(options.instances, "instance image")
    types = read_labels(options.types, "type image") if options.types else None
    probability = read_probability(options.probability) if options.probability else None
    for volume, what in ((types, "type image"), (probability, "probability map")):
        if volume is not None:
            check_grid(volume, instances, what)
    tell_warnings(*(volume for volume in (instances, types, probability) if volume is not None))
    masks = {name: _mask(path, name, instances) for name in _MASKS if (path := getattr(options, name))}
    brain = masks.pop("brain", None)
    records = measure_lesions(
        instances.array,
        instances.affine,
        None if probability is None else probability.array,
        None if types is None else _types(instances, types),
    )
    positions = classify_positions(instances.array, instances.affine, **masks) if masks else None
    brain_ml = None if brain is None else volume_ml(brain, instances.affine)
    print(lesion_table(records, limit=len(records)))
    print(_summary_text(summarise(records, positions, brain_ml)))
    if options.out:
        with atomic_file(options.out) as unfinished:
            write_lesions_tsv(unfinished, records, positions)


def _mask(path: Path, name: str, instances: Volume) -> npt.NDArray[np.bool_]:
    """A mask on the grid of the lesion ids; InputError for one without a voxel, surely another file."""
    from ..errors import InputError
    from ..image import read_labels
    from .inputs import check_grid, tell_warnings

    volume = read_labels(path, f"{name} mask")
    check_grid(volume, instances, f"{name} mask")
    tell_warnings(volume)
    mask = volume.array > 0
    if not mask.any():
        raise InputError(f"the {name} mask is empty", path, "Check that this is the right file")
    return mask


def _summary_text(summary: Summary) -> str:
    def line(name: str, totals: Totals) -> str:
        return f"{name + ':':<16}{counted(totals.count, 'lesion'):>12}, {totals.volume_ml:.2f} ml"

    lines = [
        line("all", summary.total),
        *(line(position, totals) for position, totals in summary.by_position.items()),
        f"largest diameter: {summary.largest_diameter_mm:.1f} mm",
    ]
    if summary.percent_of_brain is not None:
        lines.append(f"lesion volume: {summary.percent_of_brain:.2f} % of the brain mask")
    return "\n".join(lines)


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
