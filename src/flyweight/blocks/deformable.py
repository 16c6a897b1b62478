"""Deformable convolution: every tap is moved by an offset that the network computes."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flyweight.blocks._layers import FeatureMap, StageBuilder, activation, norm
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, StageSpec


class Deformable(nn.Module):
    """k×k convolution whose taps are sampled bilinearly at learned offsets, each weighed by a learned gate.

    Offsets and gates come from a k×k convolution that starts at zero: an ordinary convolution, its gates at a half.
    Outside the map lies zero. Made of operators that exporters know: one ``grid_sample`` per tap, a 1×1 convolution
    over all taps.

    Source: Dai et al. 2017 (arXiv 1703.06211), section 2.1; the gates: Zhu et al. 2019 (arXiv 1811.11168), section 3.2.
    """

    base: Tensor

    def __init__(self, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> None:
        super().__init__()
        kernel, stride = stage.setting("kernel", 3), stage.stride
        where = f"stage '{stage.name}'"
        if kernel % 2 == 0 or kernel < 1:
            raise SpecError(
                f"{where}: kernel is {kernel}, but a deformable convolution needs an odd one. Use 1, 3 or 5."
            )
        if min(inputs.height, inputs.width) < 2:
            raise SpecError(f"{where}: its input is {inputs.height}x{inputs.width}; needed are at least 2x2 pixels.")
        self.taps, self.size = kernel**2, (inputs.height, inputs.width)
        self.offset = nn.Conv2d(inputs.channels, 3 * self.taps, kernel, stride, kernel // 2)
        self.mix = nn.Conv2d(inputs.channels * self.taps, stage.out_channels, 1, bias=False)
        self.norm = norm(stage.out_channels, spec)
        self.act = activation(stage.setting("activation", "relu6"), where)
        output = inputs.strided(stage.out_channels, stride)
        self.register_buffer("base", _places(kernel, stride, output), persistent=False)

    def initialize_weights(self) -> None:
        """Begin as an ordinary convolution: no offsets."""
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(cast("Tensor", self.offset.bias))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)``."""
        moved = self.offset(x)
        across, down, gates = moved.split(self.taps, dim=1)
        sampled = []
        for tap in range(self.taps):
            place = torch.stack((across[:, tap], down[:, tap]), dim=-1) + self.base[tap]  # in pixels, (n, h', w', 2)
            height, width = self.size
            grid = place * place.new_tensor([2 / (width - 1), 2 / (height - 1)]) - 1
            taken = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
            sampled.append(taken * gates[:, tap : tap + 1].sigmoid())
        out: Tensor = self.act(self.norm(self.mix(torch.cat(sampled, dim=1))))
        return out


def _places(kernel: int, stride: int, output: FeatureMap) -> Tensor:
    """Return where every tap of an ordinary convolution lies: ``(taps, h', w', 2)``, x and y in pixels."""
    reach = torch.arange(kernel) - kernel // 2
    y = torch.arange(output.height)[None, :, None] * stride + reach.repeat_interleave(kernel)[:, None, None]
    x = torch.arange(output.width)[None, None, :] * stride + reach.repeat(kernel)[:, None, None]
    shape = (kernel**2, output.height, output.width)
    return torch.stack((x.expand(shape), y.expand(shape)), dim=-1).float()


MEMBERS = {"deformable": StageBuilder(Deformable, {"activation": "relu6", "kernel": 3})}
