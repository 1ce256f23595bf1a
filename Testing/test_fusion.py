"""A fused network predicts what the trained one does, without batch norms."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from LesionSegmenterLib.engine.fusion import fuse
from LesionSegmenterLib.networks.conflunet import ConfLUNet
from LesionSegmenterLib.networks.uresnet import UResNet


def trained(dimensions: int) -> UResNet:
    """A tiny network as training leaves one: every weight and every statistic of the batch norms is set."""
    torch.manual_seed(0)
    network = UResNet(in_channels=3, out_channels=2, widths=(4, 6, 8), dimensions=dimensions).eval()
    set_norms(network)
    return network


@pytest.fixture
def network() -> UResNet:
    return trained(2)


def set_norms(network: nn.Module) -> None:
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm3d)):
        nn.init.normal_(norm.running_mean)
        nn.init.uniform_(norm.running_var, 0.3, 3)
        nn.init.normal_(norm.weight, 1, 0.5)
        nn.init.normal_(norm.bias)


@pytest.mark.parametrize("sides", [(16, 24), (8, 16, 12)])
def test_a_fused_network_gives_the_same_logits_at_borders_too(sides: tuple[int, ...]):
    network, image = trained(len(sides)), torch.randn(2, 3, *sides)
    before = network(image)
    torch.testing.assert_close(fuse(network)(image), before, rtol=1e-4, atol=1e-4)


def test_fusing_leaves_one_convolution_an_element_and_no_norm(network: UResNet):
    elements = len(network.down) + len(network.after_skip) + 1
    fuse(network)
    kernels = [module.kernel_size for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert kernels.count((3, 3)) == elements
    assert kernels.count((1, 1)) == 1, "the head stays"
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_fusing_does_not_change_the_input(network: UResNet):
    image = torch.randn(1, 3, 8, 8)
    kept = image.clone()
    with torch.inference_mode():
        fuse(network)(image)
    assert torch.equal(image, kept)


def test_batch_norms_of_a_3d_network_vanish_into_their_convolutions_with_a_bias_or_without():
    torch.manual_seed(0)
    network = ConfLUNet(widths=(4, 8, 12)).eval()
    set_norms(network)
    image = torch.randn(1, 1, 8, 12, 16)
    before = network(image).detach()
    fuse(network)
    assert not any(isinstance(module, nn.BatchNorm3d) for module in network.modules())
    torch.testing.assert_close(network(image), before, rtol=1e-3, atol=1e-3)


def test_a_network_without_batch_norms_stays_as_it_is():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.InstanceNorm2d(2), nn.ReLU()).eval()
    modules = list(network)
    assert list(fuse(network)) == modules
