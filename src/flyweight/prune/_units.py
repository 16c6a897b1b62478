"""Units of pruning: the smallest sets of channels of which any may go, alone or with any others.

Channels that are tied go together (``flyweight.coupling``). Where blocks of channels must lose equally many (the groups
of a convolution, the halves of a chunk), those at the same place of each block go together too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from flyweight.coupling import NONE, Coupling

__all__ = ["Units", "units_of"]


@dataclass(frozen=True)
class Units:
    """What can be pruned of a network.

    Attributes:
        coupling: of its graph.
        unit_of: ``(channels,)``, the unit that each channel is in.
        held: units that can't go, and why; the sentence names the layer.
    """

    coupling: Coupling
    unit_of: NDArray[np.int64]
    held: Mapping[int, str]

    @property
    def count(self) -> int:
        """The number of units."""
        return int(self.unit_of.max()) + 1 if self.unit_of.size else 0

    def channels(self, units: Collection[int]) -> NDArray[np.int64]:
        """Return the numbers of the channels in some units."""
        return np.flatnonzero(np.isin(self.unit_of, np.asarray(list(units), int)))

    @cached_property
    def shares(self) -> Mapping[str, float]:
        """The parameters that channels run along, and how many entries each has."""
        infos = {p.name: p for node in self.coupling.graph.nodes for p in node.params}
        return {name: float(np.prod(info.shape)) for name, info in infos.items()}

    def left(self, gone: NDArray[np.bool_], name: str) -> float:
        """Return the share of a parameter's entries that is left without the channels ``gone`` ``(channels,)``."""
        padded = np.append(gone, False)  # the last: what has no channel
        share = 1.0
        for axis in self.coupling.params.get(name, ()):
            share *= float((~padded[axis.ids]).mean())
        return share


def units_of(coupling: Coupling) -> Units:
    """Return the units of a network: every subset of those that are not held can be taken away."""
    root = coupling.group_of.copy()
    changed = True
    while changed:
        changed = False
        for balance in coupling.balances:
            blocks = balance.blocks
            for column in range(blocks.shape[1]):
                ids = blocks[:, column]
                tied = np.unique(root[ids[ids != NONE]])
                if tied.size > 1:
                    root[np.isin(root, tied)] = tied[0]
                    changed = True
    unit_of = np.unique(root, return_inverse=True)[1].reshape(-1)
    held: dict[int, str] = {}
    for group, why in coupling.fixed.items():
        for unit in np.unique(unit_of[coupling.groups[group]]):
            held.setdefault(int(unit), why)
    for balance in coupling.balances:
        where = balance.node.module or balance.node.name
        partly = (balance.blocks == NONE).any(0)
        for number in np.unique(balance.blocks[:, partly]):
            if number != NONE:
                held.setdefault(int(unit_of[number]), f"'{where}' reads something beside channels")
    nodes = {node.name for node in coupling.graph.nodes}
    filters = np.zeros(int(unit_of.max()) + 1 if unit_of.size else 0, bool)
    for source in coupling.sources:
        if source.node in nodes:
            filters[unit_of[source.ids.start : source.ids.stop]] = True
    for unit in np.flatnonzero(~filters):
        held.setdefault(int(unit), "no layer makes them")
    return Units(coupling, unit_of, held)
