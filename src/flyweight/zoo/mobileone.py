"""MobileOne S0 to S4, as trained and as deployed: MobileNetV1's plan, trained with branches that merge.

Source: Vasu et al. 2022 (arXiv 2206.04040); apple/ml-mobileone mobileone.py. S0 has four convolutions
side by side, the others one; in S4 the last half of stage 3 and stage 4 have squeeze-and-excitation.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings
from flyweight.zoo._entry import ZooEntry

_SOURCE = "arXiv 2206.04040; apple/ml-mobileone mobileone.py and README.md; figures: timm byobnet.py"
_WIDTHS, _DEPTHS = (64, 128, 256, 512), (2, 8, 10, 1)
_SE: dict[str, Value] = {"se": 0.0625, "se_divisor": 1, "se_gate": "sigmoid"}
# width multipliers, convolutions side by side, blocks with squeeze-and-excitation at each stage's end; then
# (parameters, MACs) as trained and as deployed; top-1
_MEMBERS = {
    "s0": ((0.75, 1.0, 1.0, 2.0), 4, (0, 0, 0, 0), (5_293_272, 1_051_935_232), (2_078_504, 275_110_400), 71.4),
    "s1": ((1.5, 1.5, 2.0, 2.5), 1, (0, 0, 0, 0), (4_825_192, 830_062_080), (4_764_840, 825_057_024), 75.9),
    "s2": ((1.5, 2.0, 2.5, 4.0), 1, (0, 0, 0, 0), (7_884_648, 1_304_027_392), (7_808_168, 1_298_426_496), 77.4),
    "s3": ((2.0, 2.5, 3.0, 4.0), 1, (0, 0, 0, 0), (10_170_600, 1_902_112_768), (10_078_312, 1_895_790_592), 78.1),
    "s4": ((3.0, 3.5, 3.5, 4.0), 1, (0, 0, 5, 1), (14_951_248, 2_986_802_432), (14_838_352, 2_979_269_760), 79.4),
}  # fmt: skip


def mobileone(member: str, deploy: bool = False) -> ArchSpec:
    """Return 's0' to 's4', as trained or as deployed."""
    multipliers, branches, excited, *_ = _MEMBERS[member]
    widths = [int(width * multiplier) for width, multiplier in zip(_WIDTHS, multipliers, strict=True)]
    stages = [StageSpec("stem", "reparam_conv", min(64, widths[0]), 2, settings(activation="relu", deploy=deploy))]
    for index, (width, depth, last) in enumerate(zip(widths, _DEPTHS, excited, strict=True), start=1):
        for number in range(depth):
            se = _SE if number >= depth - last else {}
            block = settings(activation="relu", branches=branches, deploy=deploy, **se)
            name, stride = f"stage{index}_{number + 1}", 2 if number == 0 else 1
            stages.append(StageSpec(name, "reparam_separable", width, stride, block))
    return ArchSpec(
        name=f"mobileone_{member}" + ("_deploy" if deploy else ""),
        task="classify",
        input=InputSpec(224, 224),
        classes=1000,
        stages=tuple(stages),
        head=HeadSpec("pool_classifier"),
    )


def _entry(member: str, deploy: bool) -> ZooEntry:
    *_, trained, merged, top1 = _MEMBERS[member]
    params, macs = merged if deploy else trained
    return ZooEntry(
        spec=mobileone(member, deploy),
        source=_SOURCE,
        params=params,
        macs=macs,
        top1=top1,
        params_basis="counted from timm's code" + (" after merging its branches" if deploy else ""),
        note="the form that is deployed; train the other, then apply reparameterize" if deploy else "",
    )


MEMBERS = {mobileone(member, deploy).name: _entry(member, deploy) for member in _MEMBERS for deploy in (False, True)}
