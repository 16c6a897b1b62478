"""What of a float ONNX graph is quantized: layers with weights, other operators, and the tensors between them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# ONNX Runtime has integer kernels for these; Conv and Gemm with a constant weight besides
COMPUTING = frozenset({"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool", "Sigmoid", "LeakyRelu"})
# these move or choose elements: their output keeps their input's scale
MOVING = frozenset(
    {"MaxPool", "Reshape", "Flatten", "Transpose", "Slice", "Split", "DepthToSpace", "Squeeze", "Unsqueeze"}
)


@dataclass(frozen=True)
class Layer:
    """A Conv or Gemm: its node's index, and how its weight ``(o, ...)`` is split into groups."""

    index: int
    weight: str
    bias: str | None
    group: int


@dataclass(frozen=True)
class Plan:
    """What is quantized.

    ``layers`` in the file's order; ``others``: indices of further nodes that read and write integers; ``points``:
    tensors that are quantized, each with the bounds that an activation puts on it; ``absorbed``: index of an
    activation that a point's range stands for -> index of the node before it; ``same``: a point that has another's
    scale.
    """

    layers: tuple[Layer, ...]
    others: frozenset[int]
    points: dict[str, tuple[float, float]]
    absorbed: dict[int, int]
    same: dict[str, str]


def constants(model: Any) -> dict[str, NDArray[Any]]:
    """Return the initializers by name."""
    from onnx import numpy_helper

    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def plan(model: Any, keep_float: Collection[str]) -> Plan:
    """Return what is quantized in a model, the nodes named in ``keep_float`` left out."""
    known = constants(model)
    nodes = list(model.graph.node)
    outputs = {item.name for item in model.graph.output}
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(nodes):
        for name in node.input:
            readers.setdefault(name, []).append(index)
    layers: list[Layer] = []
    others: set[int] = set()
    points: dict[str, tuple[float, float]] = {}
    absorbed: dict[int, int] = {}
    same: dict[str, str] = {}
    for index, node in enumerate(nodes):
        if node.name in keep_float:
            continue
        layer = _layer(node, index, known)
        computing = node.op_type in COMPUTING and not any(name in known for name in node.input)
        if layer is None and not computing:
            if node.op_type in MOVING and node.input[0] in points and not outputs & set(node.output):
                others.add(index)
                for name in node.output:
                    points[name], same[name] = points[node.input[0]], node.input[0]
            continue
        for name in node.input[:1] if layer is not None else node.input:
            points.setdefault(name, (-np.inf, np.inf))
        layers += [layer] if layer is not None else []
        others |= set() if layer is not None else {index}
        result, bounds = node.output[0], (-np.inf, np.inf)
        after = readers.get(result, [])
        if len(after) == 1 and result not in outputs and (told := _bounds(nodes[after[0]], known)) is not None:
            absorbed[after[0]] = index
            result, bounds = nodes[after[0]].output[0], told
        if not (layer is not None and node.op_type == "Gemm" and result in outputs):  # QGemm gives floats too
            points[result] = bounds
    return Plan(tuple(layers), frozenset(others), points, absorbed, same)


def _layer(node: Any, index: int, known: dict[str, NDArray[Any]]) -> Layer | None:
    if node.op_type not in ("Conv", "Gemm") or any(name not in known for name in node.input[1:]):
        return None
    given = {a.name: a for a in node.attribute}
    if node.op_type == "Gemm":
        plain = given["transB"].i == 1 if "transB" in given else False
        plain = plain and all(given[k].f == 1.0 for k in ("alpha", "beta") if k in given)
        if not plain or ("transA" in given and given["transA"].i):
            return None
    elif ("auto_pad" in given and given["auto_pad"].s != b"NOTSET") or known[node.input[1]].ndim != 4:
        return None
    group = given["group"].i if "group" in given else 1
    return Layer(index, node.input[1], node.input[2] if len(node.input) > 2 else None, group)


def _bounds(node: Any, known: dict[str, NDArray[Any]]) -> tuple[float, float] | None:
    """Return the ends of a clipping activation that a uint8 range can stand for, None for another node."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    if node.op_type != "Clip" or any(name and name not in known for name in node.input[1:]):
        return None
    ends = [float(known[name]) if name else None for name in [*node.input[1:], "", ""][:2]]
    low = -np.inf if ends[0] is None else ends[0]
    high = np.inf if ends[1] is None else ends[1]
    return (low, high) if low <= 0 <= high else None
