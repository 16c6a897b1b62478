import torch
from hypothesis import given
from hypothesis import strategies as st

from flyweight.blocks._layers import CReLU, same_padding


@given(size=st.integers(1, 500), kernel=st.sampled_from([1, 3, 5, 7]), stride=st.integers(1, 4))
def test_same_padding_gives_size_over_stride_rounded_up(size: int, kernel: int, stride: int) -> None:
    before, after = same_padding(size, kernel, stride)
    padded = size + before + after
    if padded >= kernel:
        assert (padded - kernel) // stride + 1 == -(-size // stride)
    assert 0 <= after - before <= 1


def test_crelu_concatenates_both_signs() -> None:
    x = torch.tensor([1.0, -2.0]).reshape(1, 2, 1, 1)
    assert CReLU()(x).flatten().tolist() == [1.0, 0.0, 0.0, 2.0]
