"""A scene as SVG: one file with its font in it, nothing that runs or loads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from flyweight.report import _format as fmt
from flyweight.report.drawing._font import font_data_uri
from flyweight.report.drawing._scene import Color, Item, Path, Rect, Scene, Text
from flyweight.report.drawing._shapes import arrow, rounded
from flyweight.report.drawing._text import BOLD_SPACING, BOLD_STROKE

FAMILY = "Flyweight Aileron"
FALLBACK = "Arial,'Liberation Sans',Helvetica,sans-serif"


def to_svg(scene: Scene) -> str:
    """Return the scene as an SVG document."""
    width, height = math.ceil(scene.width), math.ceil(scene.height)
    face = font_data_uri()
    font = f"@font-face{{font-family:'{FAMILY}';src:url({face}) format('truetype')}}" if face else ""
    style = (
        f"{font}.fw text{{font-family:'{FAMILY}',{FALLBACK};white-space:pre;"
        "font-kerning:none;font-variant-ligatures:none}"
        ".fw .m{text-anchor:middle}.fw .e{text-anchor:end}.fw path{fill:none}"
    )
    body = "".join(_runs(scene.items))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="fw" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{fmt.esc(scene.title)}">'
        f"<title>{fmt.esc(scene.title)}</title><style>{style}</style>"
        f'<rect width="{width}" height="{height}" fill="#fff"/>{body}</svg>\n'
    )


def _runs(items: Sequence[Item]) -> Iterator[str]:
    """Yield the items, neighbouring texts and lines of one look in a group that says it once."""
    look = ""
    for item in items:
        own = _look(item)
        if own != look:
            if look:
                yield "</g>"
            if own:
                yield f"<g {own}>"
            look = own
        yield _item(item)
    if look:
        yield "</g>"


def _look(item: Item) -> str:
    if isinstance(item, Path):
        return f'stroke="{_hex(item.color)}" stroke-width="{item.px:g}"'
    return ""


def _item(item: Item) -> str:
    if isinstance(item, Rect):
        return _rect(item)
    return _path(item) if isinstance(item, Path) else _text(item)


def _hex(color: Color) -> str:
    return "#" + "".join(f"{part:02x}" for part in color)


def _n(value: float) -> str:
    """Return a coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def _rect(rect: Rect) -> str:
    look = f' fill="{_hex(rect.fill)}"' if rect.fill else ' fill="none"'
    if rect.stroke:
        look += f' stroke="{_hex(rect.stroke)}"' + (
            f' stroke-width="{rect.stroke_px:g}"' if rect.stroke_px != 1 else ""
        )
    look += f' rx="{_n(rect.radius)}"' if rect.radius else ""
    look += ' stroke-dasharray="4 3"' if rect.dashed else ""
    place = f'x="{_n(rect.x)}" y="{_n(rect.y)}" width="{_n(rect.width)}" height="{_n(rect.height)}"'
    if rect.about:
        return f"<rect {place}{look}><title>{fmt.esc(rect.about)}</title></rect>"
    return f"<rect {place}{look}/>"


def _text(text: Text) -> str:
    kind = {"start": "", "middle": ' class="m"', "end": ' class="e"'}[text.anchor]
    color = _hex(text.color)
    bold = ""
    if text.bold:
        bold = f' stroke="{color}" stroke-width="{text.size * BOLD_STROKE:.2f}"'
        bold += f' letter-spacing="{text.size * BOLD_SPACING:.2f}"'
    place = f'x="{_n(text.x)}" y="{_n(text.y)}" font-size="{text.size:g}"'
    return f'<text {place}{kind} fill="{color}"{bold}>{fmt.esc(text.text)}</text>'


def _path(path: Path) -> str:
    corners = rounded(path)
    data = f"M{_n(corners[0].x)} {_n(corners[0].y)}"
    for corner in corners[1:]:
        data += f"L{_n(corner.x)} {_n(corner.y)}"
        if corner.bend:
            (cx, cy), (x, y) = corner.bend
            data += f"Q{_n(cx)} {_n(cy)} {_n(x)} {_n(y)}"
    if not path.arrow:
        return f'<path d="{data}"/>'
    tip = path.points[-1]
    left, right = arrow(tip, path.points[-2])
    head = f"M{_n(tip[0])} {_n(tip[1])}L{_n(left[0])} {_n(left[1])}L{_n(right[0])} {_n(right[1])}Z"
    return f'<path d="{data}"/><path d="{head}" style="fill:{_hex(path.color)};stroke:none"/>'
