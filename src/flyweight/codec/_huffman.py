"""Canonical Huffman codes in blocks of symbols, many blocks decoded side by side.

Sources: Huffman 1952; code lengths of at most ``MAX_LENGTH`` bits by package-merge (Larmore and Hirschberg 1990).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flyweight.codec._format import damaged

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_LENGTH = 12  # bits of a code: 256 symbols need 8
BLOCK = 1024  # symbols; each block says how many bits it takes, so that it can be decoded beside the others
SLOTS = 1 << MAX_LENGTH
CHUNK = 1 << 20  # symbols turned into bits at a time


@dataclass(frozen=True)
class Stream:
    """Coded symbols.

    Attributes:
        lengths: bits of every symbol's code ``(symbols,)``, uint8; 0: it does not occur. One alone has 1, and no bits.
        count: how many symbols.
        blocks: bits of every block of ``BLOCK`` symbols, uint16.
        data: the bits, the first the highest of its byte; what fills the last byte is 0.
    """

    lengths: NDArray[np.uint8]
    count: int
    blocks: NDArray[np.uint16]
    data: bytes

    @property
    def bits(self) -> int:
        """Of all symbols."""
        return int(self.blocks.sum(dtype=np.int64))


def code_lengths(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the lengths of the best code of at most ``MAX_LENGTH`` bits; ``counts``: ``(symbols,)``, at most 256."""
    lengths = np.zeros(len(counts), np.uint8)
    used = np.flatnonzero(counts)
    if len(used) < 2:
        lengths[used] = 1
        return lengths
    single: list[tuple[int, tuple[int, ...]]] = sorted((int(counts[s]), (int(s),)) for s in used)
    merged = single
    for _ in range(MAX_LENGTH - 1):
        pairs = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(merged[::2], merged[1::2], strict=False)]
        merged = sorted([*single, *pairs])
    for _, symbols in merged[: 2 * len(used) - 2]:
        np.add.at(lengths, list(symbols), 1)
    return lengths


def codes(lengths: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return every symbol's canonical code: by length, then by symbol, each one more than the last."""
    out = np.zeros(len(lengths), np.uint32)
    code, before = 0, 0
    for symbol in sorted(np.flatnonzero(lengths), key=lambda s: (lengths[s], s)):
        code <<= int(lengths[symbol]) - before
        before = int(lengths[symbol])
        out[symbol] = code
        code += 1
    return out


def encode(symbols: NDArray[np.uint8], alphabet: int) -> Stream:
    """Return symbols below ``alphabet`` (at most 256), coded by their own counts."""
    lengths = code_lengths(np.bincount(symbols, minlength=alphabet))
    taken = _bits_of(lengths)[symbols]
    starts = np.arange(0, len(symbols), BLOCK)
    blocks = np.add.reduceat(taken, starts, dtype=np.int64) if len(symbols) else np.zeros(0)
    parts = [_bits(symbols[at : at + CHUNK], taken[at : at + CHUNK], codes(lengths))
             for at in range(0, len(symbols), CHUNK)]  # fmt: skip
    data = np.packbits(np.concatenate(parts)) if parts else np.zeros(0, np.uint8)
    return Stream(lengths, len(symbols), blocks.astype(np.uint16), data.tobytes())


def _bits_of(lengths: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what a symbol takes: its length, or nothing where it is alone."""
    return lengths if np.count_nonzero(lengths) > 1 else np.zeros_like(lengths)


def _bits(symbols: NDArray[np.uint8], taken: NDArray[np.uint8], code: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return one value, 0 or 1, a bit."""
    ends = np.cumsum(taken, dtype=np.int64)
    left = np.repeat(ends, taken) - np.arange(int(ends[-1])) - 1  # bits of the same code that follow
    out: NDArray[np.uint8] = (np.repeat(code[symbols], taken) >> left.astype(np.uint32) & 1).astype(np.uint8)
    return out


def check(lengths: NDArray[np.uint8]) -> None:
    """Raise FileError where lengths are no whole code."""
    used = lengths[lengths > 0].astype(np.int64)
    whole = int((SLOTS >> used).sum()) == SLOTS if used.max(initial=0) <= MAX_LENGTH else False
    if not whole and not (len(used) == 1 and used[0] == 1):
        raise damaged("the lengths of its codes are those of no code")


def table(lengths: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Return for each of ``SLOTS`` next bits the symbol times 16, plus the bits that it takes."""
    order = np.array(sorted(np.flatnonzero(lengths), key=lambda s: (lengths[s], s)), np.int64)
    entries = order * 16 + _bits_of(lengths)[order]
    slots = SLOTS >> lengths[order].astype(np.int64) if len(order) > 1 else np.array([SLOTS])
    made: NDArray[np.uint16] = np.repeat(entries, slots).astype(np.uint16)
    return made


def decode(streams: Sequence[Stream]) -> list[NDArray[np.uint8]]:
    """Return the symbols of streams, all their blocks decoded side by side.

    Raises:
        FileError: a block does not end where it says.
    """
    lanes = _lanes(streams)
    words, tables = _words(streams), np.concatenate([table(s.lengths) for s in streams])
    out = np.zeros((BLOCK, len(lanes.at)), np.uint8)
    at = lanes.at.copy()
    for step in range(int(lanes.counts.max(initial=0))):
        n = int(np.searchsorted(-lanes.counts, -step, side="left"))  # lanes with more than ``step`` symbols
        here = at[:n]
        slots = words[here >> 3] >> (MAX_LENGTH - (here & 7)).astype(np.uint32) & (SLOTS - 1)
        found = tables[lanes.tables[:n] + slots]
        out[step, :n] = found >> 4
        here += found & 15
    if (at != lanes.ends).any():
        raise damaged("a block of codes does not end where it should")
    return _sorted_out(out, streams, lanes)


@dataclass(frozen=True)
class _Lanes:
    """Blocks of all streams, the longest first: where each begins and ends in bits, its table, and its symbols."""

    at: NDArray[np.int64]
    ends: NDArray[np.int64]
    tables: NDArray[np.int64]
    counts: NDArray[np.int64]
    place: NDArray[np.int64]  # in the streams' own order


def _lanes(streams: Sequence[Stream]) -> _Lanes:
    ends, sizes, which, counts = [], [], [], []
    first = 0
    for index, stream in enumerate(streams):
        ends.append(8 * first + np.cumsum(stream.blocks, dtype=np.int64))
        sizes.append(stream.blocks.astype(np.int64))
        which.append(np.full(len(stream.blocks), index * SLOTS))
        counts.append(np.minimum(stream.count - BLOCK * np.arange(len(stream.blocks)), BLOCK))
        first += len(stream.data)
    count, end = np.concatenate(counts), np.concatenate(ends)
    order = np.argsort(-count, kind="stable")
    return _Lanes(
        (end - np.concatenate(sizes))[order], end[order], np.concatenate(which)[order], count[order], np.argsort(order)
    )


def _words(streams: Sequence[Stream]) -> NDArray[np.uint32]:
    """Return the three bytes from each byte on, as numbers; a damaged block may read beyond the end: zeros."""
    beyond = bytes(BLOCK * MAX_LENGTH // 8 + 4)
    raw = np.frombuffer(b"".join([*(s.data for s in streams), beyond]), np.uint8).astype(np.uint32)
    words: NDArray[np.uint32] = (raw[:-2] << 16 | raw[1:-1] << 8 | raw[2:]).astype(np.uint32, copy=False)
    return words


def _sorted_out(out: NDArray[np.uint8], streams: Sequence[Stream], lanes: _Lanes) -> list[NDArray[np.uint8]]:
    found, first = [], 0
    for stream in streams:
        own = lanes.place[first : first + len(stream.blocks)]
        found.append(np.ascontiguousarray(out[:, own].T).reshape(-1)[: stream.count])
        first += len(stream.blocks)
    return found
