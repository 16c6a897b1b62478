"""Receptive field, stride and offset of every tensor, along each spatial axis of the network's first input.

Exact integers, through branches, dilation, transposed convolution and up-sampling: along one axis, position ``i`` of a
tensor sees the input pixels ``low(i) … high(i)``, and this repeats: ``low(i + P) = low(i) + A`` for a period of ``P``
positions that spans ``A`` pixels. The borders of the input are ignored, as usual: a field may be larger than the image.
Pixels count even where a weight is zero. Operators that look at all of an axis (global pooling, attention, a fully
connected layer) see the whole input; so does, as an upper bound, a reshape that mixes a spatial dimension with another.

Source of the plain formulas: Araujo, Norris, Sim 2019 (distill.pub, 10.23915/distill.00021).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import TypeAlias

from flyweight.axis import Axis
from flyweight.graph import Graph, Node
from flyweight.operators import ELEMENTWISE_OPS


@dataclass(frozen=True, slots=True)
class Field:
    """What one element of a tensor sees of the input, per spatial axis (height, width).

    Attributes:
        size_px: largest extent over the positions; 0 where the tensor does not depend on the input.
        stride_px: pixels from one position to the next, a fraction after up-sampling; 0 where all see the same.
        start_px: first pixel that position 0 sees; negative in the padding, 0 where the whole axis is seen.
        whole: per axis, whether every position sees all of it.
    """

    size_px: tuple[int, ...]
    stride_px: tuple[Fraction, ...]
    start_px: tuple[int, ...]
    whole: tuple[bool, ...]


def receptive_fields(graph: Graph) -> Mapping[str, Field | None]:
    """Return the receptive field of every activation; None behind an operator that this module doesn't know."""
    if not graph.inputs:
        return MappingProxyType({})
    pixels = graph.tensors[graph.inputs[0]].shape[2:]
    seen = axes_seen(graph)
    empty = tuple(0 for _ in pixels)
    nothing = Field(empty, tuple(Fraction(0) for _ in pixels), empty, tuple(False for _ in pixels))
    fields = {name: _field(seen[name], pixels) if name in seen else nothing for name in graph.tensors}
    return MappingProxyType(fields)


def axes_seen(graph: Graph) -> Mapping[str, tuple[Axis, ...] | None]:
    """Return, per spatial axis of the input, what every single position of an activation sees of it.

    None behind an operator that this module doesn't know; what depends on no input is missing.
    """
    if not graph.inputs:
        return MappingProxyType({})
    pixels = graph.tensors[graph.inputs[0]].shape[2:]
    places: dict[str, _Places | None] = {}
    for name in graph.inputs:  # further inputs join where they have the first one's size
        if graph.tensors[name].shape[2:] == pixels:
            places[name] = tuple(_Place(Axis((0,), (0,), 1), 2 + k) for k in range(len(pixels)))
    for node in graph.nodes:
        _propagate(node, graph, places)
    seen = {name: tuple(place.axis for place in found) if found is not None else None for name, found in places.items()}
    return MappingProxyType(seen)


def _field(axes: tuple[Axis, ...] | None, pixels: Sequence[int]) -> Field | None:
    if axes is None:
        return None
    return Field(
        tuple(n if axis.whole else axis.size for axis, n in zip(axes, pixels, strict=True)),
        tuple(Fraction(axis.advance, axis.period) for axis in axes),
        tuple(0 if axis.whole else axis.low[0] for axis in axes),
        tuple(axis.whole for axis in axes),
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """An axis of the input, and the dimension of the tensor along which it runs; None where the tensor has none."""

    axis: Axis
    dim: int | None

    def collapsed(self) -> _Place:
        return _Place(replace(self.axis, whole=True), None)

    def moved(self, dim: int | None) -> _Place:
        return _Place(self.axis, dim) if dim is not None else self.collapsed()


_Places: TypeAlias = tuple[_Place, ...]
_Rule: TypeAlias = Callable[[Node, Graph, str, _Places, int], "_Places | None"]


def _propagate(node: Node, graph: Graph, places: dict[str, _Places | None]) -> None:
    read = [name for name in node.operands if name in places]
    if not read:
        return
    rule = RULES.get(node.op)
    for index, output in enumerate(node.outputs):
        if rule is None or any(places[name] is None for name in read):
            places[output] = None
            continue
        if node.attr("inplace") and index:  # the base of the view that was written
            old = str(node.aliases.get(output))
            parts = [places.get(node.outputs[0]), places.get(old)]
            same_rank = len(graph.tensors[node.outputs[0]].shape) == len(graph.tensors[old].shape)
            places[output] = _joined([p for p in parts if p is not None], graph, output) if same_rank else None
            continue
        results = []
        for name in dict.fromkeys(read):
            operand = places[name]
            results.append(rule(node, graph, name, operand, index) if operand is not None else None)
        known = [result for result in results if result is not None]
        places[output] = _joined(known, graph, output) if len(known) == len(results) else None


def _joined(parts: list[_Places], graph: Graph, output: str) -> _Places | None:
    shape = graph.tensors[output].shape
    joined = parts[0]
    for part in parts[1:]:
        both = zip(joined, part, strict=True)
        if any(None not in (a.dim, b.dim) and a.dim != b.dim for a, b in zip(joined, part, strict=True)):
            return tuple(place.collapsed() for place in joined)
        joined = tuple(
            _Place(
                a.axis.hull(b.axis, shape[dim] if (dim := a.dim if a.dim is not None else b.dim) is not None else 1),
                dim,
            )
            for a, b in both
        )
    return joined


# Rules: (node, graph, operand's name, its places, index of the output) -> places in the output, None where unknown.


def _same(node: Node, graph: Graph, name: str, places: _Places, index: int) -> _Places | None:
    """Element by element, broadcasting from the right."""
    shape, out = graph.tensors[name].shape, graph.tensors[node.outputs[index]].shape
    shift = len(out) - len(shape)
    moved = []
    for place in places:
        dim = None if place.dim is None else place.dim + shift
        single = place.dim is not None and shape[place.dim] == 1
        moved.append(_Place(place.axis.fixed(0) if single else place.axis, dim))
    return tuple(moved)


def _alias(node: Node, graph: Graph, name: str, places: _Places, index: int) -> _Places | None:
    """Another view of the same storage: known only where nothing was cut out of it."""
    return places if graph.tensors[name].shape == graph.tensors[node.outputs[0]].shape else None


def _windowed(change: Callable[[Node, int, int, Axis], Axis]) -> _Rule:
    """Return the rule of an operator that works along the dimensions behind the channels, by ``change``."""

    def rule(node: Node, graph: Graph, name: str, places: _Places, index: int) -> _Places | None:
        if name != node.operands[0]:  # an input that is used as a weight
            return tuple(place.collapsed() for place in places)
        rank = len(graph.tensors[name].shape)
        count = _spatial(node, rank)
        done = []
        for place in places:
            if place.dim is None or place.dim < rank - count - 1:
                done.append(place)
            elif place.dim == rank - count - 1:  # the channels
                done.append(place.collapsed() if node.op.startswith("conv") else place)
            else:
                done.append(_Place(change(node, place.dim - rank + count, count, place.axis), place.dim))
        return tuple(done)

    return rule


def _spatial(node: Node, rank: int) -> int:
    kernel = node.attr("kernel_size")
    return len(kernel) if isinstance(kernel, tuple) and node.op.startswith("conv") else max(rank - 2, 1)


def _setting(node: Node, name: str, k: int, default: int) -> int:
    value = node.attr(name)
    if isinstance(value, tuple):
        value = (value[k] if len(value) > 1 else value[0]) if value else default
    return int(value) if isinstance(value, int) else default


def _conv(node: Node, k: int, count: int, axis: Axis) -> Axis:
    kernel, stride = _setting(node, "kernel_size", k, 1), _setting(node, "stride", k, 1)
    padding, dilation = _setting(node, "padding", k, 0), _setting(node, "dilation", k, 1)
    return (axis.transposed if node.op == "conv_transpose" else axis.window)(kernel, stride, padding, dilation)


def _pool(node: Node, k: int, count: int, axis: Axis) -> Axis:
    kernel = _setting(node, "kernel_size", k, 1)
    stride, padding = _setting(node, "stride", k, kernel), _setting(node, "padding", k, 0)
    return axis.window(kernel, stride, padding, _setting(node, "dilation", k, 1))


def _adaptive_pool(node: Node, graph: Graph, name: str, places: _Places, index: int) -> _Places | None:
    shape, out = graph.tensors[name].shape, graph.tensors[node.outputs[0]].shape
    done = []
    for place in places:
        before, after = (1, 1) if place.dim is None else (shape[place.dim], out[place.dim])
        if place.dim is None or before == after:
            done.append(place)
        elif after == 1:
            done.append(_Place(replace(place.axis.fixed(0), whole=True), place.dim))
        else:
            ratio = Fraction(before, after)
            axis = place.axis.resampled(ratio, lambda o, r=ratio: range(math.floor(o * r), math.ceil((o + 1) * r)))  # type: ignore[misc]
            done.append(_Place(axis, place.dim))
    return tuple(done)


def _upsample(node: Node, graph: Graph, name: str, places: _Places, index: int) -> _Places | None:
    shape, out = graph.tensors[name].shape, graph.tensors[node.outputs[0]].shape
    count = len(shape) - 2
    done = []
    for place in places:
        if place.dim is None or place.dim < 2:
            done.append(place)
            continue
        scales = node.attr("scale_factors")
        scale = scales[place.dim - 2] if isinstance(scales, tuple) and len(scales) == count else None
        ratio = Fraction(shape[place.dim], out[place.dim])
        if isinstance(scale, float):  # PyTorch then takes the factor, not the sizes
            ratio = 1 / Fraction(scale).limit_denominator(1000)
        corners = bool(node.attr("align_corners")) and out[place.dim] > 1
        if corners:
            ratio = Fraction(shape[place.dim] - 1, out[place.dim] - 1) or Fraction(1, out[place.dim])
        done.append(_Place(place.axis.resampled(ratio, _interpolation(node.op, ratio, corners)), place.dim))
    return tuple(done)


def _interpolation(op: str, ratio: Fraction, corners: bool) -> Callable[[int], Iterable[int]]:
    def sources(output: int) -> Iterable[int]:
        if op == "upsample_nearest":
            return (math.floor(output * ratio),)
        centre = output * ratio if corners else (output + Fraction(1, 2)) * ratio - Fraction(1, 2)
        if op == "upsample_bilinear":
            return (math.floor(centre), math.ceil(centre))
        reach = 0 if centre.denominator == 1 else 1
        return range(math.floor(centre) - reach, math.ceil(centre) + reach + 1)

    return sources


def _pad(node: Node, graph: Graph, name: str, places: _Places, index: int) -> _Places | None:
    widths = node.attr("pad") or node.attr("padding")
    rank = len(graph.tensors[name].shape)
    done = []
    for place in places:
        before = 2 * (rank - 1 - place.dim) if place.dim is not None else -1
        has = isinstance(widths, tuple) and 0 <= before < len(widths)
        width = widths[before] if has and isinstance(widths, tuple) else 0
        done.append(_Place(place.axis.window(1, 1, int(width) if isinstance(width, int) else 0), place.dim))
    return tuple(done)


def _concat(node: Node, graph: Graph, name: str, places: _Places, index: int) -> _Places | None:
    dim = _dim(node, graph, name)
    return None if any(place.dim == dim for place in places) else places


def _dim(node: Node, graph: Graph, name: str, attr: str = "dim") -> int:
    dim = node.attr(attr, 0)
    return int(dim) % max(len(graph.tensors[name].shape), 1) if isinstance(dim, int) else 0


def _dims(node: Node, rank: int, attr: str) -> tuple[int, ...]:
    value = node.attr(attr)
    if value is None or value == ():
        return tuple(range(rank))
    values = value if isinstance(value, tuple) else (value,)
    return tuple(int(v) % max(rank, 1) for v in values if isinstance(v, int))


def _reduce(node: Node, graph: Graph, name: str, places: _Places, index: int) -> _Places | None:
    rank, out_rank = len(graph.tensors[name].shape), len(graph.tensors[node.outputs[index]].shape)
    dims = _dims(node, rank, "dim")
    done = []
    for place in places:
        if place.dim in dims:
            done.append(_Place(replace(place.axis.fixed(0), whole=True), place.dim if rank == out_rank else None))
        else:
            shift = sum(1 for dim in dims if place.dim is not None and dim < place.dim) if rank != out_rank else 0
            done.append(_Place(place.axis, None if place.dim is None else place.dim - shift))
    return tuple(done)


def _along(node: Node, graph: Graph, name: str, places: _Places, index: int) -> _Places | None:
    """Every position along some dimensions depends on all of them: softmax, layer norm, cumsum, roll."""
    rank = len(graph.tensors[name].shape)
    if node.op in ("group_norm", "instance_norm"):
        dims: tuple[int, ...] = tuple(range(1, rank))
    elif node.op in ("layer_norm", "rms_norm"):
        shape = node.attr("normalized_shape")
        dims = tuple(range(rank - (len(shape) if isinstance(shape, tuple) else 1), rank))
    else:
        dims = _dims(node, rank, "dims" if node.op in ("roll", "flip") else "dim")
    return tuple(_Place(replace(p.axis, whole=True), p.dim) if p.dim in dims else p for p in places)


def _linear(node: Node, graph: Graph, name: str, places: _Places, index: int) -> _Places | None:
    last = len(graph.tensors[name].shape) - 1
    return tuple(p.collapsed() if p.dim == last or name != node.operands[0] else p for p in places)


def _matmul(node: Node, graph: Graph, name: str, places: _Places, index: int) -> _Places | None:
    factors = node.operands[-2:]
    rank, out_rank = len(graph.tensors[name].shape), len(graph.tensors[node.outputs[0]].shape)
    if rank < 2 or out_rank < 2 or name not in factors or factors[0] == factors[1]:
        return tuple(place.collapsed() for place in places)
    contracted = rank - 1 if name == factors[0] else rank - 2
    shift = out_rank - rank
    return tuple(
        p if p.dim is None else p.collapsed() if p.dim == contracted else _Place(p.axis, p.dim + shift) for p in places
    )


def _everything(node: Node, graph: Graph, name: str, places: _Places, index: int) -> _Places | None:
    return tuple(place.collapsed() for place in places)


def _reshape(node: Node, graph: Graph, name: str, places: _Places, index: int) -> _Places | None:
    shape, out = graph.tensors[name].shape, graph.tensors[node.outputs[index]].shape
    kept = _kept_dims(shape, out)
    done = []
    for place in places:
        if place.dim is None:
            done.append(place)
        elif shape[place.dim] == 1:
            done.append(_Place(place.axis.fixed(0), kept.get(place.dim)))
        else:
            done.append(place.moved(kept.get(place.dim)))
    return tuple(done)


def _kept_dims(shape: Sequence[int], out: Sequence[int]) -> dict[int, int]:
    """Return which dimensions a reshape leaves alone: from old to new."""
    if tuple(shape) == tuple(out):
        return {dim: dim for dim in range(len(shape))}
    old, new = [d for d, n in enumerate(shape) if n != 1], [d for d, n in enumerate(out) if n != 1]
    kept: dict[int, int] = {}
    while old and new:
        group_old, group_new = [old.pop(0)], [new.pop(0)]
        while (a := math.prod(shape[d] for d in group_old)) != (b := math.prod(out[d] for d in group_new)):
            if a < b and old:
                group_old.append(old.pop(0))
            elif new:
                group_new.append(new.pop(0))
            else:
                return kept
        if len(group_old) == len(group_new) == 1:
            kept[group_old[0]] = group_new[0]
    return kept


def _permute(node: Node, graph: Graph, name: str, places: _Places, index: int) -> _Places | None:
    rank = len(graph.tensors[name].shape)
    order = list(range(rank))
    if node.op == "permute":
        order = list(_dims(node, rank, "dims"))
    elif rank >= 2:
        first = _dim(node, graph, name, "dim0") if node.attr("aten") != "t" else 0
        second = _dim(node, graph, name, "dim1") if node.attr("aten") != "t" else 1
        order[first], order[second] = order[second], order[first]
    return tuple(p if p.dim is None else _Place(p.axis, order.index(p.dim)) for p in places)


def _slice(node: Node, graph: Graph, name: str, places: _Places, index: int) -> _Places | None:
    """slice, narrow, split and chunk: a run of positions, every ``step``-th."""
    dim, shape = _dim(node, graph, name), graph.tensors[name].shape
    start = node.attr("start")
    first = int(start) if isinstance(start, int) else 0
    first = min(max(first + shape[dim], 0) if first < 0 else first, shape[dim])
    if node.op in ("split", "chunk"):
        first = sum(graph.tensors[output].shape[dim] for output in node.outputs[:index])
    step = _setting(node, "step", 0, 1)
    return tuple(_Place(p.axis.window(1, step, -first), p.dim) if p.dim == dim else p for p in places)


def _select(node: Node, graph: Graph, name: str, places: _Places, index: int) -> _Places | None:
    dim, shape = _dim(node, graph, name), graph.tensors[name].shape
    position = index if node.op == "unbind" else _setting(node, "index", 0, 0) % shape[dim]
    return tuple(
        _Place(p.axis.fixed(position), None) if p.dim == dim
        else _Place(p.axis, p.dim - 1 if p.dim is not None and p.dim > dim else p.dim)
        for p in places
    )  # fmt: skip


def _stack(node: Node, graph: Graph, name: str, places: _Places, index: int) -> _Places | None:
    raw = node.attr("dim", 0)
    dim = int(raw) % (len(graph.tensors[name].shape) + 1) if isinstance(raw, int) else 0
    return tuple(p if p.dim is None or p.dim < dim else _Place(p.axis, p.dim + 1) for p in places)


def _shuffle(node: Node, graph: Graph, name: str, places: _Places, index: int) -> _Places | None:
    factor = _setting(node, "upscale_factor", 0, 0) or _setting(node, "downscale_factor", 0, 1)
    last = len(graph.tensors[name].shape) - 2
    done = []
    for place in places:
        if place.dim is None or place.dim < last:
            done.append(place)
        elif node.op == "pixel_unshuffle":
            done.append(_Place(place.axis.window(factor, factor), place.dim))
        else:
            done.append(_Place(place.axis.resampled(Fraction(1, factor), lambda o: (o // factor,)), place.dim))
    return tuple(done)


def _table(rules: Mapping[_Rule, str]) -> dict[str, _Rule]:
    return {op: rule for rule, ops in rules.items() for op in ops.split()}


# Operator -> rule. What isn't here makes the field unknown from there on.
RULES: Mapping[str, _Rule] = MappingProxyType(
    dict.fromkeys((op for op in ELEMENTWISE_OPS if not op.startswith(("upsample", "grid"))), _same)
    | _table(
        {
            _alias: "alias",
            _same: "copy to detach clone expand channel_shuffle tril triu fill zero",
            _windowed(_conv): "conv conv_transpose",
            _windowed(_pool): "max_pool avg_pool",
            _adaptive_pool: "adaptive_avg_pool adaptive_max_pool",
            _upsample: "upsample_nearest upsample_bilinear upsample_bicubic",
            _pad: "pad",
            _concat: "concat",
            _reduce: "mean sum amax amin max min prod var std var_mean argmax argmin all any logsumexp "
            "linalg_vector_norm",
            _along: "softmax log_softmax layer_norm rms_norm group_norm instance_norm cumsum roll flip",
            _linear: "linear",
            _matmul: "matmul",
            _everything: "sdpa lstm gru rnn",
            _reshape: "view reshape flatten unflatten squeeze unsqueeze",
            _permute: "permute transpose",
            _slice: "slice narrow split chunk",
            _select: "select unbind",
            _stack: "stack",
            _shuffle: "pixel_shuffle pixel_unshuffle",
        }
    )
)
