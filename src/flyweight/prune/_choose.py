"""Which units go: the least by their scores, until a share of the multiply-accumulates or parameters is left."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from flyweight.errors import UsageError
from flyweight.prune._cost import Cost, Measure
from flyweight.prune._units import Units

__all__ = ["Goal", "chosen", "sets_of", "too_large"]

Scope: TypeAlias = Literal["global", "local", "gain"]
LEAST = 10  # a layer keeps at least one channel of so many, and one


@dataclass(frozen=True)
class Goal:
    """How much to take away, and where.

    Attributes:
        share: of the cost that is left, between 0 and 1.
        measure: of the cost: multiply-accumulates, parameters, or time, as timings of the network tell it.
        scope: ``global`` compares all units of the network; ``local`` takes the same share of every set of layers that
            lose channels together; ``gain`` compares what is lost by how much of the cost it takes away.
        multiple: of the channels that each layer keeps, where it loses some.
    """

    share: float = 0.5
    measure: Measure = "macs"
    scope: Scope = "global"
    multiple: int = 1

    def __post_init__(self) -> None:
        """Raise UsageError for values out of range."""
        if not 0 < self.share < 1 or self.multiple < 1:
            raise UsageError(
                f"pruning to share={self.share}, multiple={self.multiple}: the share must lie between 0 and 1, the "
                "multiple must be at least 1."
            )
        if self.measure not in get_args(Measure) or self.scope not in get_args(Scope):
            raise UsageError(
                f"pruning by measure='{self.measure}', scope='{self.scope}': measures are "
                f"{', '.join(get_args(Measure))}, scopes {', '.join(get_args(Scope))}."
            )


def chosen(units: Units, scores: NDArray[np.float64], goal: Goal, cost: Cost) -> tuple[int, ...]:
    """Return the units to take away, fewest that reach the goal; all that can go, where it is out of reach.

    Args:
        units: what can go.
        scores: ``(units,)``; the least go first, infinite ones stay.
        goal: how much. cost: what counts for it.
    """
    ranks = _within_sets(units, scores) if goal.scope == "local" else scores
    free = [u for u in range(units.count) if u not in units.held and np.isfinite(scores[u])]
    if goal.scope == "gain":
        order = by_gain(units, scores, free, cost, goal.multiple)
    else:
        order = np.array(sorted(free, key=lambda u: float(ranks[u])), int)
    nothing = np.zeros(len(units.unit_of), bool)
    limit, whole = goal.share * cost.left(nothing), _putting_back(units, ranks, goal.multiple)
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        if cost.left(whole(order[:middle])) <= limit:
            high = middle
        else:
            low = middle + 1
    return tuple(int(u) for u in np.unique(units.unit_of[whole(order[:low])]))


def by_gain(
    units: Units, scores: NDArray[np.float64], free: Sequence[int], cost: Cost, multiple: int
) -> NDArray[np.int64]:
    """Return ``free`` in the order of what is lost over what is gained, a step of a set of layers at a time.

    A step is as many units as take ``multiple`` channels of a layer, the least important of its set. What it gains is
    its part of the cost of the network as the steps before have left it. That only gets less as others go, so a step
    that was best when it was looked at last and still is after another look is the best of all.
    """
    channels = [np.flatnonzero(units.unit_of == unit) for unit in range(units.count)]
    gone = np.zeros(len(units.unit_of), bool)
    waiting: list[tuple[float, int, int]] = []
    steps = _steps(units, scores, free, multiple)

    def worth(number: int, at: int) -> float:
        step = steps[number][at]
        lost = sum(max(float(scores[u]), 0.0) * _tied(units, channels[u]) for u in step)
        return lost / max(cost.gain(np.concatenate([channels[u] for u in step]).tolist(), gone), 1e-12)

    for number, own in enumerate(steps):
        if own:
            heapq.heappush(waiting, (worth(number, 0), number, 0))
    order: list[int] = []
    while waiting:
        _, number, at = heapq.heappop(waiting)
        now = worth(number, at)
        if waiting and now > waiting[0][0] * (1 + 1e-9):
            heapq.heappush(waiting, (now, number, at))
            continue
        order += steps[number][at]
        for unit in steps[number][at]:
            gone[channels[unit]] = True
        if at + 1 < len(steps[number]):
            heapq.heappush(waiting, (worth(number, at + 1), number, at + 1))
    return np.array(order, int)


def _tied(units: Units, channels: NDArray[np.int64]) -> int:
    """Return how many groups of tied channels these are: a unit's score is the mean of its groups."""
    return len(np.unique(units.coupling.group_of[channels]))


def _steps(units: Units, scores: NDArray[np.float64], free: Sequence[int], multiple: int) -> list[list[list[int]]]:
    """Return each set's steps: first as many units as bring its widest layer to a multiple, then a multiple each."""
    of, can_go = sets_of(units), set(free)
    widest: dict[int, tuple[int, int]] = {}  # of a set: channels of its widest layer, and how many of them a unit takes
    for source in units.coupling.sources:
        own, amounts = np.unique(units.unit_of[source.ids.start : source.ids.stop], return_counts=True)
        for number in np.unique(of[own]):
            widest[number] = max(widest.get(number, (0, 1)), (len(source.ids), int(amounts[of[own] == number].max())))
    found = []
    for number, (width, each) in sorted(widest.items()):
        members = [int(u) for u in np.flatnonzero(of == number) if int(u) in can_go]
        members.sort(key=lambda u: float(scores[u]))
        first, size = max((width % multiple) // each, 0), max(multiple // each, 1)
        starts = [0, *range(first or size, len(members), size)]
        found.append([members[a:b] for a, b in itertools.pairwise([*starts, len(members)]) if b > a])
    return found


def too_large(units: Units) -> dict[int, str]:
    """Return units that take more of a layer than it may lose, and why they stay."""
    found: dict[int, str] = {}
    for source in units.coupling.sources:
        own, amounts = np.unique(units.unit_of[source.ids.start : source.ids.stop], return_counts=True)
        width = len(source.ids)
        for unit in own[amounts > width - max(1, width // LEAST)]:
            where = source.module or source.node
            found.setdefault(int(unit), f"those of '{where}' can only go all together")
    return found


def sets_of(units: Units) -> NDArray[np.int64]:
    """Return ``(units,)``, the set that each is in: units of one set have channels of the same layers."""
    layers: list[list[int]] = [[] for _ in range(units.count)]
    for index, source in enumerate(units.coupling.sources):
        for unit in np.unique(units.unit_of[source.ids.start : source.ids.stop]):
            layers[int(unit)].append(index)
    number: dict[tuple[int, ...], int] = {}
    return np.array([number.setdefault(tuple(own), len(number)) for own in layers], int)


def _within_sets(units: Units, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``(units,)``: which share of its set scores less."""
    of, ranks = sets_of(units), np.full(units.count, np.inf)
    for number in np.unique(of):
        own = np.flatnonzero((of == number) & np.isfinite(scores))
        ranks[own[np.argsort(scores[own], kind="stable")]] = (np.arange(own.size) + 0.5) / max(own.size, 1)
    return ranks


def _putting_back(
    units: Units, scores: NDArray[np.float64], multiple: int
) -> Callable[[NDArray[np.int64]], NDArray[np.bool_]]:
    """Return a function from units to the channels that go with them, ``(channels,)``.

    Units are put back, the best first, where a layer would keep too few channels or no multiple of so many.
    """
    spans = [slice(source.ids.start, source.ids.stop) for source in units.coupling.sources]
    tables = [_table(units.unit_of[span], scores) for span in spans]

    def channels(some: NDArray[np.int64]) -> NDArray[np.bool_]:
        gone = np.zeros(units.count, bool)
        gone[some] = True
        changed = True
        while changed:
            changed = False
            for span, (own, amounts) in zip(spans, tables, strict=True):
                back = _back(gone[own], amounts, span.stop - span.start, multiple)
                if back:
                    gone[own[np.flatnonzero(gone[own])[-back:]]] = False
                    changed = True
        return gone[units.unit_of]

    return channels


def _table(unit_of: NDArray[np.int64], scores: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return a layer's units, the least score first, and how many of its channels each has."""
    own, amounts = np.unique(unit_of, return_counts=True)
    order = np.argsort(scores[own], kind="stable")
    return own[order], amounts[order]


def _back(gone: NDArray[np.bool_], amounts: NDArray[np.int64], width: int, multiple: int) -> int:
    """Return how many of a layer's units must come back, the best first, so that it keeps a number it may have."""
    lost = amounts[gone]
    left = width - int(lost.sum())
    least = max(1, width // LEAST)
    for back, amount in enumerate([0, *_reversed(lost)]):
        left += amount
        if left == width or (left >= least and left % multiple == 0):
            return back
    return len(lost)


def _reversed(amounts: NDArray[np.int64]) -> Sequence[int]:
    return [int(amount) for amount in amounts[::-1]]
