"""Weights of timm (PyTorch Image Models), in two sources that share their names.

``timm`` is for weights that were trained in PyTorch: symmetric padding, epsilon 1e-5. ``timm_tf`` is for those that
timm calls ``tf_…``, which were converted from TensorFlow: padding SAME, epsilon 1e-3, momentum 0.01. Nothing in the
file tells them apart, and the wrong one costs accuracy without an error.

Names by timm/models (_efficientnet_blocks.py, efficientnet.py, mobilenetv3.py). Images by ImageNet's mean and standard
deviation; from -1 to 1 for MobileNetV3 of TensorFlow; (x − 127) / 128 for EfficientNet-Lite of TensorFlow, as its
authors have it (timm rounds that to -1 to 1). Weights of timm's recipe ``ra4_e3600`` want -1 to 1, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from flyweight.pretrained._naming import HALF, Layers, Origin, Pair, Rule, Source, conv_norm, row_and_number

# Blocks of a group are those of one row of the paper's table; MobileNetV3's stages are counted through.
_V3_GROUPS = {15: (1, 2, 3, 4, 2, 3), 11: (1, 2, 3, 2, 3)}  # blocks of the large and the small network -> groups

_EXPANDED = {"expand": ("conv_pw", "bn1"), "depthwise": ("conv_dw", "bn2"), "project": ("conv_pwl", "bn3")}
_NOT_EXPANDED = {"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")}


def _by_rows(net: Layers) -> Iterator[Pair]:
    """Yield MobileNetV2, MnasNet, EfficientNet and EfficientNet-Lite."""
    yield from conv_norm("encoder.stem", "conv_stem", "bn1")
    for stage in net.stages:
        if stage.startswith("block"):
            row, number = row_and_number(stage)
            yield from _block(net, stage, f"blocks.{row}.{number}")
    yield from conv_norm("encoder.last", "conv_head", "bn2")
    yield "head.classify", "classifier"


def _mobilenet_v3(net: Layers) -> Iterator[Pair]:
    blocks = [stage for stage in net.stages if stage.startswith("block")]
    groups = _V3_GROUPS[len(blocks)]
    places = [(group, number) for group, count in enumerate(groups) for number in range(count)]
    yield from conv_norm("encoder.stem", "conv_stem", "bn1")
    for stage, (group, number) in zip(blocks, places, strict=True):
        yield from _block(net, stage, f"blocks.{group}.{number}")
    last = f"blocks.{len(groups)}.0"
    yield from conv_norm("encoder.last", f"{last}.conv", f"{last}.bn1")
    yield "head.hidden.0.conv", "conv_head"
    yield "head.classify", "classifier"


def _block(net: Layers, stage: str, there: str) -> Iterator[Pair]:
    here = f"encoder.{stage}"
    parts = net.parts(here)
    names = _EXPANDED if "expand" in parts else _NOT_EXPANDED
    for part in parts:
        if part == "se":
            yield f"{here}.se.reduce", f"{there}.se.conv_reduce"
            yield f"{here}.se.expand", f"{there}.se.conv_expand"
        else:
            conv, norm = names[part]
            yield from conv_norm(f"{here}.{part}", f"{there}.{conv}", f"{there}.{norm}")


_TORCH = Origin()
_TENSORFLOW = Origin(padding="same", norm_eps=1e-3, norm_momentum=0.01)
_LITE = replace(_TENSORFLOW, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
_MINUS_ONE_TO_ONE = replace(_TENSORFLOW, mean=HALF, std=HALF)
_V2 = ("mobilenet_v2_*",)
_V3 = ("mobilenet_v3_large_*", "mobilenet_v3_small_*")
_NAMES: tuple[tuple[tuple[str, ...], Callable[[Layers], Iterator[Pair]], Origin, Origin | None], ...] = (
    (_V2, _by_rows, _TORCH, None),
    (_V3, _mobilenet_v3, _TORCH, _MINUS_ONE_TO_ONE),
    (("mnasnet_*",), _by_rows, _TORCH, None),
    (("efficientnet_b?",), _by_rows, _TORCH, _TENSORFLOW),
    (("efficientnet_lite?",), _by_rows, _TORCH, _LITE),
)

MEMBERS = {
    "timm": Source(
        "timm",
        "models of timm that were trained in PyTorch",
        tuple(Rule(members, pairs, torch) for members, pairs, torch, _ in _NAMES),
    ),
    "timm_tf": Source(
        "timm_tf",
        "models of timm whose names begin with tf_",
        tuple(Rule(members, pairs, tensorflow) for members, pairs, _, tensorflow in _NAMES if tensorflow),
    ),
}
