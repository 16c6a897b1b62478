"""ShuffleNet V2, as torchvision has it and as its authors do.

Source: Ma et al. 2018 (arXiv 1807.11164), table 5 and figure 3; torchvision shufflenetv2.py;
megvii-model/ShuffleNet-Series ShuffleNetV2/network.py. Both have the paper's widths. The authors' network passes as
many channels through the shortcut of a strided unit as come in, where torchvision's makes half of the output of it; it
shuffles at the start of the next unit, where torchvision's does at the end; and its classifier has no bias.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, Settings, StageSpec, settings
from flyweight.zoo._entry import ZooEntry

_REPEATS = (4, 8, 4)
_WIDTHS = {0.5: 48, 1.0: 116, 1.5: 176, 2.0: 244}  # of stage 2, doubled per stage; the paper's table 5

# parameters, MACs, top-1
_TORCHVISION = {
    0.5: (1_366_792, 40_476_448, 60.552),
    1.0: (2_278_604, 144_907_992, 69.362),
    1.5: (3_503_624, 295_759_392, 72.996),
    2.0: (7_393_996, 583_253_464, 76.23),
}
_AUTHORS = {
    0.5: (1_365_792, 40_476_448, 61.1),
    1.0: (2_278_760, 145_814_296, 69.4),
    1.5: (3_506_720, 298_970_656, 72.6),
    2.0: (7_402_600, 590_783_000, 75.0),
}


def shufflenet_v2(width: float) -> ArchSpec:
    """Return torchvision's network of a width multiplier."""
    units = settings(activation="relu", shortcut="half", shuffle="behind")
    return _spec(f"shufflenet_v2_{width}", width, units, HeadSpec("pool_classifier"))


def shufflenet_v2_megvii(width: float) -> ArchSpec:
    """Return the authors' network of a width multiplier."""
    units = settings(activation="relu", shortcut="input", shuffle="before")
    head = HeadSpec("pool_classifier", settings=settings(bias=False, dropout=0.2 if width == 2.0 else 0.0))
    return _spec(f"shufflenet_v2_megvii_{width}", width, units, head)


def _spec(name: str, width: float, units: Settings, head: HeadSpec) -> ArchSpec:
    stages = [
        StageSpec("conv1", "conv", 24, 2, settings(activation="relu")),
        StageSpec("pool1", "max_pool", 24, 2, settings(kernel=3)),
    ]
    for index, repeats in enumerate(_REPEATS):
        for number in range(repeats):
            stage = StageSpec(
                f"stage{index + 2}_{number + 1}",
                "shuffle_v2_unit",
                _WIDTHS[width] * 2**index,
                2 if number == 0 else 1,
                units,
            )
            stages.append(stage)
    last = settings(activation="relu", kernel=1)
    stages.append(StageSpec("conv5", "conv", 2048 if width == 2.0 else 1024, settings=last))
    return ArchSpec(
        name=name,
        task="classify",
        input=InputSpec(224, 224),
        classes=1000,
        stages=tuple(stages),
        head=head,
        divisor=2,
    )


MEMBERS = {
    **{
        f"shufflenet_v2_{width}": ZooEntry(
            spec=shufflenet_v2(width),
            source="arXiv 1807.11164; torchvision shufflenetv2.py",
            params=params,
            macs=macs,
            top1=top1,
            params_basis="torchvision's model meta",
        )
        for width, (params, macs, top1) in _TORCHVISION.items()
    },
    **{
        f"shufflenet_v2_megvii_{width}": ZooEntry(
            spec=shufflenet_v2_megvii(width),
            source="arXiv 1807.11164; megvii-model/ShuffleNet-Series ShuffleNetV2/README.md and network.py",
            params=params,
            macs=macs,
            top1=top1,
            params_basis="the official code's; no bias in the classifier",
        )
        for width, (params, macs, top1) in _AUTHORS.items()
    },
}
