"""StarNet: as plain as can be, to show what the star operation, a product of two linear maps, does alone.

Source: Ma et al. 2024 (arXiv 2403.19967); ma-xu/Rewrite-the-Stars; figures, and the definition of the three smallest,
which have no published accuracy: timm starnet.py.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._entry import ZooEntry

_SOURCE = "arXiv 2403.19967; ma-xu/Rewrite-the-Stars; figures: timm starnet.py and results/results-imagenet.csv"
_STEM = 32
# first width (doubled per stage), blocks per stage, expansion, parameters, MACs, top-1
_MEMBERS: dict[str, tuple[int, tuple[int, ...], float, int, int, float | None]] = {
    "s050": (16, (1, 1, 3, 1), 3.0, 542_728, 91_285_248, None),
    "s100": (20, (1, 2, 4, 1), 4.0, 1_043_280, 185_626_176, None),
    "s150": (24, (1, 2, 4, 2), 3.0, 1_560_616, 227_376_384, None),
    "s1": (24, (2, 2, 8, 3), 4.0, 2_869_168, 421_877_376, 73.532),
    "s2": (32, (1, 2, 6, 2), 4.0, 3_682_024, 544_113_664, 74.666),
    "s3": (32, (2, 2, 8, 4), 4.0, 5_750_792, 753_999_872, 77.378),
    "s4": (32, (3, 3, 12, 5), 4.0, 7_482_728, 1_049_561_600, 78.824),
}


def starnet(member: str) -> ArchSpec:
    """Return StarNet 's1' to 's4', or 's050', 's100', 's150'."""
    first, depths, expand, *_ = _MEMBERS[member]
    stages = [StageSpec("stem", "conv", _STEM, 2, settings(activation="relu6", bias=True))]
    block = settings(activation="relu6", expand=expand, kernel=7)
    for index, depth in enumerate(depths):
        width, name = first * 2**index, f"stage{index + 1}"
        stages.append(StageSpec(f"{name}_down", "conv", width, 2, settings(activation="none", bias=True)))
        stages += [StageSpec(f"{name}_{number + 1}", "star", width, settings=block) for number in range(depth)]
    stages.append(StageSpec("last", "norm_act", stages[-1].out_channels, settings=settings(activation="none")))
    return ArchSpec(
        name=f"starnet_{member}",
        task="classify",
        input=InputSpec(224, 224),
        classes=1000,
        stages=tuple(stages),
        head=HeadSpec("pool_classifier"),
        divisor=4,
    )


MEMBERS = {
    f"starnet_{member}": ZooEntry(
        spec=starnet(member),
        source=_SOURCE,
        params=params,
        macs=macs,
        top1=top1,
        params_basis="counted from timm's code",
    )
    for member, (*_, params, macs, top1) in _MEMBERS.items()
}
