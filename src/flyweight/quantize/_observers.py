"""Ranges of activations from histograms: four observers, one family of functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 255  # steps of uint8
SYMMETRIC_LEVELS = 127  # steps of int8 on either side of zero
BINS = 2048
PERCENT = 99.99  # of the values that 'percentile' keeps
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Histogram:
    """How often a tensor's values came near each of evenly spaced points, the first and last of which are its ends.

    ``levels``: steps that its quantizer has for a range; SYMMETRIC_LEVELS for the histogram of absolute values.
    """

    low: float
    high: float
    counts: Floats
    levels: int = LEVELS

    @property
    def points(self) -> Floats:
        """Return the points, in the tensor's unit."""
        return np.linspace(self.low, self.high, len(self.counts))


@dataclass(frozen=True)
class Scale:
    """An asymmetric quantization to integers from 0 to ``levels``: value = (integer - zero) · step."""

    step: float
    zero: int
    levels: int = LEVELS

    @classmethod
    def of(cls, low: float, high: float, levels: int = LEVELS) -> Scale:
        """Return that of a range, which is widened to hold zero: padding must be exact (1712.05877, section 2.1)."""
        low, high = min(low, 0.0), max(high, 0.0)
        step = float(np.float32(max(high - low, 1e-12) / levels))
        return cls(step, int(np.clip(np.rint(-low / step), 0, levels)), levels)

    def rounded(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the values as they are after quantization and back."""
        integers: NDArray[Any] = np.clip(np.rint(values / self.step) + self.zero, 0, self.levels)
        return (integers - self.zero) * self.step


def counted(values: NDArray[Any], low: float, high: float) -> Floats:
    """Return how many values are nearest to each of BINS points between low and high."""
    if high <= low:
        return np.asarray(np.eye(1, BINS)[0] * values.size)
    nearest = np.rint((values.ravel() - np.float32(low)) * np.float32((BINS - 1) / (high - low))).astype(np.int32)
    return np.bincount(np.clip(nearest, 0, BINS - 1), minlength=BINS).astype(np.float64)


def minmax(seen: Histogram) -> tuple[float, float]:
    """Return the ends of what was seen."""
    return seen.low, seen.high


def percentile(seen: Histogram) -> tuple[float, float]:
    """Return a range that leaves out as much at each end as a normal share of outliers."""
    share = np.cumsum(seen.counts) / seen.counts.sum()
    low = int(np.searchsorted(share, 1 - PERCENT / 100))
    high = int(np.searchsorted(share, PERCENT / 100))
    return float(seen.points[low]), float(seen.points[min(high, BINS - 1)])


def mse(seen: Histogram) -> tuple[float, float]:
    """Return the range of least mean squared error, rounding and clipping together (Banner 2019, 1810.05723)."""
    points, counts = seen.points, seen.counts

    def error(low: float, high: float) -> float:
        return float(counts @ np.square(points - Scale.of(low, high, seen.levels).rounded(points)))

    return _least(seen, error)


def entropy(seen: Histogram) -> tuple[float, float]:
    """Return the range whose quantized distribution is nearest by Kullback and Leibler's divergence (Migacz 2017)."""
    points, counts = seen.points, seen.counts.copy()
    counts[np.abs(points).argmin()] = 0  # zero stays exact in any range, and there are too many behind a ReLU
    total = counts.sum()
    if not total:
        return minmax(seen)

    def divergence(low: float, high: float) -> float:
        scale = Scale.of(low, high, seen.levels)
        inside = (points >= low) & (points <= high)
        level = np.clip(np.rint(points / scale.step) + scale.zero, 0, seen.levels).astype(np.int64)
        kept = np.where(inside, counts, 0.0)
        folded = kept.copy()  # what is cut off gathers at the ends
        first, last = np.flatnonzero(inside)[[0, -1]]
        folded[first] += counts[:first].sum()
        folded[last] += counts[last + 1 :].sum()
        used = kept > 0
        mass = np.bincount(level, kept, seen.levels + 1)
        places = np.bincount(level, used.astype(np.float64), seen.levels + 1)
        spread = np.where(used, mass[level] / np.maximum(places[level], 1), 0.0)
        p, q = folded / total, spread / max(spread.sum(), 1.0)
        both = (p > 0) & (q > 0)
        lost = p[(p > 0) & (q <= 0)].sum() * 30  # e^-30 stands for none
        return float((p[both] * np.log(p[both] / q[both])).sum() + lost)

    return _least(seen, divergence)


def _least(seen: Histogram, cost: Callable[[float, float], float]) -> tuple[float, float]:
    """Return the range of least cost: both ends drawn in together first, then each alone, in ever smaller steps."""
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    shares = np.linspace(0.2, 1.0, 41)
    together = float(min(shares, key=lambda s: cost(low * s, high * s)))
    best = (together, together)
    for width in (0.3, 0.1, 0.03):
        for end in (0, 1) if low < 0 < high else (1,) if high > 0 else (0,):
            around = np.clip(best[end] + np.linspace(-width, width, 13), 0.02, 1.0)
            tried = [(float(s), best[1]) if end == 0 else (best[0], float(s)) for s in around]
            best = min([best, *tried], key=lambda pair: cost(low * pair[0], high * pair[1]))
    return low * best[0], high * best[1]


OBSERVERS: Mapping[str, Callable[[Histogram], tuple[float, float]]] = {
    "minmax": minmax,
    "percentile": percentile,
    "mse": mse,
    "entropy": entropy,
}
