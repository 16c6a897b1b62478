"""Look-up tables of 256 entries: a function between two 8-bit scales, in float32 as ONNX Runtime computes it.

Made once, when a network is read: nothing here runs with the network. The float32 steps are those of
``QlinearBuildLookupTable`` (ONNX Runtime, ``contrib_ops/cpu/quantization/qlinear_lookup_table.cc``): dequantize all
256 values, apply the function, quantize: divide by the scale, limit, round half to even, add the zero point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyweight.fixed_point._kernels import Table
from flyweight.fixed_point._requantize import Target, factor
from flyweight.fixed_point._scales import Scale, SumScale, fraction

Floats = NDArray[np.float32]
Function = Callable[[Floats, Mapping[str, Any]], Floats]
ONE, ZERO = np.float32(1), np.float32(0)
SLOPE_BITS = 7  # a leaky ReLU's slope in the integer modes: 0.1 is 13 / 128


def table(
    source: Scale, target: Target, function: Function, settings: Mapping[str, Any], integer: NDArray[Any] | None = None
) -> Table:
    """Return the table from ``source`` to ``target``; ``integer``: other entries for the integer modes."""
    values = np.arange(256, dtype=np.uint8).view(source.dtype)
    steps = values.astype(np.int32) - source.zero_point
    entries = quantize(function(source.scale * steps.astype(np.float32), settings), target)
    return Table(entries, entries if integer is None else integer)


def quantize(values: Floats, target: Target) -> NDArray[Any]:
    """Quantize float32 values: ``MlasQuantizeLinear`` (divide, limit, round half to even, add the zero point)."""
    low, high = np.float32(target.low - target.zero_point), np.float32(target.high - target.zero_point)
    with np.errstate(over="ignore"):
        steps = np.clip(values / target.scale, low, high)
    whole: NDArray[Any] = np.rint(steps).astype(np.int32) + target.zero_point
    return whole.astype(target.dtype)


def dequantize(values: NDArray[Any], scale: Scale | SumScale) -> Floats:
    """Return ``(value - zero point) * scale`` in float32."""
    made: Floats = (values.astype(np.int32) - scale.zero_point).astype(np.float32) * scale.scale
    return made


def leaky_relu_entries(source: Scale, target: Target, slope: float, where: str) -> NDArray[Any]:
    """Return the integer modes' leaky ReLU: ``x`` or ``x * slope128 / 128``, times the ratio of scales, half up.

    ``slope128`` is the slope in 128ths, rounded: 13 for 0.1.
    """
    steps = np.arange(256, dtype=np.uint8).view(source.dtype).astype(np.int64) - source.zero_point
    bent = np.where(steps >= 0, steps << SLOPE_BITS, steps * round(slope * (1 << SLOPE_BITS)))
    exact = fraction(source.scale) / fraction(target.scale) / (1 << SLOPE_BITS)
    ratio = factor(np.array([source.scale / target.scale], np.float32), [exact], where)
    return target.saturate(ratio.apply(bent, "shift"))


def same(x: Floats, settings: Mapping[str, Any]) -> Floats:
    """Return ``x``: a change of scale alone."""
    return x


def relu(x: Floats, settings: Mapping[str, Any]) -> Floats:
    """Return ``max(x, 0)``."""
    return np.maximum(x, ZERO)


def clip(x: Floats, settings: Mapping[str, Any]) -> Floats:
    """Return ``x`` limited to ``min`` and ``max``."""
    return np.clip(x, np.float32(settings["min"]), np.float32(settings["max"]))


def leaky_relu(x: Floats, settings: Mapping[str, Any]) -> Floats:
    """Return ``x`` where it is not negative, else ``alpha * x``. Source: ``qlinear_activations.cc``."""
    return np.where(x >= 0, x, x * np.float32(settings.get("alpha", 0.01)))


def sigmoid(x: Floats, settings: Mapping[str, Any]) -> Floats:
    """Return ``1 / (1 + exp(-x))``, exact but for its last rounding to float32.

    ONNX Runtime takes a rational approximation (``core/mlas/lib/logistic.cpp``), at most some 1e-6 away: an entry
    could differ where the exact value lies that near to a tie.
    """
    return (1 / (1 + np.exp(-x.astype(np.float64)))).astype(np.float32)


def tanh(x: Floats, settings: Mapping[str, Any]) -> Floats:
    """Return the hyperbolic tangent, exact but for its last rounding to float32 (ONNX Runtime approximates it)."""
    return np.tanh(x.astype(np.float64)).astype(np.float32)


def hard_sigmoid(x: Floats, settings: Mapping[str, Any]) -> Floats:
    """Return ``max(0, min(1, alpha * x + beta))`` in float32, step by step."""
    alpha, beta = np.float32(settings.get("alpha", 0.2)), np.float32(settings.get("beta", 0.5))
    limited: Floats = np.maximum(ZERO, np.minimum(ONE, alpha * x + beta))
    return limited


def hard_swish(x: Floats, settings: Mapping[str, Any]) -> Floats:
    """Return ``x * hard_sigmoid(x)`` with slope 1/6 and offset 1/2, which ONNX Runtime takes it apart into."""
    gate = hard_sigmoid(x, {"alpha": 1 / 6, "beta": 0.5})
    return x * gate


FUNCTIONS: dict[str, Function] = {
    "Relu": relu, "Clip": clip, "LeakyRelu": leaky_relu, "Sigmoid": sigmoid, "Tanh": tanh, "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
}  # fmt: skip
