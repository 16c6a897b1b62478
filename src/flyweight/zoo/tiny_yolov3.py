"""Tiny-YOLOv3: seven convolutions with max pooling between them, and boxes from a coarse and a fine map.

Source: Redmon and Farhadi 2018, YOLOv3 (arXiv 1804.02767); definition from AlexeyAB/darknet cfg/yolov3-tiny.cfg: leaky
ReLU of slope 0.1, batch norm everywhere but before the boxes. The last pooling has stride 1 and keeps the size, by a
pixel of padding to the right and below. The fine map is that of ``conv5``, before it is pooled.
"""

from __future__ import annotations

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._entry import ZooEntry

_WIDTHS = (16, 32, 64, 128, 256, 512)  # each followed by max pooling


def stages() -> tuple[StageSpec, ...]:
    """Return the convolutions ``conv1`` to ``conv8`` and the poolings ``pool1`` to ``pool6``."""
    chain = []
    for number, channels in enumerate(_WIDTHS, start=1):
        stride = 2 if number < len(_WIDTHS) else 1
        chain.append(_conv(f"conv{number}", channels))
        chain.append(StageSpec(f"pool{number}", "max_pool", channels, stride, settings(kernel=2)))
    return (*chain, _conv("conv7", 1024), _conv("conv8", 256, kernel=1))


def _conv(name: str, channels: int, kernel: int = 3) -> StageSpec:
    return StageSpec(name, "conv", channels, 1, settings(activation="leaky_relu", kernel=kernel))


def tiny_yolov3(resolution: int = 416, classes: int = 80) -> ArchSpec:
    """Return the network; its anchors stay in pixels whatever the resolution."""
    return ArchSpec(
        name="tiny_yolov3",
        task="detect",
        input=InputSpec(resolution, resolution),
        classes=classes,
        stages=stages(),
        head=HeadSpec("tiny_yolo", widths=(512, 128, 256), settings=settings(coarse="conv8", fine="conv5")),
        padding="same",
    )


MEMBERS = {
    "tiny_yolov3": ZooEntry(
        tiny_yolov3(),
        "arXiv 1804.02767; AlexeyAB/darknet cfg/yolov3-tiny.cfg",
        8_852_366,
        2_782_480_896,
        params_basis="80 classes",
        note="COCO mAP@.5 33.1, mAP@.5:.95 16.6 (AlexeyAB/darknet, RangiLyu/nanodet). The fine map has "
        "the first three anchors, as in AlexeyAB's file; in the original file it has the second to the fourth.",
    )
}
