"""Cross-layer equalization: channels between two layers scaled so that both layers' weights fill their ranges alike.

Nagel et al. 2019 (arXiv 1906.04721), section 4.1: where ``f(s x) = s f(x)``, a channel may be divided by s behind the
first layer and multiplied by s before the second. That holds for ReLU and for nothing in between. It does not hold for
ReLU6: pairs around one stay as they are. Every s here is a power of two: the float model computes the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyweight.quantize._plan import constants

ROUNDS = 8  # over all pairs: a layer between two pairs is in both
Array = NDArray[Any]


@dataclass(frozen=True)
class Pair:
    """Two convolutions, the second of which alone reads what the first makes, through a ReLU or directly."""

    weight: str
    bias: str | None
    reader: str
    group: int


def equalized(model: Any) -> tuple[Any, int]:
    """Return a copy of an ONNX model with its pairs equalized, and how many there are."""
    import onnx
    from onnx import numpy_helper

    made = onnx.ModelProto()
    made.CopyFrom(model)
    arrays = {name: array.copy() for name, array in constants(made).items()}
    found = pairs(made)
    for _ in range(ROUNDS):
        for pair in found:
            _equalize(arrays, pair)
    changed = {name for pair in found for name in (pair.weight, pair.bias, pair.reader)}
    for item in made.graph.initializer:
        if item.name in changed:
            item.CopyFrom(numpy_helper.from_array(arrays[item.name], item.name))
    return made, len(found)


def pairs(model: Any) -> list[Pair]:
    """Return the pairs that may be equalized, in the file's order."""
    known = constants(model)
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {item.name for item in model.graph.output}
    found = []
    for first in model.graph.node:
        if not _plain(first, known, readers):
            continue
        end, after = first.output[0], readers.get(first.output[0], [])
        if len(after) == 1 and after[0].op_type == "Relu" and end not in outputs:
            end, after = after[0].output[0], readers.get(after[0].output[0], [])
        if len(after) != 1 or end in outputs or not _plain(after[0], known, readers) or after[0].input[0] != end:
            continue
        bias = first.input[2] if len(first.input) > 2 else None
        group = next((a.i for a in after[0].attribute if a.name == "group"), 1)
        channels = len(known[first.input[1]])
        if group in (1, channels):
            found.append(Pair(first.input[1], bias, after[0].input[1], group))
    return found


def _plain(node: Any, known: dict[str, Array], readers: dict[str, list[Any]]) -> bool:
    """Return whether a node is a convolution whose constant weight and bias are its own."""
    names = list(node.input[1:])
    return node.op_type == "Conv" and all(name in known and len(readers[name]) == 1 for name in names)


def _equalize(arrays: dict[str, Array], pair: Pair) -> None:
    first, second = arrays[pair.weight], arrays[pair.reader]
    before = np.abs(first.reshape(len(first), -1)).max(1)
    by_channel = second.reshape(len(first), -1) if pair.group > 1 else second.swapaxes(0, 1).reshape(len(first), -1)
    behind = np.abs(by_channel).max(1)
    alive = (before > 0) & (behind > 0)
    ratio = np.sqrt(np.where(alive, before, 1.0) / np.where(alive, behind, 1.0))
    scale = np.exp2(np.rint(np.log2(ratio))).astype(first.dtype)  # 1.5 goes to either neighbour: within a factor √2
    arrays[pair.weight] = first / scale.reshape(-1, *[1] * (first.ndim - 1))
    if pair.bias is not None:
        arrays[pair.bias] = arrays[pair.bias] / scale
    shape = (-1, 1, 1, 1) if pair.group > 1 else (1, -1, 1, 1)
    arrays[pair.reader] = second * scale.reshape(shape)
