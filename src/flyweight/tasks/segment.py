"""Segmentation: from logits to masks, the loss, the metrics, and pictures of masks.

Everything is scored on the full mask: logits of a smaller network are first brought to the mask's size, bilinearly, so
that a network pays for what it no longer sees. Numpy alone, except for ``loss``.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from flyweight.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from flyweight.boxes import BoxCode

IGNORE = 255  # a mask's value where there is no truth
BAND_PX = 3
MAX_WEIGHT_RATIO = 20.0
_PALETTE = (
    (31, 119, 180), (255, 187, 120), (44, 160, 44), (214, 39, 40), (148, 103, 189), (140, 86, 75), (227, 119, 194),
    (188, 189, 34), (23, 190, 207), (255, 152, 150),
)  # fmt: skip
_NO_TRUTH = (128, 128, 128)


# ---- from logits to masks ---------------------------------------------------------------------------------------


def resize_bilinear(logits: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Resize ``(n, K, h, w)`` to ``(n, K, height, width)``, bilinearly (PyTorch's ``align_corners=False``)."""
    if logits.shape[2:] == (height, width):
        return logits
    rows, columns = _bilinear(logits.shape[2], height), _bilinear(logits.shape[3], width)
    resized: NDArray[np.float32] = rows @ (logits @ columns.T)
    return resized


@cache
def _bilinear(size: int, wanted: int) -> NDArray[np.float32]:
    """Return ``(wanted, size)``: how much each input position weighs in each output position."""
    position = np.maximum((np.arange(wanted) + 0.5) * size / wanted - 0.5, 0.0)
    below = np.minimum(position.astype(int), size - 1)
    above = np.minimum(below + 1, size - 1)
    weights = np.zeros((wanted, size), np.float32)
    np.add.at(weights, (np.arange(wanted), below), 1 - (position - below))
    np.add.at(weights, (np.arange(wanted), above), position - below)
    weights.setflags(write=False)  # it is shared by all callers
    return weights


def masks_of(logits: NDArray[np.float32], height: int, width: int) -> NDArray[np.uint8]:
    """Return the most likely class of every pixel: ``(n, K, h, w)`` to ``(n, height, width)``; ties go to the first."""
    masks: NDArray[np.uint8] = resize_bilinear(logits, height, width).argmax(axis=1).astype(np.uint8)
    return masks


# ---- the loss ---------------------------------------------------------------------------------------------------


def loss(logits: Tensor, masks: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the cross-entropy of logits ``(n, K, h, w)`` with masks ``(n, H, W)``, averaged over pixels with a truth.

    The logits are resized to the masks, bilinearly. ``weights`` ``(K,)``: a pixel counts as much as its true class
    weighs. Pixels of 255 don't count; a batch without any other has loss 0.
    """
    import torch.nn.functional as F

    if logits.shape[2:] != masks.shape[1:]:
        logits = F.interpolate(logits, size=masks.shape[1:], mode="bilinear", align_corners=False)
    if not bool((masks != IGNORE).any()):
        return logits.sum() * 0.0
    return F.cross_entropy(logits, masks.long(), weights, ignore_index=IGNORE)


def class_weights(shares: Sequence[float], power: float = 0.5) -> tuple[float, ...]:
    """Return a weight per class for the loss: rare classes weigh more, but not as much more as they are rarer.

    ``share ** -power``, at most 20 times the smallest weight, scaled so that a pixel of the training split weighs 1
    on average. A power of 0 is no weighting, under which a class of 1 % is given up; 1 gives every class the same say,
    under which a rare one is seen everywhere. A class that training never shows gets weight 0.

    Raises:
        DataError: the shares are not shares.
    """
    given = np.asarray(shares, np.float64)
    if given.ndim != 1 or not np.all(np.isfinite(given)) or (given < 0).any() or not given.sum() > 0:
        raise DataError(f"class shares are {list(shares)}; each must be 0 or more, and one above 0. Check the masks.")
    given = given / given.sum()
    seen = given > 0
    raw = np.zeros_like(given)
    raw[seen] = given[seen] ** -power
    raw = np.minimum(raw, raw[seen].min() * MAX_WEIGHT_RATIO)
    return tuple(float(weight) for weight in raw / (raw * given).sum())


class Segment:
    """Images with a class per pixel: a target is a mask ``(H, W)``, 255 where there is no truth."""

    spatial = True

    def fitted(self, boxes: BoxCode | None) -> Segment:
        """Return the same task: all networks are alike to it."""
        return self

    def flipped(self, target: NDArray[Any], horizontal: bool, vertical: bool) -> NDArray[Any]:
        """Return the mask, mirrored as its image."""
        return target[:: -1 if vertical else 1, :: -1 if horizontal else 1]

    def batch(self, targets: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Return masks ``(n, H, W)``."""
        return np.stack(targets).astype(np.int64)

    def loss(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """As the function ``loss``."""
        return loss(outputs, targets, weights)


MEMBERS = {"segment": Segment()}


# ---- the metrics ------------------------------------------------------------------------------------------------

Counts = tuple[tuple[int, ...], ...]  # (K, K): how many pixels of true class (row) were given which class (column)


@dataclass(frozen=True)
class SegmentMetrics:
    """How well masks were predicted. Two of them over different images add up with ``+``.

    IoU of a class: pixels that truth and prediction share, over pixels that either has, summed over all images. A class
    that neither has is None, and no mean counts it. Groups (e.g. land, water) are classes taken as one; without groups
    every class is its own.

    Attributes:
        confusion: pixels by true class (row) and predicted class (column).
        coast_confusion: the same, only of pixels with a pixel of another group at most ``band_px`` away in truth, by
            chessboard distance (the larger of the distances in rows and in columns).
        tiles: the number of images.
    """

    class_names: tuple[str, ...]
    groups: tuple[tuple[str, tuple[int, ...]], ...]
    confusion: Counts
    coast_confusion: Counts
    tiles: int
    band_px: int = BAND_PX

    def __add__(self, other: SegmentMetrics) -> SegmentMetrics:
        """Return the metrics of both sets of images together."""
        if (self.class_names, self.groups, self.band_px) != (other.class_names, other.groups, other.band_px):
            raise DataError(
                "metrics of different classes, groups or bands can't be added. Score with the same data set."
            )
        return SegmentMetrics(
            self.class_names, self.groups, _added(self.confusion, other.confusion),
            _added(self.coast_confusion, other.coast_confusion), self.tiles + other.tiles, self.band_px,
        )  # fmt: skip

    @property
    def iou(self) -> dict[str, float | None]:
        """IoU by class."""
        alone = tuple((name, (index,)) for index, name in enumerate(self.class_names))
        return _ious(self.confusion, alone)

    @property
    def grouped_iou(self) -> dict[str, float | None]:
        """IoU by group."""
        return _ious(self.confusion, self.groups)

    @property
    def coast_iou(self) -> dict[str, float | None]:
        """IoU by group, in the band along the boundaries."""
        return _ious(self.coast_confusion, self.groups)

    @property
    def miou(self) -> float | None:
        """Mean IoU over classes."""
        return _mean(self.iou)

    @property
    def grouped_miou(self) -> float | None:
        """Mean IoU over groups."""
        return _mean(self.grouped_iou)

    @property
    def coast_miou(self) -> float | None:
        """Mean IoU over groups, in the band along the boundaries."""
        return _mean(self.coast_iou)

    @property
    def pixel_accuracy(self) -> float | None:
        """Share of the pixels that got their class; None without pixels."""
        counts = np.array(self.confusion)
        return float(np.trace(counts) / counts.sum()) if counts.sum() else None

    def to_json(self) -> dict[str, Any]:
        """Return plain data for JSON; shares from 0 to 1."""
        return {
            "miou": self.miou, "pixel_accuracy": self.pixel_accuracy, "grouped_miou": self.grouped_miou,
            "coast_miou": self.coast_miou, "iou": self.iou, "grouped_iou": self.grouped_iou,
            "coast_iou": self.coast_iou, "tiles": self.tiles, "band_px": self.band_px,
            "confusion": [list(row) for row in self.confusion],
        }  # fmt: skip


def measure_masks(
    predicted: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    class_names: tuple[str, ...],
    groups: Mapping[str, tuple[int, ...]] | None = None,
    band_px: int = BAND_PX,
) -> SegmentMetrics:
    """Compare masks ``(n, H, W)`` with the truth; pixels whose truth is 255 don't count.

    Raises:
        DataError: other shapes, or a value that is no class.
    """
    if predicted.shape != truth.shape or truth.ndim != 3:
        raise DataError(f"predicted masks are {predicted.shape}, the truth is {truth.shape}. Both must be (n, H, W).")
    count = len(class_names)
    named = tuple((groups or {name: (index,) for index, name in enumerate(class_names)}).items())
    band = near_boundary(truth, [classes for _, classes in named], band_px)
    return SegmentMetrics(
        class_names, named, _confusion(predicted, truth, count), _confusion(predicted[band], truth[band], count),
        len(truth), band_px,
    )  # fmt: skip


def near_boundary(truth: NDArray[np.uint8], groups: Sequence[Sequence[int]], band_px: int) -> NDArray[np.bool_]:
    """Return which pixels of ``(n, H, W)`` have a pixel of another group at most ``band_px`` rows and columns away.

    Pixels of no group, as those of 255, are in no band and make no boundary.
    """
    near = np.zeros((len(groups), *truth.shape), np.bool_)
    for index, classes in enumerate(groups):
        near[index] = _widened(_widened(np.isin(truth, classes), 1, band_px), 2, band_px)
    member = np.isin(truth, [one for classes in groups for one in classes])
    band: NDArray[np.bool_] = (near.sum(axis=0) > 1) & member
    return band


def _widened(here: NDArray[np.bool_], axis: int, reach_px: int) -> NDArray[np.bool_]:
    wide = here.copy()
    source, target = np.moveaxis(here, axis, 0), np.moveaxis(wide, axis, 0)
    for step in range(1, min(reach_px, len(source) - 1) + 1):
        target[step:] |= source[:-step]
        target[:-step] |= source[step:]
    return wide


def _confusion(predicted: NDArray[np.uint8], truth: NDArray[np.uint8], count: int) -> Counts:
    known = truth != IGNORE
    true, guess = truth[known].astype(np.int64), predicted[known]
    for what, values in (("true", true), ("predicted", guess)):
        if values.size and values.max() >= count:
            raise DataError(f"a {what} mask has the value {values.max()}, but there are only {count} classes.")
    table = np.bincount(true * count + guess, minlength=count**2).reshape(count, count)
    return tuple(tuple(int(value) for value in row) for row in table)


def _ious(confusion: Counts, groups: tuple[tuple[str, tuple[int, ...]], ...]) -> dict[str, float | None]:
    """Return IoU by group, over the pixels whose true class is in one of the groups."""
    counts = np.array(confusion)
    members = [one for _, classes in groups for one in classes]
    ious: dict[str, float | None] = {}
    for name, classes in groups:
        own = list(classes)
        both = int(counts[np.ix_(own, own)].sum())
        either = int(counts[own].sum()) + int(counts[np.ix_(members, own)].sum()) - both
        ious[name] = both / either if either else None
    return ious


def _mean(ious: Mapping[str, float | None]) -> float | None:
    known = [value for value in ious.values() if value is not None]
    return sum(known) / len(known) if known else None


def _added(first: Counts, second: Counts) -> Counts:
    pairs = zip(first, second, strict=True)
    return tuple(tuple(a + b for a, b in zip(mine, its, strict=True)) for mine, its in pairs)


# ---- pictures ---------------------------------------------------------------------------------------------------


def colorize(mask: NDArray[np.uint8], colors: Sequence[tuple[int, int, int]] = ()) -> NDArray[np.uint8]:
    """Return a mask ``(H, W)`` as an RGB picture ``(H, W, 3)``; what has no class is grey."""
    return _color_table(colors)[mask]


def draw(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], colors: Sequence[tuple[int, int, int]] = (), opacity: float = 0.5
) -> NDArray[np.uint8]:
    """Return the image ``(H, W, 3)`` with its mask ``(H, W)`` laid over it."""
    mixed = image * (1.0 - opacity) + colorize(mask, colors) * opacity
    return np.rint(mixed).astype(np.uint8)


def mask_png_uri(mask: NDArray[np.uint8], colors: Sequence[tuple[int, int, int]] = ()) -> str:
    """Return a mask ``(H, W)`` as a data URI: a PNG with a palette, a few kilobytes."""
    picture = Image.fromarray(np.ascontiguousarray(mask))
    picture.putpalette(_color_table(colors).tobytes())
    return _png_uri(picture)


def image_png_uri(image: NDArray[np.uint8]) -> str:
    """Return an image ``(H, W, 3)`` as a data URI of a PNG."""
    return _png_uri(Image.fromarray(np.ascontiguousarray(image)))


def _color_table(colors: Sequence[tuple[int, int, int]]) -> NDArray[np.uint8]:
    table = np.empty((256, 3), np.uint8)
    table[:] = _NO_TRUTH
    chosen = colors or [_PALETTE[index % len(_PALETTE)] for index in range(IGNORE)]
    table[: len(chosen)] = chosen
    return table


def _png_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
