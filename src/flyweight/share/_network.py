"""The weights of a network, shared layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from flyweight.codec import Shared
from flyweight.errors import UsageError
from flyweight.share._kmeans import Start, kmeans
from flyweight.sparse import layer_kinds

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONV_BITS, FC_BITS = 8, 5  # Han et al. 2016, section 5


@dataclass(frozen=True)
class Sharing:
    """A layer's shared weights.

    Attributes:
        codes: of the weight's shape, uint8; 0: zero, c: ``book[c - 1]``.
        book: the shared values ``(k,)``, rising, none of them 0.
        bits: of a code; at most ``2**bits - 1`` values.
        error: summed squares of what sharing changed.
    """

    codes: NDArray[np.uint8]
    book: NDArray[np.float32]
    bits: int
    error: float


def default_bits(module: nn.Module, conv: int = CONV_BITS, fc: int = FC_BITS) -> dict[str, int]:
    """Return the bits of every weight: ``conv`` of convolutions, ``fc`` of fully connected layers."""
    return {name: conv if kind == "conv" else fc for name, kind in layer_kinds(module).items()}


def share(
    module: nn.Module, bits: Mapping[str, int] | None = None, start: Start = "linear", seed: int = 0
) -> dict[str, Sharing]:
    """Return every layer's weights shared by k-means; zeros are kept, and have no part in it. Nothing is changed.

    Args:
        bits: by the weight's name, 1 to 8; None: ``default_bits``. Layers that are not named are left out.

    Raises:
        UsageError: bits outside 1 to 8, no such weight, or weights that are not finite.
    """
    own = dict(module.named_parameters())
    found = {}
    for name, width in (default_bits(module) if bits is None else bits).items():
        if name not in own or not 1 <= width <= 8:
            raise UsageError(
                f"{width} bits for '{name}'. Wanted: 1 to 8, for one of: {', '.join(layer_kinds(module))}."
            )
        found[name] = shared_values(own[name].detach().numpy(), width, start, seed)
    return found


def shared_values(weight: NDArray[np.float32], bits: int, start: Start = "linear", seed: int = 0) -> Sharing:
    """Return one tensor shared."""
    flat = weight.reshape(-1)
    places = np.flatnonzero(flat)
    codes = np.zeros(len(flat), np.uint8)
    if not len(places):
        return Sharing(codes.reshape(weight.shape), np.zeros(0, np.float32), bits, 0.0)
    book, which = kmeans(flat[places], (1 << bits) - 1, start, seed)
    codes[places] = which + 1
    error = float(np.square(book[which].astype(np.float64) - flat[places]).sum())
    return Sharing(codes.reshape(weight.shape), book, bits, error)


def to_codec(sharing: Sharing, index_bits: int, book: NDArray[np.float32] | None = None) -> Shared:
    """Return what the file holds; ``book``: the centroids after training."""
    return Shared(sharing.codes, sharing.book if book is None else book, sharing.bits, index_bits)
