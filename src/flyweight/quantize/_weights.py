"""Weights in int8: to the nearest integer, or so that a layer's outputs, not its weights, come out nearest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BLOCK = 64  # columns between two updates of all that follow
DAMPING = 0.01  # of the Gram matrix's mean diagonal: GPTQ's (2210.17323, section 3.3)
RIDGES = (0.03, 0.1, 0.3, 1.0, 10.0)  # of the same, for refitting: few images must not bend the weights to themselves
APART = 1e-4  # of the largest weight: how far two converters' folded weights may lie apart
SAMPLES = 8192  # at most, of a layer's input patches, over all images


@dataclass(frozen=True)
class Window:
    """Where a convolution reads its input: strides and dilations by rows and columns, pads top, left, bottom, right."""

    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    group: int = 1


@dataclass(frozen=True)
class Moments:
    """Of a layer's input patches, per group: means ``(g, k)`` in float and quantized, and centred products.

    ``gram`` ``(g, k, k)``: of the quantized patches with themselves; ``lost``: of what quantization changed,
    float less quantized, with the quantized patches.
    """

    count: int
    mean: Floats
    quantized_mean: Floats
    gram: Floats
    lost: Floats

    def __add__(self, other: Moments) -> Moments:
        """Return the moments of both's patches together."""
        count = self.count + other.count
        shares = self.count / count, other.count / count
        mean, quantized_mean, gram, lost = (
            shares[0] * a + shares[1] * b
            for a, b in (
                (self.mean, other.mean),
                (self.quantized_mean, other.quantized_mean),
                (self.gram, other.gram),
                (self.lost, other.lost),
            )
        )
        apart = self.quantized_mean - other.quantized_mean
        lost_apart = self.mean - other.mean - apart
        between = shares[0] * shares[1] * apart[:, None, :]
        return Moments(
            count, mean, quantized_mean, gram + apart[:, :, None] * between, lost + lost_apart[:, :, None] * between
        )


def same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Return whether two weights ``(o, ...)`` are one layer's, as two converters fold and shape it."""
    if one.size != other.size or len(one) != len(other):
        return False
    apart = np.abs(one.reshape(len(one), -1) - other.reshape(len(other), -1)).max()
    return bool(apart <= APART * np.abs(one).max())


def nearest(weight: NDArray[Any], steps: NDArray[Any]) -> NDArray[np.int8]:
    """Return the nearest integers of a weight ``(o, ...)``."""
    scaled = weight / steps.reshape(-1, *[1] * (weight.ndim - 1))
    integers: NDArray[np.int8] = np.clip(np.rint(scaled), -127, 127).astype(np.int8)
    return integers


def compensated(weight: NDArray[Any], steps: NDArray[Any], gram: Floats) -> NDArray[np.int8]:
    """Return integers of a weight ``(o, ...)`` chosen input by input, each one's error made good by those that follow.

    Source: Frantar et al. 2022 (GPTQ, arXiv 2210.17323), section 3: the inputs in falling order of their energy,
    errors passed on through the Cholesky factor of the inverse of the inputs' Gram matrix ``(g, k, k)``.
    """
    groups, size, _ = gram.shape
    rows = weight.reshape(groups, -1, size).astype(np.float64)
    widths = steps.reshape(groups, -1).astype(np.float64)
    order = np.argsort(-np.einsum("gkk->gk", gram), axis=1, kind="stable")
    rows = np.take_along_axis(rows, order[:, None, :], 2)
    damped = _damped(gram, DAMPING)
    damped = np.take_along_axis(np.take_along_axis(damped, order[:, :, None], 1), order[:, None, :], 2)
    upper = np.linalg.cholesky(np.linalg.inv(damped)).transpose(0, 2, 1)
    integers = np.empty(rows.shape)
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        errors = np.empty((groups, rows.shape[1], stop - start))
        for k in range(start, stop):
            integers[:, :, k] = np.clip(np.rint(rows[:, :, k] / widths), -127, 127)
            error = (rows[:, :, k] - integers[:, :, k] * widths) / upper[:, k, k, None]
            rows[:, :, k + 1 : stop] -= error[:, :, None] * upper[:, None, k, k + 1 : stop]
            errors[:, :, k - start] = error
        rows[:, :, stop:] -= errors @ upper[:, start:stop, stop:]
    back = np.empty_like(integers)
    np.put_along_axis(back, np.broadcast_to(order[:, None, :], back.shape), integers, 2)
    return back.reshape(weight.shape).astype(np.int8)


def refitted(weight: NDArray[Any], halves: tuple[Moments, Moments]) -> Floats:
    """Return the weight ``(o, ...)`` that gives the float layer's outputs best from quantized inputs (least squares).

    ``W + W · L · (G + λI)⁻¹`` for the moments' ``lost`` L and ``gram`` G. λ is the one under which either half of the
    images serves the other best; where none serves, the weight stays as it is.
    """
    rows = weight.reshape(len(halves[0].gram), -1, halves[0].gram.shape[1]).astype(np.float64)
    pairs = (halves, halves[::-1])
    gains = {ridge: sum(_gain(rows, _change(rows, one, ridge), other) for one, other in pairs) for ridge in RIDGES}
    best = max(RIDGES, key=lambda ridge: gains[ridge])
    if gains[best] <= 0:
        return weight.astype(np.float64)
    return np.asarray(rows + _change(rows, halves[0] + halves[1], best)).reshape(weight.shape)


def _change(rows: Floats, moments: Moments, ridge: float) -> Floats:
    change = np.linalg.solve(_damped(moments.gram, ridge), (rows @ moments.lost).transpose(0, 2, 1))
    return np.asarray(change.transpose(0, 2, 1))


def _gain(rows: Floats, change: Floats, moments: Moments) -> float:
    """Return by how much a change of the weight lowers the output's mean squared error."""
    return float((change * (2 * rows @ moments.lost - change @ moments.gram)).sum())


def corrected_bias(weight: NDArray[Any], bias: NDArray[Any], quantized: NDArray[Any], moments: Moments) -> Floats:
    """Return the bias under which the mean output per channel is the float layer's (Nagel 2019, 1906.04721, 4.2)."""
    groups, size = moments.mean.shape
    wanted = weight.reshape(groups, -1, size) @ moments.mean[:, :, None]
    given = quantized.reshape(groups, -1, size) @ moments.quantized_mean[:, :, None]
    return np.asarray(bias + (wanted - given).reshape(-1))


def _damped(gram: Floats, share: float) -> Floats:
    """Return the matrices with a share of their mean diagonal added to it; at least a little."""
    size = gram.shape[1]
    added = share * np.einsum("gkk->g", gram) / size + 1e-9
    damped: Floats = gram + added[:, None, None] * np.eye(size)
    return damped


def moments_of(pairs: Iterable[tuple[Floats, Floats]]) -> Moments:
    """Return the moments of float and quantized patches ``(g, n, k)``, given image by image; one at least."""
    return reduce(lambda a, b: a + b, (_of_one(floats, quantized) for floats, quantized in pairs))


def halves_of(pairs: Iterable[tuple[Floats, Floats]]) -> tuple[Moments, Moments]:
    """Return the moments of the images at even places and of those at odd ones; of a single image twice."""
    found: list[Moments] = []
    for index, (floats, quantized) in enumerate(pairs):
        moments = _of_one(floats, quantized)
        if index < 2:
            found.append(moments)
        else:
            found[index % 2] = found[index % 2] + moments
    return found[0], found[-1]


def _of_one(floats: Floats, quantized: Floats) -> Moments:
    mean, quantized_mean = floats.mean(1), quantized.mean(1)
    centred = quantized - quantized_mean[:, None, :]
    gram = centred.transpose(0, 2, 1) @ centred / floats.shape[1]
    lost = (floats - quantized).transpose(0, 2, 1) @ centred / floats.shape[1]
    return Moments(floats.shape[1], mean, quantized_mean, gram, lost)


def patches(value: NDArray[Any], window: Window | None, shape: tuple[int, ...], places: NDArray[np.int64]) -> Floats:
    """Return the patches ``(g, n, k)`` of an input that a layer multiplies with its weight of that shape.

    ``window``: of a convolution, whose input is ``(1, C, H, W)``; None for a linear layer. ``places`` picks output
    positions by their remainder: as many as it has, or all if these are fewer.
    """
    if window is None:
        return value.reshape(1, -1, shape[1]).astype(np.float64)
    strides, dilations = window.strides, window.dilations
    top, left, bottom, right = window.pads
    padded = np.pad(value[0], ((0, 0), (top, bottom), (left, right)))
    reach = [(k - 1) * d + 1 for k, d in zip(shape[2:], dilations, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    windows = windows[:, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
    rows, columns = windows.shape[1:3]
    chosen = np.arange(rows * columns) if len(places) >= rows * columns else np.unique(places % (rows * columns))
    picked = windows[:, chosen // columns, chosen % columns]  # (C, n, kh, kw)
    split = picked.reshape(window.group, shape[1], len(chosen), -1).transpose(0, 2, 1, 3)
    return split.reshape(window.group, len(chosen), -1).astype(np.float64)
