"""Splits held in memory, and the statistics that are computed on a training split."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

IGNORE = 255  # a mask's value where there is no truth


@dataclass(frozen=True, eq=False)
class ArraySplit:
    """Images ``(n, H, W, 3)``, ``uint8``, and masks ``(n, H, W)`` or labels ``(n,)``, each in one array.

    ``tiles`` holds the top left corner (row, column in pixels of the source) of each image where it was cut from a
    larger picture; else it is empty.
    """

    images: NDArray[np.uint8]
    targets: NDArray[Any]
    tiles: tuple[tuple[int, int], ...] = ()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        """Return image ``(H, W, 3)`` and mask ``(H, W)``, or label ``()``."""
        return self.images[index], self.targets[index, ...]


@dataclass(frozen=True)
class Statistics:
    """Per-channel mean and standard deviation of images scaled to 0..1, and each class's share of the pixels."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    class_shares: tuple[float, ...]


def statistics(pairs: Iterable[tuple[NDArray[np.uint8], NDArray[Any]]], class_count: int) -> Statistics:
    """Return the statistics of pairs of image ``(..., 3)`` and mask or label, in one pass and in exact integers.

    Every channel is counted in a histogram of its 256 values, so that neither the order of the images nor rounding
    changes the result. Pixels whose mask is 255 count for mean and std, not for the shares.

    Raises:
        DataError: there is no image, or no pixel of any class.
    """
    channels = np.zeros((3, 256), np.int64)
    classes = np.zeros(max(256, class_count), np.int64)
    for image, mask in pairs:
        for channel in range(3):
            channels[channel] += np.bincount(image[..., channel].ravel(), minlength=256)
        classes += np.bincount(mask.ravel(), minlength=len(classes))
    total, truth = int(channels[0].sum()), int(classes[:class_count].sum())
    if not total or not truth:
        raise DataError("the training split has no pixel with a class. Add images whose masks name one.")
    values = np.arange(256) / 255.0
    mean = channels @ values / total
    # a picture of one colour has no spread; dividing by zero later would give NaN, so its std counts as one grey level
    std = np.maximum(np.sqrt(channels @ values**2 / total - mean**2), 1 / 255.0)
    shares = classes[:class_count] / truth
    return Statistics(_triple(mean), _triple(std), tuple(float(share) for share in shares))


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = (round(float(value), 6) for value in values)
    return red, green, blue
