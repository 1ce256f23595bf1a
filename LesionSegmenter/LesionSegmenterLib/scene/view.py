"""Lesions shown by one MRML node: a segmentation with one shared labelmap, or a label volume for very many.

Both show the lesions of a `LesionMap` and hold nothing of their own: the label of a voxel is its lesion's id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import slicer
import slicer.util
import vtk

from ..errors import InputError
from ..labels import LesionType
from ..lesions import Change, LesionMap, LesionRecord
from .grid import Grid, Labelled, array_of, grid_of_labelmap, labelled, same_grid
from .io import BINARY, FLAIR_ROLE, detach, segment_layers, stated_type
from .tags import (
    RECORDS,
    Colouring,
    colour,
    lesion_id_of,
    record_text,
    segment_id,
    segment_name,
    tags,
    terminology,
)
from .watch import PaintWatch

SURFACE = "Closed surface"
DIMMED = 0.25  # of a lesion's full opacity, while others are emphasised
SEE_THROUGH = 0.4  # of its fill's, while it is emphasised: the outline stands out and the FLAIR is seen
_OUTLINE, _EMPHASISED_OUTLINE = 1, 3  # pixels
_MOST_COLOURS, _SPARE_COLOURS = 1_000_000, 256  # of a colour table; spare ones for splits


class View(Protocol):
    """What the scene asks of either kind of view."""

    node: Any

    def show_all(self, lesions: LesionMap, colouring: Colouring, pending: Change | None = None) -> None:
        """Show these lesions, as a pending change will leave them, in place of whatever the node showed."""

    def show(
        self, lesions: LesionMap, ids: Iterable[int], index: tuple[Any, ...], colouring: Colouring
    ) -> None:
        """Bring some lesions and the voxels of an (i, j, k) index up to date, in one batch."""

    def emphasise(self, lesions: LesionMap, ids: set[int] | None) -> None:
        """Outline these lesions and dim all others; None for neither."""

    def is_untouched(self, lesions: LesionMap) -> bool:
        """Whether the node shows the lesions and nobody has painted; False also where that is not known."""

    def painted(self, lesions: LesionMap) -> tuple[list[Labelled], dict[int, LesionType]]:
        """What the node shows by now, on the lesions' grid, a label being a lesion's id.

        Labels that are no lesion's are of what a user added; types are given for those that state one.
        """


class SegmentationView:
    """One segment a lesion, all on one labelmap of the FLAIR's full grid."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self._watch = PaintWatch()
        self._emphasised: set[int] | None = None
        _empty_before_removal(node)

    @classmethod
    def create(cls, flair: Any, name: str) -> SegmentationView:
        """A view on a new node, in the FLAIR's geometry; `show_all` fills it."""
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(flair)
        return cls(node)

    @property
    def _segments(self) -> Any:
        return self.node.GetSegmentation()

    def show_all(self, lesions: LesionMap, colouring: Colouring, pending: Change | None = None) -> None:
        image = _labelmap(lesions, pending)
        records = _records(lesions, pending)
        with _batch(self.node):
            self._segments.SetSourceRepresentationName(BINARY)
            for name in self._segments.GetSegmentIDs():
                if lesion_id_of(name) not in records:
                    self._remove(name)
            for record in records.values():  # segments stay: one of them is selected in the Segment Editor
                self._show_record(record, image, colouring)
        self._watch.showed(image, pending is not None)
        self._show_opacities(lesions, lesions.records)

    def show(
        self, lesions: LesionMap, ids: Iterable[int], index: tuple[Any, ...], colouring: Colouring
    ) -> None:
        ids = list(ids)
        image = self._shared_labelmap(lesions)
        if image is None:  # the Segment Editor has split or cropped it
            self.show_all(lesions, colouring)
            return
        is_ours = self._watch.saw(image)
        with _batch(self.node):
            array_of(image)[index] = lesions.ids[index]
            # Not image.Modified(): the segmentation observes that and drops the surfaces of all its segments.
            image.GetPointData().GetScalars().Modified()
            for lesion_id in ids:
                if lesion_id in lesions.records:
                    self._show_record(lesions.records[lesion_id], image, colouring)
                else:
                    self._remove(segment_id(lesion_id))
        if is_ours:
            self._watch.showed(image)
        self._show_opacities(lesions, ids)

    def emphasise(self, lesions: LesionMap, ids: set[int] | None) -> None:
        before, self._emphasised = self._emphasised, ids
        if before is None or ids is None:
            self._show_opacities(lesions, lesions.records)
        else:
            self._show_opacities(lesions, before ^ ids)

    def is_untouched(self, lesions: LesionMap) -> bool:
        image = self._shared_labelmap(lesions)
        shown = {lesion_id_of(name) for name in self._segments.GetSegmentIDs()}
        return image is not None and self._watch.is_settled(image) and shown == lesions.records.keys()

    def painted(self, lesions: LesionMap) -> tuple[list[Labelled], dict[int, LesionType]]:
        numbers: dict[str, int] = {}
        types: dict[int, LesionType] = {}
        for name in self._segments.GetSegmentIDs():
            lesion_id = lesion_id_of(name)
            if lesion_id not in lesions.records:
                lesion_id = lesions.next_id + len(types)
                types[lesion_id] = stated_type(self._segments.GetSegment(name))
            numbers[name] = lesion_id
        return segment_layers(self.node, Grid(lesions.shape, lesions.affine), numbers)[0], types

    def _shared_labelmap(self, lesions: LesionMap) -> Any:
        """The one labelmap of all segments, or None where it is not as `show_all` made it."""
        segments = self._segments
        if segments.GetNumberOfLayers(BINARY) != 1:
            return None
        image = segments.GetLayerDataObject(0, BINARY)
        grid = grid_of_labelmap(image)
        in_place = same_grid(grid, Grid(lesions.shape, lesions.affine))
        if not in_place or image.GetScalarType() != vtk.VTK_INT:
            return None
        names = segments.GetSegmentIDs()
        labels_kept = all(segments.GetSegment(name).GetLabelValue() == lesion_id_of(name) for name in names)
        return image if labels_kept else None

    def _show_record(self, record: LesionRecord, image: Any, colouring: Colouring) -> None:
        """One lesion's segment, made where there is none: name, colour, tags; its old surface goes."""
        name = segment_id(record.lesion_id)
        segment = self._segments.GetSegment(name)
        is_new = segment is None
        if is_new:
            segment = slicer.vtkSegment()
            segment.SetNameAutoGenerated(False)
            segment.SetColorAutoGenerated(False)
        if segment.GetRepresentation(BINARY) is not image:
            segment.SetLabelValue(record.lesion_id)
            segment.AddRepresentation(BINARY, image)
        segment.SetName(segment_name(record))
        segment.SetColor(*colour(record, colouring))
        segment.SetTag(segment.GetTerminologyEntryTagName(), terminology(record.type))
        for tag, value in tags(record).items():
            segment.SetTag(tag, value)
        if is_new:
            self._segments.AddSegment(segment, name)
        else:
            segment.RemoveRepresentation(SURFACE)
            segment.Modified()

    def _remove(self, name: str) -> None:
        if self._segments.GetSegment(name) is not None:
            detach(self._segments, name)
            self._segments.RemoveSegment(name)

    def _show_opacities(self, lesions: LesionMap, ids: Iterable[int]) -> None:
        """Hide what is rejected, outline what is emphasised and dim what is not."""
        display = self.node.GetDisplayNode()
        with _batch(display):
            display.SetSliceIntersectionThickness(_EMPHASISED_OUTLINE if self._emphasised else _OUTLINE)
            for lesion_id in ids:
                if lesion_id in lesions.records:
                    name = segment_id(lesion_id)
                    opacity = _opacity(lesion_id, self._emphasised)
                    is_full = opacity == 1 and self._emphasised is not None
                    display.SetSegmentVisibility(name, lesions.records[lesion_id].status != "rejected")
                    display.SetSegmentOpacity2DFill(name, SEE_THROUGH if is_full else opacity)
                    display.SetSegmentOpacity2DOutline(name, opacity)
                    display.SetSegmentOpacity3D(name, opacity)


class LabelmapView:
    """A label volume with a colour table: for more lesions than a segmentation shows swiftly."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self._watch = PaintWatch()
        self._emphasised: set[int] | None = None

    @classmethod
    def create(cls, flair: Any, name: str) -> LabelmapView:
        """A view on a new node, the label layer of all slice views; `show_all` fills it."""
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", name)
        node.CreateDefaultDisplayNodes()
        colours = slicer.vtkMRMLColorTableNode()
        colours.SetName(f"{name} colours")
        colours.SetTypeToUser()
        node.GetDisplayNode().SetAndObserveColorNodeID(slicer.mrmlScene.AddNode(colours).GetID())
        node.SetNodeReferenceID(FLAIR_ROLE, flair.GetID())
        for layers in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            layers.SetLabelVolumeID(node.GetID())
        return cls(node)

    def show_all(self, lesions: LesionMap, colouring: Colouring, pending: Change | None = None) -> None:
        image = vtk.vtkImageData()  # a volume node keeps the geometry, not its image
        image.SetDimensions(*lesions.shape)
        image.GetPointData().SetScalars(_labelmap(lesions, pending).GetPointData().GetScalars())
        with _batch(self.node):
            self.node.SetIJKToRASMatrix(_to_matrix(lesions.affine))
            self.node.SetAndObserveImageData(image)
        self._watch.showed(image, pending is not None)
        self._show_records(_records(lesions, pending), None, colouring)

    def show(
        self, lesions: LesionMap, ids: Iterable[int], index: tuple[Any, ...], colouring: Colouring
    ) -> None:
        image = self.node.GetImageData()
        is_ours = self._watch.saw(image)
        if index[0].size:
            array_of(image)[index] = lesions.ids[index]
            image.GetPointData().GetScalars().Modified()
            image.Modified()
        if is_ours:
            self._watch.showed(image)
        self._show_records(lesions.records, ids, colouring)

    def emphasise(self, lesions: LesionMap, ids: set[int] | None) -> None:
        self._emphasised = ids
        colours = self.node.GetDisplayNode().GetColorNode()
        with _batch(colours):
            for lesion_id, record in lesions.records.items():
                colours.SetOpacity(lesion_id, self._alpha(record))

    def is_untouched(self, lesions: LesionMap) -> bool:
        return self._watch.is_settled(self.node.GetImageData())

    def painted(self, lesions: LesionMap) -> tuple[list[Labelled], dict[int, LesionType]]:
        grid = Grid(lesions.shape, lesions.affine)
        return [labelled(array_of(self.node.GetImageData()), grid, grid, self.node.GetName())[0]], {}

    def _show_records(
        self, records: Mapping[int, LesionRecord], ids: Iterable[int] | None, colouring: Colouring
    ) -> None:
        """Entries of the colour table, None for all, and the records as the attribute that a scene keeps."""
        colours = self.node.GetDisplayNode().GetColorNode()
        needed = max(records, default=0) + 1
        if needed > _MOST_COLOURS:
            raise InputError(
                f"lesion id {needed - 1} is too high for a colour table", todo="Renumber the lesions"
            )
        with _batch(colours):
            if needed > colours.GetNumberOfColors() or ids is None:
                ids = records
                size = needed + _SPARE_COLOURS
                colours.SetNumberOfColors(size)
                colours.GetLookupTable().SetTableRange(0, size - 1)
                for free in set(range(size)) - records.keys():
                    colours.SetColor(free, "none", 0, 0, 0, 0)
            for lesion_id in ids:
                record = records.get(lesion_id)
                if record is None:
                    colours.SetColor(lesion_id, "none", 0, 0, 0, 0)
                else:
                    rgb = colour(record, colouring)
                    colours.SetColor(lesion_id, segment_name(record), *rgb, self._alpha(record))
        self.node.SetAttribute(RECORDS, json.dumps([record_text(record) for record in records.values()]))

    def _alpha(self, record: LesionRecord) -> float:
        return 0.0 if record.status == "rejected" else _opacity(record.lesion_id, self._emphasised)


def _opacity(lesion_id: int, emphasised: set[int] | None) -> float:
    return 1.0 if emphasised is None or lesion_id in emphasised else DIMMED


def _records(lesions: LesionMap, pending: Change | None) -> dict[int, LesionRecord]:
    """The lesions' records as a pending change will leave them."""
    after = {**lesions.records, **(pending.records_after if pending else {})}
    return {lesion_id: record for lesion_id, record in sorted(after.items()) if record is not None}


def _labelmap(lesions: LesionMap, pending: Change | None) -> Any:
    """The lesions' ids, as a pending change will leave them, as an image of int32 on their full grid."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*lesions.shape)
    image.SetGeometryFromImageToWorldMatrix(_to_matrix(lesions.affine))
    image.AllocateScalars(vtk.VTK_INT, 1)
    values = array_of(image)
    values[:] = lesions.ids
    if pending is not None:
        values[pending.index] = pending.after
    return image


def _to_matrix(affine: npt.NDArray[np.float64]) -> Any:
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(affine.ravel().tolist())
    return matrix


def _empty_before_removal(node: Any) -> None:
    """Detach a node's segments when it is deleted or the scene closed, by us or by the user.

    The observers keep neither node nor scene alive: they know the node by its id.
    """
    own_id = node.GetID()
    observers: list[int] = []

    def leave(scene: Any, node: Any) -> None:
        detach(node.GetSegmentation())
        for observer in observers if scene is not None else ():  # None: the scene itself is going
            scene.RemoveObserver(observer)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def removing(scene: Any, _: str, removed: Any) -> None:
        if removed.GetID() == own_id:
            leave(scene, removed)

    def closing(scene: Any, _: str) -> None:
        if scene is not None:
            leave(scene, scene.GetNodeByID(own_id))

    scene = node.GetScene()
    observers += [
        scene.AddObserver(scene.NodeAboutToBeRemovedEvent, removing),
        scene.AddObserver(scene.StartCloseEvent, closing),
    ]


@contextmanager
def _batch(node: Any) -> Iterator[None]:
    """One Modified event of a node, at the end, however much is done to it."""
    was = node.StartModify()
    try:
        yield
    finally:
        node.EndModify(was)
