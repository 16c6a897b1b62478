"""Networks that popular counters get wrong, crash on or leave changed, each with its counts spelt out.

An image is 8 x 8 with 3 channels, a sequence 5 tokens of 8 features, unless the line says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True)
class Awkward:
    """A network, an input for it, and what it costs.

    Attributes:
        params: parameters that run; a branch not taken has none.
        dispatched: False where PyTorch's own counter has no formula for the operator.
    """

    make: Callable[[], nn.Module]
    example: Any
    macs: int
    params: int
    dispatched: bool = True


class Net(nn.Module):
    """Named children and parameters, and a function of them and the input as ``forward``."""

    def __init__(self, function: Callable[..., Any], **parts: nn.Module | nn.Parameter | None) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self, *args, **kwargs)


def image(channels: int = 3, size: int = 8) -> Tensor:
    return torch.zeros(1, channels, size, size)


def tokens() -> Tensor:
    return torch.zeros(1, 5, 8)


def weights(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))


class Doubled(torch.autograd.Function):
    """A custom function whose forward convolves: the operators inside it count."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight) * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0], None


class Symmetric(nn.Module):
    """A parametrization: the weight is made from itself every time it is read."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).transpose(-1, -2)


class Head(nn.Module):
    """Turns features into a dict of lists, and takes a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.scores, self.boxes = nn.Linear(8, 4), nn.Linear(8, 6)

    def forward(self, features: dict[str, Tensor]) -> dict[str, list[Tensor]]:
        return {"scores": [self.scores(v) for v in features.values()], "boxes": [self.boxes(features["deep"])]}


class Pair(NamedTuple):
    """What a network may return, too."""

    wide: Tensor
    narrow: Tensor


class Growing(nn.Module):
    """Counts its calls in a buffer, keeps its last output, and draws a random number."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))
        self.conv, self.last = nn.Conv2d(3, 4, 3), None

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.last = self.conv(x) + torch.rand(1)
        return self.last


def dense_block(net: Net, x: Tensor) -> Tensor:
    for layer in net.layers:
        x = torch.cat((x, layer(x)), 1)
    return x


def pyramid(net: Net, x: Tensor) -> Tensor:
    while x.shape[-1] > 2:  # control flow on shapes: 8, 4, 2
        x = F.max_pool2d(net.conv(x), 2)
    return x


def in_place(net: Net, x: Tensor) -> Tensor:
    y = net.conv(x)
    y[:, :2].mul_(2).add_(1)  # writes through a view
    y += net.conv(x)
    return y.relu_().view(1, -1)[:, ::2] @ net.out


def lookup(net: Net, ids: Tensor) -> Tensor:
    return F.linear(net.table(ids), net.table.weight)  # weights tied between embedding and output


def scanned(net: Net, x: Tensor) -> Tensor:
    state = torch.zeros(1, 6)
    for step in x.unbind(1):
        state = net.cell(step, state)
    return state


def shared() -> nn.Module:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    return nn.Sequential(conv, nn.Sequential(conv), nn.ModuleDict({"again": conv})["again"])


def old_weight_norm() -> nn.Module:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and files with it are about
        return nn.utils.weight_norm(nn.Conv2d(3, 4, 3, bias=False))


def constrained(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return layer


def quiet(net: nn.Module) -> nn.Module:
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    return net


def attention(need_weights: bool) -> nn.Module:
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    return Net(lambda n, x: n.layer(x, x, x, need_weights=need_weights)[0], layer=layer)


PROJECTED = 5 * 8 * (3 * 8) + 5 * 8 * 8  # query, key and value; output
ATTENDED = 2 * (2 * 5 * 5 * 4)  # scores and weighted sum: 2 heads of 4 features
LSTM_STEP = 4 * 5 * 6 + 4 * 5 * 5

CASES: dict[str, Awkward] = {
    # functions instead of modules
    "F.conv2d with a parameter": Awkward(
        lambda: Net(lambda n, x: F.conv2d(x, n.w), w=weights(4, 3, 3, 3)), image(), 6 * 6 * 4 * 27, 4 * 27
    ),
    "F.linear with a parameter": Awkward(
        lambda: Net(lambda n, x: F.linear(x, n.w), w=weights(7, 8)), tokens(), 5 * 7 * 8, 7 * 8
    ),
    "x @ parameter": Awkward(lambda: Net(lambda n, x: x @ n.w, w=weights(8, 7)), tokens(), 5 * 7 * 8, 8 * 7),
    "einsum over four letters": Awkward(
        lambda: Net(lambda n, x: torch.einsum("bchw,dc->bdhw", x, n.w), w=weights(6, 3)), image(), 8 * 8 * 6 * 3, 18
    ),
    "bmm of an input with itself": Awkward(
        lambda: Net(lambda n, x: torch.bmm(x, x.mT)), tokens(), 5 * 5 * 8, 0
    ),
    "weights from an input (dynamic convolution)": Awkward(
        lambda: Net(lambda n, x, w: F.conv2d(x, w)), (image(), torch.zeros(4, 3, 1, 1)), 8 * 8 * 4 * 3, 0
    ),
    "a fused addmm": Awkward(
        lambda: Net(lambda n, x: torch.addmm(n.b, x[0], n.w), w=weights(8, 7), b=weights(7)),
        tokens(), 5 * 7 * 8, 8 * 7 + 7,
    ),
    "tensordot": Awkward(
        lambda: Net(lambda n, x: torch.tensordot(x, n.w, 1), w=weights(8, 2, 3)), tokens(), 5 * 8 * 6, 8 * 6
    ),
    "nn.Bilinear": Awkward(
        lambda: Net(lambda n, x: n.layer(x, x), layer=nn.Bilinear(8, 8, 4, bias=False)),
        tokens(), 5 * (4 * 8 * 8 + 4 * 8), 4 * 8 * 8, dispatched=False,
    ),
    # convolutions of every kind
    "padding given as a word": Awkward(
        lambda: nn.Conv2d(3, 4, 3, padding="same"), image(), 8 * 8 * 4 * 27, 4 * 27 + 4
    ),
    "even kernel, same padding": Awkward(
        lambda: nn.Conv2d(3, 4, 4, padding="same", bias=False), image(), 8 * 8 * 4 * 48, 4 * 48
    ),
    "circular padding": Awkward(
        lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), image(), 8 * 8 * 4 * 27, 4 * 27 + 4
    ),
    "depthwise": Awkward(lambda: nn.Conv2d(6, 6, 3, groups=6), image(6), 6 * 6 * 6 * 9, 6 * 9 + 6),
    "depthwise with a multiplier": Awkward(
        lambda: nn.Conv2d(3, 12, 3, groups=3), image(), 6 * 6 * 12 * 9, 12 * 9 + 12
    ),
    "dilated": Awkward(lambda: nn.Conv2d(3, 4, 3, dilation=2), image(), 4 * 4 * 4 * 27, 4 * 27 + 4),
    "transposed": Awkward(lambda: nn.ConvTranspose2d(3, 4, 4, 2, 1), image(), 8 * 8 * 3 * 4 * 16, 3 * 4 * 16 + 4),
    "transposed with output padding": Awkward(
        lambda: nn.ConvTranspose2d(3, 4, 3, 2, 1, output_padding=1), image(), 8 * 8 * 3 * 4 * 9, 3 * 4 * 9 + 4
    ),
    "transposed in groups": Awkward(
        lambda: nn.ConvTranspose2d(6, 12, 2, 2, groups=3), image(6), 8 * 8 * 6 * (12 // 3) * 4, 6 * 4 * 4 + 12
    ),
    "F.conv_transpose2d": Awkward(
        lambda: Net(lambda n, x: F.conv_transpose2d(x, n.w), w=weights(3, 4, 2, 2)), image(), 8 * 8 * 3 * 4 * 4, 48
    ),
    "one-dimensional": Awkward(lambda: nn.Conv1d(8, 4, 3), torch.zeros(1, 8, 20), 18 * 4 * 24, 4 * 24 + 4),
    "three-dimensional": Awkward(
        lambda: nn.Conv3d(2, 4, (1, 3, 3)), torch.zeros(1, 2, 4, 8, 8), 4 * 6 * 6 * 4 * 2 * 9, 4 * 18 + 4
    ),
    "without a batch dimension": Awkward(
        lambda: nn.Conv2d(3, 4, 3), torch.zeros(3, 8, 8), 6 * 6 * 4 * 27, 4 * 27 + 4
    ),
    "a batch of two": Awkward(lambda: nn.Conv2d(3, 4, 3), torch.zeros(2, 3, 8, 8), 2 * 6 * 6 * 4 * 27, 4 * 27 + 4),
    "channels last, half precision": Awkward(
        lambda: nn.Conv2d(3, 4, 3).half().to(memory_format=torch.channels_last),
        image().half().to(memory_format=torch.channels_last), 6 * 6 * 4 * 27, 4 * 27 + 4,
    ),
    "linear on a 3-D input": Awkward(lambda: nn.Linear(8, 7), tokens(), 5 * 8 * 7, 8 * 7 + 7),
    # shared, tied, re-parametrized, frozen, unused weights
    "a module under three names": Awkward(shared, image(), 3 * 8 * 8 * 3 * 27, 3 * 27 + 3),
    "a module called in a loop": Awkward(
        lambda: Net(pyramid, conv=nn.Conv2d(3, 3, 1)), image(), (8 * 8 + 4 * 4) * 3 * 3, 3 * 3 + 3
    ),
    "tied embedding and output": Awkward(
        lambda: Net(lookup, table=nn.Embedding(9, 8)), torch.zeros(1, 5, dtype=torch.long), 5 * 9 * 8, 9 * 8
    ),
    "weight norm, parametrized": Awkward(
        lambda: parametrizations.weight_norm(nn.Conv2d(3, 4, 3, bias=False)), image(), 6 * 6 * 4 * 27, 4 + 4 * 27
    ),
    "weight norm by hooks": Awkward(old_weight_norm, image(), 6 * 6 * 4 * 27, 4 + 4 * 27),
    "a parametrization of one's own": Awkward(
        lambda: constrained(nn.Linear(8, 8, bias=False)), tokens(), 5 * 8 * 8, 8 * 8
    ),
    "frozen parameters": Awkward(lambda: quiet(nn.Linear(8, 7)), tokens(), 5 * 8 * 7, 8 * 7 + 7),
    "nn.ParameterList": Awkward(
        lambda: Net(lambda n, x: sum(x @ w for w in n.ws), ws=nn.ParameterList([weights(8, 3), weights(8, 3)])),
        tokens(), 2 * 5 * 3 * 8, 2 * 8 * 3,
    ),
    "nn.ParameterDict": Awkward(
        lambda: Net(lambda n, x: x * n.ws["scale"] @ n.ws["w"],
                    ws=nn.ParameterDict({"scale": weights(8), "w": weights(8, 3)})),
        tokens(), 5 * 3 * 8, 8 + 8 * 3,
    ),
    # attention and recurrence
    "scaled dot-product attention": Awkward(
        lambda: Net(lambda n, q, k, v: F.scaled_dot_product_attention(q, k, v)),
        (torch.zeros(2, 4, 7, 16), torch.zeros(2, 4, 9, 16), torch.zeros(2, 4, 9, 12)),
        2 * 4 * 7 * 9 * 16 + 2 * 4 * 7 * 9 * 12, 0,
    ),
    "attention with a causal mask": Awkward(
        lambda: Net(lambda n, x: F.scaled_dot_product_attention(x, x, x, is_causal=True)),
        torch.zeros(1, 2, 5, 4), ATTENDED, 0,
    ),
    "nn.MultiheadAttention": Awkward(lambda: attention(False), tokens(), PROJECTED + ATTENDED, 4 * 64 + 4 * 8),
    "nn.MultiheadAttention with weights": Awkward(
        lambda: attention(True), tokens(), PROJECTED + ATTENDED, 4 * 64 + 4 * 8
    ),
    "nn.TransformerEncoderLayer": Awkward(
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        tokens(), PROJECTED + ATTENDED + 2 * 5 * 8 * 16, 4 * 64 + 4 * 8 + 2 * 8 * 16 + 16 + 8 + 2 * (8 + 8),
    ),
    "attention written out": Awkward(
        lambda: Net(lambda n, x: ((q := n.q(x)) @ n.k(x).mT).softmax(-1) @ q,
                    q=nn.Linear(8, 8, bias=False), k=nn.Linear(8, 8, bias=False)),
        tokens(), 2 * 5 * 64 + 2 * 5 * 5 * 8, 2 * 64,
    ),
    "LSTM": Awkward(
        lambda: nn.LSTM(6, 5, bidirectional=True), torch.zeros(7, 3, 6), 7 * 3 * 2 * LSTM_STEP,
        2 * (LSTM_STEP + 2 * 20), dispatched=False,
    ),
    "GRU": Awkward(
        lambda: nn.GRU(6, 5, batch_first=True), torch.zeros(3, 7, 6), 7 * 3 * (3 * 5 * 6 + 3 * 5 * 5),
        3 * 5 * 6 + 3 * 5 * 5 + 2 * 15, dispatched=False,
    ),
    "a recurrent cell in a loop": Awkward(
        lambda: Net(scanned, cell=nn.RNNCell(8, 6)), tokens(), 5 * (6 * 8 + 6 * 6), 6 * 8 + 6 * 6 + 2 * 6
    ),
    # structure
    "dense connections": Awkward(
        lambda: Net(dense_block, layers=nn.ModuleList(nn.Conv2d(3 + 2 * i, 2, 1) for i in range(3))),
        image(), 8 * 8 * 2 * (3 + 5 + 7), 2 * (3 + 5 + 7) + 3 * 2,
    ),
    "control flow on shapes": Awkward(
        lambda: Net(lambda n, x: n.a(x) if x.shape[-1] > 4 else n.b(x), a=nn.Linear(8, 2), b=nn.Linear(4, 2)),
        tokens(), 5 * 8 * 2, 8 * 2 + 2,
    ),
    "writes in place through views": Awkward(
        lambda: Net(in_place, conv=nn.Conv2d(3, 4, 1), out=weights(4 * 64 // 2, 5)),
        image(), 2 * 8 * 8 * 4 * 3 + 128 * 5, 4 * 3 + 4 + 128 * 5,
    ),
    "slices, chunks and stacks": Awkward(
        lambda: Net(lambda n, x: n.conv(torch.stack(x.chunk(2, 2)).flatten(0, 1).flatten(2)[..., 1::2]),
                    conv=nn.Conv1d(3, 4, 1)),
        image(), 2 * (8 * 8 // 2 // 2) * 4 * 3, 4 * 3 + 4,
    ),
    "a custom autograd function": Awkward(
        lambda: Net(lambda n, x: Doubled.apply(x, n.w), w=weights(4, 3, 3, 3)), image(), 6 * 6 * 4 * 27, 4 * 27
    ),
    "checkpointed": Awkward(
        lambda: Net(lambda n, x: checkpoint(n.conv, x, use_reentrant=False), conv=nn.Conv2d(3, 4, 3)),
        image(), 6 * 6 * 4 * 27, 4 * 27 + 4,
    ),
    "compiled by torch.jit.script": Awkward(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), torch.jit.script(nn.Conv2d(4, 2, 1))),
        image(), 6 * 6 * 4 * 27 + 6 * 6 * 2 * 4, 4 * 27 + 4 + 2 * 4 + 2,
    ),
    "hooks that compute": Awkward(
        lambda: hooked(nn.Conv2d(3, 4, 3)), image(), 6 * 6 * 4 * 27 + 6 * 6 * 6 * 4, 4 * 27 + 4
    ),
    "a lambda as forward": Awkward(lambda: replaced(nn.Linear(8, 7)), tokens(), 5 * 8 * 7, 8 * 7),
    "state that grows by every call": Awkward(Growing, image(), 6 * 6 * 4 * 27, 4 * 27 + 4),
    "training mode, dropout and batch norm": Awkward(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5)).train(),
        image(), 8 * 8 * 4 * 3, 4 * 3 + 4 + 4 + 4,
    ),
    "resized and convolved": Awkward(
        lambda: Net(lambda n, x: n.conv(F.interpolate(x, scale_factor=2, mode="bilinear")), conv=nn.Conv2d(3, 4, 1)),
        image(), 16 * 16 * 4 * 3, 4 * 3 + 4,
    ),
    "no parameters": Awkward(lambda: nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), image(), 0, 0),
    "drops a layer at training only": Awkward(
        lambda: Net(lambda n, x: n.a(x) + n.b(x) if n.training else n.a(x), a=nn.Linear(8, 2), b=nn.Linear(8, 2)),
        tokens(), 5 * 8 * 2, 8 * 2 + 2,
    ),
    # inputs and outputs
    "two inputs": Awkward(
        lambda: Net(lambda n, a, b: n.fc(torch.cat((a, b), -1)), fc=nn.Linear(16, 2, bias=False)),
        (tokens(), tokens()), 5 * 16 * 2, 32,
    ),
    "an optional input left out": Awkward(
        lambda: Net(lambda n, a, b=None: n.fc(a if b is None else a + b), fc=nn.Linear(8, 2, bias=False)),
        tokens(), 5 * 8 * 2, 16,
    ),
    "dicts in and out": Awkward(
        Head, ({"deep": tokens(), "shallow": tokens()},), 2 * 5 * 8 * 4 + 5 * 8 * 6, 8 * 4 + 4 + 8 * 6 + 6
    ),
    "keyword arguments": Awkward(
        lambda: Net(lambda n, *, x, scale: n.fc(x) * scale, fc=nn.Linear(8, 2)), {"x": tokens(), "scale": 2.0},
        5 * 8 * 2, 8 * 2 + 2,
    ),
    "a list in, a named tuple out": Awkward(
        lambda: Net(lambda n, xs: Pair(n.a(xs[0]), n.b(xs[1])), a=nn.Linear(8, 4), b=nn.Linear(8, 1)),
        ([tokens(), tokens()],), 5 * 8 * 4 + 5 * 8 * 1, 8 * 4 + 4 + 8 + 1,
    ),
}  # fmt: skip


def hooked(net: nn.Module) -> nn.Module:
    """A hook that multiplies the output, rows by columns."""
    net.register_forward_hook(lambda module, args, out: out @ out.mT)
    return net


def replaced(net: nn.Linear) -> nn.Module:
    """Its ``forward`` is a function over the instance, which reads the weight itself."""
    net.forward = lambda x: x @ net.weight.t()  # type: ignore[method-assign]
    return net
