"""Densely connected layers: norm and activation before the convolution, the output concatenated to the input.

Source: Huang et al. 2016, DenseNet (arXiv 1608.06993), sections 3 and 4.1: bottleneck layers and transitions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flyweight.blocks._layers import FeatureMap, StageBuilder, activation, conv_norm, conv_width, norm
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, StageSpec


class DenseLayer(nn.Module):
    """Norm, activation, 1×1, norm, activation, k×k; the stage's width is the growth: the channels that it adds.

    The 1×1 convolution has ``bottleneck`` times the growth. CReLU stands behind it, which then needs half the filters;
    before it stands ReLU.
    """

    def __init__(self, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> None:
        super().__init__()
        where, act = f"stage '{stage.name}'", stage.setting("activation", "relu")
        grown(stage, inputs, spec)
        self.norm = norm(inputs.channels, spec)
        self.act = activation("relu" if act == "crelu" else act, where)
        neck = max(1, round(stage.out_channels * stage.setting("bottleneck", 4.0)))
        filters = conv_width(stage.replace(out_channels=neck), act)
        self.reduce = conv_norm(inputs, filters, spec, where=where, kernel=1, act=act)
        self.grow = conv_norm(
            FeatureMap(neck, inputs.height, inputs.width),
            stage.out_channels,
            spec,
            where=where,
            kernel=stage.setting("kernel", 3),
            act="none",
            normed=False,
            bias=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, C + growth, h, w)``."""
        return torch.cat((x, self.grow(self.reduce(self.act(self.norm(x))))), dim=1)


def grown(stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> FeatureMap:
    """Return the shape behind a dense layer.

    Raises:
        SpecError: the stage has a stride, which its input can't follow; names it.
    """
    if stage.stride != 1:
        raise SpecError(
            f"stage '{stage.name}': stride is {stage.stride}, but a dense layer joins its output to its input. Use 1."
        )
    return FeatureMap(inputs.channels + stage.out_channels, inputs.height, inputs.width)


class DenseTransition(nn.Module):
    """Norm, activation, 1×1 to the stage's width, average over windows as wide as the stride, without padding.

    CReLU doubles what the 1×1 convolution reads.
    """

    def __init__(self, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> None:
        super().__init__()
        where, act = f"stage '{stage.name}'", stage.setting("activation", "relu")
        transition_shape(stage, inputs, spec)
        self.norm = norm(inputs.channels, spec)
        self.act = activation(act, where)
        self.reduce = nn.Conv2d(inputs.channels * (2 if act == "crelu" else 1), stage.out_channels, 1, bias=False)
        self.pool = nn.AvgPool2d(stage.stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, out_channels, ⌊h/stride⌋, ⌊w/stride⌋)``."""
        out: Tensor = self.pool(self.reduce(self.act(self.norm(x))))
        return out


def transition_shape(stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> FeatureMap:
    """Return the shape behind a transition: sizes divided by the stride, rounded down."""
    return inputs.windowed(stage.out_channels, stage.stride, stage.stride, 0, where=f"stage '{stage.name}'")


def norm_act(stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> nn.Module:
    """Return norm (where asked for) and activation alone; the stage's width follows its input's."""
    layers = nn.Sequential()
    if stage.setting("norm", True):
        layers.add_module("norm", norm(inputs.channels, spec))
    layers.add_module("act", activation(stage.setting("activation", "relu"), f"stage '{stage.name}'"))
    return layers


def norm_act_shape(stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> FeatureMap:
    """Return the input's shape, with twice the channels behind CReLU."""
    doubled = stage.setting("activation", "relu") == "crelu"
    return FeatureMap(inputs.channels * (2 if doubled else 1), inputs.height, inputs.width)


MEMBERS = {
    "dense_layer": StageBuilder(DenseLayer, {"activation": "relu", "bottleneck": 4.0, "kernel": 3}, shape=grown),
    "dense_transition": StageBuilder(DenseTransition, {"activation": "relu"}, shape=transition_shape),
    "norm_act": StageBuilder(norm_act, {"activation": "relu", "norm": True}, shape=norm_act_shape),
}
