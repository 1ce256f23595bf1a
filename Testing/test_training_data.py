"""From a listing to the pool that training draws from: cases, placement, painting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lesion_training import pool
from lesion_training.cases import (
    BACKGROUND,
    DOUBTFUL,
    IGNORE,
    UNMARKED_BRIGHT,
    Preparation,
    PreparedCase,
    is_lesion,
    prepare_case,
)
from lesion_training.listing import LISTINGS, read_listing
from lesion_training.recipe import CaseSettings
from lesion_training.variants import FLUID, Banks, Painter, ignore_unmarked, painted_variant, place
from LesionSegmenterLib.engine.preprocessing import WorkingGrid, prepare
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.instances import label_components
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.synthesis.anatomy import Anatomy, load_anatomy
from LesionSegmenterLib.synthesis.head import add_noise, synthetic_head
from small_data import THICK, InThisProcess, row, save_case, small_data, write_listing


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return small_data(tmp_path_factory.mktemp("data") / "cases")


def entry(data: Path, case: str = "first", **changes):
    """The one entry of a listing of one row."""
    listing = write_listing(data / "one.tsv", [row(case, **changes)])
    return read_listing(listing, data)[0]


# The listing


def test_a_listing_gives_each_column_its_meaning(data):
    first = entry(
        data, lesion_values="2,3", doubtful_values="1", type="stroke", whole_head=1, complete=0, weight=2.5
    )
    assert first.image == data / "first.nii.gz" and first.mask == data / "first_mask.nii.gz"
    assert (first.lesion_values, first.doubtful_values, first.ventricle_values) == ((2, 3), (1,), ())
    assert first.type == LesionType.STROKE
    assert (first.whole_head, first.complete, first.weight, first.painted) == (True, False, 2.5, 0)
    assert entry(data, mask="").mask is None


def without(column: str) -> dict[str, str]:
    return {name: value for name, value in row("first").items() if name != column}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([without("mask")], "no column 'mask'"),
        ([row("first"), row("second", type="tumour")], "line 3 .*tumour"),
        ([row("first", lesion_values="one")], "line 2 .*one"),
        ([row("first", image="none.nii.gz")], r"none\.nii\.gz.*missing"),
        ([row("first", mask="none.nii.gz")], r"none\.nii\.gz.*missing"),
        ([row("first", patient="p"), row("second", patient="p", split="validation")], "p stands in two"),
        ([], "names no case"),
    ],
)
def test_a_listing_that_cannot_be_used_is_refused(data, rows, says):
    with pytest.raises(InputError, match=says):
        read_listing(write_listing(data / "bad.tsv", rows), data)


def test_a_missing_a_cut_and_a_binary_listing_are_refused(data):
    with pytest.raises(InputError, match="no such listing"):
        read_listing(data / "none.tsv", data)
    whole = write_listing(data / "cut.tsv", [row("first")]).read_text()
    (data / "cut.tsv").write_text(whole[: whole.rindex("first.nii.gz")])
    with pytest.raises(InputError, match="line 2"):
        read_listing(data / "cut.tsv", data)
    (data / "binary.tsv").write_bytes(b"\x1f\x8b\x00\xff\xfe" * 9)
    with pytest.raises(InputError, match="binary"):
        read_listing(data / "binary.tsv", data)


# Cases


def test_a_cases_targets_follow_the_values_of_its_mask(data):
    labels = nib.Nifti1Image.from_filename(data / "first_mask.nii.gz").get_fdata()
    case = prepare_case(entry(data, lesion_values="1,3", doubtful_values="2", ventricle_values="4"))
    assert case.target.shape == case.image.shape and case.image.dtype == np.float32
    # 3x3x6 mm become 1x1x6 mm.
    for target, values in ((1, (1, 3)), (DOUBTFUL, (2,))):
        assert (case.target == target).sum() == pytest.approx(9 * np.isin(labels, values).sum(), rel=0.1)
    assert case.ventricles is not None
    assert case.ventricles.sum() == pytest.approx(9 * (labels == 4).sum(), rel=0.1)
    assert set(np.unique(case.target)) == {BACKGROUND, 1, DOUBTFUL}
    # Each lesion lies on what is bright in the image.
    assert case.image[case.target > 0].min() > case.image[case.target == 0].mean()


@pytest.mark.parametrize(("kind", "target"), [("WMH", 1), ("MS", 1), ("stroke", 2)])
def test_a_lesions_target_follows_the_type_of_its_case(data, kind, target):
    case = prepare_case(entry(data, lesion_values="1,2,3,4", type=kind))
    assert set(np.unique(case.target)) == {BACKGROUND, target}


def test_a_value_that_is_lesion_and_doubtful_is_lesion(data):
    case = prepare_case(entry(data, lesion_values="1", doubtful_values="1,2"))
    assert (case.target == 1).any() and (case.target == DOUBTFUL).any()


def test_what_an_incomplete_truth_leaves_out_is_doubtful_where_it_is_bright(data):
    complete = prepare_case(entry(data, lesion_values="1"))
    partial = prepare_case(entry(data, lesion_values="1", complete=0))
    bright = (complete.image > UNMARKED_BRIGHT) & (complete.target == BACKGROUND)
    assert bright.any()
    np.testing.assert_array_equal(partial.target == DOUBTFUL, bright)
    np.testing.assert_array_equal(partial.target == 1, complete.target == 1)


def test_a_mask_on_another_grid_is_refused(data):
    save_case(data, "moved")
    mask = nib.Nifti1Image.from_filename(data / "moved_mask.nii.gz")
    affine = mask.affine.copy()
    affine[0, 3] += 1
    nib.save(nib.Nifti1Image(np.asarray(mask.dataobj), affine), data / "moved_mask.nii.gz")
    with pytest.raises(InputError, match="another grid"):
        prepare_case(entry(data, "moved"))


def test_the_public_listings_cases_read_and_prepare(data_dir):
    entries = read_listing(LISTINGS / "public.tsv", data_dir)
    assert {e.split for e in entries} == {"train", "validation"}
    for one in entries:
        case = prepare_case(one)
        lesion = is_lesion(case.target)
        assert lesion.any() == (one.mask is not None), one.case
        assert lesion.mean() < 0.03, one.case
        assert np.abs(np.median(case.image[case.image > -2])) < 0.6, one.case
        if lesion.any() and one.type is not LesionType.STROKE:
            assert np.median(case.image[lesion]) > 1, one.case


# Placement and painting


def as_case(flair: np.ndarray, *, whole_head: bool) -> tuple[PreparedCase, WorkingGrid]:
    (image,), grid, _ = prepare(flair, (1.0, 1.0, 1.0))
    target = np.zeros(image.shape, np.uint8)
    return PreparedCase("a", "a", image, target, grid.spacing, grid.slice_axis, whole_head, 1.0), grid


@pytest.fixture(scope="module", params=["stripped", "whole"])
def head_case(request) -> tuple[PreparedCase, np.ndarray, Anatomy]:
    """A head with the atlas's own anatomy, where the voxel of MNI 0 lies in it, and the anatomy."""
    rng, skull = np.random.default_rng(0), request.param == "whole"
    head = synthetic_head(load_anatomy(), rng, skull=skull)
    flair = add_noise(head.flair, 3, rng)
    if not skull:
        flair *= head.anatomy.brain > 0.5
    case, grid = as_case(flair, whole_head=skull)
    origin = -head.anatomy.affine[:3, 3] - [start for start, _ in grid.box]
    ventricles = grid.gather(head.anatomy.ventricles.astype(np.float32)) > 0.5
    return case, origin, replace(head.anatomy, ventricles=ventricles)


def test_placement_finds_mni_points_and_ventricles_to_within_a_few_mm(head_case):
    case, origin, anatomy = head_case
    placement = place(case, load_anatomy())
    for mni in ((0, 0, 0), (40, -20, 30), (-40, 30, 20), (0, -60, 40), (20, 20, -20)):
        np.testing.assert_allclose(placement.scale * mni + placement.offset, origin + mni, atol=5)
    overlap = 2 * (placement.ventricles & anatomy.ventricles).sum()
    assert overlap / (placement.ventricles.sum() + anatomy.ventricles.sum()) > 0.8
    assert not (placement.white & placement.ventricles).any()


def test_ventricles_that_the_truth_marks_are_taken_from_it(head_case):
    case, _, _ = head_case
    marked = np.zeros(case.image.shape, bool)
    middle = [n // 2 for n in marked.shape]
    marked[tuple(slice(m - 15, m + 15) for m in middle)] = True
    placement = place(replace(case, ventricles=marked), load_anatomy())
    np.testing.assert_array_equal(placement.ventricles, marked)


@pytest.fixture(scope="module")
def thick_case(data) -> PreparedCase:
    return prepare_case(entry(data, lesion_values="1,2,3,4"))


def test_thick_images_keep_their_slices_on_the_working_grid(thick_case):
    assert thick_case.spacing == pytest.approx((1, 1, THICK[2]), rel=0.03)
    assert not thick_case.isotropic and thick_case.slice_axis == 2


@pytest.mark.parametrize("seed", range(6))
def test_a_painted_variant_leaves_its_source_alone_and_paints_only_in_tissue(data, thick_case, seed):
    case = thick_case
    image, target = case.image.copy(), case.target.copy()
    placement = place(case, load_anatomy())
    painted = painted_variant(case, placement, Banks.open(data), Preparation(), np.random.default_rng(seed))
    np.testing.assert_array_equal(case.image, image)
    np.testing.assert_array_equal(case.target, target)
    changed = painted.image != image
    new = (painted.target != target) & is_lesion(painted.target)
    assert changed.any() and new.any()
    assert image[changed].min() > FLUID
    assert image[new].min() > 0.6 * FLUID
    assert changed[new].mean() > 0.99
    assert (painted.image - image)[new].mean() > 0.3
    # What was a lesion stays one.
    np.testing.assert_array_equal(painted.target[target == 1], 1)
    again = painted_variant(case, placement, Banks.open(data), Preparation(), np.random.default_rng(seed))
    np.testing.assert_array_equal(again.image, painted.image)


def test_what_is_painted_has_the_class_of_its_type_and_ids_of_its_own(data, thick_case):
    """Every connected piece is a lesion; those that were there keep their ids; other types leave the loss."""
    banks, placement = Banks.open(data), place(thick_case, load_anatomy())
    ids = label_components(is_lesion(thick_case.target), 6)
    case = replace(thick_case, instances=ids)
    wanted = Preparation({LesionType.WMH: 1, LesionType.STROKE: 2, LesionType.MS: 3})
    wmh_alone = Preparation({LesionType.WMH: 1})
    seen = set()
    for seed in range(8):
        painted = painted_variant(case, placement, banks, wanted, np.random.default_rng(seed))
        np.testing.assert_array_equal(painted.instances[ids > 0], ids[ids > 0])
        np.testing.assert_array_equal(painted.instances > 0, is_lesion(painted.target))
        for number in np.unique(painted.instances[(ids == 0) & (painted.instances > 0)]):
            lesion = painted.instances == number
            assert len(np.unique(painted.target[lesion])) == 1
            assert label_components(lesion, 6).max() == 1 or number <= ids.max()
        seen |= set(np.unique(painted.target[painted.target != case.target]).tolist())
        unknown = painted_variant(case, placement, banks, wmh_alone, np.random.default_rng(seed))
        assert not np.isin(unknown.target, (2, 3)).any()
    assert {1, 2, 3} <= seen
    assert (unknown.target == IGNORE).any() or 2 not in seen


@pytest.mark.parametrize(("programme", "classes"), [("ms", {3}), ("wmh", {1}), ("stroke", {2})])
def test_a_recipe_says_what_a_painted_person_has(data, thick_case, programme, classes):
    banks, placement = Banks.open(data), place(thick_case, load_anatomy())
    case = replace(thick_case, target=np.zeros_like(thick_case.target))
    wanted = Preparation(
        {LesionType.WMH: 1, LesionType.STROKE: 2, LesionType.MS: 3}, programmes={programme: 0.2}
    )
    seen: set[int] = set()
    for seed in range(4):
        painted = painted_variant(case, placement, banks, wanted, np.random.default_rng(seed))
        seen |= set(np.unique(painted.target[is_lesion(painted.target)]).tolist())
    assert seen == classes


def test_strokes_are_painted_as_bright_as_the_recipe_says(data, thick_case):
    banks, placement = Banks.open(data), place(thick_case, load_anatomy())
    flat = np.where(thick_case.image > -2, 0, thick_case.image)
    case = replace(thick_case, image=flat, target=np.zeros_like(thick_case.target))
    levels = []
    for contrast in (1.0, 3.0):
        wanted = Preparation(
            {LesionType.STROKE: 2}, programmes={"stroke": 1.0}, stroke_contrast=(contrast, contrast)
        )
        painted = [
            painted_variant(case, placement, banks, wanted, np.random.default_rng(seed)) for seed in range(4)
        ]
        bright = np.concatenate([p.image[(p.target == 2) & (p.image > 0)] for p in painted])
        levels.append(np.median(bright))
    assert levels == pytest.approx([1.0, 3.0], rel=0.3)


def test_the_cavity_of_an_old_infarct_is_dark_within_a_bright_rim_and_belongs_to_it(thick_case):
    case = replace(thick_case, image=np.zeros_like(thick_case.image), target=np.zeros_like(thick_case.target))
    wanted = Preparation({LesionType.STROKE: 2})
    painter = Painter(case, place(thick_case, load_anatomy()), wanted, np.random.default_rng(0))
    fine = np.array(painter.placement.fine_shape)
    start = fine // 2 - 12
    painter.paint_fine(np.ones((24, 24, 24), bool), start, 3.0, LesionType.STROKE, rim=4.0)
    low = np.round(start / painter.per_voxel).astype(int)
    high = np.round((start + 24) / painter.per_voxel).astype(int)
    lesion = tuple(slice(a + 1, b - 1) for a, b in zip(low, high, strict=True))
    assert (painter.target[lesion] == 2).mean() > 0.95
    middle = painter.image[tuple((low + high) // 2)]
    assert FLUID - 0.5 < middle < -1
    assert painter.image[low[0] + 1, (low[1] + high[1]) // 2, (low[2] + high[2]) // 2] > 1


def test_bright_white_matter_of_a_partial_truth_leaves_the_loss_and_other_bright_voxels_do_not(thick_case):
    placement = place(thick_case, load_anatomy())
    target = np.full(thick_case.image.shape, DOUBTFUL, np.uint8)
    target[:, :, ::2] = 1
    case = replace(thick_case, target=target)
    ignore_unmarked(case, placement)
    np.testing.assert_array_equal(case.target[:, :, ::2], 1)
    odd = case.target[:, :, 1::2]
    assert set(np.unique(odd)) == {DOUBTFUL, IGNORE}
    assert (odd[:12, :12] == DOUBTFUL).all(), "air, far from white matter"


def test_the_pool_does_not_depend_on_the_number_of_workers(data, monkeypatch):
    rows = [row("first", painted=1, weight=3), row("second", type="stroke", weight=1)]
    entries = read_listing(write_listing(data / "pool.tsv", rows), data)
    shares = CaseSettings(real=0.5, painted=0.3, synthetic=0.2, synthetic_heads=1)
    told: list[tuple[int, int]] = []

    def build(**options) -> list[PreparedCase]:
        return pool.build_pool(
            entries, data, shares, 5, lambda *n: told.append(n), preparation=Preparation(), **options
        )

    parallel = build(workers=2)
    assert told == [(1, 3), (2, 3), (3, 3)]
    monkeypatch.setattr(pool, "ProcessPoolExecutor", InThisProcess)
    sequential = build()
    assert [c.name for c in parallel] == ["first", "first+painted", "second", "synthetic-000+painted"]
    for one, other in zip(parallel, sequential, strict=True):
        assert (one.name, one.weight) == (other.name, other.weight)
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.target, other.target)
    # The shares of the draws are the recipe's, divided by weight within a kind.
    np.testing.assert_allclose([c.weight for c in parallel], [0.375, 0.3, 0.125, 0.2])
