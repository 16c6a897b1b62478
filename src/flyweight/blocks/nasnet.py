"""A cell found by architecture search: pairs of small operations, added, the unused results concatenated.

The cell reads the two stages before it: state 0 is its predecessor, state 1 the one that ``previous`` names, both
brought to the cell's filters by activation, 1×1 convolution and norm. Each pair makes the next state: ``"sep5 0 + sep3
1"`` adds a separable 5×5 convolution of state 0 to a separable 3×3 one of state 1. ``sep5`` is activation, separable
convolution and norm, twice; ``avg3`` and ``max3`` pool; ``skip`` is the state itself. A stride applies to what reads
the states 0 and 1. ``concat`` names the states that make the output, so the filters are the stage's width over their
number.

Source: Zoph et al. 2017, NASNet (arXiv 1707.07012), section 3 and figure 4; tensorflow/models
research/slim/nets/nasnet/nasnet_utils.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from flyweight.blocks._layers import FeatureMap, StageBuilder, activation, conv_norm, norm
from flyweight.blocks._pool import pool
from flyweight.blocks._separable_conv import separable_conv
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, StageSpec, Value

_OPERATION = re.compile(r"(sep|max|avg)([1-9]) (\d\d?)|skip (\d\d?)")


@dataclass(frozen=True)
class Operation:
    """One half of a pair; ``state`` is what it reads."""

    kind: str
    kernel: int
    state: int


class Cell(nn.Module):
    """A cell of pairs."""

    def __init__(self, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec, previous: FeatureMap) -> None:
        super().__init__()
        where = f"stage '{stage.name}'"
        filters = filters_of(stage)
        self.pairs, self.concat = read(stage), concat_of(stage)
        act = _inner_activation(stage)
        self.fit0 = _squeeze(inputs, filters, act, spec, where)
        self.fit1, second = _fit(stage, previous, inputs, filters, spec)
        states = [FeatureMap(filters, inputs.height, inputs.width), second]
        out = inputs.strided(filters, stage.stride)
        for index, pair in enumerate(self.pairs):
            for side, operation in zip(("left", "right"), pair, strict=True):
                stride = stage.stride if operation.state < 2 else 1
                module = _operation(operation, states[operation.state], filters, stride, stage, spec)
                self.add_module(f"pair{index}_{side}", module)
            states.append(out)
        for state in self.concat:
            if states[state] != out:
                raise SpecError(f"{where}: state {state} can't be concatenated: {_differs(states[state], out)}")

    def forward(self, x: Tensor, previous: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` and the map before it to ``(n, out_channels, ⌈h/stride⌉, ⌈w/stride⌉)``."""
        states = [self.fit0(x), self.fit1(previous)]
        for index, (left, right) in enumerate(self.pairs):
            first = self.get_submodule(f"pair{index}_left")(states[left.state])
            states.append(first + self.get_submodule(f"pair{index}_right")(states[right.state]))
        return torch.cat([states[state] for state in self.concat], dim=1)


class FactorizedReduction(nn.Module):
    """Halve height and width: two 1×1 convolutions of stride 2, on even and on odd pixels, concatenated, norm."""

    def __init__(self, inputs: FeatureMap, filters: int, act: nn.Module, spec: ArchSpec) -> None:
        super().__init__()
        self.act = act
        self.even = nn.Conv2d(inputs.channels, filters - filters // 2, 1, 2, bias=False)
        # one row and column of zeros behind an odd size, where the last odd pixel is missing
        self.pad = nn.ZeroPad2d((0, inputs.width % 2, 0, inputs.height % 2))
        self.odd = nn.Conv2d(inputs.channels, filters // 2, 1, 2, bias=False)
        self.norm = norm(filters, spec)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, filters, ⌈h/2⌉, ⌈w/2⌉)``."""
        x = self.act(x)
        out: Tensor = self.norm(torch.cat((self.even(x), self.odd(self.pad(x)[:, :, 1:, 1:])), dim=1))
        return out


def read(stage: StageSpec) -> tuple[tuple[Operation, Operation], ...]:
    """Return the stage's pairs as they are written.

    Raises:
        SpecError: there is none, or one is written otherwise or reads a state that isn't there yet; names the stage.
    """
    where = f"stage '{stage.name}'"
    texts: tuple[Value, ...] = stage.setting("pairs", ())
    if not texts:
        raise SpecError(f"{where}: pairs is empty; a cell needs at least one, e.g. ['sep5 0 + sep3 1'].")
    pairs = []
    for index, text in enumerate(texts):
        halves = [_OPERATION.fullmatch(half) for half in str(text).split(" + ")]
        operations = [
            Operation(half[1] or "skip", int(half[2] or 0), int(half[3] or half[4] or 0)) for half in halves if half
        ]
        if len(operations) != 2 or len(halves) != 2:
            raise SpecError(f"{where}: pair '{text}' must read like 'sep5 0 + sep3 1'; also max3, avg3 and skip.")
        if max(operation.state for operation in operations) >= index + 2:
            raise SpecError(
                f"{where}: pair '{text}' reads a state that isn't there yet. Before it are 0 to {index + 1}."
            )
        pairs.append((operations[0], operations[1]))
    return tuple(pairs)


def concat_of(stage: StageSpec) -> tuple[int, ...]:
    """Return the states that are concatenated.

    Raises:
        SpecError: there is none, or one doesn't exist; names the stage.
    """
    states: tuple[Value, ...] = stage.setting("concat", ())
    most = len(stage.setting("pairs", ())) + 1
    chosen = tuple(state for state in states if type(state) is int and 0 <= state <= most)
    if not chosen or len(chosen) < len(states):
        raise SpecError(f"stage '{stage.name}': concat is {states!r}; it needs states from 0 to {most}, e.g. [2, 3].")
    return chosen


def filters_of(stage: StageSpec) -> int:
    """Return the width of every state.

    Raises:
        SpecError: the stage's width isn't a multiple of the states concatenated; names the stage.
    """
    count = len(concat_of(stage))
    if stage.out_channels % count:
        raise SpecError(
            f"stage '{stage.name}': out_channels is {stage.out_channels}, but {count} states of equal width make it. "
            f"Use a multiple of {count}."
        )
    return stage.out_channels // count


def _inner_activation(stage: StageSpec) -> str:
    act = stage.setting("activation", "relu")
    return "relu" if act == "crelu" else act  # CReLU stands only between two convolutions, where it can be paid for


def _squeeze(inputs: FeatureMap, filters: int, act: str, spec: ArchSpec, where: str) -> nn.Module:
    conv = conv_norm(inputs, filters, spec, where=where, kernel=1, act="none")
    return nn.Sequential(activation(act, where), conv)


def _fit(
    stage: StageSpec, previous: FeatureMap, inputs: FeatureMap, filters: int, spec: ArchSpec
) -> tuple[nn.Module, FeatureMap]:
    """Return what brings the map before the input to its size and to the cell's filters, and its shape behind that."""
    where, act = f"stage '{stage.name}'", _inner_activation(stage)
    same_size = (previous.height, previous.width) == (inputs.height, inputs.width)
    if not stage.setting("fit_previous", True) or (same_size and previous.channels == filters):
        return nn.Identity(), previous
    fitted = FeatureMap(filters, inputs.height, inputs.width)
    if same_size:
        return _squeeze(previous, filters, act, spec, where), fitted
    if previous.strided(filters, 2) != fitted:
        raise SpecError(
            f"{where}: '{stage.setting('previous', '')}' has {previous.height}x{previous.width} pixels, which neither "
            f"are nor halve to the {inputs.height}x{inputs.width} of its input. Choose a nearer stage."
        )
    return FactorizedReduction(previous, filters, activation(act, where), spec), fitted


def _operation(
    operation: Operation, inputs: FeatureMap, filters: int, stride: int, stage: StageSpec, spec: ArchSpec
) -> nn.Module:
    where = f"stage '{stage.name}'"
    if operation.kind == "sep":
        return _twice_separable(operation.kernel, inputs, filters, stride, stage, spec)
    if inputs.channels != filters or (operation.kind == "skip" and stride > 1):
        wanted = FeatureMap(filters, inputs.height, inputs.width).strided(filters, stride)
        raise SpecError(
            f"{where}: {operation.kind} can't read state {operation.state}: {_differs(inputs, wanted)} Use a sep there."
        )
    if operation.kind == "skip":
        return nn.Identity()
    return pool(operation.kind, inputs, spec, where=where, kernel=operation.kernel, stride=stride)


def _twice_separable(
    kernel: int, inputs: FeatureMap, filters: int, stride: int, stage: StageSpec, spec: ArchSpec
) -> nn.Module:
    where, act = f"stage '{stage.name}'", stage.setting("activation", "relu")
    first = max(1, filters // 2) if act == "crelu" else filters
    layers = nn.Sequential()
    layers.add_module("act1", activation(_inner_activation(stage), where))
    layers.add_module("separable1", separable_conv(inputs, first, spec, where=where, kernel=kernel, stride=stride))
    layers.add_module("act2", activation(act, where))
    between = inputs.strided(first * (2 if act == "crelu" else 1), stride)
    layers.add_module("separable2", separable_conv(between, filters, spec, where=where, kernel=kernel))
    return layers


def _differs(found: FeatureMap, wanted: FeatureMap) -> str:
    shapes = (f"{shape.channels} channels of {shape.height}x{shape.width}" for shape in (found, wanted))
    return "it has {}, but {} are needed.".format(*shapes)


MEMBERS = {
    "nas_cell": StageBuilder(
        Cell,
        {"activation": "relu", "concat": (), "fit_previous": True, "pairs": (), "previous": ""},
        multiple=lambda stage: len(concat_of(stage)),
        reads=("previous",),
    ),
}
