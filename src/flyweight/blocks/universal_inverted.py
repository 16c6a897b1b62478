"""Universal inverted bottleneck: one block that is an inverted residual, ConvNeXt's, a feed-forward layer, or more.

Source: Qin et al. 2024, MobileNetV4 (arXiv 2404.10518), section 3 and figure 4: two optional depthwise layers, before
the expansion and behind it. Both: "ExtraDW"; the second only: inverted residual; the first only: ConvNeXt's order;
none: feed-forward.
"""

from __future__ import annotations

from torch import Tensor, nn

from flyweight.blocks._inverted import adds_input, expanded_width, expansion_filters
from flyweight.blocks._layers import FeatureMap, StageBuilder, conv_norm
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, StageSpec


class UniversalInverted(nn.Module):
    """Depthwise (``start_kernel``; 0: none), 1×1 expansion, depthwise (``kernel``; 0: none), linear 1×1 projection.

    The first depthwise layer has no activation. The second has the stride, or the first where there is no second. The
    input is added where stride and width allow it and ``residual`` doesn't forbid it. CReLU stands behind the
    expansion, which then needs half the filters; the second depthwise layer keeps ReLU.
    """

    def __init__(self, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> None:
        super().__init__()
        where = f"stage '{stage.name}'"
        act, start, kernel = _chosen(stage, where)
        wide = expanded_width(stage, inputs.channels, spec)
        early, late = (1, stage.stride) if kernel else (stage.stride, 1)
        self.first = _depthwise(inputs, start, early, "none", spec, where)
        inputs_at = inputs.strided(inputs.channels, early)
        filters = expansion_filters(wide, act, where)
        self.expand = conv_norm(inputs_at, filters, spec, where=where, kernel=1, act=act)
        expanded = inputs_at.strided(wide, 1)
        self.depthwise = _depthwise(expanded, kernel, late, "relu" if act == "crelu" else act, spec, where)
        narrowed = expanded.strided(wide, late)
        self.project = conv_norm(narrowed, stage.out_channels, spec, where=where, kernel=1, act="none")
        self.adds = adds_input(stage, inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)``."""
        out: Tensor = self.project(self.depthwise(self.expand(self.first(x))))
        return x + out if self.adds else out


def _chosen(stage: StageSpec, where: str) -> tuple[str, int, int]:
    """Return activation, first and second kernel; refuse what no block of the kind can be."""
    act = stage.setting("activation", "relu")
    start, kernel = stage.setting("start_kernel", 0), stage.setting("kernel", 3)
    if stage.stride > 1 and not (start or kernel):
        raise SpecError(
            f"{where}: stride {stage.stride}, but both kernel and start_kernel are 0: no layer can take it. Set one."
        )
    return act, start, kernel


def _depthwise(inputs: FeatureMap, kernel: int, stride: int, act: str, spec: ArchSpec, where: str) -> nn.Module:
    if kernel == 0:
        return nn.Identity()
    channels = inputs.channels
    return conv_norm(inputs, channels, spec, where=where, kernel=kernel, stride=stride, groups=channels, act=act)


MEMBERS = {
    "universal_inverted": StageBuilder(
        UniversalInverted, {"activation": "relu", "expand": 6.0, "kernel": 3, "residual": True, "start_kernel": 0}
    )
}
