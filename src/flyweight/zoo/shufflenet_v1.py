"""ShuffleNet: grouped 1×1 convolutions, with shuffled channels between them.

Source: Zhang et al. 2017 (arXiv 1707.01083), tables 1 and 2; megvii-model/ShuffleNet-Series ShuffleNetV1/network.py,
which has 3 and 8 groups: the stem's widths, an ungrouped first 1×1 and a classifier without a bias are from there. The
paper's other widths are here where plain scaling gives numbers that the groups divide.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._entry import ZooEntry

_PAPER = "arXiv 1707.01083, tables 1 and 2"
_OFFICIAL = "arXiv 1707.01083; megvii-model/ShuffleNet-Series ShuffleNetV1/README.md and network.py"
_REPEATS = (4, 8, 4)
_FIRST_WIDTHS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}  # of stage 2 at width 1, by groups; doubled per stage
_OWN_WIDTH = "a width that is not among the source's: plain scaling, and the stem of the official 1.5x and 2x"
_NARROW_STEM = "the paper doesn't give the stem at 0.25x; 12 filters give its 13 million MACs"


class _Variant(NamedTuple):
    stem: int
    params: int | None = None
    macs: int | None = None
    top1: float | None = None
    official: bool = False
    note: str = ""


_VARIANTS = {
    (1, 0.25): _Variant(12, 208_908, 13_162_320, 42.9, note=_NARROW_STEM),
    (1, 0.5): _Variant(12, 533_484, 38_517_408, 54.9),
    (1, 1.0): _Variant(24, 1_530_936, 143_078_976, 66.4),
    (1, 1.5): _Variant(24, note=_OWN_WIDTH),
    (1, 2.0): _Variant(48, note=_OWN_WIDTH),
    (2, 1.0): _Variant(24, 1_732_848, 140_836_512, 67.3),
    (2, 2.0): _Variant(48, note=_OWN_WIDTH),
    (3, 0.25): _Variant(12, 305_124, 13_300_656, 45.0, note=_NARROW_STEM),
    (3, 0.5): _Variant(12, 717_324, 37_589_856, 57.3, official=True),
    (3, 1.0): _Variant(24, 1_864_728, 137_460_672, 67.8, official=True),
    (3, 1.5): _Variant(24, 3_441_168, 292_443_552, 71.6, official=True),
    (3, 2.0): _Variant(48, 5_449_776, 524_045_184, 74.1, official=True),
    (4, 1.0): _Variant(24, 1_967_344, 134_339_776, 67.2),
    (4, 2.0): _Variant(48, note=_OWN_WIDTH),
    (8, 0.5): _Variant(16, 1_010_448, 40_469_760, 58.8, official=True),
    (8, 1.0): _Variant(24, 2_433_768, 138_365_952, 68.0, official=True),
    (8, 1.5): _Variant(24, 4_268_952, 290_188_800, 71.0, official=True),
    (8, 2.0): _Variant(48, 6_521_232, 521_942_016, 72.9, official=True),
}


def shufflenet_v1(groups: int, width: float) -> ArchSpec:
    """Return the network of a number of groups and a width multiplier (paper: 's×')."""
    stem = _VARIANTS[groups, width].stem
    stages = [
        StageSpec("conv1", "conv", stem, 2, settings(activation="relu")),
        StageSpec("pool1", "max_pool", stem, 2, settings(kernel=3)),
    ]
    for index, repeats in enumerate(_REPEATS):
        channels = round(_FIRST_WIDTHS[groups] * width) * 2**index
        for number in range(repeats):
            first = index == number == 0
            chosen = settings(activation="relu", groups=groups, grouped_input=not first)
            stage = StageSpec(f"stage{index + 2}_{number + 1}", "shuffle_v1_unit", channels, 1 + (number == 0), chosen)
            stages.append(stage)
    return ArchSpec(
        name=f"shufflenet_v1_g{groups}_{width}",
        task="classify",
        input=InputSpec(224, 224),
        classes=1000,
        stages=tuple(stages),
        head=HeadSpec("pool_classifier", settings=settings(bias=False)),
        divisor=math.lcm(4, groups),  # a stem that the groups don't divide would leave the first unit undividable
    )


def _entry(groups: int, width: float, variant: _Variant) -> ZooEntry:
    return ZooEntry(
        spec=shufflenet_v1(groups, width),
        source=_OFFICIAL if variant.official else _PAPER,
        params=variant.params,
        macs=variant.macs,
        top1=variant.top1,
        params_basis=_basis(variant),
        note=variant.note,
    )


def _basis(variant: _Variant) -> str:
    if variant.params is None:
        return ""
    return "the official code's" if variant.official else "counted by the paper's table 1; no bias in the classifier"


MEMBERS = {
    f"shufflenet_v1_g{groups}_{width}": _entry(groups, width, variant) for (groups, width), variant in _VARIANTS.items()
}
