"""MobileNetV3, large and small, with both width rules; and the minimalistic forms, which every accelerator runs.

Source: Howard et al. 2019 (arXiv 1905.02244), tables 1 and 2; definition from tensorflow/models research/slim/nets/
mobilenet/mobilenet_v3.py: padding SAME, batch norm with epsilon 1e-3 and decay 0.997, squeeze-and-excitation behind the
depthwise layer's activation, its width a quarter of the expanded one. Minimalistic: 3×3 kernels, ReLU, no
squeeze-and-excitation.

Width rules: TensorFlow (and timm) multiply the table's expansion ratio with the narrowed input, and never narrow the
hidden layer of the head. Torchvision narrows the table's expanded width, and the hidden layer too; those members end in
``_torchvision``, and pad symmetrically.
"""

from __future__ import annotations

from typing import Literal

from flyweight.spec import ArchSpec, HeadSpec, InputSpec, StageSpec, settings
from flyweight.zoo._entry import ZooEntry
from flyweight.zoo._inverted import conv, eights, inverted

_SLIM = "arXiv 1905.02244; tensorflow/models research/slim/nets/mobilenet/mobilenet_v3.py and README.md"
_TORCHVISION = "arXiv 1905.02244; torchvision models/mobilenetv3.py"

# kernel, expanded width, output width, squeeze-and-excitation, hard swish, stride
_LARGE = (
    (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 1, 0, 2), (5, 120, 40, 1, 0, 1),
    (5, 120, 40, 1, 0, 1), (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1),
    (3, 480, 112, 1, 1, 1), (3, 672, 112, 1, 1, 1), (5, 672, 160, 1, 1, 2), (5, 960, 160, 1, 1, 1),
    (5, 960, 160, 1, 1, 1),
)  # fmt: skip
_SMALL = (
    (3, 16, 16, 1, 0, 2), (3, 72, 24, 0, 0, 2), (3, 88, 24, 0, 0, 1), (5, 96, 40, 1, 1, 2), (5, 240, 40, 1, 1, 1),
    (5, 240, 40, 1, 1, 1), (5, 120, 48, 1, 1, 1), (5, 144, 48, 1, 1, 1), (5, 288, 96, 1, 1, 2), (5, 576, 96, 1, 1, 1),
    (5, 576, 96, 1, 1, 1),
)  # fmt: skip

Size = Literal["large", "small"]
WidthRule = Literal["tensorflow", "torchvision"]
_BLOCKS = {"large": _LARGE, "small": _SMALL}
_LAST = {"large": 960, "small": 576}
_HIDDEN = {"large": 1280, "small": 1024}


def stages(
    size: Size, width: float = 1.0, rule: WidthRule = "tensorflow", minimalistic: bool = False
) -> tuple[StageSpec, ...]:
    """Return the stem, 15 (large) or 11 (small) blocks, and the last convolution."""
    swish = "relu" if minimalistic else "hard_swish"
    chain = [conv("stem", eights(16 * width), 2, activation=swish)]
    before = 16  # the table's width of what comes in
    for index, (kernel, expanded, channels, se, swished, stride) in enumerate(_BLOCKS[size], start=1):
        narrowed = chain[-1].out_channels
        ratio = expanded / before if rule == "tensorflow" else eights(expanded * width) / narrowed
        block = inverted(
            f"block{index}",
            3 if minimalistic else kernel,
            ratio,
            eights(channels * width),
            stride,
            0.0 if minimalistic else 0.25 * se,
            activation=swish if swished else "relu",
        )
        chain.append(block)
        before = channels
    return (*chain, conv("last", eights(_LAST[size] * width), kernel=1, activation=swish))


def mobilenet_v3(
    size: Size, width: float = 1.0, rule: WidthRule = "tensorflow", minimalistic: bool = False
) -> ArchSpec:
    """Return the classification network at 224 pixels."""
    swish = "relu" if minimalistic else "hard_swish"
    tensorflow = rule == "tensorflow"
    hidden = _HIDDEN[size] if tensorflow and width < 1 else eights(_HIDDEN[size] * width)
    suffix = "" if tensorflow else "_torchvision"
    return ArchSpec(
        name=f"mobilenet_v3_{size}_{'minimalistic_' if minimalistic else ''}{width}{suffix}",
        task="classify",
        input=InputSpec(224, 224),
        classes=1000,
        stages=stages(size, width, rule, minimalistic),
        head=HeadSpec("pool_classifier", widths=(hidden,), settings=settings(activation=swish, dropout=0.2)),
        padding="same" if tensorflow else "symmetric",
        norm_eps=1e-3,
        norm_momentum=0.003 if tensorflow else 0.01,
    )


def lraspp_mobilenet_v3_large(resolution: int = 520, classes: int = 21) -> ArchSpec:
    """Return Lite R-ASPP over MobileNetV3-Large whose last three blocks are dilated: the finest features at 1/16."""
    backbone = mobilenet_v3("large", 1.0, "torchvision")
    dilated = tuple(
        stage.replace(stride=1).with_settings(dilation=2) if stage.name in ("block13", "block14", "block15") else stage
        for stage in backbone.stages
    )
    return backbone.replace(
        name="lraspp_mobilenet_v3_large",
        task="segment",
        input=InputSpec(resolution, resolution),
        classes=classes,
        stages=dilated,
        head=HeadSpec("lraspp", settings=settings(low="block6")),
    )


_OLDER = "The README's parameters and MACs are those of an older definition, whose head has 1280 hidden channels."

_ENTRIES = (
    ZooEntry(mobilenet_v3("large"), _SLIM, 5_483_032, 216_589_760, 75.2),
    ZooEntry(mobilenet_v3("large", 0.75), _SLIM, 3_993_528, 154_560_624, 73.3),
    ZooEntry(mobilenet_v3("small"), _SLIM, 2_542_856, 56_510_400, 67.5, note=_OLDER),
    ZooEntry(mobilenet_v3("small", 0.75), _SLIM, 2_041_872, 43_399_344, 65.4, note=_OLDER),
    ZooEntry(mobilenet_v3("large", minimalistic=True), _SLIM, 3_924_288, 209_136_704, 72.3),
    ZooEntry(mobilenet_v3("small", minimalistic=True), _SLIM, 2_044_736, 52_288_448, 61.9),
    ZooEntry(mobilenet_v3("large", 1.0, "torchvision"), _TORCHVISION, 5_483_032, 216_589_760, 75.274),
    ZooEntry(mobilenet_v3("large", 0.75, "torchvision"), _TORCHVISION, 3_377_576, 140_033_816),
    ZooEntry(mobilenet_v3("large", 1.25, "torchvision"), _TORCHVISION, 8_164_744, 343_461_000),
    ZooEntry(mobilenet_v3("small", 1.0, "torchvision"), _TORCHVISION, 2_542_856, 56_510_400, 67.668),
    ZooEntry(mobilenet_v3("small", 0.75, "torchvision"), _TORCHVISION, 1_653_920, 39_115_576),
    ZooEntry(mobilenet_v3("small", 0.5, "torchvision"), _TORCHVISION, 917_264, 18_970_736),
    ZooEntry(
        lraspp_mobilenet_v3_large(),
        "arXiv 1905.02244, section 6.4; torchvision models/segmentation/lraspp.py",
        3_221_538,
        2_086_219_688,
        note="mIoU 57.9 on COCO val2017 with VOC labels (torchvision). Global pooling; the paper's is a large window.",
    ),
)
MEMBERS = {entry.spec.name: entry for entry in _ENTRIES}
