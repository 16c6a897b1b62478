import pytest
import torch

from flyweight.blocks._layers import FeatureMap
from flyweight.blocks.ghost import GhostModule
from flyweight.build import build, feature_maps
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings


def _net(width: int = 24, stride: int = 1, channels: int = 24, **chosen: Value) -> ArchSpec:
    stage = StageSpec("ghost", "ghost_bottleneck", width, stride, settings(**chosen))
    return ArchSpec("x", "classify", InputSpec(9, 12, channels), 2, (stage,), HeadSpec("pool_classifier"), divisor=4)


def _module(width: int, act: str = "relu", **chosen: Value) -> GhostModule:
    spec = _net(**chosen)
    return GhostModule(spec.stages[0], FeatureMap(24, 9, 12), width, act, spec)


def test_half_of_a_ghost_modules_channels_are_made_of_the_other_half() -> None:
    module = _module(40)
    shapes = [tuple(p.shape) for p in module.parameters() if p.dim() == 4]
    assert shapes == [(20, 24, 1, 1), (20, 1, 3, 3)]  # 1×1 from 24 channels; a filter per channel of those


def test_a_ratio_of_three_makes_two_ghosts_of_each_channel_and_cuts_what_is_too_much() -> None:
    module = _module(40, ratio=3).eval()
    assert module.primary.conv.out_channels == 14  # ⌈40 / 3⌉
    assert module.cheap.conv.out_channels == 28
    out = module(torch.randn(1, 24, 9, 12))
    assert out.shape[1] == 40  # of 14 + 28 = 42


def test_first_ghost_module_has_an_activation_and_the_second_has_none() -> None:
    block = build(_net()).encoder.ghost
    x = torch.randn(2, 24, 9, 12)
    assert (block.expand(x) >= 0).all()
    assert (block.project(block.expand(x)) < 0).any()


@pytest.mark.parametrize(("stride", "width", "there"), [(1, 24, False), (2, 24, True), (1, 40, True)])
def test_shortcut_has_layers_only_where_shapes_differ(stride: int, width: int, there: bool) -> None:
    block = build(_net(width, stride)).encoder.ghost
    assert bool(list(block.shortcut.parameters())) == there
    assert bool(list(block.depthwise.parameters())) == (stride > 1)


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("chosen", [{"kernel": 5, "se": 0.25, "se_divisor": 4}, {"activation": "crelu", "ratio": 3}])
def test_shape_behind_the_block_is_the_one_computed(chosen: dict[str, Value], stride: int, padding: str) -> None:
    spec = _net(40, stride, **chosen).replace(padding=padding)
    shape = feature_maps(spec)["ghost"]
    out = build(spec).get_submodule("encoder.ghost")(torch.randn(1, 24, 9, 12))
    assert out.shape[1:] == (shape.channels, shape.height, shape.width) == (40, -(-9 // stride), -(-12 // stride))


def test_a_ratio_that_leaves_nothing_names_the_stage() -> None:
    with pytest.raises(SpecError, match=r"stage 'ghost': ratio is 1 of 144 channels; allowed are .* 2 to 144"):
        build(_net(ratio=1))
