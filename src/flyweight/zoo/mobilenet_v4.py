"""MobileNetV4, the convolutional members.

Source: Qin et al. 2024 (arXiv 2404.10518), the appendix' tables; widths other than 1, and all counts, by timm
models/mobilenetv3.py: symmetric padding, ReLU, batch norm with PyTorch's defaults. A hidden layer with a norm, and
without a bias, stands behind the pooling.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._entry import ZooEntry
from flyweight.zoo._inverted import conv, eights

_SOURCE = "arXiv 2404.10518; huggingface/pytorch-image-models timm/models/mobilenetv3.py"
_TIMM = "huggingface/pytorch-image-models results/results-imagenet.csv"

# first kernel (0: none), second kernel (0: none), stride, expansion, output width
_Block = tuple[int, int, int, float, int]
_SMALL: tuple[tuple[_Block, ...], ...] = (
    (
        (5, 5, 2, 3, 96), (0, 3, 1, 2, 96), (0, 3, 1, 2, 96), (0, 3, 1, 2, 96), (0, 3, 1, 2, 96), (3, 0, 1, 4, 96),
    ),
    (
        (3, 3, 2, 6, 128), (5, 5, 1, 4, 128), (0, 5, 1, 4, 128), (0, 5, 1, 3, 128), (0, 3, 1, 4, 128),
        (0, 3, 1, 4, 128),
    ),
)  # fmt: skip
_MEDIUM: tuple[tuple[_Block, ...], ...] = (
    ((3, 5, 2, 4, 80), (3, 3, 1, 2, 80)),
    (
        (3, 5, 2, 6, 160), (3, 3, 1, 4, 160), (3, 3, 1, 4, 160), (3, 5, 1, 4, 160), (3, 3, 1, 4, 160),
        (3, 0, 1, 4, 160), (0, 0, 1, 2, 160), (3, 0, 1, 4, 160),
    ),
    (
        (5, 5, 2, 6, 256), (5, 5, 1, 4, 256), (3, 5, 1, 4, 256), (3, 5, 1, 4, 256), (0, 0, 1, 4, 256),
        (3, 0, 1, 4, 256), (3, 5, 1, 2, 256), (5, 5, 1, 4, 256), (0, 0, 1, 4, 256), (0, 0, 1, 4, 256),
        (5, 0, 1, 2, 256),
    ),
)  # fmt: skip
_LARGE: tuple[tuple[_Block, ...], ...] = (
    ((3, 5, 2, 4, 96), (3, 3, 1, 4, 96)),
    (
        (3, 5, 2, 4, 192), (3, 3, 1, 4, 192), (3, 3, 1, 4, 192), (3, 3, 1, 4, 192), (3, 5, 1, 4, 192),
        (5, 3, 1, 4, 192), (5, 3, 1, 4, 192), (5, 3, 1, 4, 192), (5, 3, 1, 4, 192), (5, 3, 1, 4, 192),
        (3, 0, 1, 4, 192),
    ),
    (
        (5, 5, 2, 4, 512), (5, 5, 1, 4, 512), (5, 5, 1, 4, 512), (5, 5, 1, 4, 512), (5, 0, 1, 4, 512),
        (5, 3, 1, 4, 512), (5, 0, 1, 4, 512), (5, 0, 1, 4, 512), (5, 3, 1, 4, 512), (5, 5, 1, 4, 512),
        (5, 0, 1, 4, 512), (5, 0, 1, 4, 512), (5, 0, 1, 4, 512),
    ),
)  # fmt: skip


# name, width, stride, kernel
_SMALL_STEM = (
    ("stem", 32, 2, 3), ("block1_1", 32, 2, 3), ("block1_2", 32, 1, 1), ("block2_1", 96, 2, 3), ("block2_2", 64, 1, 1),
)  # fmt: skip


def mobilenet_v4_conv_small(width: float = 1.0, resolution: int = 224) -> ArchSpec:
    """Return Conv-S of a width multiplier, which narrows all but the first convolution, and a resolution in pixels."""
    stem, *convs = (
        conv(name, channels if name == "stem" else eights(channels * width), stride, kernel, "relu")
        for name, channels, stride, kernel in _SMALL_STEM
    )
    name = "conv_small" + (f"_{width}" if width != 1 else "") + (f"_{resolution}" if resolution != 224 else "")
    return _network(name, (stem, *convs, *_universal(_SMALL, 3, width)), width, resolution)


def mobilenet_v4_conv_medium(resolution: int = 256) -> ArchSpec:
    """Return Conv-M of a resolution in pixels."""
    name = "conv_medium" + (f"_{resolution}" if resolution != 256 else "")
    return _network(name, _fused(32, _MEDIUM), 1.0, resolution)


def mobilenet_v4_conv_large(resolution: int = 384) -> ArchSpec:
    """Return Conv-L of a resolution in pixels."""
    name = "conv_large" + (f"_{resolution}" if resolution != 384 else "")
    return _network(name, _fused(24, _LARGE), 1.0, resolution)


def _network(name: str, stages: tuple[StageSpec, ...], width: float, resolution: int) -> ArchSpec:
    return ArchSpec(
        name=f"mobilenet_v4_{name}",
        task="classify",
        input=InputSpec(resolution, resolution),
        classes=1000,
        stages=(*stages, conv("last", eights(960 * width), kernel=1, activation="relu")),
        head=HeadSpec("pool_classifier", (1280,), settings=settings(dropout=0.2, hidden_bias=False, hidden_norm=True)),
    )


def _fused(stem: int, rows: tuple[tuple[_Block, ...], ...]) -> tuple[StageSpec, ...]:
    fused = StageSpec("block1_1", "fused_inverted_residual", 48, 2, settings(expand=4.0, activation="relu"))
    return (conv("stem", stem, 2, activation="relu"), fused, *_universal(rows, 2))


def _universal(rows: tuple[tuple[_Block, ...], ...], first: int, width: float = 1.0) -> tuple[StageSpec, ...]:
    return tuple(
        StageSpec(
            f"block{index}_{number}",
            "universal_inverted",
            eights(channels * width),
            stride,
            settings(start_kernel=start, kernel=kernel, expand=float(expand)),
        )
        for index, row in enumerate(rows, start=first)
        for number, (start, kernel, stride, expand, channels) in enumerate(row, start=1)
    )


_NARROW = "Not in the paper: timm's rule, by which the first convolution keeps its width."
_ENTRIES = (
    ZooEntry(mobilenet_v4_conv_small(), _SOURCE, 3_774_024, 186_005_568, 73.8),
    ZooEntry(mobilenet_v4_conv_small(1.0, 256), _SOURCE, 3_774_024, 242_178_048, 74.534, top1_source=_TIMM),
    ZooEntry(mobilenet_v4_conv_small(0.5), _SOURCE, 2_238_952, 64_741_408, 64.778, top1_source=_TIMM, note=_NARROW),
    ZooEntry(mobilenet_v4_conv_small(0.35), _SOURCE, 1_905_384, 47_723_040, note=_NARROW),
    ZooEntry(mobilenet_v4_conv_medium(224), _SOURCE, 9_715_512, 827_649_984, 79.092, top1_source=_TIMM),
    ZooEntry(mobilenet_v4_conv_medium(256), _SOURCE, 9_715_512, 1_080_244_224, 79.916, top1_source=_TIMM),
    ZooEntry(mobilenet_v4_conv_large(384), _SOURCE, 32_590_864, 6_376_220_672, 82.974, top1_source=_TIMM),
)
MEMBERS = {entry.spec.name: entry for entry in _ENTRIES}
