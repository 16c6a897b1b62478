"""Bits by layer under a budget of bytes: where a byte takes away most error, it is spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from flyweight.codec import Shared, write_shared
from flyweight.errors import UsageError
from flyweight.share._kmeans import Start
from flyweight.share._network import shared_values
from flyweight.sparse import layer_kinds


@dataclass(frozen=True)
class LayerBits:
    """A layer's choices: coded bytes and weighted error by bits, 1 to 8."""

    layer: str
    bytes: Mapping[int, int]
    error: Mapping[int, float]


def bits_within(
    module: nn.Module,
    max_bytes: int,
    weight_of: Mapping[str, float] | None = None,
    start: Start = "linear",
    index_bits: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Return the bits of each layer whose coded weights take at most ``max_bytes``, with the least error.

    From one bit everywhere, the layer is given more whose error falls most by a byte, until no more fit (Shoham and
    Gersho 1988: greedy on the lower convex hull).

    Args:
        weight_of: what a squared error counts in each layer, e.g. its loss's curvature; None: as a share of the layer's
            own squares.
        index_bits: of each layer's relative indices; None: 8 and 5, as the paper.

    Raises:
        UsageError: with one bit everywhere they take more.
    """
    choices = [_choices(name, kind, module, weight_of, start, index_bits) for name, kind in layer_kinds(module).items()]
    bits = {c.layer: 1 for c in choices}
    spent = sum(c.bytes[1] for c in choices)
    if spent > max_bytes:
        raise UsageError(
            f"with one bit a weight the layers take {spent:,} bytes, but at most {max_bytes:,} are allowed."
        )
    while steps := [s for c in choices for s in [_step(c, bits[c.layer], max_bytes - spent)] if s is not None]:
        _, layer, to, more = max(steps)
        bits[layer], spent = to, spent + more
    return bits


def _choices(
    name: str, kind: str, module: nn.Module, weight_of: Mapping[str, float] | None, start: Start,
    index_bits: Mapping[str, int] | None,
) -> LayerBits:  # fmt: skip
    weight = dict(module.named_parameters())[name].detach().numpy()
    scale = weight_of[name] if weight_of else 1 / max(float(np.square(weight, dtype=np.float64).sum()), 1e-30)
    gap = index_bits[name] if index_bits else 8 if kind == "conv" else 5
    made = {b: shared_values(weight, b, start) for b in range(1, 9)}
    sizes = {b: len(write_shared(name, Shared(s.codes, s.book, b, gap))) for b, s in made.items()}
    return LayerBits(name, sizes, {b: s.error * scale for b, s in made.items()})


def _step(layer: LayerBits, now: int, left: int) -> tuple[float, str, int, int] | None:
    """Return the best of a layer's next steps that fit: error less by a byte, its name, bits, and bytes more."""
    found = []
    for to in range(now + 1, 9):
        more, less = layer.bytes[to] - layer.bytes[now], layer.error[now] - layer.error[to]
        if more <= left and less > 0:
            found.append((less / max(more, 0.1), layer.layer, to, more))
    return max(found) if found else None
