"""The user's own data for segmentation: a folder of images and a folder of masks.

::

    mine/
      images/0001.jpg   PNG or JPEG
      masks/0001.png    same name, same size; palette or grey: class indices; RGB: the classes' colours; 255: no truth
      classes.json      [{"name": "background", "index": 0}, {"name": "leaf", "index": 1, "color": [0, 160, 0]}]
      train.txt  val.txt  test.txt    names without ending, one a line; without them 70/15/15, drawn by hash

Every file is read once when the data set is loaded, so that what is wrong is said before an hour of training, and so
that mean, standard deviation and class shares are those of the whole training split. Later reads are one by one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from flyweight.contracts import DataSet
from flyweight.data._arrays import statistics
from flyweight.data._classes import Classes, read_classes
from flyweight.data._folder import IMAGE_ENDINGS, by_name, listed, more
from flyweight.data._pictures import read_image, read_mask
from flyweight.data._split import SPLITS, drawn
from flyweight.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MASK_ENDINGS = (".png",)


@dataclass(frozen=True)
class FolderSplit:
    """Pairs of image and mask files, read when asked for."""

    pairs: tuple[tuple[Path, Path], ...]
    classes: Classes

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Return image ``(H, W, 3)`` and mask ``(H, W)``.

        Raises:
            DataError: a file can't be used; the message names it.
        """
        image_path, mask_path = self.pairs[index]
        image, mask = read_image(image_path), read_mask(mask_path, self.classes)
        if image.shape[:2] != mask.shape:
            sizes = "{1}x{0}, but its image is {3}x{2}".format(*mask.shape, *image.shape[:2])
            raise DataError(f"{mask_path}: {sizes}. Every mask needs its image's size.")
        return image, mask


def load(folder: Path | None = None, seed: int = 0) -> DataSet:
    """Return the data set in ``folder``; ``seed`` draws the split where the folder brings none.

    Raises:
        UsageError: no folder.
        DataError: something in it can't be used; the message names the file, what is wrong and what is allowed.
    """
    if folder is None:
        raise UsageError("'image_masks' is for a folder of yours. Give the folder's path instead.")
    classes = read_classes(folder)
    pairs = _pairs(folder)
    names = listed(folder, pairs) or drawn(folder, sorted(pairs), seed)
    train, val, test = (FolderSplit(tuple(pairs[name] for name in names[split]), classes) for split in SPLITS)
    sizes: set[tuple[int, int]] = set()
    numbers = statistics(_read_all(train, sizes), len(classes.names))
    deque(chain(_read_all(val, sizes), _read_all(test, sizes)), maxlen=0)  # read for its errors and sizes alone
    return DataSet(
        name=folder.resolve().name, class_names=classes.names, train=train, val=val, test=test, mean=numbers.mean,
        std=numbers.std, class_shares=numbers.class_shares, size=sizes.pop() if len(sizes) == 1 else None,
        colors=classes.colors,
    )  # fmt: skip


def _read_all(split: FolderSplit, sizes: set[tuple[int, int]]) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Yield every pair of a split and note its height and width."""
    for index in range(len(split)):
        image, mask = split[index]
        sizes.add((image.shape[0], image.shape[1]))
        yield image, mask


def _pairs(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Return image and mask by their common name."""
    images, masks = by_name(folder / "images", IMAGE_ENDINGS), by_name(folder / "masks", _MASK_ENDINGS)
    if not images:
        raise DataError(f"{folder / 'images'}: no image in it. Put PNG or JPEG files there.")
    if missing := sorted(images.keys() - masks.keys()):
        raise DataError(
            f"{images[missing[0]]}: no mask {missing[0]}.png in masks/{more(missing)}. Add it, or remove the image."
        )
    if alone := sorted(masks.keys() - images.keys()):
        raise DataError(
            f"{masks[alone[0]]}: no image '{alone[0]}' in images/{more(alone)}. Add it, or remove the mask."
        )
    return {name: (images[name], masks[name]) for name in images}


MEMBERS = {"image_masks": load}
