"""Depthwise separable convolution, and the plain convolution of a stem.

Source: Howard et al. 2017, MobileNets (arXiv 1704.04861), section 3.1 and figure 3. Squeeze-and-excitation between the
two layers: Cui et al. 2021, PP-LCNet (arXiv 2109.15099), figure 2.
"""

from __future__ import annotations

from torch import Tensor, nn

from flyweight.blocks._layers import AS_SPEC, FeatureMap, StageBuilder, conv_norm, conv_width, strided
from flyweight.blocks._squeeze_excite import SE_SETTINGS, squeeze_excite
from flyweight.spec import ArchSpec, StageSpec


class Separable(nn.Module):
    """Depthwise k×k with norm and activation, then pointwise 1×1 with norm and activation.

    Squeeze-and-excitation, where asked for, stands between them.
    """

    def __init__(self, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> None:
        super().__init__()
        where = f"stage '{stage.name}'"
        act = stage.setting("activation", "relu6")
        kernel = stage.setting("kernel", 3)
        inner = "relu6" if act == "crelu" else act  # CReLU doubles channels, which a depthwise layer can't pass on
        self.depthwise = conv_norm(
            inputs,
            inputs.channels,
            spec,
            where=where,
            kernel=kernel,
            stride=stage.stride,
            groups=inputs.channels,
            act=inner,
            dilation=stage.setting("dilation", 1),
        )
        self.se = squeeze_excite(stage, inputs.channels, inputs.channels) or nn.Identity()
        narrowed = inputs.strided(inputs.channels, stage.stride)
        self.pointwise = conv_norm(narrowed, conv_width(stage, act), spec, where=where, kernel=1, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)``."""
        out: Tensor = self.pointwise(self.se(self.depthwise(x)))
        return out


def plain(stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> nn.Module:
    """Return a standard convolution with norm and activation.

    ``bias``, where given, says whether it has one; where not, it has one if it has no norm.
    """
    act, biased = stage.setting("activation", "relu6"), stage.setting("bias", False)
    return conv_norm(
        inputs,
        conv_width(stage, act),
        spec,
        where=f"stage '{stage.name}'",
        kernel=stage.setting("kernel", 3),
        stride=stage.stride,
        act=act,
        padding=stage.setting("padding", AS_SPEC),
        normed=stage.setting("norm", True),
        bias=biased if "bias" in dict(stage.settings) else None,
        groups=stage.setting("groups", 1),
        dilation=stage.setting("dilation", 1),
    )


def plain_shape(stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> FeatureMap:
    """Return the shape behind a standard convolution: smaller where its ``padding`` is given and small."""
    padding = stage.setting("padding", AS_SPEC)
    if padding == AS_SPEC:
        return strided(stage, inputs, spec)
    where, kernel = f"stage '{stage.name}'", stage.setting("dilation", 1) * (stage.setting("kernel", 3) - 1) + 1
    return inputs.windowed(stage.out_channels, kernel, stage.stride, padding, where=where)


MEMBERS = {
    "conv": StageBuilder(
        plain,
        {
            "activation": "relu6",
            "kernel": 3,
            "norm": True,
            "bias": False,
            "padding": AS_SPEC,
            "groups": 1,
            "dilation": 1,
        },
        shape=plain_shape,
        multiple=lambda stage: stage.setting("groups", 1),
    ),
    "separable": StageBuilder(Separable, {"activation": "relu6", "kernel": 3, "dilation": 1, **SE_SETTINGS}),
}
