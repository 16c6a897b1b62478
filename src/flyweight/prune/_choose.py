"""Which units go: the least by their scores, until a share of the multiply-accumulates is left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from flyweight.count import macs
from flyweight.prune._units import Units

__all__ = ["chosen", "filter_norms", "macs_left"]


def filter_norms(units: Units, weights: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return ``(units,)``: the mean L1 norm of each unit's filters, over the mean of their layers' filters.

    Li et al., Pruning Filters for Efficient ConvNets, section 3.1; divided by the layer's mean so that layers compare.
    """
    sums, counts = np.zeros(units.count), np.zeros(units.count)
    for source in units.coupling.sources:
        own = np.arange(source.ids.start, source.ids.stop)
        for axis in units.coupling.axes:
            values = weights.get(axis.param)
            if values is None or values.ndim < 2 or not np.array_equal(axis.ids.reshape(-1), own):
                continue
            rows = _by_channel(values, axis.dim, len(axis.ids))
            norms = np.abs(rows).sum(1)
            mean = float(norms.mean())
            np.add.at(sums, units.unit_of[own], norms / mean if mean else norms)
            np.add.at(counts, units.unit_of[own], 1.0)
    scores: NDArray[np.float64] = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    return scores


def _by_channel(values: NDArray[np.float64], dim: int, blocks: int) -> NDArray[np.float64]:
    """Return ``(channels, entries)``; with blocks the first dimension is divided among them."""
    if blocks == 1:
        return np.moveaxis(values, dim, 0).reshape(values.shape[dim], -1)
    parts = np.split(values, blocks, axis=0)
    return np.concatenate([np.moveaxis(part, dim, 0).reshape(part.shape[dim], -1) for part in parts])


def macs_left(units: Units, gone: NDArray[np.bool_]) -> float:
    """Return the multiply-accumulates of the layers with weights, without the channels ``gone`` ``(channels,)``."""
    total = 0.0
    for node in units.coupling.graph.nodes:
        cost = macs(node, units.coupling.graph) or 0
        if cost:
            names = {param.name for param in node.params}
            weight = next((name for name in node.operands[1:2] if name in names), None)
            total += cost * (units.left(gone, weight) if weight else 1.0)
    return total


def chosen(units: Units, scores: NDArray[np.float64], share: float, multiple: int = 1) -> tuple[int, ...]:
    """Return the units to take away, so that about ``share`` of the multiply-accumulates is left.

    Global: the least scores go first, whatever their layer. At most nine of ten channels of a layer go.

    Args:
        units: what can go. scores: ``(units,)``; infinite ones stay.
        share: of the multiply-accumulates, 0 to 1.
        multiple: of the channels that each layer keeps, where it loses some.
    """
    order = [int(u) for u in np.argsort(scores, kind="stable") if int(u) not in units.held and np.isfinite(scores[u])]
    goal = share * macs_left(units, np.zeros(len(units.unit_of), bool))
    low, high = 0, len(order)
    while low < high:  # fewest that reach the goal
        middle = (low + high) // 2
        if _cost(units, _kept_whole(units, order[:middle], scores, multiple)) <= goal:
            high = middle
        else:
            low = middle + 1
    return _kept_whole(units, order[:low], scores, multiple)


def _cost(units: Units, gone: Iterable[int]) -> float:
    mask = np.zeros(len(units.unit_of), bool)
    mask[units.channels(list(gone))] = True
    return macs_left(units, mask)


def _kept_whole(units: Units, order: list[int], scores: NDArray[np.float64], multiple: int) -> tuple[int, ...]:
    """Put back units, the best first, where a layer would keep too few channels or no multiple of so many."""
    gone = np.isin(units.unit_of, np.asarray(order, int)) if order else np.zeros(len(units.unit_of), bool)
    changed = True
    while changed:
        changed = False
        for source in units.coupling.sources:
            own = slice(source.ids.start, source.ids.stop)
            width = source.ids.stop - source.ids.start
            while (lost := int(gone[own].sum())) and _too_few(width - lost, width, multiple):
                best = max(np.unique(units.unit_of[own][gone[own]]), key=lambda u: float(scores[u]))
                gone[units.unit_of == best] = False
                changed = True
    return tuple(int(u) for u in np.unique(units.unit_of[gone]))


def _too_few(left: int, width: int, multiple: int) -> bool:
    return left < max(1, width // 10) or left % multiple != 0
