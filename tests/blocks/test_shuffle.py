import pytest
import torch
from torch import nn

from flyweight.blocks.shuffle import ChannelShuffle
from flyweight.build import build, feature_maps
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings


def _net(block: str, channels: int, width: int, stride: int = 1, **chosen: Value) -> ArchSpec:
    stage = StageSpec("unit", block, width, stride, settings(**chosen))
    return ArchSpec("x", "classify", InputSpec(9, 12, channels), 2, (stage,), HeadSpec("pool_classifier"))


def _order(module: nn.Module, channels: int) -> list[float]:
    order: list[float] = module(torch.arange(float(channels)).reshape(1, -1, 1, 1)).flatten().tolist()
    return order


def test_shuffle_with_a_row_per_group_lets_the_groups_take_turns() -> None:
    assert _order(ChannelShuffle(2), 6) == [0, 3, 1, 4, 2, 5]  # groups 0 1 2 and 3 4 5


def test_shuffle_with_a_column_per_group_undoes_it() -> None:
    assert _order(nn.Sequential(ChannelShuffle(2), ChannelShuffle(6 // 2)), 6) == [0, 1, 2, 3, 4, 5]


def test_shuffle_keeps_the_batch_and_the_pixels() -> None:
    x = torch.randn(3, 6, 2, 5)
    assert torch.equal(ChannelShuffle(3)(x), x[:, [0, 2, 4, 1, 3, 5]])


def test_every_group_of_a_v1_unit_reads_from_all_groups_before_it() -> None:
    unit = build(_net("shuffle_v1_unit", 24, 48, groups=3)).encoder.unit
    order = torch.tensor(_order(unit.shuffle, 12)).reshape(3, 4)  # a row per group of the last convolution
    assert [sorted({int(channel) // 4 for channel in row}) for row in order] == [[0, 1, 2]] * 3


def test_a_strided_v1_unit_passes_its_pooled_input_and_adds_the_missing_channels() -> None:
    unit = build(_net("shuffle_v1_unit", 24, 60, 2)).encoder.unit
    x = torch.randn(1, 24, 9, 12)
    assert torch.equal(unit(x)[:, :24], nn.functional.avg_pool2d(x, 3, 2, 1))
    assert unit.widen.conv.out_channels == 60 - 24


def test_torchvisions_v2_unit_lets_the_first_half_pass_and_then_both_halves_take_turns() -> None:
    unit = build(_net("shuffle_v2_unit", 16, 16, shuffle="behind")).encoder.unit
    x = torch.randn(1, 16, 9, 12)
    out = unit(x)
    assert torch.equal(out[:, 0::2], x[:, :8])
    assert torch.equal(out[:, 1::2], unit.branch(x[:, 8:]))


def test_the_authors_v2_unit_lets_every_other_channel_pass() -> None:
    unit = build(_net("shuffle_v2_unit", 16, 16, shuffle="before")).encoder.unit
    x = torch.randn(1, 16, 9, 12)
    out = unit(x)
    assert torch.equal(out[:, :8], x[:, 0::2])
    assert torch.equal(out[:, 8:], unit.branch(x[:, 1::2]))


def test_a_strided_v1_unit_that_adds_no_channels_has_no_shortcut() -> None:
    unit = build(_net("shuffle_v1_unit", 24, 24, 2)).encoder.unit
    assert unit.pool is None
    assert unit.widen.conv.out_channels == 24


@pytest.mark.parametrize(("shortcut", "brought"), [("half", 58), ("input", 24)])
def test_shortcut_of_a_strided_v2_unit_brings_half_or_the_inputs_channels(shortcut: str, brought: int) -> None:
    unit = build(_net("shuffle_v2_unit", 24, 116, 2, shortcut=shortcut)).encoder.unit
    assert unit.shortcut.pointwise.conv.out_channels == brought
    assert unit.branch.pointwise.conv.out_channels == 116 - brought


def test_shortcut_of_a_v2_unit_that_adds_no_channels_brings_half() -> None:
    unit = build(_net("shuffle_v2_unit", 24, 20, 2, shortcut="input")).encoder.unit
    assert unit.shortcut.pointwise.conv.out_channels == 10


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("block", "chosen"),
    [
        ("shuffle_v1_unit", {"groups": 4, "kernel": 5}),
        ("shuffle_v1_unit", {"groups": 1, "bottleneck": 0.5}),
        ("shuffle_v1_unit", {"activation": "crelu", "groups": 2}),
        ("shuffle_v2_unit", {"kernel": 5}),
        ("shuffle_v2_unit", {"activation": "crelu", "shuffle": "before", "shortcut": "input"}),
    ],
)
@pytest.mark.parametrize("width", [16, 24, 40])
def test_shape_behind_a_unit_is_the_one_computed(
    block: str, chosen: dict[str, Value], stride: int, padding: str, width: int
) -> None:
    spec = _net(block, 16, width, stride, **chosen).replace(padding=padding)
    shape = feature_maps(spec)["unit"]
    out = build(spec).get_submodule("encoder.unit")(torch.randn(1, 16, 9, 12))
    assert out.shape[1:] == (shape.channels, shape.height, shape.width) == (width, -(-9 // stride), -(-12 // stride))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (_net("shuffle_v1_unit", 24, 40), r"stage 'unit': 3 groups don't divide 9 input and 40 output"),
        (_net("shuffle_v1_unit", 24, 48, groups=0), r"stage 'unit': groups is 0"),
        (_net("shuffle_v1_unit", 24, 48, bottleneck=0.0), r"stage 'unit': bottleneck is 0.0"),
        (_net("shuffle_v2_unit", 24, 12), r"stage 'unit': 12 channels, but half of its input's 24 pass by"),
        (_net("shuffle_v2_unit", 23, 24), r"stage 'unit': 23 channels can't be split"),
        (_net("shuffle_v2_unit", 24, 25), r"stage 'unit': 25 channels can't be split"),
        (_net("shuffle_v2_unit", 24, 24, shuffle="after"), r"stage 'unit': shuffle is 'after'; allowed are before"),
        (_net("shuffle_v2_unit", 24, 24, shortcut="third"), r"stage 'unit': shortcut is 'third'; allowed are half"),
    ],
)
def test_a_unit_that_cannot_be_built_names_the_stage(spec: ArchSpec, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build(spec)
