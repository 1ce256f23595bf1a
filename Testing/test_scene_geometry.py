"""Lesions keep their place in the world between files, Slicer's flipped nodes and the export."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from nibabel.orientations import axcodes2ornt, inv_ornt_aff

pytest.importorskip(
    "slicer",
    reason="slicer-core is not installed, or a library it needs: pip install slicer-core==5.12.4.0",
    exc_type=ImportError,
)

from LesionSegmenterLib import edits
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.export import CaseData, read_case, write_case
from LesionSegmenterLib.image import NiftiWriter, read_labels, read_volume, same_grid
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions import LesionMap
from LesionSegmenterLib.measure import measure_lesions
from LesionSegmenterLib.scene.export import SceneWriter
from LesionSegmenterLib.scene.files import load_flair
from LesionSegmenterLib.scene.io import open_case, open_labels
from LesionSegmenterLib.scene.lesion_scene import LesionScene
from scene_cases import affine, boxes, lesion_map, shown
from slicer_scene import Application

pytestmark = pytest.mark.usefixtures("application")  # sets up the scene

ROTATION = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])  # 7-24-25
TILT = np.array([[1.0, 0.0, 0.0], [0.0, 0.8, -0.6], [0.0, 0.6, 0.8]])
SIZE = (20, 18, 16)


def of_codes(codes: str, spacing: tuple[float, float, float] = (1.0, 1.2, 2.0)) -> np.ndarray:
    """An affine whose axes run as the codes say."""
    return affine(spacing) @ inv_ornt_aff(axcodes2ornt(tuple(codes)), SIZE)


def oblique(to_ras: np.ndarray) -> np.ndarray:
    turned = to_ras.copy()
    turned[:3, :3] = ROTATION @ TILT @ to_ras[:3, :3]
    return turned


AFFINES = {codes: of_codes(codes) for codes in ("RAS", "LAS", "LPS", "LPI", "PIR", "ASL", "SAR")}
AFFINES["oblique RAS"] = oblique(of_codes("RAS"))
AFFINES["oblique LAS"] = oblique(of_codes("LAS"))
AFFINES["thick slices"] = of_codes("LAS", (0.45, 0.45, 8.0))


def save(path: Path, array: np.ndarray, to_ras: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(array, to_ras), path)
    return path


def flair_file(tmp_path: Path, to_ras: np.ndarray, shape: tuple[int, ...] = SIZE) -> Path:
    rng = np.random.default_rng(0)
    return save(tmp_path / "flair.nii.gz", rng.integers(0, 500, shape).astype(np.int16), to_ras)


def ids_of_file() -> np.ndarray:
    """Lesions of no symmetry, so that a flip cannot go unseen; one id is above int16."""
    ids = np.zeros(SIZE, np.int32)
    ids[2:5, 3:5, 1:3] = 1
    ids[10:14, 9, 12] = 2
    ids[17, 2:8, 5:7] = 70000
    return ids


def world(ids: np.ndarray, to_ras: np.ndarray, lesion_id: int) -> np.ndarray:
    """Sorted voxel centres of a lesion in RAS mm."""
    points = np.round(apply_affine(to_ras, np.argwhere(ids == lesion_id)), 3) + 0.0
    return points[np.lexsort(points.T)]


def assert_same_places(lesions: LesionMap, ids: np.ndarray, to_ras: np.ndarray) -> None:
    assert sorted(lesions.records) == np.unique(ids[ids > 0]).tolist()
    for lesion_id in lesions.records:
        found = world(lesions.ids, lesions.affine, lesion_id)
        assert np.allclose(found, world(ids, to_ras, lesion_id), atol=2e-3)


@pytest.mark.parametrize("name", AFFINES)
def test_a_label_image_lands_on_the_same_world_voxels(tmp_path: Path, name: str) -> None:
    flair = load_flair(flair_file(tmp_path, AFFINES[name]))
    opened = open_labels(save(tmp_path / "ids.nii.gz", ids_of_file(), AFFINES[name]), flair, "lesions")
    assert opened.warnings == ()
    assert_same_places(opened.lesions, ids_of_file(), AFFINES[name])
    scene = LesionScene.show(opened.lesions, flair)
    assert np.array_equal(shown(scene.node, flair), opened.lesions.ids)


@pytest.mark.parametrize("name", AFFINES)
def test_an_exported_case_matches_the_flairs_file_voxel_by_voxel(tmp_path: Path, name: str) -> None:
    path = flair_file(tmp_path, AFFINES[name])
    opened = open_labels(
        save(tmp_path / "ids.nii.gz", ids_of_file(), AFFINES[name]), load_flair(path), "lesions"
    )
    lesions = opened.lesions
    lesions.apply(edits.relabel(lesions, [1], LesionType.MS))
    files = export(tmp_path / "case", lesions, opened.flair, path)
    assert np.array_equal(read_labels(files["instances"]).array, ids_of_file())
    assert np.array_equal(read_labels(files["types"]).array == LesionType.MS, ids_of_file() == 1)
    assert same_grid(read_labels(files["instances"]), read_volume(path))
    for form in ("get_sform", "get_qform"):
        exported, source = (getattr(nib.load(p), form)(coded=True) for p in (files["instances"], path))
        assert np.array_equal(exported[0], source[0]) and exported[1] == source[1], "bit for bit"
    again = open_case(tmp_path / "case", flair=opened.flair)
    assert np.array_equal(again.lesions.ids, lesions.ids)
    assert again.lesions.records[1].type is LesionType.MS


def export(folder: Path, lesions: LesionMap, flair: Any, path: Path) -> dict[str, Path]:
    types, instances = lesions.exported()
    probability = np.where(instances > 0, 0.75, 0.0)
    case = CaseData("01", types, instances, probability, list(lesions.records.values()), {})
    return write_case(folder, case, SceneWriter(flair), path)


@pytest.mark.parametrize("dtype", [np.uint8, ">i2", np.float32])
@pytest.mark.parametrize("form", ["sform", "qform"])
def test_the_export_does_as_the_engines_whatever_the_header(tmp_path: Path, dtype: Any, form: str) -> None:
    image = nib.Nifti1Image(np.arange(np.prod(SIZE)).reshape(SIZE).astype(dtype) % 99, AFFINES["oblique LAS"])
    image.header.set_data_dtype(dtype)
    if np.dtype(dtype).byteorder == ">":
        image = nib.Nifti1Image(image.get_fdata(), None, image.header.as_byteswapped(">"))
    image.set_sform(AFFINES["oblique LAS"], code=2 if form == "sform" else 0)
    image.set_qform(AFFINES["oblique LAS"], code=1)
    image.header["descrip"] = image.header["db_name"] = b"a name"
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "flair.nii")
    flair = load_flair(tmp_path / "flair.nii")
    ids = np.asfortranarray(ids_of_file()[:, :, ::-1])  # of the node, which is flipped
    chance = np.random.default_rng(0).random(SIZE)
    SceneWriter(flair).labels(tmp_path / "ours.nii.gz", ids)
    SceneWriter(flair).probability(tmp_path / "chance.nii.gz", chance)
    NiftiWriter(read_volume(tmp_path / "flair.nii")).labels(tmp_path / "engine.nii.gz", ids_of_file())
    ours, engines = (nib.load(tmp_path / name) for name in ("ours.nii.gz", "engine.nii.gz"))
    assert np.array_equal(ours.dataobj, engines.dataobj)
    assert np.array_equal(ours.affine, engines.affine)
    assert not ours.header["descrip"].item() and not ours.header["db_name"].item()
    for field in ("xyzt_units", "pixdim", "dim_info", "slice_code", "slice_duration", "toffset", "extents"):
        assert np.array_equal(ours.header[field], image.header[field]), field
    read = np.asarray(nib.load(tmp_path / "chance.nii.gz").dataobj)
    assert np.abs(read[:, :, ::-1] - chance).max() < 1 / 500 and read.max() <= 1


def test_a_flair_that_was_moved_in_slicer_is_not_exported(tmp_path: Path) -> None:
    flair = load_flair(flair_file(tmp_path, AFFINES["LAS"]))
    flair.SetOrigin(1, 2, 3)
    with pytest.raises(InputError, match="not where its file is"):
        SceneWriter(flair)


def test_a_flair_without_a_nifti_file_is_not_exported(application: Application) -> None:
    with pytest.raises(InputError, match=r"not of a NIfTI file.*Save it as"):
        SceneWriter(application.add_volume(np.zeros(SIZE, np.int16), affine()))


def test_a_case_folder_opens_with_its_flair_records_and_probability(tmp_path: Path) -> None:
    path = flair_file(tmp_path, AFFINES["LAS"])
    volume = read_volume(path)
    ids = ids_of_file()
    chance = np.where(ids > 0, 0.8, 0.1)
    records = measure_lesions(ids, volume.affine, chance, {1: LesionType.MS})
    records[1] = replace(records[1], status="rejected")
    instances = np.where(ids == records[1].lesion_id, 0, ids).astype(np.int32)
    types = np.where(instances > 0, LesionType.LESION, 0).astype(np.uint8)
    write_case(
        tmp_path / "c", CaseData("01", types, instances, chance, records, {}), NiftiWriter(volume), path
    )
    opened = open_case(tmp_path / "c")
    assert opened.warnings == ()
    assert opened.flair.GetStorageNode().GetFileName() == str(path)
    assert [r.status for r in opened.lesions.records.values()] == ["proposed", "rejected", "proposed"]
    assert opened.lesions.records[1].type is LesionType.MS
    assert opened.lesions.probability is not None
    assert np.allclose(opened.lesions.probability[opened.lesions.ids == 1], 0.8, atol=0.01)
    assert np.allclose(opened.lesions.probability, chance[:, :, ::-1], atol=0.01), "flipped with its node"


def test_a_case_whose_flair_has_moved_says_so(tmp_path: Path) -> None:
    path = flair_file(tmp_path, AFFINES["RAS"])
    volume, none = read_volume(path), np.zeros(SIZE, np.int32)
    case = CaseData("01", none.astype(np.uint8), none, None, [], {})
    write_case(tmp_path / "c", case, NiftiWriter(volume), path)
    assert read_case(tmp_path / "c").flair == path
    path.rename(tmp_path / "elsewhere.nii.gz")
    with pytest.raises(InputError, match=r"has moved.*Load it"):
        open_case(tmp_path / "c")
    opened = open_case(tmp_path / "c", flair=load_flair(tmp_path / "elsewhere.nii.gz"))
    assert opened.lesions.records == {}


def test_labels_in_another_order_of_axes_keep_their_voxels(tmp_path: Path) -> None:
    flair = load_flair(flair_file(tmp_path, AFFINES["RAS"]))
    image = nib.Nifti1Image(ids_of_file(), AFFINES["RAS"])
    turned = image.as_reoriented(axcodes2ornt(("P", "S", "R")))
    nib.save(turned, tmp_path / "turned.nii.gz")
    opened = open_labels(tmp_path / "turned.nii.gz", flair, "lesions")
    assert opened.warnings == ()
    assert np.array_equal(opened.lesions.ids, ids_of_file())


def test_labels_on_another_grid_are_resampled_with_a_word(tmp_path: Path) -> None:
    to_ras = affine((1, 1, 1))
    flair = load_flair(flair_file(tmp_path, to_ras))
    fine = to_ras @ np.diag([0.5, 0.5, 0.5, 1])
    fine[:3, 3] -= 0.25  # two voxels of the fine grid fill one of the FLAIR's along each axis
    doubled = ids_of_file().repeat(2, 0).repeat(2, 1).repeat(2, 2)
    opened = open_labels(save(tmp_path / "fine.nii.gz", doubled, fine), flair, "lesions")
    assert [w for w in opened.warnings if "resampled" in w]
    assert np.array_equal(opened.lesions.ids, ids_of_file())


def test_a_lesion_that_is_lost_by_resampling_is_named_in_number(tmp_path: Path) -> None:
    flair = load_flair(flair_file(tmp_path, affine((2, 2, 2))))
    ids = np.zeros((40, 36, 32), np.int32)
    ids[11, 11, 11] = 1  # between the FLAIR's voxel centres
    ids[20:26, 20:26, 20:26] = 2
    opened = open_labels(save(tmp_path / "fine.nii.gz", ids, affine((0.99, 0.99, 0.99))), flair, "lesions")
    assert sorted(opened.lesions.records) == [2]
    assert [w for w in opened.warnings if "1 labels" in w]


def test_labels_partly_outside_of_the_flair_are_cut_with_a_word(tmp_path: Path) -> None:
    flair = load_flair(flair_file(tmp_path, AFFINES["RAS"]))
    shifted = AFFINES["RAS"].copy()
    shifted[0, 3] += 4.0  # four voxels
    opened = open_labels(save(tmp_path / "ids.nii.gz", ids_of_file(), shifted), flair, "lesions")
    assert [w for w in opened.warnings if "12 labelled voxels" in w]
    assert sorted(opened.lesions.records) == [1, 2]


def test_labels_of_another_patient_are_refused(tmp_path: Path) -> None:
    flair = load_flair(flair_file(tmp_path, AFFINES["RAS"]))
    far = AFFINES["RAS"].copy()
    far[0, 3] += 500
    with pytest.raises(InputError, match="no label of this image lies within the FLAIR"):
        open_labels(save(tmp_path / "ids.nii.gz", ids_of_file(), far), flair, "lesions")


def test_a_type_map_becomes_its_components(tmp_path: Path) -> None:
    flair = load_flair(flair_file(tmp_path, AFFINES["RAS"]))
    types = np.zeros(SIZE, np.float32)  # some tools store labels as floats
    types[1:3, 1:3, 1:3] = types[8:12, 8:12, 8:12] = LesionType.MS
    types[3:5, 1:3, 1:3] = LesionType.WMH  # touches the first: another type, another lesion
    opened = open_labels(save(tmp_path / "types.nii.gz", types, AFFINES["RAS"]), flair, "types")
    found = [(r.type, r.voxels) for r in opened.lesions.records.values()]
    assert found == [(LesionType.WMH, 8), (LesionType.MS, 64), (LesionType.MS, 8)]


@pytest.mark.parametrize(
    ("value", "holds", "message"),
    [
        (0.5, "lesions", "not whole numbers"),
        (-1, "lesions", "holds the label -1"),
        (2**31, "lesions", "holds the label 2147483648"),
        (9, "types", "label 9, which is no lesion type"),
    ],
)
def test_labels_that_cannot_be_ids_or_types_are_refused(
    tmp_path: Path, value: float, holds: Any, message: str
) -> None:
    flair = load_flair(flair_file(tmp_path, AFFINES["RAS"]))
    array = np.zeros(SIZE)
    array[3, 3, 3] = value
    with pytest.raises(InputError, match=message):
        open_labels(save(tmp_path / "ids.nii.gz", array, AFFINES["RAS"]), flair, holds)


def test_files_that_are_missing_damaged_or_sheared_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.nii.gz").write_text("hello")
    sheared = np.eye(4)
    sheared[0, 1] = 0.05
    save(tmp_path / "sheared.nii.gz", np.ones(SIZE, np.int16), sheared)
    for name, message in {
        "none.nii.gz": "no such FLAIR file",
        "text.nii.gz": "Slicer cannot read this FLAIR",
        "sheared.nii.gz": "axes of the FLAIR are sheared",
    }.items():
        with pytest.raises(InputError, match=message) as caught:
            load_flair(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_an_unflipped_left_handed_scene_is_found_again_in_place(
    application: Application, tmp_path: Path
) -> None:
    """Slicer flips a left-handed FLAIR when it reads the saved scene, but not the segmentation."""
    to_ras = affine()
    to_ras[0, 0] = -1.0
    flair = application.add_volume(np.zeros(boxes().shape, np.int16), to_ras)
    saved = LesionScene.show(lesion_map(boxes(), to_ras), flair)
    application.save(tmp_path / "case.mrb")
    Application(tmp_path / "again").load(tmp_path / "case.mrb")
    restored = LesionScene.restore()
    assert restored is not None
    scene, warnings = restored
    assert warnings == ()
    assert np.linalg.det(scene.lesions.affine) > 0 > np.linalg.det(to_ras)
    assert scene.lesions.records == saved.lesions.records
    assert np.array_equal(scene.lesions.ids, boxes()[:, :, ::-1])
    assert np.array_equal(shown(scene.node, scene.flair), scene.lesions.ids)
