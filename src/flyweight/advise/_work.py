"""What each module of a graph asks of a runtime: the kind of its kernel, its arithmetic, the bytes that it moves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flyweight.count import widths
from flyweight.graph import Graph, Node
from flyweight.profile import Profile, Row

# ONNX Runtime's blocked kernels take channels by four; a depthwise convolution of others runs in a plain one, which
# takes 5 to 6 times as long (ShuffleNetV2 at half width on Zen 4: 56 µs for 10).
ALIGNMENT = 4
UNALIGNED = "unaligned depthwise"
MOVE = "move"  # kernels without MACs: element-wise, pooling, joins
FLOAT_BYTES = 4
# Operators for which a runtime starts no kernel: views, what it computes while loading, and what only trains.
_FREE = frozenset(
    ("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "detach", "alias", "dropout", "expand")
)
# Activations that a convolution's kernel applies to what it computes.
_FUSED_ACTIVATIONS = frozenset(
    ("relu", "relu6", "clamp", "hardtanh", "leaky_relu", "sigmoid", "tanh", "hardsigmoid", "hardswish")
)
_CONVOLUTIONS = ("conv", "conv_transpose", "linear")


@dataclass(frozen=True)
class Work:
    """One module's work.

    Attributes:
        kind: ``depthwise``, ``unaligned depthwise`` (channels no multiple of four), ``pointwise``, ``dense``,
            ``grouped``, ``transposed``, ``linear`` or ``move``.
        macs: with channels filled up to whole vectors; 0 for moves. bytes: read and written, weights included.
        fused: no kernel of its own, as far as the operators tell.
        signature: equal for two modules that compute the same on tensors of the same shapes.
    """

    module: str
    kind: str
    macs: float
    bytes: float
    fused: bool
    signature: tuple[Any, ...]


def works(profile: Profile, lanes: int) -> Mapping[str, Work]:
    """Return the work of every module that runs, in execution order; ``lanes``: float32 numbers in one vector."""
    graph = profile.graph
    nodes = {node.name: node for node in graph.nodes}
    rows: dict[str, list[Row]] = {}
    for row in profile.rows:
        if not row.weight:
            rows.setdefault(row.module, []).append(row)
    return {
        module: _work(module, [(row, nodes[row.name]) for row in own], graph, lanes) for module, own in rows.items()
    }


def _work(module: str, pairs: list[tuple[Row, Node]], graph: Graph, lanes: int) -> Work:
    dear = [(row, node) for row, node in pairs if row.macs] or [(r, n) for r, n in pairs if not _fused(n, graph)]
    fused = not dear
    kinds = {kind_of(node, graph): row.macs or 0 for row, node in sorted(dear, key=lambda pair: pair[0].macs or 0)}
    return Work(
        module=module,
        kind=list(kinds)[-1] if kinds else MOVE,
        macs=sum(_padded_macs(row, node, graph, lanes) for row, node in dear),
        bytes=sum(row.bytes_moved + _columns_bytes(node, graph) for row, node in dear),
        fused=fused,
        signature=tuple(_signature(node, graph) for _, node in pairs),
    )


def kind_of(node: Node, graph: Graph) -> str:
    """Return which of a runtime's kernels a node needs."""
    if node.op == "linear" or node.op == "matmul":
        return "linear"
    if node.op == "conv_transpose":
        return "transposed"
    if node.op != "conv":
        return MOVE
    channels, filters, groups = widths(node, graph)
    if groups > 1 and groups == channels:
        return "depthwise" if filters % ALIGNMENT == 0 else UNALIGNED
    if groups > 1:
        return "grouped"
    kernel = node.attr("kernel_size")
    return "pointwise" if isinstance(kernel, tuple) and set(kernel) == {1} else "dense"


def _padded_macs(row: Row, node: Node, graph: Graph, lanes: int) -> float:
    """Return MACs with input and output channels filled up to whole vectors; transposed ones are a matrix product."""
    macs = float(row.macs or 0)
    if node.op != "conv" or not macs:
        return macs
    channels, filters, groups = widths(node, graph)
    if groups == channels and groups > 1:
        return macs * _full(filters, lanes) / filters
    inside = channels // groups
    spread = _full(inside, lanes) / inside if inside > lanes // 2 else 1.0  # the first layer has a kernel of its own
    return macs * spread * _full(filters // groups, lanes) / (filters // groups)


def _full(channels: int, lanes: int) -> int:
    return -(-channels // lanes) * lanes


def _columns_bytes(node: Node, graph: Graph) -> float:
    """Return the bytes of the columns between a transposed convolution's product and its sum, written and read."""
    if node.op != "conv_transpose":
        return 0.0
    _, filters, _ = widths(node, graph)
    taps = math.prod(graph.info(node.operands[1]).shape[2:])
    pixels = math.prod(graph.tensors[node.inputs[0]].shape[2:])
    return 2.0 * FLOAT_BYTES * filters * taps * pixels


def _fused(node: Node, graph: Graph) -> bool:
    """Return whether a node needs no kernel of its own, as far as can be told from the graph."""
    if node.op in _FREE or node.attr("weight"):
        return True
    if node.op == "batch_norm":
        return _before(node, graph) in _CONVOLUTIONS
    return node.op in _FUSED_ACTIVATIONS and _before(node, graph) == "conv"


def _before(node: Node, graph: Graph) -> str:
    """Return the operator that feeds a node, norms and views looked through."""
    while node.inputs and node.inputs[0] in graph.producers:
        node = graph.producers[node.inputs[0]]
        if node.op not in ("batch_norm", *_FREE):
            return node.op
    return ""


def _signature(node: Node, graph: Graph) -> tuple[Any, ...]:
    settings = tuple((k, v) for k, v in node.attrs if k not in ("operands", "alias_of", "inplace"))
    return node.op, settings, _shapes(node.inputs, graph), _shapes(node.outputs, graph), _shapes(_read(node), graph)


def _read(node: Node) -> Iterable[str]:
    return (info.name for info in node.params)


def _shapes(names: Iterable[str], graph: Graph) -> tuple[tuple[int, ...], ...]:
    return tuple(graph.info(name).shape for name in names)
