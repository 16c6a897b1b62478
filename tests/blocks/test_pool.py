import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from flyweight.blocks._layers import FeatureMap, same_padding
from flyweight.blocks._pool import pool
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec

SPEC = ArchSpec("x", "classify", InputSpec(8, 8), 2, (StageSpec("a", "conv", 8),), HeadSpec("pool_classifier"))
SAME = SPEC.replace(padding="same")
SIZES = st.tuples(st.integers(1, 20), st.integers(1, 20))


def _padded(x: torch.Tensor, kernel: int, stride: int, value: float) -> torch.Tensor:
    (top, bottom), (left, right) = (same_padding(size, kernel, stride) for size in x.shape[2:])
    return F.pad(x, (left, right, top, bottom), value=value)


@given(size=SIZES, kernel=st.integers(1, 5), stride=st.integers(1, 3))
def test_same_max_pooling_is_that_of_a_map_padded_by_the_lowest_number(
    size: tuple[int, int], kernel: int, stride: int
) -> None:
    x = torch.randn(1, 2, *size) - 5  # zeros would win
    out = pool("max", FeatureMap(2, *size), SAME, where="", kernel=kernel, stride=stride)(x)
    assert out.equal(F.max_pool2d(_padded(x, kernel, stride, float("-inf")), kernel, stride))


@given(size=SIZES, kernel=st.sampled_from([1, 3, 5]), stride=st.integers(1, 3))
def test_same_average_pooling_divides_by_the_pixels_inside(size: tuple[int, int], kernel: int, stride: int) -> None:
    x = torch.randn(1, 2, *size)
    out = pool("avg", FeatureMap(2, *size), SAME, where="", kernel=kernel, stride=stride)(x)
    sums, counts = (F.avg_pool2d(_padded(y, kernel, stride, 0.0), kernel, stride) for y in (x, torch.ones_like(x)))
    torch.testing.assert_close(out, sums / counts)


def test_an_even_window_keeps_the_size_by_a_pixel_behind() -> None:
    out = pool("max", FeatureMap(1, 2, 2), SAME, where="", kernel=2)(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    assert out.tolist() == [[[[4.0, 4.0], [4.0, 4.0]]]]


@pytest.mark.parametrize(("kind", "spec"), [("max", SPEC), ("avg", SAME)])
def test_an_even_window_that_can_not_keep_the_size_names_the_stage(kind: str, spec: ArchSpec) -> None:
    with pytest.raises(SpecError, match="stage 'b': pooling 2x2 that keeps the size needs an odd kernel"):
        pool(kind, FeatureMap(1, 4, 4), spec, where="stage 'b'", kernel=2)


def test_symmetric_average_pooling_counts_the_padding() -> None:
    out = pool("avg", FeatureMap(1, 3, 3), SPEC, where="")(torch.ones(1, 1, 3, 3))
    assert out[0, 0, 0].tolist() == pytest.approx([4 / 9, 6 / 9, 4 / 9])


def test_pooling_without_padding_names_the_stage_whose_map_is_too_small() -> None:
    with pytest.raises(SpecError, match=r"stage 'b': its input is 2x9, but a 3x3 window .* at least 3x3"):
        pool("max", FeatureMap(1, 2, 9), SPEC, where="stage 'b'", padding=0)
