"""PP-LCNet: depthwise separable convolutions, tuned for Intel processors.

Source: Cui et al. 2021 (arXiv 2109.15099), table 1 and figure 2: no residuals, hard swish, 5×5 kernels and
squeeze-and-excitation only near the end, a hidden layer of 1280 behind the pooling, which is not scaled. Symmetric
padding, batch norm with PyTorch's defaults.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings
from flyweight.zoo._entry import ZooEntry
from flyweight.zoo._inverted import conv, eights

_SOURCE = "arXiv 2109.15099; PaddlePaddle/PaddleClas docs/en/models/PP-LCNet_en.md"
_SE: dict[str, Value] = {"se": 0.25, "se_divisor": 1}  # a quarter of what comes in, cut off

# kernel, output width, repeats, stride of the first, squeeze-and-excitation
_ROWS = (
    (3, 32, 1, 1, 0), (3, 64, 2, 2, 0), (3, 128, 2, 2, 0), (3, 256, 1, 2, 0), (5, 256, 5, 1, 0), (5, 512, 2, 2, 1),
)  # fmt: skip


def stages(width: float = 1.0) -> tuple[StageSpec, ...]:
    """Return the stem and the 13 separable blocks, named ``block<row>_<number>`` from 2."""
    chain = [conv("stem", eights(16 * width), 2, activation="hard_swish")]
    for index, (kernel, channels, repeats, stride, se) in enumerate(_ROWS, start=2):
        chosen = settings(kernel=kernel, activation="hard_swish", **(_SE if se else {}))
        chain += [
            StageSpec(f"block{index}_{n + 1}", "separable", eights(channels * width), stride if n == 0 else 1, chosen)
            for n in range(repeats)
        ]
    return tuple(chain)


def pp_lcnet(width: float = 1.0) -> ArchSpec:
    """Return the classification network of a width multiplier at 224 pixels."""
    return ArchSpec(
        name=f"pp_lcnet_{width}",
        task="classify",
        input=InputSpec(224, 224),
        classes=1000,
        stages=stages(width),
        head=HeadSpec("pool_classifier", widths=(1280,), settings=settings(activation="hard_swish", dropout=0.2)),
    )


_NOTE = "The FLOPs in the documentation are a little above the MACs of convolutions and fully connected layers."
_ENTRIES = (
    ZooEntry(pp_lcnet(0.25), _SOURCE, top1=51.86, note=_NOTE),
    ZooEntry(pp_lcnet(0.35), _SOURCE, 1_644_370, 27_357_832, 58.09, note=_NOTE),
    ZooEntry(pp_lcnet(0.5), _SOURCE, 1_880_856, 44_731_008, 63.14, note=_NOTE),
    ZooEntry(pp_lcnet(0.75), _SOURCE, 2_358_288, 94_786_496, 68.18, note=_NOTE),
    ZooEntry(pp_lcnet(1.0), _SOURCE, 2_953_800, 155_700_480, 71.32, note=_NOTE),
    ZooEntry(pp_lcnet(1.5), _SOURCE, 4_501_112, 334_188_416, 73.71, note=_NOTE),
    ZooEntry(pp_lcnet(2.0), _SOURCE, top1=75.18, note=_NOTE),
    ZooEntry(pp_lcnet(2.5), _SOURCE, top1=76.6, note=_NOTE),
)
MEMBERS = {entry.spec.name: entry for entry in _ENTRIES}
