import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from flyweight.blocks.shift import Shift
from flyweight.build import build, feature_maps
from flyweight.errors import SpecError
from flyweight.profile import profile_module
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings


def _net(width: int = 16, stride: int = 1, **chosen: Value) -> ArchSpec:
    stage = StageSpec("shifted", "shift_residual", width, stride, settings(**chosen))
    return ArchSpec("x", "classify", InputSpec(9, 12, 16), 2, (stage,), HeadSpec("pool_classifier"))


@given(
    channels=st.integers(1, 60),
    kernel=st.sampled_from([1, 3, 5]),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
)
def test_shift_is_a_depthwise_convolution_with_a_single_one_per_filter(
    channels: int, kernel: int, size: tuple[int, int]
) -> None:
    taps = kernel**2
    weight = torch.zeros(channels, 1, taps)
    share = channels // taps
    moved = [tap for tap in range(taps) for _ in range(share + (channels % taps if tap == taps // 2 else 0))]
    weight[range(channels), 0, moved] = 1.0
    x = torch.randn(2, channels, *size)
    expected = F.conv2d(x, weight.reshape(channels, 1, kernel, kernel), padding=kernel // 2, groups=channels)
    assert torch.equal(Shift(channels, kernel)(x), expected)


def test_a_strided_block_that_adds_no_channels_has_no_shortcut() -> None:
    block = build(_net(16, 2)).encoder.shifted
    assert block.pool is None
    assert block.project.conv.out_channels == 16


def test_shift_costs_no_multiplications_and_no_parameters() -> None:
    profile = profile_module(Shift(18, 3), torch.zeros(1, 18, 6, 6))
    assert (profile.macs, profile.params) == (0, 0)


def test_a_strided_block_adds_channels_to_its_pooled_input() -> None:
    block = build(_net(40, 2)).encoder.shifted
    x = torch.randn(1, 16, 9, 12)
    assert block.project.conv.out_channels == 40 - 16
    assert torch.equal(block(x)[:, 24:], F.avg_pool2d(x, 3, 2, 1))


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("width", [16, 40])
@pytest.mark.parametrize("chosen", [{"expand": 3.0, "kernel": 5}, {"activation": "crelu", "expand": 1.0}])
def test_shape_behind_the_block_is_the_one_computed(
    chosen: dict[str, Value], width: int, stride: int, padding: str
) -> None:
    spec = _net(width, stride, **chosen).replace(padding=padding)
    shape = feature_maps(spec)["shifted"]
    out = build(spec).get_submodule("encoder.shifted")(torch.randn(1, 16, 9, 12))
    assert out.shape[1:] == (shape.channels, shape.height, shape.width) == (width, -(-9 // stride), -(-12 // stride))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (_net(kernel=4), r"stage 'shifted': kernel is 4, but a shift needs an odd one"),
        (_net(expand=0.0), r"stage 'shifted': expand is 0.0"),
    ],
)
def test_a_block_that_cannot_be_built_names_the_stage(spec: ArchSpec, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build(spec)
