"""Weights of torchvision's models, as ``state_dict()`` or its download pages give them.

Names and norms by torchvision/models (mobilenetv2.py, mobilenetv3.py, efficientnet.py, mnasnet.py, resnet.py,
shufflenetv2.py, squeezenet.py): symmetric padding; epsilon 1e-3 and momentum 0.01 in MobileNetV3, 3e-4 in MnasNet,
PyTorch's own elsewhere (EfficientNet B0 to B4 too: these weights are timm's, not Google's). Images by ImageNet's mean
and standard deviation.
"""

from __future__ import annotations

from collections.abc import Iterator

from flyweight.pretrained._naming import Layers, Origin, Pair, Rule, Source, conv_norm, row_and_number


def _mobilenet_v2(net: Layers) -> Iterator[Pair]:
    for index, stage in enumerate(net.stages):
        here, there = f"encoder.{stage}", f"features.{index}"
        if not stage.startswith("block"):
            yield from conv_norm(here, f"{there}.0", f"{there}.1")
            continue
        *wide, project = net.parts(here)
        for place, part in enumerate(wide):
            yield from conv_norm(f"{here}.{part}", f"{there}.conv.{place}.0", f"{there}.conv.{place}.1")
        yield from conv_norm(f"{here}.{project}", f"{there}.conv.{len(wide)}", f"{there}.conv.{len(wide) + 1}")
    yield "head.classify", "classifier.1"


def _mobilenet_v3(net: Layers) -> Iterator[Pair]:
    for index, stage in enumerate(net.stages):
        yield from _numbered(net, stage, f"features.{index}")
    yield "head.hidden.0.conv", "classifier.0"
    yield "head.classify", "classifier.3"


def _efficientnet(net: Layers) -> Iterator[Pair]:
    rows = max(row_and_number(stage)[0] for stage in net.stages if stage.startswith("block")) + 1
    yield from _numbered(net, "stem", "features.0")
    for stage in net.stages:
        if stage.startswith("block"):
            row, number = row_and_number(stage)
            yield from _numbered(net, stage, f"features.{row + 1}.{number}")
    yield from _numbered(net, "last", f"features.{rows + 1}")
    yield "head.classify", "classifier.1"


def _numbered(net: Layers, stage: str, there: str) -> Iterator[Pair]:
    """Yield a plain convolution, or an inverted residual whose parts are counted through: ``block.0``, ``block.1`` …"""
    here = f"encoder.{stage}"
    if not stage.startswith("block"):
        yield from conv_norm(here, f"{there}.0", f"{there}.1")
        return
    for place, part in enumerate(net.parts(here)):
        own = f"{there}.block.{place}"
        if part == "se":
            yield f"{here}.se.reduce", f"{own}.fc1"
            yield f"{here}.se.expand", f"{own}.fc2"
        else:
            yield from conv_norm(f"{here}.{part}", f"{own}.0", f"{own}.1")


def _mnasnet(net: Layers) -> Iterator[Pair]:
    """Yield by places in the plain list ``layers``: stem 0, first block 3 to 7, a stack of blocks each from 8 on."""
    places = {"expand": (0, 1), "depthwise": (3, 4), "project": (6, 7)}
    yield from conv_norm("encoder.stem", "layers.0", "layers.1")
    for stage in net.stages:
        if not stage.startswith("block"):
            continue
        row, number = row_and_number(stage)
        there = (
            f"layers.{row + 7}.{number}.layers" if row else "layers"
        )  # the first row's block has no stack of its own
        for part in net.parts(f"encoder.{stage}"):
            conv, norm = places[part]
            yield from conv_norm(f"encoder.{stage}.{part}", f"{there}.{conv}", f"{there}.{norm}")
    yield from conv_norm("encoder.last", "layers.14", "layers.15")
    yield "head.classify", "classifier.1"


def _resnet(net: Layers) -> Iterator[Pair]:
    order = {"conv1": 1, "conv2": 2, "reduce": 1, "spatial": 2, "widen": 3}
    yield from conv_norm("encoder.conv1", "conv1", "bn1")
    for stage in net.stages:
        if stage == "conv1":
            continue
        group, number = map(int, stage.removeprefix("conv").split("_"))
        here, there = f"encoder.{stage}", f"layer{group - 1}.{number - 1}"
        for part in net.parts(f"{here}.branch"):
            yield from conv_norm(f"{here}.branch.{part}", f"{there}.conv{order[part]}", f"{there}.bn{order[part]}")
        if net.parts(f"{here}.shortcut"):
            yield from conv_norm(f"{here}.shortcut", f"{there}.downsample.0", f"{there}.downsample.1")
    yield "head.classify", "fc"


def _shufflenet_v2(net: Layers) -> Iterator[Pair]:
    places = {
        "shortcut": {"depthwise": (0, 1), "pointwise": (2, 3)},
        "branch": {"reduce": (0, 1), "depthwise": (3, 4), "pointwise": (5, 6)},
    }
    for stage in net.stages:
        here = f"encoder.{stage}"
        if not stage.startswith("stage"):
            yield from conv_norm(here, f"{stage}.0", f"{stage}.1")
            continue
        group, number = stage.split("_")
        for side, own in (("shortcut", "branch1"), ("branch", "branch2")):
            for part in net.parts(f"{here}.{side}"):
                there = f"{group}.{int(number) - 1}.{own}"
                conv, norm = places[side][part]
                yield from conv_norm(f"{here}.{side}.{part}", f"{there}.{conv}", f"{there}.{norm}")
    yield "head.classify", "fc"


_FIRE_PLACES = {"1.0": (3, 4, 5, 7, 8, 9, 10, 12), "1.1": (3, 4, 6, 7, 9, 10, 11, 12)}  # between them: pooling


def _squeezenet(version: str, net: Layers) -> Iterator[Pair]:
    yield "encoder.conv1.conv", "features.0"
    for stage, place in zip(net.stages[1:], _FIRE_PLACES[version], strict=True):
        for part, name in (("squeeze", "squeeze"), ("expand1", "expand1x1"), ("expand3", "expand3x3")):
            yield f"encoder.{stage}.{part}.conv", f"features.{place}.{name}"
    yield "head.classify", "classifier.1"


def _squeezenet_1_0(net: Layers) -> Iterator[Pair]:
    return _squeezenet("1.0", net)


def _squeezenet_1_1(net: Layers) -> Iterator[Pair]:
    return _squeezenet("1.1", net)


_PLAIN = Origin()
_RULES = (
    Rule(("mobilenet_v2_*",), _mobilenet_v2, _PLAIN),
    Rule(
        ("mobilenet_v3_*_torchvision", "mobilenet_v3_large_1.0", "mobilenet_v3_small_1.0"),
        _mobilenet_v3,
        Origin(norm_eps=1e-3, norm_momentum=0.01),
        linear=("head.hidden.0.conv",),
    ),
    Rule(("efficientnet_b?",), _efficientnet, _PLAIN),
    Rule(("mnasnet_b1_*",), _mnasnet, Origin(norm_momentum=3e-4)),
    Rule(("resnet_*",), _resnet, _PLAIN),
    Rule(("shufflenet_v2_[0-9]*",), _shufflenet_v2, _PLAIN),
    Rule(("squeezenet_1.0",), _squeezenet_1_0, _PLAIN),
    Rule(("squeezenet_1.1",), _squeezenet_1_1, _PLAIN),
)

MEMBERS = {"torchvision": Source("torchvision", "models of torchvision", _RULES)}
