"""What a bench found, in sentences, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Sequence

from flyweight.report import _format as fmt
from flyweight.report.bench_value import Bench, BenchRow


def slower_lines(found: Bench, rows: Sequence[BenchRow]) -> list[str]:
    """Return a sentence, without its full stop, for each int8 row that gains no time over the same network in fp32."""
    lines = []
    for row in rows:
        reference, verdict = found.in_float(row), found.verdict(row)
        if verdict and reference:
            at = f"{row.threads} thread{'s' * (row.threads > 1)}"
            lines.append(
                f"{row.model} in {row.runtime}, {at}: int8 is {verdict} than fp32: "
                f"{fmt.significant(row.typical_ms)} ms against {fmt.significant(reference.typical_ms)}"
            )
    return lines


def refused_lines(rows: Sequence[BenchRow]) -> list[str]:
    """Return a line for each file of a network that wasn't measured, with the reason."""
    grouped: dict[tuple[str, str, str], list[int]] = {}
    for row in rows:
        if row.typical_ms is None:
            grouped.setdefault((row.runtime, row.precision, row.refused), []).append(row.threads)
    every = {row.threads for row in rows}
    return [
        f"{runtime} {precision}{_at(threads, every)}: {why}" for (runtime, precision, why), threads in grouped.items()
    ]


def _at(threads: Sequence[int], every: set[int]) -> str:
    return f" at {', '.join(map(str, threads))} threads" if len(set(threads)) < len(every) else ""
