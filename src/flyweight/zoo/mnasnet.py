"""MnasNet: A1 (with squeeze-and-excitation), B1 (without), and the small one.

Source: Tan et al. 2018 (arXiv 1807.11626), figure 7; A1 and small by tensorflow/tpu models/official/mnasnet/
mnasnet_models.py: padding SAME, batch norm with epsilon 1e-3 and decay 0.99, squeezed widths a quarter of the block's
input, gated by a sigmoid. B1 as in torchvision, which has its weights: symmetric padding, epsilon 1e-5 and decay
0.9997. ReLU in all.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings
from flyweight.zoo._entry import ZooEntry
from flyweight.zoo._inverted import Row, conv, eights, stages_of

_TPU = "arXiv 1807.11626; tensorflow/tpu models/official/mnasnet/mnasnet_models.py and README.md"
_TORCHVISION = "arXiv 1807.11626; torchvision models/mnasnet.py"
_TIMM = "huggingface/pytorch-image-models results/results-imagenet.csv"

_A1 = (
    Row(3, 1, 16, 1, 1), Row(3, 6, 24, 2, 2), Row(5, 3, 40, 3, 2, 0.25), Row(3, 6, 80, 4, 2),
    Row(3, 6, 112, 2, 1, 0.25), Row(5, 6, 160, 3, 2, 0.25), Row(3, 6, 320, 1, 1),
)  # fmt: skip
_B1 = (
    Row(3, 1, 16, 1, 1), Row(3, 3, 24, 3, 2), Row(5, 3, 40, 3, 2), Row(5, 6, 80, 3, 2), Row(3, 6, 96, 2, 1),
    Row(5, 6, 192, 4, 2), Row(3, 6, 320, 1, 1),
)  # fmt: skip
_SMALL = (
    Row(3, 1, 8, 1, 1), Row(3, 3, 16, 1, 2), Row(3, 6, 16, 2, 2), Row(5, 6, 32, 4, 2, 0.25), Row(3, 6, 32, 3, 1, 0.25),
    Row(5, 6, 88, 3, 2, 0.25), Row(3, 6, 144, 1, 1),
)  # fmt: skip
_SE: dict[str, Value] = {"se_of": "input", "se_divisor": 1, "se_gate": "sigmoid"}


def stages(rows: tuple[Row, ...], stem: int, width: float = 1.0) -> tuple[StageSpec, ...]:
    """Return the stem, the blocks of all rows, and the last convolution, which is not scaled."""
    return (
        conv("stem", eights(stem * width), 2, activation="relu"),
        *stages_of(rows, lambda channels: eights(channels * width), activation="relu", **_SE),
        conv("last", 1280, kernel=1, activation="relu"),
    )


def _network(name: str, rows: tuple[Row, ...], stem: int, width: float, resolution: int) -> ArchSpec:
    return ArchSpec(
        name=name,
        task="classify",
        input=InputSpec(resolution, resolution),
        classes=1000,
        stages=stages(rows, stem, width),
        head=HeadSpec("pool_classifier", settings=settings(dropout=0.2)),
        padding="same",
        norm_eps=1e-3,
        norm_momentum=0.01,
    )


def mnasnet_a1(width: float = 1.0, resolution: int = 224) -> ArchSpec:
    """Return MnasNet-A1 of a width multiplier and a resolution in pixels."""
    suffix = f"_{resolution}" if resolution != 224 else ""
    return _network(f"mnasnet_a1_{width}{suffix}", _A1, 32, width, resolution)


def mnasnet_b1(width: float = 1.0) -> ArchSpec:
    """Return MnasNet-B1 of a width multiplier at 224 pixels."""
    spec = _network(f"mnasnet_b1_{width}", _B1, 32, width, 224)
    return spec.replace(padding="symmetric", norm_eps=1e-5, norm_momentum=3e-4)


def mnasnet_small() -> ArchSpec:
    """Return the small MnasNet at 224 pixels."""
    return _network("mnasnet_small", _SMALL, 8, 1.0, 224)


_ENTRIES = (
    ZooEntry(mnasnet_a1(1.4), _TPU, 6_105_992, 586_317_952, 77.2),
    ZooEntry(mnasnet_a1(1.0), _TPU, 3_887_038, 311_579_072, 75.2),
    ZooEntry(mnasnet_a1(0.75), _TPU, 2_912_278, 223_448_480, 73.3),
    ZooEntry(mnasnet_a1(0.5), _TPU, 2_082_006, 103_162_992, 68.9),
    ZooEntry(mnasnet_a1(1.0, 192), _TPU, 3_887_038, top1=74.0),
    ZooEntry(mnasnet_a1(1.0, 160), _TPU, 3_887_038, top1=72.0),
    ZooEntry(mnasnet_a1(1.0, 128), _TPU, 3_887_038, top1=69.3),
    ZooEntry(mnasnet_a1(1.0, 96), _TPU, 3_887_038, top1=64.4),
    ZooEntry(mnasnet_b1(1.4), "huggingface/pytorch-image-models timm/models", 7_115_728, 588_799_408),
    ZooEntry(mnasnet_b1(1.3), _TORCHVISION, 6_282_256, 526_362_432, 76.506),
    ZooEntry(mnasnet_b1(1.0), _TORCHVISION, 4_383_312, 314_415_872, 73.456),
    ZooEntry(mnasnet_b1(0.75), _TORCHVISION, 3_170_208, 215_493_104, 71.18),
    ZooEntry(mnasnet_b1(0.5), _TORCHVISION, 2_218_512, 104_455_968, 67.734),
    ZooEntry(mnasnet_small(), _TPU, 2_030_264, 68_339_184, 66.204, top1_source=_TIMM),
)
MEMBERS = {entry.spec.name: entry for entry in _ENTRIES}
