"""Weights to bytes and back."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight import codec
from flyweight.codec._model import classes_of, usual_tables
from flyweight.codec._rans import Stream, decode, encode
from flyweight.codec._tables import TOTAL, Tables, fitted, interpolated, sum_of
from flyweight.errors import FileError, UsageError


def layers() -> dict[str, np.ndarray]:
    """Weights whose rows and columns differ in scale, a bias, a scalar, an empty tensor and whole numbers."""
    rng = np.random.default_rng(0)
    wide = (
        rng.laplace(size=(96, 64, 1, 1))
        * np.exp(rng.normal(size=(96, 1, 1, 1)))
        * np.exp(rng.normal(size=64)[None, :, None, None])
    )
    return {
        "features.0.weight": wide.astype(np.float32), "features.0.bias": rng.normal(size=96).astype(np.float32),
        "depthwise.weight": rng.normal(size=(64, 1, 3, 3)).astype(np.float32), "scale": np.float32([0.5]).reshape(()),
        "empty": np.zeros((0, 4), np.float32), "zeros": np.zeros((300, 200), np.float32),
        "outlier": np.append(rng.normal(size=(1, 999)), 1e4).astype(np.float32).reshape(10, 100),
        "count": np.array([3, -4], np.int64),
    }  # fmt: skip


def written(folder: Path, tensors: dict[str, np.ndarray], step: float = 0.05) -> tuple[Path, codec.Quantized]:
    quantized = codec.quantize(tensors, {n: codec.Steps(step) for n, t in tensors.items() if t.dtype == np.float32})
    path = folder / "net.fly"
    path.write_bytes(codec.encode(quantized, {"name": "net", "classes": ["sea", "lånd"]}))
    return path, quantized


def test_every_tensor_comes_back_as_the_encoder_said_and_near_to_what_it_was(tmp_path: Path) -> None:
    tensors = layers()
    path, quantized = written(tmp_path, tensors)
    said, found = quantized.values(), dict(codec.open_container(path).tensors())
    assert sorted(found) == sorted(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape
        np.testing.assert_array_equal(found[name], said[name])
        assert np.abs(found[name] - tensor).max(initial=0) < 1.5 * 0.05  # nearest, or the next one towards 0


def test_without_a_price_of_bits_every_weight_is_rounded_to_the_nearest(tmp_path: Path) -> None:
    tensors = {"w": layers()["features.0.weight"]}
    values = codec.quantize(tensors, {"w": codec.Steps(0.05)}, slope=0).values()
    assert np.abs(values["w"] - tensors["w"]).max() <= 0.05 / 2 * (1 + 1e-5)


def test_the_head_tells_names_shapes_and_the_description_and_reads_no_weight(tmp_path: Path) -> None:
    path, _ = written(tmp_path, layers())
    opened = codec.open_container(path)
    shapes = {r.name: r.shape for r in opened.records}
    assert shapes == {n: t.shape for n, t in layers().items()}
    assert opened.description == {"name": "net", "classes": ["sea", "lånd"]}
    first = opened.records[0].offset
    assert sum(r.bytes for r in opened.records) == path.stat().st_size - first


def test_one_tensor_is_read_alone_even_where_another_is_damaged(tmp_path: Path) -> None:
    path, quantized = written(tmp_path, layers())
    record = codec.open_container(path).records[0]
    data = bytearray(path.read_bytes())
    data[record.offset + 20] ^= 1
    path.write_bytes(data)
    opened = codec.open_container(path)
    np.testing.assert_array_equal(opened.tensor("depthwise.weight"), quantized.values()["depthwise.weight"])
    with pytest.raises(FileError, match=r"net\.fly: tensor 'features\.0\.weight' does not have its checksum"):
        opened.tensor("features.0.weight")
    with pytest.raises(UsageError, match="has no tensor 'head'"):
        opened.tensor("head")


def test_coding_stays_within_two_percent_of_the_code_length_of_its_own_tables(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    tensors = {"w": rng.laplace(size=(512, 256)).astype(np.float32)}
    path, quantized = written(tmp_path, tensors, step=0.2)
    assert codec.open_container(path).records[0].bytes < 1.02 * quantized.ideal_bytes
    assert abs(quantized.about_bytes() / path.stat().st_size - 1) < 0.02


def test_scales_that_differ_by_row_and_column_are_not_paid_for_weight_by_weight() -> None:
    rng = np.random.default_rng(2)
    wide = (rng.normal(size=(400, 300)) * np.exp(rng.normal(size=(400, 1)))).astype(np.float32)
    mixed = rng.permutation(wide.reshape(-1)).reshape(400, 300)
    first, second = (codec.quantize({"w": w}, {"w": codec.Steps(0.3)}).about_bytes() for w in (wide, mixed))
    assert first < 0.93 * second


def test_rows_and_columns_may_have_steps_of_their_own(tmp_path: Path) -> None:
    weights = np.random.default_rng(4).normal(size=(30, 8, 3, 1)).astype(np.float32)
    rows, columns = np.arange(30, dtype=np.int32) % 5 - 2, np.arange(24, dtype=np.int32) % 4
    quantized = codec.quantize({"w": weights}, {"w": codec.Steps(0.01, rows, columns)}, slope=0)
    path = tmp_path / "net.fly"
    path.write_bytes(codec.encode(quantized, {}))
    found = codec.open_container(path).tensor("w")
    step = 0.01 * 2 ** (rows[:, None] / 2 + columns / 2)
    assert (np.abs(found - weights).reshape(30, 24) / step).max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(found, quantized.values()["w"])


def test_zeros_cost_next_to_nothing(tmp_path: Path) -> None:
    path, _ = written(tmp_path, {"w": np.zeros((1000, 1000), np.float32)})
    assert path.stat().st_size < 3000  # 488 lanes start with 4 bytes each: 1952


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 9000), min_size=1, max_size=4))
@settings(max_examples=15, deadline=None)
def test_streams_of_any_lengths_decode_side_by_side(seed: int, lengths: list[int]) -> None:
    rng, tables = np.random.default_rng(seed), Tables(usual_tables(4))
    which = [rng.integers(0, classes_of(4), n).astype(np.uint8) for n in lengths]
    symbols = [
        (rng.random(n) * (2 * tables.limits[w] + 2)).astype(np.int32) for n, w in zip(lengths, which, strict=True)
    ]
    streams = [encode(s, w, tables) for s, w in zip(symbols, which, strict=True)]
    for wanted, got in zip(symbols, decode(streams, tables), strict=True):
        np.testing.assert_array_equal(wanted, got)


def test_a_stream_without_its_last_word_is_refused() -> None:
    tables = Tables(usual_tables(4))
    symbols = np.random.default_rng(0).integers(0, 3, 5000).astype(np.int32)
    stream = encode(symbols, np.full(5000, 20, np.uint8), tables)
    with pytest.raises(FileError, match="too short"):
        decode([Stream(5000, stream.states, stream.words[:-1], stream.tables)], tables)


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=300).filter(any))
@settings(max_examples=60, deadline=None)
def test_any_counts_make_a_table_that_leaves_room_for_the_escape(counts: list[float]) -> None:
    table = fitted(np.array(counts))
    assert 0 < TOTAL - sum_of(interpolated(table)) <= TOTAL // 2 or len(table) == 1
    Tables((table,))  # and is one that the file may hold


@pytest.mark.parametrize(("tensor", "step"), [
    (np.array([[np.nan]], np.float32), 0.1), (np.ones((2, 2)), 0.1), (np.ones((2, 2), np.float32), 0.0),
    (np.ones((2, 2), np.float32), 1e-30),
])  # fmt: skip
def test_what_can_not_be_coded_is_named(tensor: np.ndarray, step: float) -> None:
    with pytest.raises(UsageError, match="'conv1'"):
        codec.quantize({"conv1": tensor}, {"conv1": codec.Steps(step)})


def test_checksums_are_those_of_zlib(tmp_path: Path) -> None:
    path, _ = written(tmp_path, layers())
    data = path.read_bytes()
    for record in codec.open_container(path).records:
        assert zlib.crc32(data[record.offset : record.offset + record.bytes]) == record.checksum
