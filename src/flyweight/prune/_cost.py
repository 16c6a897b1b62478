"""What a network costs without some channels: counted from its graph, without building it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from flyweight.count import macs
from flyweight.coupling import Coupling, ParamAxis

__all__ = ["Cost", "Measure"]

Measure: TypeAlias = Literal["macs", "params"]


@dataclass(frozen=True)
class Cost:
    """Multiply-accumulates, or parameters, of a network in parts that shrink with their channels.

    Attributes:
        fixed: of what no channel runs along.
        parts: cost, and the axes of the weight that it goes by.
    """

    fixed: float
    parts: tuple[tuple[float, tuple[ParamAxis, ...]], ...]

    @classmethod
    def of(cls, coupling: Coupling, measure: Measure = "macs") -> Cost:
        """Return the cost of a network's graph by one measure."""
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
        total = self.fixed
        for cost, axes in self.parts:
            for axis in axes:
                cost *= 1.0 - float(padded[axis.ids].mean())
            total += cost
        return total
