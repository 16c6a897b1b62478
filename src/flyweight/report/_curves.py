"""Memory over time and the roofline, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flyweight.profile import Row
from flyweight.report import _format as fmt
from flyweight.report._plots import BOTTOM, LEFT, RIGHT, TOP, linear_ticks, log_ticks
from flyweight.roofline import Machine, RooflinePoint

WIDTH, HEIGHT = 860, 320
END, FOOT = WIDTH - RIGHT, HEIGHT - BOTTOM


def memory_curve(rows: Sequence[Row]) -> str:
    """Return the activations that are alive while each operator runs, in their order; '' where nothing runs."""
    if not rows or not max(row.live_bytes for row in rows):
        return ""
    most = max(row.live_bytes for row in rows)
    unit, name = next((u, n) for u, n in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "bytes")) if most >= u)
    step, scale = (END - LEFT) / len(rows), (FOOT - TOP) / (1.08 * most)
    ticks = [tick for tick in linear_ticks(0, 1.08 * most / unit) if tick >= 0]
    grid = "".join(_across(FOOT - tick * unit * scale, f"{tick:g}") for tick in ticks)
    corners = [f"M{LEFT} {FOOT}"]
    for number, row in enumerate(rows):
        corners.append(f"V{FOOT - row.live_bytes * scale:.1f}H{LEFT + (number + 1) * step:.1f}")
    peak = max(range(len(rows)), key=lambda number: rows[number].live_bytes)
    x, y = LEFT + (peak + 0.5) * step, FOOT - most * scale
    anchor = "end" if x > (LEFT + END) / 2 else "start"
    label = f"{fmt.count(most)}B: {rows[peak].module or '(root)'} ({rows[peak].op})"
    hovers = "".join(
        f'<rect x="{LEFT + n * step:.1f}" y="{TOP}" width="{step:.2f}" height="{FOOT - TOP}" fill="transparent">'
        f"<title>{fmt.esc(row.module or '(root)')} ({fmt.esc(row.op)}): {fmt.count(row.live_bytes)}B</title></rect>"
        for n, row in enumerate(rows)
    )
    return _svg(
        "activations alive over time",
        f'{grid}<path class="area" d="{"".join(corners)}V{FOOT}Z"/>{_frame()}'
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        f'<text class="name" x="{x + (-8 if anchor == "end" else 8):.1f}" y="{max(y - 6, 11):.1f}" '
        f'text-anchor="{anchor}">{fmt.esc(label)}</text>{hovers}'
        + _titles(f"operators, as they run (1 to {len(rows)})", f"activations alive, {name}"),
    )


def roofline_plot(points: Sequence[RooflinePoint], machine: Machine) -> str:
    """Return the layers under the machine's roof, both axes logarithmic; '' where none makes MACs."""
    shown = [point for point in points if point.macs and point.gmacs_per_s > 0]
    if not shown:
        return ""
    ridge = machine.ridge_macs_per_byte
    low = min(*(p.intensity_macs_per_byte for p in shown), ridge) / 1.5
    high = max(*(p.intensity_macs_per_byte for p in shown), ridge) * 1.5
    bottom = min(*(p.gmacs_per_s for p in shown), machine.peak_gmacs_per_s / 10) / 1.5
    top = max(*(p.gmacs_per_s for p in shown), machine.peak_gmacs_per_s) * 1.6

    def place(intensity: float, speed: float) -> tuple[float, float]:
        x = LEFT + (END - LEFT) * math.log(intensity / low) / math.log(high / low)
        return x, FOOT - (FOOT - TOP) * math.log(max(speed, bottom) / bottom) / math.log(top / bottom)

    parts = [_across(place(low, tick)[1], f"{tick:g}") for tick in log_ticks(bottom, top)]
    parts += [_down(place(tick, bottom)[0], f"{tick:g}") for tick in log_ticks(low, high)]
    start = max(low, bottom / machine.bandwidth_gb_per_s)
    roof = [place(start, start * machine.bandwidth_gb_per_s), place(ridge, machine.peak_gmacs_per_s)]
    roof.append(place(high, machine.peak_gmacs_per_s))
    parts.append(f'<polyline class="roof" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in roof)}"/>')
    total = sum(point.time_us for point in points) or 1.0
    for point in sorted(shown, key=lambda p: -p.time_us):
        x, y = place(point.intensity_macs_per_byte, point.gmacs_per_s)
        radius = 2.5 + 26 * math.sqrt(point.time_us / total) / 2
        title = f"{point.name}, {point.kind}: {point.time_us:.0f} µs, {point.gmacs_per_s:.3g} GMAC/s"
        kind = "ctl" if point.memory_bound else "dot"
        disc = f'<circle class="{kind} some" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
        parts.append(f"{disc}<title>{fmt.esc(title)}</title></circle>")
    return _svg("roofline", "".join(parts) + _frame() + _titles("MACs per byte (counted)", "GMAC/s (measured)"))


def _svg(label: str, inner: str) -> str:
    return (
        f'<svg class="plot broad" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{fmt.esc(label)}">{inner}</svg>'
    )


def _across(y: float, text: str) -> str:
    line = f'<path class="grid" d="M{LEFT} {y:.1f}H{END}"/>'
    return f'{line}<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'


def _down(x: float, text: str) -> str:
    line = f'<path class="grid" d="M{x:.1f} {TOP}V{FOOT}"/>'
    return f'{line}<text x="{x:.1f}" y="{FOOT + 17}" text-anchor="middle">{text}</text>'


def _frame() -> str:
    return f'<path class="frame" d="M{LEFT} {TOP}V{FOOT}H{END}"/>'


def _titles(x_title: str, y_title: str) -> str:
    return (
        f'<text class="axis" x="{(LEFT + END) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{fmt.esc(x_title)}</text>'
        f'<text class="axis" transform="translate(13 {(TOP + FOOT) / 2}) rotate(-90)" text-anchor="middle">'
        f"{fmt.esc(y_title)}</text>"
    )
