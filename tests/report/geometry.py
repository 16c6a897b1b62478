"""What must be true of every layout: checks that return what is wrong, in words."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import NamedTuple

from flyweight.report.drawing import _text
from flyweight.report.drawing._cards import FRAME_PX, LEADING, PAD_X, PAD_Y, SHAPE_PX
from flyweight.report.drawing._layout import Frame, Layout, NodeBox, Wire

NEAR = 0.02  # px


class Area(NamedTuple):
    """A rectangle, from corner to corner."""

    left: float
    top: float
    right: float
    foot: float

    def meets(self, other: Area) -> bool:
        return (
            self.left < other.right - NEAR and other.left < self.right - NEAR
            and self.top < other.foot - NEAR and other.top < self.foot - NEAR
        )  # fmt: skip

    def holds(self, other: Area) -> bool:
        return (
            self.left <= other.left + NEAR and self.top <= other.top + NEAR
            and self.right >= other.right - NEAR and self.foot >= other.foot - NEAR
        )  # fmt: skip


def area(part: NodeBox | Frame) -> Area:
    return Area(part.x, part.y, part.x + part.width, part.y + part.height)


def label_areas(layout: Layout) -> list[Area]:
    return [
        Area(label.x, label.y - 0.76 * SHAPE_PX, label.x + _text.width(label.text, SHAPE_PX), label.y + 0.2 * SHAPE_PX)
        for label in layout.labels
    ]


def title_areas(layout: Layout) -> list[Area]:
    found = []
    for frame in layout.frames:
        end = frame.title_x + _text.width(frame.title, FRAME_PX, bold=True)
        found.append(Area(frame.title_x, frame.title_y - 0.76 * FRAME_PX, end, frame.title_y + 0.2 * FRAME_PX))
        if frame.figure:
            start = frame.figure_x - _text.width(frame.figure, SHAPE_PX)
            found.append(Area(start, frame.title_y - 0.76 * SHAPE_PX, frame.figure_x, frame.title_y + 0.2 * SHAPE_PX))
    return found


def segments(wire: Wire) -> list[Area]:
    """Return a line's pieces as rectangles without a breadth."""
    return [Area(min(a[0], b[0]), min(a[1], b[1]), max(a[0], b[0]), max(a[1], b[1])) for a, b in pairwise(wire.corners)]


def problems(layout: Layout) -> Iterator[str]:
    """Yield everything that is wrong with a layout."""
    yield from _boxes(layout)
    yield from _texts(layout)
    yield from _ends(layout)
    yield from _crossed(layout)
    yield from _shared_ways(layout)


def _boxes(layout: Layout) -> Iterator[str]:
    whole = Area(0, 0, layout.width, layout.height)
    areas = [area(box) for box in layout.boxes]
    for (i, one), (j, other) in combinations(enumerate(areas), 2):
        if one.meets(other):
            yield f"boxes {i} and {j} overlap: {one} {other}"
    for part in (*areas, *map(area, layout.frames), *label_areas(layout), *title_areas(layout)):
        if not whole.holds(part):
            yield f"{part} lies outside the picture {whole}"
    frames = [(frame, area(frame)) for frame in layout.frames]
    for (a, one), (b, other) in combinations(frames, 2):
        if one.meets(other) and not one.holds(other) and not other.holds(one):
            yield f"frames {a.path} and {b.path} cross"
    for frame, own in frames:
        for box, one in zip(layout.boxes, areas, strict=True):
            if own.meets(one) and not own.holds(one):
                yield f"frame {frame.path} cuts {box.unit.words}"


def _texts(layout: Layout) -> Iterator[str]:
    for box in layout.boxes:
        lines = box.card.lines
        height = sum(line.size for line in lines) + LEADING * (len(lines) - 1) + 2 * PAD_Y
        if height > box.height + NEAR:
            yield f"{box.unit.words}: lines {height} px high in a box of {box.height}"
        for line in lines:
            wide = _text.width(line.left, line.size, bold=line.bold) + _text.width(line.right, line.size)
            if wide > box.width - 2 * PAD_X + NEAR:
                yield f"'{line.left}{line.right}' is {wide} px wide in a box of {box.width}"
    areas = [area(box) for box in layout.boxes]
    texts = [*label_areas(layout), *title_areas(layout)]
    for text in texts:
        if any(text.meets(one) for one in areas):
            yield f"text at {text} lies on a box"
    for one, other in combinations(texts, 2):
        if one.meets(other):
            yield f"texts at {one} and {other} overlap"


def _ends(layout: Layout) -> Iterator[str]:
    for wire in layout.wires:
        source, target = area(layout.boxes[wire.source]), area(layout.boxes[wire.target])
        (x, y), (u, v) = wire.corners[0], wire.corners[-1]
        if abs(y - source.foot) > NEAR or not source.left < x < source.right:
            yield f"{wire.tensor} does not begin at its box: {(x, y)} {source}"
        if abs(v - target.top) > NEAR or not target.left < u < target.right:
            yield f"{wire.tensor} does not end at its box: {(u, v)} {target}"
        if wire.corners[-2][1] >= v:
            yield f"{wire.tensor} does not come from above"
        for (a, b), (c, d) in pairwise(wire.corners):
            if abs(a - c) > NEAR and abs(b - d) > NEAR:
                yield f"{wire.tensor} runs aslant"
            if not (
                min(a, c) >= -NEAR and max(a, c) <= layout.width and min(b, d) >= -NEAR and max(b, d) <= layout.height
            ):
                yield f"{wire.tensor} leaves the picture"


def _crossed(layout: Layout) -> Iterator[str]:
    areas = [area(box) for box in layout.boxes]
    texts = [*label_areas(layout), *title_areas(layout)]
    for wire in layout.wires:
        for piece in segments(wire):
            for index, one in enumerate(areas):
                if piece.meets(one):
                    yield f"{wire.tensor} {wire.source}→{wire.target} runs through box {index}"
            for text in texts:
                if piece.meets(text):
                    yield f"{wire.tensor} {wire.source}→{wire.target} runs through the text at {text}"


def _shared_ways(layout: Layout) -> Iterator[str]:
    """Two lines may lie on each other only where they are one tensor's, or end in the same box."""
    pieces: dict[tuple[int, float], list[tuple[float, float, Wire]]] = {}
    for wire in layout.wires:
        for piece in segments(wire):
            if piece.foot - piece.top > NEAR:
                pieces.setdefault((0, round(piece.left, 1)), []).append((piece.top, piece.foot, wire))
            elif piece.right - piece.left > NEAR:
                pieces.setdefault((1, round(piece.top, 1)), []).append((piece.left, piece.right, wire))
    for key, lines in pieces.items():
        for (a, b, one), (c, d, other) in combinations(lines, 2):
            if min(b, d) - max(a, c) > NEAR and one.tensor != other.tensor and one.target != other.target:
                yield f"{one.tensor} and {other.tensor} lie on each other at {key}"
