import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flyweight.blocks._layers import CReLU, activation, same_padding
from flyweight.build import build, feature_maps
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings


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


def _stem(pixels: int, **chosen: bool | int | str) -> ArchSpec:
    stage = StageSpec("stem", "conv", 8, 4, settings(**chosen))
    return ArchSpec("x", "classify", InputSpec(pixels, pixels), 2, (stage,), HeadSpec("pool_classifier"))


@given(pixels=st.integers(11, 80), kernel=st.sampled_from([1, 2, 3, 11]), padding=st.integers(0, 5))
def test_shape_behind_a_given_padding_is_the_one_computed(pixels: int, kernel: int, padding: int) -> None:
    spec = _stem(pixels, kernel=kernel, padding=padding)
    shape = feature_maps(spec)["stem"]
    with torch.device("meta"):
        out = build(spec).encoder["stem"](torch.zeros(1, 3, pixels, pixels))
    assert (shape.height, shape.width) == out.shape[2:] == (((pixels + 2 * padding - kernel) // 4 + 1,) * 2)


def test_gelu_is_the_input_times_the_normal_distributions_integral_up_to_it() -> None:
    x = torch.linspace(-4, 4, 33)
    torch.testing.assert_close(activation("gelu", "")(x), x * (1 + torch.erf(x / 2**0.5)) / 2)


def test_convolution_without_norm_has_a_bias() -> None:
    names = [name for name, _ in build(_stem(32, norm=False)).encoder.named_parameters()]
    assert names == ["stem.conv.weight", "stem.conv.bias"]


@pytest.mark.parametrize("bias", [True, False])
def test_convolution_with_norm_has_a_bias_only_if_told_so(bias: bool) -> None:
    names = [name for name, _ in build(_stem(32, bias=bias)).encoder.named_parameters()]
    assert ("stem.conv.bias" in names) == bias


def test_too_few_pixels_for_one_window_is_an_error_that_names_stage_and_size() -> None:
    with pytest.raises(SpecError, match=r"stage 'stem': its input is 6x6, but a 11x11 window .* at least 7x7"):
        build(_stem(6, kernel=11, padding=2))
