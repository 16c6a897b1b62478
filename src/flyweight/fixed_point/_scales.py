"""How integers stand for real numbers: a scale and a zero point, per tensor or per channel."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyweight.fixed_point import _binary32
from flyweight.fixed_point._requantize import Factor, Target, factor


@dataclass(frozen=True)
class Scale:
    """Of one tensor of activations: ``real = (value - zero_point) * scale``."""

    scale: np.float32
    zero_point: int
    dtype: np.dtype[Any]

    def target(self, low: int | None = None, high: int | None = None) -> Target:
        """Return it as what a result goes to, its range narrowed to ``low`` and ``high`` if they are given."""
        limits = np.iinfo(self.dtype)
        least = limits.min if low is None else max(int(limits.min), low)
        most = limits.max if high is None else min(int(limits.max), high)
        return Target(self.scale, self.zero_point, self.dtype, int(least), int(most))


@dataclass(frozen=True)
class SumScale:
    """Of int32 sums that are the network's result: ``real = sum * scale``, one scale or one per column."""

    scale: NDArray[np.float32]
    zero_point: int = 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return int32."""
        return np.dtype(np.int32)


@dataclass(frozen=True)
class Constant:
    """A quantized constant: weights. ``scales`` and ``zero_points`` have one element, or one per slice of ``axis``."""

    values: NDArray[Any]
    scales: NDArray[np.float32]
    zero_points: NDArray[np.int32]
    axis: int

    def shifted(self) -> NDArray[np.int32]:
        """Return ``values - zero_point`` as int32."""
        shape = [1] * self.values.ndim
        if self.zero_points.size > 1:
            shape[self.axis] = -1
        return self.values.astype(np.int32) - self.zero_points.reshape(shape if shape else ())


def fraction(value: np.float32 | float) -> Fraction:
    """Return a float32 exactly."""
    return Fraction(float(value))


def product_factor(
    source: np.float32, weights: NDArray[np.float32], target: np.float32, where: str, gain: float = 1.0
) -> Factor:
    """Return ``gain * source * weights / target``: in float32 from left to right, and exactly."""
    first = np.float32(gain)
    exact = [fraction(first) * fraction(source) * fraction(w) / fraction(target) for w in weights]
    return factor((first * source * weights / target).astype(np.float32), exact, where)


def mean_factor(source: np.float32, target: np.float32, counts: NDArray[np.int64], where: str) -> Factor:
    """Return ``source / (target * count)`` for each count: in float32, and exactly."""
    flat = [int(count) for count in counts.reshape(-1)]
    exact = [fraction(source) / fraction(target) / count for count in flat]
    return factor((source / (target * counts.astype(np.float32))).astype(np.float32), exact, where)


def divided_factor(source: np.float32, target: np.float32, count: int, where: str) -> Factor:
    """Return TensorFlow Lite's factor of a mean: the multiplier of ``source / target``, divided by the count, cut off.

    Raised by as many bits as the count has before it is divided, so that it keeps 30 or 31.
    """
    ratio = factor(np.array([source / target], np.float32), [fraction(source) / fraction(target)], where)
    bits = count.bit_length() - 1
    return Factor(ratio.scale / np.float32(count), (ratio.multiplier << bits) // count, ratio.shift + bits)


def sum_constants(a: Scale, b: Scale, target: Target) -> tuple[np.float32, np.float32, np.float32]:
    """Return ``QLinearAdd``'s float32 constants: both ratios, and ``zero c - (ratio a * zero a + ratio b * zero b)``.

    The bracket is rounded as the compiler has it: ``ratio b * zero b`` first, then one fused multiply-add.
    """
    ratio_a, ratio_b = a.scale / target.scale, b.scale / target.scale
    inner = fraction(_binary32.of_fraction(fraction(ratio_b) * b.zero_point))
    bracket = _binary32.of_fraction(fraction(ratio_a) * a.zero_point + inner)
    return ratio_a, ratio_b, np.float32(target.zero_point) - bracket
