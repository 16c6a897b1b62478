"""Inception-v3 without its auxiliary classifier.

Source: Szegedy et al. 2015 (arXiv 1512.00567), table 1, as torchvision has it: batch norm of epsilon 1e-3 behind every
convolution; no padding in the stem (but for one convolution) nor in what halves the size; averages count their padding.
Needs 75 pixels a side.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings
from flyweight.zoo._entry import ZooEntry


def _conv(name: str, width: int, stride: int = 1, **chosen: Value) -> StageSpec:
    return StageSpec(name, "conv", width, stride, settings(activation="relu", **chosen))


def _pool(name: str, width: int) -> StageSpec:
    return StageSpec(name, "max_pool", width, 2, settings(kernel=3, padding=0))


def _mixed(name: str, width: int, *branches: str) -> StageSpec:
    return StageSpec(name, "inception", width, 1, settings(branches=branches))


def _halving(name: str, width: int, *branches: str) -> StageSpec:
    return StageSpec(name, "inception", width, 2, settings(branches=(*branches, "max3"), valid=True))


def _mixed_5(name: str, pooled: int) -> StageSpec:
    branches = ("1x1:64", "1x1:48 5x5:64", "1x1:64 3x3:96 3x3:96", f"avg3 1x1:{pooled}")
    return _mixed(name, 224 + pooled, *branches)


def _mixed_6(name: str, inner: int) -> StageSpec:
    once = f"1x1:{inner} 1x7:{inner} 7x1:192"
    twice = f"1x1:{inner} 7x1:{inner} 1x7:{inner} 7x1:{inner} 1x7:192"
    return _mixed(name, 768, "1x1:192", once, twice, "avg3 1x1:192")


def _mixed_7(name: str) -> StageSpec:
    fork = "1x3:384|3x1:384"
    return _mixed(name, 2048, "1x1:320", f"1x1:384 {fork}", f"1x1:448 3x3:384 {fork}", "avg3 1x1:192")


def inception_v3() -> ArchSpec:
    """Return the network at 299 pixels."""
    return ArchSpec(
        name="inception_v3",
        task="classify",
        input=InputSpec(299, 299),
        classes=1000,
        stages=(
            _conv("conv1a", 32, 2, kernel=3, padding=0),
            _conv("conv2a", 32, kernel=3, padding=0),
            _conv("conv2b", 64, kernel=3),
            _pool("pool2", 64),
            _conv("conv3b", 80, kernel=1),
            _conv("conv4a", 192, kernel=3, padding=0),
            _pool("pool4", 192),
            _mixed_5("mixed5b", 32),
            _mixed_5("mixed5c", 64),
            _mixed_5("mixed5d", 64),
            _halving("mixed6a", 384 + 96 + 288, "3x3:384", "1x1:64 3x3:96 3x3:96"),
            _mixed_6("mixed6b", 128),
            _mixed_6("mixed6c", 160),
            _mixed_6("mixed6d", 160),
            _mixed_6("mixed6e", 192),
            _halving("mixed7a", 320 + 192 + 768, "1x1:192 3x3:320", "1x1:192 1x7:192 7x1:192 3x3:192"),
            _mixed_7("mixed7b"),
            _mixed_7("mixed7c"),
        ),
        head=HeadSpec("pool_classifier", settings=settings(dropout=0.5)),
        norm_eps=1e-3,
    )


MEMBERS = {
    "inception_v3": ZooEntry(
        inception_v3(),
        "arXiv 1512.00567; torchvision models/inception.py",
        params=23_834_568,
        params_basis="without the auxiliary classifier; 27,161,264 with it",
        macs=5_713_216_096,
        top1=77.294,
        top1_source="torchvision 0.28.0, IMAGENET1K_V1",
        note="torchvision's weights want their input scaled to mean 0.5 and deviation 0.5 per channel.",
    )
}
