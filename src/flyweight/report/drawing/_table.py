"""One module's inside: its parts in rows and slots, the lines between them, and the frame around them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TypeAlias

from flyweight.report.drawing import _text
from flyweight.report.drawing._cards import FRAME_PX, Card, shape_width
from flyweight.report.drawing._strip import ENTRY, Cell, Net, Row, Strip
from flyweight.report.drawing._units import Group, Part, Unit, units_in

SLOT_GAP = 18.0
WIDEST_TABLE = 900.0  # more parallel branches than fit here stand in two rows
HEADER, FRAME_PAD = FRAME_PX + 7, 8.0
TITLE_X, TITLE_GAP = 6.0, 7.0


@dataclass(frozen=True)
class Leaf:
    """A unit's box, ``width`` px wide; ``outs`` says where its tensors leave it, from the middle."""

    unit: Unit
    card: Card
    width: float
    outs: Mapping[str, float]
    reach: float  # to the right of the middle: the box, or the shape written below it

    @property
    def left(self) -> float:
        """Half the width."""
        return self.width / 2

    @property
    def right(self) -> float:
        """Half the width."""
        return self.width / 2

    @property
    def height(self) -> float:
        """Height of the card."""
        return self.card.height

    @property
    def is_box(self) -> bool:
        """It is a box, whose lines enter where they like."""
        return True

    @property
    def ins(self) -> Mapping[str, float]:
        """No place is fixed."""
        return MappingProxyType({})


@dataclass(frozen=True)
class Block:
    """A module's frame with its parts laid out in it; x is counted from its axis."""

    group: Group
    pieces: tuple[Placeable, ...]
    strip: Strip
    title: str
    figure: str
    left: float
    right: float
    height: float

    @property
    def reach(self) -> float:
        """How far it reaches to the right."""
        return self.right

    @property
    def is_box(self) -> bool:
        """It is a frame: lines enter where its parts want them."""
        return False

    @property
    def ins(self) -> Mapping[str, float]:
        """Where each tensor enters."""
        return self.strip.entries

    @property
    def outs(self) -> Mapping[str, float]:
        """Where each tensor leaves."""
        return self.strip.exits


Placeable: TypeAlias = "Leaf | Block"


@dataclass(frozen=True)
class Reads:
    """Who reads what, over a whole diagram: for each tensor the places of its readers in execution order."""

    units: tuple[Unit, ...]

    @cached_property
    def place(self) -> Mapping[int, int]:
        """The place of every unit in execution order, by its id."""
        return {id(unit): index for index, unit in enumerate(self.units)}

    @cached_property
    def readers(self) -> Mapping[str, tuple[int, ...]]:
        """The places of the units that read each tensor."""
        found: dict[str, list[int]] = {}
        for index, unit in enumerate(self.units):
            for name in unit.inputs:
                found.setdefault(name, []).append(index)
        return {name: tuple(places) for name, places in found.items()}

    def leaves(self, name: str, first: int, last: int) -> bool:
        """Whether a tensor is read outside of the units from place ``first`` to ``last``."""
        return any(not first <= reader <= last for reader in self.readers.get(name, ()))


def nets_of(parts: Sequence[Part], reads: Reads) -> tuple[Net, ...]:
    """Return the tensors that pass between parts, into them from above, or out of them, in execution order."""
    members = [list(units_in(part)) for part in parts]
    source = {name: i for i, units in enumerate(members) for unit in units for name in unit.outputs}
    sinks: dict[str, dict[int, None]] = {}
    for index, units in enumerate(members):
        for unit in units:
            for name in unit.inputs:
                if source.get(name, ENTRY) != index:
                    sinks.setdefault(name, {})[index] = None
    first, last = (reads.place[id(unit)] for unit in (members[0][0], members[-1][-1]))
    names = dict.fromkeys((*(n for n in sinks if n not in source), *source))
    nets = (
        Net(
            name,
            source.get(name, ENTRY),
            tuple(sinks.get(name, ())),
            name in source and reads.leaves(name, first, last),
        )
        for name in names
    )
    return tuple(net for net in nets if net.sinks or net.exits)


def leaf(unit: Unit, card: Card, shapes: Mapping[str, tuple[int, ...]], reads: Reads) -> Leaf:
    """Return a unit's box, wide enough for its text and for the shapes that are written below it."""
    made = [name for name in unit.outputs if reads.readers.get(name)]
    labels = [shape_width(shapes[name]) for name in made]
    if len(made) < 2:
        outs = dict.fromkeys(made, 0.0)
        return Leaf(unit, card, card.width, outs, max(card.width / 2, *labels, 0.0))
    pitch = max(labels) + 8
    width = max(card.width, pitch * len(made))
    outs = {name: -width / 2 + 12 + (width - 12) / len(made) * index for index, name in enumerate(made)}
    return Leaf(unit, card, width, outs, width / 2)


# ---- rows and slots -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arrangement:
    """The children of each row with their slots; ``centred`` rows hold one child that all branches meet in."""

    rows: tuple[tuple[tuple[int, int], ...], ...]
    centred: frozenset[int]


def arrange(pieces: Sequence[Placeable], nets: Sequence[Net]) -> Arrangement:
    """Put children into rows, each right below what it reads, and side by side where they don't depend on each other.

    A child that reads only what comes from above stands right above what reads it. A child stands in the slot of the
    one it reads, so that a branch runs straight down. Where the table gets too wide, a new band begins below.
    """
    before: list[list[int]] = [[] for _ in pieces]
    after: list[list[int]] = [[] for _ in pieces]
    for net in nets:
        for sink in net.sinks if net.source >= 0 else ():
            before[sink].append(net.source)
            after[net.source].append(sink)
    latest = _latest_rows(before, after)
    grid = _Grid([piece.left + piece.reach for piece in pieces], after)
    for child in range(len(pieces)):
        first = max((grid.row[p] + 1 for p in before[child]), default=latest[child])
        grid.put(child, first, before[child])
    rows: list[list[tuple[int, int]]] = [[] for _ in range(max(grid.row.values()) + 1)]
    for child, row in grid.row.items():
        rows[row].append((child, grid.slot[child]))
    rows = [sorted(row, key=lambda cell: cell[1]) for row in rows if row]
    return Arrangement(tuple(map(tuple, rows)), _centred(rows, before, after))


def _latest_rows(before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> list[int]:
    """Return the lowest row that each child may stand in without making the table longer."""
    first: list[int] = []
    for child in range(len(before)):
        first.append(max((first[p] + 1 for p in before[child]), default=0))
    latest = [max(first)] * len(before)  # what leaves the table, at its end
    for child in reversed(range(len(before))):
        latest[child] = min((latest[s] - 1 for s in after[child]), default=latest[child])
    return latest


class _Grid:
    """Finds a free slot for one child after the other, without making the table too wide."""

    def __init__(self, widths: Sequence[float], after: Sequence[Sequence[int]]) -> None:
        self.widths, self.after = widths, after
        self.row: dict[int, int] = {}
        self.slot: dict[int, int] = {}
        self.slots: list[dict[int, int]] = []  # for each slot: its child by row
        self.slot_widths: list[float] = []
        self.floor = 0  # the row at which the latest band begins

    def put(self, child: int, row: int, before: Sequence[int]) -> None:
        slot = self._own(row, before)
        if slot is None:
            row = max(row, self.floor)
            slot = self._closed(row)
        if slot is None and self.slots and sum(self.slot_widths) + self.widths[child] > WIDEST_TABLE:
            row = self.floor = max(row, *(max(cells) + 1 for cells in self.slots))  # a new band, below all
            slot = 0
        if slot is None:
            slot = len(self.slots)
            self.slots.append({})
            self.slot_widths.append(0.0)
        self.slots[slot][row] = child
        self.slot_widths[slot] = max(self.slot_widths[slot], self.widths[child])
        self.row[child], self.slot[child] = row, slot

    def _own(self, row: int, before: Sequence[int]) -> int | None:
        """Return the slot of one that the child reads, if nothing stands below that yet."""
        slots = {self.slot[p] for p in before if max(self.slots[self.slot[p]]) == self.row[p] < row}
        return min(slots, default=None)

    def _closed(self, row: int) -> int | None:
        """Return a slot that is free from ``row`` on, best one through which no line will run down."""
        free = [slot for slot, cells in enumerate(self.slots) if max(cells) < row]
        closed = [slot for slot in free if not self._continues(slot)]
        return next(iter(closed or (free if self.floor else [])), None)

    def _continues(self, slot: int) -> bool:
        """Whether what stands lowest in a slot is still to be read by one that has no place yet."""
        lowest = self.slots[slot][max(self.slots[slot])]
        return any(reader not in self.row for reader in self.after[lowest])


def _centred(
    rows: Sequence[Sequence[tuple[int, int]]], before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]
) -> frozenset[int]:
    """Return the rows whose only child is where three branches or more begin or end, or in line with it."""
    slots = {child: slot for row in rows for child, slot in row}
    if len({slot for row in rows if len(row) > 1 for _, slot in row}) < 3:
        return frozenset()
    found: set[int] = set()
    home = {child: index for index, row in enumerate(rows) for child, _ in row}
    alone = {index for index, row in enumerate(rows) if len(row) == 1}
    for index in alone:
        child = rows[index][0][0]
        if max(len({slots[c] for c in side[child]}) for side in (before, after)) >= 3:
            found.add(index)
    for order, side in ((sorted(alone), before), (sorted(alone, reverse=True), after)):
        for index in order:
            near = side[rows[index][0][0]]
            if near and all(home[c] in found for c in near):
                found.add(index)
    return frozenset(found)


@dataclass(frozen=True)
class Axes:
    """Where the slots of some rows stand: each slot's axis, and how far the rows reach to the left and the right."""

    slots: Mapping[int, float]
    left: float
    right: float


def axes_of(pieces: Sequence[Placeable], arrangement: Arrangement, rows: Iterable[int]) -> Axes:
    """Return the axes of the slots that the given rows use. 0 is where the main branch, or a centred row, stands."""
    rows = tuple(rows)
    reach: dict[int, tuple[float, float]] = {}
    for row in rows:
        for child, slot in () if row in arrangement.centred else arrangement.rows[row]:
            left, right = reach.get(slot, (0.0, 0.0))
            reach[slot] = max(left, pieces[child].left), max(right, pieces[child].reach)
    slots: dict[int, float] = {}
    x = 0.0
    for slot in sorted(reach):
        slots[slot] = x + reach[slot][0]
        x += sum(reach[slot]) + SLOT_GAP
    centred = [pieces[arrangement.rows[row][0][0]] for row in rows if row in arrangement.centred]
    first, last = min(slots.values(), default=0.0), max(slots.values(), default=0.0)
    origin = (first + last) / 2 if centred else first
    lefts = [origin, *(piece.left for piece in centred)]
    rights = [x - SLOT_GAP - origin if slots else 0.0, *(piece.reach for piece in centred)]
    return Axes({slot: at - origin for slot, at in slots.items()}, max(lefts), max(rights))


def stretched(pieces: Sequence[Placeable], arrangement: Arrangement, rows: Iterable[int]) -> dict[int, Leaf]:
    """Return the boxes that are made as wide as the widest in their slot; small ones stay as they are."""
    by_slot: dict[int, list[int]] = {}
    for row in rows:
        for child, slot in arrangement.rows[row]:
            piece = pieces[child]
            if isinstance(piece, Leaf) and not piece.card.small and len(piece.outs) < 2:
                by_slot.setdefault(-1 if row in arrangement.centred else slot, []).append(child)
    found: dict[int, Leaf] = {}
    for children in by_slot.values():
        boxes = {child: piece for child in children if isinstance(piece := pieces[child], Leaf)}
        width = max(piece.width for piece in boxes.values())
        found |= {child: replace(p, width=width, reach=max(p.reach, width / 2)) for child, p in boxes.items()}
    return found


# ---- a module in its frame ----------------------------------------------------------------------------------------


def titled(group: Group, above: str) -> str:
    """Return a frame's title: the module's name within the one around it, and how many equal ones it stands for."""
    name = group.path.removeprefix(f"{above}.") if above else group.path
    if group.times == 1:
        return name
    last = group.last.removeprefix(f"{above}.") if above else group.last
    return f"{name} … {last}  ×{group.times}"


def block(group: Group, pieces: Sequence[Placeable], reads: Reads, above: str, figure: str) -> Block:
    """Lay a module out.

    Args:
        pieces: its children, laid out. above: the module around it, which its title leaves out.
        figure: what it costs, in words; stands in its title line where there is room.
    """
    nets = nets_of(group.children, reads)
    arrangement = arrange(pieces, nets)
    every = range(len(arrangement.rows))
    wide = stretched(pieces, arrangement, every)
    pieces = tuple(wide.get(child, piece) for child, piece in enumerate(pieces))
    axes = axes_of(pieces, arrangement, every)
    rows = [
        Row(
            tuple(Cell(child, slot, 0.0 if index in arrangement.centred else axes.slots[slot]) for child, slot in row),
            {} if index in arrangement.centred else axes.slots,
        )
        for index, row in enumerate(arrangement.rows)
    ]
    strip = Strip(pieces, rows, nets, -axes.left, axes.right)
    strip.wire(top=HEADER)
    title = titled(group, above)
    entry = min(strip.entries.values(), default=0.0)
    title_width = _text.width(title, FRAME_PX, bold=True)
    left = max(FRAME_PAD - strip.left, TITLE_X + title_width + TITLE_GAP - entry)
    return Block(group, pieces, strip, title, figure, left, strip.right + FRAME_PAD, strip.height)
