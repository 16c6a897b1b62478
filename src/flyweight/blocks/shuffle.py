"""Units that shuffle channels between groups: ShuffleNet's, of both generations.

Source: Zhang et al. 2017, ShuffleNet (arXiv 1707.01083), section 3 and figures 1 and 2; Ma et al. 2018, ShuffleNet V2
(arXiv 1807.11164), section 3.2 and figure 3. Where a shuffle stands, and by which rule: the authors' code
(megvii-model/ShuffleNet-Series), and torchvision's for ShuffleNet V2. Weights of the one don't fit the other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from flyweight.blocks._layers import FeatureMap, StageBuilder, activation, conv_norm
from flyweight.blocks._pool import pool
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, StageSpec, round_channels


class ChannelShuffle(nn.Module):
    """Write the channels into a table of ``rows`` rows or ``columns`` columns, row by row, and read it by columns.

    With as many rows as there are groups, the k-th channels of all groups come to stand side by side; with as many
    columns, every group gets one channel in so many: the inverse. The other number follows from the channels.
    """

    def __init__(self, rows: int = 0, columns: int = 0) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to the same shape; ``rows`` or ``columns`` divides C."""
        _, channels, height, width = x.shape
        rows = self.rows or channels // self.columns
        table = x.reshape(-1, rows, channels // rows, height, width)
        return table.transpose(1, 2).reshape(-1, channels, height, width)


class ShuffleV1Unit(nn.Module):
    """Grouped 1×1 to ``bottleneck`` times the width, depthwise k×k, shuffle, grouped 1×1; the last two are linear.

    With stride 1 the input is added, if it is as wide; then comes an activation. With a larger stride the input is
    average pooled and stands before the branch, which brings the channels that are missing; if none are, there is no
    shortcut. ``grouped_input`` false leaves the first 1×1 ungrouped, for a stem that is too narrow. CReLU stands behind
    the first 1×1 only.
    """

    def __init__(self, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> None:
        super().__init__()
        where, kernel, groups = f"stage '{stage.name}'", stage.setting("kernel", 3), _groups(stage)
        act, inner, halves = _activations(stage)
        neck = round_channels(stage.out_channels * _bottleneck(stage), groups * halves, groups * halves)
        wide = FeatureMap(neck, inputs.height, inputs.width)
        pools = stage.stride > 1 and stage.out_channels > inputs.channels
        new = stage.out_channels - (inputs.channels if pools else 0)
        self.reduce = conv_norm(
            inputs,
            neck // halves,
            spec,
            where=where,
            kernel=1,
            act=inner,
            groups=groups if stage.setting("grouped_input", True) else 1,
        )
        self.depthwise = conv_norm(
            wide, neck, spec, where=where, kernel=kernel, stride=stage.stride, groups=neck, act="none"
        )
        self.shuffle = ChannelShuffle(columns=groups) if groups > 1 else nn.Identity()
        narrowed = wide.strided(neck, stage.stride)
        self.widen = conv_norm(narrowed, new, spec, where=where, kernel=1, groups=groups, act="none")
        self.act = activation(act, where)
        self.pool = pool("avg", inputs, spec, where=where, stride=stage.stride) if pools else None
        self.adds = stage.stride == 1 and inputs.channels == new

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)``."""
        branch = self.widen(self.shuffle(self.depthwise(self.reduce(x))))
        if self.pool is not None:
            return torch.cat((self.pool(x), self.act(branch)), dim=1)
        out: Tensor = self.act(x + branch if self.adds else branch)
        return out


class ShuffleV2Unit(nn.Module):
    """Half of the channels pass by; the others go through 1×1, depthwise k×k (linear), 1×1; then a shuffle of two.

    With a stride all channels go through the branch, and through a depthwise k×k (linear) and 1×1 beside it. That
    ``shortcut`` brings ``half`` of the channels (torchvision), or as many as the ``input`` has (the authors) if that is
    not all of them.
    ``shuffle``: ``behind`` the unit (torchvision), or ``before`` the split (the authors), so that every other channel
    passes by. CReLU stands behind the first 1×1 only.
    """

    def __init__(self, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> None:
        super().__init__()
        where, width, stride = f"stage '{stage.name}'", stage.out_channels, stage.stride
        self.before, self.behind = _shuffles(stage, inputs.channels)
        act, inner, halves = _activations(stage)
        passing = _passing(stage, inputs.channels)
        kernel, mid = stage.setting("kernel", 3), round_channels(width / 2, halves, halves)
        taken = FeatureMap(inputs.channels if stride > 1 else inputs.channels // 2, inputs.height, inputs.width)
        wide = FeatureMap(mid, inputs.height, inputs.width)
        self.shortcut = _separable(taken, passing, kernel, act, stage, spec) if stride > 1 else None
        self.branch = nn.Sequential()
        self.branch.add_module("reduce", conv_norm(taken, mid // halves, spec, where=where, kernel=1, act=inner))
        for name, layer in _separable(wide, width - passing, kernel, act, stage, spec).named_children():
            self.branch.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)``."""
        if self.shortcut is None:
            beside, x = self.before(x).chunk(2, dim=1)
        else:
            beside = self.shortcut(x)
        out: Tensor = self.behind(torch.cat((beside, self.branch(x)), dim=1))
        return out


def _separable(
    inputs: FeatureMap, width: int, kernel: int, act: str, stage: StageSpec, spec: ArchSpec
) -> nn.Sequential:
    """Return a linear depthwise convolution with the stage's stride, and a 1×1 convolution with activation."""
    where, stride, channels = f"stage '{stage.name}'", stage.stride, inputs.channels
    layers = nn.Sequential()
    layers.add_module(
        "depthwise",
        conv_norm(inputs, channels, spec, where=where, kernel=kernel, stride=stride, groups=channels, act="none"),
    )
    narrowed = inputs.strided(channels, stride)
    layers.add_module("pointwise", conv_norm(narrowed, width, spec, where=where, kernel=1, act=act))
    return layers


def _activations(stage: StageSpec) -> tuple[str, str, int]:
    """Return the last activation, the one behind the first 1×1, and how many channels that makes of a filter."""
    act = stage.setting("activation", "relu")
    return ("relu", act, 2) if act == "crelu" else (act, act, 1)


def _groups(stage: StageSpec) -> int:
    groups = stage.setting("groups", 3)
    if groups < 1:
        raise SpecError(f"stage '{stage.name}': groups is {groups}; allowed are 1, 2, 3 …")
    return groups


def _bottleneck(stage: StageSpec) -> float:
    ratio = stage.setting("bottleneck", 0.25)
    if not 0 < ratio <= 4:
        raise SpecError(
            f"stage '{stage.name}': bottleneck is {ratio!r}; allowed are ratios above 0 up to 4, e.g. 0.25."
        )
    return ratio


def _shuffles(stage: StageSpec, channels: int) -> tuple[nn.Module, nn.Module]:
    """Return what shuffles before the split, and what shuffles the output."""
    chosen = stage.setting("shuffle", "behind")
    if chosen not in ("before", "behind"):
        raise SpecError(f"stage '{stage.name}': shuffle is '{chosen}'; allowed are before and behind.")
    if (stage.stride == 1 and channels % 2) or stage.out_channels % 2:
        odd = stage.out_channels if stage.out_channels % 2 else channels
        raise SpecError(f"stage '{stage.name}': {odd} channels can't be split in halves. Use an even number.")
    before = nn.Identity() if chosen == "behind" or stage.stride > 1 else ChannelShuffle(columns=2)
    return before, ChannelShuffle(2) if chosen == "behind" else nn.Identity()


def _passing(stage: StageSpec, channels: int) -> int:
    """Return how many channels of the output don't come from the branch."""
    half = stage.out_channels // 2
    shares = {"half": half, "input": channels if channels < stage.out_channels else half}
    chosen = stage.setting("shortcut", "half")
    if chosen not in shares:
        raise SpecError(f"stage '{stage.name}': shortcut is '{chosen}'; allowed are {' and '.join(shares)}.")
    passing = shares[chosen] if stage.stride > 1 else channels // 2
    if passing >= stage.out_channels:
        raise SpecError(
            f"stage '{stage.name}': {stage.out_channels} channels, but half of its input's {channels} pass by. Use "
            f"more than {passing}, or a narrower stage before it."
        )
    return passing


MEMBERS = {
    "shuffle_v1_unit": StageBuilder(
        ShuffleV1Unit,
        {"activation": "relu", "bottleneck": 0.25, "groups": 3, "grouped_input": True, "kernel": 3},
        multiple=_groups,
    ),
    "shuffle_v2_unit": StageBuilder(
        ShuffleV2Unit,
        {"activation": "relu", "kernel": 3, "shortcut": "half", "shuffle": "behind"},
        multiple=lambda stage: 2,
    ),
}
