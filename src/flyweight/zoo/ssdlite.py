"""SSDLite over MobileNetV3-Large.

Source: Sandler et al. 2018 (arXiv 1801.04381), section 6.2; Howard et al. 2019 (arXiv 1905.02244), section 6.3;
definition from torchvision models/detection/ssdlite.py: half as many channels behind stride 16, batch norm with epsilon
1e-3 and momentum 0.03, symmetric padding. The finest map is that of the expansion inside the first block of stride 32,
which therefore is written as two stages: the expansion, and an inverted residual that expands no more.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._entry import ZooEntry
from flyweight.zoo._inverted import conv, inverted

# kernel, expanded width, output width, squeeze-and-excitation, activation, stride: as MobileNetV3-Large up to stride 16
_FINE = (
    (3, 16, 16, 0, "relu", 1), (3, 64, 24, 0, "relu", 2), (3, 72, 24, 0, "relu", 1), (5, 72, 40, 1, "relu", 2),
    (5, 120, 40, 1, "relu", 1), (5, 120, 40, 1, "relu", 1), (3, 240, 80, 0, "hard_swish", 2),
    (3, 200, 80, 0, "hard_swish", 1), (3, 184, 80, 0, "hard_swish", 1), (3, 184, 80, 0, "hard_swish", 1),
    (3, 480, 112, 1, "hard_swish", 1), (3, 672, 112, 1, "hard_swish", 1),
)  # fmt: skip
_TAP, _REDUCED, _LAST = 672, 80, 480


def stages() -> tuple[StageSpec, ...]:
    """Return the stem, 15 blocks (``tap`` is the 13th's expansion), and the last convolution."""
    chain = [conv("stem", 16, 2, activation="hard_swish")]
    for index, (kernel, expanded, channels, se, act, stride) in enumerate(_FINE, start=1):
        ratio = expanded / chain[-1].out_channels
        chain.append(inverted(f"block{index}", kernel, ratio, channels, stride, 0.25 * se, activation=act))
    chain.append(conv("tap", _TAP, kernel=1, activation="hard_swish"))
    chain.append(inverted("block13", 5, 1, _REDUCED, 2, 0.25, activation="hard_swish"))
    for index in (14, 15):
        chain.append(inverted(f"block{index}", 5, _LAST / _REDUCED, _REDUCED, 1, 0.25, activation="hard_swish"))
    return (*chain, conv("last", _LAST, kernel=1, activation="hard_swish"))


def ssdlite_mobilenet_v3_large(resolution: int = 320, classes: int = 90) -> ArchSpec:
    """Return the network; ``classes`` are those of objects, without the background."""
    return ArchSpec(
        name="ssdlite_mobilenet_v3_large",
        task="detect",
        input=InputSpec(resolution, resolution),
        classes=classes,
        stages=stages(),
        head=HeadSpec("ssdlite", widths=(512, 256, 256, 128), settings=settings(sources=("tap", "last"))),
        norm_eps=1e-3,
        norm_momentum=0.03,
    )


MEMBERS = {
    "ssdlite_mobilenet_v3_large": ZooEntry(
        ssdlite_mobilenet_v3_large(),
        "arXiv 1801.04381 and 1905.02244; torchvision models/detection/ssdlite.py",
        3_440_060,
        583_171_904,
        params_basis="90 classes and the background: torchvision's 91",
        note="COCO val2017 box mAP 21.3 (torchvision), with images scaled to -1 to 1: mean and standard deviation 0.5.",
    )
}
