"""Fire modules: a 1×1 convolution squeezes, 1×1 and 3×3 convolutions side by side widen again.

Source: Iandola et al. 2016, SqueezeNet (arXiv 1602.07360), section 3.2 and figure 1; the shortcut: section 6.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from flyweight.blocks._layers import FeatureMap, StageBuilder, activation, conv_norm, conv_width
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, StageSpec, Value, round_channels


class Fire(nn.Module):
    """1×1 to ``squeeze`` times the width, activation; 1×1 and k×k side by side, concatenated, activation.

    ``share`` of the filters that widen are k×k (the paper's pct3x3). The input is added before the last activation
    where ``residual`` asks for it. Convolutions have a bias, or a norm where ``norm``.
    """

    def __init__(self, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> None:
        super().__init__()
        where, act = f"stage '{stage.name}'", stage.setting("activation", "relu")
        normed, kernel = stage.setting("norm", False), stage.setting("kernel", 3)
        width = conv_width(stage, act)
        spatial = _spatial_filters(stage, width)
        squeezed = _squeezed(stage, inputs, spec)
        inner = "relu" if act == "crelu" else act  # CReLU doubles channels: it stands only behind the concatenation
        self.squeeze = conv_norm(inputs, squeezed.channels, spec, where=where, kernel=1, act=inner, normed=normed)
        self.expand1 = conv_norm(
            squeezed, width - spatial, spec, where=where, kernel=1, act="none", stride=stage.stride, normed=normed
        )
        self.expand3 = conv_norm(
            squeezed, spatial, spec, where=where, kernel=kernel, act="none", stride=stage.stride, normed=normed
        )
        self.act = activation(act, where)
        self.adds = _adds_input(stage, inputs, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)``."""
        narrow = self.squeeze(x)
        wide = torch.cat((self.expand1(narrow), self.expand3(narrow)), dim=1)
        out: Tensor = self.act(x + wide if self.adds else wide)
        return out


def _spatial_filters(stage: StageSpec, width: int) -> int:
    share = stage.setting("share", 0.5)
    filters = int(width * share + 0.5)
    if not 0 < share < 1 or not 0 < filters < width:
        raise SpecError(
            f"stage '{stage.name}': share is {share!r} of {width} filters; allowed are shares above 0 and below 1 that "
            "leave filters of both kernels, e.g. 0.5."
        )
    return filters


def _squeezed(stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> FeatureMap:
    ratio = stage.setting("squeeze", 0.125)
    if not 0 < ratio <= 1:
        raise SpecError(f"stage '{stage.name}': squeeze is {ratio!r}; allowed are ratios above 0 up to 1, e.g. 0.125.")
    width = round_channels(stage.out_channels * ratio, spec.divisor, spec.divisor)
    return FeatureMap(width, inputs.height, inputs.width)


def _adds_input(stage: StageSpec, inputs: FeatureMap, width: int) -> bool:
    if not stage.setting("residual", False):
        return False
    if stage.stride != 1 or inputs.channels != width:
        raise SpecError(
            f"stage '{stage.name}': residual adds the input's {inputs.channels} channels to {width} with stride "
            f"{stage.stride}. Give it as many channels as its input, and stride 1, or leave residual out."
        )
    return True


_SETTINGS: Mapping[str, Value] = {
    "activation": "relu", "kernel": 3, "norm": False, "residual": False, "share": 0.5, "squeeze": 0.125,
}  # fmt: skip

MEMBERS = {"fire": StageBuilder(Fire, _SETTINGS)}
