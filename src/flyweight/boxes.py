"""Boxes: how they overlap, what the raw outputs of a detection network stand for, and which of them to keep.

A box is (left, top, right, bottom). Truth is ``(m, 6)`` with rows (class, left, top, right, bottom, ignored);
detections are ``(d, 6)`` with rows (class, left, top, right, bottom, score). A network's raw output is
``(n, A, 5 + K)`` for A anchors and K classes: the finest map first, in a map row by row, in a row cell by cell, in a
cell anchor by anchor; the columns are x, y, width, height, a fifth one, and a logit per class. ``BoxCode`` says what
they mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from flyweight.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

N = TypeVar("N", np.float32, np.float64)
CLASS, BOX, LAST = 0, slice(1, 5), 5  # columns of truth and detections; the last: ignored, or the score
EXTRA_COLUMNS = 5  # of a raw output, before the classes
LARGEST_LOG = float(np.log(1000 / 16))  # a box is at most so much larger than its anchor: exp can't overflow


@dataclass(frozen=True)
class Selection:
    """Which detections to keep: scores above ``score``, of boxes of one class that overlap by more than ``overlap``
    (IoU) the one with the highest score, and in all the ``most`` highest scores of an image.
    """

    score: float = 0.01
    overlap: float = 0.5
    most: int = 100

    def __post_init__(self) -> None:
        if not (0 <= self.score < 1 and 0 <= self.overlap <= 1 and 1 <= self.most <= 10_000):
            raise UsageError(
                f"{self}: allowed are a score from 0 to below 1, an overlap from 0 to 1, and most from 1 to 10000."
            )


@dataclass(frozen=True, eq=False)
class BoxCode:
    """What the raw outputs of one network mean. All lengths are in pixels of the network's input.

    ========  ====================================  =======================================
    rule      ``ssd``                               ``yolo``
    ========  ====================================  =======================================
    centre    origin + step · t                     origin + step · sigmoid(t)
    size      anchor size · exp(gain · t)           anchor size · exp(gain · t)
    score     softmax over background and classes   sigmoid(objectness) · sigmoid(class)
    ========  ====================================  =======================================

    The fifth column is the background's logit (``ssd``) or the objectness (``yolo``). Boxes are cut off at the input's
    borders. Sources: Liu et al. 2016, SSD (arXiv 1512.02325), section 2.2; Redmon and Farhadi 2018, YOLOv3 (arXiv
    1804.02767), section 2.1.

    Attributes:
        origins: ``(A, 2)``, x and y: an anchor's centre (``ssd``), or its cell's top left corner (``yolo``).
        steps: ``(A, 2)``: how far one unit of t moves the centre in x and y.
        sizes: ``(A, 2)``, width and height of the anchors.
        gain: by how much t is scaled in the size's exponent.
        height, width: of the network's input.
    """

    rule: Literal["ssd", "yolo"]
    origins: Floats
    steps: Floats
    sizes: Floats
    gain: float
    height: int
    width: int
    classes: int

    def __len__(self) -> int:
        """Return the number of anchors."""
        return len(self.origins)

    @property
    def anchors(self) -> Floats:
        """The anchors as boxes ``(A, 4)``, where all offsets are zero; not cut off at the borders."""
        centers = self.origins if self.rule == "ssd" else self.origins + self.steps * np.float32(0.5)
        return _corners(centers, self.sizes)

    def decode(self, raw: Floats) -> tuple[Floats, Floats]:
        """Map raw outputs ``(…, A, 5 + K)`` to boxes ``(…, A, 4)`` and scores ``(…, A, K)`` from 0 to 1.

        Raises:
            UsageError: another number of anchors or classes.
        """
        if raw.shape[-2:] != (len(self), EXTRA_COLUMNS + self.classes):
            raise UsageError(
                f"raw outputs are {raw.shape}; this network's are (n, {len(self)}, {EXTRA_COLUMNS + self.classes})."
            )
        return self.boxes(raw), self._scores(raw[..., 4:])

    def boxes(self, raw: Floats) -> Floats:
        """Map raw outputs, of which only four columns are read, to boxes ``(…, A, 4)``."""
        shift = raw[..., :2] if self.rule == "ssd" else sigmoid(raw[..., :2])
        growth = np.minimum(np.float32(self.gain) * raw[..., 2:4], np.float32(LARGEST_LOG))
        boxes = _corners(self.origins + self.steps * shift, self.sizes * np.exp(growth))
        limits = np.array([self.width, self.height, self.width, self.height], np.float32)
        inside: Floats = np.clip(boxes, np.float32(0), limits)
        return inside

    def _scores(self, logits: Floats) -> Floats:
        if self.rule == "yolo":
            return sigmoid(logits[..., :1]) * sigmoid(logits[..., 1:])
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        scores: Floats = (powers / powers.sum(axis=-1, keepdims=True))[..., 1:]
        return scores

    def encode(self, boxes: Floats) -> Floats:
        """Return the raw columns ``(A, 4)`` that stand for one box ``(A, 4)`` per anchor: ``decode`` undone."""
        sizes = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-3)
        shift = ((boxes[:, :2] + boxes[:, 2:]) / 2 - self.origins) / self.steps
        if self.rule == "yolo":
            inner = np.clip(shift, 1e-6, 1 - 1e-6)
            shift = np.log(inner / (1 - inner))
        raw: Floats = np.concatenate([shift, np.log(sizes / self.sizes) / self.gain], axis=1).astype(np.float32)
        return raw

    def detections(self, raw: Floats, keep: Selection | None = None) -> Floats:
        """Return the detections ``(d, 6)`` of one image from its raw outputs ``(A, 5 + K)``, the surest first.

        Of equal scores the lower class comes first, and in a class the lower anchor.
        """
        keep = keep or Selection()
        boxes, scores = self.decode(raw)
        found = [_of_class(boxes, scores[:, index], index, keep) for index in range(self.classes)]
        rows = np.concatenate(found)
        order = np.argsort(-rows[:, LAST], kind="stable")[: keep.most]
        kept: Floats = rows[order]
        return kept


def _of_class(boxes: Floats, scores: Floats, index: int, keep: Selection) -> Floats:
    likely = np.flatnonzero(scores > np.float32(keep.score))
    kept = likely[nms(boxes[likely], scores[likely], keep.overlap, keep.most)]
    rows = np.empty((len(kept), 6), np.float32)
    rows[:, CLASS], rows[:, BOX], rows[:, LAST] = index, boxes[kept], scores[kept]
    return rows


def nms(boxes: Floats, scores: Floats, overlap: float = 0.5, most: int | None = None) -> NDArray[np.int64]:
    """Return the indices of the boxes ``(n, 4)`` that stay, the highest score first: greedy non-maximum suppression.

    A box goes where one that stays has a higher score (or the same and a lower index) and an IoU above ``overlap``.
    ``most``: end when so many have been found.
    """
    left = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(left) and (most is None or len(kept) < most):
        best, left = left[0], left[1:]
        kept.append(int(best))
        left = left[iou(boxes[best : best + 1], boxes[left])[0] <= np.float32(overlap)]
    return np.array(kept, np.int64)


def iou(first: NDArray[N], second: NDArray[N]) -> NDArray[N]:
    """Return ``(a, b)``: shared over joint area of boxes ``(a, 4)`` with boxes ``(b, 4)``; 0 where both are empty."""
    shared = shared_area(first, second)
    joint = area(first)[:, None] + area(second) - shared
    ratio: NDArray[N] = np.divide(shared, joint, out=np.zeros_like(shared), where=joint > 0)
    return ratio


def shared_area(first: NDArray[N], second: NDArray[N]) -> NDArray[N]:
    """Return ``(a, b)``: the area that boxes ``(a, 4)`` share with boxes ``(b, 4)``."""
    low, high = np.maximum(first[:, None, :2], second[:, :2]), np.minimum(first[:, None, 2:], second[:, 2:])
    return _product(np.maximum(high - low, 0))


def area(boxes: NDArray[N]) -> NDArray[N]:
    """Return the areas of boxes ``(n, 4)``; a box that ends before it begins has none."""
    return _product(np.maximum(boxes[:, 2:] - boxes[:, :2], 0))


def _product(sides: NDArray[N]) -> NDArray[N]:
    product: NDArray[N] = sides[..., 0] * sides[..., 1]  # many times faster than prod over so short an axis
    return product


def sigmoid(values: Floats) -> Floats:
    """Return 1 / (1 + exp(-values)), without overflow."""
    result: Floats = np.float32(0.5) * (np.float32(1) + np.tanh(np.float32(0.5) * values))
    return result


def _corners(centers: Floats, sizes: Floats) -> Floats:
    half = sizes * np.float32(0.5)
    corners: Floats = np.concatenate([centers - half, centers + half], axis=-1)
    return corners
