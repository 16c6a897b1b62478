"""The layout of a network's picture, as plain values: boxes, frames, lines and the shapes written on them.

Everything that a rendering draws is in here, with its place in px; the renderings decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from flyweight.report import _format as fmt
from flyweight.report.drawing import _text
from flyweight.report.drawing._cards import FRAME_PX, SHAPE_PX, Card
from flyweight.report.drawing._columns import (
    Flow,
    FlowRow,
    OpenFrame,
    Placed,
    divided,
    estimated_size,
    flow_of,
    into_columns,
    placed,
)  # fmt: skip
from flyweight.report.drawing._strip import ENTRY, EXIT, Point
from flyweight.report.drawing._table import HEADER, TITLE_X, Block, Leaf, Placeable, Reads, block, leaf
from flyweight.report.drawing._units import Diagram, Group, Part, Unit

MOST_COLUMNS = 40
MARGIN, NARROWEST, HEADING = 22.0, 520.0, 110.0  # around the layout; of a picture; what stands above it, at most
LABEL_X, LABEL_DROP = 5.0, 10.0  # a shape stands to the right of its line, its foot this far below the box


@dataclass(frozen=True)
class NodeBox:
    """One unit's box."""

    x: float
    y: float
    width: float
    height: float
    unit: Unit
    card: Card


@dataclass(frozen=True)
class Frame:
    """A module's frame, or the part of it that stands in one column; ``begins`` and ``ends`` say which part.

    ``title_x`` and ``title_y``: the title's left foot. ``figure_x``: the right foot of the figure, if there is one.
    """

    path: str
    level: int
    x: float
    y: float
    width: float
    height: float
    title: str
    title_x: float
    title_y: float
    figure: str = ""
    figure_x: float = 0.0
    times: int = 1
    begins: bool = True
    ends: bool = True


@dataclass(frozen=True)
class Wire:
    """A tensor's way from one box to another, by their places in ``Layout.boxes``, as corners of right angles.

    ``skip``: there is a longer way between the two.
    """

    tensor: str
    source: int
    target: int
    corners: tuple[Point, ...]
    skip: bool


@dataclass(frozen=True)
class Label:
    """A tensor's shape beside the line that leaves its box; x and y are the text's left foot."""

    text: str
    x: float
    y: float
    box: int


@dataclass(frozen=True)
class Layout:
    """The whole picture, without title and legend; ``columns`` are from x to x."""

    width: float
    height: float
    boxes: tuple[NodeBox, ...]
    frames: tuple[Frame, ...]
    wires: tuple[Wire, ...]
    labels: tuple[Label, ...]
    columns: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Shape:
    """What the picture's outline is to be.

    ``aspect``: width over height, where neither of the others is given. ``width_px``: at most this wide.
    ``page_px``: columns are no higher than this, however many there are.
    """

    aspect: float = 1.4
    width_px: float | None = None
    page_px: float | None = None


def lay_out(
    found: Diagram, card: Callable[[Unit, str], Card], figure: Callable[[Group], str], shape: Shape = Shape()
) -> Layout:
    """Return the layout of a diagram.

    Args:
        card: the text of a unit's box, given the module around it. figure: what a module costs, in words.
        shape: the picture's outline.
    """
    reads = Reads(found.units)
    laid: dict[int, Placeable] = {}
    for child in found.root.children:
        _lay(child, "", card, figure, found.shapes, reads, laid)
    flow, columns = _chosen(found.root, laid, reads, shape)
    drawn = placed(flow, columns, reads)
    return _Emitter(flow, drawn, found, reads, figure).layout()


def _lay(
    part: Part,
    above: str,
    card: Callable[[Unit, str], Card],
    figure: Callable[[Group], str],
    shapes: Mapping[str, tuple[int, ...]],
    reads: Reads,
    laid: dict[int, Placeable],
) -> Placeable:
    if isinstance(part, Unit):
        laid[id(part)] = leaf(part, card(part, above), shapes, reads)
    else:
        inner = [_lay(child, part.path, card, figure, shapes, reads, laid) for child in part.children]
        laid[id(part)] = block(part, inner, reads, above, figure(part))
    return laid[id(part)]


def _chosen(
    root: Group, laid: Mapping[int, Placeable], reads: Reads, shape: Shape
) -> tuple[Flow, tuple[tuple[FlowRow, ...], ...]]:
    """Return the rows and their division into columns that come nearest to the wished outline."""
    if shape.page_px:
        flow = flow_of(root, laid, reads, shape.page_px)
        return flow, divided(flow, shape.page_px)
    area = sum((laid[id(c)].left + laid[id(c)].reach) * (laid[id(c)].height + 30) for c in root.children)
    flow = flow_of(root, laid, reads, math.sqrt(area / shape.aspect))
    best: tuple[float, tuple[tuple[FlowRow, ...], ...]] | None = None
    for count in range(1, min(len(flow.rows), MOST_COLUMNS) + 1):
        columns = into_columns(flow, count)
        width, height = estimated_size(flow, columns)
        if shape.width_px is not None:
            off = width - shape.width_px if width > shape.width_px else (shape.width_px - width) / 1e6
        else:
            off = abs(math.log(max(width + 2 * MARGIN, NARROWEST) / (height + HEADING) / shape.aspect))
        if best is None or off < best[0] - 1e-9:
            best = off, columns
    assert best is not None  # the input and the output are rows
    return flow, best[1]


# ---- from places to values ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Home:
    """One level around a unit: the block (None: the columns), the unit's child in it, and where the block stands."""

    block: Block | None
    child: int
    x: float
    y: float


class _Emitter:
    def __init__(self, flow: Flow, drawn: Placed, found: Diagram, reads: Reads, figure: Callable[[Group], str]) -> None:
        self.flow, self.drawn, self.found, self.reads, self.figure = flow, drawn, found, reads, figure
        self.boxes: dict[int, NodeBox] = {}
        self.homes: dict[int, tuple[_Home, ...]] = {}
        self.leaves: dict[int, Leaf] = {}
        self.frames: list[Frame] = []

    def layout(self) -> Layout:
        """Place every part, then draw the lines between boxes."""
        self.frames += map(_frame, self.drawn.frames)
        for child, (piece, (x, y)) in enumerate(zip(self.drawn.pieces, self.drawn.places, strict=True)):
            self._emit(piece, x, y, (_Home(None, child, 0.0, 0.0),), _depth(self.flow, child))
        order = sorted(self.boxes)
        number = {place: index for index, place in enumerate(order)}
        labels = tuple(label for place in order for label in self._labels(place, number[place]))
        frames = tuple(sorted(self.frames, key=lambda frame: frame.level))
        wires = tuple(self._wires(number))
        drawn = self.drawn
        boxes = tuple(self.boxes[place] for place in order)
        return Layout(drawn.width, drawn.height, boxes, frames, wires, labels, drawn.columns)

    def _emit(self, piece: Placeable, x: float, y: float, homes: tuple[_Home, ...], level: int) -> None:
        if isinstance(piece, Leaf):
            place = self.reads.place[id(piece.unit)]
            self.boxes[place] = NodeBox(x - piece.left, y, piece.width, piece.height, piece.unit, piece.card)
            self.homes[place], self.leaves[place] = homes, piece
            return
        self.frames.append(_block_frame(piece, x, y, level))
        strip = piece.strip
        for child, cell in strip.cell_of.items():
            inner = (*homes, _Home(piece, child, x, y))
            self._emit(piece.pieces[child], x + cell.x, y + strip.row_tops[strip.row_of[child]], inner, level + 1)

    def _labels(self, place: int, number: int) -> Iterator[Label]:
        box, piece = self.boxes[place], self.leaves[place]
        for name, dx in piece.outs.items():
            text = fmt.shape(self.found.shapes[name])
            yield Label(text, box.x + piece.left + dx + LABEL_X, box.y + box.height + LABEL_DROP, number)

    def _wires(self, number: Mapping[int, int]) -> Iterator[Wire]:
        maker = {name: place for place in self.boxes for name in self.boxes[place].unit.outputs}
        far = _far_readers(self.reads, maker)
        for place in sorted(self.boxes):
            for name in self.boxes[place].unit.inputs:
                source = maker[name]
                corners = _simple(self._corners(name, source, place))
                yield Wire(name, number[source], number[place], corners, (source, place) in far)

    def _corners(self, name: str, source: int, target: int) -> Iterator[Point]:
        """Yield the corners from level to level: out of the source's modules, across, into the target's."""
        out, into = self.homes[source], self.homes[target]
        depth = next(i for i, (a, b) in enumerate(zip(out, into, strict=False)) if a.child != b.child)
        for home in reversed(out[depth + 1 :]):
            yield from _leg(home, (name, home.child, EXIT))
        meet = (name, out[depth].child, into[depth].child)
        if out[depth].block is None:
            yield from self.drawn.legs[meet]
        else:
            yield from _leg(out[depth], meet)
        for home in into[depth + 1 :]:
            yield from _leg(home, (name, ENTRY, home.child))


def _leg(home: _Home, key: tuple[str, int, int]) -> Iterator[Point]:
    assert home.block is not None  # only the outermost level is none
    for x, y in home.block.strip.legs[key]:
        yield x + home.x, y + home.y


def _depth(flow: Flow, child: int) -> int:
    return next(len(row.around) for row in flow.rows if child in row.children)


def _frame(frame: OpenFrame) -> Frame:
    return Frame(
        frame.group.path, frame.level, frame.x, frame.y, frame.width, frame.height, frame.title, frame.title_x,
        frame.y + HEADER - 5, "", 0.0, frame.group.times, frame.begins, frame.ends,
    )  # fmt: skip


def _block_frame(piece: Block, x: float, y: float, level: int) -> Frame:
    """A block's figure stands at the right end of its title line, if nothing comes down there."""
    strip = piece.strip
    entries = [at for at in strip.entries.values() if at <= strip.table[1]]
    right = min([strip.table[1], *(at - 4 for at in strip.entries.values() if at > strip.table[1])]) - 1
    fits = right - _text.width(piece.figure, SHAPE_PX) > max(entries, default=-piece.left + TITLE_X) + 4
    return Frame(
        piece.group.path, level, x - piece.left, y, piece.left + piece.right, piece.height, piece.title,
        x - piece.left + TITLE_X, y + FRAME_PX + 2, piece.figure if fits else "", x + right, piece.group.times,
    )  # fmt: skip


def _simple(points: Iterator[Point]) -> tuple[Point, ...]:
    """Leave out points that repeat, and those in the middle of a straight piece."""
    found: list[Point] = []
    for point in points:
        if found and abs(found[-1][0] - point[0]) < 0.01 and abs(found[-1][1] - point[1]) < 0.01:
            continue
        if len(found) > 1 and any(
            abs(found[-2][i] - point[i]) < 0.01 and abs(found[-1][i] - point[i]) < 0.01 for i in (0, 1)
        ):
            found.pop()
        found.append(point)
    return tuple(found)


def _far_readers(reads: Reads, maker: Mapping[str, int]) -> frozenset[tuple[int, int]]:
    """Return the pairs (source, target) between which there is also a longer way: the skips."""
    count = len(reads.units)
    after: list[set[int]] = [set() for _ in range(count)]
    for name, places in reads.readers.items():
        after[maker[name]].update(places)
    below = [0] * count  # bit i: unit i depends on this one
    for place in reversed(range(count)):
        for reader in after[place]:
            below[place] |= below[reader] | (1 << reader)
    return frozenset(
        (place, reader)
        for place in range(count)
        for reader in after[place]
        if any(below[other] >> reader & 1 for other in after[place])
    )
