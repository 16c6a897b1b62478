"""What the transforms that edit an architecture's spec have in common: build the new network, inherit what
weights it can.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from flyweight.build import build
from flyweight.contracts import Candidate, Change, Env
from flyweight.errors import SpecError, TransformError
from flyweight.spec import ArchSpec

_UNLIKE_SPEC = ("fold_bn", "remove_dead")  # behind these the weights are no longer those that the spec builds
CHANNEL_DIMS = 2  # of a weight: output and input channels stand before the kernel


@dataclass(frozen=True)
class SpecEdit(abc.ABC):
    """An edit of the spec. Subclasses say what changes in ``edit``; the rest is the same for all."""

    name: ClassVar[str]
    exact: ClassVar[bool] = False
    tolerance: ClassVar[float] = 0.0

    @abc.abstractmethod
    def edit(self, spec: ArchSpec) -> ArchSpec:
        """Return the edited spec.

        Raises:
            TransformError, SpecError: the spec does not allow it; names the stage.
        """

    @abc.abstractmethod
    def layers(self, spec: ArchSpec) -> tuple[str, ...]:
        """Return the names of the stages that are touched."""

    def described(self, spec: ArchSpec) -> str:
        """Return what a report says of the network before the edit, and behind it."""
        return summary(spec)

    def requires(self, candidate: Candidate) -> None:
        """Raise TransformError where the candidate has no spec, is quantized already, or the edit is not allowed
        or empty.
        """
        if candidate.spec is None:
            raise TransformError(
                f"transform '{self.name}' edits an architecture's spec, but this module has none. "
                "Start from a zoo name or a spec file."
            )
        if candidate.quantization or any(change.transform in _UNLIKE_SPEC for change in candidate.history):
            raise TransformError(
                f"transform '{self.name}': edit the architecture before folding it, taking channels out of it and "
                "quantizing it."
            )
        try:
            edited = self.edit(candidate.spec)
        except SpecError as error:
            raise TransformError(f"transform '{self.name}': {error}") from error
        if edited == candidate.spec:
            raise TransformError(
                f"transform '{self.name}': nothing would change: {self._settings()} is what the spec has."
            )

    def apply(self, candidate: Candidate, env: Env) -> Candidate:
        """Return the edited network with inherited weights; the candidate given is not touched."""
        self.requires(candidate)
        assert candidate.spec is not None  # requires() has checked it
        spec = self.edit(candidate.spec)
        module = build(spec, env.seed)
        share = inherit(module, candidate.module)
        change = Change(
            transform=self.name,
            settings={**self._settings(), "inherited": share},
            layers=self.layers(candidate.spec),
            before=self.described(candidate.spec),
            after=self.described(spec),
        )
        size = replace(candidate.preprocessing, height=spec.input.height, width=spec.input.width)
        return candidate.having(change, module=module, spec=spec, preprocessing=size)

    def _settings(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def inherit(new: nn.Module, old: nn.Module) -> float:
    """Copy weights and statistics from ``old`` to ``new`` by name; return the share of ``new``'s parameters that
    came over.

    Where shapes differ, the region that both have is copied: channel i stays channel i, so a narrowed run of layers
    keeps the same channels on both sides of every tensor. Of a kernel it is the middle; a larger one has zeros around
    it, so that it computes the same. Tensors of another rank, and names that ``old`` lacks, stay fresh.
    """
    source: Mapping[str, Tensor] = old.state_dict()
    own = {name for name, _ in new.named_parameters()}
    copied = total = 0
    with torch.no_grad():
        for name, target in new.state_dict().items():
            count = _copy_overlap(target, source.get(name))
            if name in own:
                copied, total = copied + count, total + target.numel()
    return copied / max(total, 1)


def _copy_overlap(target: Tensor, source: Tensor | None) -> int:
    if source is None or source.dim() != target.dim():
        return 0
    both = [min(a, b) for a, b in zip(target.shape, source.shape, strict=True)]
    if target.shape[CHANNEL_DIMS:] != source.shape[CHANNEL_DIMS:]:
        target[tuple(slice(0, count) for count in both[:CHANNEL_DIMS])] = 0
    target[_middle(target, both)] = source[_middle(source, both)]
    return math.prod(both)


def _middle(tensor: Tensor, counts: Sequence[int]) -> tuple[slice, ...]:
    """Return the region with the first channels, and the middle along the dimensions behind them."""
    starts = [
        (size - count) // 2 if dim >= CHANNEL_DIMS else 0
        for dim, (size, count) in enumerate(zip(tensor.shape, counts, strict=True))
    ]
    return tuple(slice(start, start + count) for start, count in zip(starts, counts, strict=True))


def summary(spec: ArchSpec) -> str:
    """Return one line that tells two specs apart: input, stages with widths, head."""
    runs: list[tuple[str, int]] = []
    for stage in spec.stages:
        crelu = "c" if stage.setting("activation", "") == "crelu" else ""
        word = f"{stage.out_channels}{crelu}" + (f"/{stage.stride}" if stage.stride > 1 else "")
        runs = [*runs[:-1], (word, runs[-1][1] + 1)] if runs and runs[-1][0] == word else [*runs, (word, 1)]
    chain = " ".join(word if count == 1 else f"{word}x{count}" for word, count in runs)
    head = ",".join(map(str, spec.head.widths))
    skips = f", {len(spec.head.skips)} skips ({spec.head.skip_join})" if spec.head.skips else ""
    return f"{spec.input.width}x{spec.input.height}: {chain}" + (f" | {spec.head.kind} {head}{skips}" if head else "")
