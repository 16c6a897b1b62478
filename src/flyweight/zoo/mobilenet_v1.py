"""MobileNetV1, and MobileNetV1 as the encoder of a segmentation network.

Source: Howard et al. 2017 (arXiv 1704.04861); definition from tensorflow/models research/slim/nets/mobilenet_v1.py:
padding
SAME, ReLU6, batch norm with epsilon 1e-3 and decay 0.9997, width max(8, int(channels · multiplier)). The last depthwise
layer has stride 1 (the paper's table 1 prints 2; the published MACs confirm 1).
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec
from flyweight.zoo._entry import ZooEntry

_SOURCE = "arXiv 1704.04861; tensorflow/models research/slim/nets/mobilenet_v1.py and mobilenet_v1.md"

# name, output channels at width 1, stride; names as in the Caffe port, which practitioners use
_BLOCKS = (
    ("conv2_1", 64, 1), ("conv2_2", 128, 2), ("conv3_1", 128, 1), ("conv3_2", 256, 2), ("conv4_1", 256, 1),
    ("conv4_2", 512, 2), ("conv5_1", 512, 1), ("conv5_2", 512, 1), ("conv5_3", 512, 1), ("conv5_4", 512, 1),
    ("conv5_5", 512, 1), ("conv5_6", 1024, 2), ("conv6", 1024, 1),
)  # fmt: skip

# Counted by the definition; the README's MACs of width 0.75 and of 0.25 at 192
# disagree with it.
_PARAMS = {1.0: 4_231_976, 0.75: 2_585_560, 0.5: 1_331_592, 0.25: 470_072}
_MACS = {
    (1.0, 224): 568_740_352, (1.0, 192): 418_121_728, (1.0, 160): 290_675_200, (1.0, 128): 186_400_768,
    (0.75, 224): 325_400_448, (0.75, 192): 239_273_472, (0.75, 160): 166_396_800, (0.75, 128): 106_770_432,
    (0.5, 224): 149_497_088, (0.5, 192): 109_970_432, (0.5, 160): 76_524_800, (0.5, 128): 49_160_192,
    (0.25, 224): 41_030_272, (0.25, 192): 30_212_608, (0.25, 160): 21_059_200, (0.25, 128): 13_570_048,
}  # fmt: skip
_TOP1 = {
    (1.0, 224): 70.9, (1.0, 192): 70.0, (1.0, 160): 68.0, (1.0, 128): 65.2,
    (0.75, 224): 68.4, (0.75, 192): 67.2, (0.75, 160): 65.3, (0.75, 128): 62.1,
    (0.5, 224): 63.3, (0.5, 192): 61.7, (0.5, 160): 59.1, (0.5, 128): 56.3,
    (0.25, 224): 49.8, (0.25, 192): 47.7, (0.25, 160): 45.5, (0.25, 128): 41.5,
}  # fmt: skip


def stages(width: float = 1.0) -> tuple[StageSpec, ...]:
    """Return the stem and the 13 separable blocks."""

    def scaled(channels: int) -> int:
        return max(8, int(channels * width))

    stem = StageSpec("conv1", "conv", scaled(32), 2)
    return (stem, *(StageSpec(name, "separable", scaled(channels), stride) for name, channels, stride in _BLOCKS))


def mobilenet_v1(width: float, resolution: int) -> ArchSpec:
    """Return the classification network of a width multiplier and a resolution in pixels."""
    return ArchSpec(
        name=f"mobilenet_v1_{width}_{resolution}",
        task="classify",
        input=InputSpec(resolution, resolution),
        classes=1000,
        stages=stages(width),
        head=HeadSpec("pool_classifier"),
        padding="same",
        norm_eps=1e-3,
        norm_momentum=0.0003,
        divisor=1,
    )


def mobilenet_v1_deconv(resolution: int = 160, classes: int = 3) -> ArchSpec:
    """Return v0 of the slimming ladder: four ×2 transposed convolutions behind MobileNetV1, their width untuned.

    Batch norm forgets faster than in the classifier (momentum 0.1): runs here are hundreds of steps, not a million.
    """
    return mobilenet_v1(1.0, resolution).replace(
        name="mobilenet_v1_deconv",
        task="segment",
        classes=classes,
        head=HeadSpec("deconv_decoder", widths=(512, 256, 128, 64)),
        norm_momentum=0.1,
    )


MEMBERS = {
    **{
        f"mobilenet_v1_{width}_{resolution}": ZooEntry(
            spec=mobilenet_v1(width, resolution),
            source=_SOURCE,
            params=_PARAMS[width],
            macs=_MACS[width, resolution],
            top1=top1,
        )
        for (width, resolution), top1 in _TOP1.items()
    },
    "mobilenet_v1_deconv": ZooEntry(mobilenet_v1_deconv(), source=_SOURCE + "; decoder: arXiv 1411.4038, section 3.3"),
}
