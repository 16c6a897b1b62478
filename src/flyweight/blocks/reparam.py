"""Convolutions that are trained with parallel branches and deployed as one: RepVGG's and MobileOne's blocks.

Source: Ding et al. 2021, RepVGG (arXiv 2101.03697), section 3; Vasu et al. 2022, MobileOne (arXiv 2206.04040), section
3.2. ``deploy`` is the form that runs; the transform ``reparameterize`` takes a trained network there.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from flyweight.blocks._layers import FeatureMap, StageBuilder, activation, conv_norm, conv_width
from flyweight.blocks._reparam import ParallelConv
from flyweight.blocks._squeeze_excite import SE_SETTINGS, squeeze_excite
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, StageSpec, Value

MOST_BRANCHES = 16


class ReparamConv(nn.Module):
    """Parallel branches, or with ``deploy`` one convolution with a bias; squeeze-and-excitation; activation.

    The branches are ``branches`` k×k convolutions and, with ``beside``, a 1×1 convolution and the identity.
    """

    def __init__(
        self,
        stage: StageSpec,
        inputs: FeatureMap,
        width: int,
        act: str,
        spec: ArchSpec,
        *,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__()
        where, branches = f"stage '{stage.name}'", stage.setting("branches", 1)
        if not 1 <= branches <= MOST_BRANCHES:
            raise SpecError(f"{where}: branches is {branches}; allowed are whole numbers from 1 to {MOST_BRANCHES}.")
        self.linear: nn.Module
        if stage.setting("deploy", False):
            self.linear = conv_norm(
                inputs, width, spec, where=where, kernel=kernel, stride=stride, groups=groups, act="none", normed=False
            )
        else:
            self.linear = ParallelConv(
                inputs, width, spec, where=where, kernel=kernel, stride=stride, groups=groups, branches=branches,
                beside=stage.setting("beside", True),
            )  # fmt: skip
        self.se = squeeze_excite(stage, width, of=width) or nn.Identity()
        self.act = activation(act, where)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, width, ⌈h/stride⌉, ⌈w/stride⌉)``, twice the width behind CReLU."""
        out: Tensor = self.act(self.se(self.linear(x)))
        return out


def plain(stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> nn.Module:
    """Return one such convolution, of ``groups`` groups."""
    act = stage.setting("activation", "relu")
    return ReparamConv(
        stage,
        inputs,
        conv_width(stage, act),
        act,
        spec,
        kernel=stage.setting("kernel", 3),
        stride=stage.stride,
        groups=stage.setting("groups", 1),
    )


def separable(stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> nn.Module:
    """Return a depthwise k×k and a 1×1 one, both with activation and, where asked for, squeeze-and-excitation."""
    act, channels = stage.setting("activation", "relu"), inputs.channels
    inner = "relu" if act == "crelu" else act  # CReLU doubles channels: it stands only at the end
    layers = nn.Sequential()
    depthwise = ReparamConv(
        stage, inputs, channels, inner, spec, kernel=stage.setting("kernel", 3), stride=stage.stride, groups=channels
    )
    layers.add_module("depthwise", depthwise)
    narrowed = inputs.strided(channels, stage.stride)
    layers.add_module("pointwise", ReparamConv(stage, narrowed, conv_width(stage, act), act, spec, kernel=1))
    return layers


_SETTINGS: Mapping[str, Value] = {
    "activation": "relu", "beside": True, "branches": 1, "deploy": False, "kernel": 3, **SE_SETTINGS,
}  # fmt: skip

MEMBERS = {
    "reparam_conv": StageBuilder(plain, {**_SETTINGS, "groups": 1}, multiple=lambda stage: stage.setting("groups", 1)),
    "reparam_separable": StageBuilder(separable, _SETTINGS),
}
