"""What ncnn's own tool makes of a network, where no package of it can be had: its two quick methods written again.

Source: ncnn's tools/quantize/ncnn2table.cpp (commit 0207b6bc), ``quantize_KL`` and ``quantize_ACIQ``; weights to the
nearest, as ncnn2int8.cpp rounds them. Its third method, ``eq``, tries scales by the cosine of every layer's outputs for
hours, and is left out. Convolutions of 3 x 3 at stride 1 get 6 bits there, which its int8 Winograd kernels ask for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flyweight.runtimes import _ncnn_file as form
from flyweight.runtimes._ncnn_int8 import INT8_TYPES

BINS, TARGET = 2048, 128
EPSILON = 1e-4  # added to every bin of both distributions
ALPHA = {6: 3.28691474, 8: 3.92403714}  # of ``alpha_gaussian``, by bits (its index is bits - 1)
Array = NDArray[np.float64]
Runs = Callable[[], Iterator[dict[str, NDArray[np.float32]]]]  # absolute values by blob, image by image


@dataclass(frozen=True)
class Seen:
    """Of a blob's absolute values: the largest, how many an image has, and the histogram of those that aren't 0."""

    largest: float
    size: int
    histogram: Array


def seen_in(runs: Runs) -> dict[str, Seen]:
    """Return what is counted of each blob, in two runs over the images."""
    largest: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for values in runs():
        for name, value in values.items():
            largest[name] = max(largest.get(name, 0.0), float(value.max()))
            sizes[name] = value.size
    counts = {name: np.zeros(BINS) for name in largest}
    for values in runs():
        for name, value in values.items():
            places = np.minimum((value[value > 0] / np.float32(largest[name]) * BINS).astype(np.int64), BINS - 1)
            counts[name] += np.bincount(places, minlength=BINS)
    return {name: Seen(largest[name], sizes[name], counts[name]) for name in largest}


def kl(seen: Seen) -> float:
    """Return the end of the range whose 128 steps are nearest by Kullback and Leibler's divergence."""
    shares = seen.histogram / seen.histogram.sum()
    total = np.concatenate([[0.0], np.cumsum(shares)])
    best = min(range(TARGET, BINS), key=lambda threshold: _divergence(shares, total, threshold))
    return (best + 0.5) * seen.largest / BINS


def _divergence(shares: Array, total: Array, threshold: int) -> float:
    clipped = shares[:threshold] + EPSILON
    clipped[-1] += shares[threshold:].sum()
    ends = np.arange(TARGET + 1) * (threshold / TARGET)  # of the steps; a bin that one cuts is shared out
    points = np.arange(threshold + 1)
    steps = np.interp(ends, points, total[: threshold + 1])
    expanded = np.diff(np.interp(points, ends, steps)) + EPSILON
    return float((clipped * np.log(clipped / expanded)).sum())


def aciq(seen: Seen) -> float:
    """Return the end of the range that clips a normal distribution best, its deviation guessed from the largest."""
    return _gaussian_clip(seen.largest, seen.size, 8)


def _gaussian_clip(largest: float, count: int, bits: int) -> float:
    constant = 0.5 * 0.35 * (1 + math.sqrt(math.pi * math.log(4)))
    return ALPHA[bits] * largest * 2 * constant / math.sqrt(2 * math.log(count))


METHODS = {"kl": kl, "aciq": aciq}


def steps(param: str, weights: bytes, *, clip: bool) -> dict[str, NDArray[np.float32]]:
    """Return weights' steps by layer, where they aren't a 127th of the largest: 6 bits, or ``aciq``'s clip."""
    layers = form.parse_param(param)
    known = form.read_weights(layers, weights)
    found: dict[str, NDArray[np.float32]] = {}
    for layer in layers:
        if layer.name not in known or layer.type not in INT8_TYPES:
            continue
        short = layer.type == "Convolution" and [layer.setting(n, 1) for n in (1, 2, 3)] == [3, 1, 1]
        if not short and not clip:
            continue
        groups = form.groups_of(layer)
        weight = known[layer.name].weight
        rows = np.abs(weight.reshape(groups if groups > 1 else len(weight), -1))
        bits = 6 if short else 8
        ends = [_gaussian_clip(float(row.max()), row.size, bits) if clip else float(row.max()) for row in rows]
        widths = np.maximum(ends, 1e-30) / (2 ** (bits - 1) - 1)
        found[layer.name] = np.repeat(widths, len(weight) // len(rows)).astype(np.float32)
    return found
