"""Labels of a tensor's elements, carried through the operators that only move elements about.

A label array says something of every element of a tensor without being as large: it broadcasts to the tensor's shape,
and a dimension along which nothing changes has size 1. What is said of the channels of an ``(n, C, h, w)`` map is an
array ``(1, C, 1, 1)``; behind a flatten it is ``(1, C·h·w)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flyweight.graph import AttrValue, Node

Labels: TypeAlias = "NDArray[Any]"
Shape: TypeAlias = "tuple[int, ...]"
_Rule: TypeAlias = "Callable[[Node, Sequence[Labels], Sequence[Shape], Sequence[Shape]], tuple[Labels, ...]]"


def moved(
    node: Node, labels: Sequence[Labels], shapes: Sequence[Shape], made: Sequence[Shape]
) -> tuple[Labels, ...] | None:
    """Return the labels of a node's outputs, where it only moves elements; None where it does something else.

    Args:
        node: the operator.
        labels: of its operands, in its own order.
        shapes: of its operands.
        made: shapes of its outputs.
    """
    rule = MOVES.get(node.op)
    if rule is None or (len(made) > 1 and node.op not in _MANY) or not labels:
        return None
    if node.op not in _JOINING and len(labels) > 1:
        return None  # e.g. a view that is written through: it has its base among its operands
    found = rule(node, labels, shapes, made)
    fits = len(found) == len(made) and all(_broadcasts(a, s) for a, s in zip(found, made, strict=True))
    return tuple(compressed(array) for array in found) if fits else None


def compressed(labels: Labels) -> Labels:
    """Return the same labels with every dimension along which nothing changes at size 1."""
    for dim, size in enumerate(labels.shape):
        if size > 1:
            first = labels.take([0], axis=dim)
            same = (labels == first) | ((labels != labels) & (first != first))  # a NaN is like a NaN
            labels = first if bool(same.all()) else labels
    return labels


def along(labels: Labels, shape: Shape, dim: int) -> Labels | None:
    """Return what is said along one dimension ``(shape[dim],)``; None where it changes along another one too."""
    if any(size > 1 for d, size in enumerate(labels.shape) if d != dim % len(shape)):
        return None
    return np.broadcast_to(labels.reshape(-1), (shape[dim],))


def spread(values: Labels, rank: int, dim: int) -> Labels:
    """Return what is said along one dimension of a tensor with ``rank`` dimensions; the inverse of ``along``."""
    return values.reshape([-1 if d == dim % rank else 1 for d in range(rank)])


def plain(rank: int, value: Any) -> Labels:
    """Return the labels of a tensor of which the same is said everywhere."""
    return np.full((1,) * rank, value)


def reshaped(labels: Labels, old: Shape, new: Shape) -> Labels:
    """Return the labels of a tensor whose elements stay in order while its shape changes from ``old`` to ``new``."""
    if 0 in old:
        return plain(len(new), labels.reshape(-1)[0]) if labels.size else np.zeros(new, labels.dtype)
    whole, shape = list(labels.shape), list(new)
    for before, after in _regrouped(old, new):
        changes = any(labels.shape[d] > 1 for d in before)
        for d in before:
            whole[d] = old[d] if changes else 1
        for d in after:
            shape[d] = new[d] if changes else 1
    return compressed(np.broadcast_to(labels, whole).reshape(shape))


def _regrouped(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]]:
    """Return the smallest runs of old and new dimensions that hold the same elements."""
    runs = []
    i = j = 0
    while i < len(old) or j < len(new):
        before, after = [i] if i < len(old) else [], [j] if j < len(new) else []
        i, j = i + 1, j + 1
        while (have := math.prod(old[d] for d in before)) != (want := math.prod(new[d] for d in after)):
            if have < want:
                before.append(i)
                i += 1
            else:
                after.append(j)
                j += 1
        i, j = min(i, len(old)), min(j, len(new))
        runs.append((before, after))
    return runs


def _broadcasts(labels: Labels, shape: Shape) -> bool:
    return labels.ndim == len(shape) and all(a in (1, s) for a, s in zip(labels.shape, shape, strict=True))


def _number(node: Node, name: str, default: int = 0) -> int:
    value = node.attr(name, default)
    return value if isinstance(value, int) else default


def _numbers(value: AttrValue) -> list[int]:
    return [int(v) for v in value if isinstance(v, int)] if isinstance(value, tuple) else [int(str(value))]


def _same(node: Node, labels: Sequence[Labels], shapes: Sequence[Shape], made: Sequence[Shape]) -> tuple[Labels, ...]:
    return (labels[0],)


def _reshape(
    node: Node, labels: Sequence[Labels], shapes: Sequence[Shape], made: Sequence[Shape]
) -> tuple[Labels, ...]:
    return (reshaped(labels[0], shapes[0], made[0]),)


def _permute(
    node: Node, labels: Sequence[Labels], shapes: Sequence[Shape], made: Sequence[Shape]
) -> tuple[Labels, ...]:
    return (labels[0].transpose(_numbers(node.attr("dims"))),)


def _transpose(
    node: Node, labels: Sequence[Labels], shapes: Sequence[Shape], made: Sequence[Shape]
) -> tuple[Labels, ...]:
    if node.attr("aten") == "t":
        return (labels[0].T,)
    return (labels[0].swapaxes(_number(node, "dim0"), _number(node, "dim1")),)


def _expand(node: Node, labels: Sequence[Labels], shapes: Sequence[Shape], made: Sequence[Shape]) -> tuple[Labels, ...]:
    return (labels[0].reshape((1,) * (len(made[0]) - labels[0].ndim) + labels[0].shape),)


def _cut(labels: Labels, shape: Shape, dim: int, where: slice) -> Labels:
    """Return the labels of a part; where nothing changes along ``dim``, all parts have the same."""
    if labels.shape[dim] == 1:
        return labels
    index = [slice(None)] * len(shape)
    index[dim] = where
    return labels[tuple(index)]


def _slice(node: Node, labels: Sequence[Labels], shapes: Sequence[Shape], made: Sequence[Shape]) -> tuple[Labels, ...]:
    start, end = node.attr("start"), node.attr("end")
    where = slice(start, end, _number(node, "step", 1))
    return (_cut(labels[0], shapes[0], _number(node, "dim"), where),)


def _select(node: Node, labels: Sequence[Labels], shapes: Sequence[Shape], made: Sequence[Shape]) -> tuple[Labels, ...]:
    dim, index = _number(node, "dim"), _number(node, "index")
    part = labels[0] if labels[0].shape[dim] == 1 else labels[0].take([index], axis=dim)
    return (part.squeeze(axis=dim),)


def _split(node: Node, labels: Sequence[Labels], shapes: Sequence[Shape], made: Sequence[Shape]) -> tuple[Labels, ...]:
    dim, parts, start = _number(node, "dim"), [], 0
    for shape in made:
        parts.append(_cut(labels[0], shapes[0], dim, slice(start, start + shape[dim])))
        start += shape[dim]
    return tuple(parts)


def _unbind(node: Node, labels: Sequence[Labels], shapes: Sequence[Shape], made: Sequence[Shape]) -> tuple[Labels, ...]:
    dim = _number(node, "dim")
    cuts = (_cut(labels[0], shapes[0], dim, slice(i, i + 1)) for i in range(shapes[0][dim]))
    return tuple(cut.squeeze(axis=dim) for cut in cuts)


def _concat(node: Node, labels: Sequence[Labels], shapes: Sequence[Shape], made: Sequence[Shape]) -> tuple[Labels, ...]:
    dim = _number(node, "dim") % len(made[0])
    both = [(a, s) for a, s in zip(labels, shapes, strict=True) if len(s) == len(made[0])]  # an empty one may be 1-D
    sizes = np.max([array.shape for array, _ in both], axis=0)
    pieces = [
        np.broadcast_to(array, [shape[dim] if d == dim else int(size) for d, size in enumerate(sizes)])
        for array, shape in both
    ]
    return (np.concatenate(pieces, axis=dim),)


def _stack(node: Node, labels: Sequence[Labels], shapes: Sequence[Shape], made: Sequence[Shape]) -> tuple[Labels, ...]:
    dim = _number(node, "dim") % len(made[0])
    return (np.stack(np.broadcast_arrays(*labels), axis=dim),)


def _flip(node: Node, labels: Sequence[Labels], shapes: Sequence[Shape], made: Sequence[Shape]) -> tuple[Labels, ...]:
    return (np.flip(labels[0], tuple(_numbers(node.attr("dims")))),)


def _roll(node: Node, labels: Sequence[Labels], shapes: Sequence[Shape], made: Sequence[Shape]) -> tuple[Labels, ...]:
    dims = _numbers(node.attr("dims"))
    if not dims:
        return ()
    return (np.roll(labels[0], _numbers(node.attr("shifts")), dims),)


def _repeat(node: Node, labels: Sequence[Labels], shapes: Sequence[Shape], made: Sequence[Shape]) -> tuple[Labels, ...]:
    array = labels[0].reshape((1,) * (len(made[0]) - labels[0].ndim) + labels[0].shape)
    times = _numbers(node.attr("repeats"))
    return (np.tile(array, [t if size > 1 else 1 for t, size in zip(times, array.shape, strict=True)]),)


def _channel_shuffle(
    node: Node, labels: Sequence[Labels], shapes: Sequence[Shape], made: Sequence[Shape]
) -> tuple[Labels, ...]:
    channels, groups = along(labels[0], shapes[0], 1), _number(node, "groups", 1)
    if channels is None:
        return ()
    return (spread(channels.reshape(groups, -1).T.reshape(-1), len(made[0]), 1),)


_JOINING = frozenset({"concat", "stack"})
_MANY = frozenset({"split", "chunk", "unbind"})
MOVES: Mapping[str, _Rule] = MappingProxyType(
    {
        **dict.fromkeys(("copy", "to", "detach", "alias", "clone", "contiguous"), _same),
        **dict.fromkeys(("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze"), _reshape),
        "permute": _permute,
        "transpose": _transpose,
        "expand": _expand,
        "slice": _slice,
        "select": _select,
        "split": _split,
        "chunk": _split,
        "unbind": _unbind,
        "concat": _concat,
        "stack": _stack,
        "flip": _flip,
        "roll": _roll,
        "repeat": _repeat,
        "channel_shuffle": _channel_shuffle,
    }
)
