"""Depthwise separable convolution with nothing between its two layers, as Keras' SeparableConv2D is.

Source: Chollet 2016, Xception (arXiv 1610.02357), section 2 ("no non-linearities") and figure 10.
"""

from __future__ import annotations

from torch import nn

from flyweight.blocks._layers import FeatureMap, conv_norm
from flyweight.spec import ArchSpec


def separable_conv(
    inputs: FeatureMap,
    out_channels: int,
    spec: ArchSpec,
    *,
    where: str,
    kernel: int = 3,
    stride: int = 1,
    act: str = "none",
) -> nn.Sequential:
    """Return depthwise k×k, pointwise 1×1, one norm behind both, activation; without biases."""
    layers = nn.Sequential()
    depthwise = conv_norm(
        inputs,
        inputs.channels,
        spec,
        where=where,
        kernel=kernel,
        stride=stride,
        groups=inputs.channels,
        act="none",
        normed=False,
        bias=False,
    )
    layers.add_module("depthwise", depthwise)
    narrowed = inputs.strided(inputs.channels, stride)
    layers.add_module("pointwise", conv_norm(narrowed, out_channels, spec, where=where, kernel=1, act=act))
    return layers
