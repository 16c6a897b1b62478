"""Read one picture or one mask of the user's, whatever may be wrong with it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from flyweight.data._arrays import IGNORE
from flyweight.data._classes import Classes
from flyweight.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_PIXELS = 50_000_000
# what Pillow was seen to raise on damaged files, besides OSError for the ordinary ones
_UNREADABLE = (
    OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip
_ORIENTATION_TAG = 0x0112  # EXIF 2.32, table 4
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_INDEX_MODES = ("1", "L", "P")
_COLOR_MODES = ("RGB", "RGBA")
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


@contextmanager
def _opened(path: Path, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """Open a picture after checking its size, and turn whatever happens to it into a sentence that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # Pillow warns of odd metadata, which is of no interest here: the pixels are read or they are not
            warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
            with Image.open(path, formats=formats) as picture:
                width, height = picture.size  # known before a pixel is decoded
                if width * height > MAX_PIXELS:
                    raise DataError(
                        f"{path}: {width}x{height}; at most {MAX_PIXELS} pixels are read. Cut it into tiles."
                    )
                yield picture
    except _UNREADABLE as error:
        kinds = " or ".join(formats)
        raise DataError(f"{path}: not readable as {kinds} ({_short(error)}). Replace it, or take it out.") from error


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return a PNG or JPEG as RGB ``(H, W, 3)``, turned upright as its EXIF data say; transparency is dropped.

    Raises:
        DataError: missing, damaged, too large, or with more than 8 bits a channel.
    """
    with _opened(path, ("PNG", "JPEG")) as picture:
        if picture.mode in _DEEP_MODES:
            raise DataError(f"{path}: more than 8 bits a channel ('{picture.mode}'). Convert it to 8 bits.")
        pixels: NDArray[np.uint8] = np.asarray(_upright(picture).convert("RGB"))
        return pixels


def _upright(picture: Image.Image) -> Image.Image:
    """Turn a picture as its EXIF orientation says; ``ImageOps.exif_transpose`` trips over damaged EXIF data."""
    orientation = picture.getexif().get(_ORIENTATION_TAG)
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return picture if turn is None else picture.transpose(turn)


def read_mask(path: Path, classes: Classes) -> NDArray[np.uint8]:
    """Return a PNG mask as class indices ``(H, W)``, 255 where there is no truth.

    A picture with a palette or in grey holds the indices themselves; one in RGB holds the classes' colours.

    Raises:
        DataError: missing, damaged, too large, of another kind, or with an index or colour that is no class.
    """
    with _opened(path, ("PNG",)) as picture:
        mode = picture.mode
        if mode not in _INDEX_MODES + _COLOR_MODES:
            raise DataError(f"{path}: a mask of mode '{mode}'. Save it with a palette, in 8-bit grey, or in RGB.")
        values = np.asarray(picture.convert("RGB") if mode in _COLOR_MODES else picture)
    return _from_colors(path, values, classes) if mode in _COLOR_MODES else _from_indices(path, values, classes)


def _from_indices(path: Path, values: NDArray[np.uint8], classes: Classes) -> NDArray[np.uint8]:
    mask = values.astype(np.uint8)
    wrong = (mask >= len(classes.names)) & (mask != IGNORE)
    if wrong.any():
        y, x = (int(place[0]) for place in np.nonzero(wrong))
        last = len(classes.names) - 1
        raise DataError(
            f"{path}: index {mask[y, x]} at row {y}, column {x}; allowed are 0 to {last} ({', '.join(classes.names)}) "
            f"and {IGNORE} for 'no truth'. Correct the mask, or add the class to {classes.file}."
        )
    return mask


def _from_colors(path: Path, values: NDArray[np.uint8], classes: Classes) -> NDArray[np.uint8]:
    if not classes.index_of_color:
        raise DataError(
            f"{path}: a mask in colours, but {classes.file} gives the classes no colours. Add them, or save indices."
        )
    packed = values.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    found, places, inverse = np.unique(packed, return_index=True, return_inverse=True)
    table = np.zeros(len(found), np.uint8)
    for number, value in enumerate(found):
        color = (int(value) >> 16, int(value) >> 8 & 255, int(value) & 255)
        if color not in classes.index_of_color:
            y, x = divmod(int(places[number]), values.shape[1])
            raise DataError(
                f"{path}: colour {color} at row {y}, column {x} is no class's. {classes.file} has: "
                f"{', '.join(map(str, classes.index_of_color))}. Correct the mask, or add the colour."
            )
        table[number] = classes.index_of_color[color]
    return table[inverse].reshape(values.shape[:2])


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:120]}" if text else type(error).__name__
