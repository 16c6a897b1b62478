"""Interleaved range ANS over static tables, vectorised over lanes.

A stream of ``n`` symbols is dealt to ``K`` lanes: symbol ``t`` belongs to lane ``t % K``. Every lane has a 32-bit
state; all lanes share one sequence of 16-bit words. Each step takes one symbol from every lane, then the lanes whose
state fell below 2**16 take one word each, in the order of the lanes. The last step is filled up with symbols that are
dropped.
Source: Duda 2013 (arXiv 1311.2540); Giesen 2014 (arXiv 1402.3392), interleaving.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight.codec._tables import TOTAL, TOTAL_BITS, Tables
from flyweight.errors import FileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LANE_SYMBOLS = 2048  # symbols a lane aims at: its start costs 2 bytes, a step of all lanes about as much as of one
MAX_LANES = 4096
LOW = 1 << 16  # a state lies in [LOW, 2**32)
Ints = "NDArray[np.int32]"


@dataclass(frozen=True)
class Stream:
    """A coded sequence of symbols.

    Attributes:
        n: symbols.
        states: the lanes' states at the start ``(K,)``, uint32.
        words: what the lanes take, uint16.
        tables: the table of every symbol ``(n,)``, uint8.
    """

    n: int
    states: NDArray[np.uint32]
    words: NDArray[np.uint16]
    tables: NDArray[np.uint8]


def lanes_for(n: int) -> int:
    """Return the number of lanes for ``n`` symbols."""
    return max(1, min(n // LANE_SYMBOLS, MAX_LANES))


def steps_of(n: int, lanes: int) -> int:
    """Return how many steps ``lanes`` lanes need for ``n`` symbols."""
    return -(-n // lanes)


def encode(symbols: NDArray[np.int32], which: NDArray[np.uint8], tables: Tables) -> Stream:
    """Code ``symbols`` ``(n,)``, each an index into the table that ``which`` ``(n,)`` names."""
    n, lanes = len(symbols), lanes_for(len(symbols))
    steps = steps_of(n, lanes)
    freq, start = (_dealt(part[which, symbols], lanes, steps) for part in (tables.freq, tables.start))
    state = np.full(lanes, LOW, np.uint32)
    words: list[NDArray[np.uint16]] = []
    for step in reversed(range(steps)):
        f, first = freq[step], start[step]
        full = (state >> np.uint32(32 - TOTAL_BITS)) >= f
        words.append(state[full].astype(np.uint16))  # the low 16 bits
        state = np.where(full, state >> np.uint32(16), state)
        high, low = np.divmod(state, f)
        state = (high << np.uint32(TOTAL_BITS)) + low + first
    flat = np.concatenate(words[::-1]) if words else np.zeros(0, np.uint16)
    return Stream(n, state, flat, which)


def _dealt(values: NDArray[Any], lanes: int, steps: int) -> NDArray[np.uint32]:
    """Return ``(steps, lanes)``; what fills the last step is symbol 0 of table 0, whatever it costs."""
    out = np.full(steps * lanes, values[-1] if len(values) else 1, np.uint32)
    out[: len(values)] = values
    return out.reshape(steps, lanes)


def decode(streams: Sequence[Stream], tables: Tables) -> list[NDArray[np.int32]]:
    """Return the symbols of every stream; all are decoded side by side, which is what makes it fast.

    Raises:
        FileError: a stream has too few or too many words, or does not end where a coded one ends.
    """
    order = sorted(
        (i for i, s in enumerate(streams) if s.n), key=lambda i: -steps_of(streams[i].n, len(streams[i].states))
    )
    out = [np.zeros(0, np.int32) for _ in streams]
    if order:
        for index, symbols in zip(order, _decode([streams[i] for i in order], tables), strict=True):
            out[index] = symbols
    return out


def _decode(streams: Sequence[Stream], tables: Tables) -> list[NDArray[np.int32]]:
    """Decode streams, the longest lanes first, so that the lanes still at work are the first ones."""
    widths = np.array([len(s.states) for s in streams])
    lengths = np.array([steps_of(s.n, len(s.states)) for s in streams])
    ends = np.cumsum(widths)
    steps, lanes = int(lengths[0]), int(ends[-1])
    which = np.zeros((steps, lanes), np.uint8)
    for s, end, width, length in zip(streams, ends, widths, lengths, strict=True):
        block = np.full(length * width, s.tables[-1], np.uint8)
        block[: s.n] = s.tables
        which[:length, end - width : end] = block.reshape(length, width)
    found = np.empty((steps, lanes), np.int16)
    state = np.concatenate([s.states for s in streams])
    words, limits = _joined(streams)
    place = np.concatenate([[0], limits[:-1]]).astype(np.int64)  # the next word of each stream
    firsts = ends - widths
    mask, lut, freq, start = np.uint32(TOTAL - 1), tables.lookup, tables.flat_freq, tables.flat_start
    width_of = tables.width
    for step in range(steps):
        alive = int(np.searchsorted(-lengths, -step, side="left"))  # streams that still have symbols
        active = int(ends[alive - 1])
        x, table = state[:active], which[step, :active].astype(np.int32)
        slot = x & mask
        symbol = lut[(table << TOTAL_BITS) + slot.astype(np.int32)]
        found[step, :active] = symbol
        entry = table * width_of + symbol
        x = freq[entry] * (x >> np.uint32(TOTAL_BITS)) + slot - start[entry]
        hungry = x < LOW
        rank = np.cumsum(hungry)
        taken = np.add.reduceat(hungry, firsts[:alive], dtype=np.int64)
        before = np.cumsum(taken) - taken
        source = np.repeat(place[:alive] - before - 1, widths[:alive]) + rank
        place[:alive] += taken
        if (place[:alive] > limits[:alive]).any():
            raise FileError("a tensor's stream is too short. The file is damaged: copy it again.")
        chosen = np.flatnonzero(hungry)
        x[chosen] = (x[chosen] << np.uint32(16)) | words[source[chosen]]
        state[:active] = x
    if (place != limits).any() or (state != LOW).any():
        raise FileError("a tensor's stream does not end as a coded one does. The file is damaged: copy it again.")
    return [
        found[:length, end - width : end].reshape(-1)[: s.n].astype(np.int32)
        for s, end, width, length in zip(streams, ends, widths, lengths, strict=True)
    ]


def _joined(streams: Sequence[Stream]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    words = np.concatenate([s.words for s in streams] + [np.zeros(1, np.uint16)]).astype(np.uint32)
    return words, np.cumsum([len(s.words) for s in streams]).astype(np.int64)
