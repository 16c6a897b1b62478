"""Residual blocks with a shortcut around two 3×3 convolutions, or around a bottleneck; with squeeze-and-excitation.

Source: He et al. 2015 (arXiv 1512.03385), figure 5; the bottleneck's stride is on its 3×3 convolution, as torchvision
has it (the paper: on the first 1×1). Squeeze-and-excitation: Hu et al. 2017 (arXiv 1709.01507), figure 3.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from flyweight.blocks._layers import FeatureMap, StageBuilder, activation, conv_norm, conv_width
from flyweight.blocks._squeeze_excite import SE_SETTINGS, squeeze_excite
from flyweight.spec import ArchSpec, StageSpec, round_channels


class Residual(nn.Module):
    """``act(branch(x) + shortcut(x))``."""

    def __init__(self, branch: nn.Module, shortcut: nn.Module, act: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.shortcut = shortcut
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)``."""
        out: Tensor = self.act(self.branch(x) + self.shortcut(x))
        return out


def basic(stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> nn.Module:
    """Return two k×k convolutions with a shortcut around them; the first has the stride."""
    where, kernel, inner = f"stage '{stage.name}'", stage.setting("kernel", 3), _inner_activation(stage)
    width = conv_width(stage, stage.setting("activation", "relu"))
    branch = OrderedDict[str, nn.Module]()
    branch["conv1"] = conv_norm(inputs, width, spec, where=where, kernel=kernel, stride=stage.stride, act=inner)
    narrowed = inputs.strided(width, stage.stride)
    branch["conv2"] = conv_norm(narrowed, width, spec, where=where, kernel=kernel, act="none")
    return _residual(branch, stage, inputs, width, spec)


def bottleneck(stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> nn.Module:
    """Return 1×1, k×k with the stride, 1×1; the first two as wide as ``bottleneck`` times the stage's width."""
    where, inner = f"stage '{stage.name}'", _inner_activation(stage)
    width = conv_width(stage, stage.setting("activation", "relu"))
    neck = round_channels(stage.out_channels * stage.setting("bottleneck", 0.25), spec.divisor, spec.divisor)
    branch = OrderedDict[str, nn.Module]()
    branch["reduce"] = conv_norm(inputs, neck, spec, where=where, kernel=1, act=inner)
    branch["spatial"] = conv_norm(
        FeatureMap(neck, inputs.height, inputs.width),
        neck,
        spec,
        where=where,
        kernel=stage.setting("kernel", 3),
        stride=stage.stride,
        act=inner,
    )
    branch["widen"] = conv_norm(inputs.strided(neck, stage.stride), width, spec, where=where, kernel=1, act="none")
    return _residual(branch, stage, inputs, width, spec)


def _inner_activation(stage: StageSpec) -> str:
    act = stage.setting("activation", "relu")
    return "relu" if act == "crelu" else act  # CReLU doubles channels: it stands only behind the sum


def _residual(
    branch: OrderedDict[str, nn.Module], stage: StageSpec, inputs: FeatureMap, width: int, spec: ArchSpec
) -> Residual:
    """Add squeeze-and-excitation behind the last norm, and the shortcut: a 1×1 convolution where shapes differ."""
    where = f"stage '{stage.name}'"
    if (excite := squeeze_excite(stage, width, of=width)) is not None:
        branch["se"] = excite
    shortcut: nn.Module = nn.Identity()
    if stage.stride != 1 or inputs.channels != width:
        shortcut = conv_norm(inputs, width, spec, where=where, kernel=1, stride=stage.stride, act="none")
    return Residual(nn.Sequential(branch), shortcut, activation(stage.setting("activation", "relu"), where))


MEMBERS = {
    "residual": StageBuilder(basic, {"activation": "relu", "kernel": 3, **SE_SETTINGS}),
    "residual_bottleneck": StageBuilder(
        bottleneck, {"activation": "relu", "bottleneck": 0.25, "kernel": 3, **SE_SETTINGS}
    ),
}
