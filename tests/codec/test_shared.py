"""Shared values in a file: what goes in comes out, by both decoders, and its bytes are all accounted for."""

from __future__ import annotations

import heapq
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight import codec
from flyweight.codec import _huffman, _shared
from flyweight.errors import FileError, UsageError
from tests.codec.test_hostile import resealed, write


def file_of(**shared: codec.Shared) -> bytes:
    return codec.encode(codec.quantize({}, {}), {}, shared)


def drawn(rng: np.random.Generator, size: int, density: float, bits: int, index_bits: int) -> codec.Shared:
    values = (1 << bits) - 1
    codes = np.where(rng.random(size) < density, rng.integers(1, values + 1, size), 0).astype(np.uint8)
    return codec.Shared(codes, np.arange(1, values + 1, dtype=np.float32), bits, index_bits)


@given(
    st.integers(0, 2**32), st.integers(1, 3000), st.sampled_from([0, 0.002, 0.1, 0.6, 1]),
    st.integers(1, 8), st.integers(1, 8),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_what_goes_in_comes_out_of_both_decoders(
    tmp_path_factory: pytest.TempPathFactory, seed: int, size: int, density: float, bits: int, index_bits: int
) -> None:
    shared = drawn(np.random.default_rng(seed), size, density, bits, index_bits)
    path = write(tmp_path_factory.getbasetemp() / "shared.fly", file_of(w=shared))
    for native in (False, True):
        container = codec.open_container(path, native=native)
        assert container.tensor("w").tobytes() == shared.values().tobytes()
    (sizes,) = container.shared_sizes()
    assert sizes.bytes == container.records[0].bytes
    assert (sizes.values, sizes.left) == (size, np.count_nonzero(shared.codes))


def test_a_gap_too_long_for_its_index_is_bridged_by_padding_zeros() -> None:
    codes = np.zeros(30, np.uint8)
    codes[[3, 13, 14]] = [1, 2, 3]  # the paper's figure 2 has 3 bits: spans of 4, then 10 = 8 + 2, then 1
    gaps, sent = _shared.relative(codes, 3)
    assert gaps.tolist() == [3, 7, 1, 0, 7] and sent.tolist() == [1, 0, 2, 3, 0]  # and 15 zeros = 8 + 7 behind


def test_fixed_lengths_are_the_papers_bits_and_huffman_is_shorter() -> None:
    rng = np.random.default_rng(0)
    codes = np.where(rng.random(60_000) < 0.08, np.clip(rng.normal(16, 5, 60_000), 1, 31), 0).astype(np.uint8)
    shared = codec.Shared(codes, np.linspace(-1, 1, 31).astype(np.float32), 5, 5)
    payload = _shared.write_shared("w", shared)
    record = codec.Record("w", 2, "<f4", (60_000,), 0, len(payload), 0)
    sizes = _shared.sizes_of(record, payload)
    assert sizes.bytes_before_huffman == sizes.entries * 10 / 8 + 4 * 31  # 5 bits a weight, 5 an index, the codebook
    assert sizes.bytes < 0.95 * sizes.bytes_before_huffman
    parts = (sizes.weights_bits, sizes.indices_bits)
    rest = sizes.codebook_bytes + sizes.code_bytes + sizes.block_bytes + sizes.fixed_bytes
    assert sum(-(-bits // 8) for bits in parts) + rest == len(payload)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=60).filter(lambda c: sum(n > 0 for n in c) > 1))
def test_code_lengths_are_huffmans_where_none_is_too_long(counts: list[int]) -> None:
    queue = [(n, i, [i]) for i, n in enumerate(counts) if n]
    best = np.zeros(len(counts), int)
    heapq.heapify(queue)
    while len(queue) > 1:
        a, b = heapq.heappop(queue), heapq.heappop(queue)
        best[a[2] + b[2]] += 1
        heapq.heappush(queue, (a[0] + b[0], min(a[1], b[1]), a[2] + b[2]))
    lengths = _huffman.code_lengths(np.array(counts))
    assert lengths.max() <= _huffman.MAX_LENGTH
    if best.max() <= _huffman.MAX_LENGTH:
        assert (lengths * np.array(counts)).sum() == (best * np.array(counts)).sum()


def test_very_uneven_counts_keep_to_the_longest_code() -> None:
    counts = np.array([1 << i for i in range(40)], np.int64)  # Huffman's own code would take 39 bits
    lengths = _huffman.code_lengths(counts)
    _huffman.check(lengths)
    assert lengths.max() == _huffman.MAX_LENGTH and lengths[-1] == 1


def test_lengths_of_no_code_and_streams_that_end_elsewhere_are_damage(tmp_path: Path) -> None:
    data = file_of(w=drawn(np.random.default_rng(1), 400, 0.3, 2, 2))
    record = codec.open_container(write(tmp_path / "ok.fly", data)).records[0]
    told = set()
    for place in range(record.offset, record.offset + record.bytes):
        for native in (False, True):
            hurt = bytearray(data)
            hurt[place] ^= 0x11
            try:
                write(tmp_path / "hurt.fly", resealed(bytes(hurt)))
                codec.open_container(tmp_path / "hurt.fly", native=native).tensor("w")
            except FileError as error:
                told.add(str(error).split(": ")[1].split(" ")[0])
    assert {"the", "a", "'w'"} <= told


@pytest.mark.parametrize(
    ("codes", "book", "bits"),
    [([4], [1, 2, 3], 2), ([1], [np.nan], 1), ([1], [1, 2], 1), ([], [1], 1), ([1], [1], 9)],
)
def test_what_a_file_can_not_hold_is_told(codes: list[int], book: list[float], bits: int) -> None:
    with pytest.raises(UsageError, match="'w'"):
        file_of(w=codec.Shared(np.array(codes, np.uint8), np.array(book, np.float32), bits, 5))
