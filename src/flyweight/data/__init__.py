"""Data sets: images with masks, split into train, val and test. One file per kind; none of them needs torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from flyweight.contracts import DataSet
from flyweight.errors import UsageError, did_you_mean
from flyweight.family import Family

Loader: TypeAlias = "Callable[[Path | None, int], DataSet]"  # (folder or None, seed) -> data set

DATASETS: Family[Loader] = Family("flyweight.data", "data set")


def load_dataset(name_or_path: str | Path, seed: int = 0) -> DataSet:
    """Return a data set by its name, or the images and masks of a folder.

    Args:
        name_or_path: ``"blue_marble"``, or a folder with ``images/`` and ``masks/``. A folder that is called like a
            data set is written ``./blue_marble``.
        seed: of the split, for a folder that does not bring one.

    Raises:
        UsageError: neither a name nor a folder.
        DataError: the data can't be used; the message names the file.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, str) and text in DATASETS.names():
        return DATASETS.get(text)(None, seed)
    if Path(text).is_dir():
        return DATASETS.get("image_masks")(Path(text), seed)
    names = [name for name in DATASETS.names() if name != "image_masks"]
    raise UsageError(
        f"'{text}' is neither a folder nor a data set. {did_you_mean(text, names)}"
        f"Give a folder with images/ and masks/, or one of: {', '.join(names)}."
    )
