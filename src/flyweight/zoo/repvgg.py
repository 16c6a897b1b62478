"""RepVGG A0, A1, A2 and B0, as trained and as deployed: a VGG of 3×3 convolutions, with a ResNet's training.

Source: Ding et al. 2021 (arXiv 2101.03697), tables 2 and 3; DingXiaoH/RepVGG repvgg.py.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._entry import ZooEntry

_SOURCE = "arXiv 2101.03697; DingXiaoH/RepVGG repvgg.py; figures: timm byobnet.py and results/results-imagenet.csv"
_WIDTHS = (64, 128, 256, 512)
# blocks per stage; width multipliers of the first three stages and of the last; then (parameters, MACs) as trained and
# as deployed; top-1
_MEMBERS = {
    "a0": ((2, 4, 14, 1), 0.75, 2.5, (9_108_968, 1_512_581_120), (8_309_384, 1_361_451_008), 72.426),
    "a1": ((2, 4, 14, 1), 1.0, 2.5, (14_092_264, 2_626_488_320), (12_789_864, 2_363_967_488), 74.474),
    "a2": ((2, 4, 14, 1), 1.5, 2.75, (28_210_600, 5_685_345_280), (25_499_944, 5_116_951_552), 76.488),
    "b0": ((4, 6, 16, 1), 1.0, 2.5, (15_817_960, 3_397_191_680), (14_339_048, 3_057_600_512), 75.158),
}  # fmt: skip


def repvgg(member: str, deploy: bool = False) -> ArchSpec:
    """Return 'a0', 'a1', 'a2' or 'b0', as trained or as deployed."""
    depths, multiplier, last, *_ = _MEMBERS[member]
    widths = [int(width * (multiplier if width < 512 else last)) for width in _WIDTHS]
    block = settings(activation="relu", deploy=deploy)
    stages = [StageSpec("stem", "reparam_conv", min(64, widths[0]), 2, block)]
    for index, (width, depth) in enumerate(zip(widths, depths, strict=True), start=1):
        for number in range(depth):
            name, stride = f"stage{index}_{number + 1}", 2 if number == 0 else 1
            stages.append(StageSpec(name, "reparam_conv", width, stride, block))
    return ArchSpec(
        name=f"repvgg_{member}" + ("_deploy" if deploy else ""),
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
        spec=repvgg(member, deploy),
        source=_SOURCE,
        params=params,
        macs=macs,
        top1=top1,
        params_basis="counted from timm's code" + (" after merging its branches" if deploy else ""),
        note="the form that is deployed; train the other, then apply reparameterize" if deploy else "",
    )


MEMBERS = {repvgg(member, deploy).name: _entry(member, deploy) for member in _MEMBERS for deploy in (False, True)}
