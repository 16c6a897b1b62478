"""Xception's blocks: activations before separable convolutions, max pooling for a stride, and a shortcut around them.

Source: Chollet 2016 (arXiv 1610.02357), figure 5.
"""

from __future__ import annotations

from torch import Tensor, nn

from flyweight.blocks._layers import FeatureMap, StageBuilder, activation, conv_norm, conv_width
from flyweight.blocks._pool import pool
from flyweight.blocks._separable_conv import separable_conv
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, StageSpec


class XceptionBlock(nn.Module):
    """``layers`` times activation and separable convolution, 3×3 max pooling for a stride; plus the shortcut.

    The first separable convolution changes the width; the last one does where ``widen_last``. The block begins with an
    activation where ``first_activation``. CReLU stands between the convolutions, which then need half the filters;
    the first activation stays ReLU.
    """

    def __init__(self, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> None:
        super().__init__()
        where, layers = f"stage '{stage.name}'", stage.setting("layers", 2)
        if layers < 1:
            raise SpecError(f"{where}: layers is {layers}, the number of separable convolutions. Use at least 1.")
        act = stage.setting("activation", "relu")
        self.branch = nn.Sequential()
        current = inputs
        for index in range(1, layers + 1):
            last = index == layers
            width = inputs.channels if stage.setting("widen_last", False) and not last else stage.out_channels
            filters = max(1, width // 2) if act == "crelu" and not last else width
            if index > 1:
                self.branch.add_module(f"act{index}", activation(act, where))
            elif stage.setting("first_activation", True):
                self.branch.add_module("act1", activation("relu" if act == "crelu" else act, where))
            conv = separable_conv(current, filters, spec, where=where, kernel=stage.setting("kernel", 3))
            self.branch.add_module(f"separable{index}", conv)
            current = FeatureMap(filters * (2 if filters < width else 1), inputs.height, inputs.width)
        if stage.stride > 1:
            self.branch.add_module("pool", pool("max", current, spec, where=where, stride=stage.stride))
        self.shortcut: nn.Module = nn.Identity()
        if stage.stride > 1 or inputs.channels != stage.out_channels:
            self.shortcut = conv_norm(
                inputs, stage.out_channels, spec, where=where, kernel=1, stride=stage.stride, act="none"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)``."""
        out: Tensor = self.branch(x) + self.shortcut(x)
        return out


def separable(stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> nn.Module:
    """Return one separable convolution with norm and activation behind it, none between its layers."""
    act = stage.setting("activation", "relu")
    return separable_conv(
        inputs,
        conv_width(stage, act),
        spec,
        where=f"stage '{stage.name}'",
        kernel=stage.setting("kernel", 3),
        stride=stage.stride,
        act=act,
    )


MEMBERS = {
    "xception_block": StageBuilder(
        XceptionBlock,
        {"activation": "relu", "first_activation": True, "kernel": 3, "layers": 2, "widen_last": False},
    ),
    "xception_separable": StageBuilder(separable, {"activation": "relu", "kernel": 3}),
}
