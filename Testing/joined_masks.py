"""Real masks whose lesions were joined on purpose: does a network's own splitting beat components and ACLS?

    .venv/bin/python Testing/joined_masks.py make DATA JOINED
    .venv/bin/lesion-train fit conflunet-flair --data DATA --out RUN --seed 1
    .venv/bin/lesion-train bundle RUN --out BUNDLE --name conflunet-flair
    .venv/bin/python Testing/joined_masks.py score BUNDLE JOINED

Every method splits one and the same mask, the true one, so that splitting alone is compared. Kinds of cases:
``validation`` and ``seen``, real FLAIRs of patients that training leaves out and that it reads, whose lesions
were grown towards each other until they met; ``grown``, whole patients' masks treated likewise and painted
into synthetic heads; ``moved``, the same patients' lesions with others moved against them, painted likewise.
The painted masks are of a bank that training does not read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from lesion_training.banks import MaskBank
from lesion_training.joining import FEWEST, MOST, place_against
from lesion_training.listing import LISTINGS, read_listing
from lesion_training.synth import write_synthetic_case
from LesionSegmenterLib.engine.scan import predict_scan, read_scan
from LesionSegmenterLib.export import complete_subjects, read_case
from LesionSegmenterLib.image import read_labels, read_volume, spacing_of, to_canonical
from LesionSegmenterLib.instances import (
    SmallLesionRule,
    drop_small,
    label_components,
    renumber,
    split,
    voxels_by_id,
)
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.metrics.instances import (
    confluent_units,
    count_difference,
    instance_detection,
    match_instances,
    panoptic_quality,
)
from LesionSegmenterLib.progress import NoReporter
from LesionSegmenterLib.segment import SegmentOptions, load
from LesionSegmenterLib.synthesis.anatomy import Anatomy, load_anatomy
from LesionSegmenterLib.synthesis.head import deform, synthetic_head
from LesionSegmenterLib.synthesis.programmes import LesionGroup
from LesionSegmenterLib.synthesis.scan import Acquisition, SyntheticScan, scan_of

Ids = npt.NDArray[np.int32]

REAL = (
    "ljubljana-patient07",
    "ljubljana-patient19",
    "tabriz-104252-raw",
    "tabriz-105465-raw",
    "tabriz-105911-raw",
)
BANK = Path("lesion_banks") / "ms_whole_ljubljana_mni.npz"
TRAINED_ON = "patient19"  # its FLAIR and mask are among the training cases
REACH_MM = 3.0  # half the widest gap that is closed
HALF_WINDOW = 40  # voxels around a lesion in which another is moved against it
NEIGHBOURS = (0.4, 0.4, 0.2)  # chances of none, one and two
# Name in the table, method, and whether the probability is the network's or the mask itself.
ROWS = (
    ("components", "components", True),
    ("ACLS", "acls", True),
    ("ACLS of the mask", "acls", False),
    ("ACLS as ConfLUNet's baseline", "acls-conflunet", True),
    ("the same of the mask", "acls-conflunet", False),
    ("offsets", "offsets", True),
)
COLUMNS = ("PQ", "F1", "difference in count", "PQ of joined", "RQ", "SQ", "F1", "recall")
WINNERS = "scans with a lower PQ of joined than offsets'"


def grown(ids: Ids, spacing: tuple[float, ...]) -> Ids:
    """Lesions joined across gaps of a few mm: a closing in mm, whose new voxels go to the nearest lesion."""
    reach = [int(REACH_MM / side) + 1 for side in spacing]
    padded = np.pad(ids, [(n, n) for n in reach])
    distance, nearest = ndimage.distance_transform_edt(padded == 0, spacing, return_indices=True)
    closed = ndimage.distance_transform_edt(distance <= REACH_MM, spacing) > REACH_MM
    joined = np.where(closed | (padded > 0), padded[tuple(nearest)], 0)
    return joined[tuple(slice(n, -n) for n in reach)]


def separate(mask: npt.NDArray[np.bool_], spacing: tuple[float, ...]) -> Ids:
    """The lesions of an expert's mask that do not touch, without those too small to be called one."""
    return drop_small(label_components(mask, 26), spacing)


def moved(ids: Ids, others: list[npt.NDArray[np.bool_]], anatomy: Anatomy, rng: np.random.Generator) -> Ids:
    """Lesions with none, one or two others moved against each."""
    ids = ids.copy()
    tissue = anatomy.gray + anatomy.white > 0.5
    for number, box in enumerate(ndimage.find_objects(ids), start=1):
        if box is None:
            continue
        middle = [(side.start + side.stop) // 2 for side in box]
        window = tuple(slice(max(m - HALF_WINDOW, 0), m + HALF_WINDOW) for m in middle)
        for _ in range(rng.choice(len(NEIGHBOURS), p=NEIGHBOURS)):
            mask, near = others[rng.integers(len(others))], ids[window]
            start = place_against(mask, near, number, tissue[window] & (near == 0), rng)
            if start is None:
                continue
            voxels = np.argwhere(mask) + start
            voxels = voxels[((voxels >= 0) & (voxels < near.shape)).all(axis=1)]
            voxels = voxels[near[tuple(voxels.T)] == 0]
            near[tuple(voxels.T)] = ids.max() + 1
    return ids


class Patients:
    """The bank's whole patients, as lesion ids on the anatomy's grid; without the one that is trained on."""

    def __init__(self, data: Path):
        self.bank = MaskBank(data / BANK)
        self.numbers = [n for n, source in enumerate(self.bank.source) if source != TRAINED_ON]

    def __len__(self) -> int:
        return len(self.numbers)

    def ids(self, number: int, anatomy: Anatomy) -> Ids:
        """A patient's separate lesions."""
        mask, affine = self.bank.mask(self.numbers[number])
        to_mask = np.linalg.inv(affine) @ anatomy.affine
        turned = ndimage.affine_transform(
            mask.astype(np.float32), to_mask[:3, :3], to_mask[:3, 3], anatomy.brain.shape, order=1
        )
        return separate(turned > 0.5, (1.0, 1.0, 1.0))

    def lesions(self, anatomy: Anatomy, numbers: list[int]) -> Iterator[npt.NDArray[np.bool_]]:
        """The single lesions of some patients, each in its box."""
        for patient in numbers:
            ids = self.ids(patient, anatomy)
            for number, box in enumerate(ndimage.find_objects(ids), start=1):
                if box and FEWEST <= np.count_nonzero(ids[box] == number) <= MOST:
                    yield ids[box] == number


def painted(ids: Ids, anatomy: Anatomy, rng: np.random.Generator) -> SyntheticScan:
    """A head with those lesions, all of one contrast, scanned in slices of 1 to 5 mm."""
    head = synthetic_head(anatomy, rng, skull=bool(rng.random() < 0.3))
    ids = np.where((anatomy.gray + anatomy.white > 0.5) & ~anatomy.ventricles, ids, 0)
    group = LesionGroup(LesionType.MS, renumber(ids), float(rng.uniform(30, 75)))
    acquisition = Acquisition(int(rng.choice((1, 3, 5))), 1.0, rng.uniform(1, 5))
    return scan_of(head, [group], acquisition, rng)


def make(data: Path, folder: Path, scans: int, seed: int) -> None:
    """Write the cases of every kind; the same each time."""
    for entry in read_listing(LISTINGS / "public.tsv", data):
        if entry.case in REAL and entry.mask is not None:
            flair, mask = read_volume(entry.image), read_labels(entry.mask)
            image, affine, _ = to_canonical(flair.array, flair.affine)
            labels, _, _ = to_canonical(mask.array, mask.affine)
            ids = grown(
                separate(np.isin(labels, entry.lesion_values), spacing_of(affine)), spacing_of(affine)
            )
            types = dict.fromkeys(np.unique(ids[ids > 0]).tolist(), LesionType.MS)
            kind = "validation" if entry.split == "validation" else "seen"
            case = SyntheticScan(image, affine, ids, types)
            write_synthetic_case(folder / kind, entry.case.replace("-", ""), case, "ms", seed)
    patients = Patients(data)
    streams = np.random.SeedSequence(seed).spawn(2 * scans)
    for number, stream in enumerate(streams):
        rng = np.random.default_rng(stream)
        patient, anatomy = number // 2 % len(patients), deform(load_anatomy(), rng)
        ids = patients.ids(patient, anatomy)
        if number % 2:
            strangers = rng.choice(len(patients), 3, replace=False).tolist()
            kind, ids = "moved", moved(ids, list(patients.lesions(anatomy, strangers)), anatomy, rng)
        else:
            kind, ids = "grown", grown(ids, (1.0, 1.0, 1.0))
        write_synthetic_case(folder / kind, f"{kind}{patient:02d}", painted(ids, anatomy, rng), "ms", seed)


def score(bundle: str, folder: Path) -> Iterator[str]:
    """A Markdown table a kind: each method's mean scores over its cases."""
    kinds = sorted(path for path in folder.iterdir() if (path / "dataset_description.json").is_file())
    if not kinds:
        raise SystemExit(f"{folder} holds no folder of cases: make them first")
    model = load(SegmentOptions(model=bundle))
    for kind in kinds:
        scores: dict[str, list[list[float]]] = {name: [] for name, _, _ in ROWS}
        lesions = joined = 0
        for subject in complete_subjects(kind):
            case = read_case(kind, subject)
            scan = read_scan(case.flair, None, model.bundle)
            prediction = predict_scan(scan, model, NoReporter())
            truth = read_labels(case.paths["instances"])
            ids = drop_small(to_canonical(truth.array, truth.affine)[0], scan.spacing)
            lesions += len(voxels_by_id(ids))
            joined += len(confluent_units(ids, connectivity=26))
            for name, method, by_network in ROWS:
                found = split(
                    method,
                    prediction.lesion if by_network else (ids > 0).astype(np.float32),
                    ids > 0,
                    scan.spacing,
                    small_lesion_rule=SmallLesionRule(),
                    offsets=prediction.offsets,
                )
                scores[name].append(_scores(found, ids))
        yield _table(kind.name, lesions, joined, {name: np.array(rows) for name, rows in scores.items()})


def _scores(found: Ids, true: Ids) -> list[float]:
    """The columns' values for one case: of all lesions, then of the joined ones alone, nan without any."""
    whole = match_instances(found, true)
    components = label_components(true > 0, 26)
    confluent = np.isin(components, components[np.isin(true, confluent_units(true, connectivity=26))])
    confluent &= components > 0
    all_lesions = [panoptic_quality(whole)[0], instance_detection(whole).f1, count_difference(whole)]
    if not confluent.any():
        return [*all_lesions, *[np.nan] * 5]
    joined = match_instances(np.where(confluent, found, 0), np.where(confluent, true, 0))
    pq, sq, rq = panoptic_quality(joined)
    detection = instance_detection(joined)
    return [*all_lesions, pq, rq, sq, detection.f1, detection.recall]


def _table(kind: str, lesions: int, joined: int, scores: dict[str, npt.NDArray[np.float64]]) -> str:
    lines = [
        f"{kind}: {len(scores['offsets'])} scans, {lesions} lesions, {joined} of them joined",
        "",
        "| split | " + " | ".join((*COLUMNS, WINNERS)) + " |",
        "| --- |" + " --- |" * (len(COLUMNS) + 1),
    ]
    at = COLUMNS.index("PQ of joined")
    for name, rows in scores.items():
        means = " | ".join(f"{mean:.3f}" for mean in np.nanmean(rows, axis=0))
        lines.append(f"| {name} | {means} | {np.count_nonzero(rows[:, at] < scores['offsets'][:, at])} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("data", type=Path)
    making.add_argument("folder", type=Path)
    making.add_argument("--scans", type=int, default=15, help="of each kind that is painted")
    making.add_argument("--seed", type=int, default=2026)
    scoring = commands.add_parser("score")
    scoring.add_argument("bundle")
    scoring.add_argument("folder", type=Path)
    options = parser.parse_args()
    if options.command == "make":
        make(options.data, options.folder, options.scans, options.seed)
    else:
        for table in score(options.bundle, options.folder):
            print(table, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
