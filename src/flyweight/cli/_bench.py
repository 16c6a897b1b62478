"""The table of a bench."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flyweight.cli._tables import MISSING, print_table, say
from flyweight.report.bench_words import refused_lines, slower_lines

if TYPE_CHECKING:
    from flyweight.report.bench_value import Bench, BenchRow, Fidelity

_TIMES = (
    "runtime", "precision", "threads", "median\nms", "p10\nms", "p90\nms", "CPU\nms", "over\nfp32", "load\nms",
    "first\nms", "peak\nMB",
)  # fmt: skip
_PROGRAM_TIMES = (
    "runtime", "precision", "threads", "mean\nms", "median\nms", "p90\nms", "least\nms", "largest\nms", "over\nfp32",
    "load\nms", "first\nms", "peak\nMB",
)  # fmt: skip


def print_bench(found: Bench) -> None:
    """Print times and sizes, then what the files compute, model by model, then what was refused and why."""
    for model in found.models:
        rows = [row for row in found.rows if row.model == model]
        timed = [row for row in rows if row.typical_ms is not None]
        say(f"{model}: {_inferences(timed)}" if timed else model)
        if timed:
            say()
            _print_times(found, timed)
            say()
            _print_outputs(found, model, timed)
        for line in refused_lines(rows):
            say(f"refused: {line}")
        say()
    _print_footnotes(found)


def _inferences(rows: Sequence[BenchRow]) -> str:
    counts = sorted({row.n for row in rows if row.n})
    return f"{' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} inferences a row"


def _print_times(found: Bench, rows: list[BenchRow]) -> None:
    energy = any(row.measurement and row.measurement.energy_mj is not None for row in rows)
    if own := [row for row in rows if row.measurement]:
        headers = [*_TIMES, *(["mJ"] if energy else []), "remark"]
        print_table(headers, [_times(found, row, energy) for row in own], left=2, last_is_text=True)
    if theirs := [row for row in rows if row.program]:
        headers = [*_PROGRAM_TIMES, "remark"]
        print_table(headers, [_program_times(found, row) for row in theirs], left=2, last_is_text=True)


def _times(found: Bench, row: BenchRow, energy: bool) -> list[str]:
    m = row.measurement
    assert m is not None  # only rows with one are printed
    cells = [row.runtime, row.precision, str(row.threads)]
    cells += [three(value) for value in (m.median_ms, m.p10_ms, m.p90_ms, m.cpu_median_ms)]
    cells += [_ratio(found, row), *(three(value) for value in (m.load_ms, m.first_ms, m.peak_rss_bytes / 1e6))]
    remarks = ", ".join(filter(None, (found.verdict(row), m.doubt)))
    return [*cells, *([three(m.energy_mj)] if energy else []), remarks]


def _program_times(found: Bench, row: BenchRow) -> list[str]:
    p = row.program
    assert p is not None  # only rows with one are printed
    times = (three(value) for value in (p.mean_ms, p.median_ms, p.p90_ms, p.min_ms, p.max_ms))
    peak = p.peak_bytes / 1e6 if p.peak_bytes is not None else None
    cells = [row.runtime, row.precision, str(row.threads), *times, _ratio(found, row)]
    return [*cells, three(p.load_ms), three(p.first_ms), three(peak), found.verdict(row)]


def _ratio(found: Bench, row: BenchRow) -> str:
    ratio = found.over_float(row)
    return MISSING if ratio is None else f"{ratio:.2f}"


def _print_outputs(found: Bench, model: str, rows: list[BenchRow]) -> None:
    """Print one line per file: outputs don't depend on the number of threads that were timed."""
    files = {(row.runtime, row.precision): row for row in reversed(rows)}
    torch = found.pytorch.get(model)
    metric = next((row.fidelity.metric for row in rows if row.fidelity and row.fidelity.metric), "")
    headers = ["runtime", "precision", "kB", "largest\ndifference", "mean\ndifference", "same\nclass %"]
    lines = [
        [row.runtime, row.precision, f"{(row.bytes or 0) / 1000:,.1f}", *_fidelity(row.fidelity, metric)]
        for row in sorted(files.values(), key=rows.index)
    ]
    if torch is not None and metric:
        lines.append(["pytorch", "fp32", MISSING, *_fidelity(torch, metric)])
    print_table([*headers, *([f"{metric}\n%"] if metric else [])], lines, left=2)
    say(f"compared with PyTorch on {found.inputs[model]}" if torch else f"run on {found.inputs[model]}")


def _fidelity(value: Fidelity | None, metric: str) -> list[str]:
    if value is None:
        return [MISSING] * (4 if metric else 3)
    cells = [f"{part:.1e}" if part is not None else MISSING for part in (value.largest, value.mean)]
    shares = [value.agreement, *([value.accuracy] if metric else [])]
    return [*cells, *(f"{share * 100:.2f}" if share is not None else MISSING for share in shares)]


def _print_footnotes(found: Bench) -> None:
    for note in dict.fromkeys(
        f"note: {row.runtime} {row.precision}: {note}" for row in found.rows for note in row.notes
    ):
        say(note)
    for line in slower_lines(found, found.rows):
        say(line)
    if any(row.program for row in found.rows):
        say("outputs: computed on this machine; a phone's benchmark program shows none")
    versions = dict.fromkeys(f"{row.runtime} {row.runtime_version}" for row in found.rows if row.runtime_version)
    say("measured on " + "; ".join([found.where, *versions]))
    if busy := len(found.busy):
        total = sum(1 for row in found.rows if row.measurement)
        say(f"the machine was busy during {busy} of {total} rows: their times are too long. Run it again later.")


def three(value: float | None) -> str:
    """Return three significant digits, without an exponent: 0.123, 12.3, 1230."""
    if value is None:
        return MISSING
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"
