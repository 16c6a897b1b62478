"""Classification: from logits to classes, the loss and the metrics. Numpy alone, except for the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from flyweight.boxes import BoxCode

TOP = 5


@dataclass(frozen=True)
class ClassifyMetrics:
    """How well images were classified. Two of them over different images add up with ``+``.

    Attributes:
        confusion: images by true class (row) and predicted class (column).
        among_top5: images whose true class is among the five most likely; all of them where there are five or fewer.
        by_class: share of each true class's images that got it; None for a class without images.
    """

    class_names: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    among_top5: int

    def __add__(self, other: ClassifyMetrics) -> ClassifyMetrics:
        """Return the metrics of both sets of images together."""
        if self.class_names != other.class_names:
            raise DataError("metrics of different classes can't be added. Score with the same data set.")
        both = np.array(self.confusion) + np.array(other.confusion)
        return ClassifyMetrics(self.class_names, _rows(both), self.among_top5 + other.among_top5)

    @property
    def images(self) -> int:
        """The number of images."""
        return sum(map(sum, self.confusion))

    @property
    def top1(self) -> float:
        """Share of the images that got their class."""
        return float(np.trace(np.array(self.confusion)) / self.images)

    @property
    def top5(self) -> float:
        """Share of the images whose class is among the five most likely."""
        return self.among_top5 / self.images

    @property
    def by_class(self) -> dict[str, float | None]:
        """Share of each class's images that got it."""
        counts = np.array(self.confusion)
        totals = counts.sum(axis=1)
        return {name: float(counts[i, i] / totals[i]) if totals[i] else None for i, name in enumerate(self.class_names)}

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON; shares from 0 to 1."""
        return {
            "top1": self.top1, "top5": self.top5, "by_class": self.by_class, "images": self.images,
            "confusion": [list(row) for row in self.confusion],
        }  # fmt: skip


def measure_logits(
    logits: NDArray[np.float32], labels: NDArray[np.int64], class_names: Sequence[str]
) -> ClassifyMetrics:
    """Compare logits ``(n, K)`` with labels ``(n,)``; of equally likely classes the first one counts as predicted.

    Raises:
        DataError: other shapes, no image, or a label that is no class.
    """
    count = len(class_names)
    if logits.shape != (len(labels), count) or not len(labels):
        raise DataError(f"logits are {logits.shape}; wanted: ({len(labels)}, {count}), and at least one image.")
    if not 0 <= labels.min() <= labels.max() < count:
        raise DataError(f"labels reach from {labels.min()} to {labels.max()}; allowed are 0 to {count - 1}.")
    order = np.argsort(-logits, axis=1, kind="stable")[:, :TOP]
    table = np.bincount(labels * count + order[:, 0], minlength=count**2).reshape(count, count)
    return ClassifyMetrics(tuple(class_names), _rows(table), int((order == labels[:, None]).any(axis=1).sum()))


def _rows(table: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(int(value) for value in row) for row in table)


class Classify:
    """Images with one class each: a target is a label, a whole number without axes."""

    spatial = False

    def fitted(self, boxes: BoxCode | None) -> Classify:
        """Return the same task: all networks are alike to it."""
        return self

    def flipped(self, target: NDArray[Any], horizontal: bool, vertical: bool) -> NDArray[Any]:
        """Return the target: a mirrored image keeps its class."""
        return target

    def batch(self, targets: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return labels ``(n,)``."""
        return np.stack(targets).astype(np.int64)

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the cross-entropy of logits ``(n, K)`` with labels ``(n,)``; ``weights`` ``(K,)`` by true class."""
        import torch.nn.functional as F

        return F.cross_entropy(outputs, targets.long(), weights)


MEMBERS = {"classify": Classify()}
