import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flyweight.build import build, feature_maps
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings


def _net(block: str, size: tuple[int, int] = (9, 12), stride: int = 2, **chosen: Value) -> ArchSpec:
    stage = StageSpec("pool", block, 1, stride, settings(**chosen))
    return ArchSpec("x", "classify", InputSpec(*size), 2, (stage,), HeadSpec("pool_classifier"))


def _pooled(spec: ArchSpec, x: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = build(spec).get_submodule("encoder.pool")(x)
    return out


@given(
    size=st.tuples(st.integers(5, 20), st.integers(5, 20)),
    stride=st.integers(1, 4),
    window=st.sampled_from([(k, p) for k in (1, 2, 3, 5) for p in range(-1, k // 2 + 1) if k % 2 or p >= 0]),
    ceil=st.booleans(),
    block=st.sampled_from(["max_pool", "avg_pool"]),
)
def test_shape_behind_the_pooling_is_the_one_computed(
    size: tuple[int, int], stride: int, window: tuple[int, int], ceil: bool, block: str
) -> None:
    spec = _net(block, size, stride, kernel=window[0], padding=window[1], ceil=ceil and window[1] >= 0)
    shape = feature_maps(spec)["pool"]
    assert _pooled(spec, torch.randn(1, 3, *size)).shape[1:] == (3, shape.height, shape.width)
    assert shape.channels == 3  # the input's, though the stage says 1


def test_rounding_up_keeps_a_last_window_that_ends_outside() -> None:
    row = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 9.0]).expand(1, 3, 6, 6)
    for ceil, expected in ((False, [2.0, 4.0]), (True, [2.0, 4.0, 9.0])):  # windows from 0, 2 and 4, three pixels wide
        assert _pooled(_net("max_pool", (6, 6), kernel=3, padding=0, ceil=ceil), row)[0, 0, 0].tolist() == expected


def test_average_of_a_window_that_ends_outside_is_over_what_is_inside() -> None:
    row = torch.tensor([0.0, 3.0, 6.0, 2.0]).expand(1, 3, 4, 4)
    out = _pooled(_net("avg_pool", (4, 4), kernel=3, padding=0, ceil=True), row)
    assert out[0, 0, 0].tolist() == [(0 + 3 + 6) / 3, (6 + 2) / 2]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"kernel": 3, "padding": 2}, r"stage 'pool': padding is 2; allowed for windows of 3 are -1 .* 0 to 1"),
        ({"kernel": 0}, r"stage 'pool': kernel is 0"),
        ({"ceil": True}, r"stage 'pool': ceil needs a padding of its own"),
        ({"kernel": 11, "padding": 0}, r"stage 'pool': its input is 9x12, but a 11x11 window .* at least 11x11"),
    ],
)
def test_windows_that_cannot_be_name_the_stage(chosen: dict[str, Value], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build(_net("max_pool", **chosen))
