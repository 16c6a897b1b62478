"""Units of pruning: small sets of channels of which any may go, alone or with any others.

Channels that are tied go together (``flyweight.coupling``). Where blocks of channels must lose equally many (the groups
of a convolution, the halves of a chunk), groups of tied channels are joined until each block loses equally many: taken
one after the other, each time one that best fills the blocks up to the fullest, until they are even; that is a unit,
and the next begins. Of those that fill them equally well the least important comes first, so that the unimportant meet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flyweight.coupling import NONE, Coupling

__all__ = ["Units", "units_of"]

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Units:
    """What can be pruned of a network.

    Attributes:
        coupling: of its graph.
        unit_of: ``(channels,)``, the unit that each channel is in.
        held: units that can't go, and why; the sentence names the layer.
    """

    coupling: Coupling
    unit_of: Ints
    held: Mapping[int, str]

    @property
    def count(self) -> int:
        """The number of units."""
        return int(self.unit_of.max()) + 1 if self.unit_of.size else 0

    def channels(self, units: Collection[int]) -> Ints:
        """Return the numbers of the channels in some units."""
        return np.flatnonzero(np.isin(self.unit_of, np.asarray(list(units), int)))

    def mask(self, units: Collection[int]) -> NDArray[np.bool_]:
        """Return ``(channels,)``: whether each is in some of ``units``."""
        return np.isin(self.unit_of, np.asarray(list(units), int))


def units_of(coupling: Coupling, scores: NDArray[np.float64] | None = None) -> Units:
    """Return the units of a network: every subset of those that are not held can be taken away.

    Args:
        coupling: of its graph.
        scores: ``(groups,)``, how important each of the coupling's groups is; they are joined by that.
    """
    groups = len(coupling.groups)
    held = _held(coupling)
    order = np.zeros(groups) if scores is None else np.nan_to_num(scores, nan=0.0, posinf=0.0)
    demands = _demands(coupling)
    unit_of = np.arange(groups)
    for members, own in _components(demands, groups):
        free = np.array([g for g in members if g not in held], int)
        parts = [np.array([place]) for place in range(free.size)]
        counts = [_counts(demands[i], free, groups) for i in own]
        for index in range(len(own)):
            made = _even(parts, counts[index:], order[free])
            parts = [part for part, even in made if even]
            for part in (part for part, even in made if not even):
                held |= dict.fromkeys(map(int, free[part]), _why_uneven(coupling, members))
        for part in parts:
            unit_of[free[part]] = free[part[0]]
    number = np.unique(unit_of, return_inverse=True)[1].reshape(-1)
    return Units(coupling, number[coupling.group_of], {int(number[g]): why for g, why in held.items()})


def _held(coupling: Coupling) -> dict[int, str]:
    """Return the groups that can't go: those the coupling holds, and those that no layer makes."""
    held = dict(coupling.fixed)
    nodes = {node.name for node in coupling.graph.nodes}
    made = np.zeros(len(coupling.groups), bool)
    for source in coupling.sources:
        if source.node in nodes:
            made[coupling.group_of[source.ids.start : source.ids.stop]] = True
    for group in np.flatnonzero(~made):
        held.setdefault(int(group), "no layer makes them")
    for balance in coupling.balances:  # a block with something else in it can't be counted
        partly = (balance.blocks == NONE).any()
        for number in np.unique(balance.blocks) if partly else ():
            if number != NONE:
                where = balance.node.module or balance.node.name
                held.setdefault(int(coupling.group_of[number]), f"'{where}' reads something beside channels")
    return held


def _demands(coupling: Coupling) -> list[Ints]:
    """Return ``(blocks, channels)``, as groups, of each balance once."""
    seen: dict[tuple[int, bytes], Ints] = {}
    for balance in coupling.balances:
        if not (balance.blocks == NONE).any():
            blocks = np.sort(coupling.group_of[balance.blocks], axis=1)
            if (blocks != blocks[0]).any():  # else whatever goes, they lose equally many
                seen.setdefault((len(blocks), blocks.tobytes()), blocks)
    return list(seen.values())


def _components(demands: list[Ints], groups: int) -> Iterator[tuple[Ints, list[int]]]:
    """Yield groups that demands hold together, and the numbers of those demands."""
    root = np.arange(groups)
    for blocks in demands:
        joined = np.unique(root[np.unique(blocks)])
        root[np.isin(root, joined)] = joined[0]
    of_demand = [int(root[blocks[0, 0]]) for blocks in demands]
    asked = np.unique(np.concatenate([blocks.reshape(-1) for blocks in demands])) if demands else np.zeros(0, int)
    for first in dict.fromkeys(of_demand):
        yield asked[root[asked] == first], [i for i, own in enumerate(of_demand) if own == first]


def _counts(blocks: Ints, free: Ints, groups: int) -> Ints:
    """Return ``(free groups, blocks)``: how many more than the blocks' mean a group takes of each, times the blocks."""
    place = np.full(groups, free.size)
    place[free] = np.arange(free.size)
    counts = np.zeros((len(blocks), free.size + 1), np.int64)  # the last place: held ones
    for row, block in enumerate(blocks):
        np.add.at(counts[row], place[block], 1)
    found: Ints = (len(blocks) * counts - counts.sum(0))[:, :-1].T
    return found


def _even(parts: list[Ints], demands: list[Ints], scores: NDArray[np.float64]) -> list[tuple[Ints, bool]]:
    """Join parts until the first of ``demands`` has equally many of each block; the later ones decide among equals.

    Returns the joined parts, and whether they are even: the last may not be, where something is held.
    """
    first = np.stack([demands[0][part].sum(0) for part in parts]) if parts else np.zeros((0, 1), np.int64)
    later = [np.stack([d[part].sum(0) for part in parts]) for d in demands[1:]] if parts else []
    rest = np.concatenate(later, axis=1) if later else np.zeros((len(parts), 0), np.int64)
    importance = np.array([float(scores[part].mean()) for part in parts])
    even = [(part, True) for part, own in zip(parts, first, strict=True) if not own.any()]
    left = np.array([i for i in np.argsort(importance, kind="stable") if first[i].any()], int)
    while left.size:
        taken = [int(left[0])]
        left = left[1:]
        sums, beside = first[taken[0]].copy(), rest[taken[0]].copy()
        while sums.any() and left.size:
            trial, there = first[left] + sums, np.abs(rest[left] + beside).sum(1)
            most = trial.max(1)  # above the mean; blocks are filled up to the fullest, one after the other
            best = int(np.lexsort((there, (trial < most[:, None]).sum(1), most))[0])  # among equals the least important
            chosen = int(left[best])
            sums, beside = sums + first[chosen], beside + rest[chosen]
            taken.append(chosen)
            left = np.delete(left, best)
        even.append((np.concatenate([parts[i] for i in taken]), not sums.any()))
    return even


def _why_uneven(coupling: Coupling, members: Ints) -> str:
    for balance in coupling.balances:
        if np.isin(coupling.group_of[balance.blocks.reshape(-1)[:1]], members).any():
            where = balance.node.module or balance.node.name
            return f"'{where}' ({balance.node.op}) needs equally many in each part, and some of them must stay"
    return "equally many must go of each part, and some of them must stay"
