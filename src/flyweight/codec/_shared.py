"""A tensor as Deep Compression codes it: shared values, relative indices of those that are not zero, Huffman codes.

Source: Han et al. 2016 (arXiv 1510.00149), sections 2 to 4: a gap of zeros larger than an index can hold is bridged by
padding zeros (figure 2); values are indices into a layer's codebook; both are Huffman coded.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flyweight.codec import _huffman
from flyweight.codec._format import Cursor, Record, damaged, number
from flyweight.codec._huffman import BLOCK, Stream
from flyweight.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BITS = 8  # of a weight, and of an index


@dataclass(frozen=True)
class Shared:
    """A tensor whose values are few.

    Attributes:
        codes: of the tensor's shape, uint8; 0: zero, c: ``codebook[c - 1]``.
        codebook: the values, float32, at most ``2**bits - 1``; finite.
        bits: of a weight before Huffman, 1 to 8.
        index_bits: of a relative index before Huffman, 1 to 8.
    """

    codes: NDArray[np.uint8]
    codebook: NDArray[np.float32]
    bits: int
    index_bits: int

    def values(self) -> NDArray[np.float32]:
        """Return the tensor."""
        book = np.concatenate([np.zeros(1, np.float32), self.codebook.astype(np.float32)])
        found: NDArray[np.float32] = book[self.codes]
        return found


@dataclass(frozen=True)
class SharedSizes:
    """Where a shared tensor's bytes go; all counted in the file's own bytes.

    Attributes:
        values: of the tensor. left: those that are not zero. entries: those that are sent, padding zeros included.
        bits, index_bits: of each before Huffman.
        weights_bits, indices_bits: all weights and all indices after Huffman.
        codebook_bytes: the shared values, in float32.
        code_bytes: the lengths of the Huffman codes. block_bytes: where blocks end. fixed_bytes: counts, bits that
            fill bytes.
    """

    name: str
    values: int
    left: int
    entries: int
    bits: int
    index_bits: int
    weights_bits: int
    indices_bits: int
    codebook_bytes: int
    code_bytes: int
    block_bytes: int
    fixed_bytes: int

    @property
    def bytes(self) -> int:
        """The whole payload: what follows adds up to it."""
        streams = -(-self.weights_bits // 8) - (-self.indices_bits // 8)
        return streams + self.codebook_bytes + self.code_bytes + self.block_bytes + self.fixed_bytes

    @property
    def bytes_before_huffman(self) -> float:
        """Weights and indices of fixed length, and the codebook: the paper's P+Q."""
        return self.entries * (self.bits + self.index_bits) / 8 + self.codebook_bytes


def relative(codes: NDArray[np.uint8], index_bits: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return gaps and codes of what is sent of flat ``codes``: zeros in front of each entry, and its code.

    A run of ``2**index_bits`` zeros is a padding zero with the largest gap, at the end of the tensor too.
    """
    span = 1 << index_bits
    places = np.flatnonzero(codes)
    zeros = np.diff(places, prepend=-1) - 1
    padding = zeros >> index_bits
    tail = len(codes) - 1 - (int(places[-1]) if len(places) else -1)
    counts = padding + 1
    total = int(counts.sum())
    gaps, sent = np.full(total, span - 1, np.uint8), np.zeros(total, np.uint8)
    own = np.cumsum(counts) - 1
    gaps[own], sent[own] = zeros & (span - 1), codes[places]
    more = tail >> index_bits
    gaps = np.concatenate([gaps, np.full(more, span - 1, np.uint8)])
    sent = np.concatenate([sent, np.zeros(more, np.uint8)])
    if not len(gaps):  # fewer zeros than a gap holds, and nothing else
        return np.array([len(codes) - 1], np.uint8), np.zeros(1, np.uint8)
    return gaps, sent


def write_shared(name: str, shared: Shared) -> bytes:
    """Return one tensor's bytes.

    Raises:
        UsageError: codes without a value, values that are not finite, or more than the bits can name.
    """
    book, codes = _used(name, shared)
    gaps, sent = relative(codes.reshape(-1), shared.index_bits)
    weights, indices = _huffman.encode(sent, len(book) + 1), _huffman.encode(gaps, int(gaps.max()) + 1)
    parts = [
        struct.pack("<BB", shared.bits, shared.index_bits), number(len(gaps)), number(len(book)),
        number(len(indices.lengths)), book.astype("<f4").tobytes(), _nibbles(weights.lengths),
        _nibbles(indices.lengths), weights.blocks.astype("<u2").tobytes(), indices.blocks.astype("<u2").tobytes(),
        weights.data, indices.data,
    ]  # fmt: skip
    return b"".join(parts)


def _used(name: str, shared: Shared) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the values that occur, and codes for them."""
    bits_fit = all(1 <= b <= MAX_BITS for b in (shared.bits, shared.index_bits))
    if not bits_fit or len(shared.codebook) >= 1 << shared.bits or not shared.codes.size:
        raise UsageError(
            f"'{name}': {shared.codes.size} weights of {len(shared.codebook)} values in {shared.bits} bits, indices in "
            f"{shared.index_bits}. Wanted: at least one weight, 1 to {MAX_BITS} bits, and fewer than 2**bits values."
        )
    counts = np.bincount(shared.codes.reshape(-1), minlength=1)
    if len(counts) > len(shared.codebook) + 1 or not np.isfinite(shared.codebook).all():
        raise UsageError(f"'{name}': a code has no value, or a value is not finite. Share its weights again.")
    counts[0] = 1
    renamed = (np.cumsum(counts > 0) - 1).astype(np.uint8)
    return shared.codebook[np.flatnonzero(counts)[1:] - 1], renamed[shared.codes]


def _nibbles(lengths: NDArray[np.uint8]) -> bytes:
    padded = np.append(lengths, np.zeros(len(lengths) % 2, np.uint8))
    return bytes((padded[::2] | padded[1::2] << 4).astype(np.uint8))


@dataclass(frozen=True)
class Coded:
    """A shared tensor's payload, taken apart but not yet decoded."""

    record: Record
    bits: int
    index_bits: int
    codebook: NDArray[np.float32]
    weights: Stream
    indices: Stream


def read_shared(record: Record, data: bytes) -> Coded:
    """Take one tensor's bytes apart.

    Raises:
        FileError: they are not as ``write_shared`` writes them.
    """
    cursor = Cursor(data)
    bits, index_bits = cursor.unpack("<BB")
    count, values, gaps = cursor.number(), cursor.number(), cursor.number()
    fits = 1 <= bits <= MAX_BITS and 1 <= index_bits <= MAX_BITS and values < 1 << bits and 0 < gaps <= 1 << index_bits
    if not fits or not 0 < count <= record.values:
        raise damaged(f"'{record.name}' is to be {count} entries of {values} values and {gaps} gaps")
    blocks = -(-count // BLOCK)
    book = np.frombuffer(cursor.take(4 * values), "<f4").astype(np.float32)
    lengths = [_read_nibbles(cursor, n) for n in (values + 1, gaps)]
    ends = [np.frombuffer(cursor.take(2 * blocks), "<u2").astype(np.uint16) for _ in range(2)]
    weights, indices = (
        Stream(own, count, end, cursor.take((int(end.sum(dtype=np.int64)) + 7) // 8))
        for own, end in zip(lengths, ends, strict=True)
    )
    if cursor.at != len(data):
        raise damaged(f"'{record.name}' has {len(data) - cursor.at} bytes too many")
    return Coded(record, bits, index_bits, book, weights, indices)


def _read_nibbles(cursor: Cursor, count: int) -> NDArray[np.uint8]:
    raw = np.frombuffer(cursor.take((count + 1) // 2), np.uint8)
    lengths = np.stack([raw & 15, raw >> 4], 1).reshape(-1)
    if lengths[count:].any():
        raise damaged("a length of a code too many")
    _huffman.check(lengths[:count])
    return lengths[:count]


def decode_shared(coded: Sequence[Coded]) -> list[NDArray[np.float32]]:
    """Return the values of tensors, decoded side by side.

    Raises:
        FileError: a stream is damaged, or its entries end elsewhere than the tensor.
    """
    if not coded:
        return []
    symbols = iter(_huffman.decode([s for c in coded for s in (c.weights, c.indices)]))
    return [_tensor(c, next(symbols), next(symbols)) for c in coded]


def _tensor(coded: Coded, sent: NDArray[np.uint8], gaps: NDArray[np.uint8]) -> NDArray[np.float32]:
    places = np.cumsum(gaps.astype(np.int64) + 1) - 1
    if not 0 <= coded.record.values - 1 - places[-1] < 1 << coded.index_bits:
        raise damaged(f"'{coded.record.name}' ends at {places[-1] + 1} of {coded.record.values} values")
    kept = np.flatnonzero(sent)
    out = np.zeros(coded.record.values, np.float32)
    out[places[kept]] = coded.codebook[sent[kept].astype(np.int64) - 1]
    return out.reshape(coded.record.shape)


def sizes_of(record: Record, data: bytes) -> SharedSizes:
    """Return where one tensor's bytes go.

    Raises:
        FileError: they are damaged.
    """
    coded = read_shared(record, data)
    codes = len(_nibbles(coded.weights.lengths)) + len(_nibbles(coded.indices.lengths))
    blocks = 2 * (len(coded.weights.blocks) + len(coded.indices.blocks))
    book = 4 * len(coded.codebook)
    left = int(np.count_nonzero(_huffman.decode([coded.weights])[0]))
    fixed = len(data) - codes - blocks - book - len(coded.weights.data) - len(coded.indices.data)
    return SharedSizes(
        record.name, record.values, left, coded.weights.count, coded.bits, coded.index_bits, coded.weights.bits,
        coded.indices.bits, book, codes, blocks, fixed,
    )  # fmt: skip
