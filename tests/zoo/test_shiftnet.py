import torch
from torch import nn

from flyweight.build import build
from flyweight.zoo.shiftnet import MEMBERS, shiftnet


def test_the_stem_is_the_only_spatial_convolution() -> None:
    with torch.device("meta"):
        network = build(shiftnet("a"))
    spatial = [
        name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1)
    ]
    assert spatial == ["encoder.conv1.conv"]


def test_b_has_the_published_operations() -> None:
    assert round((MEMBERS["shiftnet_b"].macs or 0) / 1e6) == 371  # arXiv 1711.08141


def test_b_is_half_as_wide_as_a_throughout() -> None:
    a, b = ([stage.out_channels for stage in shiftnet(member).stages] for member in "ab")
    assert a == [2 * width for width in b]
