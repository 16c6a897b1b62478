"""Decoding by the C decoder, where it was compiled when Flyweight was installed: the same values, much faster.

The library is ``decoder/flydec.c`` and nothing else. Where there was no compiler, ``decoder_of`` returns None and
Python decodes. What the library refuses is given to Python's decoder as well, which says what is wrong.
"""

from __future__ import annotations

import ctypes
import weakref
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight.codec._format import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray


@cache
def library() -> Any | None:
    """Return the compiled decoder; None where there is none."""
    places = [Path(__file__).with_name(f"_flydec{suffix}") for suffix in EXTENSION_SUFFIXES]
    found = [place for place in places if place.is_file()]
    if not found:
        return None
    loaded = ctypes.CDLL(str(found[0]))
    pointer, size, number = ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint32
    loaded.fly_file_bytes.restype = size
    loaded.fly_open_head.argtypes = [ctypes.c_void_p, pointer, size, size]
    loaded.fly_decode_from.argtypes = [ctypes.c_void_p, number, pointer, ctypes.c_void_p]
    loaded.fly_close.argtypes = [ctypes.c_void_p]
    loaded.fly_close.restype = None
    return loaded


class Decoder:
    """An opened head in the C decoder's memory."""

    def __init__(self, loaded: Any, head: bytes, size: int) -> None:
        self._library = loaded
        self._head = head  # the decoder points into it
        self._file = ctypes.create_string_buffer(loaded.fly_file_bytes())
        self.sound = loaded.fly_open_head(self._file, head, len(head), size) == 0
        weakref.finalize(self, loaded.fly_close, self._file)

    def decode(self, index: int, record: Record, payload: bytes) -> NDArray[np.float32] | None:
        """Return the values of coded tensor ``index``; None where its bytes, whose checksum is right, are damaged."""
        if len(payload) != record.bytes:
            return None
        out = np.empty(record.shape, np.float32)
        done: int = self._library.fly_decode_from(self._file, index, payload, out.ctypes.data)
        return out if done == 0 else None


def decoder_of(head: bytes, size: int) -> Decoder | None:
    """Return the decoder of a file of ``size`` bytes that begins with ``head``; None where none was compiled."""
    loaded = library()
    if loaded is None:
        return None
    made = Decoder(loaded, head, size)
    return made if made.sound else None
