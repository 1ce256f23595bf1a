"""What a model finds in synthetic heads, false lesions too: such as the cascade's classifier is given."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from LesionSegmenterLib.engine.model import Model
from LesionSegmenterLib.engine.scan import predict_scan, read_scan
from LesionSegmenterLib.features import lesion_features
from LesionSegmenterLib.image import Volume, write_volume
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.progress import NoReporter
from LesionSegmenterLib.segment import SegmentOptions, find_lesions, run_settings

from .banks import MaskBank
from .held_out import PROGRAMMES
from .synth import SynthSettings, synthetic_case

_TYPES = {"wmh": LesionType.WMH, "stroke": LesionType.STROKE, "ms": LesionType.MS}


@dataclass(frozen=True)
class ScanFeatures:
    """The lesions of one scan: ``features`` (n, 11); ``found`` by a model, not made of a mask."""

    type: LesionType
    source: str
    features: NDArray[np.float64]
    found: bool = False


def found_scans(
    model: Model, heads: int, bank: MaskBank | None, rng: np.random.Generator
) -> Iterator[ScanFeatures]:
    """What ``model`` finds in so many synthetic heads of each type of lesion; infarcts also of ``bank``.

    Every mark has the type of its scan, also one that is no lesion: such a one says nothing of the type, and
    a classifier that never saw any would say something.
    """
    settings = run_settings(SegmentOptions(), model.bundle)
    for programme in PROGRAMMES:
        for number in tqdm(range(heads), desc=f"finding {programme}"):
            made, _ = synthetic_case(rng, SynthSettings((programme,)), bank)
            with tempfile.TemporaryDirectory() as folder:
                flair = Path(folder) / "FLAIR.nii"
                write_volume(flair, made.flair, Volume.from_array(made.flair, made.affine))
                scan = read_scan(flair, None, model.bundle)
            prediction = predict_scan(scan, model, NoReporter())
            instances, _ = find_lesions(scan, prediction, model.bundle, settings, NoReporter())
            if instances.any() and prediction.brain.any():
                _, features = lesion_features(instances, scan.affine, prediction.brain)
                yield ScanFeatures(_TYPES[programme], f"{programme}-found{number}", features, found=True)
