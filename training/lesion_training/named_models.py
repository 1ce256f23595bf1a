"""Several bundles under names that tell them apart, run side by side by the engine's own path."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from LesionSegmenterLib.engine.model import Model
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.image import read_labels
from LesionSegmenterLib.lesions import LesionRecord
from LesionSegmenterLib.progress import NoReporter
from LesionSegmenterLib.segment import SegmentOptions, load, segment


@dataclass(frozen=True, eq=False)
class Found:
    """What a model found in a FLAIR: ids (i, j, k) as its file is stored, and a record a lesion."""

    instances: NDArray[np.int32]
    records: list[LesionRecord]
    scan_type: str | None
    seconds: float


@dataclass(frozen=True, eq=False)
class NamedModel:
    """A loaded bundle and the name it has in tables."""

    name: str
    options: SegmentOptions
    model: Model

    def segment(self, flair: Path) -> Found:
        """Segment a FLAIR into a temporary folder, by the engine's path from file to case folder."""
        with tempfile.TemporaryDirectory() as folder:
            result = segment(flair, Path(folder), self.options, NoReporter(), self.model)
            instances = read_labels(result.files["instances"]).array
        seconds = sum(result.sidecar["seconds"].values())
        return Found(instances, result.records, result.sidecar["scan_type"], seconds)


def load_models(bundles: Sequence[str]) -> list[NamedModel]:
    """The bundles' models, named by bundle and version, with a number where a name would come twice.

    BundleError for a bundle that is not there or damaged, InputError for one that reads a T1 besides.
    """
    models: list[NamedModel] = []
    for bundle in bundles:
        options = SegmentOptions(model=bundle)
        model = load(options)
        if any(item.modality == "T1" for item in model.bundle.spec.inputs):
            raise InputError("this model reads a T1 as well", bundle, "Name models of a FLAIR alone")
        name = f"{model.bundle.spec.name} {model.bundle.spec.version}"
        models.append(NamedModel(unused_name(name, [other.name for other in models]), options, model))
    return models


def unused_name(name: str, taken: Collection[str]) -> str:
    """The name, with a number where it would come twice."""
    return f"{name} ({len(taken) + 1})" if name in taken else name
