"""Receptive fields: textbook values, and equality with the ones that gradients find."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flyweight.field import Field, receptive_fields
from flyweight.trace import trace


class Calls(nn.Module):
    def __init__(self, function: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def field_of(net: nn.Module, x: Tensor) -> Field | None:
    graph = trace(net, x)
    return receptive_fields(graph)[graph.outputs[0]]


def known(net: nn.Module, x: Tensor) -> Field:
    found = field_of(net, x)
    assert found is not None
    return found


def test_two_3x3_convolutions_see_5_pixels_and_three_see_7() -> None:
    layers = [nn.Conv2d(1, 1, 3, padding=1) for _ in range(3)]
    assert known(nn.Sequential(*layers[:2]), torch.zeros(1, 1, 32, 32)).size_px == (5, 5)
    assert known(nn.Sequential(*layers), torch.zeros(1, 1, 32, 32)).size_px == (7, 7)


def test_stride_multiplies_and_padding_moves_the_start() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 3, stride=2, padding=1), nn.Conv2d(1, 1, (3, 5), stride=(2, 1), padding=(1, 0)))
    found = known(net, torch.zeros(1, 1, 32, 32))
    assert found.size_px == (3 + 2 * 2, 3 + 4 * 2)
    assert found.stride_px == (4, 2)
    assert found.start_px == (-1 - 2, -1)


def test_dilation_spreads_the_taps() -> None:
    net = nn.Sequential(*(nn.Conv2d(1, 1, 3, dilation=d, padding=d) for d in (1, 2, 4)))
    assert known(net, torch.zeros(1, 1, 32, 32)).size_px == (1 + 2 * (1 + 2 + 4),) * 2


def test_a_field_may_be_larger_than_the_image() -> None:
    net = nn.Sequential(*(nn.Conv2d(1, 1, 3, stride=2, padding=1) for _ in range(4)))
    assert known(net, torch.zeros(1, 1, 16, 16)).size_px == (1 + 2 * (1 + 2 + 4 + 8),) * 2


def test_global_pooling_sees_the_whole_input_and_so_does_what_it_scales() -> None:
    def squeeze_excite(self: Any, x: Tensor) -> Tensor:
        y = self.conv(x)
        scale: Tensor = y * F.adaptive_avg_pool2d(y, 1).sigmoid()
        return scale

    found = known(Calls(squeeze_excite, conv=nn.Conv2d(1, 2, 3, 2, 1)), torch.zeros(1, 1, 30, 20))
    assert (found.size_px, found.whole) == ((30, 20), (True, True))
    assert found.stride_px == (2, 2)  # where it looks still moves


@pytest.mark.parametrize(
    "function",
    [
        lambda _, x: x.flatten(1) @ torch.zeros(x[0].numel(), 3),
        lambda _, x: F.linear(x.flatten(1), torch.zeros(3, x[0].numel())),
        lambda _, x: x.mean((2, 3)),
        lambda _, x: F.scaled_dot_product_attention(*[x.flatten(2).transpose(1, 2)] * 3),
        lambda _, x: F.instance_norm(x),
    ],
)
def test_operators_that_look_everywhere_see_the_whole_input(function: Callable[..., Any]) -> None:
    found = known(Calls(function), torch.zeros(1, 2, 6, 8))
    assert (found.size_px, found.whole) == ((6, 8), (True, True))


def test_channel_shuffle_keeps_the_field_local() -> None:
    def shuffle(self: Any, x: Tensor) -> Tensor:
        y = self.conv(x)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)

    found = known(Calls(shuffle, conv=nn.Conv2d(1, 4, 3, 2, 1)), torch.zeros(1, 1, 16, 16))
    assert (found.size_px, found.stride_px, found.whole) == ((3, 3), (2, 2), (False, False))


def test_upsampling_divides_the_stride() -> None:
    found = known(nn.Upsample(scale_factor=2), torch.zeros(1, 1, 8, 8))
    assert (found.size_px, found.stride_px) == ((1, 1), (Fraction(1, 2), Fraction(1, 2)))


def test_a_tensor_that_depends_on_no_input_sees_nothing() -> None:
    graph = trace(Calls(lambda _, x: (x, torch.zeros(3) + 1)), torch.zeros(1, 1, 8, 8))
    assert receptive_fields(graph)[graph.outputs[1]] == Field((0, 0), (Fraction(0),) * 2, (0, 0), (False, False))


def test_behind_an_unknown_operator_the_field_is_unknown_not_zero() -> None:
    net = Calls(lambda _, x: torch.fft.fft2(x).abs() + 1)
    assert field_of(net, torch.zeros(1, 1, 8, 8)) is None


def test_one_dimensional_signals_have_one_axis() -> None:
    assert known(nn.Conv1d(1, 1, 5, stride=3), torch.zeros(1, 1, 32)).size_px == (5,)


class Branches(nn.Module):
    """Residual, concatenating, dilated, pooled, transposed, interpolated; returns every step."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 3, 2, 1)
        self.dilated = nn.Conv2d(2, 2, 3, padding=2, dilation=2)
        self.up = nn.ConvTranspose2d(2, 2, 4, 2, 1)
        self.wide = nn.Conv2d(2, 2, (3, 5), padding=(1, 2))
        self.join = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        stem = self.stem(x)
        residual = stem + self.dilated(stem)
        pooled = F.avg_pool2d(residual, 3, 2, 1)
        deep = self.dilated(pooled)
        up = self.up(deep)
        joined = self.wide(self.join(torch.cat((up, residual), 1)))
        smooth = self.wide(F.interpolate(joined, scale_factor=2, mode="bilinear"))
        corners = F.interpolate(joined, size=(61, 77), mode="bilinear", align_corners=True)
        uneven = self.wide(F.interpolate(deep, size=(23, 17)))
        cut = smooth[:, :, 1::2, ::2]
        shuffled = F.pixel_shuffle(torch.cat((residual, residual), 1), 2)
        binned = F.adaptive_avg_pool2d(residual, (7, 5))
        padded = F.pad(pooled, (3, 0, 0, 1)).chunk(2, dim=2)[1]
        twice = self.wide(self.up(self.up(deep)))
        return [
            stem, residual, pooled, deep, up, joined, smooth, corners, uneven, cut, shuffled, binned, padded, twice,
        ]  # fmt: skip


def found_by_gradients(out: Tensor, x: Tensor, axis: int) -> int:
    """Return the largest extent, along one axis, of the pixels that positions near the middle depend on."""
    middle, largest = [out.shape[2] // 2, out.shape[3] // 2], 0
    for offset in range(-4, 5):
        at = list(middle)
        at[axis] += offset
        if 0 <= at[axis] < out.shape[2 + axis]:
            (gradient,) = torch.autograd.grad(out[0, :, at[0], at[1]].sum(), x, retain_graph=True)
            touched = gradient[0, 0].ne(0).any(1 - axis).nonzero()
            largest = max(largest, int(touched.max() - touched.min()) + 1)
    return largest


def test_fields_equal_those_found_by_gradients_at_every_step() -> None:
    net = Branches().double().eval()
    for parameter in net.parameters():  # positive, so that nothing cancels
        parameter.data.uniform_(0.1, 1.0)
    x = torch.rand(1, 1, 128, 160, dtype=torch.double).requires_grad_()
    graph = trace(net, x)
    fields = receptive_fields(graph)
    for name, out in zip(graph.outputs, net(x), strict=True):
        found = fields[name]
        assert found is not None, name
        assert list(found.size_px) == [found_by_gradients(out, x, axis) for axis in (0, 1)], name
