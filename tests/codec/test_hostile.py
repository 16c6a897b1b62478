"""Damaged and hostile files: a clear error, in Python and in C; and both decoders give the same bytes."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyweight import codec
from flyweight.codec._format import MOST_A_BYTE, PREFIX, PREFIX_BYTES, read_head
from flyweight.errors import FileError
from tests.codec.test_codec import layers

SOURCE = Path(__file__).parents[2] / "decoder" / "flydec.c"
HARNESS = r"""
#include "flydec.c"
#include <stdio.h>
/* Reads cases from stdin, each a 32-bit length and a file; answers with one byte: the error of opening or decoding. */
int main(void) {
    uint32_t size;
    while (fread(&size, 4, 1, stdin) == 1) {
        uint8_t *data = malloc(size ? size : 1);
        fly_file f;
        uint32_t i;
        int error;
        if (!data || fread(data, 1, size, stdin) != size) return 1;
        error = fly_open(&f, data, size);
        for (i = 0; error == FLY_OK && i < f.tensors; i++) {
            void *out = malloc(fly_bytes(&f, i) + 1);
            error = out ? fly_decode(&f, i, out) : FLY_MEMORY;
            free(out);
        }
        fly_close(&f);
        free(data);
        putchar(error);
    }
    return 0;
}
"""
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed: the C decoder is not built")


def small() -> bytes:
    """A file of every kind of payload, about 600 bytes."""
    rng = np.random.default_rng(3)
    wide = rng.normal(size=(8, 20)) * np.exp(2 * rng.normal(size=(8, 1)))
    tensors = {
        "a.weight": wide.astype(np.float32), "a.bias": np.append(rng.normal(size=11), 1e4).astype(np.float32),
        "n": np.array([7], np.int64),
    }  # fmt: skip
    uneven = np.array([0, 1, -2, 0, 3, 0, 0, 1], np.int32)
    steps = {"a.weight": codec.Steps(0.1, uneven, np.arange(20, dtype=np.int32) % 3), "a.bias": codec.Steps(0.05)}
    sparse = np.where(rng.random((6, 50)) < 0.1, rng.integers(1, 4, (6, 50)), 0).astype(np.uint8)
    shared = codec.Shared(sparse, np.array([-1, 0.5, 2], np.float32), bits=2, index_bits=3)
    return codec.encode(codec.quantize(tensors, steps), {"name": "small"}, {"s.weight": shared})


def opened(path: Path, data: bytes) -> dict[str, np.ndarray]:
    path.write_bytes(data)
    return dict(codec.open_container(path, native=False).tensors())


def resealed(data: bytes) -> bytes:
    """Give damaged bytes right checksums, so that the damage reaches the code behind them."""
    body_bytes = min(struct.unpack_from("<I", data, 12)[0], len(data) - PREFIX_BYTES)
    out = bytearray(data)
    body = bytes(out[PREFIX_BYTES : PREFIX_BYTES + body_bytes])
    try:
        for r in read_head(body, zlib.crc32(body), len(out)).records:
            new = struct.pack("<I", zlib.crc32(out[r.offset : r.offset + r.bytes]))
            body = body.replace(struct.pack("<I", r.checksum), new)
    except FileError:
        pass  # a head beyond reading: its own checksum is mended all the same
    out[PREFIX_BYTES : PREFIX_BYTES + body_bytes] = body
    struct.pack_into("<I", out, 24, zlib.crc32(body))
    struct.pack_into("<I", out, PREFIX.size, zlib.crc32(out[: PREFIX.size]))
    return bytes(out)


def cases(data: bytes) -> Iterator[bytes]:
    """Every byte flipped in turn, with and without mended checksums, and every truncation."""
    for place in range(len(data)):
        for mask in (0xFF, 1 << place % 8):
            flipped = bytearray(data)
            flipped[place] ^= mask
            yield bytes(flipped)
            yield resealed(bytes(flipped))
        yield data[:place]


def test_every_flipped_byte_and_every_truncation_is_told_of(tmp_path: Path) -> None:
    data = small()
    assert opened(tmp_path / "ok.fly", data)
    for place in range(len(data)):
        flipped = bytearray(data)
        flipped[place] ^= 0xFF
        for hurt in (bytes(flipped), data[:place], data + b"\0"):
            with pytest.raises(FileError, match=r"hurt\.fly"):
                opened(tmp_path / "hurt.fly", hurt)


def test_damage_under_right_checksums_gives_values_or_a_clear_error(tmp_path: Path) -> None:
    data, refused = small(), 0
    for place in range(PREFIX_BYTES, len(data), 3):
        flipped = bytearray(data)
        flipped[place] ^= 1 << place % 8
        try:
            opened(tmp_path / "hurt.fly", resealed(bytes(flipped)))
        except FileError:
            refused += 1
    assert refused > len(data) // 12


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_head_is_read_or_refused(body: bytes) -> None:
    try:
        read_head(body, zlib.crc32(body), PREFIX_BYTES + len(body))
    except FileError:
        return
    assert body  # the shortest head that can be read has its counts and a description


def test_a_small_file_can_not_ask_for_more_memory_than_its_bytes_can_hold(tmp_path: Path) -> None:
    data = small()
    opened_file = codec.open_container(write(tmp_path / "ok.fly", data), native=False)
    record = next(r for r in opened_file.records if r.name == "a.weight")
    shape = bytes([8, 20])
    assert data.count(shape) == 1
    huge = resealed(data.replace(shape, bytes([127, 127])))  # 127 x 127 is still within the bound, and decoding fails
    with pytest.raises(FileError, match="damaged"):
        opened(tmp_path / "huge.fly", huge)
    assert record.bytes * MOST_A_BYTE > 127 * 127


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The C decoder as a program, the harness beside it under the sanitizers; every warning is an error."""
    folder = tmp_path_factory.mktemp("flydec")
    strict = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"]
    subprocess.run([*strict, "-O2", "-DFLYDEC_MAIN", SOURCE, "-o", folder / "flydec"], check=True)
    (folder / "harness.c").write_text(HARNESS)
    sanitizers = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    subprocess.run(
        [*strict, *sanitizers, f"-I{SOURCE.parent}", folder / "harness.c", "-o", folder / "harness"], check=True
    )
    return folder


@needs_gcc
def test_the_c_decoder_gives_the_same_bytes_and_is_small(tmp_path: Path, built: Path) -> None:
    tensors = layers()
    halves = np.arange(96, dtype=np.int32) % 9 - 4
    steps = {n: codec.Steps(0.01) for n, t in tensors.items() if t.dtype == np.float32}
    steps["features.0.weight"] = codec.Steps(0.01, halves, halves[:64])
    quantized = codec.quantize(tensors, steps)
    path = write(tmp_path / "net.fly", codec.encode(quantized, {}))
    subprocess.run([built / "flydec", path, tmp_path / "out"], check=True, capture_output=True)
    wanted = b"".join(t.tobytes() for _, t in codec.open_container(path, native=False).tensors())
    assert (tmp_path / "out").read_bytes() == wanted
    assert (built / "flydec").stat().st_size < 65536


@needs_gcc
def test_the_c_decoder_survives_all_damage_and_judges_as_python_does(tmp_path: Path, built: Path) -> None:
    hurt = [small(), *cases(small())]
    fed = b"".join(struct.pack("<I", len(data)) + data for data in hurt)
    done = subprocess.run([built / "harness"], input=fed, capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout) == len(hurt) and done.stdout[0] == 0
    for data, error in list(zip(hurt, done.stdout, strict=True))[::17]:
        try:
            opened(tmp_path / "hurt.fly", data)
        except FileError as told:
            assert error or "description" in str(told) or "name" in str(told)  # C reads neither JSON nor UTF-8
        else:
            assert not error
