"""Tables of frequencies: how likely each quantized value is in its context.

A table is symmetric about zero and smooth, so it is written as its frequencies at a few magnitudes (``KNOTS``), with
straight lines between them. Symbols: 0 is the value 0, 2k-1 is +k, 2k is -k; the last symbol stands for all larger
values (an escape), and its frequency is what the others leave of ``TOTAL``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from flyweight.errors import FileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOTAL_BITS = 14
TOTAL = 1 << TOTAL_BITS
KNOTS = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    10,
    12,
    14,
    16,
    20,
    24,
    28,
    32,
    40,
    48,
    56,
    64,
    80,
    96,
    112,
    128,
    160,
    192,
    224,
    255,
)
MAX_TABLES = 250
Knots = tuple[int, ...]  # frequencies at KNOTS[0], KNOTS[1], ...; as many as the table has


@dataclass(frozen=True)
class Tables:
    """All tables of a file, each as its frequencies at the knots."""

    knots: tuple[Knots, ...]

    def __post_init__(self) -> None:
        for index, table in enumerate(self.knots):
            if not 1 <= len(table) <= len(KNOTS) or not all(1 <= f < TOTAL for f in table):
                raise FileError(f"table {index}: {len(table)} frequencies {table[:4]}…; wanted: 1 to {len(KNOTS)} of "
                                f"1 to {TOTAL - 1}. The file is damaged: copy it again.")  # fmt: skip
            if (spent := sum_of(interpolated(table))) >= TOTAL:
                raise FileError(f"table {index}: its frequencies sum to {spent}, but must stay below {TOTAL}. "
                                "The file is damaged: copy it again.")  # fmt: skip

    @cached_property
    def limits(self) -> NDArray[np.int32]:
        """The largest magnitude ``(T,)`` that each table holds."""
        return np.array([KNOTS[len(table) - 1] for table in self.knots], np.int32)

    @cached_property
    def width(self) -> int:
        """Symbols of the longest table, its escape included."""
        return int(2 * self.limits.max() + 2)

    @cached_property
    def freq(self) -> NDArray[np.uint32]:
        """Frequency of every symbol ``(T, width)``; 0 where the table has no such symbol."""
        out = np.zeros((len(self.knots), self.width), np.uint32)
        for row, table in zip(out, self.knots, strict=True):
            f = interpolated(table)
            row[0], row[1 : 2 * len(f) - 1 : 2], row[2 : 2 * len(f) : 2] = f[0], f[1:], f[1:]
            row[2 * len(f) - 1] = TOTAL - sum_of(f)
        return out

    @cached_property
    def start(self) -> NDArray[np.uint32]:
        """Sum of the frequencies before each symbol ``(T, width)``."""
        return (np.cumsum(self.freq, axis=1) - self.freq).astype(np.uint32)

    @cached_property
    def lookup(self) -> NDArray[np.int16]:
        """The symbol of every slot ``(T * TOTAL,)``."""
        symbols = np.arange(self.width, dtype=np.int16)
        return np.concatenate([np.repeat(symbols, row) for row in self.freq])

    @cached_property
    def flat_freq(self) -> NDArray[np.uint32]:
        """``freq`` as one row ``(T * width,)``."""
        return self.freq.reshape(-1)

    @cached_property
    def flat_start(self) -> NDArray[np.uint32]:
        """``start`` as one row ``(T * width,)``."""
        return self.start.reshape(-1)

    @cached_property
    def bits(self) -> NDArray[np.float32]:
        """Code length of every magnitude ``(T, 256 + 1)``, sign and escape with its 32 bits included."""
        out = np.empty((len(self.knots), KNOTS[-1] + 2), np.float32)
        for row, freq, limit in zip(out, self.freq, self.limits, strict=True):
            f = freq.astype(np.float64)
            row[0], row[1 : limit + 1] = f[0], f[1 : 2 * limit : 2]
            row[limit + 1 :] = f[2 * limit + 1]
            row[:] = TOTAL_BITS - np.log2(row)
            row[limit + 1 :] += 32
        return out


def interpolated(table: Sequence[int]) -> NDArray[np.int64]:
    """Return the frequency of every magnitude from 0 to the table's last knot, in whole numbers."""
    parts = [np.array([table[0]], np.int64)]
    for index in range(1, len(table)):
        gap = KNOTS[index] - KNOTS[index - 1]
        ahead = np.arange(1, gap + 1)
        parts.append((table[index - 1] * (gap - ahead) + table[index] * ahead) // gap)
    return np.concatenate(parts)


def sum_of(frequencies: NDArray[np.int64]) -> int:
    """Return the sum over all values: every magnitude but 0 stands for two."""
    return int(2 * frequencies.sum() - frequencies[0])


def fitted(counts: NDArray[np.float64]) -> Knots:
    """Return the table for counts of magnitudes ``(m,)``, not all zero; magnitudes above the last knot escape.

    Counts between two knots are pooled with those around, so that rare magnitudes get a smooth tail.
    """
    reach = int(np.flatnonzero(counts[: KNOTS[-1] + 1]).max(initial=0))
    used = next(i for i, knot in enumerate(KNOTS) if knot >= reach) + 1
    edges = np.array(KNOTS[:used])
    share = np.zeros(KNOTS[-1] + 1)
    share[: len(counts)] = counts[: len(share)]
    share[1:] /= 2  # per sign
    density = np.empty(used)
    for i, knot in enumerate(edges):  # the mean over the knot's cell, half way to its neighbours
        low = (edges[i - 1] + knot + 1) // 2 if i else 0
        high = (knot + edges[i + 1]) // 2 if i + 1 < used else knot
        density[i] = share[low : max(high, low) + 1].mean()
    density = np.maximum(density, 0.02)
    return _scaled(density)


def _scaled(density: NDArray[np.float64]) -> Knots:
    """Return densities at the knots as frequencies whose table sums to less than TOTAL, and nearly to it."""
    edges = KNOTS[: len(density)]
    weights = np.interp(np.arange(edges[-1] + 1), edges, density)
    whole = 2 * weights.sum() - weights[0]
    room = float(TOTAL - 2)
    for _ in range(40):
        table = [max(1, int(d * room / whole)) for d in density]
        left = TOTAL - 2 - sum_of(interpolated(table))
        if left >= 0:
            table[0] += left if table[0] + left < TOTAL else 0
            return tuple(table)
        room += left - 1
    raise AssertionError("a table of 256 magnitudes at frequency 1 fits")
