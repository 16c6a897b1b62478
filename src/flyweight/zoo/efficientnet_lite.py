"""EfficientNet-Lite 0 to 4: EfficientNet for phones, without squeeze-and-excitation, with ReLU6.

Source: tensorflow/tpu models/official/efficientnet/lite/efficientnet_lite_builder.py and README.md. Stem and last
convolution keep their width, and the first and the last row their single block, at every scale.
"""

from __future__ import annotations

import math
from dataclasses import replace

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._efficientnet import ROWS, Scaling
from flyweight.zoo._entry import ZooEntry
from flyweight.zoo._inverted import conv, eights, stages_of

_SOURCE = "tensorflow/tpu models/official/efficientnet/lite/efficientnet_lite_builder.py and README.md"
_SCALING = (
    Scaling(1.0, 1.0, 224, 0.2),
    Scaling(1.0, 1.1, 240, 0.2),
    Scaling(1.1, 1.2, 260, 0.3),
    Scaling(1.2, 1.4, 280, 0.3),
    Scaling(1.4, 1.8, 300, 0.3),
)


def stages(width: float = 1.0, depth: float = 1.0) -> tuple[StageSpec, ...]:
    """Return the stem, the blocks of all rows, and the last convolution."""
    scaled = (ROWS[0], *(replace(row, repeats=math.ceil(row.repeats * depth)) for row in ROWS[1:-1]), ROWS[-1])
    rows = [replace(row, se=0.0) for row in scaled]
    return (
        conv("stem", 32, 2),
        *stages_of(rows, lambda channels: eights(channels * width)),
        conv("last", 1280, kernel=1),
    )


def efficientnet_lite(member: int) -> ArchSpec:
    """Return the classification network of number 0 to 4."""
    scaling = _SCALING[member]
    return ArchSpec(
        name=f"efficientnet_lite{member}",
        task="classify",
        input=InputSpec(scaling.resolution, scaling.resolution),
        classes=1000,
        stages=stages(scaling.width, scaling.depth),
        head=HeadSpec("pool_classifier", settings=settings(dropout=scaling.dropout)),
        padding="same",
        norm_eps=1e-3,
        norm_momentum=0.01,
    )


_NOTE = "The README's MACs are 4 to 6 % above those of convolutions and fully connected layers."
_ENTRIES = (
    ZooEntry(efficientnet_lite(0), _SOURCE, 4_652_008, 385_187_552, 75.1, note=_NOTE),
    ZooEntry(efficientnet_lite(1), _SOURCE, 5_416_680, 600_185_232, 76.7, note=_NOTE),
    ZooEntry(efficientnet_lite(2), _SOURCE, 6_092_072, 859_736_272, 77.6, note=_NOTE),
    ZooEntry(efficientnet_lite(3), _SOURCE, 8_197_096, 1_383_321_872, 79.8, note=_NOTE),
    ZooEntry(efficientnet_lite(4), _SOURCE, 13_006_568, 2_553_034_336, 81.5, note=_NOTE),
)
MEMBERS = {entry.spec.name: entry for entry in _ENTRIES}
