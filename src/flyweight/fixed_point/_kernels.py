"""The integer operators: shapes, sums and products in int32 and int64, nothing else.

Every kernel is a frozen value made when the network is read (``_read``), holding all constants; ``run`` takes the
8-bit tensors and a rounding mode (``_requantize``). Tensors are NCHW.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flyweight.fixed_point import _binary32
from flyweight.fixed_point._requantize import Factor, Mode, Target, multiply_gemmlowp, rounding_shift

Bytes = NDArray[Any]  # uint8 or int8
Int32 = NDArray[np.int32]
ADD_LEFT_SHIFT = 20  # TensorFlow Lite's for 8-bit addition


class Kernel(Protocol):
    """One operator with its constants."""

    def run(self, inputs: Sequence[Bytes], mode: Mode) -> Bytes:
        """Return the output tensor."""
        ...


# ---- products and sums ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Convolution:
    """``QLinearConv``: int32 sum of ``(x - zero_point) * (w - zero_point)`` plus bias, then requantized per channel.

    The sum is exact (and wraps at 32 bits, as a device's register does). Rounding: ``Factor.apply``. Source: ONNX
    operator QLinearConv; ONNX Runtime ``core/providers/cpu/quantization/qlinearconv.cc`` (scale x * scale w / scale y
    in float32) and ``MlasRequantizeOutput``.

    Attributes:
        weight: ``(K, C/groups, R, S)``, its zero point subtracted. bias: ``(K,)``, at scale x * scale w.
        pads: top, left, bottom, right.
    """

    weight: Int32
    bias: Int32
    zero_point: int
    groups: int
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    factor: Factor
    target: Target

    def run(self, inputs: Sequence[Bytes], mode: Mode) -> Bytes:
        """Return ``(N, K, H', W')`` for ``(N, C, H, W)``."""
        return self.target.saturate(self.factor.apply(self.accumulate(inputs[0]), mode))

    def accumulate(self, x: Bytes) -> Int32:
        """Return the int32 sums."""
        top, left, bottom, right = self.pads
        shifted = x.astype(np.int32) - np.int32(self.zero_point)
        padded = np.pad(shifted, ((0, 0), (0, 0), (top, bottom), (left, right)))
        return np.stack([self._image(image) for image in padded]) + self.bias[:, None, None]

    def _image(self, image: Int32) -> Int32:
        count, depth, rows, columns = self.weight.shape
        out = window_count(image.shape[1:], (rows, columns), self.strides, self.dilations)
        if depth == 1 and self.groups == image.shape[0]:
            image = np.repeat(image, count // self.groups, axis=0)
            total = np.zeros((count, *out), np.int32)
            for r, s in np.ndindex(rows, columns):
                total += self._tap(image, r, s, out) * self.weight[:, :, r, s, None]
            return total
        per_group = count // self.groups
        total = np.zeros((count, out[0] * out[1]), np.int32)
        for r, s in np.ndindex(rows, columns):
            seen = np.ascontiguousarray(self._tap(image, r, s, out)).reshape(self.groups, depth, -1)
            for group in range(self.groups):
                part = slice(group * per_group, (group + 1) * per_group)
                total[part] += np.einsum("kc,cn->kn", self.weight[part, :, r, s], seen[group])
        return total.reshape(count, *out)

    def _tap(self, image: Int32, r: int, s: int, out: tuple[int, int]) -> Int32:
        """Return what one weight position sees, ``(C, H', W')``."""
        return _strided(image, (r * self.dilations[0], s * self.dilations[1]), self.strides, out)


@dataclass(frozen=True)
class MatrixProduct:
    """``QGemm`` and ``QLinearMatMul`` with constant weights: int32 sums, requantized per column or per tensor.

    Source: ONNX Runtime ``contrib_ops/cpu/quantization/quant_gemm.cc`` and ``qlinear_matmul``; rounding as
    ``Convolution``. ``target`` None: the sums are the result, which the network's float output scales.

    Attributes:
        weight: ``(K, N)``, its zero point subtracted, transposed if the operator says so. bias: ``(N,)``.
    """

    weight: Int32
    bias: Int32
    zero_point: int
    factor: Factor
    target: Target | None

    def run(self, inputs: Sequence[Bytes], mode: Mode) -> Bytes:
        """Return ``(…, N)`` for ``(…, K)``."""
        total = self.accumulate(inputs[0])
        return total if self.target is None else self.target.saturate(self.factor.apply(total, mode))

    def accumulate(self, x: Bytes) -> Int32:
        """Return the int32 sums."""
        shifted = x.astype(np.int32) - np.int32(self.zero_point)
        total = np.einsum("mk,kn->mn", shifted.reshape(-1, x.shape[-1]), self.weight)
        summed: Int32 = total.reshape(*x.shape[:-1], -1) + self.bias
        return summed


@dataclass(frozen=True)
class Addition:
    """``QLinearAdd``, broadcasting.

    ``onnxruntime``: two fused multiply-adds in float32, ``a * ra + (b * rb + fixed)``, where ``ra`` and ``rb`` are
    scale ratios and ``fixed`` holds all zero points; then half to even. Source: ONNX Runtime
    ``core/mlas/lib/intrinsics/avx2/qladd_avx2.cpp``. (MLAS on Arm adds integers instead: ``qladd.cpp``.)
    ``shift``: ``(a - za) * ma + (b - zb) * mb``, both multipliers at one shift, the larger of 31 bits; rounded once,
    half up. ``gemmlowp``: TensorFlow Lite's reference ``add.h``: both inputs raised by 20 bits and brought to twice
    the larger scale, summed, brought to the output's; three roundings, each half away from zero.

    Attributes:
        ratios: float32 ``scale a / scale c``, ``scale b / scale c``; fixed: float32.
        multipliers: at the common ``shift``. inputs, output: gemmlowp's factors.
    """

    zero_points: tuple[int, int]
    ratios: tuple[np.float32, np.float32]
    fixed: np.float32
    multipliers: tuple[int, int]
    shift: int
    inputs: tuple[Factor, Factor]
    output: Factor
    target: Target

    def run(self, inputs: Sequence[Bytes], mode: Mode) -> Bytes:
        """Return the sum, in the shape both broadcast to."""
        a, b = (x.astype(np.int64) for x in inputs)
        if mode == "onnxruntime":
            return self._saturate_whole(self._in_float(a, b))
        a, b = a - self.zero_points[0], b - self.zero_points[1]
        if mode == "shift":
            total = a * self.multipliers[0] + b * self.multipliers[1]
            return self.target.saturate(rounding_shift(total, self.shift))
        raised = (x << ADD_LEFT_SHIFT for x in (a, b))
        parts = [multiply_gemmlowp(x, f.multiplier, f.shift) for x, f in zip(raised, self.inputs, strict=True)]
        return self.target.saturate(multiply_gemmlowp(parts[0] + parts[1], self.output.multiplier, self.output.shift))

    def _in_float(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
        ratio_a, ratio_b = (_binary32.constant(ratio) for ratio in self.ratios)
        inner = _binary32.multiply_add(_binary32.from_int(b), ratio_b, _binary32.constant(self.fixed))
        return _binary32.to_int(_binary32.multiply_add(_binary32.from_int(a), ratio_a, inner))

    def _saturate_whole(self, values: NDArray[np.int64]) -> Bytes:
        return np.clip(values, self.target.low, self.target.high).astype(self.target.dtype)


@dataclass(frozen=True)
class Multiplication:
    """``QLinearMul``, broadcasting: the exact product of both integers, times one factor.

    ``onnxruntime``: float32 product by the scale, plus the zero point in float32 (a rounding of its own), half to
    even. Source: ONNX Runtime ``core/mlas/lib/qlmul.cpp`` (SSE2). Else ``Factor.apply``.
    """

    zero_points: tuple[int, int]
    factor: Factor
    target: Target

    def run(self, inputs: Sequence[Bytes], mode: Mode) -> Bytes:
        """Return the product, in the shape both broadcast to."""
        a, b = (x.astype(np.int64) - zero for x, zero in zip(inputs, self.zero_points, strict=True))
        if mode != "onnxruntime":
            return self.target.saturate(self.factor.apply(a * b, mode))
        scaled = _binary32.multiply(_binary32.from_int(a * b), _binary32.constant(self.factor.scale))
        whole = _binary32.to_int(_binary32.add(scaled, _binary32.from_int(np.array(self.target.zero_point))))
        return np.clip(whole, self.target.low, self.target.high).astype(self.target.dtype)


# ---- means and maxima -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GlobalAverage:
    """``QLinearGlobalAveragePool``, and ``ReduceMean`` over axes: an int32 sum, times scale x / (scale y * count).

    Source: ONNX Runtime ``core/mlas/lib/qlgavgpool.cpp``; rounding as ``Convolution``. ONNX Runtime has no integer
    ``ReduceMean``: it sums floats in an order of its own, so that a result next to a tie may round the other way.
    ``gemmlowp``: the multiplier of scale x / scale y, divided by the count and cut off (``divided``). Source:
    TensorFlow Lite, ``kernels/internal/reference/reduce.h``, ``QuantizedMeanOrSum``.
    """

    axes: tuple[int, ...]
    keep: bool
    zero_point: int
    count: int
    factor: Factor
    divided: Factor
    target: Target

    def run(self, inputs: Sequence[Bytes], mode: Mode) -> Bytes:
        """Return the means."""
        total = inputs[0].astype(np.int32).sum(axis=self.axes, keepdims=self.keep, dtype=np.int32)
        total = total - np.int32(self.zero_point * self.count)
        ratio = self.divided if mode == "gemmlowp" else self.factor
        return self.target.saturate(ratio.apply(total, mode))


@dataclass(frozen=True)
class AveragePool:
    """``QLinearAveragePool``.

    ``onnxruntime``: dequantized to float32, summed in float32 row by row, divided by the count, then by scale y, plus
    the zero point; five kinds of rounding, each to 24 bits, then half to even. Source: ONNX Runtime
    ``contrib_ops/cpu/quantization/qlinear_pool.cc``. Else an int32 sum times scale x / (scale y * count).

    Attributes:
        input_scale: float32. counts: elements in each window, ``(H', W')``. factor: likewise, one per position.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    zero_point: int
    input_scale: np.float32
    counts: NDArray[np.int64]
    factor: Factor
    target: Target

    def run(self, inputs: Sequence[Bytes], mode: Mode) -> Bytes:
        """Return ``(N, C, H', W')``."""
        top, left, bottom, right = self.pads
        shifted = inputs[0].astype(np.int64) - self.zero_point
        padded = np.pad(shifted, ((0, 0), (0, 0), (top, bottom), (left, right)))
        out = (int(self.counts.shape[0]), int(self.counts.shape[1]))
        taps = [_strided(padded, at, self.strides, out) for at in np.ndindex(self.kernel)]
        if mode == "onnxruntime":
            return self._in_float(taps)
        return self.target.saturate(self.factor.apply(np.sum(taps, axis=0, dtype=np.int32), mode))

    def _in_float(self, taps: Sequence[NDArray[np.int64]]) -> Bytes:
        scale = _binary32.constant(self.input_scale)
        total = _binary32.from_int(np.zeros_like(taps[0]))
        for tap in taps:  # a padded position adds 0, which changes nothing
            total = _binary32.add(total, _binary32.multiply(_binary32.from_int(tap), scale))
        mean = _binary32.divide(total, _binary32.from_int(self.counts))
        steps = _binary32.divide(mean, _binary32.constant(self.target.scale))
        whole = _binary32.to_int(_binary32.add(steps, _binary32.from_int(np.array(self.target.zero_point))))
        return np.clip(whole, self.target.low, self.target.high).astype(self.target.dtype)


@dataclass(frozen=True)
class MaxPool:
    """``MaxPool`` on the integers themselves, exact where input and output have one scale; ``table`` where not."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    out: tuple[int, int]
    table: Table | None

    def run(self, inputs: Sequence[Bytes], mode: Mode) -> Bytes:
        """Return ``(N, C, H', W')``."""
        top, left, bottom, right = self.pads
        least = np.iinfo(inputs[0].dtype).min
        padded = np.pad(inputs[0], ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=least)
        best = None
        for r, s in np.ndindex(self.kernel):
            seen = _strided(padded, (r * self.dilations[0], s * self.dilations[1]), self.strides, self.out)
            best = seen if best is None else np.maximum(best, seen)
        pooled = np.ascontiguousarray(best)
        return pooled if self.table is None else self.table.run([pooled], mode)


# ---- tables and moves -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """A function of one 8-bit value as 256 entries, at ``index = value`` (uint8) or ``value & 255`` (int8).

    Made when the network is read, in float32 as ONNX Runtime makes its own or computes each element (``_tables``);
    for the integer modes a leaky ReLU's slope is a fraction of 128, ``0.1`` being ``13 >> 7``.
    Source: ONNX Runtime ``contrib_ops/cpu/quantization/qlinear_lookup_table.cc``.
    """

    entries: Bytes
    integer_entries: Bytes

    def run(self, inputs: Sequence[Bytes], mode: Mode) -> Bytes:
        """Return the entry of every element."""
        return (self.entries if mode == "onnxruntime" else self.integer_entries)[inputs[0].view(np.uint8)]


@dataclass(frozen=True)
class Concatenation:
    """``QLinearConcat``: each input through the table to the output's scale, or as it is (None), then side by side.

    Source: ONNX Runtime ``contrib_ops/cpu/quantization/qlinear_concat.cc``.
    """

    axis: int
    tables: tuple[Table | None, ...]

    def run(self, inputs: Sequence[Bytes], mode: Mode) -> Bytes:
        """Return the inputs along ``axis``."""
        pairs = zip(inputs, self.tables, strict=True)
        return np.concatenate([x if table is None else table.run([x], mode) for x, table in pairs], axis=self.axis)


@dataclass(frozen=True)
class Move:
    """An operator that moves elements (Reshape, Flatten, Transpose, Slice …): exact; ``table`` where the scale changes.

    ``how`` does it on any array; ``settings`` say it in words and numbers.
    """

    how: Callable[[Bytes], Bytes]
    settings: Mapping[str, Any]
    table: Table | None

    def run(self, inputs: Sequence[Bytes], mode: Mode) -> Bytes:
        """Return the elements, moved."""
        moved: Bytes = np.ascontiguousarray(self.how(inputs[0]))
        return moved if self.table is None else self.table.run([moved], mode)


@dataclass(frozen=True)
class Chain:
    """An operator and the moves behind it, one after the other."""

    kernels: tuple[Kernel, ...]

    def run(self, inputs: Sequence[Bytes], mode: Mode) -> Bytes:
        """Return the last one's output."""
        made = self.kernels[0].run(inputs, mode)
        for kernel in self.kernels[1:]:
            made = kernel.run([made], mode)
        return made


# ---- windows ----------------------------------------------------------------------------------------------------


def window_count(
    size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[int, int]:
    """Return how many windows fit into a padded height and width."""
    rows, columns = (
        (have - (k - 1) * d - 1) // s + 1 for have, k, s, d in zip(size, kernel, strides, dilations, strict=True)
    )
    return rows, columns


def _strided(x: NDArray[Any], at: tuple[int, ...], strides: tuple[int, int], out: tuple[int, int]) -> NDArray[Any]:
    """Return every ``strides``-th element from ``at`` on, ``out`` of them, in the last two dimensions."""
    rows = slice(at[0], at[0] + (out[0] - 1) * strides[0] + 1, strides[0])
    columns = slice(at[1], at[1] + (out[1] - 1) * strides[1] + 1, strides[1])
    return x[..., rows, columns]
