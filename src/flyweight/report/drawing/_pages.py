"""A picture on sheets of paper: whole columns on each, at the size at which its text is readable."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from types import MappingProxyType

from flyweight.errors import unknown_name
from flyweight.report.drawing import _text
from flyweight.report.drawing._layout import Layout, Shape
from flyweight.report.drawing._scene import Heading, Item, Path, Rect, Scene, Window, drawn, headed

PX_PER_MM = 96 / 25.4
_SIZES_MM = {"a3": (297, 420), "a4": (210, 297), "letter": (215.9, 279.4)}
PAPERS = MappingProxyType(
    {
        **{name: (w * PX_PER_MM, h * PX_PER_MM) for name, (w, h) in _SIZES_MM.items()},
        **{f"{name}-landscape": (h * PX_PER_MM, w * PX_PER_MM) for name, (w, h) in _SIZES_MM.items()},
    }
)  # width and height in px
EDGE = 30.0  # px that a printer leaves white
HEAD_ROOM, STREET_ROOM = 85.0, 35.0  # for the heading, and for the lines above and below the columns


def paper_shape(paper: str) -> Shape:
    """Return the outline that makes columns as high as a sheet of paper.

    Raises:
        UsageError: no such paper.
    """
    if paper not in PAPERS:
        raise unknown_name("paper", paper, PAPERS)
    return Shape(page_px=PAPERS[paper][1] - 2 * EDGE - HEAD_ROOM - STREET_ROOM)


def on_paper(layout: Layout, heading: Heading, paper: str) -> tuple[Scene, ...]:
    """Return the sheets that the columns of a layout fill, from left to right.

    Lines from sheet to sheet are cut in the gutter between two columns, and go on at the same height.
    A column wider than the sheet is made smaller.
    """
    width, height = PAPERS[paper]
    room = width - 2 * EDGE
    items = tuple(drawn(layout))
    spans = list(_spans(layout, room))
    scenes = []
    for number, (left, right) in enumerate(spans, 1):
        title = f"{heading.title}, sheet {number} of {len(spans)}" if len(spans) > 1 else heading.title
        head, top = headed(Heading(title, heading.lines, heading.legend), width)
        below = height - top - EDGE
        scale = min(1.0, room / (right - left), below / layout.height)
        dx, dy = EDGE - left * scale, top
        window = Window(EDGE, top, (right - left) * scale, below, _within(items, left, right), scale, dx, dy)
        scenes.append(Scene(width, height, title, head, window))
    return tuple(scenes)


def _spans(layout: Layout, room: float) -> Iterator[tuple[float, float]]:
    """Yield from x to x what stands on each sheet, cut in the middle of gutters."""
    columns = layout.columns
    cuts = [0.0, *((a[1] + b[0]) / 2 for a, b in pairwise(columns)), layout.width]
    first = 0
    for at in range(1, len(cuts)):
        if at + 1 == len(cuts) or cuts[at + 1] - cuts[first] > room:
            yield cuts[first], cuts[at]
            first = at


def _within(items: tuple[Item, ...], left: float, right: float) -> tuple[Item, ...]:
    """Return what may be seen between two x: lines that touch it, and all that stands in it."""
    return tuple(item for item in items if _reach(item)[1] >= left and _reach(item)[0] <= right)


def _reach(item: Item) -> tuple[float, float]:
    if isinstance(item, Path):
        return min(x for x, _ in item.points), max(x for x, _ in item.points)
    if isinstance(item, Rect):
        return item.x, item.x + item.width
    wide = _text.width(item.text, item.size, bold=item.bold)
    return item.x - wide, item.x + wide  # wherever its anchor is
