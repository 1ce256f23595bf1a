"""The papers' networks: their parameters, what their arguments change, and that they see what they should."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import torch
from monai.networks.nets import UNet
from torch import nn

from lesion_training.starting import freeze
from LesionSegmenterLib.classifier import CascadeClassifier
from LesionSegmenterLib.errors import BundleError
from LesionSegmenterLib.networks import NETWORKS, build, conflunet

SMALL: dict[str, tuple[int, ...]] = {
    "conflunet": (4, 8, 12),
    "deepwml": (4, 8, 12),
    "llambias": (4, 8, 12),
    "monai-unet": (4, 8, 12),
    "uresnet": (4, 8, 12),
    "viteri": (4, 8, 12),
}


# Channels in times channels out of the paper's residual elements after the first, and of its deconvolutions.
CHANNEL_PAIRS = 32 * 64 + 64 * 128 + 128 * 256 + 2 * 128**2 + 64**2 + 32**2
DECONVOLVED = 256 * 128 + 128 * 64 + 64 * 32


def parameters(network: nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


def small(name: str, **arguments: Any) -> nn.Module:
    torch.manual_seed(0)
    return build(name, {"in_channels": 2, "out_channels": 6, "widths": SMALL[name]} | arguments)


def sides(name: str, *, times: int = 1) -> tuple[int, ...]:
    """Sides of an input, no two alike, for three levels."""
    return tuple(4 * times * n for n in ((3, 4, 2) if name == "conflunet" else (3, 4)))


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("uresnet", {}, 984_963),
        # A kernel of three a side has three times as many weights with an axis more, a deconvolution's two.
        ("uresnet", {"dimensions": 3}, 984_963 + 2 * 9 * (32 + CHANNEL_PAIRS) + 4 * DECONVOLVED),
        ("viteri", {}, 7_849_921),
        ("viteri", {"activation": "elu"}, 7_849_921),
        ("deepwml", {}, 31_030_593),
        ("llambias", {}, 31_042_369),
        ("llambias", {"out_channels": 4}, 31_042_564),
        ("conflunet", {}, 19_073_094),
        ("conflunet", {"widths": [32, 64, 128, 256]}, 4_770_342),
        ("conflunet", {"widths": [16, 32, 64, 128]}, 1_193_622),
        ("monai-unet", {"in_channels": 3}, 648_297),
    ],
)
def test_a_network_has_the_papers_number_of_parameters(name, arguments, count):
    with torch.device("meta"):  # no memory, no initial weights
        assert parameters(build(name, arguments)) == count


def test_the_cascades_classifier_has_the_papers_number_of_parameters():
    assert parameters(CascadeClassifier()) == 166_403


def test_llambias_is_deepwmls_body_with_a_scale_and_a_shift_for_each_channel_of_its_18_convolutions():
    with torch.device("meta"):
        plain, normed = build("deepwml", {}), build("llambias", {})
    channels = 2 * (2 * (64 + 128 + 256 + 512) + 1024)
    assert parameters(normed) - parameters(plain) == 2 * channels


@pytest.mark.parametrize("name", SMALL)
def test_widths_inputs_and_outputs_are_arguments_and_sides_stay(name):
    network = small(name).eval()
    assert network.divisor == 4
    assert network(torch.zeros(2, 2, *sides(name))).shape == (2, 6, *sides(name))
    deeper = small(name, widths=(*SMALL[name], 16), in_channels=1, out_channels=2).eval()
    assert deeper.divisor == 8
    assert deeper(torch.zeros(1, 1, *sides(name, times=2))).shape == (1, 2, *sides(name, times=2))


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_learns(name):
    network = small(name).train()
    network(torch.randn(2, 2, *sides(name, times=2))).square().sum().backward()
    gradients = {key: weights.grad for key, weights in network.named_parameters()}
    # A convolution's bias is lost in the norm that follows it.
    lost = {"conflunet", "llambias", "monai-unet", "uresnet"}
    for key, gradient in gradients.items():
        assert gradient is not None and gradient.isfinite().all(), key
        if name not in lost or not key.endswith("bias"):
            assert gradient.abs().max() > 0, key


@pytest.mark.parametrize("name", SMALL)
def test_an_output_depends_on_its_whole_neighbourhood_and_on_each_input(name):
    network = small(name).eval()
    image = torch.randn(1, 2, *sides(name, times=2), requires_grad=True)
    centre = [n // 2 for n in image.shape[2:]]
    network(image)[(0, 0, *centre)].backward()
    assert image.grad is not None
    seen = image.grad[0].abs() > 0
    assert seen[0].any() and seen[1].any()
    for axis, place in enumerate(centre):
        near = seen.select(axis + 1, place - 6).any() and seen.select(axis + 1, place + 6).any()
        assert near, "three levels reach further than two 3x3 convolutions"


@pytest.mark.parametrize("name", [name for name in SMALL if name != "conflunet"])
def test_channels_last_gives_the_same_output(name):
    network, image = small(name).eval(), torch.randn(1, 2, *sides(name))
    expected = network(image)
    network.to(memory_format=torch.channels_last)
    found = network(image.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_instance_norm_takes_away_brightness_and_contrast_of_an_image():
    network = small("llambias").eval()
    image = torch.randn(1, 2, 24, 32)
    inside = (..., slice(8, -8), slice(8, -8))  # the padding's zeros are not scaled along
    with torch.no_grad():
        before, after = network(image)[inside], network(image * 5)[inside]
        plain = small("deepwml").eval()
        assert (plain(image * 5)[inside] - plain(image)[inside]).abs().max() > 0.05
    torch.testing.assert_close(after, before, rtol=0.02, atol=0.02)


def test_viteris_first_two_convolutions_are_5x5_its_last_1x1_and_its_upsampling_has_no_weights():
    with torch.device("meta"):
        network = build("viteri", {})
    kernels = [module.kernel_size[0] for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert kernels == [5, 5, *[3] * 12, 1]
    assert sum(isinstance(module, nn.Upsample) for module in network.modules()) == 3
    assert not any(isinstance(module, nn.ConvTranspose2d) for module in network.modules())


def test_viteris_third_variant_has_elu_and_he_normal_weights():
    torch.manual_seed(0)
    network = build("viteri", {"widths": [32, 64], "activation": "elu"})
    activations = {type(m) for m in network.modules() if isinstance(m, nn.ReLU | nn.ELU)}
    assert activations == {nn.ELU}
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 10_000:
            fan_in = module.weight[0].numel()
            assert float(module.weight.detach().std()) == pytest.approx(math.sqrt(2 / fan_in), rel=0.05)


def test_conflunets_convolutions_have_a_batch_norm_each():
    with torch.device("meta"):
        network = build("conflunet", {})
    convolutions = sum(isinstance(m, nn.Conv3d) and m.kernel_size == (3, 3, 3) for m in network.modules())
    assert convolutions == sum(isinstance(m, nn.BatchNorm3d) for m in network.modules()) == 14


def test_monais_network_is_monais():
    torch.manual_seed(0)
    theirs = UNet(2, 2, 6, SMALL["monai-unet"], (2, 2)).eval()
    image = torch.randn(1, 2, *sides("monai-unet"))
    torch.testing.assert_close(small("monai-unet").eval()(image), theirs(image), rtol=0, atol=0)


@pytest.mark.parametrize("widths", [(4, 8), (4, 8, 12)])
def test_only_the_end_of_monais_network_is_trained_where_the_last_layers_are(widths):
    network = small("monai-unet", widths=widths)
    freeze(network, "last")
    network(torch.randn(1, 2, 16, 16)).square().sum().backward()
    trained = {
        name.rpartition(".conv")[0]
        for name, weights in network.named_parameters()
        if weights.grad is not None
    }
    before = "inner.submodule.2" if len(widths) > 2 else "inner.submodule"
    assert {name for name in trained if name} == {before}
    assert network.head.weight.grad is not None and network.down.conv.weight.grad is None


def test_monais_network_without_monai_is_refused_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    with pytest.raises(BundleError, match="MONAI, which is not installed"):
        build("monai-unet", {})


@pytest.mark.parametrize("planes", [2, 6, 12])
def test_conflunet_predicts_the_same_in_slabs_as_at_once(monkeypatch, planes):
    network = small("conflunet").eval()
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm3d)):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.3, 3)
    image = torch.randn(2, 2, 20, 16, 8)
    whole = network(image).detach()
    assert whole.std() > 0.1
    channels = SMALL["conflunet"][0] + SMALL["conflunet"][1]
    monkeypatch.setattr(conflunet, "_SLAB_BYTES", planes * 4 * channels * 2 * 16 * 8)
    with torch.inference_mode():
        assert len(network._slabs(image)) == math.ceil(20 / planes)
        torch.testing.assert_close(network(image), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_arguments_that_do_not_fit_are_refused(name):
    for arguments in ({"widhts": [4, 8]}, {"widths": [4, 0]}, {"widths": []}, {"in_channels": "one"}):
        with pytest.raises(BundleError, match=f"do not fit architecture '{name}'"):
            build(name, arguments)
    with pytest.raises(BundleError, match="activation is 'tanh'"):
        build("viteri", {"activation": "tanh"})
    with pytest.raises(BundleError, match="dimensions is 4"):
        build("uresnet", {"dimensions": 4})
