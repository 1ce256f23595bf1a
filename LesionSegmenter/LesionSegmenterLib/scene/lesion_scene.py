"""The lesions of a review in Slicer's scene: shown, kept up to date, painted on, found again in a saved one.

The `LesionMap` is the master and the node its view: whoever changes the map pushes the change, and what a
user paints is read back as a change to be made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
import slicer.util

from ..edits.planning import change_of_voxels, new_ids, points_mm
from ..errors import InputError
from ..labels import LesionType
from ..lesions import Change, LesionMap, LesionRecord, Voxels
from .grid import Labelled, flair_grid
from .io import reopen
from .nodes import node_of_case
from .tags import COLOURING, JOURNAL, NEXT_ID, POSITION, Colouring
from .view import LabelmapView, SegmentationView, View

MOST_SEGMENTS = 500  # a segmentation of more is slow to draw and to list
_VIEWS: dict[str, Callable[[Any], View]] = {
    "vtkMRMLSegmentationNode": SegmentationView,
    "vtkMRMLLabelMapVolumeNode": LabelmapView,
}


class LesionScene:
    """One case in the scene. Make one with `show`, or find a saved one with `restore`.

    lesions : the map that is shown, changed by others; `push` every change of it.
    flair : volume node.
    node : the segmentation node, or the label volume node where there are more than `MOST_SEGMENTS` lesions.
    """

    def __init__(self, lesions: LesionMap, flair: Any, view: View) -> None:
        self.lesions, self.flair, self._view = lesions, flair, view

    @classmethod
    def show(
        cls, lesions: LesionMap, flair: Any, name: str = "Lesions", colouring: Colouring = "type"
    ) -> LesionScene:
        """Show lesions in a new node, all in one go.

        Raises InputError where the FLAIR stands under a transform or is not on the lesions' grid.
        """
        grid = flair_grid(flair)
        if grid.shape != lesions.shape or not np.allclose(grid.affine, lesions.affine, rtol=0, atol=1e-3):
            raise InputError(
                "the lesions are not on this FLAIR's grid", flair.GetName(), "Choose their FLAIR"
            )
        few = len(lesions.records) <= MOST_SEGMENTS
        view = SegmentationView.create(flair, name) if few else LabelmapView.create(flair, name)
        scene = cls(lesions, flair, view)
        scene.colour_by(colouring)
        return scene

    @classmethod
    def restore(cls) -> tuple[LesionScene, tuple[str, ...]] | None:
        """The case of a scene that was loaded, on the nodes it has, and warnings; None where it has none.

        Its lesions are those that were shown when the scene was saved; a journal may know more.

        Raises InputError where the FLAIR is missing or the records are damaged.
        """
        node = node_of_case()
        if node is None:
            return None
        opened = reopen(node)
        scene = cls(opened.lesions, opened.flair, _VIEWS[node.GetClassName()](node))
        scene.refresh()
        return scene, opened.warnings

    def showing(self, lesions: LesionMap) -> LesionScene:
        """The same node as the view of another map of the case; what it shows otherwise counts as painted."""
        return LesionScene(lesions, self.flair, _VIEWS[self.node.GetClassName()](self.node))

    @property
    def node(self) -> Any:
        """The node that shows the lesions."""
        return self._view.node

    @property
    def colouring(self) -> Colouring:
        """By what the lesions are coloured."""
        return "lesion" if self.node.GetAttribute(COLOURING) == "lesion" else "type"

    def colour_by(self, colouring: Colouring) -> None:
        """Colour the lesions by type, each in a shade of its own, or each in a colour of its own."""
        self.node.SetAttribute(COLOURING, colouring)
        self.refresh()

    def refresh(self) -> None:
        """Show all lesions anew; what was painted and not read back is gone."""
        self._view.show_all(self.lesions, self.colouring)
        self._after_showing()

    def push(self, change: Change) -> None:
        """Show what a change that was made, undone or redone did: its lesions and voxels, nothing else.

        What a user painted is to be read back before an edit is planned: a push may overwrite it.
        """
        self._view.show(self.lesions, change.records_before, change.index, self.colouring)
        self._after_showing()

    def _after_showing(self) -> None:
        self.node.SetAttribute(NEXT_ID, str(self.lesions.next_id))

    def read_back(self) -> Change | None:
        """What was painted since the last push, as one change to be made; None for nothing.

        A voxel that belongs to a lesion stays with it unless it was erased, whatever was painted over it:
        a neighbour is never eaten. Rejected lesions do yield. A segment that was added becomes a new lesion,
        of the type that its name states; one that was removed or wiped out is deleted.

        Afterwards the node has one layer again and shows the lesions as the change will leave them, so that
        nothing painted is lost should it not be made: this then gives it once more.
        """
        if self._view.is_untouched(self.lesions):
            return None
        layers, types = self._view.painted(self.lesions)
        voxels, labels = _owners(self.lesions, layers)
        added = sorted(set(np.unique(labels).tolist()) - {0} - self.lesions.records.keys())
        given = dict(zip(added, new_ids(self.lesions, len(added)) if added else (), strict=True))
        after = labels.copy()
        for label, lesion_id in given.items():
            after[labels == label] = lesion_id
        change = None
        if not np.array_equal(after, self.lesions.ids[np.unravel_index(voxels, self.lesions.shape)]):
            heirs = {new: _new_record(new, types.get(label)) for label, new in given.items()}
            change = change_of_voxels(self.lesions, voxels, after, heirs)
        self._view.show_all(self.lesions, self.colouring, change)
        return change

    def emphasise(self, ids: Iterable[int] | None) -> None:
        """Outline these lesions and dim every other; None for neither."""
        self._view.emphasise(self.lesions, None if ids is None else set(ids))

    def leave(self) -> None:
        """Take the lesions out of all views; their node stays in the scene, but `restore` prefers others."""
        for name in (JOURNAL, POSITION):
            self.node.RemoveAttribute(name)
        self.node.GetDisplayNode().SetVisibility(False)
        for layers in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            if layers.GetLabelVolumeID() == self.node.GetID():
                layers.SetLabelVolumeID(None)

    def jump_to(self, lesion_id: int) -> None:
        """Move every slice view to a lesion and centre it there.

        The place is its centroid, or where that lies outside of it, its voxel that is nearest.

        Raises InputError for an unknown lesion.
        """
        if lesion_id not in self.lesions.records:
            raise InputError(f"there is no lesion {lesion_id}", todo="Choose one of the table")
        place = self._place(lesion_id)
        for view in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
            view.JumpSliceByCentering(*place)

    def lesion_at(self, place: tuple[float, float, float]) -> int | None:
        """The lesion that is shown at a place, RAS mm; None outside of all and of the volume."""
        index = np.rint(np.linalg.inv(self.lesions.affine) @ [*place, 1])[:3].astype(int)
        if (index < 0).any() or (index >= self.lesions.shape).any():
            return None
        lesion_id = int(self.lesions.ids[tuple(index)])
        is_shown = lesion_id > 0 and self.lesions.records[lesion_id].status != "rejected"
        return lesion_id if is_shown else None

    @property
    def journal(self) -> tuple[Path, int] | None:
        """The journal of the review and how far it reached when `remember_journal` was called last."""
        path, position = self.node.GetAttribute(JOURNAL), self.node.GetAttribute(POSITION)
        return (Path(path), int(position)) if path and position else None

    def remember_journal(self, path: Path, position: int) -> None:
        """Keep a journal's path and position with the node, so that a saved scene has them."""
        self.node.SetAttribute(JOURNAL, str(path))
        self.node.SetAttribute(POSITION, str(position))

    def _place(self, lesion_id: int) -> tuple[float, float, float]:
        """A point of a lesion, RAS mm, as near to its centroid as can be."""
        centroid = np.array(self.lesions.records[lesion_id].centroid_ras_mm)
        index = np.linalg.inv(self.lesions.affine) @ [*centroid, 1]
        i, j, k = np.clip(np.rint(index[:3]).astype(int), 0, np.array(self.lesions.shape) - 1)
        voxels = self.lesions.voxels(lesion_id)
        if voxels.size and self.lesions.ids[i, j, k] != lesion_id:
            points = points_mm(self.lesions, voxels)
            centroid = points[((points - centroid) ** 2).sum(axis=1).argmin()]
        r, a, s = centroid.tolist()
        return r, a, s


def _owners(lesions: LesionMap, layers: list[Labelled]) -> tuple[Voxels, npt.NDArray[np.int64]]:
    """Every voxel that has a lesion or was painted, and whose it is to be, 0 for nobody's.

    The owner keeps what it or anyone else claims, unless it is rejected; what nobody claims was erased.
    """
    own = (lesions.voxels(lesion_id) for lesion_id in lesions.records)
    painted = (layer.voxels for layer in layers)
    voxels = np.unique(np.concatenate([np.zeros(0, np.int64), *own, *painted]))
    owner = lesions.ids[np.unravel_index(voxels, lesions.shape)].astype(np.int64)
    kept, other = np.zeros(voxels.size, bool), np.zeros(voxels.size, np.int64)
    for layer in layers:
        at = np.searchsorted(voxels, layer.voxels)
        same = layer.labels == owner[at]
        kept[at[same]] = True
        first = ~same & (other[at] == 0)
        other[at[first]] = layer.labels[first]
    rejected = [lesion_id for lesion_id, r in lesions.records.items() if r.status == "rejected"]
    taken = (other > 0) & ((owner == 0) | np.isin(owner, rejected))
    return voxels, np.where(taken, other, np.where(kept | (other > 0), owner, 0))


def _new_record(lesion_id: int, lesion_type: LesionType | None) -> LesionRecord:
    """A painted lesion, yet to be measured."""
    return LesionRecord(
        lesion_id, lesion_type or LesionType.LESION, 0.0, 0, (0.0, 0.0, 0.0), 0.0, status="edited"
    )
