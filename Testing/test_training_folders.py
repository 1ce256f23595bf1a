"""Which cases a folder holds: exported ones, BIDS data sets, listings; who is reviewed, and who validates."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lesion_training.cases import IGNORE, Preparation, is_lesion, prepare_case
from lesion_training.folders import find_entries
from lesion_training.listing import read_listing, write_listing
from lesion_training.splits import SplitSettings, draw_splits
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.labels import LesionType
from small_data import save_case
from training_cases import AFFINE, export_case, tiny_head, write_listed

BINARY = dict.fromkeys(LesionType, 1)
OWN = {LesionType.WMH: 1, LesionType.STROKE: 2, LesionType.MS: 3}  # a class a type, of its label value
ISO = Preparation(BINARY, instances=True, keep_slices=False)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """The images of two heads."""
    return write_listed(tmp_path_factory.mktemp("images"), thick=False, splits=("train", "validation"))


@pytest.fixture
def exports(tmp_path, images) -> Path:
    """A folder with one exported case: lesion 1 rejected, 2 unreviewed, 3 edited, the others accepted."""
    _, _, types, ids = tiny_head(0)
    statuses = {1: "rejected", 2: "proposed", 3: "edited"}
    export_case(tmp_path / "cases", "p1", images / "0_flair.nii.gz", types, ids, statuses)
    return tmp_path / "cases"


# Exported cases


def test_of_an_exported_case_rejected_lesions_are_background_and_unreviewed_ones_out_of_the_loss(exports):
    (entry,) = find_entries([exports])
    assert (entry.case, entry.patient, entry.split) == ("p1", "p1", "train")
    ids = tiny_head(0)[3]
    case = prepare_case(entry, replace(ISO, classes=OWN))
    assert case.instances is not None and case.image.shape == case.target.shape
    # The head is cropped to its own box: its lesions are found again by their numbers of voxels.
    assert (case.target == IGNORE).sum() == (ids == 2).sum()
    for lesion in (3, 4, 5, 6):
        assert (case.instances == lesion).sum() == (ids == lesion).sum()
        assert len(np.unique(case.target[case.instances == lesion])) == 1
    assert not np.isin(case.instances, (1, 2)).any()
    assert is_lesion(case.target).sum() == np.isin(ids, (3, 4, 5, 6)).sum()


def test_unreviewed_lesions_count_as_they_are_where_the_user_says_so(exports):
    (entry,) = find_entries([exports], unreviewed="count")
    ids = tiny_head(0)[3]
    case = prepare_case(entry, ISO)
    assert is_lesion(case.target).sum() == (ids > 1).sum() and not (case.target == IGNORE).any()


def test_cases_that_nobody_reviewed_are_left_out_and_a_folder_of_them_refused(exports, images):
    _, _, types, ids = tiny_head(1)
    proposed = dict.fromkeys(range(1, 7), "proposed")
    export_case(exports, "p2", images / "1_flair.nii.gz", types, ids, proposed, reviewed=False)
    told: list[str] = []
    assert [entry.case for entry in find_entries([exports], warn=told.append)] == ["p1"]
    assert "p2" in told[0] and "nobody has reviewed" in told[0]
    assert len(find_entries([exports], unreviewed="count")) == 2
    shutil.rmtree(exports / "sub-p1")
    with pytest.raises(InputError, match=r"no exported case here has been reviewed.*--unreviewed count"):
        find_entries([exports])


def test_a_reviewed_case_without_any_lesion_is_a_case(tmp_path, images):
    nothing = np.zeros(tiny_head(0)[3].shape, np.int32)
    export_case(tmp_path / "cases", "p1", images / "0_flair.nii.gz", nothing.astype(np.uint8), nothing)
    (entry,) = find_entries([tmp_path / "cases"])
    assert not prepare_case(entry, ISO).target.any()


def test_the_folder_of_the_only_rater_is_found_and_of_several_one_must_be_named(exports):
    exports.rename(exports.parent / "rater-AB")
    assert find_entries([exports.parent])[0].case == "p1"
    shutil.copytree(exports.parent / "rater-AB", exports.parent / "rater-CD")
    with pytest.raises(InputError, match="several raters: rater-AB, rater-CD"):
        find_entries([exports.parent])
    assert find_entries([exports.parent / "rater-CD"])[0].case == "p1"


def test_single_cases_may_be_named_and_those_nobody_reviewed_are_left_out_among_others(exports, images):
    _, _, types, ids = tiny_head(1)
    proposed = dict.fromkeys(range(1, 7), "proposed")
    export_case(exports, "p2", images / "1_flair.nii.gz", types, ids, proposed, reviewed=False)
    entries = find_entries([exports / "sub-p1", exports / "sub-p2"])
    assert [(entry.case, entry.dataset) for entry in entries] == [("p1", "cases")]


def test_an_export_whose_flair_has_moved_is_refused_by_name(exports):
    sidecar = next(exports.glob("sub-p1/anat/*lesions.json"))
    content = json.loads(sidecar.read_text())
    content["flair"]["path"] = "/nowhere/flair.nii.gz"
    sidecar.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"FLAIR of subject p1 is not where it was: /nowhere"):
        find_entries([exports])


# BIDS


def bids(folder: Path, images: Path, mask: str, derivative: str = "derivatives/manual") -> Path:
    """A data set of one FLAIR and T1, whose mask has this name in a derivative; returns the data set."""
    raw, labels = folder / "sub-01" / "anat", folder / derivative / "sub-01" / "anat"
    for place in (raw, labels):
        place.mkdir(parents=True, exist_ok=True)
    shutil.copy(images / "0_flair.nii.gz", raw / "sub-01_FLAIR.nii.gz")
    shutil.copy(images / "0_t1.nii.gz", raw / "sub-01_T1w.nii.gz")
    shutil.copy(images / "0_types.nii.gz", labels / mask)
    return folder


def test_a_bids_mask_is_of_the_type_that_its_label_names(tmp_path, images):
    data = bids(tmp_path, images, "sub-01_label-stroke_mask.nii.gz")
    for folder in (data, data / "derivatives" / "manual"):
        (entry,) = find_entries([folder])
        assert (
            entry.type == LesionType.STROKE and entry.t1 is not None and entry.t1.name == "sub-01_T1w.nii.gz"
        )
        # A mask's lesions have the value 1; this one's other values would be something else.
        assert entry.lesion_values == (1,)


def test_a_bids_dseg_holds_the_values_that_its_table_names_or_the_case_folders(tmp_path, images):
    data = bids(tmp_path, images, "sub-01_dseg.nii.gz")
    types = tiny_head(0)[2]
    whole = prepare_case(find_entries([data])[0], replace(ISO, classes=OWN))
    assert [(whole.target == v).sum() for v in (1, 2, 3)] == [(types == v).sum() for v in (1, 2, 3)]
    table = data / "derivatives/manual/sub-01/anat/sub-01_dseg.tsv"
    table.write_text("index\tname\n0\tbackground\n1\tstroke\n2\tMS\n3\tWMH\n")
    (entry,) = find_entries([data])
    assert entry.typed == {1: LesionType.STROKE, 2: LesionType.MS, 3: LesionType.WMH}
    table.write_text("index\tname\n1\ttumour\n")
    with pytest.raises(InputError, match=r"dseg\.tsv.*tumour"):
        find_entries([data])


def test_sessions_of_one_subject_are_one_patient(tmp_path, images):
    for session in ("01", "02"):
        anat = tmp_path / "sub-7" / f"ses-{session}" / "anat"
        anat.mkdir(parents=True)
        shutil.copy(images / "0_flair.nii.gz", anat / f"sub-7_ses-{session}_FLAIR.nii.gz")
        shutil.copy(images / "0_types.nii.gz", anat / f"sub-7_ses-{session}_dseg.nii.gz")
    entries = find_entries([tmp_path])
    assert [entry.case for entry in entries] == ["7ses01", "7ses02"]
    assert {entry.patient for entry in entries} == {"7"} and len({entry.split for entry in entries}) == 1


def test_an_image_without_its_mask_and_one_with_two_are_refused_by_name(tmp_path, images):
    data = bids(tmp_path, images, "sub-01_dseg.nii.gz")
    shutil.copy(images / "0_types.nii.gz", data / "sub-01/anat/sub-01_label-MS_mask.nii.gz")
    with pytest.raises(InputError, match=r"sub-01_FLAIR\.nii\.gz.*several lesion masks"):
        find_entries([data])
    for mask in data.rglob("*_mask.nii.gz"), data.rglob("*_dseg.nii.gz"):
        for path in mask:
            path.unlink()
    with pytest.raises(InputError, match=r"sub-01_FLAIR\.nii\.gz.*no lesion mask"):
        find_entries([data])


# Listings


def test_a_listing_of_images_and_masks_alone_is_enough(images):
    (images / "plain.tsv").write_text("image\tmask\n0_flair.nii.gz\t0_types.nii.gz\n")
    (entry,) = read_listing(images / "plain.tsv", images)
    assert (entry.case, entry.patient, entry.split, entry.weight) == ("0_flair", "0_flair", "", 1)
    assert entry.typed == {int(kind): kind for kind in LesionType}


def test_lesion_values_may_state_a_type_each(images):
    (images / "typed.tsv").write_text(
        "image\tmask\tlesion_values\n0_flair.nii.gz\t0_types.nii.gz\t1=MS,2=WMH,3\n"
    )
    (entry,) = read_listing(images / "typed.tsv", images)
    assert [entry.type_of(v) for v in (1, 2, 3)] == [LesionType.MS, LesionType.WMH, LesionType.LESION]


def test_a_listing_that_was_written_reads_back(exports, tmp_path, images):
    entries = [
        *find_entries([exports, images]),
        *find_entries([bids(tmp_path / "b", images, "sub-01_dseg.nii.gz")]),
    ]
    entries[1] = replace(
        entries[1], marked=(LesionType.WMH, LesionType.MS), complete=False, painted=3, weight=0.5
    )
    write_listing(tmp_path / "cases.tsv", entries)
    assert read_listing(tmp_path / "cases.tsv", tmp_path) == [
        replace(entry, image=entry.image.absolute()) for entry in entries
    ]


def test_a_folder_without_a_case_is_refused_by_name(tmp_path):
    with pytest.raises(
        InputError, match=rf"{tmp_path}: there is no case in this folder\. Give a folder with"
    ):
        find_entries([tmp_path])
    with pytest.raises(InputError, match=r"nor any that public\.tsv lists"):
        find_entries([tmp_path], listing="public.tsv")


# What every image is checked for


def case_of(folder: Path, **changes):
    save_case(folder, "one")
    (folder / "cases.tsv").write_text("image\tmask\tlesion_values\none.nii.gz\tone_mask.nii.gz\t1,2,3,4\n")
    return replace(find_entries([folder])[0], **changes)


def test_a_value_outside_the_map_is_refused_with_the_file_and_the_value(tmp_path):
    entry = case_of(tmp_path, typed={int(kind): kind for kind in LesionType})
    image = nib.load(entry.mask)
    labels = np.asarray(image.dataobj).copy()
    labels[labels == 2] = 77
    nib.save(nib.Nifti1Image(labels, image.affine), entry.mask)
    with pytest.raises(InputError, match=r"one_mask\.nii\.gz: the mask holds the value 77"):
        prepare_case(entry)


def test_what_is_mended_on_reading_is_told(tmp_path):
    entry = case_of(tmp_path)
    image = nib.load(entry.image)
    array = image.get_fdata(dtype=np.float32)
    array[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(array, image.affine), entry.image)
    told: list[str] = []
    assert np.isfinite(prepare_case(entry, warn=told.append).image).all()
    assert len(told) == 1 and "one.nii.gz" in told[0] and "NaN" in told[0]


def test_a_recipe_that_reads_a_t1_refuses_a_case_without_one(tmp_path):
    with pytest.raises(InputError, match=r"one\.nii\.gz: the recipe reads a T1"):
        prepare_case(case_of(tmp_path), Preparation(t1=True))


# Partial labels


def test_a_type_with_a_class_of_its_own_that_is_not_marked_is_noted(images):
    entry = replace(find_entries([images])[0], marked=(LesionType.WMH,))
    case = prepare_case(entry, replace(ISO, classes=OWN))
    assert case.unmarked == (2, 3) and not (case.target == IGNORE).any()


def test_of_a_binary_network_bright_background_is_ignored_where_a_type_is_not_marked(images):
    entry = find_entries([images])[0]
    marked = (LesionType.WMH,)
    only_wmh = replace(
        entry, lesion_values=(1,), typed={1: LesionType.WMH, 2: LesionType.STROKE, 3: LesionType.MS}
    )
    case = prepare_case(replace(only_wmh, marked=marked), ISO)
    whole = prepare_case(entry, ISO)
    assert case.unmarked == ()
    left_out = is_lesion(whole.target) & ~is_lesion(case.target)
    assert (case.target[left_out] == IGNORE).mean() > 0.95, "strokes and MS are bright and unmarked"
    assert (case.target[whole.image < 0] != IGNORE).all()


# Splits


def listed(images: Path, patients: list[str], **splits: str):
    entry = find_entries([images])[0]
    return [replace(entry, case=str(n), patient=p, split=splits.get(p, "")) for n, p in enumerate(patients)]


def test_patients_are_drawn_by_their_share_and_stay_whole(images):
    patients = [f"p{n % 40}" for n in range(80)]
    drawn = draw_splits(listed(images, patients), SplitSettings(0.2, 0.1), seed=3)
    by_patient = {entry.patient: entry.split for entry in drawn}
    assert all(by_patient[entry.patient] == entry.split for entry in drawn)
    counts = {split: list(by_patient.values()).count(split) for split in ("train", "validation", "test")}
    assert counts == {"train": 28, "validation": 8, "test": 4}


def test_the_split_follows_from_the_seed_and_not_from_the_order(images):
    entries = listed(images, [f"p{n}" for n in range(20)])
    one, turned = (draw_splits(some, SplitSettings(), 1) for some in (entries, entries[::-1]))
    assert {e.patient: e.split for e in one} == {e.patient: e.split for e in turned}
    other = draw_splits(entries, SplitSettings(), 2)
    assert [e.split for e in one] != [e.split for e in other]


def test_few_new_patients_move_few_others(images):
    before = draw_splits(listed(images, [f"p{n}" for n in range(50)]), SplitSettings(), 0)
    after = draw_splits(listed(images, [f"p{n}" for n in range(55)]), SplitSettings(), 0)
    moved = sum(a.split != b.split for a, b in zip(before, after, strict=False))
    assert moved <= 3


def test_stated_splits_stand_and_two_patients_leave_one_to_validate(images):
    drawn = draw_splits(listed(images, ["a", "b", "c"], a="test"), SplitSettings(), 0)
    assert drawn[0].split == "test" and sorted(e.split for e in drawn[1:]) == ["train", "validation"]
    assert [e.split for e in draw_splits(listed(images, ["a"]), SplitSettings(), 0)] == ["train"]


def test_one_patient_in_two_folders_splits_is_refused(images, tmp_path):
    for name, split in (("one", "train"), ("two", "validation")):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("0_flair.nii.gz", "0_types.nii.gz"):
            shutil.copy(images / file, folder / file)
        (folder / "cases.tsv").write_text(
            f"patient\tsplit\timage\tmask\nanna\t{split}\t0_flair.nii.gz\t0_types.nii.gz\n"
        )
    with pytest.raises(InputError, match="patient anna stands in two splits"):
        find_entries([tmp_path / "one", tmp_path / "two"])


def test_the_tiny_heads_have_what_these_tests_count_on():
    _, _, types, ids = tiny_head(0)
    assert set(np.unique(ids)) == set(range(7)) and set(np.unique(types)) == {0, 1, 2, 3}
    assert AFFINE.shape == (4, 4)
