"""Operators in the field's own words: ``3×3 depthwise conv, s2, 96``, ``1×1 conv, 96→24``, ``global average pool``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from flyweight.graph import AttrValue, Graph, Node

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "batch_norm": "BN", "layer_norm": "LN", "group_norm": "GN", "instance_norm": "IN", "rms_norm": "RMS norm",
        "relu": "ReLU", "relu6": "ReLU6", "leaky_relu": "leaky ReLU", "prelu": "PReLU", "rrelu": "RReLU", "elu": "ELU",
        "selu": "SELU", "celu": "CELU", "gelu": "GELU", "silu": "SiLU", "mish": "Mish", "glu": "GLU",
        "hardswish": "h-swish", "hardsigmoid": "h-sigmoid", "hardtanh": "h-tanh", "mul": "multiply", "div": "divide",
        "sub": "subtract", "neg": "negate", "pow": "power", "sdpa": "attention", "lstm": "LSTM", "gru": "GRU",
        "rnn": "RNN", "matmul": "matrix product", "max_unpool": "max unpool", "amax": "max", "amin": "min",
        "upsample_bilinear": "bilinear", "upsample_nearest": "nearest", "upsample_bicubic": "bicubic",
    }
)  # fmt: skip
# Reshaping, transposing, reshaping back: how every network writes a channel shuffle.
_VIEWS, _TURNS = ("view", "reshape", "flatten"), ("transpose", "permute")


def words(node: Node, graph: Graph) -> str:
    """Return what an operator is, with its kernel, stride and channels where it has some."""
    return _SPECIAL.get(node.op, _plain)(node, graph)


def short(node: Node) -> str:
    """Return an operator's name alone, as it stands in a list of what follows a convolution."""
    return NAMES.get(node.op, node.op.removeprefix("aten.").replace("_", " "))


def listed(nodes: Sequence[Node], graph: Graph) -> str:
    """Return several operators in one line; those that repeat are counted, a channel shuffle is named."""
    if groups := _shuffled(nodes, graph):
        return f"channel shuffle, {groups} groups"
    runs: list[tuple[str, int]] = []
    for node in nodes:
        name = short(node)
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + 1)
        else:
            runs.append((name, 1))
    return " · ".join(f"{count} × {name}" if count > 1 else name for name, count in runs)


def _shuffled(nodes: Sequence[Node], graph: Graph) -> int:
    """Return the groups of a channel shuffle ``(n, C, h, w)`` → ``(n, g, C/g, h, w)`` → turned → back, or 0."""
    if len(nodes) != 3 or not (nodes[0].op in _VIEWS and nodes[1].op in _TURNS and nodes[2].op in _VIEWS):
        return 0
    before, split, turned, after = (
        graph.tensors[name].shape for name in (nodes[0].inputs[0], *(n.outputs[0] for n in nodes))
    )
    swapped = len(split) == len(before) + 1 and turned == (split[0], split[2], split[1], *split[3:])
    return split[1] if swapped and before == after else 0


def _plain(node: Node, graph: Graph) -> str:
    return short(node)


def _sizes(value: AttrValue) -> tuple[int, ...]:
    sizes = value if isinstance(value, tuple) else (value,)
    return tuple(int(size) for size in sizes if isinstance(size, int))


def _times(sizes: Sequence[int], dims: int) -> str:
    """Return 3×3 for ``(3, 3)``, and for ``(3,)`` in two dimensions."""
    return "×".join(map(str, [sizes[0]] * dims if len(sizes) == 1 else sizes))


def _per_axis(letter: str, sizes: Sequence[int]) -> str:
    """Return ``, s2``, or ``, s2×1`` where the axes differ; nothing for 1."""
    if all(size == 1 for size in sizes):
        return ""
    return f", {letter}{sizes[0] if len(set(sizes)) == 1 else '×'.join(map(str, sizes))}"


def _channels(node: Node, graph: Graph) -> tuple[int, int]:
    """Return the channels read and made: of ``(n, C, …)``, or ``(C, h, w)`` without a batch."""
    dims = len(_sizes(node.attr("kernel_size")))
    read, made = graph.tensors[node.inputs[0]].shape, graph.tensors[node.outputs[0]].shape
    return read[-1 - dims], made[-1 - dims]


def _conv(node: Node, graph: Graph) -> str:
    kernel = _sizes(node.attr("kernel_size"))
    if not (node.inputs and kernel):
        return "conv"
    read, made = _channels(node, graph)
    groups = next(iter(_sizes(node.attr("groups"))), 1)
    depthwise = groups > 1 and groups == read
    kind = "transposed conv" if node.op == "conv_transpose" else "conv"
    text = f"{_times(kernel, 1)} {'depthwise ' if depthwise else ''}{kind}"
    text += _per_axis("s", _sizes(node.attr("stride"))) + _per_axis("d", _sizes(node.attr("dilation")))
    text += f", {read}" if depthwise and read == made else f", {read}→{made}"
    return text + (f", {groups} groups" if groups > 1 and not depthwise else "")


def _linear(node: Node, graph: Graph) -> str:
    read, made = graph.tensors[node.inputs[0]].shape, graph.tensors[node.outputs[0]].shape
    return f"linear, {read[-1]}→{made[-1]}" if read and made else "linear"


def _pool(node: Node, graph: Graph) -> str:
    dims = len(graph.tensors[node.outputs[0]].shape) - 2
    kernel = _sizes(node.attr("kernel_size"))
    stride = _sizes(node.attr("stride")) or kernel
    name = "max pool" if node.op == "max_pool" else "average pool"
    return f"{_times(kernel, max(dims, 1))} {name}{_per_axis('s', stride)}"


def _adaptive(node: Node, graph: Graph) -> str:
    name = "max pool" if node.op == "adaptive_max_pool" else "average pool"
    made = graph.tensors[node.outputs[0]].shape[2:]
    return f"global {name}" if all(size == 1 for size in made) else f"{name} to {_times(made, 1)}"


def _mean(node: Node, graph: Graph) -> str:
    read = graph.tensors[node.inputs[0]].shape if node.inputs else ()
    axes = {axis % len(read) for axis in _sizes(node.attr("dim"))} if read else set()
    return "global average pool" if len(read) == 4 and axes == {2, 3} else "mean"


def _concat(node: Node, graph: Graph) -> str:
    axis = next(iter(_sizes(node.attr("dim"))), 0)
    sizes = [graph.tensors[name].shape[axis] for name in node.inputs if -1 <= axis < len(graph.tensors[name].shape)]
    return f"concat, {'+'.join(map(str, sizes))}" if 1 < len(sizes) <= 4 else f"concat of {len(node.inputs)}"


def _split(node: Node, graph: Graph) -> str:
    axis = next(iter(_sizes(node.attr("dim"))), 0)
    sizes = [graph.tensors[name].shape for name in node.outputs]
    parts = [shape[axis] for shape in sizes if -1 <= axis < len(shape)]
    return f"split, {'+'.join(map(str, parts))}" if 1 < len(parts) <= 4 else f"split in {len(sizes)}"


def _upsample(node: Node, graph: Graph) -> str:
    read, made = graph.tensors[node.inputs[0]].shape[2:], graph.tensors[node.outputs[0]].shape[2:]
    factors = {m / r for r, m in zip(read, made, strict=False) if r}
    factor = next(iter(factors)) if len(factors) == 1 else 0
    size = f"×{factor:g}" if factor and float(factor).is_integer() else f"to {_times(made, 1)}"
    return f"upsample {size}, {short(node)}"


_SPECIAL: Mapping[str, Callable[[Node, Graph], str]] = MappingProxyType(
    {
        "conv": _conv, "conv_transpose": _conv, "linear": _linear, "max_pool": _pool, "avg_pool": _pool,
        "adaptive_avg_pool": _adaptive, "adaptive_max_pool": _adaptive, "mean": _mean, "concat": _concat,
        "split": _split, "chunk": _split, "unbind": _split, "upsample_nearest": _upsample,
        "upsample_bilinear": _upsample, "upsample_bicubic": _upsample,
    }
)  # fmt: skip
