"""Networks wired in ways that pruners break on: each with a layer that can lose channels, or a reason why none can."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = 8


class Net(nn.Module):
    """Named children, and a function of them and the input as ``forward``."""

    def __init__(self, function: Callable[..., Any], **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def conv(inputs: int, outputs: int, kernel: int = 3, **more: Any) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, **more)


def normed(inputs: int, outputs: int, kernel: int = 1, **more: Any) -> nn.Sequential:
    return nn.Sequential(conv(inputs, outputs, kernel, bias=False, **more), nn.BatchNorm2d(outputs), nn.ReLU())


def shuffle(x: Tensor, groups: int) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def shuffle_v1(n: Net, x: Tensor) -> Any:
    y = n.stem(x)
    for _ in range(2):
        z = n.expand(n.depth(shuffle(n.squeeze(y), 4)))
        y = F.relu(y + z)
    return n.out(y.mean((2, 3)))


def shuffle_columns(n: Net, x: Tensor) -> Any:
    y = n.first(x)
    b, c, h, w = y.shape
    return n.out(n.second(y.reshape(b, c // 4, 4, h, w).transpose(1, 2).reshape(b, c, h, w)).relu())


def shuffle_v2_chunk(n: Net, x: Tensor) -> Any:
    left, right = n.stem(x).chunk(2, 1)
    left, right = shuffle(torch.cat((left, n.inside(right)), 1), 2).chunk(2, 1)
    return n.out(shuffle(torch.cat((left, n.again(right)), 1), 2).mean((2, 3)))


def shuffle_v2_slice(n: Net, x: Tensor) -> Any:
    y = n.stem(x)
    half = y.shape[1] // 2
    return n.out(torch.cat((y[:, :half], n.inside(y[:, half:])), 1))


def fixed_split(n: Net, x: Tensor) -> Any:
    left, right = n.stem(n.first(x)).split([12, 20], 1)
    return n.out(torch.cat((left, n.inside(right)), 1))


def fixed_shuffle(n: Net, x: Tensor) -> Any:
    y = n.stem(n.first(x))
    return n.out(y.view(1, 4, 8, *y.shape[2:]).transpose(1, 2).flatten(1, 2))


def halves_maximum(n: Net, x: Tensor) -> Any:
    left, right = n.stem(x).chunk(2, 1)
    return n.out(torch.maximum(left, right))


def squeeze_excite(n: Net, x: Tensor) -> Any:
    y = n.stem(x)
    return n.out(y * n.up(F.relu(n.down(y.mean((2, 3), keepdim=True)))).sigmoid())


def ghost(n: Net, x: Tensor) -> Any:
    y = n.primary(x)
    return n.out(torch.cat((y, n.cheap(y)), 1)[:, :28])


def shared_head(n: Net, x: Tensor) -> Any:
    y = n.stem(x)
    small = n.down(y)
    return [n.head(level).permute(0, 2, 3, 1).flatten(1, 2) for level in (y, small)]


def ssd(n: Net, x: Tensor) -> Any:
    y = n.stem(x)
    levels = (y, n.down(y))
    boxes = [f(v).permute(0, 2, 3, 1).reshape(v.shape[0], -1, 4) for f, v in zip(n.boxes, levels, strict=True)]
    scores = [f(v).permute(0, 2, 3, 1).reshape(v.shape[0], -1, 5) for f, v in zip(n.scores, levels, strict=True)]
    return torch.cat(boxes, 1), torch.cat(scores, 1).softmax(-1)


def unet(n: Net, x: Tensor) -> Any:
    y = n.stem(x)
    low = n.down(y)
    return n.out(torch.cat((y, n.up(low)), 1))


def dense(n: Net, x: Tensor) -> Any:
    y = n.stem(x)
    for layer in n.layers:
        y = torch.cat((y, layer(y)), 1)
    return n.out(y)


def in_a_loop(n: Net, x: Tensor) -> Any:
    y = n.stem(x)
    for _ in range(3):
        y = F.relu(n.inside(y))
    return n.out(y)


def space_to_depth(n: Net, x: Tensor) -> Any:
    b, c, h, w = x.shape
    y = x.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(b, c * 4, h // 2, w // 2)
    return n.out(n.stem(y))


def hard_swish_by_hand(n: Net, x: Tensor) -> Any:
    y = n.norm(n.stem(x))
    return n.out(y * F.relu6(y + 3) / 6)


def attention(n: Net, x: Tensor) -> Any:
    y = n.stem(x).flatten(2).transpose(1, 2)
    weights = (n.query(y) @ n.key(y).transpose(1, 2)).softmax(-1)
    return n.out(n.hidden(weights @ n.value(y)).relu())


def concatenated_input(n: Net, x: Tensor) -> Any:
    return n.out(n.inside(torch.cat((x, n.stem(x)), 1)))


def padded_shortcut(n: Net, x: Tensor) -> Any:
    y = n.stem(x)
    return n.out(F.pad(y, (0, 0, 0, 0, 4, 4)) + n.inside(y))


def repvgg(n: Net, x: Tensor) -> Any:
    y = n.stem(x)
    return n.out(F.relu(n.three(y) + n.one(y) + n.norm(y)))


def star(n: Net, x: Tensor) -> Any:
    y = n.stem(x)
    return n.out(y + n.back(F.relu6(n.first(y)) * n.second(y)))


def functional(n: Net, x: Tensor) -> Any:
    return F.conv2d(F.relu(F.conv2d(x, n.first, n.bias, padding=1)), n.second)


LOSING: Mapping[str, Callable[[], nn.Module]] = MappingProxyType({
    "plain with norms": lambda: nn.Sequential(normed(3, 32, 3), normed(32, 16, 3), conv(16, 4)),
    "ShuffleNetV1": lambda: Net(
        shuffle_v1, stem=normed(3, 32), squeeze=normed(32, 16, groups=4),
        depth=nn.Sequential(conv(16, 16, groups=16), nn.BatchNorm2d(16)), expand=conv(16, 32, 1, groups=4),
        out=nn.Linear(32, 5),
    ),
    "ShuffleNetV2 by chunk and view": lambda: Net(
        shuffle_v2_chunk, stem=normed(3, 32), inside=normed(16, 16), again=normed(16, 16), out=nn.Linear(32, 5)
    ),
    "a shuffle of as many columns as groups": lambda: Net(
        shuffle_columns, first=conv(3, 24, 1), second=conv(24, 32, 1, groups=4), out=conv(32, 4)
    ),
    "grouped convolution and shuffle": lambda: nn.Sequential(
        normed(3, 32), conv(32, 32, 1, groups=4), nn.ChannelShuffle(4), nn.ReLU(), conv(32, 24, groups=2), nn.ReLU(),
        conv(24, 4),
    ),
    "grouped, transposed": lambda: nn.Sequential(
        normed(3, 32), nn.ConvTranspose2d(32, 16, 2, 2, groups=4), nn.ReLU(), conv(16, 4)
    ),
    "depthwise": lambda: nn.Sequential(conv(3, 16, 1), conv(16, 16, groups=16), nn.ReLU6(), conv(16, 4, 1)),
    "depthwise with a multiplier": lambda: nn.Sequential(
        normed(3, 16), conv(16, 32, groups=16), nn.ReLU(), conv(32, 4, 1)
    ),
    "depthwise transposed": lambda: nn.Sequential(
        normed(3, 16), nn.ConvTranspose2d(16, 16, 4, 2, 1, groups=16), nn.ReLU(), conv(16, 4)
    ),
    "PReLU over a depthwise": lambda: nn.Sequential(
        conv(3, 16), nn.PReLU(16), conv(16, 16, groups=16, bias=False), nn.BatchNorm2d(16), nn.PReLU(16), conv(16, 4)
    ),
    "flatten into linear": lambda: nn.Sequential(
        normed(3, 16, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 16, 24), nn.ReLU(), nn.Linear(24, 5)
    ),
    "CReLU": lambda: Net(lambda n, x: n.b(torch.cat((y := n.a(x), -y), 1).relu()), a=conv(3, 16), b=conv(32, 4)),
    "maximum of halves": lambda: Net(halves_maximum, stem=normed(3, 32), out=conv(16, 4)),
    "pixel shuffle": lambda: nn.Sequential(conv(3, 64), nn.PixelShuffle(2), nn.ReLU(), conv(16, 4)),
    "pixel unshuffle": lambda: nn.Sequential(normed(3, 16), nn.PixelUnshuffle(2), conv(64, 4)),
    "squeeze and excitation": lambda: Net(
        squeeze_excite, stem=normed(3, 32), down=conv(32, 8, 1), up=conv(8, 32, 1), out=conv(32, 4)
    ),
    "sigmoid read by a layer": lambda: nn.Sequential(conv(3, 32), nn.Sigmoid(), conv(32, 4)),
    "hard swish by hand": lambda: Net(hard_swish_by_hand, stem=conv(3, 32), norm=nn.BatchNorm2d(32), out=conv(32, 4)),
    "ghost module, sliced": lambda: Net(
        ghost, primary=normed(3, 16), cheap=conv(16, 16, groups=16), out=nn.Sequential(conv(28, 24), conv(24, 4))
    ),
    "head shared by two levels": lambda: Net(
        shared_head, stem=normed(3, 16), down=normed(16, 16, 3, stride=2), head=conv(16, 6)
    ),
    "SSD heads": lambda: Net(
        ssd, stem=normed(3, 16), down=normed(16, 24, 3, stride=2), boxes=nn.ModuleList([conv(16, 8), conv(24, 8)]),
        scores=nn.ModuleList([conv(16, 10), conv(24, 10)]),
    ),
    "U-Net": lambda: Net(
        unet, stem=normed(3, 16), down=normed(16, 32, 3, stride=2), up=nn.ConvTranspose2d(32, 16, 2, 2), out=conv(32, 4)
    ),
    "dense connections": lambda: Net(
        dense, stem=normed(3, 16), layers=nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(16 + 8 * i), nn.ReLU(), conv(16 + 8 * i, 8)) for i in range(3)
        ), out=conv(40, 4),
    ),
    "a module in a loop": lambda: Net(in_a_loop, stem=normed(3, 16), inside=conv(16, 16), out=conv(16, 4)),
    "space to depth": lambda: Net(space_to_depth, stem=normed(12, 32, 3), out=conv(32, 4)),
    "joined with the input": lambda: Net(
        concatenated_input, stem=normed(3, 16), inside=normed(19, 16), out=conv(16, 4)
    ),
    "RepVGG's branches": lambda: Net(
        repvgg, stem=normed(3, 32), three=conv(32, 32), one=conv(32, 32, 1), norm=nn.BatchNorm2d(32), out=conv(32, 4)
    ),
    "StarNet's product": lambda: Net(
        star, stem=normed(3, 16), first=conv(16, 48, 1), second=conv(16, 48, 1), back=conv(48, 16, 1), out=conv(16, 4)
    ),
    "a shortcut padded with channels": lambda: Net(
        padded_shortcut, stem=normed(3, 16), inside=nn.Sequential(normed(16, 32), conv(32, 24)), out=conv(24, 4)
    ),
    "functions of parameters": lambda: Net(
        functional, first=nn.Parameter(torch.randn(32, 3, 3, 3)), bias=nn.Parameter(torch.randn(32)),
        second=nn.Parameter(torch.randn(4, 32, 1, 1)),
    ),
    "attention written out": lambda: Net(
        attention, stem=normed(3, 16), query=nn.Linear(16, 8), key=nn.Linear(16, 8), value=nn.Linear(16, 8),
        hidden=nn.Linear(8, 32), out=nn.Linear(32, 4),
    ),
    "norm without scales": lambda: nn.Sequential(
        conv(3, 32), nn.BatchNorm2d(32, affine=False), nn.ReLU(), conv(32, 4)
    ),
    "one-dimensional": lambda: nn.Sequential(
        nn.Flatten(2), nn.Conv1d(3, 16, 3), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, 4, 1)
    ),
})  # fmt: skip

# The layer that must stay whole, and a word of the reason; the networks' other layers lose channels all the same.
PARTLY: Mapping[str, tuple[Callable[[], nn.Module], str, str]] = MappingProxyType({
    "a fixed split": (
        lambda: Net(fixed_split, first=normed(3, 32), stem=normed(32, 32), inside=normed(20, 20), out=conv(32, 4)),
        "stem.0", "by their numbers",
    ),
    "a shuffle of fixed size": (
        lambda: Net(fixed_shuffle, first=normed(3, 32), stem=normed(32, 32), out=conv(32, 4)),
        "stem.0", "fixes",
    ),
    "ShuffleNetV2 by slices": (
        lambda: Net(
            shuffle_v2_slice, stem=nn.Sequential(normed(3, 32), normed(32, 32)), inside=normed(16, 16), out=conv(32, 4)
        ),
        "stem.1.0", "by their numbers",
    ),
    "group norm": (
        lambda: nn.Sequential(normed(3, 32), conv(32, 16), nn.GroupNorm(4, 16), nn.ReLU(), conv(16, 4)),
        "1", "not known",
    ),
})  # fmt: skip


def seasoned(net: nn.Module, seed: int = 0) -> nn.Module:
    """Return the network in double precision, with norms as after training, PReLU's slopes and biases at random."""
    generator = torch.Generator().manual_seed(seed)
    for part in net.modules():
        if isinstance(part, nn.PReLU):
            part.weight.data.uniform_(0.1, 0.9, generator=generator)
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for tensor in (part.weight, part.bias, part.running_mean, part.running_var):
                if tensor is not None:
                    tensor.data.uniform_(0.5, 1.5, generator=generator)
    return net.double().eval()


def image(batch: int = 1, seed: int | None = None) -> Tensor:
    """Return zeros or noise ``(batch, 3, 8, 8)`` in double precision."""
    if seed is None:
        return torch.zeros(batch, 3, SIZE, SIZE, dtype=torch.float64)
    return torch.randn(batch, 3, SIZE, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
