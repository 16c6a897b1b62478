"""ONNX's operators in Flyweight's words: name, operands, settings.

Each rule takes a ``Call`` and returns the steps that it stands for, mostly one. A setting has the name that counting,
memory and receptive field know it by, which is PyTorch's. Sizes, axes and pads that ONNX passes as tensors are settings
here, no operands.

Source: the operators' specification, github.com/onnx/onnx/blob/main/docs/Operators.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from flyweight.graph import AttrValue, TensorInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

Attrs: TypeAlias = dict[str, AttrValue]


@dataclass(frozen=True)
class Step:
    """One operator as Flyweight counts it.

    Attributes:
        operands: indices of the call's inputs that it reads; None: the output of the step before.
        shape: of its output, where it is not the call's own.
        view: its output shares the first operand's storage.
    """

    op: str
    operands: tuple[int | None, ...]
    attrs: Attrs
    shape: tuple[int, ...] | None = None
    view: bool = False


@dataclass(frozen=True)
class Call:
    """One ONNX node: its attributes, and what is known of its inputs and outputs (None: left out)."""

    op: str
    attrs: Mapping[str, Any]
    inputs: tuple[TensorInfo | None, ...]
    values: tuple[NDArray[Any] | None, ...]
    outputs: tuple[TensorInfo | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first input."""
        return self.inputs[0].shape if self.inputs and self.inputs[0] else ()

    @property
    def out(self) -> tuple[int, ...]:
        """Shape of the first output."""
        return self.outputs[0].shape if self.outputs and self.outputs[0] else ()

    def present(self, *indices: int) -> tuple[int, ...]:
        """Return those of ``indices`` (default: all) whose input is there."""
        chosen = indices or tuple(range(len(self.inputs)))
        return tuple(i for i in chosen if i < len(self.inputs) and self.inputs[i] is not None)

    def integers(self, index: int, name: str = "") -> tuple[int, ...] | None:
        """Return whole numbers that come as input ``index`` or, in older files, as attribute ``name``."""
        if index < len(self.values) and (value := self.values[index]) is not None:
            return tuple(int(v) for v in value.reshape(-1))
        found = self.attrs.get(name)
        return tuple(found) if isinstance(found, list | tuple) else None


Rule: TypeAlias = Callable[[Call], "list[Step] | None"]  # None: can't be told, which makes an unknown row


def steps_of(call: Call) -> list[Step] | None:
    """Return what ``call`` stands for, None for an operator without a rule."""
    rule = RULES.get(call.op)
    return rule(call) if rule else None


def _plain(op: str, aten: str = "") -> Rule:
    return lambda call: [Step(op, call.present(), {"aten": aten or op})]


def _first(op: str, *attrs: str) -> Rule:
    """An operator on its first input alone; what else it gets are settings."""
    return lambda call: [Step(op, (0,), {name: call.attrs[name] for name in attrs if name in call.attrs})]


def _variadic(op: str) -> Rule:
    """Maximum of three is two operators."""

    def rule(call: Call) -> list[Step]:
        if len(call.inputs) == 1:
            return [Step("copy", (0,), {})]
        rest = [Step(op, (None, i), {}, call.out) for i in range(2, len(call.inputs))]
        return [Step(op, (0, 1), {}, call.out), *rest]

    return rule


def _view(op: str) -> Rule:
    return lambda call: [Step(op, (0,), {}, view=True)]


def _windows(call: Call, kernel: Sequence[int]) -> Attrs:
    dims = len(kernel)
    strides = tuple(call.attrs.get("strides", (1,) * dims))
    dilations = tuple(call.attrs.get("dilations", (1,) * dims))
    pads = tuple(call.attrs.get("pads", (0,) * 2 * dims))[:dims]
    mode = call.attrs.get("auto_pad", b"NOTSET")
    if mode in (b"SAME_UPPER", b"SAME_LOWER"):
        pads = tuple(
            _same_pad(n, out, k, s, d, mode == b"SAME_LOWER")
            for n, out, k, s, d in zip(call.shape[2:], call.out[2:], kernel, strides, dilations, strict=True)
        )
    return {
        "kernel_size": tuple(kernel), "stride": strides, "padding": pads, "dilation": dilations,
        "groups": int(call.attrs.get("group", 1)),
    }  # fmt: skip


def _same_pad(size: int, out: int, kernel: int, stride: int, dilation: int, lower: bool) -> int:
    total = max((out - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return (total + 1) // 2 if lower else total // 2


def _conv(operands: tuple[int, ...], op: str = "conv") -> Rule:
    """Weight ``(K, C/groups, R, S)``, as in PyTorch; transposed ``(C, K/groups, R, S)``."""

    def rule(call: Call) -> list[Step] | None:
        weight = call.inputs[operands[1]]
        if weight is None or len(weight.shape) != len(call.shape):
            return None
        return [Step(op, call.present(*operands), {"aten": "convolution", **_windows(call, weight.shape[2:])})]

    return rule


def _gemm(call: Call) -> list[Step]:
    """``alpha A B + beta C``: a linear layer where B is a weight as PyTorch keeps it."""
    operands = call.present(0, 1, 2)
    if not call.attrs.get("transA", 0) and call.attrs.get("transB", 0):
        return [Step("linear", operands, {})]
    left = call.shape[::-1] if call.attrs.get("transA", 0) else call.shape
    first: list[Step] = [Step("transpose", (0,), {"aten": "t"}, left)] if call.attrs.get("transA", 0) else []
    product: tuple[int | None, ...] = (None if first else 0, 1)
    if len(operands) == 3:
        return [*first, Step("matmul", (2, *product), {"aten": "addmm", "beta": float(call.attrs.get("beta", 1.0))})]
    return [*first, Step("matmul", product, {"aten": "matmul"})]


def _matmul(*operands: int) -> Rule:
    return lambda call: [Step("matmul", operands, {"aten": "matmul"})]


def _pool(op: str) -> Rule:
    return lambda call: [Step(op, (0,), _windows(call, call.attrs["kernel_shape"]))]


def _reduce(op: str) -> Rule:
    def rule(call: Call) -> list[Step]:
        axes = call.integers(1, "axes")
        return [Step(op, (0,), {"dim": axes or None})]

    return rule


def _arg(op: str) -> Rule:
    return lambda call: [Step(op, (0,), {"dim": int(call.attrs.get("axis", 0))})]


def _axis(op: str, default: int) -> Rule:
    return lambda call: [Step(op, (0,), {"dim": int(call.attrs.get("axis", default))})]


def _concat(call: Call) -> list[Step]:
    return [Step("concat", call.present(), {"dim": int(call.attrs["axis"])})]


def _clip(call: Call) -> list[Step]:
    limits = [call.attrs.get(name) for name in ("min", "max")]
    for index in (1, 2):
        if index < len(call.values) and (value := call.values[index]) is not None:
            limits[index - 1] = float(value)
    op = "relu6" if limits == [0.0, 6.0] else "relu" if limits == [0.0, None] else "clamp"
    return [Step(op, (0,), {})]


def _slice(call: Call) -> list[Step] | None:
    """One step per axis, since that is how PyTorch slices."""
    starts, ends = call.integers(1, "starts"), call.integers(2, "ends")
    if starts is None or ends is None:
        return None
    axes = call.integers(3, "axes") or tuple(range(len(starts)))
    strides = call.integers(4) or (1,) * len(starts)
    shape = list(call.shape)
    steps: list[Step] = []
    for axis, start, end, stride in zip(axes, starts, ends, strides, strict=True):
        axis %= len(shape)
        if stride < 1:
            return None
        first, last = _clamped(start, shape[axis]), _clamped(end, shape[axis])
        shape[axis] = max(math.ceil((last - first) / stride), 0)
        attrs: Attrs = {"dim": axis, "start": first, "step": stride}
        steps.append(Step("slice", (None if steps else 0,), attrs, tuple(shape)))
    return steps


def _clamped(position: int, size: int) -> int:
    return min(max(position + size if position < 0 else position, 0), size)


def _gather(call: Call) -> list[Step]:
    axis, index = int(call.attrs.get("axis", 0)), call.values[1]
    if index is not None and index.ndim == 0:
        return [Step("select", (0,), {"dim": axis, "index": int(index)})]
    return [Step("index_select", call.present(0, 1), {"dim": axis})]


def _pad(call: Call) -> list[Step] | None:
    """ONNX lists all beginnings, then all ends; PyTorch pairs, from the last dimension on."""
    pads = call.integers(1, "pads")
    rank = len(call.shape)
    axes = call.integers(3)
    if pads is None:
        return None
    if axes is None:
        axes = tuple(range(rank))
    before, after = dict.fromkeys(range(rank), 0), dict.fromkeys(range(rank), 0)
    for k, axis in enumerate(axes):
        before[axis % rank], after[axis % rank] = pads[k], pads[k + len(axes)]
    paired = tuple(n for axis in reversed(range(rank)) for n in (before[axis], after[axis]))
    return [Step("pad", (0,), {"pad": paired})]


def _resize(call: Call) -> list[Step] | None:
    scales_at = 1 if call.op == "Upsample" else 2
    scales = call.values[scales_at] if scales_at < len(call.values) else None
    mode = call.attrs.get("mode", b"nearest").decode()
    op = {"nearest": "upsample_nearest", "linear": "upsample_bilinear", "cubic": "upsample_bicubic"}.get(mode)
    if op is None or call.shape[:2] != call.out[:2]:
        return None
    transform = call.attrs.get("coordinate_transformation_mode", b"half_pixel")
    attrs: Attrs = {"align_corners": transform == b"align_corners"}
    if scales is not None and scales.size == len(call.shape):
        attrs["scale_factors"] = tuple(float(s) for s in scales.reshape(-1)[2:])
    return [Step(op, (0,), attrs)]


def _shuffle(call: Call) -> list[Step]:
    block = int(call.attrs["blocksize"])
    up = call.op == "DepthToSpace"
    return [
        Step("pixel_shuffle" if up else "pixel_unshuffle", (0,), {("up" if up else "down") + "scale_factor": block})
    ]


def _layer_norm(call: Call) -> list[Step]:
    axis = int(call.attrs.get("axis", -1)) % len(call.shape)
    return [Step("layer_norm", call.present(0, 1, 2), {"normalized_shape": call.shape[axis:]})]


def _split(call: Call) -> list[Step]:
    return [Step("split", (0,), {"dim": int(call.attrs.get("axis", 0))})]


def _transpose(call: Call) -> list[Step]:
    order = call.attrs.get("perm") or range(len(call.shape))[::-1]
    return [Step("permute", (0,), {"dims": tuple(order)})]


def _table(rules: Mapping[str, Rule]) -> dict[str, Rule]:
    return {op: rule for ops, rule in rules.items() for op in ops.split()}


_SAME = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "pow": "Pow", "neg": "Neg", "abs": "Abs", "exp": "Exp",
    "log": "Log", "sqrt": "Sqrt", "reciprocal": "Reciprocal", "sin": "Sin", "cos": "Cos", "tan": "Tan", "erf": "Erf",
    "floor": "Floor", "ceil": "Ceil", "round": "Round", "sign": "Sign", "tanh": "Tanh", "sigmoid": "Sigmoid",
    "relu": "Relu", "prelu": "PRelu", "leaky_relu": "LeakyRelu", "elu": "Elu", "selu": "Selu", "celu": "Celu",
    "hardsigmoid": "HardSigmoid", "hardswish": "HardSwish", "softplus": "Softplus", "mish": "Mish", "gelu": "Gelu",
    "silu": "Swish", "threshold": "ThresholdedRelu", "where": "Where", "eq": "Equal", "lt": "Less", "gt": "Greater",
    "le": "LessOrEqual", "ge": "GreaterOrEqual", "logical_and": "And", "logical_or": "Or", "logical_not": "Not",
    "logical_xor": "Xor", "fmod": "Mod", "isnan": "IsNaN", "isinf": "IsInf", "instance_norm": "InstanceNormalization",
    "group_norm": "GroupNormalization", "batch_norm": "BatchNormalization",
}  # fmt: skip

RULES: Mapping[str, Rule] = MappingProxyType(
    {onnx: _plain(op) for op, onnx in _SAME.items()}
    | _table(
        {
            "Conv": _conv((0, 1, 2)),
            "ConvTranspose": _conv((0, 1, 2), "conv_transpose"),
            "ConvInteger": _conv((0, 1)),
            "QLinearConv": _conv((0, 3, 8)),
            "Gemm": _gemm,
            "MatMul MatMulInteger": _matmul(0, 1),
            "QLinearMatMul": _matmul(0, 3),
            "Max": _variadic("maximum"),
            "Min": _variadic("minimum"),
            "Sum": _variadic("add"),
            "MaxPool": _pool("max_pool"),
            "AveragePool": _pool("avg_pool"),
            "GlobalAveragePool": _first("adaptive_avg_pool"),
            "GlobalMaxPool": _first("adaptive_max_pool"),
            "ReduceMean": _reduce("mean"),
            "ReduceSum ReduceL1 ReduceSumSquare": _reduce("sum"),
            "ReduceMax": _reduce("amax"),
            "ReduceMin": _reduce("amin"),
            "ReduceProd": _reduce("prod"),
            "ReduceL2": _reduce("linalg_vector_norm"),
            "ReduceLogSumExp": _reduce("logsumexp"),
            "ArgMax": _arg("argmax"),
            "ArgMin": _arg("argmin"),
            "Softmax": _axis("softmax", -1),
            "LogSoftmax": _axis("log_softmax", -1),
            "TopK": _axis("topk", -1),
            "CumSum": _first("cumsum"),
            "Concat": _concat,
            "Clip": _clip,
            "Slice": _slice,
            "Gather": _gather,
            "GatherElements": _plain("gather"),
            "GatherND": _plain("index"),
            "ScatterElements ScatterND": _plain("scatter"),
            "Pad": _pad,
            "Resize Upsample": _resize,
            "DepthToSpace SpaceToDepth": _shuffle,
            "LayerNormalization": _layer_norm,
            "Split": _split,
            "Transpose": _transpose,
            "Reshape": _view("reshape"),
            "Flatten": _view("flatten"),
            "Squeeze": _view("squeeze"),
            "Unsqueeze": _view("unsqueeze"),
            "Identity Dropout": _view("alias"),
            "Cast CastLike": _first("copy"),
            "Expand": _first("expand"),
            "Tile": _first("repeat"),
            "Shape Size ConstantOfShape Range": _first("constant"),
            "QuantizeLinear": _first("quantize"),
            "DequantizeLinear": _first("dequantize"),
            "DynamicQuantizeLinear": _first("quantize"),
        }
    )
)
