import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flyweight.blocks.inception import _shares
from flyweight.build import build, feature_maps
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings

BRANCHES = ("1x1:64", "1x1:96 3x3:128", "1x1:48 1x3:16|3x1:16", "avg3 1x1:32")


def _net(width: int = 256, stride: int = 1, padding: str = "symmetric", **chosen: Value) -> ArchSpec:
    stage = StageSpec("mixed", "inception", width, stride, settings(**{"branches": BRANCHES, **chosen}))
    return ArchSpec(
        "x",
        "classify",
        InputSpec(9, 12, 24),
        2,
        (stage,),
        HeadSpec("pool_classifier"),
        padding=padding,  # type: ignore[arg-type]
    )


def _widths(spec: ArchSpec) -> list[int]:
    return [part.out_channels for part in build(spec).encoder.modules() if isinstance(part, torch.nn.Conv2d)]


def test_widths_are_channels_where_they_add_up_to_the_stages() -> None:
    assert 64 + 128 + 16 + 16 + 32 == 256
    assert _widths(_net(256)) == [64, 96, 128, 48, 16, 16, 32]


def test_half_the_stages_width_halves_every_branch() -> None:
    assert _widths(_net(128)) == [32, 48, 64, 24, 8, 8, 16]


@given(parts=st.lists(st.integers(1, 900), min_size=1, max_size=8), extra=st.integers(0, 2000))
def test_shares_add_up_and_leave_nobody_out(parts: list[int], extra: int) -> None:
    shares = _shares(parts, len(parts) + extra)
    assert sum(shares) == len(parts) + extra
    assert min(shares) >= 1
    assert _shares(parts, sum(parts)) == parts


@pytest.mark.parametrize("padding", ["symmetric", "same"])
@pytest.mark.parametrize("valid", [True, False])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("activation", ["relu", "crelu"])
def test_shape_behind_the_block_is_the_one_computed(padding: str, valid: bool, stride: int, activation: str) -> None:
    branches = ("1x1:32 3x3:32", "3x3:8|3x3:24", "max3")
    spec = _net(88, stride, padding, valid=valid, branches=branches, activation=activation)
    shape = feature_maps(spec)["mixed"]
    out = build(spec).get_submodule("encoder.mixed")(torch.randn(1, 24, 9, 12))
    sizes = [(size - 3) // stride + 1 if valid else -(-size // stride) for size in (9, 12)]
    assert out.shape[1:] == (shape.channels, shape.height, shape.width) == (88, *sizes)


def test_a_branch_that_only_pools_passes_its_inputs_channels_on() -> None:
    spec = _net(24 + 10, branches=("3x3:10", "max3"))
    x = torch.randn(1, 24, 9, 12)
    assert build(spec).get_submodule("encoder.mixed")(x)[:, 10:].equal(torch.nn.MaxPool2d(3, 1, 1)(x))


@pytest.mark.parametrize(
    ("width", "chosen", "words"),
    [
        (256, {"branches": ()}, "it needs a text per branch"),
        (256, {"branches": ("3x3",)}, "'3x3' is no step of a branch"),
        (256, {"branches": ("3x3:8 max3",)}, "ends in a pooling behind or beside a convolution"),
        (256, {"branches": ("max3",)}, "only pool, so its 256 channels must be 24"),
        (24, {"branches": ("3x3:8", "max3")}, "0 of its 24 channels are left for the 1 convolutions"),
        (33, {"branches": ("3x3:8",), "activation": "crelu"}, "33 of its 33 channels .* an even number with CReLU"),
        (256, {"branches": ("3x3:8", "1x1:8"), "valid": True}, "windows of 1x1 and 3x3"),
        (256, {"branches": ("11x3:8",), "valid": True}, "its input is 9x12, but a 11x3 window .* at least 11x3"),
    ],
)
def test_impossible_branches_are_errors_that_name_the_stage(width: int, chosen: dict[str, Value], words: str) -> None:
    with pytest.raises(SpecError, match=f"stage 'mixed': .*{words}"):
        build(_net(width, **chosen))
