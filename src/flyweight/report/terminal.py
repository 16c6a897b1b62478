"""The report in the terminal: the ladder table, a profile, the slowest layers. Narrow terminals get fewer columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flyweight.contracts import UNSTEADY
from flyweight.report import _figures as figures
from flyweight.report import _format as fmt
from flyweight.report import _remarks
from flyweight.report.value import LayerRow, Report, Rung

MIN_CHANGE, MAX_CHANGE = 14, 34  # cells for the words in the column 'change', which alone may wrap
FLAG_STYLES = {_remarks.WORSE: "bold red", _remarks.LITTLE: "yellow", _remarks.GAIN: "green"}


def ladder_table(report: Report) -> RenderableType:
    """Return the ladder as a table that fits the console it is printed on, from 60 columns up."""
    return _LadderTable(report)


class _LadderTable:
    """Chooses its columns when it is printed, because only then the width is known."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Print the table, what its columns mean, and a remark per rung."""
        columns = figures.columns(self.report)
        widths = [_width(column, self.report) for column in columns]
        kept = _fitting(columns, widths, options.max_width)
        yield Text(self.report.title, style="bold")
        yield _table(self.report, [columns[i] for i in kept], [widths[i] for i in kept], options.max_width)
        yield Padding(_legend(self.report, columns, [columns[i] for i in kept]), (0, 0, 1, 0))
        yield Text(_remarks.headline(self.report).sentence, style="bold")
        yield _remark_lines(self.report)


def _width(column: figures.Column, report: Report) -> int:
    texts = [*column.title.split("\n"), *(column.text(rung) for rung in report.rungs)]
    return max(cell_len(text) for text in texts)


def _fitting(columns: Sequence[figures.Column], widths: Sequence[int], room: int) -> list[int]:
    """Return the indices of the columns that fit into ``room`` cells, those to keep first; 'change' may be narrowed."""
    kept: list[int] = []
    used = 0
    for i in sorted(range(len(columns)), key=lambda i: -columns[i].keep):
        width = (min(widths[i], MIN_CHANGE) if columns[i].title == "change" else widths[i]) + (1 if kept else 0)
        if used + width <= room or not kept:
            kept.append(i)
            used += width
    return sorted(kept)


def _table(report: Report, columns: Sequence[figures.Column], widths: Sequence[int], room: int) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim", show_edge=False)
    others = sum(w for c, w in zip(columns, widths, strict=True) if c.title != "change") + len(columns) - 1
    lines = max(column.title.count("\n") for column in columns)
    for column, width in zip(columns, widths, strict=True):
        words = column.title == "change"
        width = max(min(width, room - others, MAX_CHANGE), 1) if words else width
        table.add_column(
            "\n" * (lines - column.title.count("\n")) + column.title,
            justify="right" if column.kind else "left",
            width=width,
            no_wrap=not words,
            overflow="fold",
        )
    for rung in (*figures.ladder(report), *figures.controls(report)):
        style = "italic cyan" if rung.control else ""
        table.add_row(*(Text(column.text(rung)) for column in columns), style=style)
    return table


def _legend(report: Report, columns: Sequence[figures.Column], kept: Sequence[figures.Column]) -> Text:
    def named(kind: str) -> str:
        return ", ".join(column.name for column in kept if column.kind == kind)

    runtime = figures.runtime_title(figures.primary(report))
    runtime += " (ORT)" if runtime == "ONNX Runtime" else ""
    control = " Controls stand below the ladder, in italics." if figures.controls(report) else ""
    dropped = [column.name for column in columns if column not in kept]
    lines = [
        f"counted: {named('counted')}. measured: {named('measured')}.",
        f"Scores and file are those of the artifact exported for {runtime}, scored on the test split. Times are "
        f"medians, "
        f"batch 1. RSS: peak memory of a fresh process.{control}",
    ]
    if figures.doubtful(report):
        lines.append(
            f"{figures.DOUBT} the machine was busy, or the time unsteady: 90th over {UNSTEADY:g} × the 10th percentile."
        )
    if dropped:
        lines.append(f"Left out for width: {', '.join(dropped)}.")
    return Text("\n".join(lines), style="dim")


def _remark_lines(report: Report) -> Text:
    text = Text()
    for remark in _remarks.remarks(report):
        text.append(f"\n  {remark.rung}", style="bold")
        text.append(f" against {remark.against}: ")
        text.append(remark.text, style=FLAG_STYLES.get(remark.flag, ""))
    return text


def slowest_table(rung: Rung, top: int = 5) -> RenderableType:
    """Return the slowest layers of a rung, measured; a sentence where none was timed."""
    rows = rung.slowest(top)
    if not rows:
        return Text(f"{rung.name}: no layer was timed.", style="dim")
    return _layers(f"{rung.name}: the {len(rows)} slowest of {len(rung.layers)} layers", rows, rung.layers)


def profile_table(
    rows: Sequence[LayerRow], title: str = "Profile", top: int = 5, every: bool = False
) -> RenderableType:
    """Return the slowest layers, those with most MACs and with most parameters, and where time and MACs disagree.

    Args:
        rows: one per module, in execution order; times may be missing.
        title: what was profiled.
        top: length of each list.
        every: whether all rows are listed first.
    """
    timed = [row for row in rows if row.time_us is not None]
    macs, params = fmt.count(sum(row.macs for row in rows)), fmt.count(sum(row.params for row in rows))
    total = f"{len(rows)} layers, {macs} MACs, {params} parameters"
    total += f" (counted), {_ms(sum(r.time_us or 0.0 for r in timed))} ms (measured)" if timed else " (counted)"
    parts: list[RenderableType] = [Text(f"{title}: {total}", style="bold")]
    if every:
        parts.append(_layers("every layer, in execution order", rows, rows))
    if timed:
        parts.append(_layers(f"{top} slowest", sorted(timed, key=lambda r: -(r.time_us or 0.0))[:top], rows))
    parts.append(_layers(f"{top} with most MACs", sorted(rows, key=lambda r: -r.macs)[:top], rows))
    parts.append(_layers(f"{top} with most parameters", sorted(rows, key=lambda r: -r.params)[:top], rows))
    if notes := _remarks.disagreements(rows, top):
        parts.append(Text("\nTime and MACs disagree", style="bold"))
        parts.extend(Padding(Text(note), (0, 0, 0, 2)) for note in notes)
    return Group(*parts)


def _ms(time_us: float | None) -> str:
    return fmt.MISSING if time_us is None else fmt.significant(time_us / 1000)


def _layers(title: str, rows: Sequence[LayerRow], of: Sequence[LayerRow]) -> RenderableType:
    return Group(Text(f"\n{title}", style="bold"), _LayerTable(rows, of))


class _LayerTable:
    """Layers with their figures; on a narrow console without operator and share of the MACs."""

    def __init__(self, rows: Sequence[LayerRow], of: Sequence[LayerRow]) -> None:
        self.rows, self.time, self.macs = rows, sum(r.time_us or 0.0 for r in of), sum(r.macs for r in of)
        self.timed = any(row.time_us is not None for row in rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Print the table."""
        columns = {name: [self._cell(name, row) for row in self.rows] for name in self._names()}
        widths = {name: max(map(cell_len, [name, *cells])) + 2 for name, cells in columns.items()}
        for name in ("MACs %", "operator", "params"):
            if sum(widths.values()) > options.max_width + 2:
                widths.pop(name)
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        for name in widths:
            words = name in ("layer", "operator")
            table.add_column(name, justify="left" if words else "right", no_wrap=not words, overflow="fold")
        for index in range(len(self.rows)):
            table.add_row(*(Text(columns[name][index]) for name in widths))
        yield table

    def _names(self) -> tuple[str, ...]:
        times = ("ms", "time %") if self.timed else ()
        return ("layer", "operator", "output", "MACs", "MACs %", "params", *times)

    def _cell(self, name: str, row: LayerRow) -> str:
        share = row.time_us / self.time if row.time_us is not None and self.time else None
        return {
            "layer": row.module or "(root)",
            "operator": row.op,
            "output": fmt.shape(row.output_shape),
            "MACs": fmt.count(row.macs),
            "MACs %": fmt.percent(row.macs / self.macs if self.macs else None),
            "params": fmt.count(row.params),
            "ms": _ms(row.time_us),
            "time %": fmt.percent(share),
        }[name]
