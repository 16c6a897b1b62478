from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from flyweight.runtimes import _frames

ARRAYS = st.dictionaries(
    st.text(max_size=8),
    st.sampled_from(sorted(_frames.DTYPES)).flatmap(
        lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, min_side=0, max_dims=4))
    ),
    max_size=4,
)


@given(message=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9)), arrays=ARRAYS)
def test_what_is_written_is_read(message: dict[str, object], arrays: dict[str, np.ndarray]) -> None:
    stream = io.BytesIO()
    _frames.write(stream, message, arrays)
    stream.seek(0)
    told, found = _frames.read(stream)
    assert told == message
    assert {name: (a.dtype, a.shape, a.tobytes()) for name, a in found.items()} == {
        name: (a.dtype, a.shape, a.tobytes()) for name, a in arrays.items()
    }
    with pytest.raises(EOFError):
        _frames.read(stream)


@given(data=st.data())
def test_frame_that_is_cut_or_changed_is_an_error_or_a_frame(data: st.DataObject) -> None:
    stream = io.BytesIO()
    _frames.write(stream, {"a": 1}, {"x": np.arange(6, dtype=np.int32)})
    whole = bytearray(stream.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=3)):
        whole[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    try:
        _frames.read(io.BytesIO(bytes(whole[:cut])))
    except (EOFError, _frames.FrameError):
        return


def test_a_part_of_an_array_is_written_as_what_it_holds() -> None:
    stream = io.BytesIO()
    _frames.write(stream, {}, {"x": np.arange(12).reshape(3, 4)[::2, ::-1]})
    stream.seek(0)
    assert _frames.read(stream)[1]["x"].tolist() == [[3, 2, 1, 0], [11, 10, 9, 8]]


@pytest.mark.parametrize(
    ("length", "said"),
    [(1 << 40, "claims 1099511627776 bytes of JSON"), (100, "ends after 0 of 100 bytes of JSON")],
)
def test_length_is_checked_before_anything_is_read(length: int, said: str) -> None:
    with pytest.raises(_frames.FrameError, match=said):
        _frames.read(io.BytesIO(struct.pack("<4sQ", b"FWF1", length)))
