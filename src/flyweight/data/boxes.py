"""The user's own data for detection: a folder of images, and their boxes as Pascal-VOC XML or COCO JSON.

::

    mine/
      images/0001.jpg         PNG or JPEG
      annotations/0001.xml    Pascal VOC, one file an image, of the same name; or, for all of them:
      annotations.json        COCO: images (by file_name), annotations (bbox), categories
      classes.txt             for XML, if wanted: the classes' names, one a line; else all names found, sorted
      train.txt  val.txt  test.txt    names without ending, one a line; without them 70/15/15, drawn by hash

An image without any object is an example of nothing. Every file is read once when the data set is loaded, so that what
is wrong is said before an hour of training. Images may differ in size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight import files
from flyweight.contracts import DataSet
from flyweight.data._annotations import Annotated, Object, read_coco, read_voc
from flyweight.data._arrays import statistics
from flyweight.data._folder import IMAGE_ENDINGS, by_name, listed, more
from flyweight.data._pictures import read_image
from flyweight.data._split import SPLITS, drawn
from flyweight.errors import DataError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SLACK_PX = 1.0  # a box may reach so far beyond its image; it is cut off there. Tools disagree on where pixels begin
MAX_CLASSES = 10_000
_SMALLEST_PX = 1e-3


@dataclass(frozen=True)
class BoxFiles:
    """Image files with their annotations, read when asked for; a target is as in ``tasks/detect.py``."""

    pairs: tuple[tuple[Path, Annotated], ...]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """Return image ``(H, W, 3)`` and boxes ``(m, 6)``, in shares of its width and height.

        Raises:
            DataError: the image or a box can't be used; the message names the file.
        """
        path, annotated = self.pairs[index]
        image = read_image(path)
        height, width = image.shape[:2]
        if annotated.size is not None and annotated.size != (width, height):
            raise DataError(
                f"{path}: {width}x{height}, but {annotated.file} says {annotated.size[0]}x{annotated.size[1]}. Boxes "
                "need the image that they were drawn in."
            )
        rows = [self._row(found, width, height) for found in annotated.objects]
        return image, np.array(rows, np.float32).reshape(-1, 6)

    def _row(self, found: Object, width: int, height: int) -> tuple[float, ...]:
        left, top, right, bottom = found.box
        if min(left, top) < -SLACK_PX or right > width + SLACK_PX or bottom > height + SLACK_PX:
            raise DataError(
                f"{found.where}: its box reaches from {left:g}, {top:g} to {right:g}, {bottom:g}, beyond its image of "
                f"{width}x{height}. Correct or remove it."
            )
        left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)
        if right - left < _SMALLEST_PX or bottom - top < _SMALLEST_PX:
            raise DataError(f"{found.where}: its box has no area. Correct or remove it.")
        label = self.class_names.index(found.name)
        return (label, left / width, top / height, right / width, bottom / height, float(found.ignored))


def load(folder: Path | None = None, seed: int = 0) -> DataSet:
    """Return the data set in ``folder``; ``seed`` draws the split where the folder brings none.

    Raises:
        UsageError: no folder.
        DataError: something in it can't be used; the message names the file, what is wrong and what is allowed.
    """
    if folder is None:
        raise UsageError("'boxes' is for a folder of yours. Give the folder's path instead.")
    class_names, pairs = _coco(folder) if (folder / "annotations.json").is_file() else _voc(folder)
    names = listed(folder, pairs) or drawn(folder, sorted(pairs), seed)
    train, val, test = (BoxFiles(tuple(pairs[name] for name in names[split]), class_names) for split in SPLITS)
    if not any(annotated.objects for _, annotated in train.pairs):
        raise DataError(f"{folder}: no image of the training split has a box. Add some, or draw another split.")
    sizes: set[tuple[int, int]] = set()
    numbers = statistics(_read_all(train, sizes), len(class_names))
    deque((pair for split in (val, test) for pair in _read_all(split, sizes)), maxlen=0)  # for errors and sizes alone
    return DataSet(
        name=folder.resolve().name, class_names=class_names, train=train, val=val, test=test, mean=numbers.mean,
        std=numbers.std, class_shares=numbers.class_shares, size=sizes.pop() if len(sizes) == 1 else None,
        task="detect",
    )  # fmt: skip


def _read_all(split: BoxFiles, sizes: set[tuple[int, int]]) -> Iterator[tuple[NDArray[np.uint8], NDArray[Any]]]:
    """Yield every image of a split with the classes of its boxes, and note its height and width."""
    for index in range(len(split)):
        image, target = split[index]
        sizes.add((image.shape[0], image.shape[1]))
        yield image, target[:, 0].astype(np.int64)


def _voc(folder: Path) -> tuple[tuple[str, ...], dict[str, tuple[Path, Annotated]]]:
    """Return the classes, and each image with its XML file's boxes, by its name without ending."""
    images, annotations = _images(folder), by_name(folder / "annotations", (".xml",))
    if missing := sorted(images.keys() - annotations.keys()):
        raise DataError(
            f"{images[missing[0]]}: no {missing[0]}.xml in annotations/{more(missing)}. Add it, or remove the image."
        )
    if alone := sorted(annotations.keys() - images.keys()):
        raise DataError(
            f"{annotations[alone[0]]}: no image '{alone[0]}' in images/{more(alone)}. Add it, or remove the annotation."
        )
    read = {name: read_voc(path) for name, path in annotations.items()}
    return _class_names(folder, read), {name: (images[name], read[name]) for name in images}


def _class_names(folder: Path, read: Mapping[str, Annotated]) -> tuple[str, ...]:
    found = [one for annotated in read.values() for one in annotated.objects]
    path = folder / "classes.txt"
    if not path.is_file():
        return _checked(sorted({one.name for one in found}), folder / "annotations")
    try:
        lines = files.read_bytes(path, max_bytes=1 << 20).decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file in UTF-8 ({error}). Save it as UTF-8.") from error
    names = _checked([line.strip() for line in lines if line.strip()], path)
    for one in found:
        if one.name not in names:
            raise DataError(
                f"{one.where} is no class in {path.name}: {', '.join(names[:20])}. Add or correct the name."
            )
    return names


def _checked(names: Sequence[str], place: Path) -> tuple[str, ...]:
    if not 0 < len(names) <= MAX_CLASSES or len(set(names)) != len(names):
        raise DataError(
            f"{place}: {len(names)} names of classes, {len(set(names))} of them different; there must be 1 to "
            f"{MAX_CLASSES}, each once."
        )
    return tuple(names)


def _coco(folder: Path) -> tuple[tuple[str, ...], dict[str, tuple[Path, Annotated]]]:
    """Return the classes, and each image with its boxes, by its name without ending."""
    path = folder / "annotations.json"
    if (folder / "annotations").is_dir():
        raise DataError(f"{folder}: both annotations/ and annotations.json; keep one of the two.")
    images = _images(folder)
    names, by_file = read_coco(path)
    known = {image.name for image in images.values()}
    if missing := sorted(known - by_file.keys()):
        raise DataError(
            f"{folder / 'images' / missing[0]}: not among the images of annotations.json{more(missing)}. Add it there "
            "(without annotations where it shows nothing), or remove the image."
        )
    if alone := sorted(by_file.keys() - known):
        raise DataError(
            f"{path}: no file '{alone[0][:80]}' in images/{more(alone)}. Add the image, or take it out of the list."
        )
    return _checked(names, path), {name: (image, by_file[image.name]) for name, image in images.items()}


def _images(folder: Path) -> dict[str, Path]:
    images = by_name(folder / "images", IMAGE_ENDINGS)
    if not images:
        raise DataError(f"{folder / 'images'}: no image in it. Put PNG or JPEG files there.")
    return images


MEMBERS = {"boxes": load}
