import gzip
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyweight.data import load_dataset
from flyweight.data.idx import _read
from flyweight.errors import DataError


def packed(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part, count in (("train", 12), ("t10k", 6)):
        images = np.arange(count * 4 * 5, dtype=np.uint8).reshape(count, 4, 5)
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(packed(images)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(packed(np.arange(count, dtype=np.uint8) % 3))
    return tmp_path


def test_the_last_sixth_of_the_training_images_is_for_validation(folder: Path) -> None:
    data = load_dataset(folder)
    assert (len(data.train), len(data.val), len(data.test)) == (10, 2, 6)
    assert data.task == "classify" and data.class_names == ("0", "1", "2") and data.size == (4, 5)
    assert [int(data.val[i][1]) for i in range(2)] == [10 % 3, 11 % 3]


def test_grey_images_become_rgb(folder: Path) -> None:
    image = load_dataset(folder).train[1][0]
    assert image.shape == (4, 5, 3)
    assert image[0, 0].tolist() == [20, 20, 20]  # the second image of 4 * 5 pixels begins with 20


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train-labels-idx1-ubyte", packed(np.zeros(11, np.uint8)), "train has 12 images and 11 labels"),
        ("t10k-labels-idx1-ubyte", packed(np.full(6, 7, np.uint8)), "a test label is 7, but training has only 0 to 2"),
        ("train-labels-idx1-ubyte", b"", "not an IDX file"),
        ("train-labels-idx1-ubyte", packed(np.zeros(12, np.uint8))[:-1], r"says \[12\], but holds 11 bytes"),
        ("train-images-idx3-ubyte.gz", b"\x1f\x8b\x08rubbish", "damaged|cut off"),
        ("train-images-idx3-ubyte.gz", gzip.compress(bytes(9), mtime=0), "not an IDX file"),
    ],
)
def test_a_damaged_file_is_named(file: str, content: bytes, message: str, folder: Path) -> None:
    (folder / file).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_dataset(folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte: missing, with and without \.gz"):
        load_dataset(folder)


@given(data=st.binary(max_size=64), zipped=st.booleans())
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, zipped: bool) -> None:
    path = tmp_path_factory.mktemp("idx") / ("any.gz" if zipped else "any")
    path.write_bytes(data)
    found = None
    with suppress(DataError):
        found = _read(path, axes=3)
    assert found is None or found.ndim == 3
