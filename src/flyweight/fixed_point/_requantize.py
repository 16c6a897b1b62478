"""From a 32-bit accumulator to 8 bits, under each of three stated rounding rules.

``onnxruntime``
    What MLAS computes on x86: the accumulator becomes a float32 (24 bits, half to even), is multiplied by the float32
    scale (rounded again), limited, and rounded to an integer, half to even. Source: ONNX Runtime,
    ``core/mlas/lib/quantize.cpp``, ``MlasRequantizeOutput`` (``cvtepi32_ps``, ``mul_ps``, ``max_ps``, ``min_ps``,
    ``cvtps_epi32``). Here in int64, see ``_binary32``.
``shift``
    ``(accumulator * multiplier + 2**(shift - 1)) >> shift`` with a multiplier of 31 bits: one rounding, half up.
    Source: TensorFlow Lite, ``kernels/internal/common.h``, ``MultiplyByQuantizedMultiplier`` with
    ``TFLITE_SINGLE_ROUNDING``.
``gemmlowp``
    The same multiplier, but rounded twice, half away from zero: the product's upper 32 bits doubled
    (``SaturatingRoundingDoublingHighMul``, ARM's ``SQRDMULH``), then a rounding shift (``RoundingDivideByPOT``).
    Source: Jacob et al. 2018 (arXiv 1712.05877), section 2.2; gemmlowp, ``fixedpoint/fixedpoint.h``; TensorFlow Lite
    without ``TFLITE_SINGLE_ROUNDING``.

The zero point is added behind the rounding, and the sum saturated.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flyweight.errors import GraphError
from flyweight.fixed_point import _binary32

Mode = Literal["onnxruntime", "shift", "gemmlowp"]
MODES: tuple[Mode, ...] = ("onnxruntime", "shift", "gemmlowp")
Ints = NDArray[np.int64]
Integers = NDArray[np.signedinteger[Any]]
MULTIPLIER_BITS = 31
MAX_SHIFT = 62  # beyond it what is shifted is less than one half: 0


@dataclass(frozen=True)
class Target:
    """The 8-bit tensor that a result goes to; ``low`` and ``high`` are its range, or a narrower one (a folded ReLU)."""

    scale: np.float32
    zero_point: int
    dtype: np.dtype[Any]
    low: int
    high: int

    def saturate(self, steps: Ints) -> NDArray[Any]:
        """Return ``steps`` above the zero point as a tensor of 8 bits."""
        return np.clip(steps + self.zero_point, self.low, self.high).astype(self.dtype)


@dataclass(frozen=True)
class Factor:
    """What accumulators are multiplied by, as arrays that broadcast against them (per output channel, or one).

    Attributes:
        scale: float32, as ONNX Runtime computes it.
        multiplier: integers from 2**30 up to 2**31. shift: ``multiplier / 2**shift`` is the exact ratio, rounded.
    """

    scale: NDArray[np.float32]
    multiplier: Ints
    shift: Ints

    def reshape(self, *shape: int) -> Factor:
        """Return the same factors in another shape."""
        return Factor(self.scale.reshape(shape), self.multiplier.reshape(shape), self.shift.reshape(shape))

    def apply(self, accumulator: Integers, mode: Mode) -> Ints:
        """Return the accumulators multiplied and rounded under the rule of ``mode``, not yet saturated."""
        if mode == "onnxruntime":
            product = _binary32.multiply(_binary32.from_int(accumulator), _binary32.constant(self.scale))
            return _binary32.to_int(product)
        rule = multiply_shift if mode == "shift" else multiply_gemmlowp
        return rule(accumulator.astype(np.int64), self.multiplier, self.shift)


def factor(scales: NDArray[np.float32], exact: list[Fraction], where: str) -> Factor:
    """Return the factors for exact ratios, one per element of ``scales``.

    Raises:
        GraphError: a ratio is not positive, or not below 2**30; names the layer.
    """
    pairs = [quantized_multiplier(ratio, where) for ratio in exact]
    multipliers, shifts = (np.array(column, np.int64).reshape(scales.shape) for column in zip(*pairs, strict=True))
    return Factor(scales, multipliers, shifts)


def quantized_multiplier(ratio: Fraction, where: str) -> tuple[int, int]:
    """Return ``(multiplier, shift)``: the multiplier of 31 bits nearest to ``ratio * 2**shift``, half to even.

    Raises:
        GraphError: the ratio is not positive, or not below 2**30.
    """
    if not 0 < ratio < 1 << (MULTIPLIER_BITS - 1):
        raise GraphError(
            f"{where}: its scales ask for a factor of {float(ratio):.3g}; above 0 and below 2**30 is possible. "
            "Quantize it again."
        )
    shift = 0
    while ratio * 2**shift < 1 << (MULTIPLIER_BITS - 1):
        shift += 1
    multiplier = round(ratio * 2**shift)
    if multiplier == 1 << MULTIPLIER_BITS:
        multiplier, shift = multiplier // 2, shift - 1
    return multiplier, shift


def multiply_shift(accumulator: Ints, multiplier: Ints, shift: Ints) -> Ints:
    """Return ``accumulator * multiplier / 2**shift`` rounded once, half up; accumulators of 32 bits (see above)."""
    return rounding_shift(accumulator * multiplier, shift)


def rounding_shift(value: Ints, shift: Ints | int) -> Ints:
    """Return ``value / 2**shift``, rounded half up; ``value`` below 2**62."""
    wanted = np.asarray(shift, np.int64)
    by = np.minimum(wanted, MAX_SHIFT)
    rounded: Ints = np.where(wanted > MAX_SHIFT, 0, (value + (np.int64(1) << np.maximum(by - 1, 0)) * (by > 0)) >> by)
    return rounded


def multiply_gemmlowp(accumulator: Ints, multiplier: Ints, shift: Ints) -> Ints:
    """Return the product rounded twice, half away from zero; accumulators and multipliers of 32 bits (see above)."""
    exponent = MULTIPLIER_BITS - shift
    left, right = np.maximum(exponent, 0), np.minimum(np.maximum(-exponent, 0), MULTIPLIER_BITS)
    raised = np.clip(accumulator << left, -(1 << 31), (1 << 31) - 1)
    product = raised * multiplier
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.sign(nudged) * (np.abs(nudged) >> 31)  # C's division truncates toward zero
    mask = (np.int64(1) << right) - 1
    rounded: Ints = (high >> right) + ((high & mask) > (mask >> 1) + (high < 0))
    return rounded
