"""From a layout to shapes with colours: rectangles, lines and texts, in the order in which they are drawn.

The renderings (SVG, PDF, PNG) draw these, and know nothing of networks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from flyweight.report.drawing import _text
from flyweight.report.drawing._cards import FRAME_PX, LEADING, PAD_X, PAD_Y, SHAPE_PX
from flyweight.report.drawing._layout import MARGIN, NARROWEST, Frame, Label, Layout, NodeBox, Wire

Color: TypeAlias = tuple[int, int, int]
Anchor: TypeAlias = Literal["start", "middle", "end"]

WHITE: Color = (255, 255, 255)
INK: Color = (26, 37, 48)
SOFT: Color = (86, 97, 108)
NAME: Color = (52, 62, 73)  # of a module, on any of the colours below
LINE: Color = (104, 116, 127)
SKIP: Color = (10, 98, 160)
PLAIN: Color = (255, 255, 255)
OUTLINE: Color = (122, 132, 142)
FRAME_LINE: Color = (190, 198, 206)
FRAME_FILLS: tuple[Color, ...] = ((247, 248, 250), (240, 243, 246), (233, 237, 242), (226, 232, 238))
END_FILL: Color = (232, 236, 240)
SCALE: tuple[Color, ...] = ((253, 250, 240), (251, 209, 138), (240, 138, 82))  # from nothing to the dearest box

TITLE_PX, TEXT_PX = 17.0, 10.0
RADIUS = 4.0
LEGEND_WIDTH, LEGEND_HEIGHT, LEGEND_STEPS = 160.0, 9.0, 32


@dataclass(frozen=True)
class Rect:
    """A rectangle with rounded corners; ``about`` is a tooltip."""

    x: float
    y: float
    width: float
    height: float
    fill: Color | None
    stroke: Color | None = None
    stroke_px: float = 1.0
    radius: float = 0.0
    dashed: bool = False
    about: str = ""


@dataclass(frozen=True)
class Path:
    """A line of right angles, its corners rounded, with an arrow at its end where ``arrow`` is set."""

    points: tuple[tuple[float, float], ...]
    color: Color
    px: float
    arrow: bool = True
    radius: float = 4.0


@dataclass(frozen=True)
class Text:
    """One line of text; y is its foot."""

    x: float
    y: float
    text: str
    size: float
    color: Color = INK
    bold: bool = False
    anchor: Anchor = "start"


Item: TypeAlias = "Rect | Path | Text"


@dataclass(frozen=True)
class Legend:
    """What the colours mean: their unit, the figure of the dearest box, and what the picture says of itself."""

    title: str = ""
    most: str = ""


@dataclass(frozen=True)
class Heading:
    """What stands above the picture: a title, lines below it, and the legend of its colours."""

    title: str
    lines: tuple[str, ...] = ()
    legend: Legend = field(default_factory=Legend)


@dataclass(frozen=True)
class Window:
    """A part of a larger picture, seen through a rectangle: its items, scaled, then moved by ``dx``, ``dy``."""

    x: float
    y: float
    width: float
    height: float
    items: tuple[Item, ...]
    scale: float
    dx: float
    dy: float


@dataclass(frozen=True)
class Scene:
    """A picture of a size in px, with all that is on it, from the back to the front."""

    width: float
    height: float
    title: str
    items: tuple[Item, ...]
    window: Window | None = None


def scene(layout: Layout, heading: Heading) -> Scene:
    """Return the shapes of a layout, its heading above it."""
    width = max(layout.width + 2 * MARGIN, NARROWEST)
    head, top = headed(heading, width)
    dx, dy = (width - layout.width) / 2, top
    body = [_shifted(item, dx, dy) for item in drawn(layout)]
    return Scene(width, layout.height + top + MARGIN, heading.title, (*head, *body))


def headed(heading: Heading, width: float) -> tuple[tuple[Item, ...], float]:
    """Return the heading's shapes and its height; the legend stands at its right, or below where it is narrow.

    The heading of a large picture is larger, so that it is read where the whole is seen.
    """
    zoom = min(max(width / 1500, 1.0), 3.0)
    title_px, text_px, y = TITLE_PX * zoom, TEXT_PX * zoom, MARGIN + 12 * zoom
    legend, room = heading.legend, width - 2 * MARGIN
    legend_width = max(LEGEND_WIDTH * zoom, _text.width(legend.title, text_px)) if legend.title else 0.0
    lines = [part for line in heading.lines for part in _text.wrapped(line, text_px, room)]
    widest = max(_text.width(heading.title, title_px, bold=True), *(_text.width(line, text_px) for line in lines), 0.0)
    beside = widest + legend_width + MARGIN <= room
    title = _text.shortened(heading.title, title_px, room, bold=True)
    items: list[Item] = [Text(MARGIN, y, title, title_px, INK, True)]
    for line in lines:
        y += text_px * 1.5
        items.append(Text(MARGIN, y, line, text_px, SOFT))
    if legend.title:
        left = width - MARGIN - legend_width if beside else MARGIN
        top = MARGIN + 2 if beside else y + 12
        items += _legend(legend, left, top, legend_width, zoom)
        y = max(y, top + (2 * TEXT_PX + LEGEND_HEIGHT + 5) * zoom)
    return tuple(items), y + 22


def _legend(legend: Legend, x: float, y: float, width: float, zoom: float) -> Iterator[Item]:
    text_px, height = TEXT_PX * zoom, LEGEND_HEIGHT * zoom
    yield Text(x, y + text_px - 2, legend.title, text_px, SOFT)
    top, step = y + text_px + 3, width / LEGEND_STEPS
    for i in range(LEGEND_STEPS):
        color = shade(i / (LEGEND_STEPS - 1))
        yield Rect(x + i * step, top, step + 0.4 * (i < LEGEND_STEPS - 1), height, color)
    yield Rect(x, top, width, height, None, OUTLINE)
    foot = top + height + text_px + 1
    yield Text(x, foot, "0", text_px, SOFT)
    yield Text(x + width, foot, legend.most, text_px, SOFT, anchor="end")


def shade(share: float) -> Color:
    """Return the colour of 0 (nothing) to 1 (the dearest box); dark text is readable on all of them."""
    place = min(max(share, 0.0), 1.0) * (len(SCALE) - 1)
    index = min(int(place), len(SCALE) - 2)
    low, high, part = SCALE[index], SCALE[index + 1], place - index
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(low, high, strict=True))
    return red, green, blue


def drawn(layout: Layout) -> Iterator[Item]:
    """Yield a layout's shapes: frames from the outermost on, lines (skips below the others), boxes, shapes."""
    for frame in layout.frames:
        yield from _frame(frame)
    for wire in sorted(layout.wires, key=lambda wire: not wire.skip):  # where they share a way, the main line is seen
        yield _wire(wire)
    for box in layout.boxes:
        yield from _box(box)
    for label in layout.labels:
        yield _label(label)


def _frame(frame: Frame) -> Iterator[Item]:
    fill = FRAME_FILLS[min(frame.level, len(FRAME_FILLS) - 1)]
    if frame.times > 1:  # one sheet of several
        for offset in (5.0, 2.5):
            yield Rect(frame.x + offset, frame.y + offset, frame.width, frame.height, fill, FRAME_LINE, 1.0, RADIUS)
    whole = frame.begins and frame.ends
    yield Rect(
        frame.x, frame.y, frame.width, frame.height, fill, FRAME_LINE, 1.0, RADIUS, not whole, frame.path
    )  # fmt: skip
    yield Text(frame.title_x, frame.title_y, frame.title, FRAME_PX, SOFT, True)
    if frame.figure:
        yield Text(frame.figure_x, frame.title_y, frame.figure, SHAPE_PX, SOFT, anchor="end")


def _wire(wire: Wire) -> Path:
    return Path(wire.corners, SKIP if wire.skip else LINE, 1.3 if wire.skip else 1.1)


def _label(label: Label) -> Text:
    return Text(label.x, label.y, label.text, SHAPE_PX, SOFT)


def _box(box: NodeBox) -> Iterator[Item]:
    card = box.card
    end = not box.unit.nodes
    fill = END_FILL if end else PLAIN if card.shade is None else shade(card.shade)
    radius = box.height / 2 if end or card.small else RADIUS
    yield Rect(box.x, box.y, box.width, box.height, fill, OUTLINE, 1.0, radius, about=card.about)
    y = box.y + PAD_Y
    for line in card.lines:
        y += line.size
        color, foot = NAME if line.soft else INK, y - 0.17 * line.size
        centred = card.small or not line.right
        if line.left and centred:
            yield Text(box.x + box.width / 2, foot, line.left, line.size, color, line.bold, "middle")
        elif line.left:
            yield Text(box.x + PAD_X, foot, line.left, line.size, color, line.bold)
        if line.right:
            yield Text(box.x + box.width - PAD_X, foot, line.right, line.size, INK, False, "end")
        y += LEADING


def _shifted(item: Item, dx: float, dy: float) -> Item:
    if isinstance(item, Path):
        points = tuple((x + dx, y + dy) for x, y in item.points)
        return Path(points, item.color, item.px, item.arrow, item.radius)
    if isinstance(item, Rect):
        return Rect(
            item.x + dx, item.y + dy, item.width, item.height, item.fill, item.stroke, item.stroke_px, item.radius,
            item.dashed, item.about,
        )  # fmt: skip
    return Text(item.x + dx, item.y + dy, item.text, item.size, item.color, item.bold, item.anchor)


def text_sizes(items: Sequence[Item]) -> tuple[float, ...]:
    """Return the font sizes of all texts, in px."""
    return tuple(item.size for item in items if isinstance(item, Text))
