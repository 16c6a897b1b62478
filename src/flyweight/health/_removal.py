"""Which channels a network can do without, so that its outputs stay equal, and why the other dead ones must stay.

A layer that mixes channels (a convolution, a fully connected layer) does not need one of its inputs where that is a
constant which its bias can take over, or where it multiplies it by zero, or where nobody needs what it makes of it. A
group of tied channels goes when no layer needs one of them. Nothing is assumed of how the layers are wired.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from torch import nn

from flyweight import labels as lb
from flyweight._channels import depthwise
from flyweight.coupling import NONE, Coupling, ParamAxis
from flyweight.graph import Node
from flyweight.health._facts import Facts, Flags, Matrix, Values, Weights, channel_dim, foldable, matrix

_BIASED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)


@dataclass(frozen=True)
class Removal:
    """What can be removed.

    Attributes:
        ids: numbers of the channels, as ``flyweight.coupling`` has them; whole groups.
        folds: what to add to the bias of a layer, ``(K,)`` as it is before the removal, by the node's name.
        kept: groups that nothing needs and that stay nevertheless, and why.
    """

    ids: NDArray[np.int64]
    folds: Mapping[str, Values]
    kept: Mapping[int, str]


@dataclass(frozen=True)
class Reader:
    """A layer that mixes channels.

    Attributes:
        node: the layer. layer: what it multiplies. ids: ``(C,)``, channels that it reads. made: ``(K,)``, its own.
        dead, value: ``(C,)``, what is known of what it reads.
    """

    node: Node
    layer: Matrix
    ids: NDArray[np.int64]
    made: NDArray[np.int64]
    dead: Flags
    value: Values
    biasable: bool

    @property
    def foldable(self) -> Flags:
        """``(C,)``: constants that the bias can take over."""
        return foldable(self.value, self.layer.border or not self.biasable)

    @cached_property
    def multiplies(self) -> Flags:
        """``(K, C/groups)``: where it does more than multiply by zero or read a constant."""
        found: Flags = (self.layer.size > 0) & ~self.layer.of_inputs(self.foldable)
        return found

    def needs(self, made: Flags) -> Flags:
        """Return ``(C,)``: the inputs that it needs to make the outputs ``made`` ``(K,)``."""
        return self.layer.inputs_of(self.multiplies & made[:, None])


def readers(coupling: Coupling, facts: Mapping[str, Facts], module: nn.Module, weights: Weights) -> tuple[Reader, ...]:
    """Return the layers that mix channels, depthwise convolutions left out."""
    graph = coupling.graph
    users: dict[str, int] = {}
    for node in graph.nodes:
        for param in node.params:
            users[param.name] = users.get(param.name, 0) + 1
    found = []
    for node in graph.nodes:
        source = coupling.source(node.name)
        if node.op not in ("conv", "conv_transpose", "linear") or source is None:
            continue
        name, dim = node.operands[0], channel_dim(node, graph)
        shape, own, layer = graph.info(name).shape, facts.get(name), matrix(node, weights)
        ids = lb.along(coupling.labels.get(name, np.zeros(0, int)), shape, dim) if name in coupling.labels else None
        if layer is None or own is None or ids is None or depthwise(node, graph):
            continue
        dead, value = lb.along(own.dead, shape, dim), lb.along(own.value, shape, dim)
        if dead is None or value is None:
            dead, value = np.zeros(ids.size, bool), np.full(ids.size, np.nan)
        once = users[node.operands[1]] == 1
        found.append(Reader(node, layer, ids, np.array(source.ids), dead, value, once and _biasable(node, module)))
    return tuple(found)


def _biasable(node: Node, module: nn.Module) -> bool:
    """Return whether the layer has a bias or can be given one."""
    if len(node.operands) > 2:
        return True
    owner = node.operands[1].rpartition(".")[0]
    return isinstance(module.get_submodule(owner), _BIASED) and node.operands[1].endswith("weight")


def removal(coupling: Coupling, readers: Iterable[Reader], frozen: Mapping[int, str]) -> Removal:
    """Return what can be removed.

    Args:
        coupling: how the channels hang together.
        readers: the layers that mix them.
        frozen: groups that have to stay, and why, besides those that the coupling holds.
    """
    readers = tuple(readers)
    kept = dict(frozen)
    made = np.zeros(len(coupling.groups), bool)  # groups with filters of a layer; a parameter's own channels stay
    nodes = {node.name for node in coupling.graph.nodes}
    for source in coupling.sources:
        made[coupling.group_of[source.ids.start : source.ids.stop]] |= source.node in nodes
    while True:
        needed = needs(coupling, readers, kept)
        gone = (made & ~needed)[coupling.group_of] if coupling.group_of.size else np.zeros(0, bool)
        more = _must_stay(coupling, gone)
        if not more:
            return Removal(np.flatnonzero(gone), _folds(readers, gone), MappingProxyType(kept))
        kept |= more


def needs(coupling: Coupling, readers: Iterable[Reader], kept: Mapping[int, str]) -> Flags:
    """Return the groups that something needs: ``(groups,)``."""
    needed = np.zeros(len(coupling.groups), bool)
    needed[[*coupling.fixed, *kept]] = True
    backwards = tuple(readers)[::-1]
    while True:
        before = needed.copy()
        for reader in backwards:
            ids = reader.ids[reader.needs(needed[coupling.group_of[reader.made]])]
            needed[coupling.group_of[ids[ids != NONE]]] = True
        if np.array_equal(needed, before):
            return needed


def _must_stay(coupling: Coupling, gone: Flags) -> dict[int, str]:
    """Return groups that have to stay so that no layer is left without channels, and none with uneven blocks."""
    padded = np.append(gone, False)  # the last for what has no channel
    stay: dict[int, str] = {}
    for axis in coupling.axes:
        for row in axis.ids:
            if padded[row].all() and row.size:
                stay.setdefault(int(coupling.group_of[row[0]]), f"'{_layer(axis)}' would be left without channels")
    for balance in coupling.balances:
        lost = padded[balance.blocks].sum(1)
        for row, count in zip(balance.blocks, lost, strict=True):
            for number in row[padded[row]][int(lost.min()) : int(count)]:
                why = (
                    f"'{balance.node.module or balance.node.name}' ({balance.node.op}) needs equally many in each part"
                )
                stay.setdefault(int(coupling.group_of[number]), why)
    return stay


def _layer(axis: ParamAxis) -> str:
    return axis.param.rpartition(".")[0] or axis.param


def _folds(readers: Iterable[Reader], gone: Flags) -> Mapping[str, Values]:
    padded, folds = np.append(gone, False), {}
    for reader in readers:
        constant = padded[reader.ids] & reader.foldable & (reader.value != 0)
        if constant.any():
            values = np.where(constant, np.nan_to_num(reader.value), 0.0)
            folds[reader.node.name] = reader.layer.sums(values)
    return MappingProxyType(folds)
