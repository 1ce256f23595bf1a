"""One head stored in every orientation gives the same lesions in world space, on each file's own grid."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from heads import LESIONS, TYPES, bright_bundle, centred_affine, head, save_head
from LesionSegmenterLib.engine.model import Model
from LesionSegmenterLib.progress import NoReporter
from LesionSegmenterLib.segment import SegmentOptions, SegmentResult, load, segment

CODES = ["".join(letters) for axes in permutations(["LR", "PA", "IS"]) for letters in product(*axes)]
GEOMETRY = ("srow_x", "srow_y", "srow_z", "sform_code", "qform_code", "quatern_b", "pixdim", "qoffset_x")
OPTIONS = SegmentOptions(device="cpu", small_lesions="keep", subject="S")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Model:
    folder = bright_bundle(tmp_path_factory.mktemp("model") / "bright")
    return load(SegmentOptions(model=str(folder), device="cpu"))


def lesions_of(flair: Path, model: Model) -> SegmentResult:
    return segment(flair, flair.parent / "out", OPTIONS, NoReporter(), model)


def canonical(path: Path) -> nib.Nifti1Image:
    return nib.as_closest_canonical(nib.load(path))


def check_geometry(flair: Path, result: SegmentResult) -> None:
    """Every image of the case repeats the FLAIR's geometry bit for bit."""
    source = nib.load(flair)
    for name in ("types", "instances", "probability"):
        stored = nib.load(result.files[name])
        assert stored.shape == source.shape
        assert stored.affine.tobytes() == source.affine.tobytes()
        for key in GEOMETRY:
            assert stored.header[key].tobytes() == source.header[key].tobytes(), key


@pytest.fixture(scope="module")
def reference(model, tmp_path_factory) -> SegmentResult:
    """The result of the head stored as RAS."""
    return lesions_of(save_head(tmp_path_factory.mktemp("RAS") / "flair.nii.gz"), model)


def test_the_reference_finds_the_lesions_that_are_there(reference):
    assert [record.type.label for record in reference.records] == TYPES
    found = np.array([record.centroid_ras_mm for record in reference.records])
    for centre, *_ in LESIONS:
        assert np.linalg.norm(found - centre, axis=1).min() < 1.5


def test_there_are_48_orientations():
    assert len(set(CODES)) == 48


@pytest.mark.parametrize("code", CODES)
def test_every_orientation_gives_the_same_lesions_in_world_space(tmp_path, model, reference, code):
    ras = nib.Nifti1Image(head().astype(np.int16), centred_affine())
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(ras.affine), nib.orientations.axcodes2ornt(tuple(code))
    )
    flair = tmp_path / "flair.nii.gz"
    nib.save(ras.as_reoriented(turn), flair)
    assert "".join(nib.aff2axcodes(nib.load(flair).affine)) == code
    result = lesions_of(flair, model)
    check_geometry(flair, result)
    assert len(result.records) == len(reference.records) == 4
    for record, expected in zip(result.records, reference.records, strict=True):
        assert (record.lesion_id, record.type, record.voxels) == (
            expected.lesion_id,
            expected.type,
            expected.voxels,
        )
        assert record.volume_mm3 == pytest.approx(expected.volume_mm3, abs=1e-3)
        np.testing.assert_allclose(record.centroid_ras_mm, expected.centroid_ras_mm, rtol=0, atol=1e-3)
        assert record.mean_probability == expected.mean_probability
    for name in ("types", "instances", "probability"):
        np.testing.assert_array_equal(
            canonical(result.files[name]).get_fdata(), canonical(reference.files[name]).get_fdata()
        )
    assert result.files["qc"].read_bytes() == reference.files["qc"].read_bytes()


@pytest.mark.parametrize("angles", [(12, -8, 20), (40, 10, -30)])
def test_an_oblique_image_keeps_its_affine_and_its_lesions_lie_where_they_are(tmp_path, model, angles):
    affine = centred_affine()
    turn = nib.eulerangles.euler2mat(*np.radians(angles))
    oblique = nib.affines.from_matvec(turn) @ affine
    flair = save_head(tmp_path / "flair.nii.gz", oblique, shape=(48, 60, 22))
    result = lesions_of(flair, model)
    check_geometry(flair, result)
    assert len(result.records) == 4
    found = np.array([record.centroid_ras_mm for record in result.records])
    for centre, *_ in LESIONS:
        assert np.linalg.norm(found - centre, axis=1).min() < 2.0
    # The centroids of the table are those of the stored image.
    stored = nib.load(result.files["instances"])
    ids = np.asarray(stored.dataobj)
    for record in result.records:
        voxels = np.argwhere(ids == record.lesion_id)
        world = nib.affines.apply_affine(stored.affine, voxels.mean(axis=0))
        np.testing.assert_allclose(record.centroid_ras_mm, world, atol=1e-3)


def test_a_grid_of_thick_sagittal_slices_gives_the_same_lesions(tmp_path, model):
    shape, spacing = (19, 60, 32), (6.0, 3.0, 3.0)
    flair = save_head(tmp_path / "flair.nii.gz", centred_affine(shape, spacing), shape=shape)
    result = lesions_of(flair, model)
    found = np.array([record.centroid_ras_mm for record in result.records])
    assert len(found) == 4
    for centre, *_ in LESIONS:
        assert np.linalg.norm(found - centre, axis=1).min() < 2.0
