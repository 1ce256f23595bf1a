"""Volumes: reading, writing on the input's own grid, orientation and resampling."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from LesionSegmenterLib import image
from LesionSegmenterLib.atomic import sha256

SHAPE = (17, 18, 5)
AXIS_CODES = [
    codes for order in itertools.permutations(("RL", "AP", "SI")) for codes in itertools.product(*order)
]


def oblique(spacing=(0.45, 0.45, 8.0), degrees=(10, -20, 30), flip=False) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * spacing
    affine[:3, 0] *= -1 if flip else 1
    affine[:3, 3] = (-31.5, 12.25, 7.0)
    return affine


def random_image(dtype=np.int16, shape=SHAPE, affine=None, seed=0) -> nib.Nifti1Image:
    values = np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)
    return nib.Nifti1Image(values, oblique() if affine is None else affine)


def save(img: nib.Nifti1Image, path: Path) -> Path:
    nib.save(img, path)
    return path


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_every_numeric_type_reads_as_float32_with_its_values(tmp_path, dtype, ending):
    source = random_image(dtype)
    volume = image.read_volume(save(source, tmp_path / f"flair{ending}"))
    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, source.get_fdata())
    np.testing.assert_allclose(volume.affine, source.affine, atol=1e-5)
    np.testing.assert_allclose(volume.spacing, (0.45, 0.45, 8.0), rtol=1e-5)
    assert volume.warnings == ()


def test_scaled_values_equal_nibabels(tmp_path):
    source = random_image(np.int16)
    source.header.set_slope_inter(0.37, -5.5)
    path = save(source, tmp_path / "flair.nii.gz")
    np.testing.assert_allclose(image.read_volume(path).array, nib.load(path).get_fdata(), rtol=1e-6)


def test_big_endian_and_nifti2_files_read_alike(tmp_path):
    values = random_image().get_fdata().astype(np.int16)
    big = nib.Nifti1Image(values, oblique(), nib.Nifti1Header(endianness=">"))
    for name, source in (("big.nii", big), ("two.nii.gz", nib.Nifti2Image(values, oblique()))):
        np.testing.assert_array_equal(image.read_volume(save(source, tmp_path / name)).array, values)


def test_a_file_of_several_slabs_is_put_together_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("LesionSegmenterLib.nifti.SLAB_BYTES", 2 * 17 * 18 * 2)
    source = random_image(shape=(17, 18, 7))
    path = save(source, tmp_path / "flair.nii.gz")
    np.testing.assert_array_equal(image.read_volume(path).array, source.get_fdata())


def test_a_4d_image_of_one_frame_is_read_and_answered_in_3d(tmp_path):
    source = random_image(shape=(*SHAPE, 1))
    volume = image.read_volume(save(source, tmp_path / "flair.nii.gz"))
    assert volume.shape == SHAPE
    image.write_volume(tmp_path / "out.nii.gz", np.ones(SHAPE, np.uint8), volume)
    assert nib.load(tmp_path / "out.nii.gz").shape == SHAPE


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_what_is_written_has_the_inputs_geometry_bit_for_bit(tmp_path, dtype, ending):
    source = random_image(affine=oblique(flip=True))
    source.set_sform(oblique(degrees=(10.3, -20, 30), flip=True), code=4)
    source.set_qform(source.affine, code=1)
    source.header.set_xyzt_units("mm", "sec")
    source.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 200))
    volume = image.read_volume(save(source, tmp_path / "flair.nii.gz"))
    labels = np.random.default_rng(1).integers(0, 200, SHAPE).astype(dtype)

    image.write_volume(tmp_path / f"out{ending}", labels, volume)

    given_, written = nib.load(tmp_path / "flair.nii.gz"), nib.load(tmp_path / f"out{ending}")
    assert written.get_data_dtype() == dtype
    np.testing.assert_array_equal(np.asanyarray(written.dataobj), labels)
    np.testing.assert_array_equal(written.affine, given_.affine)
    for field in ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "xyzt_units", "pixdim"):
        np.testing.assert_array_equal(written.header[field], given_.header[field])
    for field in ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"):
        np.testing.assert_array_equal(written.header[field], given_.header[field])


def test_the_same_input_gives_the_same_bytes_whatever_the_name(tmp_path):
    volume = image.read_volume(save(random_image(), tmp_path / "flair.nii"))
    for name in ("a.nii.gz", "b.nii.gz"):
        image.write_volume(tmp_path / name, np.ones(SHAPE, np.int32), volume)
    content = (tmp_path / "a.nii.gz").read_bytes()
    assert content == (tmp_path / "b.nii.gz").read_bytes()
    assert content[3] == 0 and content[4:8] == bytes(4)  # gzip header: no file name, no time
    assert sha256(tmp_path / "a.nii.gz") == sha256(tmp_path / "b.nii.gz")


def test_a_probability_map_is_one_byte_a_voxel_exact_to_a_510th_and_never_over_1(tmp_path):
    grid = image.Volume.from_array(np.zeros((16, 16, 8)), np.eye(4))
    chance = np.linspace(0, 1, 2048).reshape(grid.shape)
    image.write_probability(tmp_path / "p.nii.gz", chance, grid)
    stored = nib.load(tmp_path / "p.nii.gz")
    assert stored.get_data_dtype() == np.uint8
    values = stored.get_fdata()
    assert values.max() <= 1 and values.min() == 0
    np.testing.assert_allclose(values, chance, atol=1 / 510 + 1e-6)
    np.testing.assert_array_equal(values >= 0.5, chance >= 0.5)


def test_labels_read_back_as_int32(tmp_path):
    ids = np.array([0, 1, 70_000, 16_777_217]).reshape(1, 2, 2)
    path = save(nib.Nifti1Image(ids.astype(np.float64), np.eye(4)), tmp_path / "ids.nii.gz")
    labels = image.read_labels(path)
    assert labels.array.dtype == np.int32
    np.testing.assert_array_equal(labels.array, ids)


def test_shear_is_removed_about_the_centre_and_volumes_stay_true(tmp_path):
    affine = oblique((1.0, 1.0, 3.0))
    affine[:3, 1] += 0.1 * affine[:3, 0]
    path = save(random_image(affine=affine), tmp_path / "flair.nii.gz")
    volume = image.read_volume(path)
    unit = volume.affine[:3, :3] / volume.spacing
    np.testing.assert_allclose(unit.T @ unit, np.eye(3), atol=1e-12)
    centre = [*(np.array(SHAPE) - 1) / 2, 1]
    np.testing.assert_allclose(volume.affine @ centre, affine @ centre, atol=1e-4)
    assert np.prod(volume.spacing) == pytest.approx(3.0, rel=1e-5)
    assert len(volume.warnings) == 1 and "sheared by 5.7" in volume.warnings[0]
    image.write_volume(tmp_path / "out.nii.gz", np.ones(SHAPE, np.uint8), volume)
    np.testing.assert_array_equal(nib.load(tmp_path / "out.nii.gz").affine, nib.load(path).affine)


def test_an_affine_that_contradicts_the_stated_voxel_size_is_used_and_said(tmp_path):
    source = random_image(affine=np.diag([2.0, 2, 2, 1]))
    source.header["pixdim"][1:4] = 1
    volume = image.read_volume(save(source, tmp_path / "flair.nii.gz"))
    assert volume.spacing == (2, 2, 2)
    assert "1x1x1 mm" in volume.warnings[0] and "2x2x2 mm" in volume.warnings[0]


@pytest.mark.parametrize("codes", AXIS_CODES, ids="".join)
def test_every_orientation_becomes_ras_and_returns_exactly(codes):
    ras = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    to_codes = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes)
    )
    array = nib.orientations.apply_orientation(ras, to_codes)
    affine = oblique((1, 2, 3), (3, -4, 5)) @ nib.orientations.inv_ornt_aff(to_codes, ras.shape)
    assert nib.aff2axcodes(affine) == codes

    view, canonical, orientation = image.to_canonical(array, affine)

    np.testing.assert_array_equal(view, ras)
    np.testing.assert_allclose(canonical, oblique((1, 2, 3), (3, -4, 5)), atol=1e-9)
    assert np.shares_memory(view, array)
    np.testing.assert_array_equal(orientation.restore(view), array)


@settings(deadline=None, max_examples=60)
@given(
    array=hnp.arrays(np.int16, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5)),
    codes=st.sampled_from(AXIS_CODES),
    degrees=st.tuples(*[st.floats(-25, 25)] * 3),
)
def test_restore_undoes_apply_and_positions_stay(array, codes, degrees):
    ornt = nib.orientations.axcodes2ornt(codes)
    affine = oblique((0.5, 1, 6), degrees) @ nib.orientations.inv_ornt_aff(ornt, array.shape)
    view, canonical, orientation = image.to_canonical(array, affine)
    np.testing.assert_array_equal(orientation.restore(orientation.apply(array)), array)
    index = np.stack(np.meshgrid(*map(np.arange, array.shape), indexing="ij"))
    moved = np.stack([orientation.apply(axis) for axis in index]).reshape(3, -1)
    positions = nib.affines.apply_affine(canonical, np.indices(view.shape).reshape(3, -1).T)
    np.testing.assert_allclose(positions, nib.affines.apply_affine(affine, moved.T), atol=1e-9)


def world_ramp(shape, affine) -> image.Volume:
    """An image whose value is a linear function of the world position."""
    positions = nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
    return image.Volume.from_array((positions @ [1.0, -2.0, 0.5]).astype(np.float32), affine)


def test_resampling_follows_world_positions_not_indices():
    moving = world_ramp((30, 32, 28), oblique((1, 1, 1), (5, 5, 5)) @ np.diag([-1, 1, 1, 1]))
    centre = nib.affines.apply_affine(moving.affine, [14.5, 15.5, 13.5])
    affine = oblique((0.9, 0.9, 4.0), (-8, 12, 20))
    affine[:3, 3] += centre - nib.affines.apply_affine(affine, [6, 6, 1])
    reference = world_ramp((13, 13, 3), affine)
    resampled, overlap = image.resample_onto(moving, reference)
    assert overlap == 1 and resampled.dtype == np.float32
    np.testing.assert_allclose(resampled, reference.array, atol=1e-3)


def test_resampling_onto_its_own_oblique_grid_changes_nothing_even_at_the_edges():
    moving = world_ramp((9, 8, 1), oblique((0.7, 0.7, 5)))
    resampled, overlap = image.resample_onto(moving, moving)
    assert overlap == 1
    np.testing.assert_allclose(resampled, moving.array, atol=1e-4)


def test_a_partial_overlap_is_measured_and_the_rest_is_zero():
    reference = world_ramp((20, 20, 20), np.eye(4))
    affine = np.eye(4)
    affine[0, 3] = 10
    resampled, overlap = image.resample_onto(world_ramp((20, 20, 20), affine), reference)
    assert overlap == pytest.approx(0.5)
    assert not resampled[:9].any()
    np.testing.assert_allclose(resampled[11:], reference.array[11:], atol=1e-4)


def test_grids_are_the_same_within_a_hundredth_of_a_voxel():
    grid = image.Volume.from_array(np.zeros((100, 100, 20)), oblique())
    rounded = image.Volume.from_array(grid.array, oblique().astype(np.float32))
    shifted, turned = oblique(), oblique(degrees=(10, -20, 30.1))
    shifted[0, 3] += 0.01
    assert image.same_grid(grid, rounded)
    assert not image.same_grid(grid, image.Volume.from_array(grid.array, shifted))
    assert not image.same_grid(grid, image.Volume.from_array(grid.array, turned))
    assert not image.same_grid(grid, image.Volume.from_array(grid.array[1:], oblique()))
