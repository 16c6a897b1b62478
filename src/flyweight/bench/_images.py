"""The inputs that artifacts are compared on, and the images and truth that they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight.contracts import DataSet, Preprocessing, Split
from flyweight.data import load_dataset
from flyweight.errors import DataError
from flyweight.evaluate import preprocess

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Chosen:
    """Some images of a split, evenly spread over it."""

    split: Split
    count: int

    @property
    def places(self) -> NDArray[np.int64]:
        """Where they stand in the split."""
        return np.linspace(0, len(self.split) - 1, min(self.count, len(self.split))).astype(np.int64)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        return self.split[int(self.places[index])]


def judged(data: str, count: int) -> tuple[DataSet, Chosen]:
    """Return a data set and ``count`` images of its test split, fewer where it has fewer.

    Raises:
        UsageError, DataError: there is no such data, or it can't be read.
    """
    dataset = load_dataset(data)
    return dataset, Chosen(dataset.test, count)


def inputs_of(preprocessing: Preprocessing, data: str, count: int, *, sample: bool) -> tuple[NDArray[np.float32], str]:
    """Return inputs ``(n, C, H, W)`` and what they are, in words.

    Args:
        sample: nobody named the data. Where it can't be had, or has another number of channels, noise takes its place.

    Raises:
        UsageError, DataError: as ``judged``, of data that was named.
    """
    try:
        dataset, images = judged(data, count)
        inputs = np.concatenate([preprocess(images[index][0][None], preprocessing) for index in range(len(images))])
    except DataError:
        if not sample:
            raise
        shape = (count, len(preprocessing.mean), preprocessing.height, preprocessing.width)
        return np.random.default_rng(0).standard_normal(shape).astype(np.float32), f"{count} images of noise"
    return inputs, f"{len(inputs)} images of {dataset.name}"
