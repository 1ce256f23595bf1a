"""Bundles of 3D networks that give instances: from a FLAIR to lesions split at their centres."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from heads import bright_bundle, centred_affine, head
from LesionSegmenterLib import bundle as bundles
from LesionSegmenterLib.cli import main
from LesionSegmenterLib.engine.device import Device
from LesionSegmenterLib.engine.model import Model, load_model
from LesionSegmenterLib.engine.prediction import predict
from LesionSegmenterLib.engine.preprocessing import WorkingGrid
from LesionSegmenterLib.errors import BundleError
from LesionSegmenterLib.networks import NETWORKS
from LesionSegmenterLib.networks.conflunet import ConfLUNet

ISOTROPIC = (1.0, 1.0, 1.0)

# In RAS mm; the first two overlap.
CONES = [((-20.0, 10.0, 6.0), 12.0), ((-2.0, 10.0, 6.0), 12.0), ((20.0, -25.0, -6.0), 9.0)]


def coned_head(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A head with lesions that are brightest at their centres."""
    image = head(affine, shape, lesions=())
    world = nib.affines.apply_affine(affine, np.moveaxis(np.indices(shape), 0, -1))
    for centre, radius in CONES:
        distance = np.linalg.norm(world - centre, axis=-1)
        image = np.maximum(image, 100 + 36 * (1 - 0.5 * distance / radius))
    return image.astype(np.float32)


def spec_of(name: str, arguments: dict, **changes) -> bundles.BundleSpec:
    spec = bundles.BundleSpec(
        name=name,
        version="1.0",
        title="",
        architecture=bundles.Architecture(name, arguments),
        inputs=[bundles.ModelInput("FLAIR")],
        preprocessing={"normalisation": "deep-median-mad", "patch": [96, 96, 96]},
        output=bundles.Output("instances", {1: 3}),
        shape="patch",
        training_data=[],
        licence="CC0-1.0",
    )
    return replace(spec, **changes)


def write(folder: Path, network: nn.Module, spec: bundles.BundleSpec) -> Path:
    content: dict = {"weights.safetensors": save(network.state_dict()), "MODEL_CARD.md": b"#"}
    return bundles.write_bundle(folder, spec, content).folder


def cone_bundle(folder: Path, **changes) -> Path:
    """A tiny ConfLUNet whose weights are set by hand: lesion from a brightness on, heat the brightness.

    The skip of the finest level passes the brightness on; nothing comes up from below. Offsets along the
    first axis are the brightness of the next voxel less that of the last one, which of a cone's voxels leads
    to its tip; along the others they are 0.
    """
    network = ConfLUNet(widths=(4, 2, 2))
    with torch.no_grad():
        for name, weights in network.named_parameters():
            is_scale = weights.ndim == 1 and name.endswith("weight")  # of a batch norm
            weights.fill_(1.0 if is_scale else 0.0)
        convolutions = [m for m in (*network.down[0], *network.after[-1]) if isinstance(m, nn.Conv3d)]
        for convolution in convolutions:
            convolution.weight[0, 0, 1, 1, 1] = 1
        convolutions[-1].weight[1, 0, 2, 1, 1] = convolutions[-1].weight[2, 0, 0, 1, 1] = 1
        network.head.weight[3, 1], network.head.weight[3, 2] = 7, -7
        network.head.weight[1, 0], network.head.bias[1] = 20, -32  # half way at 1.6
        network.head.weight[2, 0] = 0.1
    return write(folder, network, spec_of("conflunet", {"widths": [4, 2, 2]}, **changes))


def run(flair: Path, out: Path, model: Path, *options: str) -> tuple[np.ndarray, dict]:
    """Ids and sidecar of `segment`."""
    fixed = ("--out", out, "--model", model, "--device", "cpu", "--small-lesions", "keep")
    assert main(["segment", str(flair), *map(str, fixed), "--progress", "none", *options]) == 0
    (anat,) = out.glob("sub-*/anat")
    (path,) = anat.glob("*_desc-instance_dseg.nii.gz")
    (sidecar,) = anat.glob("*_desc-lesions.json")
    return np.asarray(nib.load(path).dataobj), json.loads(sidecar.read_text())


@pytest.fixture(scope="module")
def cones(tmp_path_factory) -> Path:
    return cone_bundle(tmp_path_factory.mktemp("models") / "cones")


def save_cones(path: Path, shape: tuple[int, ...], spacing: tuple[float, ...]) -> nib.Nifti1Image:
    image = nib.Nifti1Image(coned_head(affine := centred_affine(shape, spacing), shape), affine)
    nib.save(image, path)
    return image


def check_cones(ids: np.ndarray, affine: np.ndarray) -> None:
    """There is a lesion for each cone, which holds the voxels nearest to it."""
    world = nib.affines.apply_affine(affine, np.moveaxis(np.indices(ids.shape), 0, -1))
    nearest = np.argmin([np.linalg.norm(world - centre, axis=-1) for centre, _ in CONES], axis=0)
    shares = [np.bincount(nearest[ids == lesion], minlength=3) for lesion in range(1, ids.max() + 1)]
    assert sorted(share.argmax() for share in shares) == [0, 1, 2]
    assert all(share.max() > 0.85 * share.sum() for share in shares)  # a plane of voxels may lie between


def test_a_bundle_of_instances_splits_touching_lesions_at_its_centres(tmp_path, cones):
    flair = tmp_path / "flair.nii.gz"
    image = save_cones(flair, (66, 86, 50), (2.0, 2.0, 2.0))
    ids, sidecar = run(flair, tmp_path / "out", cones)
    assert sidecar["settings"]["split"] == "offsets"
    check_cones(ids, image.affine)
    whole, other = run(flair, tmp_path / "whole", cone_bundle(tmp_path / "bundle", split="components"))
    assert other["settings"]["split"] == "components", "the bundle's own choice comes first"
    assert whole.max() == 2
    np.testing.assert_array_equal(ids > 0, whole > 0)


def test_thick_slices_are_split_too_and_components_can_be_asked_for(tmp_path, cones):
    flair = tmp_path / "flair.nii.gz"
    image = save_cones(flair, (66, 114, 20), (2.0, 1.5, 5.0))
    check_cones(run(flair, tmp_path / "out", cones, "--split", "offsets")[0], image.affine)
    assert run(flair, tmp_path / "whole", cones, "--split", "components")[0].max() == 2


def test_offsets_of_a_splitter_part_what_a_model_without_offsets_finds(tmp_path, cones, bright):
    flair = tmp_path / "flair.nii.gz"
    image = save_cones(flair, (66, 86, 50), (2.0, 2.0, 2.0))
    found, _ = run(flair, tmp_path / "found", bright)
    ids, sidecar = run(flair, tmp_path / "out", bright, "--split", "offsets", "--splitter", str(cones))
    assert found.max() == 2
    assert sidecar["settings"]["splitter"] == "conflunet 1.0"
    assert "predicting offsets" in sidecar["seconds"]
    check_cones(ids, image.affine)
    np.testing.assert_array_equal(ids > 0, found > 0)


def test_a_splitter_reads_the_flair_alone_and_its_progress_rises_within_the_stage_of_splitting(
    tmp_path, cones, capsys
):
    flair = tmp_path / "flair.nii.gz"
    save_cones(flair, (66, 86, 50), (2.0, 2.0, 2.0))
    both = bright_bundle(tmp_path / "both", modalities=("FLAIR", "T1"))
    options = ("--split", "offsets", "--splitter", str(cones), "--t1", str(flair), "--threshold", "0.4")
    fixed = ("--out", str(tmp_path / "out"), "--model", str(both), "--device", "cpu", "--progress", "json")
    assert main(["segment", str(flair), *fixed, *options]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions) and fractions[-1] == 1


def test_ids_are_the_same_in_every_run_and_whatever_the_order_of_the_files_axes(tmp_path, cones):
    image = save_cones(tmp_path / "first.nii.gz", (44, 57, 33), (3.0, 3.0, 3.0))
    turn = [[1, -1], [0, 1], [2, -1]]
    nib.save(image, tmp_path / "again.nii.gz")
    nib.save(image.as_reoriented(turn), tmp_path / "turned.nii.gz")
    first, again, turned = (
        run(tmp_path / f"{name}.nii.gz", tmp_path / name, cones)[0] for name in ("first", "again", "turned")
    )
    check_cones(first, image.affine)
    np.testing.assert_array_equal(again, first)
    expected = nib.Nifti1Image(first, image.affine).as_reoriented(turn)
    np.testing.assert_array_equal(turned, np.asarray(expected.dataobj))


class Pointing(nn.Module):
    """Semantic: brightness. Heat: brightness. Offsets: how the brightness rises along each axis."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rises = [x.roll(-1, axis) - x.roll(1, axis) for axis in (2, 3, 4)]
        return torch.cat([torch.zeros_like(x), x, x, *rises], 1)


@pytest.fixture
def pointing(tmp_path, monkeypatch) -> Callable[..., Model]:
    monkeypatch.setitem(NETWORKS, "pointing", Pointing)

    def make() -> Model:
        folder = write(tmp_path / "pointing", Pointing(), spec_of("pointing", {}))
        return load_model(bundles.load_bundle(folder), Device("cpu", "fp32"))

    return make


def test_a_prediction_holds_probabilities_heat_and_offsets_in_the_order_of_the_axes(pointing):
    image = np.random.default_rng(0).standard_normal((8, 9, 10)).astype(np.float32)
    grid = WorkingGrid(image.shape, tuple((0, n) for n in image.shape), image.shape, ISOTROPIC, 2)
    result = predict(pointing(), [image], grid, lambda *_: None)
    np.testing.assert_allclose(result.channels, 1 / (1 + np.exp(-image[None])), atol=1e-6)
    np.testing.assert_array_equal(result.heat, image)
    for axis in range(3):
        rise = np.roll(image, -1, axis) - np.roll(image, 1, axis)
        np.testing.assert_allclose(result.offsets[axis], rise, atol=1e-6)


def test_flip_turns_the_offsets_of_the_mirrored_image_back(pointing):
    image = np.random.default_rng(0).standard_normal((8, 9, 10)).astype(np.float32)
    grid = WorkingGrid(image.shape, tuple((0, n) for n in image.shape), image.shape, ISOTROPIC, 2)
    plain, both = (predict(pointing(), [image], grid, lambda *_: None, flip=f) for f in (False, True))
    # This network treats left and right alike, so that the mean is what each says.
    np.testing.assert_allclose(both.channels, plain.channels, atol=1e-6)
    np.testing.assert_allclose(both.heat, plain.heat, atol=1e-6)
    np.testing.assert_allclose(both.offsets, plain.offsets, atol=1e-6)


def test_windows_average_heat_and_offsets_too(pointing, monkeypatch):
    model = pointing()
    model = replace(model, preprocessing=replace(model.preprocessing, patch=[12, 12, 12]))
    image = np.tile(np.arange(20, dtype=np.float32)[:, None, None], (1, 14, 12))
    grid = WorkingGrid(image.shape, tuple((0, n) for n in image.shape), image.shape, ISOTROPIC, 2)
    model.network.norm = nn.InstanceNorm3d(1)  # what makes the engine use windows
    result = predict(model, [image], grid, lambda *_: None)
    np.testing.assert_allclose(result.heat, image, rtol=1e-5)
    # Inside of every window the rise is 2; a window's own border weighs least.
    np.testing.assert_allclose(result.offsets[0, 2:-2, 4:-4, 4:-4], 2, atol=0.2)
    assert np.abs(result.offsets[1:]).max() < 1e-5


# Bundles that state what their network does not do


def test_instances_of_a_network_of_slices_are_refused(tmp_path):
    with pytest.raises(BundleError, match=r"output\.kind is instances"):
        cone_bundle(tmp_path / "bundle", shape="slice")


def test_offsets_of_a_network_without_any_are_refused(tmp_path):
    with pytest.raises(BundleError, match=r"split is offsets, but output\.kind is binary"):
        cone_bundle(tmp_path / "bundle", split="offsets", output=bundles.Output("binary", {1: 4}))


def test_a_network_with_too_few_channels_for_instances_is_refused(tmp_path):
    arguments = {"widths": [2, 2], "out_channels": 2}
    folder = write(tmp_path / "bundle", ConfLUNet(**arguments), spec_of("conflunet", arguments))
    with pytest.raises(BundleError, match="gives 2 channels, instances take at least 6"):
        load_model(bundles.load_bundle(folder), Device("cpu", "fp32"))


def test_the_semantic_baseline_is_a_bundle_like_any_other(tmp_path):
    arguments = {"widths": [2, 2], "out_channels": 2}
    spec = spec_of("conflunet", arguments, output=bundles.Output("binary", {1: 4}))
    folder = write(tmp_path / "bundle", ConfLUNet(**arguments), spec)
    model = load_model(bundles.load_bundle(folder), Device("cpu", "fp32"))
    image = np.zeros((7, 9, 11), np.float32)
    grid = WorkingGrid(image.shape, tuple((0, n) for n in image.shape), image.shape, ISOTROPIC, 2)
    result = predict(model, [image], grid, lambda *_: None)
    assert result.channels.shape == (1, 7, 9, 11) and result.heat is None and result.offsets is None
