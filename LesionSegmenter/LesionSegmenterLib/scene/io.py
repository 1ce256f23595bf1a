"""Opening lesions in Slicer: a case folder, a label image, a .seg.nrrd, or a segmentation of the scene."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import slicer
import vtk

from ..errors import InputError
from ..export import read_case
from ..instances.components import label_components
from ..labels import LesionType
from ..lesions import LesionMap, LesionRecord
from ..measure import measure_lesions
from ..rater_copy import read_review
from .files import check_file, load_flair, read_labels, read_probability
from .grid import (
    Grid,
    Labelled,
    array_of,
    flair_grid,
    grid_of_labelmap,
    grid_of_volume,
    in_world,
    label_image,
    labelled,
)
from .tags import NEXT_ID, RECORD_TAG, RECORDS, TYPE_TAG, lesion_id_of, record_of

_TABLE_MM = 0.01  # how exactly a case's table states a centroid
BINARY = "Binary labelmap"
FLAIR_ROLE = "LesionSegmenterFlair"
"""Node reference of a label volume to its FLAIR; a segmentation has Slicer's own."""

Holds = Literal["lesions", "types"]
"""What the labels of an image or the segments of a segmentation stand for: lesions, or types of lesion, whose
connected components (26 neighbours) then are the lesions."""


@dataclass(frozen=True, eq=False)
class Opened:
    """Lesions on the grid of the FLAIR's node, that node, and what was assumed or mended, a line each."""

    lesions: LesionMap
    flair: Any
    warnings: tuple[str, ...]


def open_case(folder: str | Path, subject: str | None = None, flair: Any = None) -> Opened:
    """Open a case folder; ``subject`` may be left out where it holds one case.

    flair : its FLAIR's node where that is in the scene; otherwise the file that the case names is loaded.

    Raises InputError for a case that is incomplete or damaged, whose FLAIR has moved, or whose files do not
    fit each other.
    """
    case = read_case(folder, subject)
    if flair is None:
        if not case.flair.is_file():
            raise InputError(
                "the FLAIR of this case has moved", case.flair, "Load it and choose it as the FLAIR"
            )
        flair = load_flair(case.flair)
    target = flair_grid(flair)
    ids, warnings = read_labels(case.paths["instances"], target)
    probability = read_probability(case.paths["probability"], target) if "probability" in case.paths else None
    return Opened(read_review(case, ids, target.affine, probability), flair, tuple(warnings))


def open_labels(path: str | Path, flair: Any, holds: Holds) -> Opened:
    """Open a label image (NIfTI, NRRD, ...) over a FLAIR's node, at its world positions.

    With ``types`` the labels are those of `LesionType`; with ``lesions`` any ids, also above int16.

    Raises InputError for a file that cannot be read, values that are not whole, negative or above int32, an
    unknown type, or labels that all lie outside of the FLAIR.
    """
    path = Path(path)
    target = flair_grid(flair)
    values, warnings = read_labels(path, target)
    known = {lesion_type.value: lesion_type for lesion_type in LesionType}
    if holds == "types":
        unknown = sorted(set(np.unique(values[values > 0]).tolist()) - known.keys())
        if unknown:
            raise InputError(
                f"this image holds the label {unknown[0]}, which is no lesion type",
                path,
                "Open it as an image of lesions, one label each",
            )
    ids, types = _lesions_of(values, known if holds == "types" else {}, holds)
    lesions = LesionMap.from_arrays(ids, target.affine, measure_lesions(ids, target.affine, types=types))
    return Opened(lesions, flair, tuple(warnings))


def open_segmentation_file(path: str | Path, flair: Any, holds: Holds = "lesions") -> Opened:
    """Open a .seg.nrrd over a FLAIR's node; as `open_segmentation`. The scene gets no node of it."""
    path = Path(path)
    check_file(path, "segmentation")
    node, storage = slicer.vtkMRMLSegmentationNode(), slicer.vtkMRMLSegmentationStorageNode()
    node.SetName(path.name)
    storage.SetFileName(str(path))
    if not storage.ReadData(node) or not node.GetSegmentation().GetNumberOfSegments():
        raise InputError("Slicer finds no segmentation in this file", path, "Choose a .seg.nrrd file")
    try:
        return open_segmentation(node, flair, holds)
    finally:
        detach(node.GetSegmentation())


def open_segmentation(node: Any, flair: Any, holds: Holds = "lesions") -> Opened:
    """The lesions of a segmentation node, which is left as it is.

    Segments of ours (L0001 and a record among their tags) keep id and record; where their voxels are no
    longer those of the record, they are measured again. Others get the ids that are free, and the type that
    their name states, if it does. An overlap stays with the segment that comes first; empty segments are
    left out, except those of rejected lesions.

    Raises InputError for a segmentation without labelmaps, under a transform that is not linear, or that lies
    outside of the FLAIR altogether.
    """
    target = flair_grid(flair)
    segments = node.GetSegmentation()
    names = [segments.GetNthSegmentID(n) for n in range(segments.GetNumberOfSegments())]
    records = {name: record for name in names if (record := stated_record(segments.GetSegment(name)))}
    numbers = _numbers(names, records)
    layers, warnings = segment_layers(node, target, numbers)
    values, overlap = label_image(target, layers)
    if overlap:
        warnings.append(f"{overlap} voxels lie in two segments: they stay with the first of the two")
    types = {numbers[name]: stated_type(segments.GetSegment(name)) for name in names}
    if holds == "types":
        values, types = _lesions_of(values, types, holds)
        records = {}
    measured = {r.lesion_id: r for r in measure_lesions(values, target.affine, types=types)}
    kept, words = _reconciled(measured, records.values())
    if holds == "lesions":
        dropped = len(names) - len(kept)
        words += [f"{dropped} segments without voxels of their own: left out"] if dropped else []
    next_id = int(node.GetAttribute(NEXT_ID) or 1)
    lesions = LesionMap.from_arrays(values, target.affine, kept, next_id)
    return Opened(lesions, flair, (*warnings, *words))


def reopen(node: Any) -> Opened:
    """The lesions of a node that `scene` made, in a scene that was saved and loaded again.

    Raises InputError where its FLAIR is missing or its records are damaged.
    """
    is_segmentation = node.IsA("vtkMRMLSegmentationNode")
    role = node.GetReferenceImageGeometryReferenceRole() if is_segmentation else FLAIR_ROLE
    flair = node.GetNodeReference(role)
    if flair is None:
        raise InputError("the scene has no FLAIR for these lesions", node.GetName(), "Open the case folder")
    if is_segmentation:
        return open_segmentation(node, flair)
    target = flair_grid(flair)
    labels, warnings = labelled(array_of(node.GetImageData()), grid_of_volume(node), target, node.GetName())
    values, _ = label_image(target, [labels])
    try:
        records = [record_of(text) for text in json.loads(node.GetAttribute(RECORDS) or "")]
    except ValueError as error:
        raise InputError("the lesion records are damaged", node.GetName(), "Open the case folder") from error
    measured = {record.lesion_id: record for record in measure_lesions(values, target.affine)}
    kept, words = _reconciled(measured, records)
    lesions = LesionMap.from_arrays(values, target.affine, kept, int(node.GetAttribute(NEXT_ID) or 1))
    return Opened(lesions, flair, (*warnings, *words))


def segment_layers(node: Any, target: Grid, numbers: Mapping[str, int]) -> tuple[list[Labelled], list[str]]:
    """The labelmap layers of a segmentation on another grid, with numbers for segments; warnings as well."""
    segments = node.GetSegmentation()
    if segments.GetNumberOfSegments() and not segments.ContainsRepresentation(BINARY):
        raise InputError(
            "this segmentation has no labelmaps",
            node.GetName(),
            "Create its binary labelmap representation (Segmentations module)",
        )
    layers, warnings = [], []
    for n in range(segments.GetNumberOfLayers(BINARY)):
        image = segments.GetLayerDataObject(n, BINARY)
        if image is None or min(image.GetDimensions()) < 1 or image.GetPointData().GetScalars() is None:
            continue  # all its segments are empty
        values = {
            segments.GetSegment(name).GetLabelValue(): numbers[name]
            for name in segments.GetSegmentIDsForLayer(n, BINARY)
        }
        grid, words = in_world(node, grid_of_labelmap(image))
        found, more = labelled(array_of(image), grid, target, node.GetName() or "the segmentation")
        layers.append(_renamed(found, values))
        warnings += [word for word in (*words, *more) if word not in warnings]
    return layers, warnings


def detach(segments: Any, *names: str) -> None:
    """Take the labelmap away from some segments, or all, that are about to be removed.

    For each segment that it removes, Slicer searches the whole shared labelmap for its voxels: 200 segments
    of 512x512x192 voxels take most of a minute.
    """
    for name in names or segments.GetSegmentIDs():
        segments.GetSegment(name).RemoveRepresentation(BINARY)


def stated_record(segment: Any) -> LesionRecord | None:
    """The record among a segment's tags; None where there is none."""
    text = vtk.reference("")
    return record_of(str(text)) if segment.GetTag(RECORD_TAG, text) else None


def stated_type(segment: Any) -> LesionType:
    """The lesion type that a segment's tag or name states; `LesionType.LESION` where neither does."""
    text = vtk.reference("")
    stated = str(text) if segment.GetTag(TYPE_TAG, text) else segment.GetName()
    try:
        return LesionType.from_label(stated or "")
    except ValueError:
        return LesionType.LESION


def _numbers(names: Sequence[str], records: Mapping[str, LesionRecord]) -> dict[str, int]:
    """A lesion id for every segment: its own where its name or record has one, else those that are free."""
    own: dict[str, int] = {}
    for name in names:
        stated = records[name].lesion_id if name in records else lesion_id_of(name)
        if stated and stated not in own.values():
            own[name] = stated
    free = iter(set(range(1, len(names) + 1 + len(own))) - set(own.values()))
    return {name: own.get(name) or next(free) for name in names}


def _renamed(found: Labelled, numbers: Mapping[int, int]) -> Labelled:
    """Labels replaced by numbers; voxels of other labels (of segments that were removed) left out."""
    labels, inverse = np.unique(found.labels, return_inverse=True)
    new = np.array([numbers.get(label, 0) for label in labels.tolist()], np.int64)[inverse]
    return Labelled(found.voxels[new > 0], new[new > 0])


def _lesions_of(
    values: npt.NDArray[np.int32], types: Mapping[int, LesionType], holds: Holds
) -> tuple[npt.NDArray[np.int32], dict[int, LesionType]]:
    """Ids and their types: the values as they are, or the components of each."""
    if holds == "lesions":
        return values, dict(types)
    ids = np.zeros(values.shape[::-1], np.int32).T
    found: dict[int, LesionType] = {}
    for value, lesion_type in sorted(types.items()):
        parts = label_components(values == value)
        ids[parts > 0] = parts[parts > 0] + len(found)
        found |= dict.fromkeys(range(len(found) + 1, len(found) + int(parts.max(initial=0)) + 1), lesion_type)
    return ids, found


def _reconciled(
    measured: dict[int, LesionRecord], stated: Iterable[LesionRecord]
) -> tuple[list[LesionRecord], list[str]]:
    """Stated records where they fit what was measured, mended ones where not, and a word on those."""
    kept, mended = dict(measured), []
    for record in stated:
        now = measured.get(record.lesion_id)
        if now is None:
            if record.status == "rejected":
                kept[record.lesion_id] = record
        elif now.voxels == record.voxels and np.allclose(
            now.centroid_ras_mm, record.centroid_ras_mm, rtol=0, atol=_TABLE_MM
        ):
            kept[record.lesion_id] = record
        else:
            mended.append(record.lesion_id)
            measures = ("volume_mm3", "voxels", "centroid_ras_mm", "max_diameter_mm")
            kept[record.lesion_id] = replace(record, **{name: getattr(now, name) for name in measures})
    words = (
        [f"{len(mended)} lesions no longer have the voxels of their record: measured again"] if mended else []
    )
    return list(kept.values()), words
