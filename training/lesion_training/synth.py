"""``lesion-train synth``: synthetic FLAIRs with true lesions, as case folders that training reads."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from LesionSegmenterLib.command_line import whole_number
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.export import CaseData, write_case
from LesionSegmenterLib.image import NiftiWriter, Volume, write_volume
from LesionSegmenterLib.measure import measure_lesions, scan_type, type_map
from LesionSegmenterLib.report import qc_montage
from LesionSegmenterLib.synthesis.anatomy import Anatomy, load_anatomy
from LesionSegmenterLib.synthesis.head import deform, synthetic_head
from LesionSegmenterLib.synthesis.programmes import PROGRAMMES, SEVERITY, Programme, random_lesions
from LesionSegmenterLib.synthesis.scan import Acquisition, SyntheticScan, scan_of
from LesionSegmenterLib.synthesis.wmh import MOST_SEVERE

from .banks import MaskBank

STROKE_BANK = Path("lesion_banks") / "stroke_acute_soop_mni.npz"


@dataclass(frozen=True)
class SynthSettings:
    """What the heads of a set have in common; pairs are the least and the most of what is drawn evenly.

    programmes : drawn one a head, see `programmes.random_lesions`.
    slice_mm, in_plane_mm : of the scan; noise : sigma, white matter being about 100.
    severity : of WMH, see `wmh_mask`.
    skull_share : share of whole heads, the rest is skull-stripped.
    """

    programmes: Sequence[Programme] = PROGRAMMES
    slice_mm: tuple[int, int] = (1, 8)
    in_plane_mm: tuple[float, float] = (0.45, 1.1)
    noise: tuple[float, float] = (1.0, 6.0)
    severity: tuple[float, float] = SEVERITY
    skull_share: float = 0.6


def synthetic_case(
    rng: np.random.Generator, settings: SynthSettings, bank: MaskBank | None = None
) -> tuple[SyntheticScan, Programme]:
    """One random head with one person's lesions, and its programme; ``bank`` gives real infarcts."""
    programme: Programme = settings.programmes[int(rng.integers(len(settings.programmes)))]
    anatomy = deform(load_anatomy(), rng)
    head = synthetic_head(anatomy, rng, skull=bool(rng.random() < settings.skull_share))
    low, high = settings.slice_mm
    acquisition = Acquisition(
        int(rng.integers(low, high + 1)), rng.uniform(*settings.in_plane_mm), rng.uniform(*settings.noise)
    )
    infarcts = None if bank is None else lambda anatomy, rng: bank_infarct(bank, anatomy, rng)
    lesions = random_lesions(anatomy, rng, programme, infarcts, settings.severity)
    return scan_of(head, lesions, acquisition, rng), programme


def bank_infarct(bank: MaskBank, anatomy: Anatomy, rng: np.random.Generator) -> np.ndarray | None:
    """A real infarct near its own place in MNI space, maybe mirrored; ids on the anatomy's grid.

    None where less than half of it lies on tissue.
    """
    mask, affine = bank.mask(int(rng.integers(len(bank))))
    if rng.random() < 0.5:
        affine = np.diag([-1.0, 1, 1, 1]) @ affine
    to_mask = np.linalg.inv(affine) @ anatomy.affine
    turned = ndimage.affine_transform(
        mask.astype(np.float32), to_mask[:3, :3], to_mask[:3, 3], anatomy.brain.shape, order=1
    )
    inside = (turned > 0.5) & (anatomy.brain > 0.5)
    if not inside.any() or inside.sum() < 0.5 * (turned > 0.5).sum():
        return None
    return inside.astype(np.int32)


def write_synthetic_case(
    out: Path, subject: str, scan: SyntheticScan, programme: Programme, seed: int
) -> dict[str, Path]:
    """Write a head and its truth as a reviewed case folder with a copy of the FLAIR; returns its files."""
    flair = Volume.from_array(scan.flair, scan.affine)
    records = [
        replace(record, status="accepted")
        for record in measure_lesions(scan.instances, scan.affine, types=scan.types)
    ]
    types = type_map(scan.instances, scan.types)
    kind = scan_type(records)
    spacing = np.linalg.norm(scan.affine[:3, :3], axis=0).tolist()
    sidecar = {
        "synthetic": {"programme": programme, "seed": seed},
        "scan_type": kind.label if kind else None,
        "reviewed": True,
    }
    picture = qc_montage(scan.flair, types, scan.instances, spacing, title=f"{subject}, synthetic")
    case = CaseData(subject, types, scan.instances, None, records, sidecar, picture)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / f"sub-{subject}_FLAIR.nii.gz"
        write_volume(source, scan.flair, flair)
        return write_case(out, case, NiftiWriter(flair), source, "copy")


def add_parser(commands: argparse._SubParsersAction) -> None:
    synth = commands.add_parser("synth", help="make synthetic FLAIRs with true lesions, as case folders")
    synth.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder the cases are written into"
    )
    synth.add_argument(
        "--count", type=whole_number, default=10, help="number of heads (default: %(default)s)"
    )
    synth.add_argument("--seed", type=whole_number, default=0)
    synth.add_argument(
        "--data", type=Path, metavar="DIR", help="folder that holds lesion_banks/: real infarcts are used too"
    )
    synth.add_argument(
        "--programme", nargs="+", choices=PROGRAMMES, default=list(PROGRAMMES), help="default: all of them"
    )
    synth.add_argument("--slice-mm", type=int, nargs=2, default=(1, 8), metavar=("LEAST", "MOST"))
    synth.add_argument("--in-plane-mm", type=float, nargs=2, default=(0.45, 1.1), metavar=("LEAST", "MOST"))
    synth.add_argument(
        "--severity",
        type=float,
        nargs=2,
        default=SEVERITY,
        metavar=("LEAST", "MOST"),
        help=f"of WMH, after the Fazekas scale: 0 none, 3 confluent (about 35 ml), at most {MOST_SEVERE}",
    )
    synth.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    for name, (least, most), low, high, unit in (
        ("slice-mm", options.slice_mm, 0.2, 20, " mm"),
        ("in-plane-mm", options.in_plane_mm, 0.2, 20, " mm"),
        ("severity", options.severity, 0, MOST_SEVERE, ""),
    ):
        if not low <= least <= most <= high:
            raise InputError(
                f"--{name} is {least} to {most}", todo=f"Give the least and the most, {low} to {high}{unit}"
            )
    if not options.count:
        raise InputError("--count is 0", todo="Ask for at least one head")
    settings = SynthSettings(
        options.programme,
        tuple(options.slice_mm),
        tuple(options.in_plane_mm),
        severity=tuple(options.severity),
    )
    bank = MaskBank(options.data / STROKE_BANK) if options.data else None
    streams = np.random.SeedSequence(options.seed).spawn(options.count)
    for number, stream in enumerate(tqdm(streams, desc="synthesising", file=sys.stderr), start=1):
        scan, programme = synthetic_case(np.random.default_rng(stream), settings, bank)
        write_synthetic_case(options.out, f"synth{number:04d}", scan, programme, options.seed)
    print(f"{options.count} cases written to {options.out}")
