"""Which channels of which layers are tied together: what one of them loses, all of its group must lose.

Every filter of a convolution or fully connected layer, and every channel of an input, has a number of its own. The
numbers travel through the graph by what the operators do: activations, norms and pooling keep them, concat, split,
flatten and channel shuffle move them, element-wise operators tie those that meet, a depthwise filter is tied to the
channel that it reads. Nothing goes by the names of layers. At the end every dimension of every parameter knows which
channels its entries belong to, which is all that a pruning method has to know in order to take channels away.

An operator whose way with channels is not known holds the channels that it reads (they can't be removed), and says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from flyweight import labels as lb
from flyweight._channels import NONE, Ids, Walk
from flyweight.graph import Graph, Node

__all__ = ["NONE", "Balance", "Channel", "Coupling", "ParamAxis", "Source", "couple", "divergence"]


@dataclass(frozen=True, slots=True)
class Source:
    """Where channels come from: a node's filters, or an input of the network.

    Attributes:
        node: name of the node, or of the input.
        module: the layer's path; for an input its name.
        ids: first and last-plus-one of its channels' numbers.
    """

    node: str
    module: str
    ids: range


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel: of which layer, and which of its filters."""

    node: str
    module: str
    index: int


@dataclass(frozen=True)
class ParamAxis:
    """One dimension of a parameter (or buffer): to which channel each of its entries belongs.

    Attributes:
        param: qualified name.
        dim: the dimension.
        ids: ``(blocks, entries)``: one row, or for the input channels of a grouped convolution one per group, since
            each block of filters reads other channels. -1 belongs to none.
    """

    param: str
    dim: int
    ids: Ids


@dataclass(frozen=True)
class Balance:
    """Blocks of channels that must all lose equally many: a grouped convolution's groups, the halves of a split.

    Attributes:
        node: whose operator asks for it.
        blocks: ``(blocks, channels)``, numbers of the channels.
    """

    node: Node
    blocks: Ids


@dataclass(frozen=True)
class Coupling:
    """The channels of a graph and how they hang together.

    Attributes:
        labels: the channel of each element of each activation, see ``flyweight.labels``; -1 where it has none.
        axes: the dimensions of parameters that channels run along.
        group_of: ``(channels,)``, the group that each channel is in; channels of one group go or stay together.
        fixed: groups that can't go, and why; the sentence names the layer.
        balances: what must lose equally many channels in each block.
    """

    graph: Graph
    sources: tuple[Source, ...]
    labels: Mapping[str, Ids]
    axes: tuple[ParamAxis, ...]
    group_of: Ids
    fixed: Mapping[int, str]
    balances: tuple[Balance, ...]

    @cached_property
    def groups(self) -> tuple[Ids, ...]:
        """The numbers of the channels in each group."""
        order = np.argsort(self.group_of, kind="stable")
        counts = np.bincount(self.group_of) if self.group_of.size else np.zeros(0, int)
        return tuple(np.split(order, np.cumsum(counts)[:-1])) if counts.size else ()

    @cached_property
    def params(self) -> Mapping[str, tuple[ParamAxis, ...]]:
        """The axes of each parameter, by its name."""
        found: dict[str, list[ParamAxis]] = {}
        for axis in self.axes:
            found.setdefault(axis.param, []).append(axis)
        return MappingProxyType({name: tuple(axes) for name, axes in found.items()})

    @cached_property
    def _starts(self) -> list[int]:
        return [source.ids.start for source in self.sources]

    def channel(self, number: int) -> Channel:
        """Return where a channel comes from."""
        source = self.sources[int(np.searchsorted(self._starts, number, side="right")) - 1]
        return Channel(source.node, source.module, int(number) - source.ids.start)

    def source(self, node: str) -> Source | None:
        """Return the channels that a node makes, None where it makes none of its own."""
        return next((source for source in self.sources if source.node == node), None)

    def closed(self, ids: Collection[int]) -> Ids:
        """Return all channels of the groups that ``ids`` are in: what has to go with them."""
        return np.flatnonzero(np.isin(self.group_of, self.group_of[np.asarray(list(ids), int)]))

    def channels_of(self, tensor: str) -> Ids | None:
        """Return the numbers along an activation's channel dimension (the second), None where they lie otherwise."""
        return lb.along(self.labels[tensor], self.graph.tensors[tensor].shape, 1 if self.labels[tensor].ndim > 1 else 0)


def couple(graph: Graph, columns: Collection[str] = ()) -> Coupling:
    """Return how the channels of ``graph`` hang together.

    Args:
        graph: the network.
        columns: nodes that write the channels into a table whose columns keep their number, as in
            ``reshape(-1, groups)``; of all others the rows do, as in ``reshape(groups, -1)``. A graph does not show
            which: ``divergence`` does.
    """
    return _coupling(graph, Walk(graph, columns=columns))


def _coupling(graph: Graph, walk: Walk) -> Coupling:
    walk.run()
    group_of = _components(walk.count, walk.tied)
    fixed: dict[int, str] = {}
    for ids, why in walk.held:
        for group in np.unique(group_of[ids]):
            fixed.setdefault(int(group), why)
    return Coupling(
        graph=graph,
        sources=tuple(Source(node, module, ids) for node, module, ids in walk.sources),
        labels=MappingProxyType(dict(walk.labels)),
        axes=tuple(ParamAxis(name, dim, ids) for (name, dim), ids in walk.axes.items()),
        group_of=group_of,
        fixed=MappingProxyType(fixed),
        balances=tuple(Balance(node, blocks) for node, blocks in walk.balances),
    )


def _components(count: int, pairs: list[tuple[Ids, Ids]]) -> Ids:
    """Return the connected component of each of ``count`` channels, numbered by their first ones."""
    root = np.arange(count)
    if pairs:
        a, b = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
        while True:
            low = np.minimum(root[a], root[b])
            new = root.copy()
            np.minimum.at(new, root[a], low)
            np.minimum.at(new, root[b], low)
            new = new[new]
            if np.array_equal(new, root):
                break
            root = new
    while not np.array_equal(root, root[root]):
        root = root[root]
    return np.unique(root, return_inverse=True)[1].reshape(-1)


def divergence(before: Coupling, removed: Collection[int], after: Graph) -> tuple[Node, str] | None:
    """Return where a network without the ``removed`` channels does something else with those that are left.

    The numbers of the channels that stay are sent through the new graph and compared at every tensor and parameter: a
    proof that no layer's code fixes a number or an order of channels (a split at a constant, a reshape).

    Args:
        before: of the network as it was.
        removed: numbers of channels; whole groups.
        after: the graph of the network without them.

    Returns:
        The first node of the old graph that does otherwise, and what is otherwise; None where all is as it should be.
    """
    gone = np.zeros(len(before.group_of) + 1, bool)  # one more: the -1 of what has no channel
    gone[np.asarray(list(removed), int)] = True
    left = {s.node: np.array([i for i in s.ids if not gone[i]], int) for s in before.sources}
    walk = Walk(after, left, before.graph, len(before.group_of))
    for old, new in zip(before.graph.nodes, after.nodes, strict=False):
        if (old.name, old.op) != (new.name, new.op):
            return old, f"operator {new.op} ('{new.name}') runs instead"
    if len(before.graph.nodes) != len(after.nodes):
        return before.graph.nodes[-1], f"{len(after.nodes)} operators run, not {len(before.graph.nodes)}"
    walk.run()
    for old, new in zip(before.graph.nodes, after.nodes, strict=True):
        for ours, theirs in zip(old.outputs, new.outputs, strict=False):  # in place it may write a view's base too
            if not _same_left(before.labels[ours], gone, walk.labels[theirs]):
                return old, "its code fixes a number or an order of channels"
    for axis in before.axes:
        ids = walk.axes.get((axis.param, axis.dim))
        if ids is None or not _same_left(axis.ids, gone, ids):
            reader = next(node for node in before.graph.nodes if any(p.name == axis.param for p in node.params))
            return reader, f"dimension {axis.dim} of '{axis.param}' does not fit what is left"
    return None


def _same_left(before: Ids, gone: NDArray[np.bool_], after: Ids) -> bool:
    left = before.reshape(-1)
    return np.array_equal(left[~gone[left]], after.reshape(-1))
