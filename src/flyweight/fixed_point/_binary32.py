"""IEEE 754 binary32 (float32) arithmetic in int64: what a float unit computes, computed without one.

A value is ``mantissa * 2**exponent``, the mantissa of at most 24 bits and a sign. Every operation rounds its exact
result to 24 bits, half to even, as SSE, AVX and NEON do. Exponents have no bounds: what would be a subnormal or an
infinity in binary32 lies far below half a step, or far beyond saturation, of an 8-bit result.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
BITS = 24
_WIDE = 60  # bits that an addition works in: two guard bits below int64's sign are left for the carry


@dataclass(frozen=True)
class Binary32:
    """Numbers ``mantissa * 2**exponent`` of one shape, or shapes that broadcast."""

    mantissa: Ints
    exponent: Ints

    def reshape(self, *shape: int) -> Binary32:
        """Return the same numbers in another shape."""
        return Binary32(self.mantissa.reshape(shape), self.exponent.reshape(shape))


def constant(values: NDArray[np.float32] | np.float32) -> Binary32:
    """Take float32 constants apart, as a converter does before anything runs; they must be finite."""
    bits = np.asarray(values, np.float32).view(np.uint32).astype(np.int64)
    exponent = bits >> 23 & 0xFF
    mantissa = np.where(exponent > 0, bits & 0x7FFFFF | 0x800000, bits & 0x7FFFFF)
    signed = np.where(bits >> 31 == 1, -mantissa, mantissa)
    return Binary32(signed, np.maximum(exponent, 1) - 150)


def from_int(values: NDArray[np.signedinteger]) -> Binary32:
    """Convert integers, rounded to 24 bits (``cvtdq2ps``)."""
    whole = values.astype(np.int64)
    return _rounded(whole, np.zeros(1, np.int64))


def multiply(a: Binary32, b: Binary32) -> Binary32:
    """Return the rounded product (``mulps``)."""
    return _rounded(a.mantissa * b.mantissa, a.exponent + b.exponent)  # 24 + 24 bits


def add(a: Binary32, b: Binary32) -> Binary32:
    """Return the rounded sum (``addps``)."""
    return _rounded(*_sum(a.mantissa, a.exponent, b.mantissa, b.exponent))


def multiply_add(a: Binary32, b: Binary32, c: Binary32) -> Binary32:
    """Return ``a * b + c``, rounded once (``vfmaddps``)."""
    return _rounded(*_sum(a.mantissa * b.mantissa, a.exponent + b.exponent, c.mantissa, c.exponent))


def divide(a: Binary32, b: Binary32) -> Binary32:
    """Return the rounded quotient (``divps``); ``b`` must not be 0."""
    top, bottom = np.broadcast_arrays(np.abs(a.mantissa) << 32, np.abs(b.mantissa))  # 24 + 32 bits
    quotient, rest = top // bottom, top % bottom
    sign = np.sign(a.mantissa) * np.sign(b.mantissa)
    # divided by 24 bits, at least 32 bits are left: the lowest may stand for all that follow
    return _rounded(sign * (quotient | (rest > 0)), a.exponent - b.exponent - 32)


def to_int(a: Binary32, limit: int = 1 << 30) -> Ints:
    """Round to the nearest integer, half to even (``cvtps2dq``); beyond ``limit`` it is ``limit``."""
    mantissa, exponent = np.broadcast_arrays(a.mantissa, a.exponent)
    size = np.abs(mantissa)
    lengths = _bit_length(size) + exponent
    left = size << np.clip(exponent, 0, 31)
    shifted = np.where(exponent >= 0, left, _shift_half_even(size, np.clip(-exponent, 0, 62)))
    whole: Ints = np.sign(mantissa) * np.where((size > 0) & (lengths > 31), limit, np.minimum(shifted, limit))
    return whole


def of_fraction(value: Fraction) -> np.float32:
    """Return the float32 nearest to a fraction, half to even: constants made of one rounding."""
    if value == 0:
        return np.float32(0)
    size, exponent = abs(value), 0
    while size >= 1 << BITS:
        size, exponent = size / 2, exponent + 1
    while size < 1 << (BITS - 1):
        size, exponent = size * 2, exponent - 1
    return np.float32(np.ldexp(np.float64(round(size) * (1 if value > 0 else -1)), exponent))


def _rounded(mantissa: Ints, exponent: Ints) -> Binary32:
    """Round to 24 bits, half to even."""
    size = np.abs(mantissa)
    over = np.maximum(_bit_length(size) - BITS, 0)
    return Binary32(np.sign(mantissa) * _shift_half_even(size, over), exponent + over)


def _sum(a: Ints, ea: Ints, b: Ints, eb: Ints) -> tuple[Ints, Ints]:
    """Return a sum that rounds to 24 bits as the exact one does; ``a`` and ``b`` of at most 48 bits.

    Both are shifted up to 60 bits, then the smaller one down to the other's exponent, its lowest bit standing for all
    that fall off. Where they cancel, the exponents differ by 1 at most, and nothing falls off.
    """
    a, ea = _normalized(a, ea)
    b, eb = _normalized(b, eb)
    exponent = np.maximum(ea, eb)
    return _shift_sticky(a, exponent - ea) + _shift_sticky(b, exponent - eb), exponent


def _normalized(mantissa: Ints, exponent: Ints) -> tuple[Ints, Ints]:
    """Shift up to 60 bits; zero gets an exponent below all others."""
    up = _WIDE - _bit_length(np.abs(mantissa))
    return mantissa << up, np.where(mantissa == 0, -(1 << 20), exponent - up)


def _shift_sticky(mantissa: Ints, by: Ints) -> Ints:
    size, by = np.abs(mantissa), np.minimum(by, 62)
    kept = size >> by
    sticky: Ints = np.sign(mantissa) * (kept | (kept << by != size))
    return sticky


def _shift_half_even(size: Ints, by: Ints) -> Ints:
    """Return non-negative ``size / 2**by`` rounded, half to even; ``by`` from 0 to 62, ``size`` of at most 61 bits."""
    kept = size >> by
    rest = size - (kept << by)
    half = np.where(by > 0, np.int64(1) << np.maximum(by - 1, 0), 1)  # by 0: the rest is 0 and never above
    rounded: Ints = kept + ((rest > half) | (rest == half) & (kept & 1 == 1))
    return rounded


def _bit_length(size: Ints) -> Ints:
    length = np.zeros_like(size)
    rest = size
    for step in (32, 16, 8, 4, 2, 1):
        large = rest >= np.int64(1) << step
        length = length + np.where(large, step, 0)
        rest = np.where(large, rest >> step, rest)
    return length + (rest > 0)
