"""The page's section of a bench: runtimes and precisions side by side, accuracy against time."""

from __future__ import annotations

from collections.abc import Sequence

from flyweight.report import _format as fmt
from flyweight.report._html import Cell, Head, paragraph, section, table
from flyweight.report._plots import Point, scatter
from flyweight.report.bench_value import Bench, BenchRow, Fidelity
from flyweight.report.bench_words import refused_lines, slower_lines

NAME, TITLE = "runtimes", "Runtimes"
HINT = (
    "Each file that ships, batch 1. Difference: of all outputs, over PyTorch's largest. Same "
    "class: images, or pixels of a mask, to which the file and PyTorch give the same class."
)


def bench_section(found: Bench | None) -> str:
    """Return the section of a bench; '' without one."""
    if found is None:
        return ""
    where = f"Times: {found.where}."
    parts = [_model(found, model) for model in found.models]
    return section(NAME, TITLE, paragraph(HINT, "hint"), *parts, paragraph(where, "hint"), _notes(found))


def _model(found: Bench, model: str) -> str:
    rows = [row for row in found.rows if row.model == model]
    timed = [row for row in rows if row.typical_ms is not None]
    title = f"<h3>{fmt.esc(model)}</h3>" if len(found.models) > 1 else ""
    return title + _plot(found, model, timed) + (_table(found, model, timed) if timed else "") + _said(found, rows)


# ---- accuracy against time -----------------------------------------------------------------------------------------


def _plot(found: Bench, model: str, rows: Sequence[BenchRow]) -> str:
    """Return a card per number of threads, by accuracy; by agreement with PyTorch where the truth isn't known."""
    metric = next((row.fidelity.metric for row in rows if row.fidelity and row.fidelity.metric), "")
    words = metric or "same class as PyTorch"
    cards = []
    for threads in dict.fromkeys(row.threads for row in rows):
        points = [p for row in rows if row.threads == threads and (p := _point(row, bool(metric)))]
        at = f"{threads} thread{'s' * (threads > 1)}"
        x_title = f"time of one inference, {at} (ms, log)"
        drawn = scatter(points, x_title, words, f"{words} against time at {at}, {model}", joined=False)
        caption = "Up and to the left is better. Diamonds: int8. Whiskers: 10th to 90th percentile."
        cards += [
            f'<figure class="card"><h3>{"Accuracy" if metric else "Agreement"} against time, {at}</h3>'
            f'<div class="wide">{drawn}</div><figcaption>{caption}</figcaption></figure>'
        ] * bool(drawn)
    return f'<div class="pair">{"".join(cards)}</div>' if cards else ""


def _point(row: BenchRow, by_accuracy: bool) -> Point | None:
    known = row.fidelity or Fidelity(0)
    y = known.accuracy if by_accuracy else known.agreement
    if y is None or not row.typical_ms or row.typical_ms <= 0:
        return None
    low, high = row.range_ms or (None, None)
    return Point(f"{row.runtime} {row.precision}", row.typical_ms, y, row.precision == "int8", low=low, high=high)


# ---- the table -----------------------------------------------------------------------------------------------------


def _table(found: Bench, model: str, rows: Sequence[BenchRow]) -> str:
    by_program = any(row.program for row in rows)
    energy = any(row.measurement and row.measurement.energy_mj is not None for row in rows)
    metric = next((row.fidelity.metric for row in rows if row.fidelity and row.fidelity.metric), "")
    heads = _heads(by_program, energy, metric)
    caption = f"{model}, compared on {found.inputs.get(model, 'nothing')}."
    lines = [
        ("control" if found.verdict(row) == "slower" else "", _cells(found, row, by_program, energy, bool(metric)))
        for row in rows
    ]
    torch = found.pytorch.get(model)
    if torch and metric:
        score = Cell(_percent(torch.accuracy), torch.accuracy)
        blank = [Cell(fmt.MISSING, None) for _ in heads[4:-2]]
        lines.append(("", [Cell("pytorch"), Cell("fp32", kind="t"), *_blank(2), *blank, score, Cell("", kind="t")]))
    return table(caption, heads, lines)


def _heads(by_program: bool, energy: bool, metric: str) -> list[Head]:
    time = "time" if by_program else "time, measured"
    ends = ("least\nms", "largest\nms") if by_program else ("p10\nms", "p90\nms")
    first = "mean, or\nmedian, ms" if by_program else "median\nms"
    own = [] if by_program else [Head("CPU\nms", time, about="CPU time of all threads, median")]
    return [
        Head("runtime", left=True), Head("precision", left=True), Head("threads"), Head("n"), Head(first, time),
        *(Head(title, time) for title in ends), *own, Head("over\nfp32", time, about="time over that in fp32"),
        Head("load\nms", time), Head("first\nms", time), *([Head("energy\nmJ", "measured")] if energy else []),
        Head("peak\nMB", "memory", about="largest resident memory of the process"), Head("file\nkB", "memory"),
        Head("largest\ndifference", "what it computes"), Head("mean\ndifference", "what it computes"),
        Head("same class\n%", "what it computes"), *([Head(f"{metric}\n%", "what it computes")] if metric else []),
        Head("remark", left=True),
    ]  # fmt: skip


def _cells(found: Bench, row: BenchRow, by_program: bool, energy: bool, scored: bool) -> list[Cell]:
    m, p, ratio = row.measurement, row.program, found.over_float(row)
    load, first, peak = (
        (m.load_ms, m.first_ms, m.peak_rss_bytes) if m else (p.load_ms, p.first_ms, p.peak_bytes) if p else (None,) * 3
    )
    low, high = row.range_ms or (None, None)
    times = [row.typical_ms, low, high, *([] if by_program else [m.cpu_median_ms if m else None])]
    joules = [_figure(m.energy_mj if m else None)] if energy else []
    over = Cell(f"{ratio:.2f}" if ratio else fmt.MISSING, ratio)
    return [
        Cell(row.runtime), Cell(row.precision, kind="t"), Cell(str(row.threads), row.threads),
        Cell(str(row.n or ""), row.n),
        *map(_figure, times), over, _figure(load), _figure(first), *joules, Cell(fmt.megabytes(peak), peak),
        Cell(fmt.kilobytes(row.bytes), row.bytes), *_computed(row, scored), Cell(_remark(found, row), kind="t"),
    ]  # fmt: skip


def _computed(row: BenchRow, scored: bool) -> list[Cell]:
    f = row.fidelity
    if f is None:
        return _blank(4 if scored else 3)
    differences = [Cell(f"{x:.1e}" if x is not None else fmt.MISSING, x) for x in (f.largest, f.mean)]
    shares = [f.agreement, *([f.accuracy] if scored else [])]
    return [*differences, *(Cell(_percent(share), share) for share in shares)]


def _remark(found: Bench, row: BenchRow) -> str:
    verdict = found.verdict(row)
    doubt = row.measurement.doubt if row.measurement else ""
    return ", ".join(part for part in (f"{verdict} than fp32" if verdict else "", doubt) if part)


def _figure(value: float | None) -> Cell:
    return Cell(fmt.significant(value), value)


def _percent(share: float | None) -> str:
    return fmt.MISSING if share is None else f"{share * 100:.2f}"


def _blank(count: int) -> list[Cell]:
    return [Cell(fmt.MISSING, None)] * count


# ---- in words ------------------------------------------------------------------------------------------------------


def _said(found: Bench, rows: Sequence[BenchRow]) -> str:
    refused = [f"Not measured: {line}" for line in refused_lines(rows)]
    return _list([*(f"{line}." for line in slower_lines(found, rows)), *refused])


def _notes(found: Bench) -> str:
    notes = dict.fromkeys(f"{row.runtime} {row.precision}: {note}" for row in found.rows for note in row.notes)
    return f"<h3>What fell back, and why</h3>{_list(list(notes))}" if notes else ""


def _list(lines: Sequence[str]) -> str:
    return f'<ul class="named">{"".join(f"<li>{fmt.esc(line)}</li>" for line in lines)}</ul>' if lines else ""
