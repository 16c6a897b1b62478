"""RepViT M0.9, M1.0 and M1.1, as trained and as deployed: a MobileNetV3 block by block on the way to a light ViT.

Source: Wang et al. 2023 (arXiv 2307.09283), section 3; THU-MIG/RepViT; timm repvit.py. Every second block
of a stage, from the first, has squeeze-and-excitation; a stage ends in one without, and a strided one begins the next.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings
from flyweight.zoo._entry import ZooEntry

_SOURCE = "arXiv 2307.09283; THU-MIG/RepViT README.md; definition and figures: timm repvit.py"
_SE: dict[str, Value] = {"se": 0.25, "se_gate": "sigmoid"}
# first width (doubled per stage), blocks per stage; then (parameters, MACs) as trained and as deployed; top-1
_MEMBERS = {
    "m0.9": (48, (2, 2, 14, 2), (5_489_328, 817_280_832), (5_067_056, 815_617_344), 79.1),
    "m1.0": (56, (2, 2, 14, 2), (7_302_796, 1_108_077_600), (6_810_312, 1_106_136_864), 80.3),
    "m1.1": (64, (2, 2, 12, 2), (8_802_912, 1_339_242_240), (8_244_312, 1_337_124_608), 81.2),
}


def repvit(member: str, deploy: bool = False) -> ArchSpec:
    """Return 'm0.9', 'm1.0' or 'm1.1', as trained or as deployed."""
    first, depths, *_ = _MEMBERS[member]
    stem = settings(activation="gelu", beside=False, deploy=deploy)
    stages = [
        StageSpec("stem1", "reparam_conv", first // 2, 2, stem),
        StageSpec("stem2", "reparam_conv", first, 2, settings(activation="none", beside=False, deploy=deploy)),
    ]
    for index, depth in enumerate(depths):
        width = first * 2**index
        if index:
            stages.append(_block(f"stage{index}_last", stages[-1].out_channels, 1, {}, deploy))
            stages.append(_block(f"stage{index + 1}_down", width, 2, {}, deploy))
        for number in range(depth):
            chosen = _SE if number % 2 == 0 else {}
            stages.append(_block(f"stage{index + 1}_{number + 1}", width, 1, chosen, deploy))
    return ArchSpec(
        name=f"repvit_{member}" + ("_deploy" if deploy else ""),
        task="classify",
        input=InputSpec(224, 224),
        classes=1000,
        stages=tuple(stages),
        head=HeadSpec("distilled_classifier", settings=settings(classifiers=2, deploy=deploy)),
    )


def _block(name: str, width: int, stride: int, se: dict[str, Value], deploy: bool) -> StageSpec:
    block = settings(activation="gelu", deploy=deploy, expand=2.0, kernel=3, **se)
    return StageSpec(name, "repvit", width, stride, block)


def _entry(member: str, deploy: bool) -> ZooEntry:
    *_, trained, merged, top1 = _MEMBERS[member]
    params, macs = merged if deploy else trained
    return ZooEntry(
        spec=repvit(member, deploy),
        source=_SOURCE,
        params=params,
        macs=macs,
        top1=top1,
        params_basis="counted from timm's code" + (" after merging its branches" if deploy else ""),
        note="the accuracy is that after 450 epochs with a teacher"
        + ("; train the other form, then apply reparameterize" if deploy else ""),
    )


MEMBERS = {repvit(member, deploy).name: _entry(member, deploy) for member in _MEMBERS for deploy in (False, True)}
