import pytest
import torch

from flyweight.build import build, feature_maps
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings


def _net(block: str, width: int, stride: int = 1, **chosen: Value) -> ArchSpec:
    stages = (
        StageSpec("stem", "conv", 32, 1, settings(activation="relu")),
        StageSpec("block", block, width, stride, settings(**chosen)),
    )
    return ArchSpec("x", "classify", InputSpec(9, 12), 2, stages, HeadSpec("pool_classifier"))


def _block(spec: ArchSpec) -> torch.nn.Module:
    return build(spec).get_submodule("encoder.block")


@pytest.mark.parametrize("block", ["residual", "residual_bottleneck"])
def test_without_its_branch_a_block_of_equal_shape_is_the_activation_of_its_input(block: str) -> None:
    module = _block(_net(block, 32))
    torch.nn.init.zeros_(list(module.branch.children())[-1].norm.weight)
    x = torch.randn(1, 32, 9, 12)
    assert module(x).equal(x.relu())


@pytest.mark.parametrize(("width", "stride", "convolved"), [(32, 1, False), (64, 1, True), (32, 2, True)])
def test_shortcut_is_a_convolution_only_where_shapes_differ(width: int, stride: int, convolved: bool) -> None:
    module = _block(_net("residual", width, stride))
    assert bool(list(module.shortcut.parameters())) == convolved


@pytest.mark.parametrize("block", ["residual", "residual_bottleneck"])
@pytest.mark.parametrize("activation", ["relu", "crelu", "hard_swish"])
def test_block_gives_its_width_with_any_activation(block: str, activation: str) -> None:
    spec = _net(block, 64, 2, activation=activation, kernel=5, se=0.25)
    shape = feature_maps(spec)["block"]
    assert (
        _block(spec)(torch.randn(1, 32, 9, 12)).shape[1:] == (shape.channels, shape.height, shape.width) == (64, 5, 6)
    )


def test_the_bottlenecks_stride_is_on_its_spatial_convolution() -> None:
    branch = _block(_net("residual_bottleneck", 64, 2)).branch
    assert [part.conv.stride for part in (branch.reduce, branch.spatial, branch.widen)] == [(1, 1), (2, 2), (1, 1)]
    assert [part.conv.out_channels for part in (branch.reduce, branch.spatial, branch.widen)] == [16, 16, 64]


def test_squeeze_and_excitation_stands_behind_the_last_norm() -> None:
    assert list(_block(_net("residual", 64, se=1 / 16)).branch._modules) == ["conv1", "conv2", "se"]
