"""What one operator costs: MACs, bias adds, element-wise operations, bytes moved. A formula per operator, table below.

MACs are the multiply-accumulates of convolutions and matrix products, attention and recurrent layers included, and
nothing else: normalization, activations, pooling and additions stand in columns of their own. FLOPs, where they are
needed, are 2 · MACs. An operator without a formula gives None, never zero; under ``strict`` it is an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from flyweight.errors import GraphError, UnknownOperatorError
from flyweight.graph import Graph, Node, TensorInfo
from flyweight.operators import ELEMENTWISE_OPS, FREE_OPS, REDUCTION_OPS, SOFTMAX


@dataclass(frozen=True, slots=True)
class Counts:
    """Counted cost of one node.

    Attributes:
        macs: multiply-accumulates of convolutions and matrix products.
        bias_adds: additions of a bias to their outputs.
        elementwise: arithmetic of everything else, one per elementary function and element.
        bytes_moved: bytes of all tensors read and written once, weights included; views move none.
    """

    macs: int
    bias_adds: int
    elementwise: int
    bytes_moved: int


def count(node: Node, graph: Graph, *, strict: bool = False) -> Counts | None:
    """Return what ``node`` costs, or None for an operator without a formula.

    Raises:
        UnknownOperatorError: no formula, and ``strict``; names the layer.
    """
    if node.op not in FORMULAS:
        if strict:
            raise UnknownOperatorError(
                f"layer '{node.module or '(root)'}': no formula for operator '{node.op}'. Replace it, or count without "
                "strict: it then stands as an unknown row."
            )
        return None
    read, written = [graph.info(name) for name in node.operands], [graph.info(name) for name in node.outputs]
    operation = _Operation(node, tuple(read), tuple(written))
    formula = FORMULAS[node.op]
    return Counts(
        formula.macs(operation), formula.bias_adds(operation), formula.elementwise(operation), _bytes(operation)
    )


def macs(node: Node, graph: Graph, *, strict: bool = False) -> int | None:
    """Return the node's multiply-accumulates, None where unknown; errors as in ``count``."""
    counts = count(node, graph, strict=strict)
    return None if counts is None else counts.macs


def bias_adds(node: Node, graph: Graph, *, strict: bool = False) -> int | None:
    """Return the node's additions of a bias, None where unknown; errors as in ``count``."""
    counts = count(node, graph, strict=strict)
    return None if counts is None else counts.bias_adds


def elementwise(node: Node, graph: Graph, *, strict: bool = False) -> int | None:
    """Return the node's element-wise operations, None where unknown; errors as in ``count``."""
    counts = count(node, graph, strict=strict)
    return None if counts is None else counts.elementwise


def bytes_moved(node: Node, graph: Graph) -> int:
    """Return the bytes that the node reads and writes, each tensor once; known for every operator."""
    read, written = [graph.info(name) for name in node.operands], [graph.info(name) for name in node.outputs]
    return _bytes(_Operation(node, tuple(read), tuple(written)))


def widths(node: Node, graph: Graph) -> tuple[int, int, int]:
    """Return input channels, output channels and groups of a convolution or a linear layer."""
    groups = node.attr("groups", 1)
    groups = groups if isinstance(groups, int) else 1
    first, second = graph.info(node.operands[1]).shape[:2]
    if node.op == "conv_transpose":
        return first, second * groups, groups
    return second * groups, first, groups


@dataclass(frozen=True, slots=True)
class _Operation:
    node: Node
    read: tuple[TensorInfo, ...]
    written: tuple[TensorInfo, ...]

    @property
    def out(self) -> TensorInfo:
        return self.written[0]

    def biased(self, operands: int) -> bool:
        return len(self.read) > operands


_Count: TypeAlias = Callable[[_Operation], int]


@dataclass(frozen=True, slots=True)
class _Formula:
    macs: _Count = lambda _: 0
    bias_adds: _Count = lambda _: 0
    elementwise: _Count = lambda _: 0


def _bytes(operation: _Operation) -> int:
    node = operation.node
    if not node.attr("inplace") and len(node.aliases) == len(node.outputs):
        return 0  # a view
    if node.op in ("embedding", "index", "gather", "index_select", "slice", "select"):  # reads no more than it writes
        indices = sum(tensor.bytes for tensor in operation.read[1:])
        return 2 * sum(tensor.bytes for tensor in operation.written) + indices
    # An in-place write into a view changes its base too; only the view moves.
    written = operation.written[:1] if node.attr("inplace") else operation.written
    read = {t.name: t for t in operation.read if t.name not in node.aliases.values() or t.name == node.operands[0]}
    if node.attr("aten") in ("copy", "fill", "zero") and node.attr("inplace"):
        read.pop(node.operands[0])  # overwritten without being read
    return sum(tensor.bytes for tensor in (*read.values(), *written))


def _conv(operation: _Operation) -> int:
    """Output elements · input channels per group · kernel area; weight ``(K, C/groups, R, S)``."""
    return operation.out.elements * math.prod(operation.read[1].shape[1:])


def _conv_transpose(operation: _Operation) -> int:
    """Input elements · output channels per group · kernel area; weight ``(C, K/groups, R, S)``."""
    return operation.read[0].elements * math.prod(operation.read[1].shape[1:])


def _linear(operation: _Operation) -> int:
    """Output elements · input features, whatever stands before the last dimension."""
    return operation.out.elements * operation.read[0].shape[-1]


def _matmul(operation: _Operation) -> int:
    """Output elements · length of the contracted dimension, which is the left factor's last."""
    left = operation.read[1 if _adds(operation) else 0]
    if operation.node.attr("aten") == "addbmm":  # sums over the batch too
        return operation.out.elements * left.shape[0] * left.shape[-1]
    return operation.out.elements * left.shape[-1]


def _adds(operation: _Operation) -> bool:
    return operation.node.attr("aten") in ("addmm", "baddbmm", "addbmm", "addmv")


def _matmul_bias(operation: _Operation) -> int:
    return operation.out.elements if _adds(operation) and operation.node.attr("beta") != 0 else 0


def _bilinear(operation: _Operation) -> int:
    """Per row: every filter's matrix times one input, then times the other; weight ``(K, I, J)``."""
    first, _, weight = operation.read[:3]
    filters, _, second = weight.shape
    return first.elements // first.shape[-1] * (weight.elements + filters * second)


def _sdpa(operation: _Operation) -> int:
    """Scores: batch · heads · L · S · E; weighted sum: batch · heads · L · S · E_v.

    Query ``(..., L, E)``, key ``(..., S, E)``, value ``(..., S, E_v)``.
    A causal mask changes nothing: the count is that of the dense product.
    """
    query, key, value = operation.read[:3]
    rows = query.elements // query.shape[-1]  # batch · heads · L
    return rows * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _sdpa_softmax(operation: _Operation) -> int:
    query, key = operation.read[:2]
    return SOFTMAX * query.elements // query.shape[-1] * key.shape[-2]


def _recurrent(operation: _Operation) -> int:
    """Every weight matrix of every layer and direction is applied once per time step and sequence."""
    return _steps(operation) * sum(t.elements for t in _weights(operation) if len(t.shape) == 2)


def _recurrent_bias(operation: _Operation) -> int:
    return _steps(operation) * sum(t.elements for t in _weights(operation) if len(t.shape) == 1)


def _recurrent_elementwise(operation: _Operation) -> int:
    """LSTM: 5 functions, 3 products, 1 sum per state element; GRU: 3, 3, 3; plain: 1 and 1."""
    per_state = {"lstm": 9, "gru": 9, "rnn": 2}[operation.node.op]
    gates = {"lstm": 4, "gru": 3, "rnn": 1}[operation.node.op]
    hidden = _weights(operation)[0].shape[0] // gates
    layers = int(str(operation.node.attr("num_layers"))) * (2 if operation.node.attr("bidirectional") else 1)
    return _steps(operation) * per_state * hidden * layers


def _weights(operation: _Operation) -> tuple[TensorInfo, ...]:
    return operation.read[2 + (operation.node.op == "lstm") :]


def _steps(operation: _Operation) -> int:
    source = operation.read[0]  # (T, N, features), (N, T, features) or (T, features)
    return source.elements // source.shape[-1]


def _per_output(operations: int) -> _Formula:
    return _Formula(elementwise=lambda o: operations * o.out.elements)


def _per_input(operations: int) -> _Formula:
    return _Formula(elementwise=lambda o: operations * o.read[0].elements)


def _window(operation: _Operation) -> int:
    """Output elements · window area."""
    kernel = operation.node.attr("kernel_size")
    dims = len(operation.out.shape) - 2
    if not isinstance(kernel, tuple):
        raise GraphError(f"node '{operation.node.name}': a pooling window of {kernel!r}.")
    sizes = [int(k) for k in kernel if isinstance(k, int)]
    return operation.out.elements * math.prod(sizes if len(sizes) > 1 else sizes * max(dims, 1))


_FREE = _Formula()

FORMULAS: Mapping[str, _Formula] = MappingProxyType(
    {
        **{name: _FREE for name in FREE_OPS},
        **{name: _per_output(operations) for name, operations in ELEMENTWISE_OPS.items()},
        **{name: _per_input(operations) for name, operations in REDUCTION_OPS.items()},
        "conv": _Formula(_conv, lambda o: o.out.elements if o.biased(2) else 0),
        "conv_transpose": _Formula(_conv_transpose, lambda o: o.out.elements if o.biased(2) else 0),
        "linear": _Formula(_linear, lambda o: o.out.elements if o.biased(2) else 0),
        "matmul": _Formula(_matmul, _matmul_bias),
        "bilinear": _Formula(_bilinear, lambda o: o.out.elements if o.biased(3) else 0),
        "sdpa": _Formula(_sdpa, elementwise=_sdpa_softmax),
        "lstm": _Formula(_recurrent, _recurrent_bias, _recurrent_elementwise),
        "gru": _Formula(_recurrent, _recurrent_bias, _recurrent_elementwise),
        "rnn": _Formula(_recurrent, _recurrent_bias, _recurrent_elementwise),
        "max_pool": _Formula(elementwise=_window),
        "avg_pool": _Formula(elementwise=_window),
    }
)
