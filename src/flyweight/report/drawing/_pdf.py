"""Scenes as a PDF: one page each, drawn as lines and text, with the font in the file.

Source: ISO 32000-1 (PDF 1.7): sections 7.5 (file structure), 8.5 (paths), 9.4 (text), 9.6.3 (TrueType fonts).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence

from flyweight.report.drawing._font import STROKE_WIDTH, advance, drawn_width, in_font, needed_font_bytes, runs
from flyweight.report.drawing._scene import Color, Item, Path, Rect, Scene, Text
from flyweight.report.drawing._shapes import arrow, rounded, toward
from flyweight.report.drawing._text import BOLD_SPACING, BOLD_STROKE, EM

POINTS_PER_PX = 0.75  # 96 px are 72 points are one inch
LARGEST_PAGE = 14_400.0  # points; a larger page says how long its unit is
KAPPA = 0.5523  # of a Bézier curve that is a quarter of a circle
FIRST, LAST = 32, 255  # characters of the font, as Windows-1252 numbers them
NON_SYMBOLIC = 32


def to_pdf(scenes: Sequence[Scene], title: str) -> bytes:
    """Return the scenes as the pages of a PDF.

    Raises:
        RuntimeMissingError: there is no font to put into it.
    """
    writer = _Writer()
    catalog, pages, font = writer.reserve(), writer.reserve(), _font(writer)
    kids = [_page(writer, scene, pages, font) for scene in scenes]
    writer.put(pages, f"<</Type/Pages/Count {len(kids)}/Kids[{' '.join(f'{kid} 0 R' for kid in kids)}]>>")
    writer.put(catalog, f"<</Type/Catalog/Pages {pages} 0 R/ViewerPreferences<</DisplayDocTitle true>>>>")
    info = writer.add(f"<</Title {_string(title)}/Producer(Flyweight)>>")
    return writer.file(catalog, info)


class _Writer:
    """Collects the file's objects and writes them with their table of places."""

    def __init__(self) -> None:
        self.objects: list[bytes] = []

    def reserve(self) -> int:
        self.objects.append(b"")
        return len(self.objects)

    def put(self, number: int, text: str) -> None:
        self.objects[number - 1] = text.encode("latin-1")

    def add(self, text: str) -> int:
        number = self.reserve()
        self.put(number, text)
        return number

    def stream(self, data: bytes, more: str = "") -> int:
        packed = zlib.compress(data, 6)
        head = f"<</Length {len(packed)}/Filter/FlateDecode{more}>>stream\n".encode("latin-1")
        number = self.reserve()
        self.objects[number - 1] = head + packed + b"\nendstream"
        return number

    def file(self, catalog: int, info: int) -> bytes:
        parts, places, at = [b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"], [], 15
        for number, data in enumerate(self.objects, 1):
            places.append(at)
            parts.append(b"%d 0 obj\n%s\nendobj\n" % (number, data))
            at += len(parts[-1])
        table = "".join(f"{place:010d} 00000 n \n" for place in places)
        parts.append(f"xref\n0 {len(places) + 1}\n0000000000 65535 f \n{table}".encode("ascii"))
        trailer = f"<</Size {len(places) + 1}/Root {catalog} 0 R/Info {info} 0 R>>"
        parts.append(f"trailer\n{trailer}\nstartxref\n{at}\n%%EOF\n".encode("ascii"))
        return b"".join(parts)


def _string(text: str) -> str:
    marked = "\ufeff" + text
    return f"<{marked.encode('utf-16-be', 'replace').hex()}>"


def _code(char: str) -> int | None:
    """Return a character's number in the font's encoding, None for one that is drawn by strokes."""
    try:
        code = char.encode("cp1252")[0]
    except UnicodeEncodeError:
        return None
    return code if in_font(char) and code >= FIRST else None


def _font(writer: _Writer) -> int:
    data = needed_font_bytes()
    file = writer.stream(data, f"/Length1 {len(data)}")
    tables = {
        data[at : at + 4]: struct.unpack(">I", data[at + 8 : at + 12])[0]
        for at in range(12, 12 + 16 * struct.unpack(">H", data[4:6])[0], 16)
    }
    unit = EM / struct.unpack(">H", data[tables[b"head"] + 18 : tables[b"head"] + 20])[0]
    box = [round(v * unit) for v in struct.unpack(">4h", data[tables[b"head"] + 36 : tables[b"head"] + 44])]
    ascent, descent = (round(v * unit) for v in struct.unpack(">2h", data[tables[b"hhea"] + 4 : tables[b"hhea"] + 8]))
    name = "/Aileron-Regular"
    descriptor = writer.add(
        f"<</Type/FontDescriptor/FontName{name}/Flags {NON_SYMBOLIC}/FontBBox[{' '.join(map(str, box))}]/ItalicAngle 0"
        f"/Ascent {ascent}/Descent {descent}/CapHeight {round(0.7 * EM)}/StemV 80/FontFile2 {file} 0 R>>"
    )
    chars = (bytes([code]).decode("cp1252", "replace") for code in range(FIRST, LAST + 1))
    widths = " ".join(str(round(advance(char) * EM)) for char in chars)
    return writer.add(
        f"<</Type/Font/Subtype/TrueType/BaseFont{name}/FirstChar {FIRST}/LastChar {LAST}/Widths[{widths}]"
        f"/Encoding/WinAnsiEncoding/FontDescriptor {descriptor} 0 R>>"
    )


def _page(writer: _Writer, scene: Scene, pages: int, font: int) -> int:
    width, height = scene.width * POINTS_PER_PX, scene.height * POINTS_PER_PX
    unit = max(1.0, width / LARGEST_PAGE, height / LARGEST_PAGE)
    scale = POINTS_PER_PX / unit
    content = "\n".join((f"{_n(scale)} 0 0 {_n(-scale)} 0 {_n(height / unit)} cm 1 j 1 J", *_content(scene)))
    stream = writer.stream(content.encode("latin-1"))
    longer = f"/UserUnit {unit:.4f}" if unit > 1 else ""
    return writer.add(
        f"<</Type/Page/Parent {pages} 0 R/MediaBox[0 0 {_n(width / unit)} {_n(height / unit)}]{longer}"
        f"/Resources<</Font<</F {font} 0 R>>>>/Contents {stream} 0 R>>"
    )


def _content(scene: Scene) -> Iterator[str]:
    for item in scene.items:
        yield from _item(item)
    if scene.window:
        window = scene.window
        yield f"q {_n(window.x)} {_n(window.y)} {_n(window.width)} {_n(window.height)} re W n"
        yield f"{_n(window.scale)} 0 0 {_n(window.scale)} {_n(window.dx)} {_n(window.dy)} cm"
        for item in window.items:
            yield from _item(item)
        yield "Q"


def _n(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _rgb(color: Color) -> str:
    return " ".join(_n(part / 255) if part not in (0, 255) else str(part // 255) for part in color)


def _item(item: Item) -> Iterator[str]:
    if isinstance(item, Rect):
        yield _rect(item)
    elif isinstance(item, Path):
        yield from _path(item)
    else:
        yield from _text(item)


def _rect(rect: Rect) -> str:
    parts = [f"{_rgb(rect.fill)} rg"] if rect.fill else []
    if rect.stroke:
        parts += [f"{_rgb(rect.stroke)} RG {_n(rect.stroke_px)} w", "[4 3] 0 d" if rect.dashed else "[] 0 d"]
    radius = min(rect.radius, rect.width / 2, rect.height / 2)
    parts.append(
        _outline(rect, radius) if radius else f"{_n(rect.x)} {_n(rect.y)} {_n(rect.width)} {_n(rect.height)} re"
    )
    parts.append("B" if rect.fill and rect.stroke else "f" if rect.fill else "S")
    return " ".join(parts)


def _outline(rect: Rect, radius: float) -> str:
    """Return four sides and four quarters of a circle, from the upper left on, clockwise."""
    left, top, right, foot = rect.x, rect.y, rect.x + rect.width, rect.y + rect.height
    text = f"{_n(left + radius)} {_n(top)} m"
    for x, y, dx, dy in ((right, top, -1, 0), (right, foot, 0, -1), (left, foot, 1, 0), (left, top, 0, 1)):
        start = x + dx * radius, y + dy * radius
        end = x + dy * radius, y - dx * radius
        bend = radius * (1 - KAPPA)
        curve = (x + dx * bend, y + dy * bend, x + dy * bend, y - dx * bend, *end)
        text += f" {_n(start[0])} {_n(start[1])} l {' '.join(map(_n, curve))} c"
    return text + " h"


def _path(path: Path) -> Iterator[str]:
    corners, tip = rounded(path), path.points[-1]
    text = f"{_rgb(path.color)} RG {_n(path.px)} w [] 0 d {_n(corners[0].x)} {_n(corners[0].y)} m"
    for corner in corners[1:]:
        text += f" {_n(corner.x)} {_n(corner.y)} l"
        if corner.bend:
            (cx, cy), (ex, ey) = corner.bend
            pull = corner.radius * KAPPA
            first, second = toward((corner.x, corner.y), (cx, cy), pull), toward((ex, ey), (cx, cy), pull)
            text += f" {_n(first[0])} {_n(first[1])} {_n(second[0])} {_n(second[1])} {_n(ex)} {_n(ey)} c"
    yield text + " S"
    if path.arrow:
        left, right = arrow(tip, path.points[-2])
        yield (
            f"{_rgb(path.color)} rg {_n(tip[0])} {_n(tip[1])} m {_n(left[0])} {_n(left[1])} l "
            f"{_n(right[0])} {_n(right[1])} l h f"
        )


def _text(text: Text) -> Iterator[str]:
    spacing = BOLD_SPACING if text.bold else 0.0
    width = drawn_width(text.text, text.size, spacing)
    left = text.x - {"start": 0.0, "middle": width / 2, "end": width}[text.anchor]
    color = _rgb(text.color)
    look = f"2 Tr {_n(text.size * BOLD_STROKE)} w {color} RG [] 0 d" if text.bold else "0 Tr"
    for run in runs(text.text, text.size, spacing):
        x = left + run.x
        if run.strokes is None:
            codes = bytes(code for code in map(_code, run.text) if code is not None)
            place = f"1 0 0 -1 {_n(x)} {_n(text.y)} Tm {spacing * text.size:.3f} Tc"
            yield f"BT {color} rg {look} /F {_n(text.size)} Tf {place} <{codes.hex()}> Tj ET"
        else:
            yield f"/Span<</ActualText {_string(run.text)}>>BDC"
            heavier = BOLD_STROKE if text.bold else 0.0
            yield f"{color} RG {_n((STROKE_WIDTH + heavier) * text.size)} w [] 0 d"
            for line in run.strokes:
                points = [f"{_n(x + px * text.size)} {_n(text.y - py * text.size)}" for px, py in line]
                yield f"{points[0]} m " + " ".join(f"{point} l" for point in points[1:]) + " S"
            yield "EMC"
