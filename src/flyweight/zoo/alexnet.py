"""AlexNet with one tower.

Source: Krizhevsky et al. 2012, section 3.5, and Krizhevsky 2014 (arXiv 1404.5997), footnote 1, as torchvision has it:
one tower without groups, no local response normalization, biases and no batch norm; maps are averaged to 6×6 in front
of the fully connected layers, so that the input may have any size. The first convolution pads 2 pixels.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, Value, settings
from flyweight.zoo._entry import ZooEntry


def _conv(name: str, width: int, stride: int = 1, **chosen: Value) -> StageSpec:
    return StageSpec(name, "conv", width, stride, settings(activation="relu", norm=False, **chosen))


def _pool(name: str, width: int) -> StageSpec:
    return StageSpec(name, "max_pool", width, 2, settings(kernel=3, padding=0))


def alexnet() -> ArchSpec:
    """Return the network: five convolutions, three poolings, three fully connected layers."""
    return ArchSpec(
        name="alexnet",
        task="classify",
        input=InputSpec(224, 224),
        classes=1000,
        stages=(
            _conv("conv1", 64, 4, kernel=11, padding=2),
            _pool("pool1", 64),
            _conv("conv2", 192, kernel=5),
            _pool("pool2", 192),
            _conv("conv3", 384, kernel=3),
            _conv("conv4", 256, kernel=3),
            _conv("conv5", 256, kernel=3),
            _pool("pool5", 256),
        ),
        head=HeadSpec(
            "mlp_classifier", widths=(4096, 4096), settings=settings(pool=6, dropout=0.5, dropout_first=True)
        ),
    )


MEMBERS = {
    "alexnet": ZooEntry(
        alexnet(),
        "Krizhevsky et al. 2012; arXiv 1404.5997; torchvision models/alexnet.py",
        params=61_100_840,
        params_basis="one tower; the original's convolutions of two groups have fewer",
        macs=714_188_480,
        top1=56.522,
        top1_source="torchvision 0.28.0, IMAGENET1K_V1",
    )
}
