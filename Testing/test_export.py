"""The case folder: names, tables, sidecar, reading back; and the montage and table of `report`."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread

from LesionSegmenterLib import export, image, lesions_tsv, report
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.labels import TYPE_COLOURS, LesionType
from LesionSegmenterLib.lesions import LesionRecord

SHAPE = (24, 20, 6)
RECORDS = [
    LesionRecord(
        1, LesionType.MS, 12.5, 8, (-1.25, 2.5, 30.0), 4.75, 0.875, 0.9, "accepted", (3, 4), "", 0.6
    ),
    LesionRecord(2, LesionType.STROKE, 4.0, 4, (10.0, -20.0, 0.0), 2.0),
]


@pytest.fixture
def flair(tmp_path) -> image.Volume:
    array = np.random.default_rng(0).integers(1, 100, SHAPE).astype(np.int16)
    affine = np.diag([-0.9, 0.9, 6.5, 1])
    nib.save(nib.Nifti1Image(array, affine), tmp_path / "flair.nii.gz")
    return image.read_volume(tmp_path / "flair.nii.gz")


def case(subject="P1", **changes) -> export.CaseData:
    instances = np.zeros(SHAPE, np.int32)
    instances[2:4, 2:4, 1:3], instances[8:10, 8:10, 4] = 1, 2
    types = np.array([0, 3, 2], np.uint8)[instances]
    content = {
        "types": types,
        "instances": instances,
        "probability": (types > 0) * 0.75,
        "records": RECORDS,
        "sidecar": {"model": {"name": "uresnet-flair", "sha256": "0" * 64}},
        "qc_png": b"picture",
    }
    return export.CaseData(subject, **(content | changes))


def write(out: Path, flair: image.Volume, keep="path", **changes) -> dict[str, Path]:
    assert flair.path is not None
    return export.write_case(out, case(**changes), image.NiftiWriter(flair), flair.path, keep)


def files(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def test_the_case_folder_has_exactly_the_contracts_files(tmp_path, flair):
    write(tmp_path / "out", flair, keep="copy")
    assert files(tmp_path / "out") == [
        "dataset_description.json",
        "sub-P1/anat/sub-P1_FLAIR.nii.gz",
        "sub-P1/anat/sub-P1_desc-instance_dseg.nii.gz",
        "sub-P1/anat/sub-P1_desc-lesion_probseg.nii.gz",
        "sub-P1/anat/sub-P1_desc-lesions.json",
        "sub-P1/anat/sub-P1_desc-lesions.tsv",
        "sub-P1/anat/sub-P1_desc-qc.png",
        "sub-P1/anat/sub-P1_desc-type_dseg.nii.gz",
    ]


def test_its_images_have_the_contracts_types_and_the_flairs_affine(tmp_path, flair):
    paths = write(tmp_path / "out", flair)
    for name, dtype, expected in (
        ("types", np.uint8, case().types),
        ("instances", np.int32, case().instances),
        ("probability", np.uint8, case().probability),
    ):
        stored = nib.load(paths[name])
        assert stored.get_data_dtype() == dtype
        np.testing.assert_allclose(stored.get_fdata(), expected, atol=0.002)
        np.testing.assert_array_equal(stored.affine, nib.load(flair.path).affine)


def test_the_data_set_description_is_a_bids_derivatives_and_is_kept_if_there(tmp_path, flair):
    path = write(tmp_path / "out", flair)["description"]
    content = json.loads(path.read_text())
    assert content["DatasetType"] == "derivative"
    assert content["Name"] and content["BIDSVersion"] and content["GeneratedBy"][0]["Name"]
    path.write_text("the user's own")
    write(tmp_path / "out", flair, subject="P2")
    assert path.read_text() == "the user's own"


def test_the_table_has_exactly_the_contracts_columns_and_values(tmp_path):
    lesions_tsv.write_lesions_tsv(tmp_path / "lesions.tsv", RECORDS)
    assert (tmp_path / "lesions.tsv").read_bytes().decode() == (
        "lesion_id\ttype\ttype_confidence\tstatus\tvolume_mm3\tvoxels\tcentroid_r_mm\tcentroid_a_mm\t"
        "centroid_s_mm\tmax_diameter_mm\tmean_probability\tparents\tconfidence\n"
        "1\tMS\t0.9000\taccepted\t12.500\t8\t-1.25\t2.50\t30.00\t4.75\t0.8750\t3,4\t0.6000\n"
        "2\tstroke\tn/a\tproposed\t4.000\t4\t10.00\t-20.00\t0.00\t2.00\tn/a\tn/a\tn/a\n"
    )


chances = st.none() | st.integers(0, 10_000).map(lambda n: n / 10_000)
hundredths = st.integers(-(10**5), 10**5).map(lambda n: n / 100)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.builds(
            LesionRecord,
            lesion_id=st.integers(1, 10**6),
            type=st.sampled_from(LesionType),
            volume_mm3=st.integers(0, 10**9).map(lambda n: n / 1000),
            voxels=st.integers(1, 10**7),
            centroid_ras_mm=st.tuples(hundredths, hundredths, hundredths),
            max_diameter_mm=hundredths.map(abs),
            mean_probability=chances,
            type_confidence=chances,
            confidence=chances,
            status=st.sampled_from(lesions_tsv.STATUSES),
            parents=st.lists(st.integers(1, 999), max_size=3).map(tuple),
        ),
        unique_by=lambda record: record.lesion_id,
        max_size=5,
    )
)
def test_a_table_reads_back_as_it_was_written(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("table") / "lesions.tsv"
    lesions_tsv.write_lesions_tsv(path, records)
    assert lesions_tsv.read_lesions_tsv(path) == records


def test_a_table_saved_by_a_spreadsheet_reads_in_any_column_order(tmp_path):
    lesions_tsv.write_lesions_tsv(tmp_path / "a.tsv", RECORDS)
    rows = list(csv.DictReader((tmp_path / "a.tsv").open(), delimiter="\t"))
    turned = io.StringIO()
    writer = csv.DictWriter(turned, [*reversed(lesions_tsv.COLUMNS), "note"], delimiter="\t")
    writer.writeheader()
    writer.writerows(rows)
    (tmp_path / "b.tsv").write_bytes(b"\xef\xbb\xbf" + turned.getvalue().encode())
    assert lesions_tsv.read_lesions_tsv(tmp_path / "b.tsv") == RECORDS


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("volume_mm3", "volume", "no column volume_mm3"),
        ("\tMS\t", "\ttumour\t", "line 2 .*tumour"),
        ("proposed", "maybe", "line 3 .*unknown status 'maybe'"),
        ("12.500", "12,500", "line 2"),
        ("\t3,4\t0.6000\n", "\n", "line 2"),
        ("\n2\t", "\n1\t", "an id twice|a lesion id twice"),
    ],
)
def test_a_damaged_table_is_refused_with_its_line(tmp_path, old, new, words):
    path = tmp_path / "lesions.tsv"
    lesions_tsv.write_lesions_tsv(path, RECORDS)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=words):
        lesions_tsv.read_lesions_tsv(path)


def test_an_empty_file_is_no_table_but_a_header_alone_is_an_empty_one(tmp_path):
    path = tmp_path / "lesions.tsv"
    path.write_text("")
    with pytest.raises(InputError, match="no column"):
        lesions_tsv.read_lesions_tsv(path)
    lesions_tsv.write_lesions_tsv(path, [])
    assert lesions_tsv.read_lesions_tsv(path) == []


def test_the_sidecar_names_model_subject_labels_and_the_flair_by_path_and_checksum(tmp_path, flair):
    sidecar = json.loads(write(tmp_path / "out", flair)["sidecar"].read_text())
    checksum = hashlib.sha256(flair.path.read_bytes()).hexdigest()
    assert sidecar["flair"] == {"path": str(flair.path), "sha256": checksum}
    assert sidecar["subject"] == "P1" and sidecar["model"]["name"] == "uresnet-flair"
    assert sidecar["labels"] == {"1": "WMH", "2": "stroke", "3": "MS", "4": "lesion"}


def test_a_copied_flair_is_the_same_bytes_and_an_uncompressed_one_is_packed(tmp_path, flair):
    copied = write(tmp_path / "a", flair, keep="copy")["flair"]
    assert copied.read_bytes() == flair.path.read_bytes() and not copied.is_symlink()
    plain = tmp_path / "plain.nii"
    plain.write_bytes(gzip.decompress(flair.path.read_bytes()))
    packed = write(tmp_path / "b", image.read_volume(plain), keep="copy")["flair"]
    assert packed.name == "sub-P1_FLAIR.nii.gz"
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()


def test_a_linked_flair_points_to_the_source(tmp_path, flair):
    linked = write(tmp_path / "out", flair, keep="link")["flair"]
    assert linked.is_symlink() and linked.samefile(flair.path)


@pytest.mark.parametrize("keep", ["copy", "link"])
def test_a_cases_own_flair_can_be_segmented_again(tmp_path, flair, keep):
    own = write(tmp_path / "out", flair, keep="copy")["flair"]
    content = own.read_bytes()
    write(tmp_path / "out", image.read_volume(own), keep=keep)
    assert own.read_bytes() == content and not own.is_symlink()


def test_the_same_case_gives_the_same_bytes(tmp_path, flair):
    contents = [
        {name: path.read_bytes() for name, path in write(tmp_path / name, flair, keep="copy").items()}
        for name in ("a", "b")
    ]
    assert contents[0] == contents[1]


def test_writing_again_replaces_all_and_leaves_nothing_of_the_earlier_case(tmp_path, flair):
    write(tmp_path / "out", flair)
    empty = {name: np.zeros_like(getattr(case(), name)) for name in ("types", "instances")}
    paths = write(tmp_path / "out", flair, **empty, records=[], probability=None, qc_png=None)
    assert "probability" not in paths and "qc" not in paths
    assert files(tmp_path / "out") == sorted(
        str(path.relative_to(tmp_path / "out")) for path in paths.values()
    )
    assert export.read_case(tmp_path / "out").records == []


def test_the_sidecar_is_the_last_file_to_appear(tmp_path, flair, monkeypatch):
    renamed = []
    real = Path.rename

    def rename(self, target):
        renamed.append(Path(target).name)
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    write(tmp_path / "out", flair)
    assert renamed[-1] == "sub-P1_desc-lesions.json"
    renamed.clear()
    write(tmp_path / "out", flair)
    assert renamed[0] == renamed[-1] == "sub-P1_desc-lesions.json"


def test_a_case_reads_back_with_its_files_records_and_sidecar(tmp_path, flair):
    paths = write(tmp_path / "out", flair, keep="copy")
    for found in (export.read_case(tmp_path / "out"), export.read_case(tmp_path / "out" / "sub-P1")):
        assert found.subject == "P1" and found.records == RECORDS
        assert found.flair == paths["flair"]
        assert found.paths["instances"] == paths["instances"]
        assert found.sidecar["model"]["name"] == "uresnet-flair"


def test_a_folder_of_several_cases_asks_for_a_subject(tmp_path, flair):
    for subject in ("P2", "P1"):
        write(tmp_path / "out", flair, subject=subject)
    assert export.complete_subjects(tmp_path / "out") == ["P1", "P2"]
    with pytest.raises(InputError, match=r"2 cases \(P1, P2.*Name one subject"):
        export.read_case(tmp_path / "out")
    assert export.read_case(tmp_path / "out", "P2").flair == flair.path


@pytest.mark.parametrize("name", ["sidecar", "types", "instances", "lesions"])
def test_a_case_that_lacks_a_file_is_refused_by_its_name(tmp_path, flair, name):
    path = write(tmp_path / "out", flair)[name]
    path.unlink()
    with pytest.raises(InputError, match=path.name):
        export.read_case(tmp_path / "out", "P1")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_damaged_sidecar_is_refused(tmp_path, flair, content):
    write(tmp_path / "out", flair)["sidecar"].write_text(content)
    with pytest.raises(InputError, match="sidecar is damaged"):
        export.read_case(tmp_path / "out")


@pytest.mark.parametrize(
    "changes",
    [
        {"types": np.zeros((2, 2, 2), np.uint8)},
        {"types": np.zeros(SHAPE, np.uint8)},
        {"types": np.zeros(SHAPE, np.int64)},
        {"records": RECORDS[:1]},
        {"records": [*RECORDS, RECORDS[0]]},
    ],
    ids=["shape", "types without ids", "dtype", "id without record", "two records"],
)
def test_a_case_that_contradicts_itself_is_never_written(tmp_path, flair, changes):
    with pytest.raises(ValueError):
        write(tmp_path / "out", flair, **changes)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("/data/patient_07-FLAIR.nii.gz", "patient07FLAIR"),
        ("sub-A12_ses-1_FLAIR.nii.gz", "A12"),
        ("Müller 3.NII", "Muller3"),
        ("104252", "104252"),
    ],
)
def test_a_subject_id_is_made_from_a_file_name(name, subject):
    assert export.subject_id(name) == subject


def test_a_name_without_letters_and_digits_gives_no_subject():
    with pytest.raises(InputError, match="--subject"):
        export.subject_id("___.nii.gz")


@pytest.mark.parametrize("subject", ["", "a b", "../x", "a_b", "ü", "a\n"])
def test_an_id_that_is_not_bids_is_refused(tmp_path, subject):
    with pytest.raises(InputError, match="not a subject ID"):
        export.case_paths(tmp_path, subject)


def montage(instances=None, spacing=(0.9, 0.9, 6.5), **options):
    data = case()
    ramp = np.broadcast_to(np.linspace(10, 100, SHAPE[0], dtype=np.float32)[:, None, None], SHAPE)
    ids = data.instances if instances is None else instances
    types = np.array([0, 3, 2], np.uint8)[ids]
    content = report.qc_montage(ramp, types, ids, spacing, **options)
    return content, imread(io.BytesIO(content))[..., :3]


def columns_of(picture: np.ndarray, lesion_type: LesionType) -> np.ndarray:
    """The screen columns with that type's colour, the legend below left out."""
    colour = np.array(TYPE_COLOURS[lesion_type])
    return np.unique(np.nonzero((np.abs(picture[:-60] - colour) < 0.01).all(axis=2))[1])


def test_the_montage_outlines_each_type_in_its_colour_with_the_patients_right_on_the_left():
    data = case()
    only_left = np.where(data.instances == 1, data.instances, 0)  # low R index: the patient's left
    _, picture = montage(only_left, max_slices=1)
    columns = columns_of(picture, LesionType.MS)
    assert columns.min() > 0.7 * picture.shape[1]
    assert columns_of(picture, LesionType.STROKE).size == 0
    assert picture[picture.shape[0] // 2, 40].mean() > picture[picture.shape[0] // 2, -40].mean()


def test_touching_lesions_of_one_type_are_told_apart_in_the_montage():
    whole = np.zeros(SHAPE, np.int32)
    whole[8:16, 8:12, 2] = 1
    halves = whole.copy()
    halves[12:16, 8:12, 2] = 3
    table = np.array([0, 3, 2, 3], np.uint8)
    grey = np.zeros(SHAPE, np.float32) + np.arange(SHAPE[0], dtype=np.float32)[:, None, None]

    def outlined_pixels(ids: np.ndarray) -> int:
        picture = imread(io.BytesIO(report.qc_montage(grey, table[ids], ids, (1, 1, 5), max_slices=1)))
        colour = np.array(TYPE_COLOURS[LesionType.MS])
        return int((np.abs(picture[:-60, :, :3] - colour) < 0.01).all(axis=2).sum())

    assert outlined_pixels(halves) > 1.2 * outlined_pixels(whole) > 0


@pytest.mark.parametrize("spacing", [(2, 1, 5), (1, 1, 5), (1, 6, 5), (0.45, 0.6, 5)])
def test_panels_keep_the_physical_aspect_ratio(spacing):
    plane = np.zeros((40, 30))
    panel = report._panel(plane, plane, plane, spacing, (0, 1))
    assert panel.shape[0] / panel.shape[1] == pytest.approx(30 * spacing[1] / (40 * spacing[0]), rel=0.02)


def test_the_montage_is_the_same_bytes_each_time_and_carries_no_metadata():
    content, _ = montage(title="sub-P1")
    assert content == montage(title="sub-P1")[0]
    assert b"tEXt" not in content


@pytest.mark.parametrize("shape", [(24, 20, 1), (24, 20, 40), (3, 60, 7)])
def test_a_case_without_lesions_still_has_its_picture(shape):
    flair = np.random.default_rng(0).random(shape).astype(np.float32)
    empty = np.zeros(shape, np.int32)
    content = report.qc_montage(flair, empty.astype(np.uint8), empty, (1, 1, 3))
    assert imread(io.BytesIO(content)).ndim == 3


def test_slices_are_those_with_the_most_lesion_and_not_neighbours():
    instances = np.zeros((10, 10, 30), np.int32)
    for k, count in {3: 4, 4: 9, 5: 8, 20: 5}.items():
        instances[:count, 0, k] = 1
    chosen = report._choose_slices(instances, instances == 0, gap=1.0, count=2)
    assert chosen == [4, 20]


def test_the_table_lists_the_largest_lesions_and_the_totals_by_type():
    text = report.lesion_table(RECORDS, limit=1)
    lines = text.splitlines()
    assert lines[1].split() == ["L0001", "MS", "0.013", "4.8", "0.88", "-1.2", "2.5", "30.0"]
    assert "and 1 smaller" in text and "L0002" not in text
    assert lines[-2:] == ["stroke:     1 lesion, 0.00 ml", "MS:         1 lesion, 0.01 ml"]
    assert report.lesion_table([]) == "no lesion found"
