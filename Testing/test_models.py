"""A bundle's network: its parameters and weights, and what its channels mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from heads import bright_bundle, save_head
from LesionSegmenterLib import bundle as bundles
from LesionSegmenterLib.engine.device import Device
from LesionSegmenterLib.engine.model import load_model
from LesionSegmenterLib.errors import BundleError
from LesionSegmenterLib.labels import LesionType
from LesionSegmenterLib.networks import UResNet
from LesionSegmenterLib.progress import NoReporter
from LesionSegmenterLib.segment import SegmentOptions, segment

CPU = Device("cpu", "fp32")


def test_uresnet_has_the_papers_number_of_parameters():
    assert sum(weights.numel() for weights in UResNet().parameters()) == 984_963


def test_weights_of_another_network_are_refused(tmp_path):
    folder = bright_bundle(tmp_path / "bright")
    spec = bundles.load_bundle(folder).spec
    other = replace(spec, architecture=bundles.Architecture("uresnet", {"widths": [4, 4]}))
    files = {"weights.safetensors": folder / "weights.safetensors", "MODEL_CARD.md": b"#"}
    with pytest.raises(BundleError, match="weights do not fit"):
        load_model(bundles.write_bundle(tmp_path / "other", other, files), CPU)


def run_with_output(tmp_path: Path, output: bundles.Output):
    """Segment a head with the bright network, its channels named anew."""
    folder = bright_bundle(tmp_path / "bright")
    model = load_model(bundles.load_bundle(folder), CPU)
    spec = replace(model.bundle.spec, output=output)
    model = replace(model, bundle=bundles.Bundle(spec, folder))
    return segment(
        save_head(tmp_path / "flair.nii.gz"), tmp_path / "out", SegmentOptions(), NoReporter(), model
    )


def test_the_label_map_says_what_the_channels_mean(tmp_path):
    result = run_with_output(tmp_path, bundles.Output("types", {0: 0, 1: 4, 2: 3}))
    assert [record.type for record in result.records] == [LesionType.LESION, LesionType.MS] * 2


def test_lesions_of_no_stated_type_have_no_confidence_in_it(tmp_path):
    result = run_with_output(tmp_path, bundles.Output("binary", {1: 4}))
    assert {(record.type, record.type_confidence) for record in result.records} == {(LesionType.LESION, None)}


def test_a_label_map_beyond_the_networks_channels_is_refused(tmp_path):
    with pytest.raises(BundleError, match="channel 3"):
        run_with_output(tmp_path, bundles.Output("types", {1: 1, 3: 2}))
    assert not (tmp_path / "out").exists()
