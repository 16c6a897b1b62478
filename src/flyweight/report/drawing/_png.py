"""A scene as a PNG, drawn with Pillow.

Straight edges lie on whole pixels. Corners and arrow heads, which do not, are drawn once at four times the size,
scaled down, and used as stamps.
"""

from __future__ import annotations

import io
import math
from functools import cache
from itertools import pairwise

from PIL import Image, ImageDraw

from flyweight.errors import UsageError
from flyweight.report.drawing._font import STROKE_WIDTH, STROKES, UNKNOWN_SIGN, advance, drawn_width, font_at, runs
from flyweight.report.drawing._scene import Color, Item, Path, Rect, Scene, Text
from flyweight.report.drawing._shapes import ARROW_LENGTH, ARROW_WIDTH
from flyweight.report.drawing._strip import Point
from flyweight.report.drawing._text import BOLD_SPACING, BOLD_STROKE

MOST_PIXELS, USUAL_PIXELS = 250_000_000, 36_000_000
USUAL_SCALE = 2.0
FINE = 4  # stamps are drawn this much larger
DASH, DASH_GAP = 4.0, 3.0
SIGN_PAD = 2  # pixels around the mask of a sign
INCH_PX = 96


def usual_scale(scene: Scene) -> float:
    """Return 2, or less for a picture that would get too large by that."""
    fitting = math.sqrt(USUAL_PIXELS / (scene.width * scene.height))
    return min(USUAL_SCALE, max(1.0, fitting))


def to_png(scene: Scene, scale: float | None = None) -> bytes:
    """Return the scene as a PNG of ``scale`` pixels per px.

    Raises:
        UsageError: it would be larger than Pillow, or a viewer, bears.
        RuntimeMissingError: there is no font.
    """
    scale = usual_scale(scene) if scale is None else scale
    width, height = round(scene.width * scale), round(scene.height * scale)
    if width * height > MOST_PIXELS:
        raise UsageError(
            f"a PNG of {width}×{height} pixels is too large. Choose a smaller --scale, or SVG or PDF, which have none."
        )
    canvas = _Canvas(width, height, scale)
    for item in scene.items:
        canvas.draw(item)
    out = io.BytesIO()
    canvas.image.save(out, "PNG", compress_level=3, dpi=(INCH_PX * scale, INCH_PX * scale))
    return out.getvalue()


class _Canvas:
    def __init__(self, width: int, height: int, scale: float) -> None:
        self.image = Image.new("RGB", (width, height), (255, 255, 255))
        self.pen, self.scale = ImageDraw.Draw(self.image), scale

    def draw(self, item: Item) -> None:
        if isinstance(item, Rect):
            self._rect(item)
        elif isinstance(item, Path):
            self._path(item)
        else:
            self._text(item)

    def _at(self, value: float) -> int:
        return round(value * self.scale)

    def _px(self, value: float) -> int:
        return max(1, round(value * self.scale))

    # ---- rectangles

    def _rect(self, rect: Rect) -> None:
        x, y = self._at(rect.x), self._at(rect.y)
        right, foot = self._at(rect.x + rect.width), self._at(rect.y + rect.height)
        pen = self._px(rect.stroke_px) if rect.stroke else 0
        if rect.stroke:  # the outline lies on the edge, half of it outside
            x, y, right, foot = x - pen // 2, y - pen // 2, right + (pen + 1) // 2, foot + (pen + 1) // 2
        if right <= x or foot <= y:
            return
        radius = min(self._at(rect.radius), (right - x) // 2, (foot - y) // 2)
        if rect.dashed and rect.stroke:
            self._filled(x, y, right, foot, radius, rect.fill)
            self._dashes(x, y, right, foot, pen, rect.stroke)
            return
        if rect.stroke and rect.fill:
            self._filled(x, y, right, foot, radius, rect.stroke)
            self._filled(x + pen, y + pen, right - pen, foot - pen, max(radius - pen, 0), rect.fill)
        elif rect.stroke:
            self.pen.rectangle((x, y, right - 1, foot - 1), outline=rect.stroke, width=pen)
        else:
            self._filled(x, y, right, foot, radius, rect.fill)

    def _filled(self, x: int, y: int, right: int, foot: int, radius: int, color: Color | None) -> None:
        if color is None:
            return
        if not radius:
            self.pen.rectangle((x, y, right - 1, foot - 1), fill=color)
            return
        self.pen.rectangle((x + radius, y, right - radius - 1, foot - 1), fill=color)
        if foot - radius > y + radius:
            self.pen.rectangle((x, y + radius, right - 1, foot - radius - 1), fill=color)
        corners = ((x, y), (right - radius, y), (right - radius, foot - radius), (x, foot - radius))
        for turn, place in enumerate(corners):
            self.image.paste(color, place, _quarter(radius, turn))

    def _dashes(self, x: int, y: int, right: int, foot: int, pen: int, color: Color) -> None:
        dash, step = self._px(DASH), self._px(DASH) + self._px(DASH_GAP)
        for start in range(x, right, step):
            end = min(start + dash, right) - 1
            self.pen.rectangle((start, y, end, y + pen - 1), fill=color)
            self.pen.rectangle((start, foot - pen, end, foot - 1), fill=color)
        for start in range(y, foot, step):
            end = min(start + dash, foot) - 1
            self.pen.rectangle((x, start, x + pen - 1, end), fill=color)
            self.pen.rectangle((right - pen, start, right - 1, end), fill=color)

    # ---- lines

    def _path(self, path: Path) -> None:
        pen = self._px(path.px)
        points = [(self._at(x), self._at(y)) for x, y in path.points]
        last = len(points) - 2
        for index, (start, end) in enumerate(pairwise(points)):
            head = self._at(ARROW_LENGTH - 1) if path.arrow and index == last else 0
            before = self._bend(points, index, path.radius)
            after = self._bend(points, index + 1, path.radius) or head
            self._bar(start, end, before, after, pen, path.color)
        for index in range(1, len(points) - 1):
            radius = self._bend(points, index, path.radius)
            self._corner(points[index - 1], points[index], points[index + 1], radius, pen, path.color)
        if path.arrow:
            self._head(points[-1], points[-2], path.color)

    def _bend(self, points: list[tuple[int, int]], index: int, radius: float) -> int:
        """Return the radius of a corner, in pixels; 0 for an end."""
        if not 0 < index < len(points) - 1:
            return 0
        near = (_length(points[index - 1], points[index]), _length(points[index], points[index + 1]))
        return min(self._at(radius), *(length // 2 for length in near))

    def _bar(
        self, start: tuple[int, int], end: tuple[int, int], before: int, after: int, pen: int, color: Color
    ) -> None:
        (x, y), (u, v) = start, end
        half = pen // 2
        if x == u:
            step = 1 if v > y else -1
            low, high = sorted((y + step * before, v - step * after))
            self.pen.rectangle((x - half, low, x - half + pen - 1, high), fill=color)
        else:
            step = 1 if u > x else -1
            low, high = sorted((x + step * before, u - step * after))
            self.pen.rectangle((low, y - half, high, y - half + pen - 1), fill=color)

    def _corner(
        self, before: Point, corner: tuple[int, int], after: Point, radius: int, pen: int, color: Color
    ) -> None:
        x, y = corner
        dx = (before[0] > x) - (before[0] < x) + (after[0] > x) - (after[0] < x)
        dy = (before[1] > y) - (before[1] < y) + (after[1] > y) - (after[1] < y)
        if not dx or not dy:
            return
        mask = _bow(radius, pen, dx > 0, dy > 0)
        half = pen // 2
        left = x - half if dx > 0 else x - half + pen - mask.width
        top = y - half if dy > 0 else y - half + pen - mask.height
        self.image.paste(color, (left, top), mask)

    def _head(self, tip: tuple[int, int], before: tuple[int, int], color: Color) -> None:
        length, width = self._px(ARROW_LENGTH), self._px(ARROW_WIDTH)
        mask = _triangle(length, width | 1)
        if before[0] == tip[0] and before[1] <= tip[1]:
            self.image.paste(color, (tip[0] - mask.width // 2, tip[1] - length), mask)
            return
        turn = 180 if before[0] == tip[0] else 90 if before[0] < tip[0] else 270
        turned = mask.rotate(turn, expand=True)
        left = tip[0] - (turned.width if before[0] < tip[0] else 0 if before[0] > tip[0] else turned.width // 2)
        top = tip[1] - (0 if before[0] == tip[0] else turned.height // 2)
        self.image.paste(color, (left, top), turned)

    # ---- text

    def _text(self, text: Text) -> None:
        size, scale = text.size * self.scale, self.scale
        spacing = BOLD_SPACING if text.bold else 0.0
        width = drawn_width(text.text, text.size, spacing)
        left = (text.x - {"start": 0.0, "middle": width / 2, "end": width}[text.anchor]) * scale
        font, y = font_at(size), round(text.y * scale)
        bold = BOLD_STROKE * size if text.bold else 0.0
        for run in runs(text.text, text.size, spacing):
            x = left + run.x * scale
            if run.strokes is None:
                for char in run.text:
                    self.pen.text((x, y), char, text.color, font, "ls", stroke_width=bold / 2)
                    x += (advance(char) + spacing) * size
            else:
                whole = math.floor(x)
                part = round((x - whole) * FINE) / FINE
                mask = _sign(run.text, size, STROKE_WIDTH * size + bold, part)
                self.image.paste(text.color, (whole - SIGN_PAD, y - mask.height + SIGN_PAD), mask)


def _length(one: tuple[int, int], other: tuple[int, int]) -> int:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


@cache
def _sign(char: str, size: float, pen: float, part: float) -> Image.Image:
    """Return the mask of a sign that the font lacks, ``part`` of a pixel from its left, its foot above the pad."""
    width, height = math.ceil(advance(char) * size) + 1 + 2 * SIGN_PAD, math.ceil(size) + 2 * SIGN_PAD
    fine = Image.new("L", (width * FINE, height * FINE), 0)
    pencil = ImageDraw.Draw(fine)
    for line in STROKES.get(char, UNKNOWN_SIGN):
        points = [((SIGN_PAD + part + px * size) * FINE, (height - SIGN_PAD - py * size) * FINE) for px, py in line]
        pencil.line(points, fill=255, width=max(1, round(pen * FINE)), joint="curve")
    return fine.resize((width, height), Image.Resampling.BOX)


@cache
def _quarter(radius: int, turn: int) -> Image.Image:
    """Return the mask of a quarter of a disc; 0: the upper left one, then clockwise."""
    fine = radius * FINE
    disc = Image.new("L", (fine, fine), 0)
    ImageDraw.Draw(disc).ellipse((0, 0, 2 * fine - 1, 2 * fine - 1), fill=255)
    return disc.resize((radius, radius), Image.Resampling.BOX).rotate(-90 * turn)


@cache
def _bow(radius: int, pen: int, right: bool, down: bool) -> Image.Image:
    """Return the mask of a rounded corner of a line whose ends lead to the right or left, and down or up."""
    size = radius + pen // 2 + 1
    fine = size * FINE
    ring = Image.new("L", (fine, fine), 0)
    outer, inner = (radius + pen / 2) * FINE, (radius - pen / 2) * FINE
    center = outer
    pencil = ImageDraw.Draw(ring)
    pencil.ellipse((center - outer, center - outer, center + outer, center + outer), fill=255)
    if inner > 0:
        pencil.ellipse((center - inner, center - inner, center + inner, center + inner), fill=0)
    edge = round(center)
    pencil.rectangle((edge, 0, fine, fine), fill=0)
    pencil.rectangle((0, edge, fine, fine), fill=0)
    mask = ring.resize((size, size), Image.Resampling.BOX)
    if not right:
        mask = mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return mask if down else mask.transpose(Image.Transpose.FLIP_TOP_BOTTOM)


@cache
def _triangle(length: int, width: int) -> Image.Image:
    """Return the mask of an arrow's head that points down."""
    fine = Image.new("L", (width * FINE, length * FINE), 0)
    ImageDraw.Draw(fine).polygon(((0, 0), (width * FINE, 0), (width * FINE / 2, length * FINE)), fill=255)
    return fine.resize((width, length), Image.Resampling.BOX)
