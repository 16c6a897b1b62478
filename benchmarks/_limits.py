"""Single operators around the limits of edge devices: kernels, strides, dilations, scales, sizes, axes."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CHANNELS = 8
_Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Case:
    """One operator with its settings, on a map of ``channels`` x ``size`` x ``size``."""

    text: str
    network: nn.Module
    size: int = 24
    channels: int = CHANNELS


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function: _Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Call it."""
        return self.function(x)


def cases() -> tuple[Case, ...]:
    """Return all of them."""
    parts = (
        _convolutions(),
        _transposed(),
        _pools(),
        _resizes(),
        _pointwise(),
        _arithmetic(),
        _reductions(),
        _shapes(),
    )
    return tuple(itertools.chain.from_iterable(parts))


def _convolutions() -> Iterator[Case]:
    for kernel in (1, 2, 3, 5, 7, 9, 15):
        yield Case(f"conv k{kernel}", nn.Conv2d(CHANNELS, 16, kernel, 1, kernel // 2))
    for kernel in (65, 67):
        yield Case(f"conv k{kernel} valid", nn.Conv2d(CHANNELS, 8, kernel), 72)
    for shape in ((1, 7), (7, 1), (1, 25), (65, 1)):
        yield Case(f"conv k{shape[0]}x{shape[1]} valid", nn.Conv2d(CHANNELS, 16, shape), 72)
    for stride, pad in itertools.product((2, 3, 4, 5, 7), (0, 1)):
        yield Case(f"conv k3 s{stride} p{pad}", nn.Conv2d(CHANNELS, 16, 3, stride, pad), 25)
    for stride in (3, 4, 5):  # TensorFlow's SAME, even to both sides
        yield Case(f"conv k{stride + 2} s{stride} p1", nn.Conv2d(CHANNELS, 16, stride + 2, stride, 1), 12 * stride)
    yield Case("conv k3 s1x2", nn.Conv2d(CHANNELS, 16, 3, (1, 2), 1))
    yield Case("conv k3 s4x1", nn.Conv2d(CHANNELS, 16, 3, (4, 1)))
    for dilation in (2, 3, 4, 8, 16, 31, 32):
        yield Case(f"conv k3 d{dilation}", nn.Conv2d(CHANNELS, 16, 3, 1, dilation, dilation), 72)
    yield Case("conv k3 s2 d2", nn.Conv2d(CHANNELS, 16, 3, 2, 2, 2))
    yield Case("conv k3 s4 d2 valid", nn.Conv2d(CHANNELS, 16, 3, 4, 0, 2))
    for groups in (2, 4):
        yield Case(f"conv k3 g{groups}", nn.Conv2d(CHANNELS, 16, 3, 1, 1, groups=groups))
        yield Case(f"conv k1 g{groups}", nn.Conv2d(CHANNELS, 8, 1, groups=groups))
    for kernel, stride in itertools.product((3, 5, 9), (1, 2, 3, 4)):
        layer = nn.Conv2d(CHANNELS, CHANNELS, kernel, stride, kernel // 2, groups=CHANNELS)
        yield Case(f"depthwise k{kernel} s{stride}", layer)
    for dilation in (2, 31, 32):
        layer = nn.Conv2d(CHANNELS, CHANNELS, 3, 1, dilation, dilation, groups=CHANNELS)
        yield Case(f"depthwise k3 d{dilation}", layer, 72)
    yield Case("depthwise, two filters a channel", nn.Conv2d(CHANNELS, 16, 3, 1, 1, groups=CHANNELS))
    yield Case("depthwise, eight filters of one channel", nn.Conv2d(1, 8, 3, 1, 1), channels=1)
    yield Case("depthwise k24, the whole map", nn.Conv2d(CHANNELS, CHANNELS, 24, groups=CHANNELS))
    yield Case("conv of 3 channels", nn.Conv2d(3, 16, 3, 2, 1), channels=3)


def _transposed() -> Iterator[Case]:
    for kernel, stride, pad, out in (
        (2, 2, 0, 0), (4, 2, 1, 0), (3, 2, 1, 1), (3, 2, 0, 0), (3, 1, 1, 0), (2, 1, 0, 0), (3, 3, 0, 0), (6, 3, 1, 1),
        (4, 4, 0, 0), (8, 4, 2, 0), (5, 2, 2, 1), (3, 2, 1, 0),
    ):  # fmt: skip
        layer = nn.ConvTranspose2d(CHANNELS, 16, kernel, stride, pad, out)
        yield Case(f"transposed conv k{kernel} s{stride} p{pad} o{out}", layer, 12)
    yield Case("transposed conv k3x2 s1x2", nn.ConvTranspose2d(CHANNELS, 16, (1, 2), (1, 2)), 12)


def _pools() -> Iterator[Case]:
    for kernel, stride in itertools.product((2, 3, 5, 9, 14), (1, 2, 3, 4)):
        yield Case(f"max pool k{kernel} s{stride}", nn.MaxPool2d(kernel, stride), 30)
        yield Case(f"average pool k{kernel} s{stride}", nn.AvgPool2d(kernel, stride), 30)
    for kernel in (3, 5, 9):
        yield Case(f"max pool k{kernel} same", nn.MaxPool2d(kernel, 1, kernel // 2))
    for kernel in (3, 5, 7, 9, 11):
        layer = nn.AvgPool2d(kernel, 1, kernel // 2, count_include_pad=False)
        yield Case(f"average pool k{kernel} same", layer)
        yield Case(f"average pool k{kernel} padded", nn.AvgPool2d(kernel, 1, kernel // 2))
    yield Case("max pool k3 s2 p1", nn.MaxPool2d(3, 2, 1))
    yield Case("max pool k3 s2 rounded up", nn.MaxPool2d(3, 2, ceil_mode=True))
    yield Case("average pool k257x1", nn.AvgPool2d((257, 1), 1), 258, 2)
    yield Case("max pool k257x1", nn.MaxPool2d((257, 1), 1), 258, 2)
    yield Case("max pool k256x1", nn.MaxPool2d((256, 1), 1), 258, 2)
    for size in (1, 2, 3, 6, 8):
        yield Case(f"adaptive average to {size}", nn.AdaptiveAvgPool2d(size))
        yield Case(f"adaptive maximum to {size}", nn.AdaptiveMaxPool2d(size))
    for size in (7, 64, 65, 200):
        yield Case(f"global average of {size}", nn.AdaptiveAvgPool2d(1), size, 2)


def _resizes() -> Iterator[Case]:
    for scale in (2, 3, 4, 5, 8, 16):
        yield Case(f"nearest x{scale}", nn.Upsample(scale_factor=scale), 6)
        yield Case(f"bilinear x{scale}", nn.Upsample(scale_factor=scale, mode="bilinear"), 6)
        size = 5 * scale + 1
        yield Case(f"bilinear to {size}, corners", nn.Upsample(size, mode="bilinear", align_corners=True), 6)
    yield Case("bilinear to 12, corners", nn.Upsample(12, mode="bilinear", align_corners=True), 6)
    for mode in ("nearest", "bilinear"):
        yield Case(f"{mode} from one pixel", nn.Upsample(7, mode=mode), 1)
        yield Case(f"{mode} to a half", nn.Upsample(12, mode=mode))
        yield Case(f"{mode} x2 by x4", nn.Upsample(scale_factor=(2, 4), mode=mode), 6)
        yield Case(f"{mode} 6 to 9", nn.Upsample(9, mode=mode), 6)


def _pointwise() -> Iterator[Case]:
    functions: tuple[_Function, ...] = (
        F.relu, F.relu6, F.leaky_relu, F.elu, torch.sigmoid, torch.tanh, F.hardswish, F.hardsigmoid, F.silu, F.gelu,
        torch.exp, torch.log, torch.rsqrt, torch.sqrt, torch.abs, torch.neg,
    )  # fmt: skip
    for function in functions:
        yield Case(function.__name__, Call(function))
    yield Case("prelu", nn.PReLU(CHANNELS))
    yield Case("prelu of one slope", nn.PReLU(1))
    yield Case("batch norm alone", nn.BatchNorm2d(CHANNELS))
    yield Case("softmax over channels", nn.Softmax(1))
    yield Case("softmax of a vector", nn.Sequential(nn.Flatten(), nn.Softmax(1)))


def _arithmetic() -> Iterator[Case]:
    two: tuple[Callable[[Any, Any], Tensor], ...] = (
        torch.add,
        torch.sub,
        torch.mul,
        torch.div,
        torch.maximum,
        torch.minimum,
    )
    for function in two:
        name = function.__name__
        yield Case(f"{name} of two maps", _with(function, nn.ReLU()))
        yield Case(f"{name} of a map and a pixel", _with(function, nn.AdaptiveAvgPool2d(1)))
        yield Case(f"{name} of a map and a row", _with(function, nn.AvgPool2d((24, 1))))
    yield Case("add of a number", Call(lambda x: x + 3.0))
    yield Case("mul by a number", Call(lambda x: x * 0.5))
    yield Case("div by a number", Call(lambda x: x / 2.0))
    yield Case("cumsum", Call(lambda x: x.cumsum(1)))
    yield Case("linear", nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * 36, 10)), 6)


def _with(function: Callable[[Any, Any], Tensor], other: nn.Module) -> Call:
    return Call(lambda x: function(x, other(x)))


def _over(function: Callable[..., Tensor], dims: tuple[int, ...]) -> Call:
    return Call(lambda x: function(x, dims, keepdim=True))


def _permuted(order: tuple[int, ...]) -> Call:
    return Call(lambda x: x.permute(order))


def _reductions() -> Iterator[Case]:
    for dims in ((2, 3), (1,), (2,), (3,), (1, 2, 3)):
        yield Case(f"mean over {dims}", _over(torch.mean, dims))
        yield Case(f"sum over {dims}", _over(torch.sum, dims))
        yield Case(f"maximum over {dims}", _over(torch.amax, dims))
    yield Case("minimum over (1,)", Call(lambda x: x.amin((1,), keepdim=True)))
    yield Case("mean, dimensions dropped", Call(lambda x: x.mean((2, 3))))
    yield Case("mean of a row of 5000", Call(lambda x: x.reshape(len(x), 2, 1, 5000).mean((2, 3))), 100, 1)


def _shapes() -> Iterator[Case]:
    yield Case("concat of channels", Call(lambda x: torch.cat([x, F.relu(x)], 1)))
    yield Case("concat of rows", Call(lambda x: torch.cat([x, F.relu(x)], 2)))
    yield Case("concat of six", Call(lambda x: torch.cat([x, F.relu(x), x, F.relu6(x), x, x], 1)))
    yield Case("chunk in 2", Call(lambda x: torch.cat(x.chunk(2, 1)[::-1], 1)))
    yield Case("split, uneven", Call(lambda x: torch.cat(torch.split(x, [3, 5], 1)[::-1], 1)))
    yield Case("channels 2 to 6", Call(lambda x: x[:, 2:6]))
    yield Case("rows 1 to 9", Call(lambda x: x[:, :, 1:9]))
    yield Case("every second row", Call(lambda x: x[:, :, ::2]))
    yield Case("every second pixel", Call(lambda x: x[:, :, ::2, ::2]))
    yield Case("every third column", Call(lambda x: x[:, :, :, 1::3]))
    yield Case("every second channel", Call(lambda x: x[:, ::2]))
    yield Case("flipped rows", Call(lambda x: x.flip(2)))
    yield Case("flipped channels", Call(lambda x: x.flip(1)))
    yield Case("repeated channels", Call(lambda x: x.repeat(1, 2, 1, 1)))
    yield Case("repeated rows", Call(lambda x: x.repeat(1, 1, 2, 1)))
    for pad in (1, 3):
        yield Case(f"padded by {pad}", nn.ZeroPad2d(pad))
        yield Case(f"padded by {pad} with ones", nn.ConstantPad2d(pad, 1.0))
        yield Case(f"reflected by {pad}", nn.ReflectionPad2d(pad))
    yield Case("channel shuffle", nn.ChannelShuffle(2))
    yield Case("channel shuffle of 4", nn.ChannelShuffle(4))
    yield Case("shuffle written out", Call(_shuffle))
    yield Case("flatten", nn.Flatten())
    yield Case("reshape to a vector", Call(lambda x: x.reshape(len(x), -1)))
    yield Case("reshape of the map", Call(lambda x: x.reshape(len(x), CHANNELS, 12, 48)))
    yield Case("five dimensions", Call(lambda x: x.reshape(len(x), 2, 4, 24, 24)))
    for order in ((0, 2, 3, 1), (0, 1, 3, 2), (0, 3, 1, 2)):
        yield Case(f"permute {order}", _permuted(order))
    yield Case("three dimensions", Call(lambda x: x.flatten(2).transpose(1, 2)))
    yield Case("stack of vectors", Call(lambda x: torch.stack([x.flatten(1), F.relu(x).flatten(1)], 1)))
    yield Case("an axis more and less", Call(lambda x: x.unsqueeze(1).squeeze(1)))


def drawn(count: int, seed: int) -> Iterator[Case]:
    """Yield operators with settings drawn at random, so that no rule was written by them; those PyTorch refuses aren't.

    Args:
        count: how many.
        seed: of the draw; another seed gives other ones.
    """
    dice = random.Random(seed)
    while count:
        kind = dice.choice(_DRAWS)
        case = kind(dice)
        try:
            case.network.eval()(torch.zeros(1, case.channels, case.size, case.size))
        except (RuntimeError, ValueError):  # a kernel larger than the map, a padding above half the kernel
            continue
        count -= 1
        yield case


def _drawn_convolution(dice: random.Random) -> Case:
    groups = dice.choice((1, 1, 2, CHANNELS, CHANNELS))
    made = CHANNELS if groups == CHANNELS else dice.choice((4, 16))
    kernel = dice.choice((1, 2, 3, 4, 5, 7, 11, (1, 5), (9, 2)))
    stride, dilation = dice.choice((1, 1, 2, 3, 4, 6)), dice.choice((1, 1, 1, 2, 5, 17, 33))
    pad = dice.choice((0, 1, 2, 3))
    layer = nn.Conv2d(CHANNELS, made, kernel, stride, pad, dilation, groups)
    text = f"conv k{kernel} s{stride} p{pad} d{dilation} g{groups} to {made}"
    return Case(text, layer, dice.randint(9, 80))


def _drawn_transposed(dice: random.Random) -> Case:
    kernel, stride, pad = dice.randint(1, 6), dice.choice((1, 2, 2, 3, 4)), dice.choice((0, 0, 1))
    layer = nn.ConvTranspose2d(CHANNELS, 16, kernel, stride, pad)
    return Case(f"transposed conv k{kernel} s{stride} p{pad}", layer, dice.randint(3, 20))


def _drawn_pool(dice: random.Random) -> Case:
    kernel, stride, pad = dice.randint(2, 12), dice.randint(1, 5), dice.choice((0, 0, 1, 2))
    kind = dice.choice((nn.MaxPool2d, nn.AvgPool2d))
    return Case(f"{kind.__name__} k{kernel} s{stride} p{pad}", kind(kernel, stride, pad), dice.randint(12, 60))


def _drawn_resize(dice: random.Random) -> Case:
    size, made, mode = (
        dice.choice((1, 4, 6)),
        dice.choice((8, 12, 16, 18, 24, 32, 48)),
        dice.choice(("nearest", "bilinear")),
    )
    corners = dice.choice((None, True)) if mode == "bilinear" else None
    text = f"{mode} {size} to {made}{', corners' if corners else ''}"
    return Case(text, nn.Upsample(made, mode=mode, align_corners=corners), size)


def _drawn_reduction(dice: random.Random) -> Case:
    dims = tuple(sorted(dice.sample((1, 2, 3), dice.randint(1, 3))))
    function = dice.choice((torch.mean, torch.sum, torch.amax, torch.amin))
    return Case(f"{function.__name__} over {dims}", _over(function, dims), dice.randint(5, 40))


def _drawn_slice(dice: random.Random) -> Case:
    dim, start, step = dice.randint(1, 3), dice.randint(0, 3), dice.choice((1, 1, 2, 3))
    cut = [slice(None)] * dim + [slice(start, None, step)]
    return Case(f"from {start} by {step} along {dim}", Call(lambda x: x[tuple(cut)]), dice.randint(9, 40))


_DRAWS: tuple[Callable[[random.Random], Case], ...] = (
    _drawn_convolution, _drawn_convolution, _drawn_convolution, _drawn_transposed, _drawn_pool, _drawn_pool,
    _drawn_resize, _drawn_reduction, _drawn_slice,
)  # fmt: skip


def _shuffle(x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    return x.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, channels, height, width)
