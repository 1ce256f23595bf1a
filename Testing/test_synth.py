"""`lesion-train synth`: random people's lesions, their true ids, and the case folders."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from lesion_training import synth
from lesion_training.banks import MaskBank
from lesion_training.cli import main
from LesionSegmenterLib.export import read_case
from LesionSegmenterLib.image import read_labels, read_volume, same_grid
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.synthesis.anatomy import Anatomy, procedural_anatomy
from LesionSegmenterLib.synthesis.head import deform
from LesionSegmenterLib.synthesis.programmes import random_lesions
from LesionSegmenterLib.synthesis.shapes import (
    beside,
    dawson_fingers,
    infratentorial,
    juxtacortical,
    numbered,
    ovoid,
    striatocapsular,
)


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return deform(procedural_anatomy(), np.random.default_rng(0))


@pytest.fixture(scope="module")
def programmes(anatomy) -> dict[str, list]:
    """The lesion groups of one person with each programme."""
    names = ("ms", "wmh", "stroke", "mixed")
    return {name: list(random_lesions(anatomy, np.random.default_rng(4), name)) for name in names}


@pytest.mark.parametrize(
    ("programme", "types"),
    [
        ("ms", [LesionType.MS]),
        ("wmh", [LesionType.WMH]),
        ("stroke", [LesionType.STROKE]),
        ("mixed", [LesionType.STROKE, LesionType.WMH]),
    ],
)
def test_each_programme_gives_its_own_types_within_the_brain(programmes, anatomy, programme, types):
    groups = programmes[programme]
    assert [group.type for group in groups] == types
    for group in groups:
        inside = group.instances > 0
        assert 50 < inside.sum() < 300_000 and anatomy.brain[inside].mean() > 0.9
        assert group.contrast > 10


def test_touching_ovoids_are_one_component_and_two_lesions():
    first = ovoid((40, 40, 40), np.array([20.0, 16.0, 20.0]), np.array([1.0, 0.0, 0.0]), 7, 3)
    ids = numbered([first, beside(first, np.random.default_rng(1))])
    assert set(np.unique(ids)) == {0, 1, 2}
    assert ndimage.label(ids > 0, np.ones((3, 3, 3)))[1] == 1


def test_lesions_lie_where_their_names_say(anatomy):
    rng = np.random.default_rng(2)
    up = np.arange(anatomy.brain.shape[2]) + anatomy.affine[2, 3]
    for level in infratentorial(anatomy, rng, 3):
        assert up[np.argwhere(level < 1)[:, 2]].max() < -5
    for side in (-1, 1):
        found = np.argwhere(striatocapsular(anatomy, rng, side) < 1)[:, 0] + anatomy.affine[0, 3]
        assert len(found) > 300 and (found * side > 0).all()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_as_many_lesions_are_made_as_are_asked_for(anatomy, count):
    for shape in (dawson_fingers, juxtacortical, infratentorial):
        assert len(shape(anatomy, np.random.default_rng(0), count)) == count


def test_a_banks_infarct_lies_at_its_own_place_in_the_world(anatomy, tmp_path):
    bank = MaskBank(bank_of_one(tmp_path))
    ids = synth.bank_infarct(bank, anatomy, np.random.default_rng(0))
    assert ids is not None
    centre = anatomy.affine[:3, :3] @ np.argwhere(ids).mean(0) + anatomy.affine[:3, 3]
    np.testing.assert_allclose(np.abs(centre), np.abs([25, 0, 30]), atol=3)


def test_the_severity_asked_for_is_how_much_wmh_there_is(anatomy):
    def volume(severity: tuple[float, float]) -> int:
        (group,) = random_lesions(anatomy, np.random.default_rng(1), "wmh", severity=severity)
        return int((group.instances > 0).sum())

    assert volume((0.5, 0.6)) < 2000 < 20_000 < volume((2.9, 3.0)) < volume((4.2, 4.5))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two heads in thick slices, from the command."""
    out = tmp_path_factory.mktemp("synth")
    status = main([*ARGUMENTS, "--out", str(out), "--count", "2", "--slice-mm", "6", "8", "--seed", "5"])
    return status, out


ARGUMENTS = ["synth", "--programme", "ms", "--in-plane-mm", "1", "1.2"]


def test_the_command_writes_reviewed_case_folders_with_true_ids(written):
    status, out = written
    assert status == 0
    case = read_case(out, "synth0001")
    flair, ids = read_volume(case.flair), read_labels(case.paths["instances"])
    assert same_grid(flair, ids) and 6 <= round(max(flair.spacing)) <= 8
    assert case.sidecar["reviewed"] is True and case.sidecar["scan_type"] == "MS"
    assert {record.status for record in case.records} == {"accepted"}
    assert {record.lesion_id for record in case.records} == set(np.unique(ids.array)) - {0}
    assert out in case.flair.parents


def test_the_same_seed_makes_the_same_case_and_heads_differ(written, tmp_path):
    _, out = written
    again = [*ARGUMENTS, "--out", str(tmp_path), "--count", "1", "--slice-mm", "6", "8", "--seed", "5"]
    assert main(again) == 0
    first, same, second = (
        read_case(folder, name).flair.read_bytes()
        for folder, name in ((out, "synth0001"), (tmp_path, "synth0001"), (out, "synth0002"))
    )
    assert first == same and first != second


@pytest.mark.parametrize(
    "wrong",
    [
        ("--count", "0"),
        ("--slice-mm", "4", "2"),
        ("--in-plane-mm", "0", "1"),
        ("--severity", "2", "1"),
        ("--severity", "3", "6"),
        ("--data", "nowhere"),
    ],
)
def test_unusable_arguments_end_in_one_line(wrong, tmp_path, capsys):
    assert main(["synth", "--out", str(tmp_path / "out"), *wrong]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def bank_of_one(folder):
    """A bank file with one ball of 10 mm about (25, 0, 30) mm."""
    grid = np.indices((60, 60, 60)).reshape(3, -1).T
    affine = np.eye(4)
    affine[:3, 3] = (-5, -30, 0)
    ball = (np.linalg.norm(grid + affine[:3, 3] - (25, 0, 30), axis=1) < 10).reshape(60, 60, 60)
    path = folder / "bank.npz"
    np.savez(
        path, bits=np.packbits(ball), ptr=np.array([0, 27000]), shape=np.array([[60, 60, 60]]),
        offset=np.array([[0, 0, 0]]), grid=np.array([60, 60, 60]), affine=affine,
        volume_mm3=np.array([ball.sum()]), source=np.array(["one"]),
    )  # fmt: skip
    return path
