"""Shift: channels moved by a pixel or two in place of a spatial convolution, without parameters or arithmetic.

Source: Wu et al. 2017, Shift: A Zero FLOP, Zero Parameter Alternative to Spatial Convolutions (arXiv 1711.08141),
section 3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flyweight.blocks._inverted import expanded_width
from flyweight.blocks._layers import FeatureMap, StageBuilder, activation, norm
from flyweight.blocks._pool import pool
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, StageSpec


class Shift(nn.Module):
    """Move each of k² equal groups of channels by another of the displacements of a k×k window; zeros move in.

    Channels that are left over stay where they are, with the group of the window's centre: all of them, if they are
    fewer than k². Made of padding and slices, which every exporter knows: a depthwise convolution that did the same
    would multiply k² times per output.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        share, rest = divmod(channels, kernel**2)
        self.groups = [share] * kernel**2
        self.groups[kernel**2 // 2] += rest

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to the same shape."""
        if min(self.groups) == 0:
            return x
        height, width = x.shape[2:]
        reach = self.kernel // 2
        padded = F.pad(x, (reach, reach, reach, reach))
        moved = []
        for index, part in enumerate(torch.split_with_sizes(padded, self.groups, dim=1)):
            top, left = divmod(index, self.kernel)  # as the taps of a convolution: the first looks up and left
            moved.append(part[:, :, top : top + height, left : left + width])
        return torch.cat(moved, dim=1)


class PreActivated(nn.Sequential):
    """Norm, activation, 1×1 convolution without a bias."""


class ShiftResidual(nn.Module):
    """Pre-activated 1×1 to ``expand`` times the input, shift, pre-activated 1×1; no activation behind the sum.

    With stride 1 the input is added, if it is as wide. With a larger stride, which the last convolution has, the input
    is average pooled and stands behind the branch, which brings the channels that are missing; if none are, there is no
    shortcut. CReLU doubles what the convolutions read.
    """

    def __init__(self, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> None:
        super().__init__()
        where, stride, kernel = f"stage '{stage.name}'", stage.stride, stage.setting("kernel", 3)
        if kernel % 2 == 0 or kernel < 1:
            raise SpecError(f"{where}: kernel is {kernel}, but a shift needs an odd one. Use 3 or 5.")
        pools = stride > 1 and stage.out_channels > inputs.channels
        new = stage.out_channels - (inputs.channels if pools else 0)
        wide = expanded_width(stage, inputs.channels, spec)
        self.expand = _pre_activated(stage, inputs.channels, wide, spec)
        self.shift = Shift(wide, kernel)
        self.project = _pre_activated(stage, wide, new, spec, stride)
        self.pool = pool("avg", inputs, spec, where=where, stride=stride) if pools else None
        self.adds = stride == 1 and new == inputs.channels

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)``."""
        branch: Tensor = self.project(self.shift(self.expand(x)))
        if self.pool is not None:
            return torch.cat((branch, self.pool(x)), dim=1)
        return x + branch if self.adds else branch


def _pre_activated(stage: StageSpec, channels: int, width: int, spec: ArchSpec, stride: int = 1) -> PreActivated:
    act = stage.setting("activation", "relu")
    layers = PreActivated()
    layers.add_module("norm", norm(channels, spec))
    layers.add_module("act", activation(act, f"stage '{stage.name}'"))
    layers.add_module("conv", nn.Conv2d(channels * (2 if act == "crelu" else 1), width, 1, stride, bias=False))
    return layers


MEMBERS = {"shift_residual": StageBuilder(ShiftResidual, {"activation": "relu", "expand": 6.0, "kernel": 3})}
