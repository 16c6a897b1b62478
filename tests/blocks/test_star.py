import pytest
import torch
from torch import nn

from flyweight.build import build, feature_maps
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings


def _net(width: int = 16, stride: int = 1, **chosen: Value) -> ArchSpec:
    stage = StageSpec("star", "star", width, stride, settings(expand=4.0, **chosen))
    return ArchSpec("x", "classify", InputSpec(9, 12, 16), 2, (stage,), HeadSpec("pool_classifier"))


def test_two_maps_are_multiplied_and_only_one_of_them_is_activated() -> None:
    block = build(_net()).encoder.star
    x = torch.randn(1, 16, 9, 12)
    spatial = block.depthwise(x)
    product = nn.functional.relu6(block.activated.conv(spatial)) * block.linear.conv(spatial)
    torch.testing.assert_close(block(x), x + block.last(block.project(product)))


def test_parameters_of_a_block_are_those_of_its_five_biased_convolutions_and_two_norms() -> None:
    c, wide, taps = 16, 4 * 16, 7 * 7
    depthwise, star, project = c * (taps + 1), 2 * wide * (c + 1), c * (wide + 1)
    count = sum(p.numel() for p in build(_net()).encoder.parameters())
    assert count == 2 * depthwise + star + project + 2 * 2 * c


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize(("width", "stride"), [(16, 1), (16, 2), (24, 1), (24, 2)])
@pytest.mark.parametrize("chosen", [{"kernel": 5}, {"activation": "crelu"}, {"residual": False}])
def test_shape_behind_the_block_is_the_one_computed(
    chosen: dict[str, Value], width: int, stride: int, padding: str
) -> None:
    spec = _net(width, stride, **chosen).replace(padding=padding)
    shape = feature_maps(spec)["star"]
    out = build(spec).get_submodule("encoder.star")(torch.randn(1, 16, 9, 12))
    assert out.shape[1:] == (shape.channels, shape.height, shape.width) == (width, -(-9 // stride), -(-12 // stride))
