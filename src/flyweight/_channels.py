"""The walk behind ``flyweight.coupling``: channel numbers sent through a graph, operator by operator."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from flyweight import labels as lb
from flyweight.graph import Graph, Node, TensorInfo
from flyweight.operators import ELEMENTWISE_OPS

Ids: TypeAlias = "NDArray[np.int64]"
NONE = -1  # of what belongs to no channel

_NOT_ELEMENTWISE = frozenset({"batch_norm", "prelu", "glu", "upsample_bilinear", "upsample_bicubic", "grid_sample"})
_SPATIAL = """
    max_pool avg_pool adaptive_avg_pool adaptive_max_pool upsample_nearest upsample_bilinear upsample_bicubic max_unpool
"""
_BY_NUMBER = frozenset({"slice", "select", "split", "unbind"})  # chunk goes by what there is
_REDUCTIONS = "mean sum amax amin max min prod var std logsumexp linalg_vector_norm argmax argmin"
_WITHIN = ("softmax", "log_softmax", "cumsum")


class Walk:
    """Numbers every channel, and takes down what is tied, held, balanced, and which parameters run along them.

    Args:
        graph: the network.
        numbers: of each source's channels, by the source's node, where they are given; else they are counted up.
        like: the graph whose numbers those are: a convolution of groups is depthwise if it was there.
        count: how many numbers were given out already.
        columns: nodes that make a table of the channels whose columns keep their number, not its rows.
    """

    def __init__(
        self,
        graph: Graph,
        numbers: Mapping[str, Ids] | None = None,
        like: Graph | None = None,
        count: int = 0,
        columns: Collection[str] = (),
    ) -> None:
        self.graph = graph
        self.depthwise = {node.name for node in (like or graph).nodes if depthwise(node, like or graph)}
        self.numbers = numbers
        self.count = count
        self.columns = frozenset(columns)
        self.sources: list[tuple[str, str, range]] = []
        self.labels: dict[str, Ids] = {}
        self.axes: dict[tuple[str, int], Ids] = {}
        self.tied: list[tuple[Ids, Ids]] = []
        self.held: list[tuple[Ids, str]] = []
        self.balances: list[tuple[Node, Ids]] = []

    def run(self) -> None:
        """Send the numbers through the graph."""
        for name in self.graph.inputs:
            shape = self.graph.tensors[name].shape
            dim = 1 if len(shape) > 1 else 0
            ids = self.fresh(name, name, shape[dim] if shape else 1)
            self.labels[name] = lb.spread(ids, len(shape), dim) if shape else lb.plain(0, NONE)
            self.hold(ids, "they are the network's input")
        for node in self.graph.nodes:
            made = self._made(node)
            for name, found in zip(node.outputs, made, strict=True):
                self.labels[name] = lb.compressed(found)
        for name in self.graph.outputs:
            self.hold(self.labels[name], "they are the network's output")

    def _made(self, node: Node) -> Sequence[Ids]:
        if node.attr("weight"):  # computed from parameters: followed where they are only reshaped
            return self._moved(node) or [self._unnumbered(name) for name in node.outputs]
        rule = RULES.get(node.op)
        found = rule(self, node) if rule else self._moved(node)
        if found is None or len(found) > len(node.outputs):
            return self._unknown(node)
        return [*found, *(self._unnumbered(name) for name in node.outputs[len(found) :])]

    def _unknown(self, node: Node) -> list[Ids]:
        """Hold every channel that an operator reads whose way with channels is not known."""
        for name in node.inputs:
            self.hold(self.labels[name], f"'{_where(node)}' ({node.op}) reads them in a way that is not known")
        return [self._unnumbered(name) for name in node.outputs]

    def _unnumbered(self, name: str) -> Ids:
        return lb.plain(len(self.graph.tensors[name].shape), NONE)

    def _moved(self, node: Node) -> tuple[Ids, ...] | None:
        shapes = [self.shape(name) for name in node.operands]
        made = [self.shape(name) for name in node.outputs]
        found = lb.moved(node, [self.of(name) for name in node.operands], shapes, made)
        if found is None:
            return None
        if node.op in _BY_NUMBER and any(a.size != self.of(node.operands[0]).size for a in found):
            self.hold(self.of(node.operands[0]), f"'{_where(node)}' ({node.op}) takes channels by their numbers")
        if node.op in ("transpose", "permute"):
            self._keep_in_step(node, self.of(node.operands[0]), found[0])
        if node.op == "channel_shuffle" and (ids := self.along(node.operands[0], 1, node)) is not None:
            table = ids.reshape(int(str(node.attr("groups"))), -1)
            self.tie(table[:1], table)
        if node.op in ("view", "reshape", "unflatten") and (rows := _rows(found[0])) is not None:
            self.balances.append((node, rows.T if node.name in self.columns else rows))
        if node.op == "chunk" and len({array.size for array in found}) == 1 and found[0].size > 1:
            self.balances.append((node, np.stack([array.reshape(-1) for array in found])))
        return found

    def _keep_in_step(self, node: Node, before: Ids, after: Ids) -> None:
        """Tie the columns of a table that is turned over: channel shuffle. Without a whole one the order would change.

        The number of rows is taken for the one that stays as it is, as it does in ``reshape(groups, -1)``, but where
        the table was made by a node in ``columns``: there the rows are tied.
        """
        wide = [dim for dim, size in enumerate(before.shape) if size > 1]
        if len(wide) > 1 and not np.array_equal(before[before != NONE], after[after != NONE]):
            by_columns = any(name.split(":")[0] in self.columns for name in node.inputs)
            self.tie(before.take([0], axis=wide[1 if by_columns else 0]), before)

    # ---- what the rules below are made of ---------------------------------------------------------------------------

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self.graph.info(name).shape

    def of(self, name: str) -> Ids:
        """Return what is known of an operand: an activation, or a parameter that has a number per channel."""
        if name in self.labels:
            return self.labels[name]
        shape = self.shape(name)
        wide = [dim for dim, size in enumerate(shape) if size > 1]
        if len(wide) != 1:
            return lb.plain(len(shape), NONE)
        key = (name, wide[0])
        if key not in self.axes:
            self.axes[key] = self.fresh(name, name.rpartition(".")[0], shape[wide[0]])[None]
        return lb.spread(self.axes[key][0], len(shape), wide[0])

    def fresh(self, node: str, module: str, count: int) -> Ids:
        """Return numbers for channels that are made here."""
        if self.numbers is not None:
            given = self.numbers.get(node, np.zeros(0, int))
            if len(given) == count:
                return given
        ids = range(self.count, self.count + count)
        self.count += count
        self.sources.append((node, module, ids))
        return np.arange(ids.start, ids.stop)

    def tie(self, a: Ids, b: Ids) -> None:
        """Tie channels that meet, one by one; what meets something without a channel is held."""
        a, b = (array.reshape(-1) for array in np.broadcast_arrays(a, b))
        both = (a != NONE) & (b != NONE)
        differ = both & (a != b)
        if differ.any():
            self.tied.append((a[differ], b[differ]))

    def hold(self, ids: Ids, why: str) -> None:
        """Keep these channels from being removed."""
        flat = np.unique(ids)
        flat = flat[flat != NONE]
        if flat.size:
            self.held.append((flat, why))

    def along(self, name: str, dim: int, node: Node) -> Ids | None:
        """Return the numbers along one dimension; where they lie otherwise they are held."""
        found = lb.along(self.labels[name], self.shape(name), dim)
        if found is None:
            self.hold(self.labels[name], f"'{_where(node)}' ({node.op}) reads them along another dimension")
        return found

    def axis(self, param: TensorInfo, dim: int, ids: Ids) -> None:
        """Note the channels along a parameter's dimension; one that is read twice ties those of both readings."""
        rows = ids if ids.ndim == 2 else ids[None]
        known = self.axes.setdefault((param.name, dim), rows)
        if known.shape == rows.shape:
            if known is not rows:
                self.tie(known, rows)
                self.hold(known[rows == NONE], f"'{param.name}' is used elsewhere too")
                self.hold(rows[known == NONE], f"'{param.name}' is used elsewhere too")
        else:
            for array in (known, rows):
                self.hold(array, f"'{param.name}' is used in two ways")


def _where(node: Node) -> str:
    return node.module or node.name


def _rows(ids: Ids) -> Ids | None:
    """Return a channel dimension that was made a table of, as that table; None where it was not."""
    wide = [size for size in ids.shape if size > 1]
    return ids.reshape(wide) if len(wide) == 2 and (ids != NONE).all() and np.unique(ids).size == ids.size else None


def _weight(walk: Walk, node: Node) -> TensorInfo | None:
    """Return a layer's weight, None where it is computed: then its channels are held, since it can't be cut."""
    params = {p.name: p for p in node.params}
    weight = params.get(node.operands[1])
    if weight is None:
        for name in node.inputs:
            if name in walk.labels:
                walk.hold(walk.labels[name], f"the weight of '{_where(node)}' is computed, not stored")
    return weight


def _biased(walk: Walk, node: Node, ids: Ids) -> None:
    params = {p.name: p for p in node.params}
    for name in node.operands[2:]:
        if name in params:
            walk.axis(params[name], 0, ids)
        else:
            walk.hold(ids, f"the bias of '{_where(node)}' is computed, not stored")


def depthwise(node: Node, graph: Graph) -> bool:
    """Return whether a node is a convolution with a group for each channel that it reads."""
    if node.op not in ("conv", "conv_transpose") or node.attr("groups", 1) == 1:
        return False
    shape, kernel = graph.info(node.operands[0]).shape, graph.info(node.operands[1]).shape
    return shape[len(shape) - len(kernel) + 1] == node.attr("groups")


def _convolution(walk: Walk, node: Node) -> tuple[Ids] | None:
    """Weight ``(K, C/groups, …)``; transposed ``(C, K/groups, …)``."""
    weight = _weight(walk, node)
    if weight is None:
        return None
    source, shape = node.operands[0], weight.shape
    groups, transposed = int(str(node.attr("groups", 1))), node.op == "conv_transpose"
    dim = len(walk.shape(source)) - (len(shape) - 2) - 1
    made = shape[1] * groups if transposed else shape[0]
    ids = walk.fresh(node.name, node.module, made)
    read = walk.along(source, dim, node)
    if read is None:
        read = np.full(walk.shape(source)[dim], NONE)
        walk.hold(ids, f"the input of '{_where(node)}' has its channels along another dimension")
    out, inner = (1, 0) if transposed else (0, 1)
    if groups == 1:
        walk.axis(weight, out, ids)
        walk.axis(weight, inner, read)
    elif node.name in walk.depthwise:
        walk.axis(weight, 0, read if transposed else ids)
        _depthwise(walk, node, read, ids)
    else:
        walk.axis(weight, 0, read if transposed else ids)
        walk.axis(weight, 1, (ids if transposed else read).reshape(groups, -1))
        walk.balances += [(node, read.reshape(groups, -1)), (node, ids.reshape(groups, -1))]
    _biased(walk, node, ids)
    return (lb.spread(ids, len(walk.shape(node.outputs[0])), dim),)


def _depthwise(walk: Walk, node: Node, read: Ids, ids: Ids) -> None:
    """Each channel that is read makes its own filters' outputs, and goes with them."""
    repeated = np.repeat(read, ids.size // read.size)
    walk.tie(repeated, ids)
    walk.hold(ids[repeated == NONE], f"'{_where(node)}' reads something beside channels")


def _linear(walk: Walk, node: Node) -> tuple[Ids] | None:
    """Weight ``(K, C)`` on the last dimension."""
    weight = _weight(walk, node)
    if weight is None:
        return None
    ids = walk.fresh(node.name, node.module, weight.shape[0])
    read = walk.along(node.operands[0], -1, node)
    if read is None:
        read = np.full(walk.shape(node.operands[0])[-1], NONE)
    walk.axis(weight, 0, ids)
    walk.axis(weight, 1, read)
    _biased(walk, node, ids)
    return (lb.spread(ids, len(walk.shape(node.outputs[0])), -1),)


def _per_channel(walk: Walk, node: Node) -> tuple[Ids] | None:
    """Batch and instance norm, PReLU: parameters ``(C,)`` along the second dimension."""
    source = node.operands[0]
    if source not in walk.labels or len(walk.shape(source)) < 2:
        return None
    ids = walk.along(source, 1, node)
    if ids is None:
        return None
    for param in {p.name: p for p in node.params}.values():
        if param.shape == (ids.size,) and (ids.size > 1 or node.op != "prelu"):
            walk.axis(param, 0, ids)
    if any(name in walk.labels for name in node.operands[1:]):
        return None
    return (walk.labels[source],)


def _elementwise(walk: Walk, node: Node) -> tuple[Ids] | None:
    """Channels that meet are tied; a factor that is spread over the channels of another is not, but can't go either."""
    shape = walk.shape(node.outputs[0])
    arrays = [_ranked(walk.of(name), len(shape)) for name in node.operands]
    sizes = [(1,) * (len(shape) - len(own)) + own for own in map(walk.shape, node.operands)]
    wide = {d for array in arrays for d, size in enumerate(array.shape) if size > 1}
    result = lb.plain(len(shape), NONE)
    met = False
    for array, own in zip(arrays, sizes, strict=True):
        if any(own[d] != shape[d] for d in wide):
            walk.hold(array, f"'{_where(node)}' ({node.op}) spreads them over other channels")
            continue
        if met:
            _hold_beside(walk, node, result, array)
            walk.tie(result, array)
        result = array if not met or (result == NONE).all() else result
        met = True
    return (result,)


def _ranked(array: Ids, rank: int) -> Ids:
    return array.reshape((1,) * (rank - array.ndim) + array.shape)


def _hold_beside(walk: Walk, node: Node, a: Ids, b: Ids) -> None:
    """Hold channels that meet elements without one, e.g. a learned map: those can't be removed with them."""
    first, second = np.broadcast_arrays(a, b)
    why = f"'{_where(node)}' ({node.op}) joins them with something that has no channels"
    walk.hold(first[second == NONE], why)
    walk.hold(second[first == NONE], why)


def _spatial_dims(node: Node, rank: int) -> int:
    match = re.search(r"([123])d", str(node.attr("aten", "")))
    return int(match[1]) if match else rank - 2


def _spatial(walk: Walk, node: Node) -> tuple[Ids, ...] | None:
    """Pooling and upsampling: every channel on its own."""
    source = node.operands[0]
    array, rank = walk.of(source), len(walk.shape(source))
    spatial = _spatial_dims(node, rank)
    if any(size > 1 for size in array.shape[rank - spatial :]):
        return None
    return (array,) * min(len(node.outputs), 2)


def _pad(walk: Walk, node: Node) -> tuple[Ids] | None:
    """Pixels around a map belong to its channels; channels of zeros beside others belong to none."""
    array, pads = walk.of(node.operands[0]), node.attr("pad", node.attr("padding"))
    if not isinstance(pads, tuple):
        return None
    sizes = [int(str(p)) for p in pads]  # (before, after) of the last dimension, then of the one before it …
    for index in range(0, len(sizes), 2):
        dim, pair = array.ndim - 1 - index // 2, (sizes[index], sizes[index + 1])
        if pair == (0, 0) or (array.shape[dim] == 1 and dim > 1):
            continue
        if array.shape[dim] == 1 or min(pair) < 0 or node.attr("aten") != "constant_pad_nd":
            return None
        array = np.pad(array, [pair if d == dim else (0, 0) for d in range(array.ndim)], constant_values=NONE)
    return (array,)


def reduced_dims(node: Node, rank: int) -> tuple[int, ...]:
    """Return the dimensions that a reduction goes over, counted from the front."""
    dims = node.attr("dim")
    if dims is None or dims == ():
        return tuple(range(rank))
    values = dims if isinstance(dims, tuple) else (dims,)
    return tuple(int(str(d)) % rank for d in values)


def _reduction(walk: Walk, node: Node) -> tuple[Ids, ...] | None:
    source = node.operands[0]
    if len(node.operands) > 1:
        return None
    array = walk.of(source)
    dims = reduced_dims(node, array.ndim)
    if any(array.shape[d] > 1 for d in dims):
        return None
    if not node.attr("keepdim"):
        array = array.reshape([size for d, size in enumerate(array.shape) if d not in dims])
    return (array,) * len(node.outputs)


def _within(walk: Walk, node: Node) -> tuple[Ids] | None:
    """Softmax and its like along a dimension that the channels don't lie along."""
    array = walk.of(node.operands[0])
    return None if array.shape[int(str(node.attr("dim")))] > 1 else (array,)


def _pixel_shuffle(walk: Walk, node: Node) -> tuple[Ids] | None:
    """``(C·r², h, w)`` to ``(C, h·r, w·r)``: the r² channels of each output go together."""
    factor, source = int(str(node.attr("upscale_factor"))), node.operands[0]
    dim = len(walk.shape(source)) - 3
    ids = walk.along(source, dim, node)
    if ids is None:
        return None
    table = ids.reshape(-1, factor**2)
    walk.tie(table[:, :1], table)
    return (lb.spread(table[:, 0], len(walk.shape(source)), dim),)


def _pixel_unshuffle(walk: Walk, node: Node) -> tuple[Ids] | None:
    """``(C, h·r, w·r)`` to ``(C·r², h, w)``: r² numbers alike for each channel."""
    factor, source = int(str(node.attr("downscale_factor"))), node.operands[0]
    dim = len(walk.shape(source)) - 3
    ids = walk.along(source, dim, node)
    return None if ids is None else (lb.spread(np.repeat(ids, factor**2), len(walk.shape(source)), dim),)


_Rule: TypeAlias = Callable[[Walk, Node], "tuple[Ids, ...] | None"]
RULES: Mapping[str, _Rule] = MappingProxyType(
    {
        **dict.fromkeys(sorted(set(ELEMENTWISE_OPS) - _NOT_ELEMENTWISE), _elementwise),
        **dict.fromkeys(_SPATIAL.split(), _spatial),
        **dict.fromkeys(_REDUCTIONS.split(), _reduction),
        **dict.fromkeys(_WITHIN, _within),
        "conv": _convolution,
        "conv_transpose": _convolution,
        "linear": _linear,
        "batch_norm": _per_channel,
        "instance_norm": _per_channel,
        "prelu": _per_channel,
        "pad": _pad,
        "pixel_shuffle": _pixel_shuffle,
        "pixel_unshuffle": _pixel_unshuffle,
    }
)
