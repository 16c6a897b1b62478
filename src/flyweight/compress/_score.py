"""The headline metric of a module on a split, and images as a network with one channel takes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from flyweight.contracts import Candidate, DataSet, Split
from flyweight.data._arrays import ArraySplit
from flyweight.errors import UsageError
from flyweight.evaluate import evaluate, preprocess, torch_predict

if TYPE_CHECKING:
    from numpy.typing import NDArray

HEADLINES = {"classify": "top1", "segment": "miou", "detect": "map50_95"}
BATCH = 256


def metric(candidate: Candidate, module: nn.Module, split: Split, data: DataSet) -> float:
    """Return the data set's headline metric, 0 to 1: top-1, mean IoU, or mean average precision.

    Raises:
        UsageError: a network for other classes.
        DataError, MeasurementError: as ``flyweight.evaluate.evaluate``.
    """
    if data.task == "classify" and isinstance(split, ArraySplit):
        return _top1(candidate, module, split, len(data.class_names))
    found = evaluate(torch_predict(module), split, data, candidate.preprocessing, spec=candidate.spec)
    return float(found.to_json()[HEADLINES[data.task]])


def _top1(candidate: Candidate, module: nn.Module, split: ArraySplit, classes: int) -> float:
    """Return the share of images whose largest logit is right, many at a time."""
    right = 0
    for at in range(0, len(split), BATCH):
        inputs = preprocess(split.images[at : at + BATCH], candidate.preprocessing)
        with torch.inference_mode():
            logits = module(torch.from_numpy(inputs)).numpy()
        if logits.shape[1:] != (classes,):
            raise UsageError(f"the network gives {logits.shape[1:]} values, but the data has {classes} classes.")
        right += int((logits.argmax(1) == split.targets[at : at + BATCH]).sum())
    return right / len(split)


@dataclass(frozen=True)
class _Grey:
    """A split whose colours are averaged: images ``(H, W, 1)``."""

    split: Split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
        image, target = self.split[index]
        return _averaged(image), target


def _averaged(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if images.strides[-1] == 0:  # grey already, its one channel shown three times
        return images[..., :1]
    grey: NDArray[np.uint8] = np.rint(images.mean(-1, keepdims=True)).astype(np.uint8)
    return grey


def for_channels(data: DataSet, channels: int) -> DataSet:
    """Return a data set of RGB images for a network of ``channels``: 3 as it is, 1 in grey.

    Raises:
        UsageError: another number of channels.
    """
    if channels == 3:
        return data
    if channels != 1:
        raise UsageError(f"the network reads {channels} channels, but data sets have RGB images: 3, or 1 in grey.")
    mean, std = (float(np.mean(each)) for each in (data.mean, data.std))
    train, val, test = (_grey(split) for split in (data.train, data.val, data.test))
    return replace(data, train=train, val=val, test=test, mean=(mean,), std=(std,))  # type: ignore[arg-type]


def _grey(split: Split) -> Split:
    if isinstance(split, ArraySplit):
        return replace(split, images=_averaged(split.images))
    return _Grey(split)
