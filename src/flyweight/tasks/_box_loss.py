"""The losses of detection networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from flyweight.tasks._box_targets import BACKGROUND, NOT_COUNTED

NEGATIVES = 3  # background anchors per anchor with a truth


def multibox(outputs: Tensor, labels: Tensor, raw: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return SSD's loss: smooth L1 of the offsets plus cross-entropy of the classes, over the anchors with a truth.

    Of the background, the cross-entropy counts only those three anchors per matched one (in an image without any:
    three) that are worst taken for background. Source: SSD (arXiv 1512.02325), section 2.2, equations 1 to 3 and hard
    negative mining.

    Args:
        outputs: ``(n, A, 5 + K)``.
        labels: ``(n, A)``: 0 background, 1 + class, -1 not counted.
        raw: ``(n, A, 4)``, the offsets to be reached.
        weights: ``(K,)``, how much a matched anchor of each class counts in the cross-entropy.
    """
    positive = labels > BACKGROUND
    offsets = F.smooth_l1_loss(outputs[..., :4][positive], raw[positive], reduction="sum")
    entropy = F.cross_entropy(outputs[..., 4:].flatten(0, 1), labels.clamp(min=BACKGROUND).flatten(), reduction="none")
    entropy = entropy.view_as(labels)
    hard = _hardest(entropy.detach(), labels)
    if weights is not None:
        entropy = entropy * _of_class(weights, labels)
    return (offsets + entropy[positive | hard].sum()) / positive.sum().clamp(min=1)


def _hardest(entropy: Tensor, labels: Tensor) -> Tensor:
    """Return which background anchors ``(n, A)`` have the highest losses of their image."""
    background = labels == BACKGROUND
    losses = entropy.masked_fill(~background, float("-inf"))
    rank = losses.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    wanted = NEGATIVES * (labels > BACKGROUND).sum(dim=1, keepdim=True).clamp(min=1)
    return background & (rank < wanted)


def cells(outputs: Tensor, labels: Tensor, raw: Tensor, shares: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return YOLO's loss: binary cross-entropy of centre, objectness and classes, and the squared error of the size.

    Centre and size of small boxes count more, by 2 less their share of the input's area, as in darknet. Each class is
    asked for by itself. Source: YOLOv3 (arXiv 1804.02767), sections 2.1 and 2.2; the paper's centre has a squared error
    too.

    Args:
        outputs: ``(n, A, 5 + K)``.
        labels: ``(n, A)``: 0 background, 1 + class, -1 not counted.
        raw: ``(n, A, 4)``, the raw columns to be reached.
        shares: ``(n, A)``, each target's area over the input's.
        weights: ``(K,)``, how much each class counts among the classes.
    """
    positive = labels > BACKGROUND
    found, wanted, scale = outputs[positive], raw[positive], (2 - shares[positive])[:, None]
    center = scale * F.binary_cross_entropy_with_logits(found[:, :2], wanted[:, :2].sigmoid(), reduction="none")
    size = scale * (found[:, 2:4] - wanted[:, 2:4]).square() / 2
    objectness = F.binary_cross_entropy_with_logits(outputs[..., 4], positive.to(outputs.dtype), reduction="none")
    kinds = F.one_hot(labels[positive] - 1, outputs.shape[2] - 5).to(outputs.dtype)
    classes = F.binary_cross_entropy_with_logits(found[:, 5:], kinds, weights, reduction="sum")
    total = center.sum() + size.sum() + objectness[labels != NOT_COUNTED].sum() + classes
    return total / positive.sum().clamp(min=1)


def _of_class(weights: Tensor, labels: Tensor) -> Tensor:
    """Return the weight of every anchor's class ``(n, A)``; the background's is 1."""
    return torch.cat((weights.new_ones(1), weights))[labels.clamp(min=BACKGROUND)]
