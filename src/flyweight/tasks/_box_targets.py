"""Which anchor answers for which true box: the targets of the detection losses. Numpy alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flyweight.boxes import BOX, CLASS, LAST, BoxCode, area, iou, shared_area

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

BACKGROUND, NOT_COUNTED = 0, -1  # labels; a class is one more than its index
SSD_OVERLAP = 0.5
IGNORED_SHARE = 0.5  # of an anchor's area on a truth that doesn't count: the anchor doesn't count either
YOLO_OVERLAP = 0.7  # above it a prediction without truth of its own is not blamed: ignore_thresh of cfg/yolov3-tiny.cfg


def match(code: BoxCode, truth: Floats, predicted: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Return a label ``(A,)`` and the raw columns ``(A, 4)`` to be reached, for every anchor of one image.

    Args:
        code: what the network's outputs mean.
        truth: ``(m, 6)``, in pixels of the network's input.
        predicted: ``(A, 4)``: for YOLO the boxes that the network gives now, for SSD the anchors.

    Raw columns of anchors without a truth are zero and mean nothing.
    """
    counted = truth[truth[:, LAST] == 0]
    of_truth = match_default_boxes(code, counted) if code.rule == "ssd" else match_cells(code, counted)
    labels = np.full(len(code), BACKGROUND, np.int64)
    free = of_truth < 0
    labels[_left_out(code, truth, predicted) & free] = NOT_COUNTED
    raw = np.zeros((len(code), 4), np.float32)
    if not free.all():
        labels[~free] = 1 + counted[of_truth[~free], CLASS].astype(np.int64)
        boxes = np.where(free[:, None], code.anchors, counted[of_truth][:, BOX])
        raw[~free] = code.encode(boxes)[~free]
    return labels, raw


def match_default_boxes(code: BoxCode, truth: Floats) -> NDArray[np.int64]:
    """Return the truth's index ``(A,)`` of every anchor, -1 for none.

    Each truth gets the anchor that it overlaps most, the best pairs first; then each other anchor gets the truth that
    it overlaps most, if by half at least. Source: SSD (arXiv 1512.02325), section 2.2, matching strategy.
    """
    overlap = iou(code.anchors, truth[:, BOX])
    chosen = np.full(len(code), -1, np.int64)
    if not overlap.size:
        return chosen
    near = overlap.max(axis=1) >= SSD_OVERLAP
    chosen[near] = overlap[near].argmax(axis=1)
    for _ in range(len(truth)):
        anchor, index = np.unravel_index(overlap.argmax(), overlap.shape)
        if overlap[anchor, index] <= 0:
            break
        chosen[anchor] = index
        overlap[anchor], overlap[:, index] = -1, -1
    return chosen


def match_cells(code: BoxCode, truth: Floats) -> NDArray[np.int64]:
    """Return the truth's index ``(A,)`` of every anchor, -1 for none.

    Each truth, one after the other, gets the anchor nearest to its shape (by the IoU of boxes with one centre) among
    the free ones of the cells that hold its centre, one cell a map. Source: YOLOv3 (arXiv 1804.02767), section 2.1.
    """
    chosen = np.full(len(code), -1, np.int64)
    for index, box in enumerate(truth[:, BOX]):
        center, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        off = np.abs(center - (code.origins + code.steps / 2)) / code.steps
        here = (off <= 0.5 + 1e-4).all(axis=1) & (chosen < 0)
        shared = np.minimum(code.sizes, size).prod(axis=1)
        shape = shared / (code.sizes.prod(axis=1) + size.prod() - shared)
        if here.any():
            chosen[np.where(here, shape, -1).argmax()] = index
    return chosen


def _left_out(code: BoxCode, truth: Floats, predicted: Floats) -> NDArray[np.bool_]:
    """Return which anchors are no background even without a truth of their own."""
    ignored = truth[truth[:, LAST] != 0][:, BOX]
    share = shared_area(predicted, ignored) / np.maximum(area(predicted), np.float32(1e-6))[:, None]
    left_out: NDArray[np.bool_] = share.max(axis=1, initial=0.0) >= IGNORED_SHARE
    if code.rule == "yolo":
        left_out |= iou(predicted, truth[:, BOX]).max(axis=1, initial=0.0) > YOLO_OVERLAP
    return left_out
