"""A network in columns, like a newspaper's: its parts one below the other, going on at the top of the next column.

A module too tall for a column is not one frame: its parts stand in the columns themselves, with a frame around those
of each column. Between the columns are gutters, above and below all columns are streets: lines from column to column
run in them, each in a lane of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from flyweight.report.drawing import _text
from flyweight.report.drawing._cards import FRAME_PX
from flyweight.report.drawing._strip import (
    ARROW_STRIP,
    EAST,
    LABEL_STRIP,
    LANE,
    WEST,
    Cell,
    Net,
    Point,
    Row,
    Strip,
)  # fmt: skip
from flyweight.report.drawing._table import (
    HEADER,
    TITLE_GAP,
    TITLE_X,
    Arrangement,
    Axes,
    Leaf,
    Placeable,
    Reads,
    arrange,
    axes_of,
    nets_of,
    stretched,
    titled,
)  # fmt: skip
from flyweight.report.drawing._units import Group, Part

GUTTER = 15.0  # from a column to the first lane beside it
CLOSE, LEVEL_PAD = 5.0, 8.0  # below a frame that ends; from a frame to the one inside it
CLOSED_FROM = 0.7  # a module taller than this share of a column has its parts in the columns themselves


@dataclass(frozen=True)
class FlowRow:
    """A row of parts: the table that it belongs to, its number there, and the modules around it, outermost first."""

    table: int
    index: int
    children: tuple[int, ...]
    around: tuple[Group, ...]


@dataclass(frozen=True)
class Flow:
    """All parts in rows, before they are divided into columns."""

    parts: tuple[Part, ...]
    pieces: tuple[Placeable, ...]
    tables: tuple[tuple[Arrangement, tuple[int, ...]], ...]  # each with its children's places in ``parts``
    rows: tuple[FlowRow, ...]

    def height(self, row: FlowRow) -> float:
        """Height of a row's boxes."""
        return max(self.pieces[child].height for child in row.children)


@dataclass(frozen=True)
class OpenFrame:
    """A module's frame in one column; a module that goes on from another column, or into one, is open there."""

    group: Group
    level: int
    x: float
    y: float
    width: float
    height: float
    title: str
    title_x: float
    begins: bool
    ends: bool


@dataclass(frozen=True)
class Placed:
    """A flow in its columns: where each part's axis and upper edge are, and every line between parts."""

    width: float
    height: float
    pieces: tuple[Placeable, ...]
    places: tuple[Point, ...]
    legs: Mapping[tuple[str, int, int], tuple[Point, ...]]
    frames: tuple[OpenFrame, ...]
    columns: tuple[tuple[float, float], ...]  # from x to x


def flow_of(root: Group, pieces: Mapping[int, Placeable], reads: Reads, column_height: float) -> Flow:
    """Return the rows of a network whose modules are divided where they are taller than a column bears.

    Args:
        pieces: every part, laid out, by its id. column_height: in px.
    """
    builder = _FlowBuilder(pieces, reads, column_height * CLOSED_FROM)
    builder.add(root, ())
    return Flow(tuple(builder.parts), tuple(builder.pieces), tuple(builder.tables), tuple(builder.rows))


class _FlowBuilder:
    def __init__(self, laid: Mapping[int, Placeable], reads: Reads, tallest: float) -> None:
        self.laid, self.reads, self.tallest = laid, reads, tallest
        self.parts: list[Part] = []
        self.pieces: list[Placeable] = []
        self.tables: list[tuple[Arrangement, tuple[int, ...]]] = []
        self.rows: list[FlowRow] = []

    def add(self, group: Group, around: tuple[Group, ...]) -> None:
        pieces = [self.laid[id(child)] for child in group.children]
        arrangement = arrange(pieces, nets_of(group.children, self.reads))
        table = len(self.tables)
        self.tables.append((arrangement, ()))
        places: dict[int, int] = {}
        for index, row in enumerate(arrangement.rows):
            child = group.children[row[0][0]]
            if len(row) == 1 and isinstance(child, Group) and pieces[row[0][0]].height > self.tallest:
                self.add(child, (*around, child))
                continue
            for at, _ in sorted(row):
                places[at] = len(self.parts)
                self.parts.append(group.children[at])
                self.pieces.append(pieces[at])
            self.rows.append(FlowRow(table, index, tuple(places[at] for at, _ in sorted(row)), around))
        self.tables[table] = arrangement, tuple(places.get(at, -1) for at in range(len(group.children)))


# ---- into columns -------------------------------------------------------------------------------------------------


def divided(flow: Flow, height: float) -> tuple[tuple[FlowRow, ...], ...]:
    """Return the rows in columns of at most ``height`` px, as far as single rows allow it."""
    columns: list[list[FlowRow]] = []
    filled = 0.0
    for row in flow.rows:
        before = columns[-1][-1] if columns else None
        needs = _needs(flow, row, before)
        if before is None or filled + needs > height:
            columns.append([])
            filled, needs = 0.0, _needs(flow, row, None)
        columns[-1].append(row)
        filled += needs
    return tuple(map(tuple, columns))


def _needs(flow: Flow, row: FlowRow, before: FlowRow | None) -> float:
    opening = len(row.around) - (_shared(before.around, row.around) if before else 0)
    return flow.height(row) + LABEL_STRIP + ARROW_STRIP + LANE + (HEADER + CLOSE) * opening


def _shared(one: Sequence[Group], other: Sequence[Group]) -> int:
    """How many of the outer modules are the same."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a is not b:
            break
        count += 1
    return count


def into_columns(flow: Flow, count: int) -> tuple[tuple[FlowRow, ...], ...]:
    """Return the rows in at most ``count`` columns as even as can be."""
    low = max(_needs(flow, row, None) for row in flow.rows)
    high = sum(_needs(flow, row, None) for row in flow.rows)
    while high - low > 4:
        middle = (low + high) / 2
        if len(divided(flow, middle)) > count:
            low = middle
        else:
            high = middle
    return divided(flow, high)


def estimated_size(flow: Flow, columns: Sequence[Sequence[FlowRow]]) -> tuple[float, float]:
    """Return the width and height that columns will have, without the lines that need lanes."""
    width = height = 0.0
    for column in columns:
        axes = [axes for _, axes, _ in _segments(flow, column)]
        levels = max(len(row.around) for row in column)
        width += max(a.left for a in axes) + max(a.right for a in axes) + 2 * GUTTER + 2 * LEVEL_PAD * levels
        befores = (None, *column)
        height = max(height, sum(_needs(flow, row, before) for before, row in zip(befores, column, strict=False)))
    return width, height


def _segments(flow: Flow, column: Sequence[FlowRow]) -> Iterator[tuple[list[FlowRow], Axes, dict[int, Leaf]]]:
    """Yield runs of rows of one table, with the axes of their slots, and the boxes that are widened."""
    run: list[FlowRow] = []
    for row in (*column, None):
        if run and (row is None or row.table != run[-1].table):
            yield _segment(flow, run)
            run = []
        if row:
            run.append(row)


def _segment(flow: Flow, run: list[FlowRow]) -> tuple[list[FlowRow], Axes, dict[int, Leaf]]:
    arrangement, places = flow.tables[run[0].table]
    pieces = [flow.pieces[max(place, 0)] for place in places]
    indices = [row.index for row in run]
    wide = stretched(pieces, arrangement, indices)
    pieces = [wide.get(child, piece) for child, piece in enumerate(pieces)]
    return run, axes_of(pieces, arrangement, indices), {places[child]: leaf for child, leaf in wide.items()}


# ---- a column ------------------------------------------------------------------------------------------------------


@dataclass
class _Column:
    rows: Sequence[FlowRow]
    strip: Strip
    levels: int
    titles: dict[tuple[int, int], tuple[str, float]]  # row and level -> title and its x
    wests: list[str]
    easts: list[str]
    axis: float = 0.0
    drop: float = 0.0  # how much lower it stands, so that no line from it lies on one into the next

    @property
    def left(self) -> float:
        return self.strip.left - LEVEL_PAD * self.levels

    @property
    def right(self) -> float:
        return self.strip.right + LEVEL_PAD * self.levels


def placed(flow: Flow, columns: Sequence[Sequence[FlowRow]], reads: Reads) -> Placed:
    """Return the flow in its columns, with all lines."""
    wide = {
        child: leaf for column in columns for _, _, found in _segments(flow, column) for child, leaf in found.items()
    }
    flow = replace(flow, pieces=tuple(wide.get(child, piece) for child, piece in enumerate(flow.pieces)))
    nets = nets_of(flow.parts, reads)
    home = {child: at for at, column in enumerate(columns) for row in column for child in row.children}
    made = [_column(flow, columns, at, nets, home, reads) for at in range(len(columns))]
    gutters, width = _place_columns(made)
    for at, column in enumerate(made):
        west = {tensor: gutters[at][tensor] - column.axis for tensor in column.wests}
        east = {tensor: gutters[at + 1][tensor] - column.axis for tensor in column.easts}
        column.strip.wire(0.0, west, east)
    for before, column in pairwise(made):
        _drop(before, column)
    legs, top, height = _Streets(nets, home, made, gutters).joined()
    places: list[Point] = [(0.0, 0.0)] * len(flow.pieces)
    for column in made:
        for child, cell in column.strip.cell_of.items():
            row_top = column.strip.row_tops[column.strip.row_of[child]]
            places[child] = column.axis + cell.x, top + column.drop + row_top
    frames = tuple(frame for column in made for frame in _frames(column, flow, top))
    spans = tuple((column.axis + column.left, column.axis + column.right) for column in made)
    return Placed(width, height, flow.pieces, tuple(places), legs, frames, spans)


def _column(
    flow: Flow,
    columns: Sequence[Sequence[FlowRow]],
    at: int,
    nets: Sequence[Net],
    home: Mapping[int, int],
    reads: Reads,
) -> _Column:
    own = _own_nets(nets, at, home)
    rows, left, right = [], 0.0, 0.0
    titles: dict[tuple[int, int], tuple[str, float]] = {}
    before: FlowRow | None = None
    column = columns[at]
    following = (*column[1:], None)
    number = 0
    for run, axes, _ in _segments(flow, column):
        arrangement, _ = flow.tables[run[0].table]
        left, right = max(left, axes.left), max(right, axes.right)
        for row in run:
            centred = row.index in arrangement.centred
            slots = {} if centred else {row.table * 1000 + slot: x for slot, x in axes.slots.items()}
            cells = tuple(
                Cell(child, row.table * 1000 + slot, 0.0 if centred else axes.slots[slot])
                for child, (_, slot) in zip(row.children, sorted(arrangement.rows[row.index]), strict=True)
            )
            opened = range(_shared(before.around, row.around) if before else 0, len(row.around))
            for level in opened:
                group = row.around[level]
                title = titled(group, row.around[level - 1].path if level else "")
                title += "" if _first_of(flow, group) is row else " (continued)"
                needs = TITLE_X + _text.width(title, FRAME_PX, bold=True) + TITLE_GAP
                left = max(left, needs - _first_entry(flow, cells, slots))
                titles[number, level] = title, 0.0
            after = following[number]
            closing = len(row.around) - (_shared(row.around, after.around) if after else 0)
            rows.append(Row(cells, slots, HEADER * len(opened), CLOSE * closing))
            before, number = row, number + 1
    strip = Strip(flow.pieces, rows, own, -left, right)
    titles = {key: (title, -left + TITLE_X) for key, (title, _) in titles.items()}
    wests = [net.tensor for net in own if net.source == WEST]
    easts = [net.tensor for net in own if net.east]
    return _Column(column, strip, max(len(row.around) for row in column), titles, wests, easts)


def _own_nets(nets: Sequence[Net], at: int, home: Mapping[int, int]) -> list[Net]:
    """Return the lines in one column: those that begin in it, and those that come into it from an earlier one."""
    own = []
    for net in nets:
        here = tuple(sink for sink in net.sinks if home[sink] == at)
        if home[net.source] == at:
            own.append(Net(net.tensor, net.source, here, east=len(here) < len(net.sinks)))
        elif here:
            own.append(Net(net.tensor, WEST, here))
    return own


def _first_entry(flow: Flow, cells: Sequence[Cell], slots: Mapping[int, float]) -> float:
    """Return the leftmost x at which a line may come down to a row, or pass it in an empty slot."""
    entries = (cell.x + min(flow.pieces[cell.child].ins.values(), default=0.0) for cell in cells)
    return min(*entries, *slots.values(), 0.0)


def _place_columns(columns: Sequence[_Column]) -> tuple[list[dict[str, float]], float]:
    """Place the columns side by side; return each gutter's lanes by tensor, and the whole width."""
    gutters: list[dict[str, float]] = [{} for _ in range(len(columns) + 1)]
    x = 0.0
    for at, column in enumerate(columns):
        into = dict.fromkeys([*(columns[at - 1].easts if at else []), *column.wests])
        if at:
            x += GUTTER
            for tensor in into:
                gutters[at][tensor] = x
                x += LANE
            x += GUTTER - (LANE if into else 0.0)
        column.axis = x - column.left
        x = column.axis + column.right
    return gutters, x


def _drop(before: _Column, column: _Column) -> None:
    """Move a column down until no line into it lies on one that leaves the column before it for the same gutter."""
    leaving = [
        (tensor, before.axis + points[-1][0], before.drop + points[-1][1])
        for (tensor, _, sink), points in before.strip.legs.items()
        if sink == EAST
    ]
    coming = [
        (tensor, column.axis + points[0][0], points[0][1])
        for (tensor, source, _), points in column.strip.legs.items()
        if source == WEST
    ]
    pairs = [(y, v) for tensor, x, y in leaving for other, u, v in coming if tensor != other and u < x + LANE]
    steps = (LANE / 2 * step for step in range(len(pairs) * 4 + 1))
    column.drop = next((drop for drop in steps if all(abs(v + drop - y) >= LANE / 2 - 0.1 for y, v in pairs)), 0.0)


class _Streets:
    """Joins the lines of columns through the gutters, and through the streets above and below where they go farther."""

    def __init__(
        self,
        nets: Sequence[Net],
        home: Mapping[int, int],
        columns: Sequence[_Column],
        gutters: Sequence[Mapping[str, float]],
    ) -> None:
        self.nets, self.home, self.columns, self.gutters = nets, home, columns, gutters
        self.floor = max(column.drop + column.strip.height for column in columns)
        self.lanes: dict[str, list[list[tuple[float, float]]]] = {"top": [], "bottom": []}

    def joined(self) -> tuple[dict[tuple[str, int, int], tuple[Point, ...]], float, float]:
        """Return all lines, how far the columns move down for the street above them, and the whole height."""
        roads = {key: value for net in self.nets for key, value in self._roads(net)}
        top = LANE * len(self.lanes["top"]) + (LANE if self.lanes["top"] else 0.0)
        low = top + self.floor + LANE
        legs: dict[tuple[str, int, int], tuple[Point, ...]] = {}
        for net in self.nets:
            for sink in net.sinks:
                legs[net.tensor, net.source, sink] = tuple(self._line(net, sink, roads, top, low))
        return legs, top, low + LANE * len(self.lanes["bottom"])

    def _roads(self, net: Net) -> Iterator[tuple[tuple[str, str], int]]:
        """Reserve a lane in each street that a tensor needs."""
        start = self.home[net.source]
        spans: dict[str, list[float]] = {}
        for at in {self.home[sink] for sink in net.sinks if self.home[sink] > start + 1}:
            street = self._street(net, at)
            spans.setdefault(street, [self.gutters[start + 1][net.tensor]]).append(self.gutters[at][net.tensor])
        for street, xs in spans.items():
            low, high = min(xs) - LANE, max(xs) + LANE
            lanes = self.lanes[street]
            lane = next((i for i, taken in enumerate(lanes) if all(high < a or low > b for a, b in taken)), len(lanes))
            if lane == len(lanes):
                lanes.append([])
            lanes[lane].append((low, high))
            yield (net.tensor, street), lane

    def _street(self, net: Net, at: int) -> str:
        """The nearer of the two streets; one of them for all that a tensor has to do in one column."""
        first, last = self.columns[self.home[net.source]], self.columns[at]
        leaves = first.drop + first.strip.legs[net.tensor, net.source, EAST][-1][1]
        sinks = [sink for sink in net.sinks if self.home[sink] == at]
        enters = [last.drop + last.strip.legs[net.tensor, WEST, sink][0][1] for sink in sinks]
        ys = [leaves, *enters]
        return "top" if sum(ys) <= sum(self.floor - y for y in ys) else "bottom"

    def _line(
        self, net: Net, sink: int, roads: Mapping[tuple[str, str], int], top: float, low: float
    ) -> Iterator[Point]:
        start, end = self.home[net.source], self.home[sink]
        first, last = self.columns[start], self.columns[end]
        if start == end:
            yield from _moved(first.strip.legs[net.tensor, net.source, sink], first.axis, top + first.drop)
            return
        yield from _moved(first.strip.legs[net.tensor, net.source, EAST], first.axis, top + first.drop)
        if end > start + 1:
            street = self._street(net, end)
            lane = roads[net.tensor, street]
            y = top - LANE * (lane + 1) if street == "top" else low + LANE * lane
            yield self.gutters[start + 1][net.tensor], y
            yield self.gutters[end][net.tensor], y
        yield from _moved(last.strip.legs[net.tensor, WEST, sink], last.axis, top + last.drop)


def _moved(points: Sequence[Point], x: float, y: float) -> Iterator[Point]:
    return ((px + x, py + y) for px, py in points)


def _frames(column: _Column, flow: Flow, top: float) -> Iterator[OpenFrame]:
    """Yield the frames around the rows of one column."""
    opened: list[tuple[Group, float, tuple[str, float], bool]] = []
    strip = column.strip
    for number, (row, after) in enumerate(zip(column.rows, (*column.rows[1:], None), strict=True)):
        row_top = strip.row_tops[number] + top + column.drop
        titles = sorted((level, title) for (at, level), title in column.titles.items() if at == number)
        for position, (level, title) in enumerate(titles):
            y = row_top - ARROW_STRIP - HEADER * (len(titles) - position)
            group = row.around[level]
            opened.append((group, y, title, _first_of(flow, group) is row))
        staying = _shared(row.around, after.around) if after else 0
        bottom = row_top + flow.height(row) + strip.foot(strip.rows[number])
        while len(opened) > staying:
            level = len(opened) - 1
            bottom += CLOSE
            group, y, title, begins = opened.pop()
            pad = LEVEL_PAD * (column.levels - level)
            x, right = column.axis + strip.left - pad, column.axis + strip.right + pad
            yield OpenFrame(
                group, level, x, y, right - x, bottom - y, title[0], column.axis + title[1], begins,
                _last_of(flow, group) is row,
            )  # fmt: skip


def _first_of(flow: Flow, group: Group) -> FlowRow:
    return next(row for row in flow.rows if any(g is group for g in row.around))


def _last_of(flow: Flow, group: Group) -> FlowRow:
    return next(row for row in reversed(flow.rows) if any(g is group for g in row.around))
