"""The user's own data for classification: a folder of images per class.

::

    mine/
      cat/0001.jpg  dog/0001.png       70/15/15 of each class, drawn by hash
    or
    mine/
      train/cat/0001.jpg  val/cat/0007.jpg  test/cat/0009.jpg

Every file is read once when the data set is loaded, so that what is wrong is said before an hour of training. Images
may differ in size: each is brought to the network's input, whatever its proportions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight import files
from flyweight.contracts import DataSet
from flyweight.data._arrays import statistics
from flyweight.data._pictures import read_image
from flyweight.data._split import SPLITS, drawn
from flyweight.errors import DataError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ENDINGS = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class LabelledFiles:
    """Image files with their labels, read when asked for."""

    files: tuple[tuple[Path, int], ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """Return image ``(H, W, 3)`` and label ``()``.

        Raises:
            DataError: the file can't be used; the message names it.
        """
        path, label = self.files[index]
        return read_image(path), np.array(label, np.int64)


def load(folder: Path | None = None, seed: int = 0) -> DataSet:
    """Return the data set in ``folder``; ``seed`` draws the split where the folder brings none.

    Raises:
        UsageError: no folder.
        DataError: something in it can't be used; the message names the file, what is wrong and what is allowed.
    """
    if folder is None:
        raise UsageError("'image_folders' is for a folder of yours. Give the folder's path instead.")
    names, labelled = _listed(folder) if (folder / "train").is_dir() else _drawn(folder, seed)
    train, val, test = (LabelledFiles(tuple(labelled[split])) for split in SPLITS)
    sizes: set[tuple[int, int]] = set()
    numbers = statistics(_read_all(train, sizes), len(names))
    deque((pair for split in (val, test) for pair in _read_all(split, sizes)), maxlen=0)  # for errors and sizes alone
    return DataSet(
        name=folder.resolve().name, class_names=names, train=train, val=val, test=test, mean=numbers.mean,
        std=numbers.std, class_shares=numbers.class_shares, size=sizes.pop() if len(sizes) == 1 else None,
        task="classify",
    )  # fmt: skip


def _read_all(split: LabelledFiles, sizes: set[tuple[int, int]]) -> Iterator[tuple[NDArray[np.uint8], NDArray[Any]]]:
    for index in range(len(split)):
        image, label = split[index]
        sizes.add((image.shape[0], image.shape[1]))
        yield image, label


def _drawn(folder: Path, seed: int) -> tuple[tuple[str, ...], Mapping[str, list[tuple[Path, int]]]]:
    """Return the classes and the splits, drawn for each class by itself so that none lacks one."""
    by_class = _classes(folder)
    labelled: dict[str, list[tuple[Path, int]]] = {split: [] for split in SPLITS}
    for label, (name, paths) in enumerate(by_class.items()):
        known = {path.name: path for path in paths}
        for split, chosen in drawn(folder / name, sorted(known), seed).items():
            labelled[split] += [(known[one], label) for one in chosen]
    return tuple(by_class), labelled


def _listed(folder: Path) -> tuple[tuple[str, ...], Mapping[str, list[tuple[Path, int]]]]:
    """Return the classes and the splits that the folder brings."""
    if missing := [split for split in SPLITS if not (folder / split).is_dir()]:
        raise DataError(f"{folder / missing[0]}: missing, but train/ is there. Make all three: {', '.join(SPLITS)}.")
    by_split = {split: _classes(folder / split) for split in SPLITS}
    names = tuple(by_split["train"])
    for split, by_class in by_split.items():
        if unknown := sorted(by_class.keys() ^ set(names)):
            raise DataError(
                f"{folder / split / unknown[0]}: train/ and {split}/ need the same classes; this one is only in one."
            )
    return names, {
        split: [(path, names.index(name)) for name, paths in by_class.items() for path in paths]
        for split, by_class in by_split.items()
    }


def _classes(folder: Path) -> dict[str, list[Path]]:
    """Return the images of every class, both in the order of their names."""
    found = {path.name: _images(path) for path in _entries(folder) if path.is_dir()}
    if len(found) < 2:
        raise DataError(f"{folder}: {len(found)} folders of images; a class needs its own, and there must be two.")
    return found


def _images(folder: Path) -> list[Path]:
    paths = _entries(folder)
    for path in paths:
        if path.suffix.lower() not in _ENDINGS or not path.is_file():
            raise DataError(f"{path}: allowed here are files that end in {', '.join(_ENDINGS)}. Convert or remove it.")
    if not paths:
        raise DataError(f"{folder}: the class has no image. Add some, or remove the folder.")
    return paths


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise files.file_error(folder, "read the folder", error) from error


MEMBERS = {"image_folders": load}
