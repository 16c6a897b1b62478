import torch
from torch import nn

from flyweight.build import build
from flyweight.zoo.starnet import starnet


def test_s1_has_the_sources_blocks_and_widths() -> None:
    stars = [stage for stage in starnet("s1").stages if stage.block == "star"]
    assert [stage.out_channels for stage in stars] == [24] * 2 + [48] * 2 + [96] * 8 + [192] * 3


def test_every_convolution_has_a_bias() -> None:
    with torch.device("meta"):
        network = build(starnet("s2"))
    assert all(layer.bias is not None for layer in network.modules() if isinstance(layer, nn.Conv2d))


def test_nothing_but_the_stem_and_one_factor_of_each_star_is_activated() -> None:
    with torch.device("meta"):
        network = build(starnet("s2"))
    activations = [name for name, layer in network.named_modules() if isinstance(layer, nn.ReLU6)]
    assert activations[0] == "encoder.stem.act"
    assert len(activations) == 1 + (1 + 2 + 6 + 2)
    assert all(name.endswith(".activated.act") for name in activations[1:])
