"""GhostNet: MobileNetV3's plan with ghost modules for its 1×1 convolutions, and ReLU throughout.

Source: Han et al. 2019 (arXiv 1911.11907), table 7; huawei-noah/Efficient-AI-Backbones ghostnet_pytorch/ghostnet.py:
widths rounded to multiples of 4, a hidden layer of 1280 that doesn't scale.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, round_channels, settings
from flyweight.zoo._entry import ZooEntry

_SOURCE = "arXiv 1911.11907; huawei-noah/Efficient-AI-Backbones ghostnet_pytorch/ghostnet.py"

# kernel, expanded width, width, squeeze ratio, stride
_ROWS = (
    (3, 16, 16, 0.0, 1), (3, 48, 24, 0.0, 2), (3, 72, 24, 0.0, 1), (5, 72, 40, 0.25, 2), (5, 120, 40, 0.25, 1),
    (3, 240, 80, 0.0, 2), (3, 200, 80, 0.0, 1), (3, 184, 80, 0.0, 1), (3, 184, 80, 0.0, 1), (3, 480, 112, 0.25, 1),
    (3, 672, 112, 0.25, 1), (5, 672, 160, 0.25, 2), (5, 960, 160, 0.0, 1), (5, 960, 160, 0.25, 1),
    (5, 960, 160, 0.0, 1), (5, 960, 160, 0.25, 1),
)  # fmt: skip

# parameters, MACs, top-1
_FIGURES: dict[float, tuple[int, int, float | None]] = {
    0.5: (2_587_292, 42_328_152, None),
    1.0: (5_182_508, 141_150_512, 73.98),
    1.3: (7_358_820, 227_003_256, None),
}


def ghostnet(width: float) -> ArchSpec:
    """Return the network of a width multiplier."""

    def scaled(channels: int) -> int:
        return round_channels(channels * width, 4, 4)

    stem = settings(activation="relu")
    stages = [StageSpec("stem", "conv", scaled(16), 2, stem)]
    for number, (kernel, expanded, channels, se, stride) in enumerate(_ROWS, start=1):
        chosen: dict[str, Value] = {"se": se, "se_divisor": 4} if se else {}
        ratio = scaled(expanded) / stages[-1].out_channels
        block = settings(activation="relu", kernel=kernel, expand=ratio, **chosen)
        stages.append(StageSpec(f"block{number}", "ghost_bottleneck", scaled(channels), stride, block))
    stages.append(StageSpec("last", "conv", scaled(960), settings=settings(activation="relu", kernel=1)))
    return ArchSpec(
        name=f"ghostnet_{width}",
        task="classify",
        input=InputSpec(224, 224),
        classes=1000,
        stages=tuple(stages),
        head=HeadSpec("pool_classifier", widths=(1280,), settings=settings(activation="relu", dropout=0.2)),
        divisor=4,
    )


MEMBERS = {
    f"ghostnet_{width}": ZooEntry(
        spec=ghostnet(width),
        source=_SOURCE,
        params=params,
        macs=macs,
        top1=top1,
        params_basis="counted from the official code",
        top1_source="huawei-noah/Efficient-AI-Backbones ghostnet_pytorch: name of the released weights" if top1 else "",
    )
    for width, (params, macs, top1) in _FIGURES.items()
}
