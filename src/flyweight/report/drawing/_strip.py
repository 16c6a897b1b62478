"""Boxes in rows from top to bottom, and the lines between them.

A line leaves its box below, and enters the next one above. Between two rows is a gap, in which lines run sideways in
lanes. What passes rows runs beside them, to the left or the right of all boxes, or in a place of the row that is empty.
So no line ever crosses a box. Lines of one tensor share their lane; so do lines that end in the same box, where they
come from the same side. Coordinates are in px; ``x`` 0 is the axis on which the main boxes stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, TypeAlias

from flyweight.report.drawing._cards import SHAPE_PX

Point: TypeAlias = tuple[float, float]
ENTRY, EXIT, WEST, EAST = -1, -2, -3, -4  # instead of a child: above, below, the gutters at the left and the right

LANE = 7.0  # from lane to lane
LABEL_STRIP, ARROW_STRIP, GAP_PAD = SHAPE_PX + 3, 8.0, 3.0
SIDE = 9.0  # from the boxes to the first lane beside them
PORT = 14.0  # from the middle of a box to where a line from the side enters
HEADS = 8.0  # from arrow head to arrow head
APART = 4.0  # vertical lines of different tensors are never nearer than this

_NOWHERE: Mapping[str, float] = MappingProxyType({})


class Piece(Protocol):
    """A laid-out child: how far it reaches from its axis, and where tensors enter and leave it."""

    @property
    def left(self) -> float: ...
    @property
    def right(self) -> float: ...
    @property
    def height(self) -> float: ...
    @property
    def is_box(self) -> bool: ...
    @property
    def ins(self) -> Mapping[str, float]: ...
    @property
    def outs(self) -> Mapping[str, float]: ...


@dataclass(frozen=True)
class Cell:
    """Where a child stands in its row: in which slot, and on which axis."""

    child: int
    slot: int
    x: float


@dataclass(frozen=True)
class Row:
    """Children side by side. ``slots``: the axis of every slot that a line may pass through where it is empty.

    ``above`` and ``below`` are px for the titles and borders of the modules that begin and end here.
    """

    cells: tuple[Cell, ...]
    slots: Mapping[int, float]
    above: float = 0.0
    below: float = 0.0


@dataclass(frozen=True)
class Net:
    """A tensor: who makes it, and which children read it; ``exits``: it is read below, ``east``: in a later column."""

    tensor: str
    source: int
    sinks: tuple[int, ...]
    exits: bool = False
    east: bool = False


@dataclass
class _Lane:
    """A horizontal piece of line: its ends, and where it is joined from above and from below."""

    ups: list[float] = field(default_factory=list)
    downs: list[float] = field(default_factory=list)
    level: int = 0

    @property
    def span(self) -> tuple[float, float]:
        xs = (*self.ups, *self.downs)
        return min(xs), max(xs)


_Key: TypeAlias = tuple[str, str, int, float]  # what shares a lane
_Step: TypeAlias = tuple[int, _Key, float]  # gap, lane, and the x to which it leads


@dataclass
class _Leg:
    """A line from a source to a sink: where it begins, and its way sideways in each gap that it uses."""

    net: Net
    sink: int
    start: float
    steps: list[_Step] = field(default_factory=list)


class Strip:
    """Lays rows of children out; ``plan`` decides the ways, ``wire`` their places."""

    def __init__(
        self, pieces: Sequence[Piece], rows: Sequence[Row], nets: Sequence[Net], left: float, right: float
    ) -> None:
        self.pieces, self.rows, self.nets = pieces, rows, nets
        self.table = (left, right)
        self.row_of = {cell.child: index for index, row in enumerate(rows) for cell in row.cells}
        self.cell_of = {cell.child: cell for row in rows for cell in row.cells}
        self.full = {(row, cell.slot) for row, cells in enumerate(rows) for cell in cells.cells}
        self.readers = {net.tensor: net.sinks for net in nets}
        self.ways: dict[tuple[str, int], str] = {}
        self.held: dict[tuple[int, int], str] = {}  # empty places in rows, by the tensor that runs through
        self.trunks: dict[str, tuple[str, int, int]] = {}  # tensor -> side, first and last gap
        self.trunk_x: dict[str, float] = {}
        self.ports: dict[tuple[int, str], float] = {}
        self.entries: dict[str, float] = {}
        self.exits: dict[str, float] = {}
        self.left, self.right = left, right
        self.height = 0.0
        self.row_tops: list[float] = []
        self.legs: dict[tuple[str, int, int], tuple[Point, ...]] = {}
        self._plan()

    # ---- which way each line goes --------------------------------------------------------------------------------

    def _plan(self) -> None:
        for net in self.nets:
            for sink in (*net.sinks, *([EXIT] if net.exits else [])):
                self.ways[net.tensor, sink] = self._way(net, sink)
        for net in self.nets:
            self._choose_trunk(net)
        self._place_trunks()
        self._choose_entries()
        self._choose_ports()

    def _gap_of(self, net: Net) -> int:
        """The gap below the source; gap ``i`` lies above row ``i``."""
        return self.row_of[net.source] + 1 if net.source >= 0 else 0

    def _gap_to(self, sink: int) -> int:
        return self.row_of[sink] if sink >= 0 else len(self.rows)

    def _way(self, net: Net, sink: int) -> str:
        if net.source == WEST:
            return "west"
        first, last = self._gap_of(net), self._gap_to(sink)
        if first == last:
            return "near"
        if self._in_slot(net.source) and self._hold(net, self.cell_of[net.source].slot, first, last):
            return "below source"
        if self._in_slot(sink) and self._hold(net, self.cell_of[sink].slot, first, last):
            return "above sink"
        return "trunk"

    def _in_slot(self, child: int) -> bool:
        """Whether it is a child, and not one in the middle of its row."""
        return child >= 0 and self.cell_of[child].slot in self.rows[self.row_of[child]].slots

    def _hold(self, net: Net, slot: int, first: int, last: int) -> bool:
        """Reserve a slot's places in the rows between two gaps, where all of them are empty."""
        rows = range(first, last)
        for row in rows:
            place = (row, slot)
            if slot not in self.rows[row].slots or place in self.full or self.held.get(place, net.tensor) != net.tensor:
                return False
        self.held.update(((row, slot), net.tensor) for row in rows)
        return True

    def _sinks(self, net: Net, *ways: str) -> list[int]:
        sinks = (*net.sinks, *([EXIT] if net.exits else []))
        return [sink for sink in sinks if self.ways[net.tensor, sink] in ways]

    def _choose_trunk(self, net: Net) -> None:
        far = self._sinks(net, "trunk")
        if not far:
            return
        first, last = self._gap_of(net), max(self._gap_to(sink) for sink in far)
        near = [self._out_x(net)] if net.source >= 0 else [self._axis(s) for s in self._sinks(net, "near")]
        ends = near + [self._axis(sink) for sink in far if sink >= 0]
        to_left = sum(x - self.table[0] for x in ends)
        to_right = sum(self.table[1] - x for x in ends)
        enters_aside = net.source == ENTRY and not near  # at the left it would cross the title
        side = "right" if enters_aside or to_right < to_left - 1 else "left"
        self.trunks[net.tensor] = (side, first, last)

    def _axis(self, sink: int) -> float:
        return self.cell_of[sink].x

    def _out_x(self, net: Net) -> float:
        return self.cell_of[net.source].x + self.pieces[net.source].outs[net.tensor]

    def _place_trunks(self) -> None:
        """Give each line beside the rows a lane of its side, the shortest ones nearest to the boxes."""
        taken: dict[str, list[list[tuple[int, int]]]] = {"left": [], "right": []}
        for tensor, (side, first, last) in sorted(self.trunks.items(), key=lambda item: item[1][2] - item[1][1]):
            lanes = taken[side]
            free = (i for i, spans in enumerate(lanes) if all(last < a or first > b for a, b in spans))
            lane = next(free, len(lanes))
            if lane == len(lanes):
                lanes.append([])
            lanes[lane].append((first, last))
            offset = SIDE + LANE * lane
            self.trunk_x[tensor] = self.table[0] - offset if side == "left" else self.table[1] + offset
        self.left = self.table[0] - (SIDE + LANE * (len(taken["left"]) - 1) if taken["left"] else 0.0)
        self.right = self.table[1] + (SIDE + LANE * (len(taken["right"]) - 1) if taken["right"] else 0.0)

    # ---- where lines enter ----------------------------------------------------------------------------------------

    def _choose_entries(self) -> None:
        """Choose where each tensor from above comes in: right above what reads it first."""
        wanted: list[tuple[float, str]] = []
        for net in self.nets:
            if net.source != ENTRY:
                continue
            here = self._sinks(net, "near", "above sink")
            if not here:
                self.entries[net.tensor] = self.trunk_x[net.tensor]
                continue
            xs = [self._axis(s) + self.pieces[s].ins.get(net.tensor, 0.0) for s in here]
            middle = (min(xs) + max(xs)) / 2
            several = len(xs) > 2 or min(abs(x - middle) for x in xs) < 1
            wanted.append((middle if several else min(xs, key=abs), net.tensor))
        for x, tensor in _spread(wanted, 2 * PORT):
            self.entries[tensor] = x

    def _arrival(self, net: Net, sink: int) -> float:
        """Return from which x a line comes to a sink."""
        way = self.ways[net.tensor, sink]
        if way == "west":
            return float("-inf")
        if way == "trunk":
            return self.trunk_x[net.tensor]
        if way == "above sink":
            return self._axis(sink)
        return self.entries[net.tensor] if net.source == ENTRY else self._out_x(net)

    def _choose_ports(self) -> None:
        """Choose where on a box's upper edge each line enters: in the middle, or towards the side it comes from."""
        arrivals: dict[int, list[tuple[float, str]]] = {}
        for net in self.nets:
            for sink in net.sinks:
                if self.pieces[sink].is_box:
                    arrivals.setdefault(sink, []).append((self._arrival(net, sink) - self._axis(sink), net.tensor))
                else:
                    self.ports[sink, net.tensor] = self.pieces[sink].ins[net.tensor]
        for sink, found in arrivals.items():
            self._choose_ports_of(sink, found)

    def _choose_ports_of(self, sink: int, found: Sequence[tuple[float, str]]) -> None:
        taken: list[float] = []
        aside: list[tuple[float, str]] = []
        least = 0.0 if self.rows[self.row_of[sink]].above else -self._half(sink)  # a title stands at the left
        for dx, tensor in sorted(found, key=lambda item: abs(item[0])):
            above = self.ways[tensor, sink] not in ("trunk", "west") and least <= dx <= self._half(sink)
            if above and all(abs(dx - other) >= HEADS for other in taken):
                self.ports[sink, tensor] = dx
                taken.append(dx)
            else:
                aside.append((dx, tensor))
        for side in (-1, 1):
            tensors = [tensor for dx, tensor in aside if (dx > 0 or least == 0.0) == (side > 0)]
            port = self._free_port(sink, side, taken, alone=len(tensors) == len(found))
            self.ports.update(((sink, tensor), port) for tensor in tensors)

    def _free_port(self, sink: int, side: int, taken: Sequence[float], alone: bool) -> float:
        """Return where lines from one side enter: apart from others, and not right below another line."""
        steps = (PORT, PORT * 0.6, PORT * 1.5, PORT * 0.3, PORT * 2.2)
        places = [*([0.0] if alone else []), *(side * step for step in steps if step <= self._half(sink))]
        clear = [x for x in places if all(abs(x - other) >= HEADS for other in taken)]
        return next((x for x in clear if not self._blocked(sink, x)), clear[0] if clear else side * PORT)

    def _half(self, sink: int) -> float:
        """How far from its axis a line may enter a box."""
        return min(self.pieces[sink].left, self.pieces[sink].right) - 6

    def _blocked(self, sink: int, dx: float) -> bool:
        """Whether another line leaves right above this place."""
        x, row = self._axis(sink) + dx, self.row_of[sink] - 1
        if row < 0:
            return False
        above = [
            cell.x + out
            for cell in self.rows[row].cells
            for tensor, out in self.pieces[cell.child].outs.items()
            if sink not in self.readers.get(tensor, ())
        ]
        through = [self._slot_x(row, slot) for (at, slot), _ in self.held.items() if at == row]
        return any(abs(x - other) < APART for other in (*above, *through))

    def _slot_x(self, row: int, slot: int) -> float:
        return self.rows[row].slots[slot]

    # ---- lanes and heights ----------------------------------------------------------------------------------------

    def wire(
        self, top: float = 0.0, west: Mapping[str, float] = _NOWHERE, east: Mapping[str, float] = _NOWHERE
    ) -> None:
        """Place rows and lines from ``top`` on; ``west`` and ``east`` say where lines come from and go to beside."""
        legs = [leg for net in self.nets for leg in self._legs_of(net, west, east)]
        lanes = self._lanes(legs)
        while any(_sidestep(legs, number, gap) for number, gap in enumerate(lanes)):
            lanes = self._lanes(legs)
        for gap in lanes:
            _assign(gap)
        lane_tops = self._place_rows(top, lanes)
        for leg in legs:
            self.legs[leg.net.tensor, leg.net.source, leg.sink] = self._corners(leg, lanes, lane_tops, top)

    def _legs_of(self, net: Net, west: Mapping[str, float], east: Mapping[str, float]) -> Iterator[_Leg]:
        start = (
            west[net.tensor]
            if net.source == WEST
            else self.entries[net.tensor]
            if net.source == ENTRY
            else self._out_x(net)
        )
        first = self._gap_of(net)
        uses = len(self._sinks(net, "near", "above sink", "trunk")) + net.east
        own: _Key = ("net", net.tensor, 0, 0.0)
        for sink in (*net.sinks, *([EXIT] if net.exits else [])):
            way, leg = self.ways[net.tensor, sink], _Leg(net, sink, start)
            x = self._axis(sink) + self.ports[sink, net.tensor] if sink >= 0 else 0.0
            into: _Key = ("sink", "", sink, x)
            if way == "near" and sink >= 0:
                leg.steps.append((first, own if uses > 1 else into, x))
            elif way == "above sink":
                leg.steps.append((first, own, x))
            elif way == "west" or (way == "below source" and sink >= 0):
                leg.steps.append((self._gap_to(sink), into, x))
            elif way == "trunk":
                leg.steps.append((first, own, self.trunk_x[net.tensor]))
                if sink >= 0:
                    leg.steps.append((self._gap_to(sink), into, x))
            if sink == EXIT:
                self.exits[net.tensor] = leg.steps[-1][2] if leg.steps else start
            yield leg
        if net.east:
            yield _Leg(net, EAST, start, [(first, own, east[net.tensor])])

    def _lanes(self, legs: Sequence[_Leg]) -> list[dict[_Key, _Lane]]:
        """Return the lines that run sideways in each gap."""
        lanes: list[dict[_Key, _Lane]] = [{} for _ in range(len(self.rows) + 1)]
        for leg in legs:
            x = leg.start
            for gap, key, to in leg.steps:
                if abs(to - x) > 0.01:
                    lane = lanes[gap].setdefault(key, _Lane())
                    lane.ups.append(x)
                    lane.downs.append(to)
                x = to
        return lanes

    def _place_rows(self, top: float, lanes: Sequence[Mapping[_Key, _Lane]]) -> list[float]:
        """Set the top of every row; return the height of the first lane in every gap."""
        y, lane_tops = top, []
        for index in range(len(self.rows) + 1):
            before = self.rows[index - 1] if index else None
            if before:
                y += self.foot(before) + before.below
            count = 1 + max((lane.level for lane in lanes[index].values()), default=-1)
            y += GAP_PAD if count else 0.0
            lane_tops.append(y + LANE / 2)
            y += count * LANE + (GAP_PAD if before else 0.0)
            if index < len(self.rows):
                row = self.rows[index]
                y += row.above + ARROW_STRIP
                self.row_tops.append(y)
                y += max(self.pieces[cell.child].height for cell in row.cells)
        self.height = y
        return lane_tops

    def foot(self, row: Row) -> float:
        """Return the room below a row: for shapes, where a box reaches as far down as the row does."""
        tall = max(self.pieces[cell.child].height for cell in row.cells)
        boxes = [self.pieces[cell.child] for cell in row.cells if self.pieces[cell.child].is_box]
        return LABEL_STRIP if any(box.outs and box.height + LABEL_STRIP > tall for box in boxes) else GAP_PAD

    def _corners(
        self, leg: _Leg, lanes: Sequence[Mapping[_Key, _Lane]], lane_tops: Sequence[float], top: float
    ) -> tuple[Point, ...]:
        x, points = leg.start, list[Point]()
        if leg.net.source >= 0:
            points.append((x, self._bottom(leg.net.source)))
        elif leg.net.source == ENTRY:
            points.append((x, top))
        for gap, key, to in leg.steps:
            if abs(to - x) > 0.01:
                y = lane_tops[gap] + LANE * lanes[gap][key].level
                points += [(x, y), (to, y)]
                x = to
        if leg.sink >= 0:
            points.append((x, self.row_tops[self.row_of[leg.sink]]))
        elif leg.sink == EXIT:
            points.append((x, self.height))
        return tuple(points)

    def _bottom(self, child: int) -> float:
        return self.row_tops[self.row_of[child]] + self.pieces[child].height


def _spread(wanted: Sequence[tuple[float, str]], apart: float) -> Iterator[tuple[float, str]]:
    """Yield places at least ``apart`` from one another, near the wanted ones."""
    groups: list[list[tuple[float, str]]] = []
    for x, tensor in sorted(wanted):
        if groups and x - groups[-1][0][0] < APART:
            groups[-1].append((x, tensor))
        else:
            groups.append([(x, tensor)])
    for group in groups:
        for index, (x, tensor) in enumerate(group):
            yield x + (index - (len(group) - 1) / 2) * apart, tensor


def _sidestep(legs: Sequence[_Leg], number: int, gap: Mapping[_Key, _Lane]) -> bool:
    """Where lines change places, so that each would have to lie above the other, let one come down beside its end.

    Returns:
        Whether a line was changed.
    """
    waiting = dict(gap)
    while free := [
        k for k, low in waiting.items() if not any(_meets(high, low) for high in waiting.values() if high is not low)
    ]:
        for key in free:
            del waiting[key]
    for key, low in waiting.items():
        blocked = {x for high in waiting.values() if high is not low for x in low.downs if _near(x, high.ups)}
        taken = [x for lane in gap.values() for x in (*lane.ups, *lane.downs)]
        for x in sorted(blocked):
            aside = next((x + dx for dx in _SIDESTEPS if not _near(x + dx, taken)), None)
            if aside is not None:
                for leg in legs:
                    leg.steps = [part for step in leg.steps for part in _stepped(step, (number, key, x), aside)]
                return True
    return False


_SIDESTEPS = (LANE, -LANE, 2 * LANE, -2 * LANE, 3 * LANE, -3 * LANE)


def _stepped(step: _Step, wanted: _Step, aside: float) -> tuple[_Step, ...]:
    if step != wanted:
        return (step,)
    gap, _, x = step
    return (gap, step[1], aside), (gap, ("aside", "", 0, x), x)


def _near(x: float, others: Sequence[float]) -> bool:
    return any(abs(x - other) < APART for other in others)


def _assign(gap: Mapping[_Key, _Lane]) -> None:
    """Give each line of a gap a level, so that none lies on another and few cross.

    Where a line comes down at the place at which another goes on downwards, the first must lie above the second.
    """
    waiting = sorted(gap.values(), key=_order)
    above = {id(low): [high for high in waiting if high is not low and _meets(high, low)] for low in waiting}
    placed: list[_Lane] = []
    while waiting:
        done = {id(lane) for lane in placed}
        free = [lane for lane in waiting if all(id(high) in done for high in above[id(lane)])]
        lane = (free or waiting)[0]
        lane.level = 1 + max((high.level for high in above[id(lane)] if id(high) in done), default=-1)
        while any(other.level == lane.level and _overlap(other, lane) for other in placed):
            lane.level += 1
        placed.append(lane)
        waiting.remove(lane)


def _order(lane: _Lane) -> tuple[int, float]:
    """Lines to the right from the rightmost on, then lines to the left from the leftmost on: then fewest cross."""
    up, down = min(lane.ups, default=0.0), max(lane.downs, default=0.0)
    to_right = down > up
    return (0, -up) if to_right else (1, up)


def _meets(high: _Lane, low: _Lane) -> bool:
    return any(_near(down, high.ups) for down in low.downs)


def _overlap(one: _Lane, other: _Lane) -> bool:
    return one.span[0] - LANE < other.span[1] and other.span[0] - LANE < one.span[1]
