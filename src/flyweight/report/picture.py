"""A picture of a whole network as SVG: every operator and skip, the shapes between, coloured by what each block costs.

Drawn by Flyweight itself: no other program, no font of its own, nothing in it that runs or loads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from flyweight.graph import Graph
from flyweight.report import _format as fmt
from flyweight.report._blocks import Block, blocks_of, values_of
from flyweight.report._layout import HEADER, LINE_HEIGHT, MARGIN, PADDING, Box, Layout, Route, place

INK, SOFT, LINE, SKIP, PLAIN = "#1a2530", "#56616c", "#7d8790", "#0a5a86", "#f4f2ec"
SCALE = (
    (251, 247, 236),
    (246, 196, 122),
    (226, 116, 62),
)  # from no cost to the dearest block; ink stays readable on all
FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
LEGEND_WIDTH, LEGEND_STEPS = 150.0, 30


def network_svg(graph: Graph, title: str, colors_by: Mapping[str, float] | None = None, color_title: str = "") -> str:
    """Return the whole network as SVG, in rows that run to and fro.

    Args:
        graph: what is drawn, down to the last operator; those of one stage (``encoder.conv4_1``) share a block.
        title: stands above it.
        colors_by: a number per module, e.g. MACs or microseconds; a block's colour is the sum of its modules'.
        color_title: what the numbers are, with their unit and whether they are counted or measured.
    """
    blocks, edges = blocks_of(graph)
    layout = place(blocks, edges)
    values = values_of(blocks, colors_by or {})
    width = max(layout.width, 640.0)
    parts = [f'<rect width="{width:.0f}" height="{layout.height:.0f}" fill="#ffffff"/>', _title(graph, title)]
    if any(values):
        parts.append(_legend(values, color_title, width))
    parts += [_route(route) for route in sorted(layout.routes, key=lambda route: route.skip)]
    parts += [_block(block, box, value, values) for block, box, value in zip(blocks, layout.boxes, values, strict=True)]
    parts += [_shape(route) for route in layout.routes]
    return _svg(layout, width, title, parts)


def _svg(layout: Layout, width: float, title: str, parts: list[str]) -> str:
    size = f'width="{width:.0f}" height="{layout.height:.0f}" viewBox="0 0 {width:.0f} {layout.height:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FONT}" role="img" aria-label="{fmt.esc(title)}">'
        f"<title>{fmt.esc(title)}</title>{''.join(parts)}</svg>"
    )


def _title(graph: Graph, title: str) -> str:
    words = f"{len(graph.nodes)} operators, from left to right and back. /2: stride 2. → 32: 32 channels out. "
    words += "BN: batch normalization. Blue: skips."
    return _text(MARGIN, 27, title, 17, INK, bold=True) + _text(MARGIN, 44, words, 10.5, SOFT)


def _text(x: float, y: float, text: str, size: float, color: str, *, bold: bool = False, anchor: str = "start") -> str:
    weight = ' font-weight="700"' if bold else ""
    style = weight if anchor == "start" else f'{weight} text-anchor="{anchor}"'
    style += f' font-size="{size:g}" fill="{color}" xml:space="preserve"'
    return f'<text x="{x:.1f}" y="{y:.1f}"{style}>{fmt.esc(text)}</text>'


def _color(share: float) -> str:
    """Return the colour for 0 (nothing) to 1 (the dearest block)."""
    position = min(max(share, 0.0), 1.0) * (len(SCALE) - 1)
    index = min(int(position), len(SCALE) - 2)
    return "#" + "".join(
        f"{round(a + (b - a) * (position - index)):02x}" for a, b in zip(SCALE[index], SCALE[index + 1], strict=True)
    )


def _legend(values: tuple[float | None, ...], title: str, width: float) -> str:
    most = max(value or 0.0 for value in values)
    left, step = width - MARGIN - LEGEND_WIDTH, LEGEND_WIDTH / LEGEND_STEPS
    bar = "".join(
        f'<rect x="{left + i * step:.1f}" y="31" width="{step + 0.3:.1f}" height="9" '
        f'fill="{_color(i / (LEGEND_STEPS - 1))}"/>'
        for i in range(LEGEND_STEPS)
    )
    frame = f'<rect x="{left:.1f}" y="31" width="{LEGEND_WIDTH:.1f}" height="9" fill="none" stroke="{LINE}"/>'
    ends = _text(left, 51, "0", 10, SOFT) + _text(width - MARGIN, 51, _number(most), 10, SOFT, anchor="end")
    return bar + frame + ends + _text(width - MARGIN, 25, f"colour: {title} per block", 10.5, SOFT, anchor="end")


def _number(value: float) -> str:
    return fmt.count(value) if value >= 1e6 else fmt.thousands(value) if value >= 1000 else fmt.significant(value)


def _block(block: Block, box: Box, value: float | None, values: tuple[float | None, ...]) -> str:
    most, total = max(v or 0.0 for v in values), sum(v or 0.0 for v in values)
    fill = _color(value / most) if value is not None and most > 0 else PLAIN
    parts = [
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="5" '
        f'fill="{fill}" stroke="{SOFT}"/>',
        _text(box.x + PADDING, box.y + 17, block.title or "(root)", 12, INK, bold=True),
    ]
    if value is not None and total > 0:
        parts.append(f"<g><title>{fmt.esc(_number(value))}</title>")
        parts.append(
            _text(box.x + box.width - PADDING, box.y + 17, fmt.percent(value / total), 10, INK, anchor="end") + "</g>"
        )
    for i, line in enumerate(block.lines):
        parts.append(_text(box.x + PADDING, box.y + HEADER + LINE_HEIGHT * (i + 0.72), line, 10, INK))
    return "".join(parts)


def _route(route: Route) -> str:
    color, width = (SKIP, 1.7) if route.skip else (LINE, 1.3)
    corners = route.corners
    path = f"M{corners[0][0]:.1f} {corners[0][1]:.1f}"
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        radius = min(11.0, math.dist(before, corner) / 2, math.dist(corner, after) / 2)
        start, end = _toward(corner, before, radius), _toward(corner, after, radius)
        path += f"L{start[0]:.1f} {start[1]:.1f}Q{corner[0]:.1f} {corner[1]:.1f} {end[0]:.1f} {end[1]:.1f}"
    tip = corners[-1]
    back = _toward(tip, corners[-2], 6)
    path += f"L{back[0]:.1f} {back[1]:.1f}"
    return f'<path d="{path}" fill="none" stroke="{color}" stroke-width="{width}"/>' + _arrow(tip, corners[-2], color)


def _toward(start: tuple[float, float], end: tuple[float, float], distance: float) -> tuple[float, float]:
    length = math.dist(start, end) or 1.0
    return start[0] + (end[0] - start[0]) * distance / length, start[1] + (end[1] - start[1]) * distance / length


def _arrow(tip: tuple[float, float], before: tuple[float, float], color: str) -> str:
    back = _toward(tip, before, 8)
    across = ((back[1] - tip[1]) / 2, (tip[0] - back[0]) / 2)
    return (
        f'<path d="M{tip[0]:.1f} {tip[1]:.1f}L{back[0] + across[0]:.1f} {back[1] + across[1]:.1f}'
        f'L{back[0] - across[0]:.1f} {back[1] - across[1]:.1f}Z" fill="{color}"/>'
    )


def _shape(route: Route) -> str:
    """Write the shape on the edge, with a white rim so that lines under it don't disturb."""
    x, y = route.label
    color = SKIP if route.skip else SOFT
    return (
        f'<g stroke="#ffffff" stroke-width="3" paint-order="stroke" stroke-linejoin="round">'
        f"{_text(x, y, route.edge.shape, 9.5, color, anchor=route.anchor)}</g>"
    )
