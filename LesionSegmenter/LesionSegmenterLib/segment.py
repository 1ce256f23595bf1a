"""The whole job on one FLAIR: read, predict, split, type, measure, and write the case folder."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from . import __version__
from .atomic import check_not_input, writing_error
from .bundle import DEFAULT_MODEL, Bundle, SplitName, resolve_bundle
from .engine.brain import rough_brain_mask
from .engine.cascade import Typed, classify_lesions, types_of_channels
from .engine.device import choose_device
from .engine.model import Model, load_model
from .engine.prediction import ClassProbabilities, predict
from .engine.preprocessing import WorkingGrid, prepare
from .errors import BundleError, InputError
from .export import CaseData, case_paths, subject_id, write_case
from .image import NiftiWriter, Orientation, Volume, read_volume, resample_onto, spacing_of, to_canonical
from .instances import METHODS, OffsetField, SmallLesionRule, drop_small, split
from .labels import LesionType
from .lesions import LesionRecord
from .measure import measure_lesions, scan_type, type_map
from .progress import Reporter
from .report import qc_montage

SmallLesions = Literal["auto", "keep", "drop"]
_LEAST_OVERLAP = 0.5  # of the FLAIR that a T1 must cover before the user is warned


@dataclass(frozen=True)
class SegmentOptions:
    """Settings of a run; the names are those of the command line.

    small_lesions : what becomes of lesions under 3 mm on any side or of at most 14 mm3. ``auto`` drops those
        typed MS, whose clinical definition the rule is (as in ConfLUNet), and keeps WMH and
        strokes; ``keep`` and ``drop`` treat all alike.
    """

    t1: Path | None = None
    model: str = DEFAULT_MODEL
    split: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    subject: str | None = None
    flip: bool = False
    small_lesions: SmallLesions = "auto"
    threshold: float | None = None
    keep_flair: Literal["path", "copy", "link"] = "path"


@dataclass(frozen=True)
class SegmentResult:
    """What a run wrote: files by name, the lesions, and the sidecar's content."""

    files: dict[str, Path]
    records: list[LesionRecord]
    sidecar: dict[str, Any]


@dataclass(eq=False)
class _Case:
    """One FLAIR on its way through the engine; arrays are canonical, (i, j, k) in RAS axis order."""

    array: np.ndarray
    affine: np.ndarray
    orientation: Orientation
    warnings: list[str]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def spacing(self) -> tuple[float, float, float]:
        return spacing_of(self.affine)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[stage] = round(time.monotonic() - start, 3)


@dataclass(frozen=True, eq=False)
class _Maps:
    """What the network says, on the canonical grid: each (i, j, k), 0..1.

    lesion : probability of any lesion.
    stroke : the stroke channel's share of it, where a classifier types the lesions and there is one.
    channels : probability of each type, where the network itself types them.
    offsets : centre heat and offsets, on the working grid, where the network gives them.
    """

    lesion: np.ndarray
    stroke: np.ndarray | None = None
    channels: dict[LesionType, np.ndarray] = field(default_factory=dict)
    offsets: OffsetField | None = None


def load(options: SegmentOptions) -> Model:
    """The model of the options on their device, for `segment` to use for several images.

    Raises BundleError for a model that is not there or damaged, InputError for a device that is not there.
    """
    return load_model(resolve_bundle(options.model), choose_device(options.device, options.precision))


def segment(
    flair: Path, out: Path, options: SegmentOptions, reporter: Reporter, model: Model | None = None
) -> SegmentResult:
    """Segment the lesions of one FLAIR and write its case folder under ``out``.

    ``model`` is what ``load(options)`` gave, for more than one image; without it, it is loaded here. Raises
    InputError or BundleError where something cannot be used, and whatever ``reporter`` raises to stop;
    nothing is left under its final name then.
    """
    reporter.progress("reading", 0, 3)
    subject = subject_id(flair.name) if options.subject is None else options.subject
    _check_output(out, subject, [path for path in (flair, options.t1) if path])
    bundle = model.bundle if model else resolve_bundle(options.model)
    settings = _settings(options, bundle)
    case, volume = _read_flair(flair)
    t1, t1_warnings = _read_t1(options.t1, volume, bundle)
    case.warnings += t1_warnings
    for warning in case.warnings:
        reporter.warn(warning)
    reporter.progress("reading", 2, 3)
    if model is None:
        model = load_model(bundle, choose_device(options.device, options.precision))
    reporter.progress("reading", 3, 3)

    with case.timed("preparing"):
        others = [] if t1 is None else [np.ascontiguousarray(case.orientation.apply(t1))]
        try:
            images, grid = prepare(case.array, case.spacing, *others, keep_slices=model.is_2d)
        except InputError as error:  # it knows the array alone
            raise InputError(error.what, flair, error.todo) from error
        brain = grid.scatter(rough_brain_mask(images[0], grid.spacing).astype(np.float32)) > 0.5
    reporter.progress("preparing", 1, 1)
    with case.timed("predicting"):
        result = predict(model, images, grid, reporter.progress, flip=options.flip)
    del images
    with case.timed("splitting"):
        maps = _lesion_maps(result, grid, bundle)
        rule = SmallLesionRule() if options.small_lesions == "drop" else None
        mask = maps.lesion >= settings["threshold"]
        instances = split(
            settings["split"], maps.lesion, mask, case.spacing, small_lesion_rule=rule, offsets=maps.offsets
        )
        del mask
    reporter.progress("splitting", 1, 1)
    with case.timed("typing"):
        typed = _types(bundle, case, instances, brain, maps)
        if options.small_lesions == "auto":
            instances, typed = _without_small_ms(instances, typed, case.spacing)
        kinds = {i: kind for i, (kind, _) in typed.items()}
        confidences = {i: confidence for i, (_, confidence) in typed.items()}
        records = measure_lesions(instances, case.affine, maps.lesion, kinds, confidences)
    reporter.progress("typing", 1, 1)

    sidecar = _sidecar(settings, model, result.notes, case, brain, records)
    data = _case_data(subject, case, maps.lesion, instances, records, sidecar)
    reporter.progress("writing", 1, 3)
    files = write_case(out, data, NiftiWriter(volume), flair, options.keep_flair)
    reporter.progress("writing", 3, 3)
    return SegmentResult(files, records, sidecar)


def _check_output(out: Path, subject: str, inputs: list[Path]) -> None:
    """InputError for a subject or a folder that could not be written, before any work is done for it."""
    for path in case_paths(out, subject).values():
        check_not_input(path, *inputs)
    nearest = next((folder for folder in (out, *out.absolute().parents) if folder.exists()), out)
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        number = errno.EACCES if nearest.is_dir() else errno.ENOTDIR
        raise writing_error(out, OSError(number, os.strerror(number)))


def _settings(options: SegmentOptions, bundle: Bundle) -> dict[str, Any]:
    """What decides the lesions, with the bundle's choice where the options leave it open: plain JSON."""
    return {
        "split": _split_method(options.split, bundle),
        "threshold": bundle.spec.output.threshold if options.threshold is None else options.threshold,
        "small_lesions": options.small_lesions,
        "flip": options.flip,
        "t1": str(options.t1) if options.t1 else None,
    }


def _split_method(wanted: str, bundle: Bundle) -> str:
    """The method's name; auto takes the bundle's, or else its network's offsets, or else components."""
    gives_offsets = bundle.spec.output.kind == "instances"
    method = bundle.spec.split if wanted == "auto" else wanted
    if method == "auto":
        method = "offsets" if gives_offsets else "components"
    if method == "offsets" and not gives_offsets:
        raise InputError(
            f"model {bundle.spec.name} predicts no offsets to split by",
            todo=f"Use --split {', '.join(METHODS)}",
        )
    if method not in (*METHODS, "offsets"):
        raise InputError(
            f"unknown splitting method {method!r}", todo=f"Choose one of {', '.join(get_args(SplitName))}"
        )
    return method


def _read_flair(path: Path) -> tuple[_Case, Volume]:
    """The FLAIR in canonical order, and as its file stores it: two views of one array.

    In memory the array runs in canonical order, so that sums, and with them the result, do not depend on the
    order in which the file stores the voxels.
    """
    volume = read_volume(path)
    view, affine, orientation = to_canonical(volume.array, volume.affine)
    array = np.ascontiguousarray(view)
    case = _Case(array, affine, orientation, list(volume.warnings))
    return case, replace(volume, array=orientation.restore(array))


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


def _lesion_maps(result: ClassProbabilities, grid: WorkingGrid, bundle: Bundle) -> _Maps:
    label_map = bundle.spec.output.label_map
    if max(label_map, default=0) > len(result.channels):
        raise BundleError(
            f"output.label_map names channel {max(label_map)}, the network gives {len(result.channels)}",
            bundle.folder,
        )
    lesion = grid.scatter(result.channels.sum(axis=0))
    np.clip(lesion, 0, 1, out=lesion)
    offsets = None
    if result.heat is not None and result.offsets is not None:
        offsets = OffsetField(result.heat, result.offsets, grid.spacing, *grid.from_image)
    typed = {LesionType(label): result.channels[c - 1] for c, label in label_map.items() if label}
    if bundle.classifier is None:
        untyped = set(typed) == {LesionType.LESION}
        channels = {} if untyped else {kind: grid.scatter(p) for kind, p in typed.items()}
        return _Maps(lesion, channels=channels, offsets=offsets)
    if LesionType.STROKE not in typed:
        return _Maps(lesion, offsets=offsets)
    total = np.maximum(result.channels.sum(axis=0), 1e-6)
    return _Maps(lesion, grid.scatter(typed[LesionType.STROKE] / total), offsets=offsets)


def _types(bundle: Bundle, case: _Case, instances: np.ndarray, brain: np.ndarray, maps: _Maps) -> Typed:
    """Type and confidence of each lesion id; empty where neither classifier nor network states any."""
    if bundle.classifier is not None:
        box = brain if brain.any() else np.ones_like(brain)
        return classify_lesions(bundle.classifier, instances, case.affine, box, maps.stroke)
    return types_of_channels(instances, maps.channels) if maps.channels else {}


def _without_small_ms(
    instances: np.ndarray, typed: Typed, spacing: tuple[float, ...]
) -> tuple[np.ndarray, Typed]:
    """Without the MS lesions that the small-lesion rule drops, renumbered."""
    kept = drop_small(instances, spacing)
    stays = {i for i, (kind, _) in typed.items() if kind != LesionType.MS} | set(kept[kept > 0].tolist())
    old = [i for i in sorted(typed) if i in stays]
    if len(old) == len(typed):
        return instances, typed
    lookup = np.zeros(int(instances.max(initial=0)) + 1, np.int32)
    lookup[old] = np.arange(1, len(old) + 1)  # ids run by size already, so their order stays
    return lookup[instances], {int(lookup[i]): typed[i] for i in old}


def _case_data(
    subject: str,
    case: _Case,
    lesion: np.ndarray,
    instances: np.ndarray,
    records: list[LesionRecord],
    sidecar: dict[str, Any],
) -> CaseData:
    """The case as it is written: arrays in the order of the FLAIR's file, and the picture."""
    types = type_map(instances, {record.lesion_id: record.type for record in records})
    picture = qc_montage(case.array, types, instances, case.spacing, title=subject)
    types, instances, lesion = map(case.orientation.restore, (types, instances, lesion))
    return CaseData(subject, types, instances, lesion, records, sidecar, picture)


def _sidecar(
    settings: dict[str, Any],
    model: Model,
    notes: list[str],
    case: _Case,
    brain: np.ndarray,
    records: list[LesionRecord],
) -> dict[str, Any]:
    """What was run, on what and how: enough to run it again."""
    spec = model.bundle.spec
    kind = scan_type(records)
    return {
        "software": {"name": "LesionSegmenter", "version": __version__},
        "model": {
            "name": spec.name,
            "version": spec.version,
            "weights_sha256": spec.files[model.bundle.weights.name],
        },
        "settings": settings,
        "device": {"name": model.device.name, "precision": model.device.precision, "notes": notes},
        "seconds": case.seconds,
        "warnings": case.warnings,
        "scan_type": kind.label if kind else None,
        "reviewed": False,
        "brain_ml": round(float(brain.sum() * np.prod(case.spacing)) / 1000, 1),
    }
