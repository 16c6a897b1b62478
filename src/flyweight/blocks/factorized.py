"""A k×k convolution as a 1×k and a k×1 one."""

from __future__ import annotations

from torch import Tensor, nn

from flyweight.blocks._layers import FeatureMap, StageBuilder, conv_norm
from flyweight.spec import ArchSpec, StageSpec


class Factorized(nn.Module):
    """1×k, then k×1, which takes the stride; each with norm and activation.

    2·k instead of k² weights a channel pair. Source: Szegedy et al. 2016 (arXiv 1512.00567), section 3.2.
    """

    def __init__(self, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> None:
        super().__init__()
        kernel, act = stage.setting("kernel", 3), stage.setting("activation", "relu6")
        where = f"stage '{stage.name}'"
        self.row = conv_norm(inputs, stage.out_channels, spec, where=where, kernel=(1, kernel), act=act)
        same_size = FeatureMap(stage.out_channels, inputs.height, inputs.width)
        self.column = conv_norm(
            same_size, stage.out_channels, spec, where=where, kernel=(kernel, 1), stride=stage.stride, act=act
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)``."""
        out: Tensor = self.column(self.row(x))
        return out


MEMBERS = {"factorized": StageBuilder(Factorized, {"activation": "relu6", "kernel": 3})}
