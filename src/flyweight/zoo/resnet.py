"""ResNet, also with squeeze-and-excitation.

Source: He et al. 2015 (arXiv 1512.03385), table 1, as torchvision has it: the bottleneck's stride is on its 3×3
convolution. SE-ResNet: Hu et al. 2017 (arXiv 1709.01507), table 1 and figure 3: ratio 1/16 of the block's output,
behind the last norm, before the sum.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._entry import ZooEntry

_SOURCE = "arXiv 1512.03385; torchvision models/resnet.py"
_SE_SOURCE = _SOURCE + "; squeeze-and-excitation: arXiv 1709.01507, figure 3"
_TOP1_SOURCE = "torchvision 0.28.0, IMAGENET1K_V1"

# block, output channels per group of blocks, blocks per group
_NETS = {
    18: ("residual", (64, 128, 256, 512), (2, 2, 2, 2)),
    50: ("residual_bottleneck", (256, 512, 1024, 2048), (3, 4, 6, 3)),
}


def resnet(layers: int, se: float = 0.0) -> ArchSpec:
    """Return ResNet-18 or -50; ``se``: squeezed channels over a block's, 0 for none."""
    block, widths, counts = _NETS[layers]
    chosen = settings(se=se, se_divisor=1, se_gate="sigmoid") if se else ()
    blocks = tuple(
        StageSpec(f"conv{group}_{index}", block, width, 2 if group > 2 and index == 1 else 1, chosen)
        for group, (width, count) in enumerate(zip(widths, counts, strict=True), start=2)
        for index in range(1, count + 1)
    )
    stem = StageSpec("conv1", "conv", 64, 2, settings(kernel=7, activation="relu"))
    return ArchSpec(
        name=f"se_resnet_{layers}" if se else f"resnet_{layers}",
        task="classify",
        input=InputSpec(224, 224),
        classes=1000,
        stages=(stem, StageSpec("pool1", "max_pool", 64, 2, settings(kernel=3)), *blocks),
        head=HeadSpec("pool_classifier"),
    )


MEMBERS = {
    "resnet_18": ZooEntry(
        resnet(18), _SOURCE, params=11_689_512, macs=1_814_073_344, top1=69.758, top1_source=_TOP1_SOURCE
    ),
    "resnet_50": ZooEntry(
        resnet(50), _SOURCE, params=25_557_032, macs=4_089_184_256, top1=76.13, top1_source=_TOP1_SOURCE,
        note="80.858 % with torchvision's later training recipe (IMAGENET1K_V2).",
    ),
    "se_resnet_18": ZooEntry(resnet(18, se=1 / 16), _SE_SOURCE),
    "se_resnet_50": ZooEntry(resnet(50, se=1 / 16), _SE_SOURCE),
}  # fmt: skip
