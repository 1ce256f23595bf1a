"""One FLAIR on its way through the engine: read and checked, and what the network says of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..bundle import Bundle
from ..errors import BundleError, InputError
from ..image import Orientation, Volume, read_volume, resample_onto, spacing_of, to_canonical
from ..instances import OffsetField, label_components
from ..labels import LesionType
from ..progress import Reporter
from .brain import rough_brain_mask
from .model import Model
from .prediction import ClassProbabilities, predict
from .preprocessing import WorkingGrid, prepare

_FOUND = 0.1  # probability from which on neighbouring voxels belong to one finding
_LEAST_OVERLAP = 0.5  # of the FLAIR that a T1 must cover before the user is warned


@dataclass(eq=False)
class Scan:
    """A FLAIR, and a T1 where the model reads one; arrays are canonical, (i, j, k) in RAS axis order.

    In memory the arrays run in canonical order, so that sums, and with them the result, do not depend on the
    order in which the file stores the voxels.

    volume : the FLAIR as its file stores it, a view of ``array``.
    t1 : on the FLAIR's grid.
    seconds : by stage of the work, as `timed` measures them.
    """

    array: np.ndarray
    affine: np.ndarray
    orientation: Orientation
    volume: Volume
    warnings: list[str]
    t1: np.ndarray | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in mm between voxel centres along i, j and k."""
        return spacing_of(self.affine)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Note how long a stage of the work takes."""
        start = time.monotonic()
        yield
        self.seconds[stage] = round(time.monotonic() - start, 3)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the network says of a scan, on its canonical grid: maps are (i, j, k), 0..1.

    lesion : probability of any lesion.
    brain : a rough brain mask, bool.
    stroke : the stroke channel's share of it, where a classifier types the lesions and there is one.
    channels : probability of each type, where the network itself types them.
    offsets : centre heat and offsets, on the working grid, where the network gives them.
    notes : what the device did otherwise than asked.
    """

    lesion: np.ndarray
    brain: np.ndarray
    stroke: np.ndarray | None = None
    channels: dict[LesionType, np.ndarray] = field(default_factory=dict)
    offsets: OffsetField | None = None
    notes: list[str] = field(default_factory=list)


def read_scan(flair: Path, t1: Path | None, bundle: Bundle) -> Scan:
    """Read a FLAIR, and the T1 if the bundle's network takes one.

    Raises InputError for an image that cannot be used, a T1 that lies elsewhere, and a T1 that is missing.
    """
    volume = read_volume(flair)
    view, affine, orientation = to_canonical(volume.array, volume.affine)
    array = np.ascontiguousarray(view)
    own = replace(volume, array=orientation.restore(array))
    other, warnings = _read_t1(t1, own, bundle)
    if other is not None:
        other = np.ascontiguousarray(orientation.apply(other))
    return Scan(array, affine, orientation, own, [*volume.warnings, *warnings], other)


def predict_scan(scan: Scan, model: Model, reporter: Reporter, flip: bool = False) -> Prediction:
    """Prepare a scan and run the network on it once, or with ``flip`` also on its mirror image.

    Raises InputError for a FLAIR without contrast and the like, BundleError where the network gives what its
    bundle does not say, and whatever ``reporter`` raises to stop.
    """
    with scan.timed("preparing"):
        others = [] if scan.t1 is None else [scan.t1]
        try:
            images, grid, brain = prepare(
                scan.array,
                scan.spacing,
                *others,
                keep_slices=model.is_2d,
                normalisation=model.preprocessing.normalisation,
            )
        except InputError as error:  # it knows the array alone
            raise InputError(error.what, scan.volume.path, error.todo) from error
        if brain is None:
            brain = rough_brain_mask(images[0], grid.spacing)
    reporter.progress("preparing", 1, 1)
    with scan.timed("predicting"):
        result = predict(model, images, grid, reporter.progress, flip=flip, brain=brain)
        result.channels[:, _astray(result.channels.sum(axis=0), brain)] = 0
        return _on_scan(result, grid, brain, model.bundle)


def _astray(lesion: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Where a probability (i, j, k) finds something that touches the brain nowhere, as in face and neck."""
    found = label_components(lesion > _FOUND, 26)
    touching = np.zeros(int(found.max(initial=0)) + 1, bool)
    touching[found[brain]] = True
    touching[0] = True
    return ~touching[found] if brain.any() else np.zeros(found.shape, bool)


def _on_scan(result: ClassProbabilities, grid: WorkingGrid, brain: np.ndarray, bundle: Bundle) -> Prediction:
    """The network's output, and the brain on the working grid, back on the scan's grid."""
    label_map = bundle.spec.output.label_map
    if max(label_map, default=0) > len(result.channels):
        raise BundleError(
            f"output.label_map names channel {max(label_map)}, the network gives {len(result.channels)}",
            bundle.folder,
        )
    total = result.channels.sum(axis=0)
    lesion = grid.scatter(total)
    np.clip(lesion, 0, 1, out=lesion)
    offsets = None
    if result.heat is not None and result.offsets is not None:
        offsets = OffsetField(result.heat, result.offsets, grid.spacing, *grid.from_image)
    typed = {LesionType(label): result.channels[c - 1] for c, label in label_map.items() if label}
    stroke, channels = None, {}
    if bundle.classifier is None:
        if set(typed) != {LesionType.LESION}:
            channels = {kind: grid.scatter(p) for kind, p in typed.items()}
    elif LesionType.STROKE in typed:
        stroke = grid.scatter(typed[LesionType.STROKE] / np.maximum(total, 1e-6))
    on_scan = grid.scatter(brain.astype(np.float32)) > 0.5
    return Prediction(lesion, on_scan, stroke, channels, offsets, result.notes)


def _read_t1(path: Path | None, flair: Volume, bundle: Bundle) -> tuple[np.ndarray | None, list[str]]:
    """The T1 on the FLAIR's grid if the model takes one, and what the user should know of it."""
    wants = any(item.modality == "T1" for item in bundle.spec.inputs)
    if path is None:
        if wants:
            raise InputError(f"model {bundle.spec.name} needs a T1 as well", todo="Give it with --t1 FILE")
        return None, []
    t1 = read_volume(path, "T1")
    array, overlap = resample_onto(t1, flair)  # raises where the two do not meet
    warnings = list(t1.warnings)
    if overlap < _LEAST_OVERLAP:
        warnings.append(f"the T1 covers only {overlap:.0%} of the FLAIR")
    if not wants:
        warnings.append(f"model {bundle.spec.name} reads the FLAIR alone: the T1 was checked but not used")
        return None, warnings
    return array, warnings
