"""Small images with labels in the IDX format of MNIST, Fashion-MNIST and their like.

::

    mine/
      train-images-idx3-ubyte.gz  train-labels-idx1-ubyte.gz  t10k-images-idx3-ubyte.gz  t10k-labels-idx1-ubyte.gz

With or without ``.gz``. The last sixth of the training images is the validation split. Grey images become RGB.
The format is that of LeCun's MNIST page: two zero bytes, a type, the number of axes, their sizes as 32-bit big-endian
numbers, then the values.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from flyweight import files
from flyweight.contracts import DataSet
from flyweight.data._arrays import ArraySplit, statistics
from flyweight.errors import DataError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_BYTES = 1 << 30
VAL_PART = 6  # one training image in so many is for validation
_UBYTE = 8  # the format's code for bytes without sign


def load(folder: Path | None = None, seed: int = 0) -> DataSet:
    """Return the data set in ``folder``; ``seed`` changes nothing.

    Raises:
        UsageError: no folder.
        DataError: a file is missing, damaged or larger than 1 GiB; the message names it.
    """
    if folder is None:
        raise UsageError("'idx' is for a folder with IDX files. Give the folder's path instead.")
    images, labels = _labelled(folder, "train")
    test_images, test_labels = _labelled(folder, "t10k")
    count = int(labels.max()) + 1
    if int(test_labels.max()) >= count:
        raise DataError(f"{folder}: a test label is {test_labels.max()}, but training has only 0 to {count - 1}.")
    cut = len(images) - len(images) // VAL_PART
    train = ArraySplit(images[:cut], labels[:cut])
    numbers = statistics([(train.images, train.targets)], count)
    return DataSet(
        name=folder.resolve().name, class_names=tuple(map(str, range(count))), train=train,
        val=ArraySplit(images[cut:], labels[cut:]), test=ArraySplit(test_images, test_labels), mean=numbers.mean,
        std=numbers.std, class_shares=numbers.class_shares, size=(images.shape[1], images.shape[2]), task="classify",
    )  # fmt: skip


def _labelled(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images ``(n, H, W, 3)`` and labels ``(n,)`` of one part; the three channels share their memory."""
    grey = _read(_found(folder, f"{part}-images-idx3-ubyte"), axes=3)
    labels = _read(_found(folder, f"{part}-labels-idx1-ubyte"), axes=1)
    if len(grey) != len(labels) or len(grey) < VAL_PART:
        raise DataError(
            f"{folder}: {part} has {len(grey)} images and {len(labels)} labels; wanted: as many, at least {VAL_PART}."
        )
    return np.broadcast_to(grey[..., None], (*grey.shape, 3)), labels.astype(np.int64)


def _found(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(f"{folder / name}: missing, with and without .gz. Put the four files of the format there.")


def _read(path: Path, axes: int) -> NDArray[np.uint8]:
    data = files.read_bytes(path, MAX_BYTES)
    if path.suffix == ".gz":
        data = _unpacked(path, data)
    head = np.frombuffer(data[: 4 + 4 * axes], np.uint8)
    if len(head) < 4 + 4 * axes or list(head[:4]) != [0, 0, _UBYTE, axes]:
        raise DataError(f"{path}: not an IDX file of bytes with {axes} axes. Replace it.")
    shape = [int(size) for size in head[4:].view(">u4")]
    if len(data) != len(head) + math.prod(shape) or not math.prod(shape):
        raise DataError(f"{path}: says {shape}, but holds {len(data) - len(head)} bytes. Replace it.")
    return np.frombuffer(data, np.uint8, offset=len(head)).reshape(shape)


def _unpacked(path: Path, data: bytes) -> bytes:
    """Unpack gzip, at most 1 GiB of it."""
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        unpacked = unpacker.decompress(data, MAX_BYTES)
    except zlib.error as error:
        raise DataError(f"{path}: damaged ({error}). Replace it.") from error
    if not unpacker.eof:
        raise DataError(f"{path}: cut off, or larger than {MAX_BYTES} bytes unpacked. Replace it.")
    return unpacked


MEMBERS = {"idx": load}
