"""What Slicer's slice views draw, off screen: each lesion in its colour, at its place, after every edit."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip(
    "slicer",
    reason="slicer-core is not installed, or a library it needs: pip install slicer-core==5.12.4.0",
    exc_type=ImportError,
)
if sys.platform.startswith("linux"):
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError:
        pytest.skip(
            "libEGL.so.1 is missing: apt-get install libegl1 libgl1-mesa-dri", allow_module_level=True
        )

from LesionSegmenterLib import edits
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import Change
from LesionSegmenterLib.scene.lesion_scene import LesionScene
from LesionSegmenterLib.scene.tags import colour
from LesionSegmenterLib.scene.view import DIMMED, SEE_THROUGH
from scene_cases import SHAPE, affine, boxes, lesion_map
from slicer_scene import Application, SliceView

ORIENTATIONS = ("Axial", "Coronal", "Sagittal")
ONE_STEP = 1.5 / 255  # of a colour on the screen
BLACK = (0.0, 0.0, 0.0)


class Case:
    """The boxes over a black FLAIR in three slice views; segments are drawn opaque and without outline."""

    def __init__(self, folder: Path, to_ras: np.ndarray) -> None:
        application = Application(folder)
        flair = application.add_volume(np.zeros(SHAPE, np.int16), to_ras)
        self.scene = LesionScene.show(lesion_map(boxes(), to_ras), flair)
        display = self.scene.node.GetDisplayNode()
        display.SetOpacity2DFill(1)
        display.SetVisibility2DOutline(False)
        self.views = [SliceView(application, flair, orientation) for orientation in ORIENTATIONS]

    def make(self, change: Change) -> None:
        self.scene.lesions.apply(change)
        self.scene.push(change)

    def drawn(self, lesion_id: int) -> list[np.ndarray]:
        """The colour at a lesion's centre in each view, after jumping to it."""
        self.scene.jump_to(lesion_id)
        return [view.colour_at(self.scene.lesions.records[lesion_id].centroid_ras_mm) for view in self.views]

    def assert_each_in_its_colour(self) -> None:
        for lesion_id, record in self.scene.lesions.records.items():
            expected = colour(record, self.scene.colouring)
            for found in self.drawn(lesion_id):
                assert found == pytest.approx(np.array(expected), abs=ONE_STEP)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path, affine())


def oblique() -> np.ndarray:
    turned = affine((0.9, 0.9, 2.0))
    turned[:3, :3] = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]]) @ turned[:3, :3]
    return turned


def left_handed() -> np.ndarray:
    flipped = affine()
    flipped[0, 0] = -1
    return flipped


@pytest.mark.parametrize("to_ras", [affine(), affine((0.5, 0.5, 8.0)), oblique(), left_handed()])
def test_each_lesions_centre_has_that_lesions_colour(tmp_path: Path, to_ras: np.ndarray) -> None:
    Case(tmp_path, to_ras).assert_each_in_its_colour()


def test_every_edit_is_seen_in_the_views(case: Case) -> None:
    case.assert_each_in_its_colour()
    for plan in (
        lambda lesions: edits.relabel(lesions, [1], LesionType.STROKE),
        lambda lesions: edits.split_k(lesions, 40000, 2),
        lambda lesions: edits.merge(lesions, [1, 2]),
        lambda lesions: edits.grow(lesions, 3, 3.0),
    ):
        case.make(plan(case.scene.lesions))
        case.assert_each_in_its_colour()
    case.scene.colour_by("lesion")
    case.assert_each_in_its_colour()


def test_a_rejected_lesion_is_not_drawn_until_it_is_restored(case: Case) -> None:
    case.make(edits.reject(case.scene.lesions, [40000]))
    for found in case.drawn(40000):
        assert found == pytest.approx(np.array(BLACK), abs=ONE_STEP)
    case.make(edits.restore(case.scene.lesions, [40000]))
    case.assert_each_in_its_colour()


def test_an_edit_redraws_the_slices_that_are_shown(case: Case) -> None:
    """Without moving the slices, which would make Slicer read the labelmap anew in any case."""
    lesions = case.scene.lesions
    case.scene.jump_to(1)
    place = lesions.records[1].centroid_ras_mm
    expected = np.array(colour(lesions.records[1], "type"))
    for view in case.views:
        assert view.colour_at(place) == pytest.approx(expected, abs=ONE_STEP)
    hollow = boxes() == 1
    hollow[5:8, 5:8, 4:6] = False
    change = edits.redraw(lesions, 1, hollow)
    case.make(change)
    for view in case.views:
        assert view.colour_at(place) == pytest.approx(np.array(BLACK), abs=ONE_STEP)
    lesions.revert(change)
    case.scene.push(change)
    for view in case.views:
        assert view.colour_at(place) == pytest.approx(expected, abs=ONE_STEP)


def test_what_is_deleted_is_no_longer_drawn(case: Case) -> None:
    place = case.scene.lesions.records[1].centroid_ras_mm
    case.drawn(1)
    case.make(edits.delete(case.scene.lesions, [1]))
    for view in case.views:
        assert view.colour_at(place) == pytest.approx(np.array(BLACK), abs=ONE_STEP)


def test_neighbours_are_drawn_dimmer(case: Case) -> None:
    case.scene.emphasise([1])
    full = colour(case.scene.lesions.records[40000], "type")
    for found in case.drawn(40000):
        assert found == pytest.approx(np.array(full) * DIMMED, abs=2 * ONE_STEP)
    expected = np.array(colour(case.scene.lesions.records[1], "type")) * SEE_THROUGH
    for found in case.drawn(1):
        assert found == pytest.approx(expected, abs=2 * ONE_STEP)


def test_the_flair_is_seen_through_lesions_and_the_emphasised_one_is_outlined(tmp_path: Path) -> None:
    application = Application(tmp_path)
    white = np.zeros(SHAPE, np.int16)
    white[boxes() > 0] = 1000
    flair = application.add_volume(white, affine())
    flair.GetDisplayNode().SetAutoWindowLevel(False)
    flair.GetDisplayNode().SetWindowLevelMinMax(0, 1000)
    scene = LesionScene.show(lesion_map(boxes(), affine()), flair)
    view = SliceView(application, flair, "Axial")
    scene.jump_to(40000)
    r, a, s = scene.lesions.records[40000].centroid_ras_mm
    own = np.array(colour(scene.lesions.records[40000], "type"))
    for ids, share in ((None, 0.5), ([40000], 0.5 * SEE_THROUGH), ([1], 0.5 * DIMMED)):
        scene.emphasise(ids)
        assert view.colour_at((r, a, s)) == pytest.approx(share * own + (1 - share), abs=2 * ONE_STEP)
    scene.emphasise([40000])
    edge = max((view.colour_at((r, a + mm, s)) for mm in np.arange(3, 5, 0.1)), key=lambda c: -c[2])
    assert edge == pytest.approx(own, abs=2 * ONE_STEP)


def test_jumping_shows_the_lesion_in_the_middle_of_every_view(case: Case) -> None:
    case.scene.jump_to(40000)
    place = case.scene.lesions.records[40000].centroid_ras_mm
    for view in case.views:
        x, y, _ = view.xy_of(place)
        assert (x, y) == pytest.approx((64, 64), abs=1)


def test_jumping_to_a_ring_shows_a_voxel_of_it_and_not_its_hole(case: Case) -> None:
    i, j, _ = np.indices(SHAPE)
    ring = (np.hypot(i - 14, j - 12) < 11) & (np.hypot(i - 14, j - 12) > 9)
    lesions = case.scene.lesions
    case.make(edits.delete(lesions, list(lesions.records)))
    case.make(edits.add(lesions, ring, LesionType.MS))
    (lesion_id,) = lesions.records
    case.scene.jump_to(lesion_id)
    for view in case.views:
        assert view.colour_in_the_middle() == pytest.approx(
            np.array(colour(lesions.records[lesion_id], "type")), abs=ONE_STEP
        )


def test_jumping_to_an_unknown_lesion_is_refused(case: Case) -> None:
    with pytest.raises(InputError, match="there is no lesion 9"):
        case.scene.jump_to(9)


def test_a_label_volume_is_drawn_in_its_lesions_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("LesionSegmenterLib.scene.lesion_scene.MOST_SEGMENTS", 2)
    application = Application(tmp_path)
    flair = application.add_volume(np.zeros(SHAPE, np.int16), affine())
    views = [SliceView(application, flair, orientation) for orientation in ORIENTATIONS]
    scene = LesionScene.show(lesion_map(boxes(), affine()), flair)
    assert scene.node.IsA("vtkMRMLLabelMapVolumeNode")
    change = edits.relabel(scene.lesions, [3], LesionType.MS)
    scene.lesions.apply(change)
    scene.push(change)
    rejected = edits.reject(scene.lesions, [2])
    scene.lesions.apply(rejected)
    scene.push(rejected)
    for lesion_id, record in scene.lesions.records.items():
        scene.jump_to(lesion_id)
        expected = BLACK if lesion_id == 2 else colour(record, "type")
        for view in views:
            found = view.colour_at(record.centroid_ras_mm)
            assert found == pytest.approx(np.array(expected), abs=ONE_STEP)
