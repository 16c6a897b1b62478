"""ShiftNet A and B: networks of 1×1 convolutions whose only spatial operator, behind the stem, is the shift.

Source: Wu et al. 2017 (arXiv 1711.08141), section 4. The paper leaves the blocks' details open (where
stride and norms stand, how a strided block widens); they are a third-party definition's, and B with all widths halved
has the published MACs.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._entry import ZooEntry

_SOURCE = "arXiv 1711.08141; block structure: a public third-party definition"
_STEM = 32
# width, blocks, kernel, expansion of the first block and of the others
_GROUPS = ((64, 5, 5, 4.0, 4.0), (128, 6, 5, 4.0, 3.0), (256, 7, 3, 3.0, 2.0), (512, 3, 3, 2.0, 1.0))


def shiftnet(member: str) -> ArchSpec:
    """Return ShiftNet 'a', or 'b', which is half as wide."""
    share = {"a": 1, "b": 2}[member]
    stem = settings(activation="none", kernel=7, norm=False, bias=False)
    stages = [StageSpec("conv1", "conv", _STEM // share, 2, stem)]
    for group, (width, blocks, kernel, first, rest) in enumerate(_GROUPS, start=1):
        for number in range(blocks):
            chosen = settings(activation="relu", kernel=kernel, expand=first if number == 0 else rest)
            stride = 2 if number == 0 else 1
            stages.append(StageSpec(f"group{group}_{number + 1}", "shift_residual", width // share, stride, chosen))
    stages.append(StageSpec("last", "norm_act", stages[-1].out_channels, settings=settings(activation="relu")))
    return ArchSpec(
        name=f"shiftnet_{member}",
        task="classify",
        input=InputSpec(224, 224),
        classes=1000,
        stages=tuple(stages),
        head=HeadSpec("pool_classifier"),
    )


_BASIS = "counted by the definition"

MEMBERS = {
    "shiftnet_a": ZooEntry(
        shiftnet("a"),
        _SOURCE,
        params=4_188_680,
        macs=1_424_306_176,
        top1=70.1,
        params_basis=_BASIS,
        note="published: 4.1 million parameters, 1.4 billion MACs",
    ),
    "shiftnet_b": ZooEntry(
        shiftnet("b"),
        _SOURCE,
        params=1_183_480,
        macs=370_956_288,
        top1=61.2,
        params_basis=_BASIS,
        note="published: 1.1 million parameters, 371 million MACs",
    ),
}
