"""Star blocks: two 1×1 convolutions of the same map, multiplied element by element.

Source: Ma et al. 2024, Rewrite the Stars (arXiv 2403.19967), section 4; the demo block of ma-xu/Rewrite-the-Stars.
"""

from __future__ import annotations

from torch import Tensor, nn

from flyweight.blocks._inverted import adds_input, expanded_width, expansion_filters
from flyweight.blocks._layers import FeatureMap, StageBuilder, conv_norm
from flyweight.spec import ArchSpec, StageSpec


class Star(nn.Module):
    """Depthwise k×k with norm, two 1×1 to ``expand`` times the input, their product, 1×1 with norm, depthwise k×k.

    One of the two factors has an activation, nothing else has. Every convolution has a bias. The input is added where
    stride and width allow it.
    """

    def __init__(self, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> None:
        super().__init__()
        where, act, kernel = f"stage '{stage.name}'", stage.setting("activation", "relu6"), stage.setting("kernel", 7)
        channels, width = inputs.channels, stage.out_channels
        narrowed = inputs.strided(channels, stage.stride)
        wide = narrowed.strided(expanded_width(stage, channels, spec), 1)
        self.depthwise = conv_norm(
            inputs,
            channels,
            spec,
            where=where,
            kernel=kernel,
            stride=stage.stride,
            groups=channels,
            act="none",
            bias=True,
        )
        filters = expansion_filters(wide.channels, act, where)
        self.activated = conv_norm(narrowed, filters, spec, where=where, kernel=1, act=act, normed=False)
        self.linear = conv_norm(narrowed, wide.channels, spec, where=where, kernel=1, act="none", normed=False)
        self.project = conv_norm(wide, width, spec, where=where, kernel=1, act="none", bias=True)
        self.last = conv_norm(
            narrowed.strided(width, 1), width, spec, where=where, kernel=kernel, groups=width, act="none", normed=False
        )
        self.adds = adds_input(stage, inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)``."""
        spatial = self.depthwise(x)
        out: Tensor = self.last(self.project(self.activated(spatial) * self.linear(spatial)))
        return x + out if self.adds else out


MEMBERS = {"star": StageBuilder(Star, {"activation": "relu6", "expand": 6.0, "kernel": 7, "residual": True})}
