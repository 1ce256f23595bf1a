"""How often WMH, stroke and MS are taken for one another: per lesion and per scan, for several bundles."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from LesionSegmenterLib.image import Volume, write_volume
from LesionSegmenterLib.instances import label_components
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.measure import measure_lesions
from LesionSegmenterLib.metrics.types import commonest_type

from .banks import MaskBank
from .cases import CaseEntry
from .held_out import PROGRAMMES, is_synthetic, kept_streams, read_truth
from .named_models import NamedModel
from .synth import SynthSettings, synthetic_case

MISSED = "missed"


@dataclass(frozen=True, eq=False)
class TypedCase:
    """A scan whose lesions' types are known; ``source`` is ``synthetic`` or ``real``.

    instances : lesion ids, (i, j, k) as ``flair`` stores its voxels; ``types`` of those; ``affine`` to mm.
    """

    name: str
    source: str
    flair: Path
    affine: NDArray[np.float64]
    instances: NDArray[np.int32]
    types: dict[int, LesionType]


@dataclass(frozen=True)
class Verdict:
    """The true and the stated type of a lesion or of a whole scan; stated is `MISSED` without a found one.

    lesion : the true lesion's id; None for the scan, whose true type is that of most lesion volume.
    confidence : the model's in the stated type of a lesion; None where it gives none.
    """

    bundle: str
    source: str
    case: str
    lesion: int | None
    true: str
    stated: str
    volume_mm3: float
    confidence: float | None = None

    @property
    def right(self) -> bool:
        return self.true == self.stated


def listed_cases(entries: Sequence[CaseEntry]) -> Iterator[TypedCase]:
    """Those of the entries whose truth is typed; a lesion is a component (26) of one type."""
    for entry in entries:
        truth = read_truth(entry)
        instances = label_components(truth.types > 0)
        types = {
            i: LesionType.from_label(commonest_type(truth.types[instances == i]) or "lesion")
            for i in range(1, int(instances.max()) + 1)
        }
        if types and LesionType.LESION not in types.values():
            source = "synthetic" if is_synthetic(entry) else "real"
            yield TypedCase(entry.case, source, entry.image, truth.flair.affine, instances, types)


def synthetic_cases(heads: int, seed: int, bank: MaskBank | None) -> Iterator[TypedCase]:
    """So many random scans of each type, as `lesion-train synth` makes them; their files last a turn."""
    for programme in PROGRAMMES:
        for number, stream in enumerate(kept_streams(seed, programme, heads), start=1):
            settings = SynthSettings((programme,))
            scan, _ = synthetic_case(np.random.default_rng(stream), settings, bank)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "FLAIR.nii"
                write_volume(path, scan.flair, Volume.from_array(scan.flair, scan.affine))
                name = f"{programme}-{number}"
                yield TypedCase(name, "synthetic", path, scan.affine, scan.instances, scan.types)


def judge(model: NamedModel, case: TypedCase) -> list[Verdict]:
    """The verdict on the scan, and one on every true lesion.

    A true lesion is matched to the found one that overlaps it most; found ones that overlap none are not
    judged. A scan without a true lesion is not judged: the list is empty.
    """
    found = model.segment(case.flair)
    records = measure_lesions(case.instances, case.affine, types=case.types)
    if not records:
        return []
    volumes = {
        kind: sum(r.volume_mm3 for r in records if r.type == kind) for kind in {r.type for r in records}
    }
    true = max(sorted(volumes), key=lambda kind: volumes[kind])
    scan = Verdict(
        *(model.name, case.source, case.name, None, true.label, found.scan_type or MISSED),
        volume_mm3=volumes[true],
    )
    stated = {record.lesion_id: record for record in found.records}
    matches = largest_overlaps(case.instances, found.instances)
    verdicts = [scan]
    for record in records:
        match = stated.get(matches.get(record.lesion_id, 0))
        verdicts.append(
            Verdict(
                *(model.name, case.source, case.name, record.lesion_id, record.type.label),
                match.type.label if match else MISSED,
                record.volume_mm3,
                match.type_confidence if match else None,
            )
        )
    return verdicts


def largest_overlaps(true: NDArray[np.int32], found: NDArray[np.int32]) -> dict[int, int]:
    """The found id that shares most voxels with each true one (the lower of equals); both (i, j, k)."""
    both = (true > 0) & (found > 0)
    pairs, counts = np.unique(np.stack([true[both], found[both]]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -counts))[::-1]  # best last, so that it stays
    return dict(zip(pairs[0, order].tolist(), pairs[1, order].tolist(), strict=True))
