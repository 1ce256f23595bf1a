"""Scores of bundles over a grid of what clinics send: one factor at a time, and some bad ones together."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from LesionSegmenterLib.image import Volume, spacing_of, to_canonical, write_volume
from LesionSegmenterLib.instances import SmallLesionRule, drop_small, label_components
from LesionSegmenterLib.metrics.detection import lesion_detection
from LesionSegmenterLib.metrics.overlap import dice
from LesionSegmenterLib.synthesis.anatomy import load_anatomy
from LesionSegmenterLib.synthesis.head import deform, synthetic_head
from LesionSegmenterLib.synthesis.programmes import Programme, random_lesions
from LesionSegmenterLib.synthesis.scan import Acquisition, scan_of

from .banks import MaskBank
from .brain_stripping import brain_mask, is_whole_head
from .cases import CaseEntry
from .held_out import PROGRAMMES, is_synthetic, kept_streams, read_truth
from .named_models import NamedModel
from .scan_changes import Protocol, Scan, feasible, rescan
from .synth import bank_infarct

AS_GIVEN = "as given"


@dataclass(frozen=True)
class Level:
    """A row of the grid: a factor, its level, and what of a case's own protocol it changes."""

    factor: str
    name: str
    changes: Mapping[str, Any] = field(default_factory=dict, hash=False)
    quick: bool = False

    def __str__(self) -> str:
        return self.name if self.factor == AS_GIVEN else f"{self.factor}: {self.name}"


# The look of a field strength: noise, coil's unevenness, contrast of gray and white matter, resolution.
_FIELD = {
    "3 T": {"snr": 40.0, "bias": 0.4, "gray_white": 1.1},
    "1.5 T": {"snr": 20.0, "bias": 0.2},
    "0.5 T": {"snr": 10.0, "bias": 0.1, "gray_white": 0.7, "blur_mm": 1.5},
}

LEVELS: tuple[Level, ...] = (
    Level(AS_GIVEN, AS_GIVEN, quick=True),
    *(Level("slices", f"{mm} mm", {"slice_mm": float(mm)}, quick=mm == 5) for mm in (1, 2, 3, 5, 8)),
    *(Level("pixels", f"{mm} mm", {"in_plane_mm": mm}) for mm in (0.45, 0.7, 1.0)),
    Level("skull", "whole head", {"skull": "whole"}, quick=True),
    Level("skull", "stripped", {"skull": "stripped"}, quick=True),
    *(Level("bias field", f"{100 * share:.0f} %", {"bias": share}) for share in (0.2, 0.4)),
    *(Level("noise", f"SNR {snr}", {"snr": float(snr)}, quick=snr == 10) for snr in (20, 10, 5)),
    *(Level("contrast", f"gamma {gamma}", {"gamma": gamma}) for gamma in (0.7, 1.4)),
    *(Level("field", name, changes) for name, changes in _FIELD.items()),
    Level("together", "5 mm, SNR 10", {"slice_mm": 5.0, "snr": 10.0}),
    Level("together", "0.5 T, 5 mm", _FIELD["0.5 T"] | {"slice_mm": 5.0}, quick=True),
    Level("together", "8 mm, SNR 10, bias 40 %", {"slice_mm": 8.0, "snr": 10.0, "bias": 0.4}),
)

# A synthetic head has 1 mm voxels and no noise; its scan "as given" is a usual one.
USUAL = Protocol(slice_mm=3.0, snr=33.0)


@dataclass(frozen=True, eq=False)
class GridCase:
    """A case of the grid. kind : its column, such as ``synthetic MS``; protocol : its scan as given."""

    name: str
    kind: str
    protocol: Protocol
    read: Callable[[], Scan]


@dataclass(frozen=True)
class CellScore:
    """One bundle on one case at one level; volumes in ml. Dice and lesion F1 as `metrics` defines them."""

    bundle: str
    case: str
    kind: str
    level: Level
    dice: float
    lesion_f1: float
    true_ml: float
    found_ml: float
    seconds: float


def listed_case(entry: CaseEntry) -> GridCase:
    """A case of a listing, or one that `lesion-train synth` wrote, on its own grid."""
    kind = f"{'synthetic' if is_synthetic(entry) else 'real'} {read_truth(entry).type}"

    def read() -> Scan:
        truth = read_truth(entry)
        array, affine, orientation = to_canonical(truth.flair.array, truth.flair.affine)
        flair, spacing = np.ascontiguousarray(array), spacing_of(affine)
        brain = brain_mask(flair, spacing) if is_whole_head(flair, spacing) else None
        return Scan(flair, orientation.apply(truth.types) > 0, affine, brain)

    return GridCase(entry.case, kind, Protocol(), read)


def synthetic_cases(heads: int, seed: int, bank: MaskBank | None) -> list[GridCase]:
    """So many whole synthetic heads of each lesion type; the brain of each is known."""
    return [
        _synthetic_case(programme, number, stream, bank)
        for programme in PROGRAMMES
        for number, stream in enumerate(kept_streams(seed, programme, heads), start=1)
    ]


def _synthetic_case(
    programme: Programme, number: int, stream: np.random.SeedSequence, bank: MaskBank | None
) -> GridCase:
    def read() -> Scan:
        rng = np.random.default_rng(stream)
        anatomy = deform(load_anatomy(), rng)
        head = synthetic_head(anatomy, rng, skull=True)
        infarcts = None if bank is None else lambda anatomy, rng: bank_infarct(bank, anatomy, rng)
        lesions = random_lesions(anatomy, rng, programme, infarcts)
        scan = scan_of(head, lesions, Acquisition(slice_mm=1, in_plane_mm=1.0, noise=0.0), rng)
        flair = scan.flair.astype(np.float32)
        return Scan(flair, scan.instances > 0, scan.affine, head.anatomy.brain > 0.5)

    label = {"wmh": "WMH", "ms": "MS"}.get(programme, programme)
    return GridCase(f"synthetic-{programme}-{number}", f"synthetic {label}", USUAL, read)


def score_grid(
    models: Sequence[NamedModel], cases: Sequence[GridCase], levels: Sequence[Level], seed: int
) -> Iterator[CellScore | None]:
    """Score every model on every case at every level; None for a level that a case cannot be brought to.

    One by one, a case's levels after one another: as many results as models x cases x levels. Noise and bias
    of a case are the same draws at all levels. Levels that a case fulfils as it is are scored once.
    """
    for number, case in enumerate(cases):
        scan = case.read()
        known: dict[Protocol, list[CellScore]] = {}
        for level in levels:
            protocol = feasible(scan, replace(case.protocol, **level.changes))
            if protocol is None:
                yield from [None] * len(models)
                continue
            if protocol not in known:
                changed = rescan(scan, protocol, np.random.default_rng([seed, number]))
                known[protocol] = _score(models, case, level, changed)
            yield from (replace(score, level=level) for score in known[protocol])


def _score(models: Sequence[NamedModel], case: GridCase, level: Level, scan: Scan) -> list[CellScore]:
    """Segment a changed scan with each model and score it on the changed grid's truth."""
    truth = countable(scan.lesions, scan.spacing)
    ml = float(np.prod(scan.spacing)) / 1000
    scores = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "FLAIR.nii"
        write_volume(path, scan.flair, Volume.from_array(scan.flair, scan.affine))
        for model in models:
            result = model.segment(path)
            found = result.instances > 0
            scores.append(
                CellScore(
                    model.name,
                    case.name,
                    case.kind,
                    level,
                    dice(found, truth),
                    lesion_detection(found, truth).f1,
                    float(truth.sum()) * ml,
                    float(found.sum()) * ml,
                    result.seconds,
                )
            )
    return scores


def countable(lesions: NDArray[np.bool_], spacing: Sequence[float]) -> NDArray[np.bool_]:
    """The lesions (i, j, k) without components (26) of at most 14 mm3, as slivers of a coarser grid are."""
    return drop_small(label_components(lesions), spacing, SmallLesionRule(min_side_mm=0.0)) > 0
