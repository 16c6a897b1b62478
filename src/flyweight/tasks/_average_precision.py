"""Average precision as COCO defines it: which detections hit, and the area under the curve that they draw.

Source: Lin et al. 2014 (arXiv 1405.0312) and cocodataset.org/#detection-eval: overlaps from .5 to .95 by .05, precision
read at 101 recalls, at most 100 detections per image and class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flyweight.boxes import BOX, LAST, area, iou, shared_area

if TYPE_CHECKING:
    from numpy.typing import NDArray

OVERLAPS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
RECALLS = np.linspace(0, 1, 101)
MOST = 100
HIT, MISS, LEFT_OUT = 1, 0, -1


@dataclass(frozen=True, eq=False)
class Judged:
    """The detections of one class, judged. Two of them over different images add up with ``+``.

    Attributes:
        scores: ``(d,)``.
        verdicts: ``(10, d)``, by ``OVERLAPS``: HIT, MISS, or LEFT_OUT for one that lies on a truth that doesn't count.
        truths: how many boxes there are to find.
    """

    scores: NDArray[np.float64]
    verdicts: NDArray[np.int8]
    truths: int

    def __add__(self, other: Judged) -> Judged:
        """Return those of both sets of images together."""
        return Judged(
            np.concatenate([self.scores, other.scores]),
            np.concatenate([self.verdicts, other.verdicts], axis=1),
            self.truths + other.truths,
        )

    def average_precisions(self) -> tuple[float, ...] | None:
        """Return the average precision at each of ``OVERLAPS``; None where there is nothing to find.

        The precision at a recall is the highest one at this recall or above; where it is never reached, 0.
        """
        if not self.truths:
            return None
        order = np.argsort(-self.scores, kind="stable")
        return tuple(_average_precision(verdicts[order], self.truths) for verdicts in self.verdicts)


def _average_precision(verdicts: NDArray[np.int8], truths: int) -> float:
    counted = verdicts[verdicts != LEFT_OUT]
    hits = np.cumsum(counted == HIT)
    recall, precision = hits / truths, hits / np.arange(1, len(counted) + 1)
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(best[np.searchsorted(recall, RECALLS, side="left")].mean())


def judge(detections: NDArray[np.float32], truth: NDArray[np.float32]) -> Judged:
    """Judge the detections ``(d, 6)`` of one image and class by its truth ``(m, 6)``, rows as in ``flyweight.boxes``.

    The surest detection chooses first: of the boxes that are still free, the one that it overlaps most, if by the
    threshold at least. One that finds none is left out where it lies, by that share of its own area, on a truth that
    doesn't count, and else is a miss.
    """
    chosen = detections[np.argsort(-detections[:, LAST], kind="stable")[:MOST]].astype(np.float64)
    counts = truth[:, LAST] == 0
    wanted, others = truth[counts][:, BOX].astype(np.float64), truth[~counts][:, BOX].astype(np.float64)
    found = chosen[:, BOX]
    overlap = iou(found, wanted)
    on_others = (shared_area(found, others) / np.maximum(area(found), 1e-12)[:, None]).max(axis=1, initial=0.0)
    verdicts = np.where(on_others >= np.array(OVERLAPS)[:, None], LEFT_OUT, MISS).astype(np.int8)
    for row, threshold in enumerate(OVERLAPS):
        free = overlap.copy()
        for index in np.flatnonzero(overlap.max(axis=1, initial=0.0) >= threshold):
            best = free.shape[1] - 1 - int(free[index, ::-1].argmax())  # of equal ones the last, as in COCO's own code
            if free[index, best] >= threshold:
                verdicts[row, index] = HIT
                free[:, best] = -1.0
    return Judged(chosen[:, LAST], verdicts, int(counts.sum()))
