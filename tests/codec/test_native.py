"""The compiled decoder: there where gcc was, the same values as Python's, and Python's words where it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from flyweight import codec
from flyweight.codec import _native
from flyweight.errors import FileError
from tests.codec.test_codec import layers
from tests.codec.test_hostile import resealed, small, write

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed: nothing was compiled")


def uneven() -> bytes:
    tensors = layers()
    halves = np.arange(96, dtype=np.int32) % 9 - 4
    steps = {n: codec.Steps(0.01) for n, t in tensors.items() if t.dtype == np.float32}
    steps["features.0.weight"] = codec.Steps(0.01, halves, halves[:64])
    return codec.encode(codec.quantize(tensors, steps), {})


def test_it_was_compiled_when_flyweight_was_installed() -> None:
    assert _native.library() is not None, "install Flyweight again: pip install --no-build-isolation -e ."


@pytest.mark.parametrize("make", [small, uneven])
def test_it_gives_the_same_values_as_python(make: object, tmp_path: Path) -> None:
    path = write(tmp_path / "net.fly", make())  # type: ignore[operator]
    fast, slow = codec.open_container(path), codec.open_container(path, native=False)
    assert fast.native is not None and slow.native is None
    found, wanted = dict(fast.tensors()), dict(slow.tensors())
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert found[name].dtype == value.dtype and found[name].shape == value.shape
        assert found[name].tobytes() == value.tobytes()
        assert fast.tensor(name).tobytes() == value.tobytes()


def test_what_it_refuses_python_explains(tmp_path: Path) -> None:
    whole = small()
    record = codec.open_container(write(tmp_path / "ok.fly", whole)).records[0]
    told = 0
    for place in range(record.offset, record.offset + record.bytes):
        hurt = bytearray(whole)
        hurt[place] ^= 0x10
        path = write(tmp_path / "hurt.fly", resealed(bytes(hurt)))
        messages = []
        for native in (True, False):
            try:
                messages.append(b"".join(t.tobytes() for _, t in codec.open_container(path, native=native).tensors()))
            except FileError as error:
                messages.append(str(error).encode())
                told += 1
        assert messages[0] == messages[1]
    assert told > 20


def test_without_it_python_decodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "library", lambda: None)
    opened = codec.open_container(write(tmp_path / "net.fly", small()))
    assert opened.native is None
    assert len(dict(opened.tensors())) == len(opened.records)
