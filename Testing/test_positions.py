"""Position classes of lesions, the summary of a scan, and `lesion-segmenter measure` with masks."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import cdist

from LesionSegmenterLib.cli import main
from LesionSegmenterLib.errors import InputError
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.lesions_tsv import read_lesions_tsv
from LesionSegmenterLib.measure import Totals, measure_lesions, summarise, volume_ml
from LesionSegmenterLib.positions import Position, classify_positions

MM1 = np.eye(4)
PERIVENTRICULAR, JUXTACORTICAL, DEEP, INFRATENTORIAL, UNKNOWN = Position


def at(*voxels: tuple[int, int, int], shape=(30, 12, 12)) -> np.ndarray:
    """An image with the ids 1, 2, ... at these voxels."""
    image = np.zeros(shape, np.int32)
    for lesion_id, voxel in enumerate(voxels, 1):
        image[voxel] = lesion_id
    return image


def test_lesions_within_3_mm_of_the_ventricles_are_periventricular_within_1_mm_of_the_cortex_juxtacortical():
    ventricles, cortex = at((2, 5, 5)) > 0, at((25, 5, 5)) > 0
    lesions = at((5, 5, 5), (6, 5, 5), (24, 5, 5), (23, 5, 5))
    assert classify_positions(lesions, MM1, ventricles, cortex) == {
        1: PERIVENTRICULAR,  # 3 mm from it
        2: DEEP,  # 4 mm
        3: JUXTACORTICAL,  # touches
        4: DEEP,  # 2 mm
    }


def test_distances_are_in_mm_along_each_axis():
    ventricles = at((5, 5, 5)) > 0
    lesions = at((5 + 6, 5, 5), (5 + 7, 5, 5), (5, 5 + 2, 5), (5, 5 + 3, 5))
    found = classify_positions(lesions, np.diag([-0.5, 1.4, 1, 1]), ventricles)
    assert list(found.values()) == [PERIVENTRICULAR, UNKNOWN, PERIVENTRICULAR, UNKNOWN]


def test_a_lesion_in_the_next_thick_slice_touches_though_its_centre_is_far():
    ventricles = at((5, 5, 5)) > 0
    lesions = at((5, 5, 6), (6, 6, 4), (5, 5, 7))
    found = classify_positions(lesions, np.diag([1, 1, 6.5, 1]), ventricles, cortex=ventricles)
    assert list(found.values()) == [PERIVENTRICULAR, PERIVENTRICULAR, DEEP]


def test_a_lesion_over_a_mask_or_at_the_edge_of_the_image_is_near_it():
    ventricles = at((0, 0, 0), (29, 11, 11)) > 0
    found = classify_positions(at((0, 0, 0), (29, 11, 9)), MM1, ventricles)
    assert list(found.values()) == [PERIVENTRICULAR, PERIVENTRICULAR]


def test_from_the_ventricles_to_the_cortex_is_periventricular_and_mostly_infratentorial_is_infratentorial():
    everywhere = np.ones((30, 12, 12), bool)
    lesions = np.zeros(everywhere.shape, np.int32)
    lesions[2:6, 5, 5], lesions[12:16, 5, 5] = 1, 2
    infratentorial = np.zeros_like(everywhere)
    infratentorial[2:4], infratentorial[12:15] = True, True  # 2 of 4 voxels, and 3 of 4
    found = classify_positions(lesions, MM1, everywhere, everywhere, infratentorial)
    assert found == {1: PERIVENTRICULAR, 2: INFRATENTORIAL}


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ({}, [UNKNOWN, UNKNOWN, UNKNOWN]),
        ({"ventricles": (5, 5, 5)}, [PERIVENTRICULAR, UNKNOWN, UNKNOWN]),
        ({"cortex": (15, 5, 5)}, [UNKNOWN, JUXTACORTICAL, UNKNOWN]),
        ({"infratentorial": (25, 5, 5)}, [UNKNOWN, UNKNOWN, INFRATENTORIAL]),
        ({"ventricles": (5, 5, 5), "cortex": (15, 5, 5)}, [PERIVENTRICULAR, JUXTACORTICAL, DEEP]),
    ],
)
def test_what_no_mask_tells_is_unknown(masks, expected):
    lesions = at((5, 5, 5), (15, 5, 5), (25, 5, 5))
    given_masks = {name: at(voxel) for name, voxel in masks.items()}
    assert list(classify_positions(lesions, MM1, **given_masks).values()) == expected


def test_ids_are_ascending_however_large_and_a_scan_without_lesions_has_no_positions():
    lesions = at((5, 5, 5), (9, 5, 5)) * np.int32(-1_000_000_000) + np.int32(2_000_000_001)
    lesions[lesions == 2_000_000_001] = 0
    assert list(classify_positions(lesions, MM1)) == [1, 1_000_000_001]
    assert classify_positions(np.zeros((3, 3, 3), np.int32), MM1, np.ones((3, 3, 3))) == {}


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"cortex mask .* differ in shape"):
        classify_positions(at((1, 1, 1)), MM1, cortex=np.ones((3, 3, 3)))


sides = st.integers(8, 140).map(lambda n: n / 20)


@settings(deadline=None, max_examples=60)
@given(
    hnp.arrays(np.int32, (7, 6, 5), elements=st.sampled_from([0] * 12 + [1, 2, 3])),
    hnp.arrays(np.bool_, (7, 6, 5), elements=st.sampled_from([False] * 25 + [True])),
    st.tuples(sides, sides, sides),
    st.floats(0, 360),
)
def test_nearness_is_that_of_all_pairs_of_voxels(lesions, ventricles, spacing, degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.diag(spacing)
    found = classify_positions(lesions, affine, ventricles)
    targets = np.argwhere(ventricles)
    for lesion_id in np.unique(lesions[lesions > 0]):
        own = np.argwhere(lesions == lesion_id)
        touches = targets.size and cdist(own, targets, "chebyshev").min() <= 1
        near = targets.size and cdist(own * spacing, targets * spacing).min() <= 3 + 1e-9
        assert (found[lesion_id] == PERIVENTRICULAR) == bool(touches or near)


# The summary of a scan


def records():
    """1 (WMH, 8 mm3), 2 (MS, 4 mm3, 3 mm long) and 3 (MS, 1 mm3, rejected)."""
    image = np.zeros((12, 8, 8), np.int32)
    image[1:3, 1:3, 1:3], image[5:9, 1, 1], image[10, 5, 5] = 1, 2, 3
    kinds = {1: LesionType.WMH, 2: LesionType.MS, 3: LesionType.MS}
    one, two, three = measure_lesions(image, MM1, types=kinds)
    return [one, two, replace(three, status="rejected")]


def test_a_summary_counts_by_type_and_position_and_leaves_rejected_lesions_out():
    summary = summarise(records(), {1: DEEP, 3: DEEP}, brain_ml=1.2)
    assert summary.total == Totals(2, 0.012)
    assert summary.by_type == {LesionType.WMH: Totals(1, 0.008), LesionType.MS: Totals(1, 0.004)}
    assert summary.by_position == {DEEP: Totals(1, 0.008), UNKNOWN: Totals(1, 0.004)}
    assert list(summary.by_position) == [DEEP, UNKNOWN]
    assert summary.largest_diameter_mm == 3
    assert summary.percent_of_brain == pytest.approx(1.0)


def test_what_was_not_given_is_not_said_in_a_summary():
    summary = summarise([])
    assert summary.total == Totals(0, 0) and summary.largest_diameter_mm == 0
    assert summary.by_type == {} and summary.by_position == {} and summary.percent_of_brain is None


def test_a_percentage_of_an_empty_brain_is_refused():
    with pytest.raises(InputError, match="brain mask is empty"):
        summarise(records(), brain_ml=0.0)


def test_the_volume_of_a_mask_is_in_millilitres():
    assert volume_ml(np.ones((10, 10, 10)), np.diag([-2, 1, 3, 1])) == pytest.approx(6)


# lesion-segmenter measure


@pytest.fixture
def images(tmp_path) -> dict[str, Path]:
    """Ids and masks on a grid of 2 mm3 voxels: lesion 1 in the ventricle, 2 at the cortex, 3 in neither."""
    contents = {
        "ids": at((5, 5, 5), (15, 5, 5), (20, 2, 2)),
        "ventricles": at((5, 5, 5)),
        "cortex": at((16, 5, 5)),
        "infratentorial": at((1, 1, 1)),
        "brain": np.ones((30, 12, 12), np.int32),
    }
    paths = {name: tmp_path / f"{name}.nii.gz" for name in contents}
    for name, content in contents.items():
        nib.save(nib.Nifti1Image(content.astype(np.int16), np.diag([1, 1, 2.0, 1])), paths[name])
    return paths


def measure(images: dict[str, Path], *masks: str, out: Path | None = None) -> int:
    arguments = ["measure", str(images["ids"])]
    for name in masks:
        arguments += [f"--{name}", str(images[name])]
    return main(arguments + (["--out", str(out)] if out else []))


def test_measure_with_masks_gives_positions_and_the_share_of_the_brain(images, tmp_path, capsys):
    out = tmp_path / "lesions.tsv"
    assert measure(images, "ventricles", "cortex", "infratentorial", "brain", out=out) == 0
    with out.open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["position"] for row in rows] == ["periventricular", "juxtacortical", "deep"]
    assert [record.lesion_id for record in read_lesions_tsv(out)] == [1, 2, 3]
    said = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert said[-6:] == [
        "all: 3 lesions, 0.01 ml",
        "periventricular: 1 lesion, 0.00 ml",
        "juxtacortical: 1 lesion, 0.00 ml",
        "deep: 1 lesion, 0.00 ml",
        "largest diameter: 0.0 mm",
        f"lesion volume: {100 * 3 / 4320:.2f} % of the brain mask",
    ]


def test_measure_without_masks_says_nothing_of_positions(images, tmp_path, capsys):
    assert measure(images, out=tmp_path / "lesions.tsv") == 0
    assert "position" not in (tmp_path / "lesions.tsv").read_text()
    said = capsys.readouterr().out
    assert "all:" in said and "unknown" not in said and "%" not in said


@pytest.mark.parametrize("name", ["ventricles", "cortex", "infratentorial", "brain"])
def test_measure_refuses_a_mask_on_another_grid_or_without_a_voxel(images, name, capsys):
    image = nib.load(images[name])
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), np.diag([1, 1, 2.1, 1])), images[name])
    assert measure(images, name) == 2
    assert f"the {name} mask is not on the grid of ids.nii.gz" in capsys.readouterr().err
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.int16), image.affine), images[name])
    assert measure(images, name) == 2
    assert f"the {name} mask is empty" in capsys.readouterr().err
