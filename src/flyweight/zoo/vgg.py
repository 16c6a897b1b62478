"""VGG with 16 layers, plain and with batch norm.

Source: Simonyan and Zisserman 2014 (arXiv 1409.1556), table 1, configuration D, as torchvision has it: maps are
averaged to 7×7 in front of the fully connected layers, so that the input may have any size.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._entry import ZooEntry

_SOURCE = "arXiv 1409.1556; torchvision models/vgg.py"
_TOP1_SOURCE = "torchvision 0.28.0, IMAGENET1K_V1"
_GROUPS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, convolutions; then a pooling


def vgg_16(norm: bool) -> ArchSpec:
    """Return VGG16, with batch norm behind every convolution or without; the convolutions have biases either way."""
    stages = []
    for group, (width, count) in enumerate(_GROUPS, start=1):
        chosen = settings(activation="relu", norm=norm, bias=True)
        stages += [StageSpec(f"conv{group}_{index}", "conv", width, 1, chosen) for index in range(1, count + 1)]
        stages.append(StageSpec(f"pool{group}", "max_pool", width, 2, settings(kernel=2, padding=0)))
    return ArchSpec(
        name="vgg_16_bn" if norm else "vgg_16",
        task="classify",
        input=InputSpec(224, 224),
        classes=1000,
        stages=tuple(stages),
        head=HeadSpec("mlp_classifier", widths=(4096, 4096), settings=settings(pool=7, dropout=0.5)),
    )


MEMBERS = {
    "vgg_16": ZooEntry(
        vgg_16(norm=False),
        _SOURCE,
        params=138_357_544,
        macs=15_470_264_320,
        top1=71.592,
        top1_source=_TOP1_SOURCE,
    ),
    "vgg_16_bn": ZooEntry(
        vgg_16(norm=True),
        _SOURCE,
        params=138_365_992,
        macs=15_470_264_320,
        top1=73.36,
        top1_source=_TOP1_SOURCE,
    ),
}
