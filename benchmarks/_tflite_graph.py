"""A traced network as an int8 TensorFlow Lite file: its structure with random weights, for a compiler to judge.

Maps of four dimensions are laid out as N, H, W, C, all others as PyTorch has them, and what reshapes is put between
transpositions, as converters do. Norms behind convolutions leave nothing; what the format has no name for is taken
apart as ``flyweight/devices/_tflite.toml`` says. The numbers are random: only which operators there are is true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from benchmarks._tflite import SAME, VALID, Operator, Setting, Tensor, model
from flyweight.errors import FlyweightError
from flyweight.graph import Graph, Node
from flyweight.traits import rides_along, trait

SCALE, WEIGHT_SCALE = 0.05, 0.01
_TO_NHWC = (0, 2, 3, 1)
_TO_NCHW = (0, 3, 1, 2)
_AXIS = (0, 3, 1, 2)  # dimension of N, C, H, W -> where it is in N, H, W, C
_INFINITE = -128


class NoFormError(FlyweightError):
    """TensorFlow Lite has no form for an operator, or this writer doesn't know it."""


class Writer:
    """Collects tensors and operators of one file.

    Attributes:
        made: from a node's name to the names of the tensors that its operators make.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []
        self.index: dict[str, int] = {}
        self.made: dict[str, list[str]] = {}
        self._numbers = np.random.default_rng(0)
        self._node = ""

    def file(self) -> bytes:
        """Return the whole network as a file.

        Raises:
            NoFormError: an operator can't be written.
        """
        for name in self.graph.inputs:
            self.index[name] = self.activation(self.shape(name), name)
        for number, node in enumerate(self.graph.nodes):
            if node.attr("weight"):
                continue
            if rides_along(node, self.graph):
                self.index.update(dict.fromkeys(node.outputs, self.index[node.inputs[0]]))
                continue
            self._node = f"{number}:{node.op}"
            self.made[node.name] = []
            rule = _RULES.get(node.op)
            if rule is None:
                raise NoFormError(f"{node.op} ({node.name}) has no form here")
            results = rule(self, node)
            self.index.update(zip(node.outputs, results, strict=True))
            self.made[node.name] = [name for name in self.made.pop(node.name) if name]
        ends = [self.index[name] for name in self.graph.outputs]
        return model(self.tensors, self.operators, [self.index[name] for name in self.graph.inputs], ends)

    # ---- tensors -------------------------------------------------------------------------------------------------

    def shape(self, name: str) -> tuple[int, ...]:
        """Return an activation's shape as the file has it."""
        shape = self.graph.info(name).shape
        return tuple(shape[axis] for axis in _TO_NHWC) if len(shape) == 4 else shape

    def activation(self, shape: Sequence[int], name: str, scale: float = SCALE, zero: int = 0) -> int:
        """Add an activation."""
        return self._add(Tensor(name, tuple(shape), scales=(scale,), zero=zero))

    def integers(self, values: Sequence[int] | Sequence[Sequence[int]]) -> int:
        """Add a constant of int32, not quantized."""
        array = np.asarray(values, np.int32)
        return self._add(Tensor(f"constant {len(self.tensors)}", array.shape, "int32", data=array.tobytes()))

    def weights(self, shape: Sequence[int], axis: int | None = None) -> int:
        """Add random int8 weights; quantized per channel along ``axis`` where it is given."""
        array = self._numbers.integers(-127, 128, tuple(shape), np.int8)
        scales = (WEIGHT_SCALE,) * (1 if axis is None else shape[axis])
        return self._add(
            Tensor(f"constant {len(self.tensors)}", tuple(shape), "int8", scales, axis=axis or 0, data=array.tobytes())
        )

    def bias(self, channels: int, per_channel: bool = True) -> int:
        """Add a bias of zeros."""
        scales = (SCALE * WEIGHT_SCALE,) * (channels if per_channel else 1)
        data = np.zeros(channels, np.int32).tobytes()
        return self._add(Tensor(f"constant {len(self.tensors)}", (channels,), "int32", scales, data=data))

    def _add(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    # ---- operators -----------------------------------------------------------------------------------------------

    def op(
        self, code: str, inputs: Sequence[int], shapes: Sequence[Sequence[int]], **settings: Setting
    ) -> tuple[int, ...]:
        """Add an operator that makes tensors of these shapes; they take the first input's range where it must be so."""
        node = self.graph.nodes[int(self._node.partition(":")[0])].name
        scale, zero = _RANGES.get(code, (SCALE, 0))
        first = next(tensor for tensor in map(self.tensors.__getitem__, inputs) if tensor.data is None)
        if code in _KEEP_RANGE:
            scale, zero = first.scales[0], first.zero
        outputs = []
        for shape in shapes:
            name = f"{self._node}:{len(self.made[node])}"
            self.made[node].append(name)
            outputs.append(self.activation(shape, name, scale, zero))
        self.operators.append(Operator(code, tuple(inputs), tuple(outputs), settings))
        return tuple(outputs)

    def padded(self, source: int, before: Sequence[int], after: Sequence[int], value: int = 0) -> int:
        """Add a padding of height and width; nothing where it is 0."""
        if not any((*before, *after)):
            return source
        pads = [(0, 0), *zip(before, after, strict=True), (0, 0)]
        shape = [size + sum(pad) for size, pad in zip(self.tensors[source].shape, pads, strict=True)]
        inputs = [source, self.integers(pads)]
        if value:
            data = np.asarray([value], np.int8).tobytes()
            inputs.append(self._add(Tensor(f"constant {len(self.tensors)}", (1,), "int8", (SCALE,), data=data)))
        return self.op("PADV2" if value else "PAD", inputs, [shape])[0]

    def transposed(self, source: int, order: Sequence[int]) -> int:
        """Add a transposition; none where nothing moves in memory."""
        shape = self.tensors[source].shape
        made = [shape[axis] for axis in order]
        if [axis for axis in order if shape[axis] > 1] == [axis for axis, size in enumerate(shape) if size > 1]:
            return self.reshaped(source, made) if tuple(made) != shape else source
        return self.op("TRANSPOSE", [source, self.integers(order)], [made])[0]

    def reshaped(self, source: int, shape: Sequence[int]) -> int:
        """Add a reshaping."""
        return self.op("RESHAPE", [source, self.integers(shape)], [shape])[0]

    def operand(self, node: Node, name: str) -> int:
        """Return an operand: an activation, or random weights in its shape."""
        if name in self.index:
            return self.index[name]
        shape = self.graph.info(name).shape
        rank = len(self.graph.info(node.outputs[0]).shape)
        full = (1,) * (rank - len(shape)) + tuple(shape)
        return self.weights([full[axis] for axis in _TO_NHWC] if rank == 4 else full)


_KEEP_RANGE_TEXT = """
    MAX_POOL_2D AVERAGE_POOL_2D RESHAPE TRANSPOSE PAD PADV2 MIRROR_PAD SLICE STRIDED_SLICE SPLIT UNPACK TILE REVERSE_V2
    RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR MAXIMUM MINIMUM REDUCE_MAX REDUCE_MIN
"""
_KEEP_RANGE = frozenset(_KEEP_RANGE_TEXT.split())
_RANGES: Mapping[str, tuple[float, int]] = MappingProxyType(
    {"LOGISTIC": (1 / 256, -128), "SOFTMAX": (1 / 256, -128), "TANH": (1 / 128, 0)}
)
_Rule = Callable[[Writer, Node], Sequence[int]]


def _source(w: Writer, node: Node) -> int:
    return w.index[node.inputs[0]]


def _pair(node: Node, name: str) -> tuple[int, int]:
    value = node.attr(name)
    numbers = [int(v) for v in value if isinstance(v, int | float)] if isinstance(value, tuple) else [int(str(value))]
    return (numbers[0], numbers[-1])


def _simple(code: str, **settings: Setting) -> _Rule:
    return lambda w, node: w.op(code, [_source(w, node)], [w.shape(node.outputs[0])], **settings)


# ---- windows -------------------------------------------------------------------------------------------------------


def _window(
    w: Writer, node: Node, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], value: int = 0
) -> tuple[int, int]:
    """Return what a window reads, padded where the format's own padding is another, and the kind of padding."""
    source = _source(w, node)
    kind = trait("padding", node, w.graph)
    if kind == "uncounted":
        raise NoFormError(f"{node.op} ({node.name}) leaves out a padding that is not TensorFlow's")
    if kind == "same":
        return source, SAME
    before, after = [], []
    for axis, pad in enumerate(_pair(node, "padding") if node.attr("padding") is not None else (0, 0)):
        size, made = w.tensors[source].shape[1 + axis], w.shape(node.outputs[0])[1 + axis]
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        before.append(pad)
        after.append(max((made - 1) * stride[axis] + reach - size - pad, 0) if pad or node.attr("ceil_mode") else 0)
    return w.padded(source, before, after, value), VALID


def _convolution(w: Writer, node: Node) -> Sequence[int]:
    weight = w.graph.info(node.operands[1]).shape
    if len(weight) != 4:
        raise NoFormError(f"{node.op} ({node.name}) is not two-dimensional")
    stride, dilation = _pair(node, "stride"), _pair(node, "dilation")
    source, padding = _window(w, node, weight[2:], stride, dilation)
    common = {
        "padding": padding, "stride_h": stride[0], "stride_w": stride[1],
        "dilation_h": dilation[0], "dilation_w": dilation[1],
    }  # fmt: skip
    shape = [w.shape(node.outputs[0])]
    if trait("form", node, w.graph) == "depthwise":
        filters = w.weights((1, *weight[2:], weight[0]), 3)
        multiplier = weight[0] // w.tensors[source].shape[3]
        return w.op("DEPTHWISE_CONV_2D", [source, filters, w.bias(weight[0])], shape, multiplier=multiplier, **common)
    filters = w.weights((weight[0], *weight[2:], weight[1]), 0)
    return w.op("CONV_2D", [source, filters, w.bias(weight[0])], shape, **common)


def _transposed_convolution(w: Writer, node: Node) -> Sequence[int]:
    if trait("groups", node, w.graph) != 1:
        raise NoFormError(f"{node.op} ({node.name}) has groups")
    read, made, height, width = w.graph.info(node.operands[1]).shape
    source, shape, stride, pad = (
        _source(w, node), w.shape(node.outputs[0]), _pair(node, "stride"), _pair(node, "padding"),
    )  # fmt: skip
    sizes = w.tensors[source].shape[1:3]
    same = all(shape[1 + axis] == sizes[axis] * stride[axis] for axis in (0, 1))
    whole = [sizes[axis] * stride[axis] + max((height, width)[axis] - stride[axis], 0) for axis in (0, 1)]
    full = shape if same else (shape[0], *whole, shape[3])
    inputs = [w.integers(full), w.weights((made, height, width, read), 0), source, w.bias(made)]
    kind = SAME if same else VALID
    found = w.op("TRANSPOSE_CONV", inputs, [full], padding=kind, stride_h=stride[0], stride_w=stride[1])
    if full == shape:
        return found
    if any(shape[1 + axis] > whole[axis] - pad[axis] for axis in (0, 1)):
        raise NoFormError(f"{node.op} ({node.name}) makes more than its full output")
    return w.op("SLICE", [found[0], w.integers((0, *pad, 0)), w.integers(shape)], [shape])


def _linear(w: Writer, node: Node) -> Sequence[int]:
    made, read = w.graph.info(node.operands[1]).shape
    return w.op(
        "FULLY_CONNECTED",
        [_source(w, node), w.weights((made, read)), w.bias(made, per_channel=False)],
        [w.shape(node.outputs[0])],
        keep_dims=len(w.shape(node.outputs[0])) > 2,
    )


def _pool(code: str, value: int) -> _Rule:
    def rule(w: Writer, node: Node) -> Sequence[int]:
        kernel = _pair(node, "kernel_size")
        stride = _pair(node, "stride") if node.attr("stride") else kernel
        dilation = _pair(node, "dilation") if node.attr("dilation") is not None else (1, 1)
        if dilation != (1, 1) or (value == 0 and node.attr("ceil_mode")):
            raise NoFormError(f"{node.op} ({node.name}) is dilated, or averages over an uneven edge")
        source, padding = _window(w, node, kernel, stride, dilation, value)
        return _pooled(w, node, code, source, kernel, stride, padding)

    return rule


def _pooled(
    w: Writer, node: Node, code: str, source: int, kernel: Sequence[int], stride: Sequence[int], padding: int
) -> Sequence[int]:
    settings = {
        "padding": padding, "stride_h": stride[0], "stride_w": stride[1], "kernel_h": kernel[0], "kernel_w": kernel[1]
    }  # fmt: skip
    return w.op(code, [source], [w.shape(node.outputs[0])], **settings)


def _adaptive(code: str, whole: str) -> _Rule:
    def rule(w: Writer, node: Node) -> Sequence[int]:
        source, shape = _source(w, node), w.shape(node.outputs[0])
        form = trait("form", node, w.graph)
        if form == "global":
            return list(w.op(whole, [source, w.integers((1, 2))], [shape], keep_dims=True)) * len(node.outputs)
        if form != "window":
            raise NoFormError(f"{node.op} ({node.name}): sizes don't divide")
        kernel = [w.tensors[source].shape[axis] // shape[axis] for axis in (1, 2)]
        return list(_pooled(w, node, code, source, kernel, kernel, VALID)) * len(node.outputs)  # positions too: unread

    return rule


def _resize(code: str) -> _Rule:
    def rule(w: Writer, node: Node) -> Sequence[int]:
        shape = w.shape(node.outputs[0])
        corners = trait("form", node, w.graph) == "align_corners"
        half = code == "RESIZE_BILINEAR" and not corners
        inputs = [_source(w, node), w.integers(shape[1:3])]
        return w.op(code, inputs, [shape], align_corners=corners, half_pixel_centers=half)

    return rule


# ---- arithmetic ----------------------------------------------------------------------------------------------------


def _binary(code: str) -> _Rule:
    def rule(w: Writer, node: Node) -> Sequence[int]:
        operands = [w.operand(node, name) for name in node.operands]
        if len(operands) == 1:
            operands.append(w.weights((1,)))
        return w.op(code, operands, [w.shape(node.outputs[0])])

    return rule


def _product_and_sum(w: Writer, node: Node) -> Sequence[int]:
    shape = w.shape(node.outputs[0])
    channels = w.weights((shape[3] if len(shape) == 4 else shape[1],))
    return w.op("ADD", [*w.op("MUL", [_source(w, node), channels], [shape]), channels], [shape])


def _swish(w: Writer, node: Node) -> Sequence[int]:
    shape = w.shape(node.outputs[0])
    return w.op("MUL", [_source(w, node), *w.op("LOGISTIC", [_source(w, node)], [shape])], [shape])


def _hard_sigmoid(w: Writer, node: Node) -> Sequence[int]:
    shape = w.shape(node.outputs[0])
    held = w.op("RELU6", w.op("ADD", [_source(w, node), w.weights((1,))], [shape]), [shape])
    return w.op("MUL", [*held, w.weights((1,))], [shape])


def _leaky(w: Writer, node: Node) -> Sequence[int]:
    slope = float(str(node.attr("negative_slope", 0.01)))
    return w.op("LEAKY_RELU", [_source(w, node)], [w.shape(node.outputs[0])], alpha=slope)


def _prelu(w: Writer, node: Node) -> Sequence[int]:
    shape = w.shape(node.outputs[0])
    return w.op("PRELU", [_source(w, node), w.weights((1,) * (len(shape) - 2) + (shape[-1],))], [shape])


def _reduce(code: str) -> _Rule:
    def rule(w: Writer, node: Node) -> Sequence[int]:
        dims = _dims(w, node)
        keep = len(w.graph.info(node.outputs[0]).shape) == len(w.graph.info(node.inputs[0]).shape)
        if len(w.graph.info(node.inputs[0]).shape) == 4 and not keep and dims not in ([1], [2, 3]):
            raise NoFormError(f"{node.op} ({node.name}) over dimensions {dims} would need a transposition")
        inputs = [_source(w, node), w.integers([_moved(w, node, dim) for dim in dims])]
        return w.op(code, inputs, [w.shape(node.outputs[0])], keep_dims=keep)

    return rule


def _dims(w: Writer, node: Node) -> list[int]:
    value = node.attr("dim")
    rank = len(w.graph.info(node.inputs[0]).shape)
    return sorted(int(str(dim)) % rank for dim in (value if isinstance(value, tuple) else (value,)))


def _moved(w: Writer, node: Node, dim: int) -> int:
    return _AXIS[dim] if len(w.graph.info(node.inputs[0]).shape) == 4 else dim


def _softmax(w: Writer, node: Node) -> Sequence[int]:
    shape = w.shape(node.outputs[0])
    if _moved(w, node, _dims(w, node)[0]) != len(shape) - 1:
        raise NoFormError(f"softmax ({node.name}) is not along the last dimension")
    return w.op("SOFTMAX", [_source(w, node)], [shape], beta=1.0)


# ---- shapes --------------------------------------------------------------------------------------------------------


def _reshape(w: Writer, node: Node) -> Sequence[int]:
    source, made = _source(w, node), w.graph.info(node.outputs[0]).shape
    if len(w.tensors[source].shape) == 4:
        source = w.transposed(source, _TO_NCHW)
    source = w.reshaped(source, made)
    return [w.transposed(source, _TO_NHWC)] if len(made) == 4 else [source]


def _shuffle(w: Writer, node: Node) -> Sequence[int]:
    groups, shape = int(str(node.attr("groups"))), w.shape(node.outputs[0])
    parts = w.reshaped(_source(w, node), (*shape[:3], groups, shape[3] // groups))
    return [w.reshaped(w.transposed(parts, (0, 1, 2, 4, 3)), shape)]


def _permute(w: Writer, node: Node) -> Sequence[int]:
    rank = len(w.graph.info(node.inputs[0]).shape)
    order = list(range(rank))
    if node.op == "transpose":
        one, other = (int(str(node.attr(name))) % rank for name in ("dim0", "dim1"))
        order[one], order[other] = order[other], order[one]
    else:
        dims = node.attr("dims")
        order = [int(str(dim)) % rank for dim in dims] if isinstance(dims, tuple) else order
    if rank == 4:
        order = [_AXIS[order[axis]] for axis in _TO_NHWC]
    return w.op("TRANSPOSE", [_source(w, node), w.integers(order)], [w.shape(node.outputs[0])])


def _concat(w: Writer, node: Node) -> Sequence[int]:
    axis = _moved(w, node, _dims(w, node)[0])
    return w.op(
        "CONCATENATION", [w.operand(node, name) for name in node.operands], [w.shape(node.outputs[0])], axis=axis
    )


def _split(w: Writer, node: Node) -> Sequence[int]:
    shapes = [w.shape(name) for name in node.outputs]
    axis = _moved(w, node, _dims(w, node)[0])
    if len(set(shapes)) == 1:
        return w.op("SPLIT", [w.integers([axis]), _source(w, node)], shapes, splits=len(shapes))
    found: list[int] = []
    start = 0
    for shape in shapes:
        begin = [start if at == axis else 0 for at in range(len(shape))]
        found += w.op("SLICE", [_source(w, node), w.integers(begin), w.integers(shape)], [shape])
        start += shape[axis]
    return found


def _slice(w: Writer, node: Node) -> Sequence[int]:
    source, shape = _source(w, node), w.shape(node.outputs[0])
    axis, step = _moved(w, node, _dims(w, node)[0]), int(str(node.attr("step") or 1))
    size = w.tensors[source].shape[axis]
    start = int(str(node.attr("start") or 0)) % size
    begin = [start if at == axis else 0 for at in range(len(shape))]
    if step == 1:
        return w.op("SLICE", [source, w.integers(begin), w.integers(shape)], [shape])
    end = [size if at == axis else w.tensors[source].shape[at] for at in range(len(shape))]
    steps = [step if at == axis else 1 for at in range(len(shape))]
    return w.op("STRIDED_SLICE", [source, *map(w.integers, (begin, end, steps))], [shape])


def _pad(w: Writer, node: Node) -> Sequence[int]:
    form, source = trait("form", node, w.graph), _source(w, node)
    value = node.attr("pad") if node.attr("pad") is not None else node.attr("padding")
    pads = [int(str(v)) for v in value] if isinstance(value, tuple) else []
    if len(pads) != 4 or form not in ("zero", "constant", "reflect") or min(pads) < 0:
        raise NoFormError(f"pad ({node.name}) is {form}, {pads}")
    before, after = (pads[2], pads[0]), (pads[3], pads[1])
    if form == "reflect":
        given = w.integers([(0, 0), *zip(before, after, strict=True), (0, 0)])
        return w.op("MIRROR_PAD", [source, given], [w.shape(node.outputs[0])], mode=0)
    return [w.padded(source, before, after, 0 if form == "zero" else 1)]


def _stack(w: Writer, node: Node) -> Sequence[int]:
    operands = [w.operand(node, name) for name in node.operands]
    if len(w.tensors[operands[0]].shape) == 4:
        operands = [w.transposed(one, _TO_NCHW) for one in operands]
    shape = w.shape(node.outputs[0])
    if len(shape) == 4:
        raise NoFormError(f"stack ({node.name}) makes a map")
    axis = int(str(node.attr("dim") or 0)) % len(shape)
    return w.op("PACK", operands, [shape], count=len(operands), axis=axis)


def _flip(w: Writer, node: Node) -> Sequence[int]:
    value = node.attr("dims")
    dims = [int(str(dim)) for dim in value] if isinstance(value, tuple) else [int(str(value))]
    given = w.integers([_moved(w, node, dim % len(w.graph.info(node.inputs[0]).shape)) for dim in dims])
    return w.op("REVERSE_V2", [_source(w, node), given], [w.shape(node.outputs[0])])


def _repeat(w: Writer, node: Node) -> Sequence[int]:
    source, shape = _source(w, node), w.shape(node.outputs[0])
    times = [after // before for before, after in zip(w.tensors[source].shape, shape, strict=True)]
    return w.op("TILE", [source, w.integers(times)], [shape])


def _cumsum(w: Writer, node: Node) -> Sequence[int]:
    return w.op(
        "CUMSUM", [_source(w, node), w.integers([_moved(w, node, _dims(w, node)[0])])], [w.shape(node.outputs[0])]
    )


_RULES: Mapping[str, _Rule] = MappingProxyType(
    {
        "conv": _convolution, "conv_transpose": _transposed_convolution, "linear": _linear,
        "relu": _simple("RELU"), "relu6": _simple("RELU6"), "leaky_relu": _leaky, "prelu": _prelu,
        "elu": _simple("ELU"), "sigmoid": _simple("LOGISTIC"), "tanh": _simple("TANH"), "gelu": _simple("GELU"),
        "hardswish": _simple("HARD_SWISH"), "hardsigmoid": _hard_sigmoid, "silu": _swish, "exp": _simple("EXP"),
        "log": _simple("LOG"), "rsqrt": _simple("RSQRT"), "sqrt": _simple("SQRT"), "abs": _simple("ABS"),
        "neg": _simple("NEG"), "batch_norm": _product_and_sum,
        "add": _binary("ADD"), "sub": _binary("SUB"), "mul": _binary("MUL"), "div": _binary("DIV"),
        "maximum": _binary("MAXIMUM"), "minimum": _binary("MINIMUM"),
        "max_pool": _pool("MAX_POOL_2D", _INFINITE), "avg_pool": _pool("AVERAGE_POOL_2D", 0),
        "adaptive_avg_pool": _adaptive("AVERAGE_POOL_2D", "MEAN"),
        "adaptive_max_pool": _adaptive("MAX_POOL_2D", "REDUCE_MAX"),
        "mean": _reduce("MEAN"), "sum": _reduce("SUM"), "amax": _reduce("REDUCE_MAX"), "amin": _reduce("REDUCE_MIN"),
        "upsample_nearest": _resize("RESIZE_NEAREST_NEIGHBOR"), "upsample_bilinear": _resize("RESIZE_BILINEAR"),
        "softmax": _softmax, "concat": _concat, "split": _split, "chunk": _split, "slice": _slice, "narrow": _slice,
        "stack": _stack, "flip": _flip, "repeat": _repeat, "pad": _pad, "cumsum": _cumsum,
        "view": _reshape, "reshape": _reshape, "flatten": _reshape, "squeeze": _reshape, "unsqueeze": _reshape,
        "permute": _permute, "transpose": _permute, "channel_shuffle": _shuffle,
    }
)  # fmt: skip
