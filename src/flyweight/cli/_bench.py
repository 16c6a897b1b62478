"""The table of a bench."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flyweight.cli._tables import MISSING, print_table, say

if TYPE_CHECKING:
    from flyweight.bench.value import Bench, BenchRow, Fidelity

_TIMES = (
    "runtime", "precision", "threads", "median\nms", "p10\nms", "p90\nms", "CPU\nms", "load\nms", "first\nms",
    "peak\nMB",
)  # fmt: skip


def print_bench(found: Bench) -> None:
    """Print times and sizes, then what the files compute, model by model, then what was refused and why."""
    for model in dict.fromkeys(row.model for row in found.rows):
        rows = [row for row in found.rows if row.model == model]
        measured = [row for row in rows if row.measurement]
        say(model if not measured else f"{model}: {measured[0].measurement.n} inferences a row")  # type: ignore[union-attr]
        if measured:
            say()
            _print_times(measured)
            say()
            _print_outputs(found, model, measured)
        _print_refused([row for row in rows if not row.measurement])
        say()
    _print_footnotes(found)


def _print_times(rows: list[BenchRow]) -> None:
    energy = any(row.measurement and row.measurement.energy_mj is not None for row in rows)
    headers = [*_TIMES, *(["mJ"] if energy else []), "doubt"]
    print_table(headers, [_times(row, energy) for row in rows], left=2, last_is_text=True)


def _times(row: BenchRow, energy: bool) -> list[str]:
    m = row.measurement
    assert m is not None  # only rows with one are printed
    figures = [m.median_ms, m.p10_ms, m.p90_ms, m.cpu_median_ms, m.load_ms, m.first_ms, m.peak_rss_bytes / 1e6]
    cells = [row.runtime, row.precision, str(row.threads), *(three(value) for value in figures)]
    return [*cells, *([three(m.energy_mj)] if energy else []), m.doubt]


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


def _print_refused(rows: list[BenchRow]) -> None:
    for (runtime, precision, why), threads in _grouped(rows).items():
        at = f" at {', '.join(map(str, threads))} threads" if len(threads) < len({row.threads for row in rows}) else ""
        say(f"refused: {runtime} {precision}{at}: {why}")


def _grouped(rows: list[BenchRow]) -> dict[tuple[str, str, str], list[int]]:
    found: dict[tuple[str, str, str], list[int]] = {}
    for row in rows:
        found.setdefault((row.runtime, row.precision, row.refused), []).append(row.threads)
    return found


def _print_footnotes(found: Bench) -> None:
    for note in dict.fromkeys(
        f"note: {row.runtime} {row.precision}: {note}" for row in found.rows for note in row.notes
    ):
        say(note)
    versions = dict.fromkeys(f"{row.runtime} {row.runtime_version}" for row in found.rows if row.runtime_version)
    say("measured on " + "; ".join([str(found.environment["hardware"]), *versions]))
    if busy := len(found.busy):
        total = sum(1 for row in found.rows if row.measurement)
        say(f"the machine was busy during {busy} of {total} rows: their times are too long. Run it again later.")


def three(value: float | None) -> str:
    """Return three significant digits, without an exponent: 0.123, 12.3, 1230."""
    if value is None:
        return MISSING
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"
