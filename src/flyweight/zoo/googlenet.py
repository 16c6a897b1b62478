"""GoogLeNet, the first Inception network, with batch norm and without auxiliary classifiers.

Source: Szegedy et al. 2014 (arXiv 1409.4842), table 1, as torchvision has it: batch norm of epsilon 1e-3 behind every
convolution, no local response normalization, and 3×3 convolutions where the paper has 5×5.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._entry import ZooEntry

# name; 1×1; 3×3 reduced, 3×3; "5×5" reduced, "5×5"; behind pooling
_BLOCKS = (
    ("inception3a", 64, 96, 128, 16, 32, 32),
    ("inception3b", 128, 128, 192, 32, 96, 64),
    ("inception4a", 192, 96, 208, 16, 48, 64),
    ("inception4b", 160, 112, 224, 24, 64, 64),
    ("inception4c", 128, 128, 256, 24, 64, 64),
    ("inception4d", 112, 144, 288, 32, 64, 64),
    ("inception4e", 256, 160, 320, 32, 128, 128),
    ("inception5a", 256, 160, 320, 32, 128, 128),
    ("inception5b", 384, 192, 384, 48, 128, 128),
)
_POOLS = {"inception4a": ("pool3", 3), "inception5a": ("pool4", 2)}  # in front of these: name, kernel


def _conv(name: str, width: int, stride: int, kernel: int) -> StageSpec:
    return StageSpec(name, "conv", width, stride, settings(activation="relu", kernel=kernel))


def _pool(name: str, width: int, kernel: int) -> StageSpec:
    return StageSpec(name, "max_pool", width, 2, settings(kernel=kernel, padding=0, ceil=True))


def googlenet() -> ArchSpec:
    """Return the network: three convolutions, nine Inception blocks, four poolings."""
    stages = [
        _conv("conv1", 64, 2, 7),
        _pool("pool1", 64, 3),
        _conv("conv2", 64, 1, 1),
        _conv("conv3", 192, 1, 3),
        _pool("pool2", 192, 3),
    ]
    for name, one, three_in, three, five_in, five, pooled in _BLOCKS:
        if name in _POOLS:
            pool, kernel = _POOLS[name]
            stages.append(_pool(pool, stages[-1].out_channels, kernel))
        branches = (
            f"1x1:{one}",
            f"1x1:{three_in} 3x3:{three}",
            f"1x1:{five_in} 3x3:{five}",
            f"max3 1x1:{pooled}",
        )
        stages.append(StageSpec(name, "inception", one + three + five + pooled, 1, settings(branches=branches)))
    return ArchSpec(
        name="googlenet",
        task="classify",
        input=InputSpec(224, 224),
        classes=1000,
        stages=tuple(stages),
        head=HeadSpec("pool_classifier", settings=settings(dropout=0.2)),
        norm_eps=1e-3,
    )


MEMBERS = {
    "googlenet": ZooEntry(
        googlenet(),
        "arXiv 1409.4842; torchvision models/googlenet.py",
        params=6_624_904,
        params_basis="without auxiliary classifiers; 13,004,888 with both",
        macs=1_498_376_192,
        top1=69.778,
        top1_source="torchvision 0.28.0, IMAGENET1K_V1",
        note="torchvision's weights want their input scaled to mean 0.5 and deviation 0.5 per channel.",
    )
}
