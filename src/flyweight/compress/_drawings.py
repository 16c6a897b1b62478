"""The page's drawings as inline SVG: every layer's size from stage to stage, and its weights with their centroids."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flyweight.compress._settings import LayerReport
from flyweight.report import _format as fmt
from flyweight.report._plots import log_ticks

STAGES = ("float32", "pruned", "shared", "coded")
SHADES = (1.0, 0.72, 0.46, 0.22)  # opacity by stage, from the last to the first
WIDTH, NAMES, END = 860, 250, 846
ROW, TOP, FOOT = 22, 26, 42
BARS_WIDTH, BARS_HEIGHT, BARS_LEFT, BARS_FOOT = 400, 190, 12, 46


def short(name: str) -> str:
    """Return a weight's name without what all have in common."""
    plain = name.removesuffix(".weight").removeprefix("encoder.")
    return plain if len(plain) <= 36 else f"{plain[:16]}…{plain[-19:]}"


def sizes(layers: Sequence[LayerReport]) -> str:
    """Return a row for every layer with a disc for each stage, bytes on a logarithmic axis; '' for none."""
    if not layers:
        return ""
    values = [max(each.bytes[stage], 1.0) for each in layers for stage in STAGES]
    low, high = min(values) / 1.4, max(values) * 1.4
    height = TOP + ROW * len(layers) + FOOT
    bottom = height - FOOT

    def at(value: float) -> float:
        return NAMES + (END - NAMES) * math.log(max(value, 1.0) / low) / math.log(high / low)

    parts = []
    for tick in log_ticks(low, high):
        words = f"{tick:g} B" if tick < 1000 else f"{tick / 1000:g} kB" if tick < 1e6 else f"{tick / 1e6:g} MB"
        parts.append(f'<path class="grid" d="M{at(tick):.1f} {TOP - 8}V{bottom}"/>')
        parts.append(f'<text x="{at(tick):.1f}" y="{bottom + 17}" text-anchor="middle">{words}</text>')
    for number, layer in enumerate(layers):
        parts.append(_row(layer, TOP + ROW * (number + 0.5), [at(layer.bytes[stage]) for stage in STAGES]))
    parts.append(f'<path class="frame" d="M{NAMES} {TOP - 8}V{bottom}H{END}"/>')
    middle = (NAMES + END) / 2
    parts.append(f'<text class="axis" x="{middle}" y="{height - 6}" text-anchor="middle">bytes of the weights</text>')
    label = "size of every layer before and after each stage"
    return f'<svg class="plot" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _row(layer: LayerReport, y: float, places: Sequence[float]) -> str:
    parts = [
        f'<text class="name" x="{NAMES - 10}" y="{y + 4:.1f}" text-anchor="end">{fmt.esc(short(layer.name))}</text>',
        f'<path class="path" d="M{min(places):.1f} {y:.1f}H{max(places):.1f}"/>',
    ]
    for stage, x, shade in zip(STAGES, places, reversed(SHADES), strict=True):
        title = f"{layer.name}, {stage}: {fmt.thousands(layer.bytes[stage])} bytes"
        parts.append(
            f'<circle class="dot" style="fill-opacity:{shade}" cx="{x:.1f}" cy="{y:.1f}" r="6">'
            f"<title>{fmt.esc(title)}</title></circle>"
        )
    return "".join(parts)


def key() -> str:
    """Return what the discs' shades mean, as a list."""
    items = "".join(
        f'<li><svg width="15" height="15" class="plot" style="display:inline-block;width:15px;min-width:0;'
        f'vertical-align:-2px;margin-right:7px"><circle class="dot" style="fill-opacity:{shade}" cx="7.5" cy="7.5" '
        f'r="6"/></svg>{stage}</li>'
        for stage, shade in zip(STAGES, reversed(SHADES), strict=True)
    )
    return f'<ul class="legend">{items}</ul>'


def histogram(layer: LayerReport) -> str:
    """Return the weights that were left, and the centroids that stand for them below; '' where nothing is left."""
    if not layer.counts or not max(layer.counts) or not layer.book:
        return ""
    low, high = min(layer.edges[0], *layer.book), max(layer.edges[-1], *layer.book)
    span, bottom = max(high - low, 1e-12), BARS_HEIGHT - BARS_FOOT
    inner = BARS_WIDTH - 2 * BARS_LEFT

    def at(value: float) -> float:
        return BARS_LEFT + inner * (value - low) / span

    most = max(layer.counts)
    corners = [f"M{at(layer.edges[0]):.1f} {bottom}"]
    for count, end in zip(layer.counts, layer.edges[1:], strict=True):
        corners.append(f"V{bottom - count / most * (bottom - 12):.1f}H{at(end):.1f}")
    ticks = "".join(f"M{at(value):.1f} {bottom + 3}v11" for value in layer.book)
    words = "".join(
        f'<text x="{at(value):.1f}" y="{bottom + 30}" text-anchor="{anchor}">{value:.2g}</text>'
        for value, anchor in ((low, "start"), (high, "end"))
    )
    zero = f'<path class="grid" d="M{at(0):.1f} 6V{bottom}"/>' if low < 0 < high else ""
    label = fmt.esc(f"{layer.name}: {layer.left} weights, {len(layer.book)} centroids")
    return (
        f'<svg class="plot" style="min-width:0" viewBox="0 0 {BARS_WIDTH} {BARS_HEIGHT}" role="img" '
        f'aria-label="{label}">{zero}<path class="area" d="{"".join(corners)}V{bottom}Z"/>'
        f'<path class="frame" d="M{BARS_LEFT} {bottom}H{BARS_WIDTH - BARS_LEFT}"/>'
        f'<path d="{ticks}" style="stroke:var(--control);stroke-width:1.2;fill:none"/>{words}</svg>'
    )
