"""MobileNetV2, at the widths and resolutions of its authors.

Source: Sandler et al. 2018 (arXiv 1801.04381), table 2; definition from tensorflow/models research/slim/nets/mobilenet/
mobilenet_v2.py: padding SAME, ReLU6, batch norm with epsilon 1e-3 and decay 0.997, widths rounded to multiples of 8, a
last layer that is never narrower than 1280. The README counts parameters without any scalar of the norms.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._entry import ZooEntry
from flyweight.zoo._inverted import Row, conv, eights, stages_of

_SOURCE = "arXiv 1801.04381; tensorflow/models research/slim/nets/mobilenet/mobilenet_v2.py and README.md"
_ROWS = (
    Row(3, 1, 16, 1, 1), Row(3, 6, 24, 2, 2), Row(3, 6, 32, 3, 2), Row(3, 6, 64, 4, 2), Row(3, 6, 96, 3, 1),
    Row(3, 6, 160, 3, 2), Row(3, 6, 320, 1, 1),
)  # fmt: skip

_PARAMS = {1.4: 6_108_776, 1.3: 5_386_792, 1.0: 3_504_872, 0.75: 2_636_424, 0.5: 1_968_680, 0.35: 1_677_128}
_MACS = {
    (1.4, 224): 582_195_824, (1.3, 224): 509_374_560,
    (1.0, 224): 300_774_272, (1.0, 192): 221_316_608, (1.0, 160): 154_083_200, (1.0, 128): 99_074_048,
    (1.0, 96): 56_289_152,
    (0.75, 224): 209_069_792, (0.75, 192): 153_941_888, (0.75, 160): 107_295_200, (0.75, 128): 69_129_728,
    (0.75, 96): 39_445_472,
    (0.5, 224): 97_131_840, (0.5, 192): 71_701_760, (0.5, 160): 50_184_000, (0.5, 128): 32_578_560,
    (0.5, 96): 18_885_440,
    (0.35, 224): 59_285_808, (0.35, 192): 43_896_512, (0.35, 160): 30_874_800, (0.35, 128): 20_220_672,
    (0.35, 96): 11_934_128,
}  # fmt: skip
_TOP1 = {
    (1.4, 224): 75.0, (1.3, 224): 74.4,
    (1.0, 224): 71.8, (1.0, 192): 70.7, (1.0, 160): 68.8, (1.0, 128): 65.3, (1.0, 96): 60.3,
    (0.75, 224): 69.8, (0.75, 192): 68.7, (0.75, 160): 66.4, (0.75, 128): 63.2, (0.75, 96): 58.8,
    (0.5, 224): 65.4, (0.5, 192): 63.9, (0.5, 160): 61.0, (0.5, 128): 57.7, (0.5, 96): 51.2,
    (0.35, 224): 60.3, (0.35, 192): 58.2, (0.35, 160): 55.7, (0.35, 128): 50.8, (0.35, 96): 45.5,
}  # fmt: skip


def stages(width: float = 1.0) -> tuple[StageSpec, ...]:
    """Return the stem, the 17 blocks and the last convolution."""
    return (
        conv("stem", eights(32 * width), 2),
        *stages_of(_ROWS, lambda channels: eights(channels * width)),
        conv("last", eights(1280 * max(1.0, width)), kernel=1),
    )


def mobilenet_v2(width: float = 1.0, resolution: int = 224) -> ArchSpec:
    """Return the classification network of a width multiplier and a resolution in pixels."""
    return ArchSpec(
        name=f"mobilenet_v2_{width}" + (f"_{resolution}" if resolution != 224 else ""),
        task="classify",
        input=InputSpec(resolution, resolution),
        classes=1000,
        stages=stages(width),
        head=HeadSpec("pool_classifier", settings=settings(dropout=0.2)),
        padding="same",
        norm_eps=1e-3,
        norm_momentum=0.003,
    )


def _entry(width: float, resolution: int) -> ZooEntry:
    return ZooEntry(
        spec=mobilenet_v2(width, resolution),
        source=_SOURCE,
        params=_PARAMS[width],
        macs=_MACS[width, resolution],
        top1=_TOP1[width, resolution],
    )


MEMBERS = {entry.spec.name: entry for entry in (_entry(width, resolution) for width, resolution in _TOP1)}
