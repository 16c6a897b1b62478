"""What a network costs without some channels: counted from its graph, without building it."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flyweight.count import macs
from flyweight.coupling import Coupling, ParamAxis

__all__ = ["Cost", "Measure"]

Measure: TypeAlias = Literal["macs", "params", "time"]
Part: TypeAlias = tuple[float, tuple[ParamAxis, ...]]


@dataclass(frozen=True)
class Cost:
    """Multiply-accumulates, parameters, or modelled µs of a network in parts that shrink with their channels.

    Attributes:
        fixed: of what no channel runs along.
        parts: cost, and the axes of the weight that it goes by.
    """

    fixed: float
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, coupling: Coupling, measure: Measure = "macs") -> Cost:
        """Return what a network's graph costs, counted: multiply-accumulates or parameters."""
        graph, fixed, parts = coupling.graph, 0.0, []
        if measure == "params":
            infos = {p.name: p for node in graph.nodes for p in node.params if p.kind == "parameter"}
            costs = [(float(math.prod(info.shape)), name) for name, info in infos.items()]
        else:
            costs = []
            for node in graph.nodes:
                names = {param.name for param in node.params}
                weight = next((name for name in node.operands[1:2] if name in names), "")
                costs.append((float(macs(node, graph) or 0), weight))
        for cost, name in costs:
            axes = coupling.params.get(name, ())
            if not axes:
                fixed += cost
            elif cost:
                parts.append((cost, axes))
        return cls(fixed, tuple(parts))

    def left(self, gone: NDArray[np.bool_]) -> float:
        """Return the cost without the channels ``gone`` ``(channels,)``."""
        padded = np.append(gone, False)  # the last: what has no channel
        return self.fixed + sum(_left(part, padded) for part in self.parts)

    def gain(self, lost: Collection[int], gone: NDArray[np.bool_]) -> float:
        """Return by how much less the network costs without the channels ``lost`` too, ``gone`` being gone already."""
        before = np.append(gone, False)
        after = before.copy()
        after[list(lost)] = True
        touched = sorted({number for channel in lost for number in self._parts_of.get(channel, ())})
        return sum(_left(self.parts[i], before) - _left(self.parts[i], after) for i in touched)

    @cached_property
    def _parts_of(self) -> Mapping[int, Collection[int]]:
        """The numbers of the parts that each channel runs along."""
        found: dict[int, set[int]] = {}
        for number, (_, axes) in enumerate(self.parts):
            for axis in axes:
                for channel in np.unique(axis.ids):
                    found.setdefault(int(channel), set()).add(number)
        return found


def _left(part: Part, padded: NDArray[np.bool_]) -> float:
    cost, axes = part
    for axis in axes:
        cost *= 1.0 - float(padded[axis.ids].mean())
    return cost
