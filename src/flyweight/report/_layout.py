"""Where the blocks of a network's picture stand: rows to and fro, skips led through the gaps between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from flyweight.report._blocks import Block, Edge

CHARACTER, TITLE_CHARACTER = 5.35, 7.0  # px of the 10 px lines and the 12 px bold titles in picture.py
LINE_HEIGHT, HEADER, PADDING = 14.0, 24.0, 10.0
GAP_X, GAP_Y, LANE_X, LANE_Y = 74.0, 34.0, 8.0, 15.0
MARGIN, TOP = 24.0, 62.0
WISHED_ASPECT = 1.35


@dataclass(frozen=True)
class Box:
    """A placed block: left, top, width and height in px."""

    x: float
    y: float
    width: float
    height: float

    @property
    def center(self) -> tuple[float, float]:
        """Middle of the box."""
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass(frozen=True)
class Route:
    """An edge as corners to be rounded; ``label`` is where its shape is written, with SVG's text anchor."""

    edge: Edge
    corners: tuple[tuple[float, float], ...]
    label: tuple[float, float]
    skip: bool
    anchor: str = "middle"


@dataclass(frozen=True)
class Layout:
    """The whole picture's size, boxes and routes."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    routes: tuple[Route, ...]


@dataclass
class _Lanes:
    """Parallel lanes of one gap; two edges share one where their spans lie apart."""

    spans: list[list[tuple[float, float]]] = field(default_factory=list)

    def take(self, start: float, end: float) -> int:
        low, high = min(start, end), max(start, end)
        for index, taken in enumerate(self.spans):
            if all(high < a or low > b for a, b in taken):
                taken.append((low, high))
                return index
        self.spans.append([(low, high)])
        return len(self.spans) - 1


def place(blocks: Sequence[Block], edges: Sequence[Edge]) -> Layout:
    """Return the layout whose shape is nearest to a page's, over all numbers of columns."""
    layouts = [_placed(blocks, edges, columns) for columns in range(1, min(len(blocks), 14) + 1)]
    return min(layouts, key=lambda found: abs(math.log(found.width / found.height / WISHED_ASPECT)))


def block_size(block: Block) -> tuple[float, float]:
    """Return the width and height that a block's text needs."""
    widest = max((len(line) for line in block.lines), default=0) * CHARACTER
    return max(widest, len(block.title) * TITLE_CHARACTER + 46, 104) + 2 * PADDING, HEADER + len(
        block.lines
    ) * LINE_HEIGHT + PADDING


def _placed(blocks: Sequence[Block], edges: Sequence[Edge], columns: int) -> Layout:
    cells = [_cell(i, columns) for i in range(len(blocks))]
    rows = cells[-1][0] + 1
    below = [_Lanes() for _ in range(rows)]
    beside = [_Lanes() for _ in range(columns + 1)]
    lanes = [_lanes_of(edge, cells, below, beside) for edge in edges]
    sizes = [block_size(block) for block in blocks]
    widths = [max(size[0] for size, cell in zip(sizes, cells, strict=True) if cell[1] == c) for c in range(columns)]
    heights = [max(size[1] for size, cell in zip(sizes, cells, strict=True) if cell[0] == r) for r in range(rows)]
    grid = _Grid(widths, heights, below, beside)
    boxes = [
        Box(grid.left(c) + (widths[c] - size[0]) / 2, grid.top(r) + (heights[r] - size[1]) / 2, *size)
        for size, (r, c) in zip(sizes, cells, strict=True)
    ]
    arrivals = _ports(edges, cells)
    routes = tuple(
        _route(edge, cells, boxes, grid, lane, port) for edge, lane, port in zip(edges, lanes, arrivals, strict=True)
    )
    return Layout(grid.left(columns) - GAP_X + MARGIN, grid.top(rows) - GAP_Y + MARGIN, tuple(boxes), routes)


@dataclass(frozen=True)
class _Grid:
    widths: list[float]
    heights: list[float]
    below: list[_Lanes]
    beside: list[_Lanes]

    def left(self, column: int) -> float:
        """Left edge of a column; the gap to its left holds the column's lanes."""
        lanes = sum(len(gap.spans) for gap in self.beside[: column + 1]) * LANE_X
        return MARGIN + sum(self.widths[:column]) + GAP_X * column + lanes

    def top(self, row: int) -> float:
        """Top edge of a row."""
        lanes = sum(len(gap.spans) for gap in self.below[:row]) * LANE_Y
        return TOP + sum(self.heights[:row]) + GAP_Y * row + lanes

    def lane_y(self, row: int, lane: int) -> float:
        """Height of a lane in the gap below a row."""
        return self.top(row) + self.heights[row] + GAP_Y * 0.52 + LANE_Y * (lane + 0.3)

    def lane_x(self, column: int, lane: int) -> float:
        """Place of a lane in the gap to the left of a column."""
        return self.left(column) - 10 - LANE_X * lane if column else MARGIN / 2 + LANE_X * lane


def _cell(index: int, columns: int) -> tuple[int, int]:
    row, column = divmod(index, columns)
    return row, column if row % 2 == 0 else columns - 1 - column


def _lanes_of(
    edge: Edge, cells: list[tuple[int, int]], below: list[_Lanes], beside: list[_Lanes]
) -> tuple[int, int, int]:
    """Reserve the lanes of a skip: below its source's row, beside its target's column, above its target's row."""
    (row, column), (to_row, to_column) = cells[edge.source], cells[edge.target]
    if edge.target == edge.source + 1:
        return 0, 0, 0
    if to_row <= row + 1:
        return below[row].take(column, to_column), 0, 0
    first = below[row].take(column, to_column - 0.5)
    side = beside[to_column].take(row, to_row)
    return first, side, below[to_row - 1].take(to_column - 0.5, to_column)


def _ports(edges: Sequence[Edge], cells: list[tuple[int, int]]) -> list[tuple[float, float]]:
    """Return how far from the middle each skip leaves and arrives, so that no two share a place."""
    left: dict[int, int] = {}
    found = []
    for edge in edges:
        if edge.target == edge.source + 1:
            found.append((0.0, 0.0))
            continue
        out, arrive = left.get(edge.source, 0), left.get(-edge.target, 0)
        left[edge.source], left[-edge.target] = out + 1, arrive + 1
        found.append((14.0 + 9 * (out % 4), -14.0 - 9 * (arrive % 4)))
    return found


def _route(
    edge: Edge,
    cells: list[tuple[int, int]],
    boxes: list[Box],
    grid: _Grid,
    lane: tuple[int, int, int],
    port: tuple[float, float],
) -> Route:
    source, target = boxes[edge.source], boxes[edge.target]
    (row, column), (to_row, to_column) = cells[edge.source], cells[edge.target]
    if edge.target == edge.source + 1:
        return _straight(edge, source, target, column < to_column, row == to_row)
    x, to_x = source.center[0] + port[0], target.center[0] + port[1]
    y = grid.lane_y(row, lane[0])
    end = (to_x, target.y + target.height) if to_row == row else (to_x, target.y)
    corners = [(x, source.y + source.height), (x, y)]
    if to_row <= row + 1:
        corners += [(to_x, y), end]
    else:
        side, above = grid.lane_x(to_column, lane[1]), grid.lane_y(to_row - 1, lane[2])
        corners += [(side, y), (side, above), (to_x, above), end]
    right = corners[2][0] > x
    return Route(edge, tuple(corners), (x + (12 if right else -12), y - 3.5), True, "start" if right else "end")


def _straight(edge: Edge, source: Box, target: Box, right: bool, same_row: bool) -> Route:
    if not same_row:
        x = source.center[0]
        start, end = (x, source.y + source.height), (x, target.y)
        return Route(edge, (start, end), (x - 5, start[1] + 12), False, "end")
    y = source.center[1]
    start, end = (
        (source.x + source.width if right else source.x, y),
        (target.x if right else target.x + target.width, y),
    )
    return Route(edge, (start, end), ((start[0] + end[0]) / 2, y - 5), False)
