"""Data sets: images with masks, labels or boxes, in three splits. One file per kind; none needs torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from flyweight.contracts import DataSet
from flyweight.errors import UsageError, did_you_mean
from flyweight.family import Family

Loader: TypeAlias = "Callable[[Path | None, int], DataSet]"  # (folder or None, seed) -> data set

DATASETS: Family[Loader] = Family("flyweight.data", "data set")
FOLDER_KINDS = ("boxes", "image_masks", "image_folders", "idx")  # these need a folder, and are found by what it holds


def load_dataset(name_or_path: str | Path, seed: int = 0) -> DataSet:
    """Return a data set by its name, or that of a folder.

    Args:
        name_or_path: ``"blue_marble"``; or a folder with ``images/`` and ``masks/`` (segmentation), with ``images/``
            and ``annotations/`` or ``annotations.json`` (detection), with a folder of images per class
            (classification), or with IDX files (MNIST and its like). A folder that is called like a data set is written
            ``./blue_marble``.
        seed: of the split, for a folder that does not bring one.

    Raises:
        UsageError: neither a name nor a folder.
        DataError: the data can't be used; the message names the file.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, str) and text in DATASETS.names():
        return DATASETS.get(text)(None, seed)
    if Path(text).is_dir():
        return DATASETS.get(_kind_of(Path(text)))(Path(text), seed)
    names = [name for name in DATASETS.names() if name not in FOLDER_KINDS]
    raise UsageError(
        f"'{text}' is neither a folder nor a data set. {did_you_mean(text, names)}"
        "Give a folder with images/ and masks/ or annotations/, or with a folder per class, or one of: "
        f"{', '.join(names)}."
    )


def _kind_of(folder: Path) -> str:
    """Return which kind of data set a folder holds; what holds nothing known counts as images and masks."""
    if any(folder.glob("*-idx3-ubyte*")):
        return "idx"
    boxed = (folder / "annotations").is_dir() or (folder / "annotations.json").is_file()
    if boxed and not (folder / "masks").is_dir():
        return "boxes"
    if (folder / "images").is_dir() or (folder / "masks").is_dir():
        return "image_masks"
    return "image_folders" if any(path.is_dir() for path in folder.iterdir()) else "image_masks"
