"""Inverted residuals: wide inside, narrow between blocks, and linear where they are narrow.

Source: Sandler et al. 2018, MobileNetV2 (arXiv 1801.04381), section 3 and table 1. Squeeze-and-excitation behind the
depthwise layer: Tan et al. 2018, MnasNet (arXiv 1807.11626), figure 7; Howard et al. 2019, MobileNetV3 (arXiv
1905.02244), figure 4. The fused form: Gupta and Tan 2019, EfficientNet-EdgeTPU; Xiong et al. 2020 (arXiv 2004.14525).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from flyweight.blocks._inverted import adds_input, expanded_width, expansion_filters
from flyweight.blocks._layers import FeatureMap, StageBuilder, conv_norm
from flyweight.blocks._squeeze_excite import SE_SETTINGS, squeeze_excite
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, StageSpec, Value


class InvertedResidual(nn.Module):
    """1×1 expansion, depthwise k×k, squeeze-and-excitation where asked for, linear 1×1 projection.

    Expansion and depthwise layer have norm and activation, the projection only a norm. With ``expand`` 1 there is no
    expansion layer. The input is added where stride and width allow it and ``residual`` doesn't forbid it. CReLU
    stands behind the expansion, which then needs half the filters; the depthwise layer keeps ReLU6.
    """

    def __init__(self, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> None:
        super().__init__()
        where = f"stage '{stage.name}'"
        act, kernel = stage.setting("activation", "relu6"), stage.setting("kernel", 3)
        wide = expanded_width(stage, inputs.channels, spec)
        self.expand: nn.Module = nn.Identity()
        inner = act
        if wide != inputs.channels:
            filters = expansion_filters(wide, act, where)
            self.expand = conv_norm(inputs, filters, spec, where=where, kernel=1, act=act)
            inner = "relu6" if act == "crelu" else act
        expanded = FeatureMap(wide, inputs.height, inputs.width)
        self.depthwise = conv_norm(
            expanded,
            wide,
            spec,
            where=where,
            kernel=kernel,
            stride=stage.stride,
            groups=wide,
            act=_plain(inner, where),
            dilation=stage.setting("dilation", 1),
        )
        self.se = squeeze_excite(stage, wide, _se_base(stage, inputs.channels, wide)) or nn.Identity()
        narrowed = expanded.strided(wide, stage.stride)
        self.project = conv_norm(narrowed, stage.out_channels, spec, where=where, kernel=1, act="none")
        self.adds = adds_input(stage, inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)``."""
        out: Tensor = self.project(self.se(self.depthwise(self.expand(x))))
        return x + out if self.adds else out


class FusedInvertedResidual(nn.Module):
    """k×k expansion with norm and activation, squeeze-and-excitation where asked for, linear 1×1 projection."""

    def __init__(self, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> None:
        super().__init__()
        where = f"stage '{stage.name}'"
        act, kernel = stage.setting("activation", "relu6"), stage.setting("kernel", 3)
        wide = expanded_width(stage, inputs.channels, spec)
        filters = expansion_filters(wide, act, where)
        self.expand = conv_norm(
            inputs,
            filters,
            spec,
            where=where,
            kernel=kernel,
            stride=stage.stride,
            act=act,
            dilation=stage.setting("dilation", 1),
        )
        self.se = squeeze_excite(stage, wide, _se_base(stage, inputs.channels, wide)) or nn.Identity()
        narrowed = inputs.strided(wide, stage.stride)
        self.project = conv_norm(narrowed, stage.out_channels, spec, where=where, kernel=1, act="none")
        self.adds = adds_input(stage, inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)``."""
        out: Tensor = self.project(self.se(self.expand(x)))
        return x + out if self.adds else out


def _se_base(stage: StageSpec, channels: int, wide: int) -> int:
    bases = {"expanded": wide, "input": channels}
    chosen = stage.setting("se_of", "expanded")
    if chosen not in bases:
        raise SpecError(f"stage '{stage.name}': se_of is '{chosen}'; allowed are {' and '.join(bases)}.")
    return bases[chosen]


def _plain(act: str, where: str) -> str:
    if act == "crelu":
        raise SpecError(f"{where}: CReLU halves the filters of the expansion, but expand is 1. Use expand 2 or more.")
    return act


_SETTINGS: Mapping[str, Value] = {
    "activation": "relu6",
    "dilation": 1,
    "expand": 6.0,
    "kernel": 3,
    "residual": True,
    "se_of": "expanded",
    **SE_SETTINGS,
}

MEMBERS = {
    "fused_inverted_residual": StageBuilder(FusedInvertedResidual, _SETTINGS),
    "inverted_residual": StageBuilder(InvertedResidual, {**_SETTINGS, "dilation": 1}),
}
