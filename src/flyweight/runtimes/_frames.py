"""Messages between two processes: JSON, and arrays as raw bytes; never pickle.

::

    4 bytes   magic and version, ``FWF1``
    8 bytes   n, length of the JSON, little-endian
    n bytes   {"message": {...}, "arrays": [{"name": ..., "dtype": ..., "shape": [...]}, ...]}
    then      the arrays' elements in that order, row-major, little-endian

What a frame claims is checked before memory is taken for it. No torch; the standard library and numpy only, so that it
runs in any environment.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

MAGIC = b"FWF1"
MOST_JSON_BYTES = 1 << 26
MOST_ARRAY_BYTES = 1 << 32
MOST_DIMENSIONS = 16
DTYPES = frozenset({"float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"})
_HEAD = struct.Struct("<4sQ")
Arrays = Mapping[str, NDArray[Any]]


class FrameError(Exception):
    """A frame that is cut short, not one, or larger than is taken."""


def write(stream: BinaryIO, message: Mapping[str, Any], arrays: Arrays | None = None) -> None:
    """Write one frame and flush it.

    Raises:
        BrokenPipeError: nobody reads any more.
    """
    assert sys.byteorder == "little"  # every platform that these runtimes have wheels for
    sound = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in (arrays or {}).items()}
    told = [{"name": name, "dtype": str(array.dtype), "shape": list(array.shape)} for name, array in sound.items()]
    text = json.dumps({"message": message, "arrays": told}).encode()
    stream.write(_HEAD.pack(MAGIC, len(text)))
    stream.write(text)
    for array in sound.values():
        stream.write(array.reshape(-1).view(np.uint8).data)
    stream.flush()


def read(stream: BinaryIO, most_bytes: int = MOST_ARRAY_BYTES) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read one frame; its arrays may hold at most ``most_bytes`` together.

    Raises:
        EOFError: the other side closed the stream before a frame began.
        FrameError: what came is cut short, not a frame, or claims too much.
    """
    head = stream.read(_HEAD.size)
    if not head:
        raise EOFError
    if len(head) < _HEAD.size:
        raise FrameError(f"it ends after {len(head)} of {_HEAD.size} bytes")
    magic, length = _HEAD.unpack(head)
    if magic != MAGIC:
        raise FrameError(f"it begins with {magic!r}, not with {MAGIC!r}")
    if length > MOST_JSON_BYTES:
        raise FrameError(f"it claims {length} bytes of JSON; at most {MOST_JSON_BYTES} are taken")
    text = stream.read(length)
    if len(text) < length:
        raise FrameError(f"it ends after {len(text)} of {length} bytes of JSON")
    try:
        header = json.loads(text)
        message, told = dict(header["message"]), [_described(each) for each in header["arrays"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FrameError(f"its JSON is not a message ({type(error).__name__}: {error})") from error
    claimed = sum(size for *_, size in told)
    if claimed > most_bytes:
        raise FrameError(f"it claims {claimed} bytes of arrays; at most {most_bytes} are taken")
    return message, {name: _array(stream, name, dtype, shape) for name, dtype, shape, _ in told}


def _described(told: Mapping[str, Any]) -> tuple[str, str, tuple[int, ...], int]:
    """Return name, dtype, shape and bytes of an array that a frame tells of."""
    name, dtype, shape = told["name"], told["dtype"], tuple(told["shape"])
    if dtype not in DTYPES or not isinstance(name, str):
        raise ValueError(f"array {name!r} of {dtype!r}")
    if len(shape) > MOST_DIMENSIONS or any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"array {name!r} of shape {shape}")
    size = np.dtype(dtype).itemsize
    for extent in shape:
        size *= extent
    return name, dtype, shape, size


def _array(stream: BinaryIO, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    array = np.empty(shape, dtype)
    left: memoryview = array.reshape(-1).view(np.uint8).data
    size = len(left)
    while left:
        count = stream.readinto(left)  # type: ignore[attr-defined]  # buffered readers have it
        if not count:
            raise FrameError(f"it ends after {size - len(left)} of {size} bytes of '{name}'")
        left = left[count:]
    return array
