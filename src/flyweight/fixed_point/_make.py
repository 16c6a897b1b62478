"""Kernels from float operators between dequantized inputs and a quantized output: what ONNX Runtime fuses.

One maker per ONNX operator, in the table ``MAKERS``; each gets a ``Site`` and returns the fused operator's name and
its kernel. An operator without a maker is an error that names the node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyweight.errors import GraphError
from flyweight.fixed_point import _kernels as kernels
from flyweight.fixed_point import _tables
from flyweight.fixed_point._requantize import MULTIPLIER_BITS, Target, factor
from flyweight.fixed_point._scales import (
    Constant,
    Scale,
    divided_factor,
    fraction,
    mean_factor,
    product_factor,
    sum_constants,
)

MAX_BIAS_ERROR = 1e-4  # relative, of a bias' scale against scale x * scale w


@dataclass(frozen=True)
class Site:
    """One float operator of the file and what surrounds it.

    Attributes:
        name: the node's, for messages. operands: what stands behind each input: a scale (an activation), a quantized
            constant, a plain constant array, or None (left out). shapes: of the inputs; of free dimensions -1.
        target: the output's. output: which one, of an operator with several.
    """

    name: str
    op: str
    settings: Mapping[str, Any]
    operands: tuple[Scale | Constant | NDArray[Any] | None, ...]
    shapes: tuple[tuple[int, ...], ...]
    out_shape: tuple[int, ...]
    target: Target
    output: int = 0

    def activation(self, index: int) -> Scale:
        """Return the scale of an input that must be a quantized activation."""
        found = self.operands[index] if index < len(self.operands) else None
        if not isinstance(found, Scale):
            raise self.error(f"input {index} must be a quantized activation")
        return found

    def weights(self, index: int) -> Constant:
        """Return an input that must be a quantized constant."""
        found = self.operands[index] if index < len(self.operands) else None
        if not isinstance(found, Constant):
            raise self.error(f"input {index} must be a constant behind DequantizeLinear")
        return found

    def values(self, index: int) -> NDArray[Any] | None:
        """Return an input that must be a plain constant, or None where it is left out."""
        found = self.operands[index] if index < len(self.operands) else None
        if found is not None and not isinstance(found, np.ndarray):
            raise self.error(f"input {index} must be a constant")
        return found

    def error(self, what: str) -> GraphError:
        """Return an error that names the node."""
        return GraphError(f"node '{self.name}' ({self.op}): {what}. It can't run in integers as it is.")


Made = tuple[str, kernels.Kernel]


def make(site: Site) -> Made:
    """Return the fused operator's name and kernel.

    Raises:
        GraphError: there is none, or this form of it is not supported; names the node.
    """
    maker = MAKERS.get(site.op)
    if maker is None:
        raise GraphError(
            f"node '{site.name}': operator '{site.op}' has no integer form here. Known: {', '.join(sorted(MAKERS))}."
        )
    return maker(site)


def sums(site: Site) -> tuple[str, kernels.MatrixProduct, NDArray[np.float32]]:
    """Return a matrix product whose int32 sums are the network's result, and what they are to be multiplied by.

    Source: ONNX Runtime, ``quant_gemm.cc``: without an output scale ``MLAS_QGEMM_SCALE_BIAS_OUTPUT_PROCESSOR`` makes
    floats of the sums.
    """
    name, kernel = (_gemm if site.op == "Gemm" else _matmul)(site)
    assert isinstance(kernel, kernels.MatrixProduct)
    return name, replace(kernel, target=None), kernel.factor.scale


def requantized(site: Site) -> kernels.Table | None:
    """Return the table from the first input's scale to the output's; None where both are the same."""
    source, target = site.activation(0), site.target
    limits = np.iinfo(target.dtype)
    same = (source.scale, source.zero_point, source.dtype) == (target.scale, target.zero_point, target.dtype)
    if same and (target.low, target.high) == (limits.min, limits.max):
        return None
    return _tables.table(source, target, _tables.same, {})


# ---- products ---------------------------------------------------------------------------------------------------


def _convolution(site: Site) -> Made:
    source, weights = site.activation(0), site.weights(1)
    if weights.values.ndim != 4:
        raise site.error(f"its weights have {weights.values.ndim} dimensions; 4 are possible")
    if weights.scales.size > 1 and weights.axis != 0:
        raise site.error(f"its weights are quantized along axis {weights.axis}; per output channel is axis 0")
    kernel = weights.values.shape[2:]
    strides, dilations = _pair(site, "strides"), _pair(site, "dilations")
    scales = np.broadcast_to(weights.scales, (weights.values.shape[0],))
    ratio = product_factor(source.scale, scales, site.target.scale, site.name)
    made = kernels.Convolution(
        weights.shifted(), _bias(site, source, scales), source.zero_point, int(site.settings.get("group", 1)), strides,
        dilations, _pads(site, kernel, strides, dilations), ratio.reshape(-1, 1, 1), site.target,
    )  # fmt: skip
    return "QLinearConv", made


def _gemm(site: Site) -> Made:
    source, weights = site.activation(0), site.weights(1)
    if site.settings.get("transA", 0) or site.settings.get("beta", 1.0) != 1.0:
        raise site.error("transA and beta other than 1 are not supported")
    transposed = bool(site.settings.get("transB", 0))
    return _product(site, source, weights, transposed, "QGemm", float(site.settings.get("alpha", 1.0)))


def _matmul(site: Site) -> Made:
    return _product(site, site.activation(0), site.weights(1), False, "QLinearMatMul", 1.0)


def _product(site: Site, source: Scale, weights: Constant, transposed: bool, name: str, gain: float) -> Made:
    if weights.values.ndim != 2:
        raise site.error(f"its weights have {weights.values.ndim} dimensions; 2 are possible")
    columns = 0 if transposed else 1
    if weights.scales.size > 1 and weights.axis % 2 != columns:
        raise site.error("its weights are quantized per row; per column is possible")
    matrix = weights.shifted().T if transposed else weights.shifted()
    scales = np.broadcast_to(weights.scales, (matrix.shape[1],))
    ratio = product_factor(source.scale, scales, site.target.scale, site.name, gain)
    bias = _bias(site, source, scales) if name == "QGemm" else np.zeros(matrix.shape[1], np.int32)
    return name, kernels.MatrixProduct(np.ascontiguousarray(matrix), bias, source.zero_point, ratio, site.target)


def _bias(site: Site, source: Scale, scales: NDArray[np.float32]) -> NDArray[np.int32]:
    found = site.operands[2] if len(site.operands) > 2 else None
    expected = source.scale * scales
    if found is None:
        return np.zeros(scales.size, np.int32)
    if isinstance(found, np.ndarray):  # float: quantized as ONNX Runtime's WeightBiasQuantization does
        rounded = np.rint(found.astype(np.float64) / expected.astype(np.float64))
        return np.clip(rounded, -(2**31), 2**31 - 1).astype(np.int32)
    if not isinstance(found, Constant) or found.values.dtype != np.int32 or found.zero_points.any():
        raise site.error("its bias must be int32 with zero point 0")
    if np.abs(found.scales / expected - 1).max(initial=0) > MAX_BIAS_ERROR:
        raise site.error("its bias has another scale than its input's times its weights'")
    return np.broadcast_to(found.values.reshape(-1), (scales.size,)).astype(np.int32)


# ---- sums, means, maxima ----------------------------------------------------------------------------------------


def _addition(site: Site) -> Made:
    a, b = site.activation(0), site.activation(1)
    ratio_a, ratio_b, fixed = sum_constants(a, b, site.target)
    out = fraction(site.target.scale)
    exact = [fraction(a.scale) / out, fraction(b.scale) / out]
    shift = 0
    while max(exact) * 2**shift < 1 << (MULTIPLIER_BITS - 1):
        shift += 1
    twice = 2 * max(fraction(a.scale), fraction(b.scale))
    inputs = [_one(fraction(scale.scale) / twice, site.name) for scale in (a, b)]
    output = _one(twice / (out * (1 << kernels.ADD_LEFT_SHIFT)), site.name)
    multipliers = (round(exact[0] * 2**shift), round(exact[1] * 2**shift))
    zeros = (a.zero_point, b.zero_point)
    made = kernels.Addition(
        zeros, (ratio_a, ratio_b), fixed, multipliers, shift, (inputs[0], inputs[1]), output, site.target
    )
    return "QLinearAdd", made


def _one(ratio: Fraction, name: str) -> Any:
    return factor(np.array([float(ratio)], np.float32), [ratio], name)


def _multiplication(site: Site) -> Made:
    a, b = site.activation(0), site.activation(1)
    scale = np.array([a.scale * b.scale / site.target.scale], np.float32)
    exact = fraction(a.scale) * fraction(b.scale) / fraction(site.target.scale)
    zeros = (a.zero_point, b.zero_point)
    return "QLinearMul", kernels.Multiplication(zeros, factor(scale, [exact], site.name), site.target)


def _global_average(site: Site) -> Made:
    return "QLinearGlobalAveragePool", _mean(site, tuple(range(2, len(site.shapes[0]))), True)


def _reduce_mean(site: Site) -> Made:
    axes = site.settings.get("axes") or site.values(1)
    if axes is None:
        raise site.error("its axes are not given")
    rank = len(site.shapes[0])
    return "ReduceMean", _mean(site, tuple(int(a) % rank for a in axes), bool(site.settings.get("keepdims", 1)))


def _mean(site: Site, axes: tuple[int, ...], keep: bool) -> kernels.GlobalAverage:
    source = site.activation(0)
    sizes = [site.shapes[0][axis] for axis in axes]
    if min(sizes, default=-1) < 1:
        raise site.error("the size of what it averages is free. Export it with a fixed size")
    count = int(np.prod(sizes))
    ratio = mean_factor(source.scale, site.target.scale, np.array([count]), site.name)
    divided = divided_factor(source.scale, site.target.scale, count, site.name)
    return kernels.GlobalAverage(axes, keep, source.zero_point, count, ratio, divided, site.target)


def _average_pool(site: Site) -> Made:
    source, kernel = site.activation(0), _kernel(site)
    strides, dilations = _pair(site, "strides"), _pair(site, "dilations")
    if site.settings.get("ceil_mode", 0) or dilations != (1, 1):
        raise site.error("ceil_mode and dilations are not supported")
    pads = _pads(site, kernel, strides, dilations)
    size = _image_size(site)
    padded = (size[0] + pads[0] + pads[2], size[1] + pads[1] + pads[3])
    out = kernels.window_count(padded, kernel, strides, dilations)
    if site.settings.get("count_include_pad", 0):
        counts = np.full(out, kernel[0] * kernel[1], np.int64)
    else:
        lines = [_seen(*line) for line in zip(size, kernel, strides, pads[:2], out, strict=True)]
        counts = np.outer(*lines)
    ratio = mean_factor(source.scale, site.target.scale, counts, site.name)
    made = kernels.AveragePool(
        kernel, strides, pads, source.zero_point, source.scale, counts, ratio.reshape(*out), site.target
    )
    return "QLinearAveragePool", made


def _seen(size: int, kernel: int, stride: int, pad: int, out: int) -> NDArray[np.int64]:
    """Return how many elements of the image, not of its padding, each window along one dimension sees."""
    starts = np.arange(out) * stride - pad
    return np.asarray(np.minimum(starts + kernel, size) - np.maximum(starts, 0), np.int64)


def _max_pool(site: Site) -> Made:
    kernel = _kernel(site)
    strides, dilations = _pair(site, "strides"), _pair(site, "dilations")
    if site.settings.get("storage_order", 0):
        raise site.error("storage_order is not supported")
    pads, size = _pads(site, kernel, strides, dilations), _image_size(site)
    if site.settings.get("ceil_mode", 0):
        lines = zip(size, kernel, strides, dilations, pads[:2], pads[2:], strict=True)
        bottom, right = (_ceiled(*line) for line in lines)
        pads = (pads[0], pads[1], bottom, right)
    out = kernels.window_count((size[0] + pads[0] + pads[2], size[1] + pads[1] + pads[3]), kernel, strides, dilations)
    return "MaxPool", kernels.MaxPool(kernel, strides, dilations, pads, out, requantized(site))


def _ceiled(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Return the padding behind with which rounding down gives ``ceil_mode``'s windows.

    One more window fits in part; it counts only if it begins before the padding behind (ONNX, MaxPool).
    """
    reach = (kernel - 1) * dilation + 1
    windows = -(-(size + before + after - reach) // stride) + 1
    if (windows - 1) * stride >= size + before:
        windows -= 1
    return max(after, (windows - 1) * stride + reach - size - before)


# ---- tables and moves -------------------------------------------------------------------------------------------


def _activation(site: Site) -> Made:
    source, settings = site.activation(0), dict(site.settings)
    names = {"LeakyRelu": "QLinearLeakyRelu", "Sigmoid": "QLinearSigmoid"}
    integer = None
    if site.op == "LeakyRelu":
        integer = _tables.leaky_relu_entries(source, site.target, float(settings.get("alpha", 0.01)), site.name)
    if site.op == "Clip":
        for index, (key, least) in enumerate((("min", -np.inf), ("max", np.inf)), start=1):
            found = site.values(index)
            settings[key] = float(found) if found is not None else settings.get(key, least)
    made = _tables.table(source, site.target, _tables.FUNCTIONS[site.op], settings, integer)
    return names.get(site.op, site.op), made


def _concatenation(site: Site) -> Made:
    tables = []
    for index in range(len(site.operands)):
        alone = Site(site.name, site.op, {}, (site.activation(index),), (), (), site.target)
        tables.append(requantized(alone))
    return "QLinearConcat", kernels.Concatenation(int(site.settings.get("axis", 0)), tuple(tables))


def _reshape(site: Site) -> Made:
    def move(x: NDArray[Any]) -> NDArray[Any]:
        return x.reshape(-1, *rest) if batched else x.reshape(rest)

    if min(site.out_shape[1:], default=1) < 0:
        raise site.error("its output's shape is free. Export it with a fixed size")
    batched = bool(site.out_shape) and site.out_shape[0] in (-1, 1) and site.shapes[0][:1] in ((-1,), (1,))
    rest = site.out_shape[1:] if batched else site.out_shape
    return site.op, kernels.Move(move, {"shape": list(rest), "batched": batched}, requantized(site))


def _transpose(site: Site) -> Made:
    order = site.settings.get("perm") or list(range(len(site.shapes[0])))[::-1]
    return "Transpose", kernels.Move(lambda x: x.transpose(order), {"order": list(order)}, requantized(site))


def _depth_to_space(site: Site) -> Made:
    block, mode = int(site.settings["blocksize"]), site.settings.get("mode", "DCR")

    def move(x: NDArray[Any]) -> NDArray[Any]:
        n, c, h, w = x.shape
        if mode == "CRD":
            split = x.reshape(n, c // block**2, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
        else:
            split = x.reshape(n, block, block, c // block**2, h, w).transpose(0, 3, 4, 1, 5, 2)
        return split.reshape(n, c // block**2, h * block, w * block)

    return "DepthToSpace", kernels.Move(move, {"block": block, "mode": mode}, requantized(site))


def _slice(site: Site) -> Made:
    starts, ends = site.values(1), site.values(2)
    if starts is None or ends is None:
        raise site.error("its starts and ends must be constants")
    given, stepped = site.values(3), site.values(4)
    axes = range(len(starts)) if given is None else [int(axis) for axis in given]
    steps = [1] * len(starts) if stepped is None else [int(step) for step in stepped]
    parts = [slice(None)] * len(site.shapes[0])
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step < 1:
            raise site.error(f"its step is {step}; positive ones are supported")
        parts[axis] = slice(int(start), int(end), step)
    settings = {"slices": [[part.start, part.stop, part.step] for part in parts]}
    return "Slice", kernels.Move(lambda x: x[tuple(parts)], settings, requantized(site))


def _split(site: Site) -> Made:
    axis = int(site.settings.get("axis", 0)) % len(site.shapes[0])
    given = site.values(1) if len(site.operands) > 1 else site.settings.get("split")
    whole, part = site.shapes[0][axis], site.out_shape[axis]
    if given is None and min(whole, part) < 1:
        raise site.error("the size of what it splits is free. Export it with a fixed size")
    share = -(-whole // int(site.settings.get("num_outputs", max(whole // max(part, 1), 1))))
    start = sum(int(size) for size in given[: site.output]) if given is not None else share * site.output
    end = start + (int(given[site.output]) if given is not None else share)
    parts = (*[slice(None)] * axis, slice(start, end))
    return "Split", kernels.Move(lambda x: x[parts], {"axis": axis, "from": start, "to": end}, requantized(site))


# ---- settings ---------------------------------------------------------------------------------------------------


def _pair(site: Site, key: str) -> tuple[int, int]:
    found: Sequence[int] = site.settings.get(key) or (1, 1)
    if len(found) != 2:
        raise site.error(f"{key} has {len(found)} numbers; 2 are possible")
    return int(found[0]), int(found[1])


def _kernel(site: Site) -> tuple[int, int]:
    return _pair(site, "kernel_shape")


def _image_size(site: Site) -> tuple[int, int]:
    if len(site.shapes[0]) != 4 or min(site.shapes[0][2:]) < 1:
        raise site.error("its input's height and width are free. Export it with a fixed size")
    return site.shapes[0][2], site.shapes[0][3]


def _pads(
    site: Site, kernel: Sequence[int], strides: tuple[int, int], dilations: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Return top, left, bottom, right; ``auto_pad`` SAME gives the odd one to the end (UPPER) or the start (LOWER)."""
    auto = site.settings.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID"):
        given = list(site.settings.get("pads") or [0] * 4) if auto == "NOTSET" else [0] * 4
        return int(given[0]), int(given[1]), int(given[2]), int(given[3])
    ends = []
    for size, k, stride, dilation in zip(_image_size(site), kernel, strides, dilations, strict=True):
        total = max((-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        ends.append((total // 2, total - total // 2) if auto == "SAME_UPPER" else (total - total // 2, total // 2))
    return ends[0][0], ends[1][0], ends[0][1], ends[1][1]


MAKERS: dict[str, Callable[[Site], Made]] = {
    "Conv": _convolution, "Gemm": _gemm, "MatMul": _matmul, "Add": _addition, "Mul": _multiplication,
    "GlobalAveragePool": _global_average, "ReduceMean": _reduce_mean, "AveragePool": _average_pool,
    "MaxPool": _max_pool, "Concat": _concatenation, "Reshape": _reshape, "Flatten": _reshape, "Squeeze": _reshape,
    "Unsqueeze": _reshape, "Transpose": _transpose, "DepthToSpace": _depth_to_space, "Slice": _slice, "Split": _split,
    **dict.fromkeys(_tables.FUNCTIONS, _activation),
}  # fmt: skip
