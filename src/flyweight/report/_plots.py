"""Scatter plots as inline SVG: logarithmic x axis, labels that overlap neither each other nor the points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from flyweight.report import _format as fmt

WIDTH, HEIGHT = 500, 400
LEFT, RIGHT, TOP, BOTTOM = 54, 16, 14, 50
LABEL_HEIGHT, CHARACTER = 12.0, 6.3  # of the 11.5 px labels in _style.py


@dataclass(frozen=True)
class Point:
    """One labelled point; ``low`` and ``high`` are the x spread, where it is known."""

    name: str
    x: float
    y: float
    control: bool = False
    end: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: _Box) -> float:
        """Shared area."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)


FRAME = _Box(LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)


@dataclass(frozen=True)
class _Axis:
    """From a value to a pixel; ``log`` takes the logarithm first."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def at(self, value: float) -> float:
        position = self._place(value)
        return self.start + (position - self._place(self.low)) / (self._place(self.high) - self._place(self.low)) * (
            self.end - self.start
        )

    def _place(self, value: float) -> float:
        return math.log10(value) if self.log else value


def scatter(points: Sequence[Point], x_title: str, y_title: str, label: str, *, joined: bool = True) -> str:
    """Return an SVG with the points, joined in their order, the controls apart; '' for no points.

    Args:
        points: x above zero; drawn in order, and joined by a line where they are no controls, unless not ``joined``.
        x_title, y_title: axis titles with units. label: what a screen reader says.
    """
    if not points:
        return ""
    x, y = _x_axis(points), _y_axis(points)
    places = [(x.at(p.x), y.at(p.y)) for p in points]
    line = [place for point, place in zip(points, places, strict=True) if joined and not point.control]
    along = _samples(line) if joined else _whiskers(points, x, places)
    boxes = _labels(points, places, along)
    parts = [_grid(x, y), _titles(x_title, y_title), _ladder_line(line)]
    parts += [_spread(p, x, place[1]) for p, place in zip(points, places, strict=True)]
    parts += [_leader(p, place, box) for p, place, box in zip(points, places, boxes, strict=True)]
    parts += [_mark(p, place, x_title, y_title) for p, place in zip(points, places, strict=True)]
    parts += [_name(p, box) for p, box in zip(points, boxes, strict=True)]
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{fmt.esc(label)}">'
        + "".join(parts)
        + "</svg>"
    )


def _x_axis(points: Sequence[Point]) -> _Axis:
    low, high = min(p.x for p in points), max(p.x for p in points)
    margin = max((high / low) ** 0.09, 1.15)
    return _Axis(low / margin, high * margin, FRAME.left, FRAME.right, True)


def _y_axis(points: Sequence[Point]) -> _Axis:
    low, high = min(p.y for p in points), max(p.y for p in points)
    margin = max((high - low) * 0.13, 0.004)
    return _Axis(low - margin, high + margin, FRAME.bottom, FRAME.top, False)


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers between ``low`` and ``high``, some three to eight, for a logarithmic axis."""
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), tuple(range(10, 100))):
        scale = 10 if steps[0] == 10 else 1
        ticks = [float(f"{s / scale * 10.0**d:.6g}") for d in decades for s in steps]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 4:
            break
    return ticks[:: max(1, math.ceil(len(ticks) / 8))]


def linear_ticks(low: float, high: float) -> list[float]:
    """Return three to ten round numbers between ``low`` and ``high``."""
    raw = (high - low) / 8
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= raw)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


def _grid(x: _Axis, y: _Axis) -> str:
    parts = []
    for tick in log_ticks(x.low, x.high):
        at = x.at(tick)
        parts.append(f'<path class="grid" d="M{at:.1f} {FRAME.top}V{FRAME.bottom}"/>')
        parts.append(f'<text x="{at:.1f}" y="{FRAME.bottom + 17}" text-anchor="middle">{_tick(tick)}</text>')
    ticks = linear_ticks(y.low, y.high)
    decimals = 2 if all(abs(round(t, 2) - t) < 1e-9 for t in ticks) else 3
    for tick in ticks:
        at = y.at(tick)
        parts.append(f'<path class="grid" d="M{FRAME.left} {at:.1f}H{FRAME.right}"/>')
        parts.append(f'<text x="{FRAME.left - 7}" y="{at + 4:.1f}" text-anchor="end">{tick:.{decimals}f}</text>')
    parts.append(f'<path class="frame" d="M{FRAME.left} {FRAME.top}V{FRAME.bottom}H{FRAME.right}"/>')
    return "".join(parts)


def _tick(value: float) -> str:
    return fmt.thousands(value) if value >= 1000 else f"{value:g}"


def _titles(x_title: str, y_title: str) -> str:
    middle, height = (FRAME.left + FRAME.right) / 2, (FRAME.top + FRAME.bottom) / 2
    return (
        f'<text class="axis" x="{middle}" y="{HEIGHT - 10}" text-anchor="middle">{fmt.esc(x_title)}</text>'
        f'<text class="axis" transform="translate(13 {height}) rotate(-90)" text-anchor="middle">'
        f"{fmt.esc(y_title)}</text>"
    )


def _ladder_line(line: Sequence[tuple[float, float]]) -> str:
    return f'<polyline class="path" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in line)}"/>' if line else ""


def _spread(point: Point, x: _Axis, y: float) -> str:
    if not (point.low and point.high and point.low > 0):
        return ""
    left, right = max(x.at(point.low), FRAME.left), min(x.at(point.high), FRAME.right)
    return f'<path class="spread" d="M{left:.1f} {y:.1f}H{right:.1f}"/>'


def _mark(point: Point, place: tuple[float, float], x_title: str, y_title: str) -> str:
    x, y = place
    title = f"{point.name}: {fmt.significant(point.x)} ({x_title}), {fmt.metric(point.y)} ({y_title})"
    if point.control:
        mark = f'class="ctl" d="M{x:.1f} {y - 6.5:.1f}l6.5 6.5l-6.5 6.5l-6.5 -6.5z"'
        return f"<path {mark}><title>{fmt.esc(title)}</title></path>"
    radius = 6 if point.end else 4.8
    return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{fmt.esc(title)}</title></circle>'


def _leader(point: Point, place: tuple[float, float], box: _Box) -> str:
    x, y = min(max(place[0], box.left), box.right), min(max(place[1], box.top + 2), box.bottom - 2)
    if math.hypot(x - place[0], y - place[1]) < 13:
        return ""
    return f'<path class="lead" d="M{place[0]:.1f} {place[1]:.1f}L{x:.1f} {y:.1f}"/>'


def _name(point: Point, box: _Box) -> str:
    kind = "name" + (" c" if point.control else "") + (" end" if point.end else "")
    middle = (box.left + box.right) / 2
    place = f'x="{middle:.1f}" y="{box.bottom - 2.5:.1f}" text-anchor="middle"'
    return f'<text class="{kind}" {place}>{fmt.esc(_short(point.name))}</text>'


def _short(name: str) -> str:
    return name if len(name) <= 16 else name[:15] + "…"


def _labels(
    points: Sequence[Point], places: Sequence[tuple[float, float]], along: Sequence[tuple[float, float]]
) -> list[_Box]:
    """Place the labels one after the other, the most crowded first, each where it covers least.

    ``along``: places on lines that a label had better not lie on.
    """
    marks = [_Box(x - 6, y - 6, x + 6, y + 6) for x, y in places]
    crowd = [sum(math.hypot(x - u, y - v) < 70 for u, v in places) for x, y in places]
    boxes: dict[int, _Box] = {}
    for i in sorted(range(len(points)), key=lambda i: -crowd[i]):
        width = len(_short(points[i].name)) * CHARACTER * (1.08 if points[i].end else 1) + 3
        taken = [*marks, *boxes.values()]
        boxes[i] = min(_candidates(places[i], width), key=lambda c: _cost(c[0], taken, along) + c[1])[0]
    return [boxes[i] for i in range(len(points))]


def _candidates(place: tuple[float, float], width: float) -> list[tuple[_Box, float]]:
    """Return boxes around a point with what each costs for its distance."""
    found = []
    for gap in (8, 13, 20, 29, 40, 53, 68, 85):
        for turn in range(16):
            angle = turn * math.pi / 8
            x = place[0] + math.cos(angle) * (gap + width / 2)
            y = place[1] - math.sin(angle) * (gap + LABEL_HEIGHT / 2)
            box = _Box(x - width / 2, y - LABEL_HEIGHT / 2, x + width / 2, y + LABEL_HEIGHT / 2)
            found.append((box, gap + (0.0 if turn in (0, 4) else 1.5)))
    return found


def _samples(line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return places along the ladder's line, 4 px apart; a label had better not lie on them."""
    found = []
    for (x, y), (u, v) in pairwise(line):
        count = int(math.dist((x, y), (u, v)) / 4)
        found += [(x + (u - x) * i / count, y + (v - y) * i / count) for i in range(count)]
    return found


def _whiskers(points: Sequence[Point], x: _Axis, places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return places along the points' spreads, as ``_samples`` does along a line."""
    found = []
    for point, (_, y) in zip(points, places, strict=True):
        if point.low and point.high:
            found += _samples([(max(x.at(point.low), FRAME.left), y), (min(x.at(point.high), FRAME.right), y)])
    return found


def _cost(box: _Box, taken: Sequence[_Box], line: Sequence[tuple[float, float]]) -> float:
    area = (box.right - box.left) * (box.bottom - box.top)
    crossed = sum(box.left < x < box.right and box.top < y < box.bottom for x, y in line)
    return 40 * sum(box.overlap(other) for other in taken) + 40 * (area - box.overlap(FRAME)) + 1.2 * crossed
