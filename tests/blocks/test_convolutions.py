"""Factorized, dilated, grouped and deformable convolutions."""

import pytest
import torch
import torch.nn.functional as F

from flyweight.blocks.deformable import Deformable
from flyweight.build import build, feature_maps
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings


def network(block: str, stride: int = 1, height: int = 9, width: int = 12, **chosen: bool | int | str) -> ArchSpec:
    stage = StageSpec("s", block, 8, stride, settings(**chosen))
    return ArchSpec("x", "classify", InputSpec(height, width, 4), 2, (stage,), HeadSpec("pool_classifier"))


def built(spec: ArchSpec) -> torch.nn.Module:
    return build(spec).encoder["s"]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(
    ("block", "chosen"),
    [("factorized", {"kernel": 5}), ("deformable", {"kernel": 3}), ("conv", {"dilation": 2}), ("conv", {"groups": 4}),
     ("separable", {"dilation": 3}), ("conv", {"dilation": 2, "padding": 1})],
)  # fmt: skip
def test_output_has_the_shape_that_is_said(block: str, chosen: dict[str, int], stride: int) -> None:
    spec = network(block, stride, **chosen)
    shape = feature_maps(spec)["s"]
    assert built(spec)(torch.zeros(2, 4, 9, 12)).shape == (2, shape.channels, shape.height, shape.width)


def test_factorized_convolution_has_two_kernels_of_k_weights() -> None:
    weights = sum(p.numel() for p in built(network("factorized", kernel=7)).parameters())
    assert weights == (4 * 8 * 7 + 2 * 8) + (8 * 8 * 7 + 2 * 8)


def test_dilated_convolution_reads_taps_that_far_apart() -> None:
    conv = built(network("conv", dilation=2)).conv
    x = torch.randn(1, 4, 9, 12)
    sparse = torch.zeros(8, 4, 5, 5)
    sparse[:, :, ::2, ::2] = conv.weight.detach()  # the same taps with zeros between them
    assert torch.allclose(conv(x), F.conv2d(x, sparse, padding=2), atol=1e-5)


@pytest.mark.parametrize(
    ("chosen", "biased"),
    [({}, False), ({"norm": False}, True), ({"norm": False, "bias": False}, False), ({"bias": True}, True)],
)
def test_convolution_has_a_bias_where_told_so_or_else_in_place_of_a_norm(chosen: dict[str, bool], biased: bool) -> None:
    assert (built(network("conv", **chosen)).conv.bias is not None) == biased


def test_groups_that_do_not_divide_are_an_error_that_names_the_stage() -> None:
    with pytest.raises(SpecError, match="stage 's': 3 groups don't divide 4 input and 8 output channels"):
        build(network("conv", groups=3))


def deformable(stride: int = 1, kernel: int = 3) -> Deformable:
    block = built(network("deformable", stride, kernel=kernel))
    assert isinstance(block, Deformable)
    return block


def regular(block: Deformable, x: torch.Tensor, stride: int, shift: int = 0) -> torch.Tensor:
    """The ordinary convolution with the same weights, its input shifted to the left by ``shift`` pixels."""
    k = int(block.taps**0.5)
    weight = block.mix.weight.reshape(8, k, k, 4).permute(0, 3, 1, 2)  # taps come first in the concatenation
    moved = F.pad(x, (0, shift))[..., shift:]
    return F.conv2d(moved, weight, stride=stride, padding=k // 2)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_deformable_convolution_begins_as_an_ordinary_one_at_half_strength(kernel: int, stride: int) -> None:
    block, x = deformable(stride, kernel), torch.randn(2, 4, 9, 12)
    block.norm, block.act = torch.nn.Identity(), torch.nn.Identity()
    assert torch.allclose(block(x), 0.5 * regular(block, x, stride), atol=1e-5)


def test_offset_of_one_pixel_reads_the_neighbour() -> None:
    block, x = deformable(), torch.randn(1, 4, 9, 12)
    block.norm, block.act = torch.nn.Identity(), torch.nn.Identity()
    with torch.no_grad():
        block.offset.bias[: block.taps] = 1.0  # every tap one pixel to the right
    inside = (..., slice(None), slice(1, -2))  # at the borders the ordinary one reads zeros where this one reads pixels
    assert torch.allclose(block(x)[inside], 0.5 * regular(block, x, 1, shift=1)[inside], atol=1e-5)


def test_offset_of_half_a_pixel_reads_the_mean_of_two() -> None:
    block, x = deformable(kernel=1), torch.randn(1, 4, 9, 12)
    block.norm, block.act = torch.nn.Identity(), torch.nn.Identity()
    with torch.no_grad():
        block.offset.bias[0] = 0.5
    mean = (x[..., :-1] + x[..., 1:]) / 2
    assert torch.allclose(block(x)[..., :-1], 0.5 * F.conv2d(mean, block.mix.weight), atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (network("deformable", kernel=2), "stage 's': kernel is 2, but a deformable convolution needs an odd one"),
        (network("deformable", height=1), "stage 's': its input is 1x12; needed are at least 2x2 pixels"),
        (network("conv", dilation=0), "stage 's': dilation is 0; allowed are 1, 2, 3"),
    ],
)
def test_what_cannot_be_built_is_named(spec: ArchSpec, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build(spec)
