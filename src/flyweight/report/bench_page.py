"""A bench as one HTML page that loads nothing."""

from __future__ import annotations

from flyweight.report import _format as fmt
from flyweight.report._bench import NAME, TITLE, bench_section
from flyweight.report.bench_value import Bench, BenchRow
from flyweight.report.page import document, heading

FOOTER = "Made by Flyweight. The same figures: flyweight bench --json. How they are measured: docs/bench.md."


def render_bench(found: Bench) -> str:
    """Return the page as HTML; all that comes from outside is escaped."""
    title = ", ".join(found.models) or "nothing"
    header = heading("Flyweight bench", title, _sentence(found), _figures(found))
    return document(title, header, {NAME: TITLE}, bench_section(found), f"<footer>{fmt.esc(FOOTER)}</footer>")


def _sentence(found: Bench) -> str:
    files = {(row.model, row.runtime, row.precision) for row in found.rows}
    timed = {(row.model, row.runtime, row.precision) for row in found.rows if row.typical_ms is not None}
    where = f" on {found.device}" if found.device else ""
    busy = f" The machine was busy during {len(found.busy)} of them: run it again." if found.busy else ""
    rows = sum(row.typical_ms is not None for row in found.rows)
    return f"{len(timed)} of {len(files)} files measured{where}, in {rows} rows.{busy}"


def _figures(found: Bench) -> list[tuple[str, str]]:
    """Return the fastest and the smallest, where one network was benched: of several they would say nothing."""
    rows = [row for row in found.rows if row.typical_ms is not None]
    if not rows or len(found.models) > 1:
        return []
    fastest = min(rows, key=lambda row: row.typical_ms or 0.0)
    figures = [(f"{fmt.significant(fastest.typical_ms)} ms", f"fastest: {_file(fastest)}, {_threads(fastest)}")]
    sized = [row for row in rows if row.bytes]
    if sized:
        smallest = min(sized, key=lambda row: row.bytes or 0)
        figures.append((f"{fmt.kilobytes(smallest.bytes)} kB", f"smallest: {_file(smallest)}"))
    return figures


def _file(row: BenchRow) -> str:
    return f"{row.runtime} {row.precision}"


def _threads(row: BenchRow) -> str:
    return f"{row.threads} thread{'s' * (row.threads > 1)}"
