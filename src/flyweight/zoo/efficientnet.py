"""EfficientNet B0 to B4: one network, made wider, deeper and finer together.

Source: Tan and Le 2019 (arXiv 1905.11946), table 1 and section 3.3; definition from tensorflow/tpu models/official/
efficientnet/efficientnet_builder.py: padding SAME, swish, batch norm with epsilon 1e-3 and decay 0.99, squeezed widths
a quarter of the block's input, gated by a sigmoid; widths rounded to multiples of 8, repeats rounded up. Stochastic
depth, which only training has, is left out.
"""

from __future__ import annotations

import math
from dataclasses import replace

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings
from flyweight.zoo._efficientnet import ROWS, Scaling
from flyweight.zoo._entry import ZooEntry
from flyweight.zoo._inverted import conv, eights, stages_of

_SOURCE = "arXiv 1905.11946; tensorflow/tpu models/official/efficientnet/efficientnet_builder.py and README.md"
_TORCHVISION = "torchvision models/efficientnet.py, IMAGENET1K_V1"
_SE: dict[str, Value] = {"se_activation": "swish", "se_divisor": 1, "se_gate": "sigmoid", "se_of": "input"}


_SCALING = {
    "b0": Scaling(1.0, 1.0, 224, 0.2),
    "b1": Scaling(1.0, 1.1, 240, 0.2),
    "b2": Scaling(1.1, 1.2, 260, 0.3),
    "b3": Scaling(1.2, 1.4, 300, 0.3),
    "b4": Scaling(1.4, 1.8, 380, 0.4),
}


def stages(width: float = 1.0, depth: float = 1.0) -> tuple[StageSpec, ...]:
    """Return the stem, the blocks of all rows, and the last convolution."""
    rows = tuple(replace(row, repeats=math.ceil(row.repeats * depth)) for row in ROWS)
    return (
        conv("stem", eights(32 * width), 2, activation="swish"),
        *stages_of(rows, lambda channels: eights(channels * width), activation="swish", **_SE),
        conv("last", eights(1280 * width), kernel=1, activation="swish"),
    )


def efficientnet(member: str) -> ArchSpec:
    """Return the classification network called 'b0' to 'b4'."""
    scaling = _SCALING[member]
    return ArchSpec(
        name=f"efficientnet_{member}",
        task="classify",
        input=InputSpec(scaling.resolution, scaling.resolution),
        classes=1000,
        stages=stages(scaling.width, scaling.depth),
        head=HeadSpec("pool_classifier", settings=settings(dropout=scaling.dropout)),
        padding="same",
        norm_eps=1e-3,
        norm_momentum=0.01,
    )


_ENTRIES = (
    ZooEntry(efficientnet("b0"), _SOURCE, 5_288_548, 385_814_752, 77.1),
    ZooEntry(efficientnet("b1"), _SOURCE, 7_794_184, 686_802_832, 78.642, top1_source=_TORCHVISION),
    ZooEntry(
        efficientnet("b2"), _SOURCE, 9_109_994, 993_561_872, note="Torchvision's 80.608 % top-1 is at 288 pixels."
    ),
    ZooEntry(efficientnet("b3"), _SOURCE, 12_233_232, 1_827_141_392, 82.008, top1_source=_TORCHVISION),
    ZooEntry(efficientnet("b4"), _SOURCE, 19_341_616, 4_393_771_024, 82.9),
)
MEMBERS = {entry.spec.name: entry for entry in _ENTRIES}
