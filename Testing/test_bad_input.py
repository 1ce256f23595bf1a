"""Bad input: one clear line each, or work with a warning; never a half-written file or a wrong geometry."""

from __future__ import annotations

import errno
import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from LesionSegmenterLib import export, image
from LesionSegmenterLib.errors import InputError

SHAPE = (20, 18, 6)


def grey(shape=SHAPE, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 100, shape).astype(dtype)


def save(path: Path, array: np.ndarray, affine=None, **fields) -> Path:
    img = nib.Nifti1Image(array, np.eye(4) if affine is None else affine)
    nib.save(img, path)
    if fields:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rb") as file:
            content = file.read()
        header = nib.Nifti1Header(content[:348], check=False)
        for name, value in fields.items():
            header[name] = value
        with opener(path, "wb") as file:
            file.write(header.binaryblock + content[348:])
    return path


def refused(path: Path, *words: str, read=image.read_volume) -> None:
    """Reading ends in one line that names the file and says these words."""
    with pytest.raises(InputError) as caught:
        read(path)
    line = str(caught.value)
    assert caught.value.exit_status == 2 and "\n" not in line and str(path) in line
    for word in words:
        assert word in line


def test_a_missing_file_is_refused(tmp_path):
    refused(tmp_path / "none.nii.gz", "no such FLAIR file")


def test_a_directory_is_refused_even_if_named_like_an_image(tmp_path):
    folder = tmp_path / "flair.nii.gz"
    folder.mkdir()
    refused(folder, "is a folder")


def test_a_text_file_named_nii_gz_is_refused(tmp_path):
    path = tmp_path / "flair.nii.gz"
    path.write_text("this is not an image")
    refused(path, "not gzip")


@pytest.mark.parametrize("content", [b"", b"text", b"x" * 5000])
def test_a_file_that_is_no_nifti_inside_is_refused(tmp_path, content):
    plain, packed = tmp_path / "flair.nii", tmp_path / "flair.nii.gz"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content))
    refused(plain, "not a NIfTI file")
    refused(packed, "not a NIfTI file")


def test_another_format_is_refused_with_the_way_to_convert_it(tmp_path):
    path = tmp_path / "flair.dcm"
    path.write_bytes(b"DICM")
    refused(path, "not a NIfTI file", "dcm2niix")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99, 0.9999])
def test_a_truncated_gzip_is_refused_wherever_it_ends(tmp_path, share):
    path = save(tmp_path / "flair.nii.gz", grey((40, 40, 20)))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, "cut short")


def test_a_gzip_that_lacks_only_its_checksum_is_refused(tmp_path):
    path = save(tmp_path / "flair.nii.gz", grey())
    path.write_bytes(path.read_bytes()[:-8])
    refused(path, "cut short")


def test_a_gzip_with_altered_content_is_refused(tmp_path):
    path = save(tmp_path / "flair.nii.gz", grey())
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF  # in the checksum
    path.write_bytes(content)
    refused(path, "damaged")


def test_an_uncompressed_file_that_is_cut_short_is_refused(tmp_path):
    path = save(tmp_path / "flair.nii", grey())
    path.write_bytes(path.read_bytes()[:-100])
    refused(path, "cut short")


def test_a_header_that_promises_more_than_the_file_can_hold_is_refused_before_allocating(tmp_path):
    path = save(tmp_path / "flair.nii.gz", grey(), dim=[3, 30000, 30000, 30000, 1, 1, 1, 1])
    refused(path, "cut short or has a damaged header")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_become_zero_with_a_warning_that_counts_them(tmp_path, value):
    array = grey()
    array[3, 4, :5] = value
    volume = image.read_volume(save(tmp_path / "flair.nii.gz", array))
    assert not volume.array[3, 4, :5].any()
    np.testing.assert_array_equal(volume.array[4:], array[4:])
    assert volume.warnings == ("5 of 2160 voxels of the FLAIR are NaN or Inf: set to 0",)


def test_values_beyond_float32_count_as_inf(tmp_path):
    array = grey(dtype=np.float64)
    array[0, 0, 0] = 1e300
    volume = image.read_volume(save(tmp_path / "flair.nii.gz", array))
    assert volume.array[0, 0, 0] == 0 and "1 of 2160" in volume.warnings[0]


@pytest.mark.parametrize(
    ("value", "words"), [(0, "all zero"), (7, "constant (7 everywhere)"), (np.nan, "only NaN or Inf")]
)
def test_an_image_without_contrast_is_refused(tmp_path, value, words):
    refused(save(tmp_path / "flair.nii.gz", np.full(SHAPE, value, np.float32)), words)


def test_a_4d_series_is_refused_with_its_number_of_frames(tmp_path):
    refused(save(tmp_path / "flair.nii.gz", grey((20, 18, 6, 12))), "12 frames", "one 3D frame")


def test_a_2d_image_is_refused(tmp_path):
    refused(save(tmp_path / "flair.nii.gz", grey((20, 18))), "not 3D")


def test_an_rgb_image_is_refused(tmp_path):
    rgb = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    refused(save(tmp_path / "flair.nii.gz", rgb), "RGB")


def test_a_complex_image_is_refused(tmp_path):
    refused(save(tmp_path / "flair.nii.gz", grey().astype(np.complex64)), "complex")


@pytest.mark.parametrize("shape", [(2, 2, 2), (15, 15, 40), (200, 8, 8)])
def test_a_tiny_image_is_refused(tmp_path, shape):
    refused(save(tmp_path / "flair.nii.gz", grey(shape)), "x".join(map(str, shape)))


@pytest.mark.parametrize("shape", [(16, 16, 1), (1, 40, 40), (30, 5, 30)])
def test_a_thin_image_is_taken_whatever_axis_is_thin(tmp_path, shape):
    assert image.read_volume(save(tmp_path / "flair.nii.gz", grey(shape))).shape == shape


@pytest.mark.parametrize("spacing", [0, -1, np.nan, np.inf])
def test_an_impossible_spacing_is_refused_not_mended(tmp_path, spacing):
    pixdim = [1, 1, spacing, 3, 1, 1, 1, 1]
    refused(save(tmp_path / "flair.nii.gz", grey(), pixdim=pixdim), "voxel size", "x3 mm")


@pytest.mark.parametrize("row", [(0, 0, 0, 0), (1, 0, 0, 0), (0, np.nan, 0, 0), (0, 1, 0, np.inf)])
def test_a_singular_or_non_finite_affine_is_refused(tmp_path, row):
    refused(save(tmp_path / "flair.nii.gz", grey(), srow_y=row), "affine")


def test_axes_far_from_right_angles_are_refused(tmp_path):
    affine = np.eye(4)
    affine[0, 1] = 3
    refused(save(tmp_path / "flair.nii.gz", grey(), affine), "far from right angles", "Resample")


def test_an_invalid_quaternion_is_refused(tmp_path):
    path = save(
        tmp_path / "flair.nii.gz", grey(), sform_code=0, qform_code=1, quatern_b=2, quatern_c=0, quatern_d=0
    )
    refused(path, "invalid orientation")


def test_a_file_without_orientation_works_and_says_what_is_assumed(tmp_path):
    path = save(tmp_path / "flair.nii.gz", grey(), sform_code=0, qform_code=0)
    volume = image.read_volume(path)
    np.testing.assert_array_equal(volume.affine, nib.load(path).affine)
    assert len(volume.warnings) == 1 and "LAS is assumed" in volume.warnings[0]


def test_a_voxel_size_in_other_units_is_pointed_out(tmp_path):
    labels = image.read_labels(save(tmp_path / "labels.nii.gz", grey(), np.diag([900.0, 900, 4000, 1])))
    assert labels.warnings == ("the label image has voxels of 900x900x4000, taken as mm",)


@pytest.mark.parametrize("value", [0.5, np.nan, 3e9])
def test_labels_that_are_not_whole_numbers_are_refused(tmp_path, value):
    array = np.zeros(SHAPE, np.float64)
    array[1, 1, 1] = value
    path = save(tmp_path / "mask.nii.gz", array)
    refused(path, "not whole numbers", read=image.read_labels)


def test_an_empty_mask_of_any_size_is_taken(tmp_path):
    path = save(tmp_path / "mask.nii.gz", np.zeros((2, 2, 2), np.uint8))
    assert not image.read_labels(path).array.any()


def test_a_t1_that_does_not_overlap_the_flair_is_refused(tmp_path):
    affine = np.eye(4)
    affine[0, 3] = 500
    flair = image.read_volume(save(tmp_path / "flair.nii.gz", grey()))
    t1 = image.read_volume(save(tmp_path / "t1.nii.gz", grey(), affine), "T1")
    with pytest.raises(InputError, match=r"t1\.nii\.gz: .*0\.0 % of the field of view of flair\.nii\.gz"):
        image.resample_onto(t1, flair)


def full_disk_after(monkeypatch, written: int) -> None:
    """The disk takes so many compressed writes, then is full."""
    real, left = gzip.GzipFile.write, [written]

    def write(self, data):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, data)

    monkeypatch.setattr(gzip.GzipFile, "write", write)


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def flair(tmp_path) -> image.Volume:
    folder = tmp_path / "in"
    folder.mkdir()
    return image.read_volume(save(folder / "flair.nii.gz", grey()))


def case(flair: image.Volume, value: int = 0) -> export.CaseData:
    return export.CaseData(
        "P1",
        np.zeros(flair.shape, np.uint8),
        np.zeros(flair.shape, np.int32),
        np.full(flair.shape, value / 100, np.float32),
        [],
        {"model": {"name": f"model {value}"}},
        b"png",
    )


def write(out: Path, flair: image.Volume, value: int = 0, writer=None) -> None:
    assert flair.path is not None
    export.write_case(out, case(flair, value), writer or image.NiftiWriter(flair), flair.path, "copy")


def test_a_full_disk_while_writing_a_volume_leaves_the_earlier_file(tmp_path, flair, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    image.write_volume(out / "mask.nii.gz", np.zeros(SHAPE, np.uint8), flair)
    before = snapshot(out)
    full_disk_after(monkeypatch, 2)
    with pytest.raises(InputError, match="the disk is full") as caught:
        image.write_volume(out / "mask.nii.gz", np.ones(SHAPE, np.uint8), flair)
    assert str(out) in str(caught.value)
    assert snapshot(out) == before


@pytest.mark.parametrize("written", [0, 3, 6, 9])
def test_a_full_disk_while_writing_a_case_leaves_nothing_behind(tmp_path, flair, monkeypatch, written):
    before = snapshot(tmp_path)
    full_disk_after(monkeypatch, written)
    with pytest.raises(InputError, match="the disk is full") as caught:
        write(tmp_path / "out" / "deep", flair)
    assert str(tmp_path / "out" / "deep") in str(caught.value) and ".part" not in str(caught.value)
    assert snapshot(tmp_path) == before


def test_a_full_disk_leaves_an_earlier_case_as_it_was(tmp_path, flair, monkeypatch):
    write(tmp_path / "out", flair, value=1)
    before = snapshot(tmp_path)
    full_disk_after(monkeypatch, 6)
    with pytest.raises(InputError, match="the disk is full"):
        write(tmp_path / "out", flair, value=2)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("failing", range(1, 15))
def test_a_failure_while_renaming_puts_the_earlier_case_back(tmp_path, flair, monkeypatch, failing):
    write(tmp_path / "out", flair, value=1)
    before = snapshot(tmp_path)
    real, calls = Path.rename, [0]

    def rename(self, target):
        calls[0] += 1
        if calls[0] == failing:
            raise OSError(errno.EIO, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(InputError, match="Input/output error"):
        write(tmp_path / "out", flair, value=2)
    assert snapshot(tmp_path) == before


class InterruptedWriter(image.NiftiWriter):
    def probability(self, path, array):
        super().probability(path, array)
        raise KeyboardInterrupt


def test_ctrl_c_leaves_nothing_behind(tmp_path, flair):
    before = snapshot(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "out", flair, writer=InterruptedWriter(flair))
    assert snapshot(tmp_path) == before


def test_an_output_folder_below_a_file_is_refused(tmp_path, flair):
    (tmp_path / "taken").write_text("a file")
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match="cannot write into this folder"):
        write(tmp_path / "taken" / "out", flair)
    assert snapshot(tmp_path) == before


def test_an_output_folder_without_permission_is_refused(tmp_path, flair, monkeypatch):
    # chmod would not stop a test that runs as root
    def mkdir(self, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    before = snapshot(tmp_path)
    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(InputError, match=r"Permission denied.*Choose a folder"):
        write(tmp_path / "out", flair)
    assert snapshot(tmp_path) == before


def test_a_flair_that_is_gone_is_named_not_the_output_folder(tmp_path, flair):
    assert flair.path is not None
    flair.path.unlink()
    with pytest.raises(InputError, match=r"flair\.nii\.gz: the FLAIR cannot be read"):
        write(tmp_path / "out", flair)
