"""Figures as text: significant digits, SI prefixes, ratios and points. A missing figure is an en dash, never zero."""

from __future__ import annotations

import html
import math

MISSING = "–"
MINUS = "−"


def significant(value: float | None, digits: int = 3) -> str:
    """Return ``value`` with ``digits`` significant digits and no exponent: 274, 27.4, 2.74, 0.274."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    decimals = digits - 1 - math.floor(math.log10(abs(rounded)))  # 9.996 rounds up to another power of ten
    return f"{rounded:.{min(max(decimals, 0), 6)}f}".replace("-", MINUS)


def metric(value: float | None) -> str:
    """Return a score of 0..1 with three decimals."""
    return MISSING if value is None else f"{value:.3f}".replace("-", MINUS)


def ratio(value: float | None) -> str:
    """Return a factor: 1.02×, 15.3×, 118×."""
    if value is None or not math.isfinite(value) or value <= 0:
        return MISSING
    return f"{value:.2f}×" if value < 9.995 else f"{value:.1f}×" if value < 99.95 else f"{value:.0f}×"


def points(difference: float | None) -> str:
    """Return a difference of scores in points (hundredths), signed: +3.3, −0.6, ±0.0."""
    if difference is None:
        return MISSING
    text = f"{abs(difference) * 100:.1f}"
    return f"±{text}" if float(text) == 0 else f"{'+' if difference > 0 else MINUS}{text}"


def count(value: float | None) -> str:
    """Return a count with an SI prefix and three significant digits: 1.34 G, 567 M, 12.3 k, 999."""
    if value is None:
        return MISSING
    if abs(value) < 999.5:
        return f"{value:.0f}".replace("-", MINUS)
    for factor, prefix in ((1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T")):
        if abs(value) < factor * 999.5:
            return f"{significant(value / factor)} {prefix}"
    return f"{value / 1e15:.3g} P"


def kilobytes(value: float | None) -> str:
    """Return bytes as kB (1000 bytes) with three significant digits at least: 12 875, 412, 41.2."""
    if value is None:
        return MISSING
    return thousands(value / 1000) if value >= 999_500 else significant(value / 1000)


def megabytes(value: float | None) -> str:
    """Return bytes as MB (10^6 bytes), three significant digits."""
    return MISSING if value is None else significant(value / 1e6)


def thousands(value: float) -> str:
    """Return a whole number in groups of three, apart by a narrow no-break space."""
    return f"{value:,.0f}".replace(",", "\u202f").replace("-", MINUS)


def percent(share: float | None) -> str:
    """Return a share of 0..1 in percent with one decimal."""
    return MISSING if share is None else f"{share * 100:.1f} %".replace("-", MINUS)


def shape(dims: tuple[int, ...]) -> str:
    """Return a shape as 32×80×80; a batch of one in front of it is left out."""
    dims = dims[1:] if len(dims) == 4 and dims[0] == 1 else dims
    return "×".join(map(str, dims)) or "scalar"


def esc(text: object) -> str:
    """Escape text for HTML and SVG, as content or as a quoted attribute; control characters become U+FFFD."""
    clean = "".join(c if c in "\t\n" or (c >= " " and not 0xD800 <= ord(c) <= 0xDFFF) else "\ufffd" for c in str(text))
    return html.escape(clean, quote=True)
