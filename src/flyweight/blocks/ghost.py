"""Ghost modules: half of the channels by a convolution, the other half by a cheap operation on those.

Source: Han et al. 2019, GhostNet (arXiv 1911.11907), sections 3.1 and 3.2, figures 2 and 3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from flyweight.blocks._inverted import expanded_width, expansion_filters
from flyweight.blocks._layers import FeatureMap, StageBuilder, conv_norm
from flyweight.blocks._squeeze_excite import SE_SETTINGS, squeeze_excite
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, StageSpec, Value


class GhostModule(nn.Module):
    """1×1 to one channel in ``ratio``, depthwise k×k that makes the others of it; concatenated, cut to the width.

    Both have a norm and an activation, or none. CReLU stands behind the 1×1, and ReLU behind the depthwise layer.
    """

    def __init__(self, stage: StageSpec, inputs: FeatureMap, width: int, act: str, spec: ArchSpec) -> None:
        super().__init__()
        where, kernel, ratio = f"stage '{stage.name}'", stage.setting("cheap_kernel", 3), stage.setting("ratio", 2)
        if not 2 <= ratio <= width:
            raise SpecError(
                f"{where}: ratio is {ratio} of {width} channels; allowed are whole numbers from 2 to {width}. The "
                "paper's is 2."
            )
        self.width = width
        intrinsic = FeatureMap(-(-width // ratio), inputs.height, inputs.width)
        ghosts = intrinsic.channels * (ratio - 1)
        filters = expansion_filters(intrinsic.channels, act, where)
        self.primary = conv_norm(inputs, filters, spec, where=where, kernel=1, act=act)
        self.cheap = conv_norm(
            intrinsic,
            ghosts,
            spec,
            where=where,
            kernel=kernel,
            groups=intrinsic.channels,
            act="relu" if act == "crelu" else act,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, width, h, w)``."""
        intrinsic: Tensor = self.primary(x)
        out = torch.cat((intrinsic, self.cheap(intrinsic)), dim=1)
        return out[:, : self.width] if out.shape[1] > self.width else out


class GhostBottleneck(nn.Module):
    """Ghost module to ``expand`` times the input, depthwise k×k, squeeze-and-excitation, linear ghost module; shortcut.

    The depthwise layer, which is linear, is there only with a stride. The shortcut is the input, or where shapes differ
    a linear depthwise k×k and 1×1 convolution of it.
    """

    def __init__(self, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> None:
        super().__init__()
        wide = expanded_width(stage, inputs.channels, spec)
        self.expand = GhostModule(stage, inputs, wide, stage.setting("activation", "relu"), spec)
        expanded = FeatureMap(wide, inputs.height, inputs.width)
        self.depthwise: nn.Module = nn.Identity()
        if stage.stride > 1:
            self.depthwise = _depthwise(stage, expanded, spec)
        self.se = squeeze_excite(stage, wide, of=wide) or nn.Identity()
        narrowed = expanded.strided(wide, stage.stride)
        self.project = GhostModule(stage, narrowed, stage.out_channels, "none", spec)
        self.shortcut: nn.Module = nn.Identity()
        if stage.stride > 1 or inputs.channels != stage.out_channels:
            self.shortcut = nn.Sequential()
            self.shortcut.add_module("depthwise", _depthwise(stage, inputs, spec))
            narrowed = inputs.strided(inputs.channels, stage.stride)
            pointwise = conv_norm(
                narrowed, stage.out_channels, spec, where=f"stage '{stage.name}'", kernel=1, act="none"
            )
            self.shortcut.add_module("pointwise", pointwise)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)``."""
        out: Tensor = self.project(self.se(self.depthwise(self.expand(x)))) + self.shortcut(x)
        return out


def _depthwise(stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> nn.Module:
    return conv_norm(
        inputs,
        inputs.channels,
        spec,
        where=f"stage '{stage.name}'",
        kernel=stage.setting("kernel", 3),
        stride=stage.stride,
        groups=inputs.channels,
        act="none",
    )


_SETTINGS: Mapping[str, Value] = {
    "activation": "relu", "cheap_kernel": 3, "expand": 6.0, "kernel": 3, "ratio": 2, **SE_SETTINGS,
}  # fmt: skip

MEMBERS = {"ghost_bottleneck": StageBuilder(GhostBottleneck, _SETTINGS)}
