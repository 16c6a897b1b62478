"""Geometry that the renderings share: rounded corners of lines, and the heads of arrows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from flyweight.report.drawing._scene import Path
from flyweight.report.drawing._strip import Point

ARROW_LENGTH, ARROW_WIDTH = 7.0, 5.0


@dataclass(frozen=True)
class Corner:
    """A point to which a straight piece leads; ``bend``: the corner itself, and the point behind it."""

    x: float
    y: float
    bend: tuple[Point, Point] | None = None
    radius: float = 0.0


def rounded(path: Path) -> tuple[Corner, ...]:
    """Return a line's points with its corners rounded; an arrow's line ends within its head."""
    points = list(path.points)
    if path.arrow:
        points[-1] = toward(points[-1], points[-2], ARROW_LENGTH - 1)
    found = [Corner(*points[0])]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        radius = min(path.radius, math.dist(before, corner) / 2, math.dist(corner, after) / 2)
        start, end = toward(corner, before, radius), toward(corner, after, radius)
        found.append(Corner(*start, (corner, end), radius))
    found.append(Corner(*points[-1]))
    return tuple(found)


def toward(start: Point, end: Point, distance: float) -> Point:
    """Return the point ``distance`` from ``start`` on the way to ``end``."""
    length = math.dist(start, end) or 1.0
    return start[0] + (end[0] - start[0]) * distance / length, start[1] + (end[1] - start[1]) * distance / length


def arrow(tip: Point, before: Point) -> tuple[Point, Point]:
    """Return the two back corners of an arrow's head."""
    back = toward(tip, before, ARROW_LENGTH)
    x, y = (back[0] - tip[0]) / ARROW_LENGTH, (back[1] - tip[1]) / ARROW_LENGTH
    half = ARROW_WIDTH / 2
    return (back[0] - y * half, back[1] + x * half), (back[0] + y * half, back[1] - x * half)
