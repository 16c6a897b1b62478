"""Detection: from truth to the loss, and from detections to the metrics.

A target is ``(m, 6)``, ``float32``: class, left, top, right, bottom, and whether it is to be ignored (1) or counts (0).
Its boxes are in shares of the image's width and height, so that they fit an image brought to any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from flyweight.boxes import BOX, CLASS, BoxCode
from flyweight.errors import DataError, UsageError
from flyweight.tasks._average_precision import OVERLAPS, Judged, judge
from flyweight.tasks._box_targets import match

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.float32]

PAD = -1.0  # the class of a row that only fills a batch up
COLUMNS = 6


def in_pixels(truth: Floats, height: int, width: int) -> Floats:
    """Return truth ``(m, 6)`` with boxes in pixels, from shares of an image's width and height."""
    scaled = np.array(truth, np.float32)
    scaled[:, BOX] *= np.array([width, height, width, height], np.float32)
    return scaled


# ---- the metrics ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class DetectMetrics:
    """How well boxes were found. Two of them over different images add up with ``+``.

    A detection is right where it has the class and overlaps a box that no surer one has taken. mAP is the mean of the
    classes' average precisions; a class without truth is None, and no mean counts it.
    """

    class_names: tuple[str, ...]
    judged: tuple[Judged, ...]
    images: int

    def __add__(self, other: DetectMetrics) -> DetectMetrics:
        """Return the metrics of both sets of images together."""
        if self.class_names != other.class_names:
            raise DataError("metrics of different classes can't be added. Score with the same data set.")
        both = tuple(mine + theirs for mine, theirs in zip(self.judged, other.judged, strict=True))
        return DetectMetrics(self.class_names, both, self.images + other.images)

    @property
    def map50(self) -> float | None:
        """Mean average precision where a box is found by an IoU of .5."""
        return self._mean(slice(0, 1))

    @property
    def map50_95(self) -> float | None:
        """Mean average precision, averaged over IoUs from .5 to .95 by .05: COCO's headline."""
        return self._mean(slice(None))

    @property
    def by_class(self) -> dict[str, float | None]:
        """Average precision over IoUs from .5 to .95, by class."""
        found = [judged.average_precisions() for judged in self.judged]
        return {
            name: None if one is None else float(np.mean(one))
            for name, one in zip(self.class_names, found, strict=True)
        }

    @property
    def truths(self) -> int:
        """The number of boxes to be found."""
        return sum(judged.truths for judged in self.judged)

    def _mean(self, overlaps: slice) -> float | None:
        found = [one[overlaps] for judged in self.judged if (one := judged.average_precisions()) is not None]
        return float(np.mean(found)) if found else None

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON; shares from 0 to 1."""
        return {
            "map50": self.map50, "map50_95": self.map50_95, "by_class": self.by_class, "images": self.images,
            "truths": self.truths, "overlaps": list(OVERLAPS),
        }  # fmt: skip


def measure_boxes(detections: Sequence[Floats], truth: Sequence[Floats], class_names: Sequence[str]) -> DetectMetrics:
    """Compare the detections ``(d, 6)`` of every image with its truth ``(m, 6)``, both in the same unit.

    Raises:
        DataError: another number of images, none, another shape, or a class that there is not.
    """
    if len(detections) != len(truth) or not truth:
        raise DataError(f"detections of {len(detections)} images, truth of {len(truth)}. There must be one for each.")
    for what, tables in (("detections", detections), ("truth", truth)):
        for index, table in enumerate(tables):
            _check(table, len(class_names), f"{what} of image {index}")
    judged = [
        reduce(
            Judged.__add__,
            (judge(d[d[:, CLASS] == k], t[t[:, CLASS] == k]) for d, t in zip(detections, truth, strict=True)),
        )
        for k in range(len(class_names))
    ]
    return DetectMetrics(tuple(class_names), tuple(judged), len(truth))


def _check(table: Floats, classes: int, what: str) -> None:
    if table.ndim != 2 or table.shape[1] != COLUMNS:
        raise DataError(f"{what}: {table.shape}; wanted: (boxes, {COLUMNS}).")
    if len(table) and not np.isin(table[:, CLASS], np.arange(classes)).all():
        raise DataError(
            f"{what}: classes reach from {table[:, 0].min()} to {table[:, 0].max()}; allowed are 0 to {classes - 1}."
        )


# ---- the task ---------------------------------------------------------------------------------------------------


class Detect:
    """Images with boxes: a target is ``(m, 6)`` and may be empty."""

    spatial = False

    def __init__(self, code: BoxCode | None = None) -> None:
        self.code = code

    def fitted(self, boxes: BoxCode | None) -> Detect:
        """Return the task for a network whose outputs mean ``boxes``.

        Raises:
            UsageError: they mean none.
        """
        if boxes is None:
            raise UsageError("the data set holds boxes, but the network gives none. Take one whose task is 'detect'.")
        return Detect(boxes)

    def flipped(self, target: NDArray[Any], horizontal: bool, vertical: bool) -> NDArray[Any]:
        """Return the target of the mirrored image."""
        flipped = target.copy()
        if horizontal:
            flipped[:, [1, 3]] = 1 - target[:, [3, 1]]
        if vertical:
            flipped[:, [2, 4]] = 1 - target[:, [4, 2]]
        return flipped

    def batch(self, targets: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return the targets as one array ``(n, most boxes, 6)``; rows of class -1 fill it up."""
        joined = np.zeros((len(targets), max(map(len, targets)), COLUMNS), np.float32)
        joined[..., CLASS] = PAD
        for row, target in zip(joined, targets, strict=True):
            row[: len(target)] = target
        return joined

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the loss of raw outputs ``(n, A, 5 + K)`` and targets ``(n, m, 6)``; ``weights`` ``(K,)`` by class.

        SSD's or YOLO's, as the network's boxes are coded.
        """
        import torch

        from flyweight.tasks import _box_loss

        code = self.fitted(self.code).code
        assert code is not None  # fitted checked it
        raw_now = outputs.detach().cpu().float().numpy()
        predicted = code.boxes(raw_now) if code.rule == "yolo" else [code.anchors] * len(outputs)
        tables = targets.cpu().numpy()
        truth = [in_pixels(table[table[:, CLASS] != PAD], code.height, code.width) for table in tables]
        matched = [match(code, one, boxes) for one, boxes in zip(truth, predicted, strict=True)]
        labels = torch.from_numpy(np.stack([label for label, _ in matched])).to(outputs.device)
        raw = torch.from_numpy(np.stack([columns for _, columns in matched])).to(outputs.device)
        if code.rule == "ssd":
            return _box_loss.multibox(outputs, labels, raw, weights)
        sizes = code.sizes * np.exp(np.stack([columns for _, columns in matched])[..., 2:])
        shares = np.minimum(sizes.prod(axis=2) / (code.height * code.width), 1).astype(np.float32)
        return _box_loss.cells(outputs, labels, raw, torch.from_numpy(shares).to(outputs.device), weights)


MEMBERS = {"detect": Detect()}
