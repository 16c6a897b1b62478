"""FD-MobileNet: MobileNetV1 with all five halvings within its first half, for budgets of 10 to 140 million MACs.

Source: Qin et al. 2018 (arXiv 1802.03750), section 3 and table 1, whose MACs are rounded: 144, 40 and 12 million.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._entry import ZooEntry

# width, stride of every separable block behind the stem
_BLOCKS = ((64, 2), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 4, (1024, 1))


def fd_mobilenet(width: float) -> ArchSpec:
    """Return it at ``width`` times its channels: 1.0, 0.5 or 0.25."""
    relu = settings(activation="relu")
    stages = [StageSpec("stem", "conv", round(32 * width), 2, relu)]
    for number, (channels, stride) in enumerate(_BLOCKS, 1):
        stages.append(StageSpec(f"block{number}", "separable", round(channels * width), stride, relu))
    return ArchSpec(
        name=f"fd_mobilenet_{width}",
        task="classify",
        input=InputSpec(224, 224),
        classes=1000,
        stages=tuple(stages),
        head=HeadSpec("pool_classifier"),
    )


MEMBERS = {
    f"fd_mobilenet_{width}": ZooEntry(spec=fd_mobilenet(width), source="arXiv 1802.03750, section 3 and table 1")
    for width in (1.0, 0.5, 0.25)
}
