"""Parallel branches of convolutions and pooling, concatenated: the Inception blocks of every version.

A branch is written as text, step by step: ``"1x1:96 3x3:128"`` is a 1×1 convolution to 96 channels and a 3×3 one to
128; ``max3`` and ``avg3`` pool 3×3; ``"1x1:384 1x3:384|3x1:384"`` ends in two convolutions side by side. Every
convolution has a norm and an activation. Every branch's last step takes the stage's stride, and is not padded where
``valid``.

The widths in the text are parts of the stage's width: if that is what they add up to they are channels, else they are
scaled to it, so that a stage may be made narrower or wider by its width alone. A branch that only pools passes on its
input's channels.

Source: Szegedy et al. 2014 (arXiv 1409.4842), figure 2b; Szegedy et al. 2015 (arXiv 1512.00567), figures 4 to 7 and 10.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from flyweight.blocks._layers import AS_SPEC, FeatureMap, StageBuilder, conv_norm, strided
from flyweight.blocks._pool import pool
from flyweight.errors import SpecError
from flyweight.spec import ArchSpec, StageSpec, Value

_CONV = re.compile(r"([1-9]\d?)x([1-9]\d?):([1-9]\d{0,4})")
_POOL = re.compile(r"(max|avg)([1-9])")


@dataclass(frozen=True)
class Step:
    """A convolution, or (``width`` 0) a pooling that keeps its input's channels."""

    kind: str
    kernel: tuple[int, int]
    width: int = 0


@dataclass(frozen=True)
class Branch:
    """Steps in a row, then one or more side by side."""

    trunk: tuple[Step, ...]
    ends: tuple[Step, ...]

    @property
    def passes_on(self) -> bool:
        """Whether its output is as wide as its input, because it only pools."""
        return not any(step.width for step in (*self.trunk, *self.ends))


class Fork(nn.Module):
    """Modules that read the same map, their outputs concatenated."""

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        for index, branch in enumerate(branches):
            self.add_module(f"branch{index}", branch)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, C, h, w)`` to ``(n, sum of the branches' channels, ⌈h/stride⌉, ⌈w/stride⌉)``, less if valid."""
        return torch.cat([branch(x) for branch in self.children()], dim=1)


def inception(stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> nn.Module:
    """Return the branches, scaled to the stage's width."""
    shape(stage, inputs, spec)
    branches = fitted(stage, read(stage), inputs.channels)
    return Fork([_sequence(branch, stage, inputs, spec) for branch in branches])


def shape(stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> FeatureMap:
    """Return the shape of the output.

    Raises:
        SpecError: the unpadded windows don't fit, or don't agree on a size; names the stage.
    """
    if not stage.setting("valid", False):
        return strided(stage, inputs, spec)
    where = f"stage '{stage.name}'"
    kernels = {end.kernel for branch in read(stage) for end in branch.ends}
    if len(kernels) > 1:
        raise SpecError(
            f"{where}: its branches end in windows of {' and '.join(f'{h}x{w}' for h, w in sorted(kernels))}, which "
            "give different sizes without padding. Let all end in the same one, or set valid to false."
        )
    return inputs.windowed(stage.out_channels, kernels.pop(), stage.stride, 0, where=where)


def read(stage: StageSpec) -> tuple[Branch, ...]:
    """Return the stage's branches as they are written.

    Raises:
        SpecError: there is none, or a step is written otherwise; names the stage.
    """
    where = f"stage '{stage.name}'"
    given: tuple[Value, ...] = stage.setting("branches", ())
    texts = [text for text in given if isinstance(text, str) and text.split()]
    if not texts or len(texts) < len(given):
        raise SpecError(f"{where}: branches is {given!r}; it needs a text per branch, e.g. ['1x1:64', 'max3 1x1:32'].")
    branches = []
    for text in texts:
        *trunk, end = text.split()
        branch = Branch(
            tuple(_step(word, where) for word in trunk), tuple(_step(word, where) for word in end.split("|"))
        )
        if not all(step.width for step in branch.ends) and not (branch.passes_on and len(branch.ends) == 1):
            raise SpecError(
                f"{where}: branch '{text}' ends in a pooling behind or beside a convolution. Pool first, or only pool."
            )
        branches.append(branch)
    return tuple(branches)


def _step(word: str, where: str) -> Step:
    if match := _CONV.fullmatch(word):
        return Step("conv", (int(match[1]), int(match[2])), int(match[3]))
    if match := _POOL.fullmatch(word):
        return Step(match[1], (int(match[2]), int(match[2])))
    raise SpecError(
        f"{where}: '{word}' is no step of a branch. Write a convolution as '3x3:64' (kernel and channels), a pooling "
        "as 'max3' or 'avg3', steps side by side at a branch's end as '1x3:64|3x1:64'."
    )


def fitted(stage: StageSpec, branches: Sequence[Branch], passed: int) -> tuple[Branch, ...]:
    """Return the branches with channels in place of parts; they end in the stage's width together.

    Args:
        passed: channels that each branch passes on which only pools.

    Raises:
        SpecError: the width is too small for them; names the stage.
    """
    total = sum(end.width for branch in branches if not branch.passes_on for end in branch.ends)
    unit = 2 if stage.setting("activation", "relu") == "crelu" else 1  # CReLU makes two channels of a filter
    width = stage.out_channels - passed * sum(branch.passes_on for branch in branches)
    ends = sum(len(branch.ends) for branch in branches if not branch.passes_on)
    where = f"stage '{stage.name}'"
    if not ends and width:
        raise SpecError(
            f"{where}: its branches only pool, so its {stage.out_channels} channels must be "
            f"{stage.out_channels - width}. Set that, or add a branch with a convolution."
        )
    if width < ends * unit or width % unit:
        raise SpecError(
            f"{where}: {width} of its {stage.out_channels} channels are left for the {ends} convolutions that end its "
            f"branches. They need at least {ends * unit}"
            + (", and an even number with CReLU." if unit == 2 else ". Make it wider, or its input narrower.")
        )
    ends_of = iter(_shares([end.width for branch in branches for end in branch.ends if end.width], width // unit))
    return tuple(
        Branch(
            tuple(
                replace(step, width=max(_rounded(step.width * width, total), 1)) if step.width else step
                for step in branch.trunk
            ),
            tuple(replace(end, width=unit * next(ends_of)) if end.width else end for end in branch.ends),
        )
        for branch in branches
    )


def _shares(parts: Sequence[int], width: int) -> list[int]:
    """Return ``width`` dealt out by ``parts``: exactly, and at least 1 to each."""
    total = sum(parts)
    marks = [_rounded(sum(parts[:index]) * width, total) for index in range(len(parts) + 1)]
    shares = [end - start for start, end in itertools.pairwise(marks)]
    while 0 in shares:
        shares[shares.index(max(shares))] -= 1
        shares[shares.index(0)] += 1
    return shares


def _rounded(dividend: int, divisor: int) -> int:
    return (2 * dividend + divisor) // (2 * divisor) if divisor else 0


def _sequence(branch: Branch, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec) -> nn.Module:
    layers: list[nn.Module] = []
    for step in branch.trunk:
        layers.append(_layer(step, stage, inputs, spec))
        inputs = FeatureMap(step.width or inputs.channels, inputs.height, inputs.width)
    ends = [_layer(end, stage, inputs, spec, last=True) for end in branch.ends]
    return nn.Sequential(*layers, ends[0] if len(ends) == 1 else Fork(ends))


def _layer(step: Step, stage: StageSpec, inputs: FeatureMap, spec: ArchSpec, last: bool = False) -> nn.Module:
    where, act = f"stage '{stage.name}'", stage.setting("activation", "relu")
    stride = stage.stride if last else 1
    padding = 0 if last and stage.setting("valid", False) else AS_SPEC
    if not step.width:
        return pool(step.kind, inputs, spec, where=where, kernel=step.kernel[0], stride=stride, padding=padding)
    doubled = act == "crelu" and last
    return conv_norm(
        inputs,
        step.width // 2 if doubled else step.width,
        spec,
        where=where,
        kernel=step.kernel,
        stride=stride,
        act="relu" if act == "crelu" and not last else act,
        padding=padding,
    )


MEMBERS = {
    "inception": StageBuilder(inception, {"activation": "relu", "branches": (), "valid": False}, shape=shape),
}
