"""The whole job on one FLAIR: read, predict, split, type, measure, and write the case folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from . import __version__
from .atomic import check_not_input, writing_error
from .bundle import DEFAULT_MODEL, INSTANCE_MODEL, Bundle, SplitName, resolve_bundle
from .confidence import LesionConfidence
from .engine.cascade import Typed, classify_lesions, types_of_channels
from .engine.device import choose_device
from .engine.model import Model, load_model
from .engine.scan import Prediction, Scan, predict_scan, read_scan
from .errors import InputError
from .export import CaseData, case_paths, subject_id, write_case
from .image import NiftiWriter
from .instances import METHODS, SmallLesionRule, label_components, outline_lesions, split
from .lesions import LesionRecord
from .measure import measure_lesions, scan_type, type_map
from .progress import Reporter, StageReporter
from .report import qc_montage

SmallLesions = Literal["keep", "drop"]


@dataclass(frozen=True)
class SegmentOptions:
    """Settings of a run; the names are those of the command line.

    small_lesions : what becomes of lesions under 3 mm on any side or of at most 14 mm3, the clinical
        definition of an MS lesion (as in ConfLUNet): ``keep`` or ``drop``.
    splitter : the model of instances whose offsets split what a model without any finds, for ``offsets``.
    """

    t1: Path | None = None
    model: str = DEFAULT_MODEL
    split: str = "auto"
    splitter: str = INSTANCE_MODEL
    device: str = "auto"
    precision: str = "auto"
    subject: str | None = None
    flip: bool = False
    small_lesions: SmallLesions = "keep"
    threshold: float | None = None
    least_confidence: float | None = None
    keep_flair: Literal["path", "copy", "link"] = "path"


@dataclass(frozen=True)
class SegmentResult:
    """What a run wrote: files by name, the lesions, and the sidecar's content."""

    files: dict[str, Path]
    records: list[LesionRecord]
    sidecar: dict[str, Any]


def load(options: SegmentOptions) -> Model:
    """The model of the options on their device, for `segment` to use for several images.

    Raises BundleError for a model that is not there or damaged, InputError for a device that is not there and
    for a splitter without offsets.
    """
    bundle = resolve_bundle(options.model)
    return _loaded(bundle, _splitter(options, bundle), options)


def _splitter(options: SegmentOptions, bundle: Bundle) -> Bundle | None:
    """The model of instances whose offsets split what ``bundle`` finds; None where none is needed."""
    if options.split != "offsets" or bundle.spec.output.kind == "instances":
        return None
    splitter = resolve_bundle(options.splitter)
    if splitter.spec.output.kind != "instances" or len(splitter.spec.inputs) > 1:
        raise InputError(
            f"model {splitter.spec.name} predicts no offsets from a FLAIR to split by",
            todo=f"Use --splitter {INSTANCE_MODEL}, or --split {', '.join(METHODS)}",
        )
    return splitter


def _loaded(bundle: Bundle, splitter: Bundle | None, options: SegmentOptions) -> Model:
    device = choose_device(options.device, options.precision)
    model = load_model(bundle, device)
    return replace(model, splitter=load_model(splitter, device)) if splitter else model


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
    if model is None:
        splitter = _splitter(options, bundle)
    else:
        splitter = model.splitter.bundle if model.splitter and options.split == "offsets" else None
    settings = run_settings(options, bundle, splitter)
    scan = read_scan(flair, options.t1, bundle)
    if options.least_confidence and not _at_own_threshold(settings, bundle):
        raise InputError(
            f"model {bundle.spec.name} states no confidence at this threshold",
            todo="Leave --least-confidence out, or --threshold",
        )
    if bundle.spec.output.confidence and not _as_calibrated(settings, bundle):
        scan.warnings.append("no confidence is stated: it was fitted at the model's own threshold and split")
    for warning in scan.warnings:
        reporter.warn(warning)
    reporter.progress("reading", 2, 3)
    if model is None:
        model = _loaded(bundle, splitter, options)
    reporter.progress("reading", 3, 3)

    prediction = predict_scan(scan, model, reporter, options.flip)
    if splitter and model.splitter:
        with scan.timed("predicting offsets"):
            flair_alone = replace(scan, t1=None, seconds={})
            apart = predict_scan(flair_alone, model.splitter, StageReporter(reporter, "splitting"))
        notes = [*prediction.notes, *apart.notes]
        prediction = replace(prediction, offsets=apart.offsets, notes=notes)
    instances, records = find_lesions(scan, prediction, bundle, settings, reporter)

    sidecar = _sidecar(settings, model, scan, prediction, records)
    data = _case_data(subject, scan, prediction.lesion, instances, records, sidecar)
    reporter.progress("writing", 1, 3)
    files = write_case(out, data, NiftiWriter(scan.volume), flair, options.keep_flair)
    reporter.progress("writing", 3, 3)
    return SegmentResult(files, records, sidecar)


def find_lesions(
    scan: Scan, prediction: Prediction, bundle: Bundle, settings: Mapping[str, Any], reporter: Reporter
) -> tuple[np.ndarray, list[LesionRecord]]:
    """The lesions of a prediction: ids, (i, j, k) int32 on the scan's canonical grid, and their records.

    ``settings`` are those of `run_settings`; its threshold may be another each time, as the prediction stays
    as it is. A confidence is stated of lesions found as those were that it was fitted on, and of no others;
    those under the least confidence are left out. Of a mask that is split another way, its components are.
    """
    fitted = bundle.spec.output.confidence
    mask = outline_lesions(prediction.lesion, settings["threshold"], settings["peak_share"])
    calibrated = _as_calibrated(settings, bundle)
    if fitted and settings["least_confidence"] and not calibrated:
        voxel_mm3 = abs(float(np.linalg.det(scan.affine[:3, :3])))
        mask = _confident_components(mask, prediction.lesion, voxel_mm3, fitted, settings["least_confidence"])
    with scan.timed("splitting"):
        rule = SmallLesionRule() if settings["small_lesions"] == "drop" else None
        instances = split(
            settings["split"],
            prediction.lesion,
            mask,
            scan.spacing,
            small_lesion_rule=rule,
            offsets=prediction.offsets,
        )
    reporter.progress("splitting", 1, 1)
    with scan.timed("typing"):
        typed = _types(bundle, scan, instances, prediction)
        kinds = {i: kind for i, (kind, _) in typed.items()}
        confidences = {i: confidence for i, (_, confidence) in typed.items()}
        records = measure_lesions(instances, scan.affine, prediction.lesion, kinds, confidences)
        if fitted and calibrated:
            records = fitted.stated(records)
            instances, records = _confident(instances, records, settings["least_confidence"])
    reporter.progress("typing", 1, 1)
    return instances, records


def _check_output(out: Path, subject: str, inputs: list[Path]) -> None:
    """InputError for a subject or a folder that could not be written, before any work is done for it."""
    for path in case_paths(out, subject).values():
        check_not_input(path, *inputs)
    nearest = next((folder for folder in (out, *out.absolute().parents) if folder.exists()), out)
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        number = errno.EACCES if nearest.is_dir() else errno.ENOTDIR
        raise writing_error(out, OSError(number, os.strerror(number)))


def run_settings(options: SegmentOptions, bundle: Bundle, splitter: Bundle | None = None) -> dict[str, Any]:
    """What decides the lesions, with the bundle's choice where the options leave it open: plain JSON.

    ``splitter`` is the model of instances that gives the offsets, where the bundle itself gives none. Raises
    InputError for a way of splitting that neither can serve.
    """
    output, stated = bundle.spec.output, options.least_confidence
    settings = {
        "split": _split_method(options.split, bundle, splitter),
        "splitter": f"{splitter.spec.name} {splitter.spec.version}" if splitter else None,
        "threshold": output.threshold if options.threshold is None else options.threshold,
        "peak_share": output.peak_share,
        "least_confidence": output.least_confidence if stated is None else stated,
        "small_lesions": options.small_lesions,
        "flip": options.flip or bool(bundle.spec.preprocessing.get("flip")),
        "t1": str(options.t1) if options.t1 else None,
    }
    if not _at_own_threshold(settings, bundle):
        settings["least_confidence"] = 0.0
    return settings


def _as_calibrated(settings: Mapping[str, Any], bundle: Bundle) -> bool:
    """Whether lesions are found as those were that a bundle's confidence was fitted on, if it has one."""
    return _at_own_threshold(settings, bundle) and settings["split"] == _split_method("auto", bundle)


def _at_own_threshold(settings: Mapping[str, Any], bundle: Bundle) -> bool:
    """Whether a bundle's confidence holds for the components of the mask, if it has one."""
    output = bundle.spec.output
    return output.confidence is not None and settings["threshold"] == output.threshold


def _split_method(wanted: str, bundle: Bundle, splitter: Bundle | None = None) -> str:
    """The method's name; auto takes the bundle's, or else its network's offsets, or else components."""
    gives_offsets = bundle.spec.output.kind == "instances"
    method = bundle.spec.split if wanted == "auto" else wanted
    if method == "auto":
        method = "offsets" if gives_offsets else "components"
    if method == "offsets" and not (gives_offsets or splitter):
        raise InputError(
            f"model {bundle.spec.name} predicts no offsets to split by",
            todo=f"Use --split {', '.join(METHODS)}",
        )
    if method not in (*METHODS, "offsets"):
        raise InputError(
            f"unknown splitting method {method!r}", todo=f"Choose one of {', '.join(get_args(SplitName))}"
        )
    return method


def _types(bundle: Bundle, scan: Scan, instances: np.ndarray, prediction: Prediction) -> Typed:
    """Type and confidence of each lesion id; empty where neither classifier nor network states any."""
    if bundle.classifier is not None:
        brain = prediction.brain
        box = brain if brain.any() else np.ones_like(brain)
        return classify_lesions(bundle.classifier, instances, scan.affine, box, prediction.stroke)
    return types_of_channels(instances, prediction.channels) if prediction.channels else {}


def _confident(
    instances: np.ndarray, records: list[LesionRecord], least: float
) -> tuple[np.ndarray, list[LesionRecord]]:
    """Without the lesions whose confidence is under ``least``, renumbered."""
    kept = [r for r in records if r.confidence is None or r.confidence >= least]
    if len(kept) == len(records):
        return instances, records
    lookup = np.zeros(int(instances.max(initial=0)) + 1, np.int32)
    lookup[[record.lesion_id for record in kept]] = np.arange(1, len(kept) + 1)  # by size still
    renumbered = [replace(r, lesion_id=n) for n, r in enumerate(kept, start=1)]
    return lookup[instances], renumbered


def _confident_components(
    mask: np.ndarray, lesion: np.ndarray, voxel_mm3: float, fitted: LesionConfidence, least: float
) -> np.ndarray:
    """The mask without the components whose confidence is under ``least``."""
    labels = label_components(mask)
    voxels, sums = np.bincount(labels.ravel()), np.bincount(labels.ravel(), lesion.ravel())
    sure = [fitted.of(s / n, n * voxel_mm3) >= least for s, n in zip(sums[1:], voxels[1:], strict=True)]
    return np.array([False, *sure])[labels]


def _case_data(
    subject: str,
    scan: Scan,
    lesion: np.ndarray,
    instances: np.ndarray,
    records: list[LesionRecord],
    sidecar: dict[str, Any],
) -> CaseData:
    """The case as it is written: arrays in the order of the FLAIR's file, and the picture."""
    types = type_map(instances, {record.lesion_id: record.type for record in records})
    picture = qc_montage(scan.array, types, instances, scan.spacing, title=subject)
    types, instances, lesion = map(scan.orientation.restore, (types, instances, lesion))
    return CaseData(subject, types, instances, lesion, records, sidecar, picture)


def _sidecar(
    settings: dict[str, Any],
    model: Model,
    scan: Scan,
    prediction: Prediction,
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
        "device": {"name": model.device.name, "precision": model.device.precision, "notes": prediction.notes},
        "seconds": scan.seconds,
        "warnings": scan.warnings,
        "scan_type": kind.label if kind else None,
        "reviewed": False,
        "brain_ml": round(float(prediction.brain.sum() * np.prod(scan.spacing)) / 1000, 1),
    }
