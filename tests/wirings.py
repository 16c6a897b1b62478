"""Random small networks of every way to wire channels, for property tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inside(x)


class Both(nn.Module):
    """Two branches side by side."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.first(x), self.second(x)], dim=1)


class Gate(nn.Module):
    """Squeeze-and-excitation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(channels, 2), nn.Linear(2, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.up(F.relu(self.down(x.mean((2, 3))))).sigmoid()[:, :, None, None]


class Scale(nn.Module):
    """A learned factor per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(channels) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma.view(1, -1, 1, 1)


class Crelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(torch.cat([x, -x], dim=1))


class Halves(nn.Module):
    """ShuffleNetV2's unit: one half passes by."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inside = nn.Conv2d(channels // 2, channels // 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        out = torch.cat([left, self.inside(right)], dim=1)
        n, c, h, w = out.shape
        return out.reshape(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


BLOCKS = {
    "conv": lambda c: nn.Conv2d(c, c, 3, padding=1),
    "norm": lambda c: nn.BatchNorm2d(c),
    "relu": lambda c: nn.ReLU(inplace=True),
    "prelu": lambda c: nn.PReLU(c),
    "depthwise": lambda c: nn.Conv2d(c, c, 3, padding=1, groups=c),
    "grouped": lambda c: nn.Conv2d(c, c, 1, groups=2),
    "transposed": lambda c: nn.ConvTranspose2d(c, c, 2, stride=2),
    "grouped transposed": lambda c: nn.ConvTranspose2d(c, c, 1, groups=2),
    "residual": lambda c: Residual(nn.Sequential(nn.Conv2d(c, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, c, 1))),
    "both": lambda c: nn.Sequential(Both(nn.Conv2d(c, c, 1), nn.Conv2d(c, 4, 1)), nn.Conv2d(c + 4, c, 1)),
    "gate": lambda c: Gate(c),
    "scale": lambda c: Scale(c),
    "crelu": lambda c: nn.Sequential(Crelu(), nn.Conv2d(2 * c, c, 1)),
    "halves": lambda c: Halves(c),
    "pixel shuffle": lambda c: nn.Sequential(nn.Conv2d(c, 4 * c, 1), nn.PixelShuffle(2)),
    "shuffle": lambda c: nn.ChannelShuffle(2),
    "pool": lambda c: nn.MaxPool2d(3, 1, 1),
    "up": lambda c: nn.Upsample(scale_factor=2, mode="bilinear"),
}  # fmt: skip


def network(names: list[str], seed: int) -> nn.Module:
    """Return a classifier of 3x4x4 inputs made of these blocks, in float64, with random weights and statistics."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 8, 1), *(BLOCKS[n](8) for n in names), nn.AdaptiveAvgPool2d(2), nn.Flatten(1))
    net = net.append(nn.Linear(32, 5)).double()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight.data, part.bias.data, part.running_mean, part.running_var):
                assert tensor is not None
                tensor.copy_(torch.rand_like(tensor) + 0.5)
    return net.eval()
