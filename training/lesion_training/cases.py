"""A training case: where its files lie, and how it is read, checked and put on the network's working grid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from LesionSegmenterLib.engine.preprocessing import ISOTROPIC_BELOW_MM, WorkingGrid, prepare
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.image import Volume, read_labels, read_volume, resample_onto, same_grid, to_canonical
from LesionSegmenterLib.instances import label_components
from LesionSegmenterLib.labels import LesionType

# Training targets are a recipe's classes, by default white-matter lesions (WMH or MS) and strokes:
# these differ in place and shape. WMH and MS look alike within a voxel's neighbourhood: telling those
# apart is left to the classifier of whole lesions. Besides the classes there are two marks.
BACKGROUND, DOUBTFUL, IGNORE = 0, 254, 255
TARGET_OF_TYPE = {LesionType.WMH: 1, LesionType.MS: 1, LesionType.LESION: 1, LesionType.STROKE: 2}
# What a painted person may have, and how often; and the contrast of strokes, in deviations.
PROGRAMMES = {"ms": 0.35, "wmh": 0.3, "stroke": 0.2, "wmh and stroke": 0.15}
STROKE_CONTRAST = (0.8, 4.0)
UNMARKED_BRIGHT = 1.2  # an unmarked voxel this bright may be a lesion that a partial truth leaves out


@dataclass(frozen=True)
class CaseEntry:
    """Where a case's files lie and what they mean; a row of a listing.

    image, mask, t1, instances : the FLAIR, its lesions, and where there are any a T1 and lesion ids.
    type : of the lesions where the mask does not type them; ``typed`` gives the types of a mask that does.
    lesion_values, doubtful_values, ventricle_values : values of the mask that mean lesion, that experts call
        normal though bright (half weight), and that mark the ventricles.
    unreviewed, rejected : lesion ids that nobody has looked at (not counted in the loss) and that somebody
        took back (background).
    marked : types that the mask marks where they occur, empty for all; ``complete`` says whether it marks
        every lesion of those.
    weight : how often the case is drawn; ``painted`` how many variants with painted lesions are made of it.
    split : train, validation, test, or empty to be drawn.
    """

    case: str
    patient: str
    split: str
    image: Path
    mask: Path | None
    type: LesionType
    dataset: str
    lesion_values: tuple[int, ...] = ()
    doubtful_values: tuple[int, ...] = ()
    ventricle_values: tuple[int, ...] = ()
    whole_head: bool = False
    complete: bool = True
    weight: float = 1.0
    painted: int = 0
    typed: Mapping[int, LesionType] = field(default_factory=dict)
    t1: Path | None = None
    instances: Path | None = None
    marked: tuple[LesionType, ...] = ()
    unreviewed: tuple[int, ...] = ()
    rejected: tuple[int, ...] = ()

    def type_of(self, value: int) -> LesionType:
        """The lesion type of a value of the mask."""
        return self.typed.get(value, self.type)


@dataclass(frozen=True)
class Preparation:
    """What a recipe wants of its cases.

    classes : the target of each lesion type; lesions of other types are left out of the loss.
    t1 : whether a T1 is read too; ``instances``, whether lesion ids are.
    keep_slices : whether thick slices stay as they are (2D networks) or become 1 mm too (3D ones).
    doubtful : the mark of what experts call normal though bright: DOUBTFUL, or IGNORE.
    least_contrast : of painted WMH and MS lesions, as a multiple of the cortex's above white matter.
    programmes, stroke_contrast : what a painted person has how often, and how bright strokes are painted.
    """

    classes: Mapping[LesionType, int] = field(default_factory=lambda: dict(TARGET_OF_TYPE))
    t1: bool = False
    instances: bool = False
    keep_slices: bool = True
    doubtful: int = DOUBTFUL
    least_contrast: float = 0.0
    programmes: Mapping[str, float] = field(default_factory=lambda: dict(PROGRAMMES))
    stroke_contrast: tuple[float, float] = STROKE_CONTRAST


@dataclass(eq=False)
class PreparedCase:
    """A case on the working grid; arrays are (i, j, k) in RAS axis order.

    image, t1 : normalised intensities, floating.
    target : uint8 classes, DOUBTFUL and IGNORE.
    instances : integer lesion ids, where the recipe wants them.
    type : of lesions that nobody typed.
    marked : types that the truth marks, empty for all.
    unmarked : classes that the truth does not mark and that no marked type shares.
    """

    name: str
    patient: str
    image: np.ndarray
    target: np.ndarray
    spacing: tuple[float, float, float]
    slice_axis: int
    whole_head: bool
    weight: float
    complete: bool = True
    type: LesionType = LesionType.LESION
    ventricles: np.ndarray | None = field(default=None, repr=False)
    t1: np.ndarray | None = field(default=None, repr=False)
    instances: np.ndarray | None = field(default=None, repr=False)
    marked: tuple[LesionType, ...] = ()
    unmarked: tuple[int, ...] = ()
    dataset: str = ""

    @property
    def isotropic(self) -> bool:
        return max(self.spacing) < ISOTROPIC_BELOW_MM

    @property
    def grid(self) -> WorkingGrid:
        """The working grid by itself, as if the image had been given on it."""
        shape = self.image.shape
        box = tuple((0, n) for n in shape)
        return WorkingGrid(shape, box, shape, self.spacing, self.slice_axis)  # type: ignore[arg-type]


def is_lesion(target: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The voxels of a target that hold a class of lesion."""
    return (target > BACKGROUND) & (target < DOUBTFUL)


def prepare_case(
    entry: CaseEntry, preparation: Preparation | None = None, warn: Callable[[str], None] = lambda _: None
) -> PreparedCase:
    """Read a case and put it on the working grid.

    ``warn`` gets a line for what had to be mended on reading. InputError, naming the file, for one that
    cannot be read, for a mask or ids on another grid, a value outside the label map, or a T1 that the recipe
    wants and the case lacks.
    """
    wanted = preparation or Preparation()
    volume = read_volume(entry.image)
    for warning in volume.warnings:
        warn(f"{entry.image}: {warning}")
    array, affine, orientation = to_canonical(volume.array, volume.affine)
    others = [orientation.apply(_t1(entry, volume))] if wanted.t1 else []
    try:
        images, grid, _ = prepare(
            array, tuple(np.linalg.norm(affine[:3, :3], axis=0)), *others, keep_slices=wanted.keep_slices
        )
    except InputError as error:  # it knows the array alone
        raise InputError(error.what, entry.image, error.todo) from error
    case = PreparedCase(
        entry.case,
        entry.patient,
        images[0],
        np.zeros(images[0].shape, np.uint8),
        grid.spacing,
        grid.slice_axis,
        entry.whole_head,
        entry.weight,
        entry.complete,
        type=entry.type,
        t1=images[1] if others else None,
        marked=entry.marked,
        dataset=entry.dataset,
    )
    if wanted.instances:
        case.instances = np.zeros(case.target.shape, np.int32)
    if entry.mask is not None:
        _mark_lesions(case, entry, wanted, volume, grid)
    if not entry.complete:
        case.target[(case.target == BACKGROUND) & (case.image > UNMARKED_BRIGHT)] = DOUBTFUL
    _leave_out_unmarked(case, entry, wanted.classes)
    return case


def _t1(entry: CaseEntry, volume: Volume) -> NDArray[np.float32]:
    """The T1 on the FLAIR's grid."""
    if entry.t1 is None:
        raise InputError("the recipe reads a T1 and this case has none", entry.image, "Name it in column t1")
    return resample_onto(read_volume(entry.t1, "T1"), volume)[0]


def _read_like(path: Path, what: str, volume: Volume) -> NDArray[np.int32]:
    """A label image in canonical order; InputError where it is on another grid than the volume."""
    labels = read_labels(path, what)
    if not same_grid(labels, volume):
        raise InputError(f"the {what} is on another grid than its image", path, f"Image: {volume.path}")
    return to_canonical(labels.array, labels.affine)[0]


def _mark_lesions(
    case: PreparedCase, entry: CaseEntry, wanted: Preparation, volume: Volume, grid: WorkingGrid
) -> None:
    """Set target, ventricles and instances from the case's files."""
    assert entry.mask is not None
    labels = _read_like(entry.mask, "mask", volume)
    if entry.typed and (unknown := set(np.unique(labels).tolist()) - {0, *entry.typed}):
        known = ", ".join(map(str, sorted(entry.typed)))
        raise InputError(
            f"the mask holds the value {min(unknown)}, which is no lesion type",
            entry.mask,
            f"Known here: 0 and {known}. Say in column lesion_values what its values mean",
        )
    ids = None if entry.instances is None else _read_like(entry.instances, "lesion ids", volume)
    if ids is not None and entry.rejected:
        labels = np.where(np.isin(ids, entry.rejected), 0, labels)

    def gathered(mask: NDArray[np.bool_], share: float = 0.5) -> NDArray[np.bool_]:
        return grid.gather(mask) > share

    case.target[gathered(np.isin(labels, entry.doubtful_values))] = wanted.doubtful
    by_class: dict[int, list[int]] = {}
    for value in entry.lesion_values:
        by_class.setdefault(wanted.classes.get(entry.type_of(value), IGNORE), []).append(value)
    for target, values in by_class.items():
        case.target[gathered(np.isin(labels, values))] = target
    if ids is not None and entry.unreviewed:
        # A voxel that the lesion only touches is left out as well.
        case.target[gathered(np.isin(ids, entry.unreviewed), 0.1)] = IGNORE
    if entry.ventricle_values:
        case.ventricles = gathered(np.isin(labels, entry.ventricle_values))
    if wanted.instances:
        case.instances = _instances(case.target, ids, grid)


def _instances(
    target: NDArray[np.uint8], ids: NDArray[np.int32] | None, grid: WorkingGrid
) -> NDArray[np.int32]:
    """Lesion ids on the working grid, of the target's lesion voxels; components (6) where none were given."""
    lesion = is_lesion(target)
    if ids is None:
        return label_components(lesion, 6)
    found = ids[tuple(slice(*side) for side in grid.box)]
    for axis, (size, new) in enumerate(zip(found.shape, grid.shape, strict=True)):
        found = found.take(((np.arange(new) + 0.5) * size / new).astype(int), axis)
    # A lesion voxel beside its own id's voxels, by rounding, belongs to no other lesion than its neighbours.
    pieces = label_components(lesion & (found == 0), 26)
    return np.where(lesion, np.where(found > 0, found, pieces + (found.max() + 1) * (pieces > 0)), 0).astype(
        np.int32
    )


def _leave_out_unmarked(case: PreparedCase, entry: CaseEntry, classes: Mapping[LesionType, int]) -> None:
    """Note the classes that the truth does not mark, and ignore what may be an unmarked lesion.

    Where unmarked types have a class of their own, the loss counts that class as background (`Batch`). Where
    they share one with marked types, as in a binary network, bright voxels of the background are ignored.
    """
    if not entry.marked:
        return
    marked = {classes[kind] for kind in entry.marked if kind in classes}
    unmarked = {target for kind, target in classes.items() if kind not in entry.marked}
    case.unmarked = tuple(sorted(unmarked - marked))
    if unmarked & marked:
        case.target[(case.target == BACKGROUND) & (case.image > UNMARKED_BRIGHT)] = IGNORE
