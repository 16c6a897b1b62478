"""A network's layers as rows: summed to a depth, and as CSV or JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flyweight.report.value import LayerRow

if TYPE_CHECKING:
    from flyweight.cli._analysis import Analysis
    from flyweight.contracts import Candidate
    from flyweight.flow import ModelProfile

ADVICE = 10  # edits on the page
COLUMNS = ("module", "op", "output_shape", "macs", "params", "time_us")


def summed(rows: Sequence[LayerRow], depth: int) -> tuple[LayerRow, ...]:
    """Return ``rows`` summed over modules that share the first ``depth`` parts of their path, in execution order.

    A sum's output is that of its last row; its time is known where one of its rows' is. 0 leaves all rows as they are.
    """
    if depth == 0:
        return tuple(rows)
    groups: dict[str, list[LayerRow]] = {}
    for row in rows:
        groups.setdefault(".".join(row.module.split(".")[:depth]), []).append(row)
    return tuple(_sum(module, members) for module, members in groups.items())


def _sum(module: str, rows: Sequence[LayerRow]) -> LayerRow:
    times = [row.time_us for row in rows if row.time_us is not None]
    return LayerRow(
        module=module,
        op=rows[0].op if len(rows) == 1 else f"{len(rows)} layers",
        output_shape=rows[-1].output_shape,
        macs=sum(row.macs for row in rows),
        params=sum(row.params for row in rows),
        time_us=sum(times) if times else None,
    )


def as_csv(rows: Sequence[LayerRow]) -> str:
    """Return rows as CSV with a header; shapes as 1x32x80x80; a time that was not measured is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        time = "" if row.time_us is None else f"{row.time_us:.3f}"
        writer.writerow([row.module, row.op, "x".join(map(str, row.output_shape)), row.macs, row.params, time])
    return out.getvalue()


def as_markdown(rows: Sequence[LayerRow]) -> str:
    """Return rows as a table of Markdown; what stands in a cell can't break it."""
    lines = ["| module | operator | output | MACs | parameters | µs |", "|---|---|---|--:|--:|--:|"]
    for row in rows:
        time = "" if row.time_us is None else f"{row.time_us:.1f}"
        name, op = (text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ") for text in (row.module, row.op))
        shape = "×".join(map(str, row.output_shape))
        lines.append(f"| {name or '(root)'} | {op} | {shape} | {row.macs:,} | {row.params:,} | {time} |")
    return "\n".join((*lines, ""))


def as_html(found: ModelProfile, analysis: Analysis, advice: Sequence[str]) -> str:
    """Return the page of a profile."""
    from flyweight.cli._analysis import time_lines
    from flyweight.guidelines import broken
    from flyweight.report.profile_page import Profiled, render_profile

    times, whole = found.times, found.measurement
    how = f"{times.runtime} {times.runtime_version}, {_threads(times.threads)}" if times else ""
    findings = {
        "guidelines": [f"{f.guideline} {f.layer or '(root)'}: {f.sentence}" for f in broken(analysis.findings)],
        "advice": advice,
    }
    return render_profile(
        Profiled(
            found.name, found.input_shape, found.rows, found.profile,
            ms=whole.median_ms if whole else None, how=how, points=analysis.points, machine=analysis.machine,
            findings=findings,
            notes=(*kinds(found), *time_lines(found, times.runtime if times else "onnxruntime")),
        )
    )  # fmt: skip


def advice_lines(candidate: Candidate, found: ModelProfile) -> list[str]:
    """Return the best edits in a sentence each, where layers were timed and the network has a spec."""
    from flyweight.advise import advise, chosen
    from flyweight.verify import lanes

    if candidate.spec is None or found.times is None or found.times.runtime != "onnxruntime":
        return []
    advice = advise(candidate.spec, found.profile, found.times, lanes=lanes())
    return [
        f"{finding.words}: saves {finding.gain_ms:.2f} ms (estimated; 90 %: {finding.low_ms:.2f} to "
        f"{finding.high_ms:.2f}). {finding.reason}"
        for finding in chosen(advice.findings)[:ADVICE]
    ]


def as_json(found: ModelProfile) -> dict[str, Any]:
    """Return a profile as plain data: what was counted, what was measured, and every layer."""
    times = found.times
    measured_layers = times and {
        "runtime": times.runtime,
        "runtime_version": times.runtime_version,
        "threads": times.threads,
        "n": times.n,
        "run_us": times.run_us,
        "cpu_us": times.cpu_us,
        "busy": times.busy,
        "kernels_us": times.kernels_us,
        "unattributed_us": found.unattributed_us,
    }
    return {
        "name": found.name,
        "input_shape": list(found.input_shape),
        "counted": {
            "macs": found.macs,
            "params": found.params,
            "weight_bytes": found.profile.param_bytes,
            "peak_activation_bytes": found.peak_activation_bytes,
            "peak_layer": found.profile.peak.node.module if found.profile.peak else None,
            **_peaks(found),
        },
        "planned": dataclasses.asdict(found.planned) if found.planned else None,
        "measured": dataclasses.asdict(found.measurement) if found.measurement else None,
        "measured_layers": measured_layers,
        "layers": [{name: getattr(row, name) for name in COLUMNS} for row in found.rows],
    }


def kinds(found: ModelProfile) -> list[str]:
    """Return the lines that say which figures are counted and which measured, and how."""
    lines = _memory_lines(found)
    if m := found.measurement:
        lines.append(
            f"measured: whole network {m.median_ms:.3g} ms (10th to 90th percentile {m.p10_ms:.3g} to {m.p90_ms:.3g}, "
            f"n = {m.n}) in {m.runtime}, {_threads(m.threads)}, {m.hardware}"
        )
    return lines


def _peaks(found: ModelProfile) -> dict[str, int]:
    """Return the peak where a runtime fuses and reuses buffers, and eager PyTorch's, which a file doesn't have."""
    from flyweight.memory import peak_activation

    if not found.graph.nodes:
        return {}
    peaks = {"peak_fused_bytes": peak_activation(found.graph, in_place=True).bytes}
    if found.graph.held:
        peaks["peak_eager_bytes"] = peak_activation(found.graph, eager=True).bytes
    return peaks


def _memory_lines(found: ModelProfile) -> list[str]:
    peaks, peak = _peaks(found), found.profile.peak
    where = f" at {peak.node.module or '(root)'} ({peak.node.op})" if peak else ""
    lines = [f"counted: peak activations {_kb(found.peak_activation_bytes)}{where}, batch 1"]
    if peaks:
        eager = f"{_kb(peaks['peak_eager_bytes'])} in eager PyTorch; " if "peak_eager_bytes" in peaks else ""
        lines.append(
            f"counted: {_kb(peaks['peak_fused_bytes'])} where layers are fused; {eager}"
            f"weights {_kb(found.profile.param_bytes)}"
        )
    if found.planned and found.measurement:
        lines.append(
            f"estimated: {_kb(found.planned.bytes)} of activations as {found.measurement.runtime} plans them, most at "
            f"{found.planned.module or '(root)'} ({found.planned.operator})"
        )
    if m := found.measurement:
        lines.append(
            f"measured: peak memory of the process {m.peak_rss_bytes / 1e6:,.0f} MB, "
            f"{m.baseline_rss_bytes / 1e6:,.0f} MB of it before the network was loaded"
        )
    return lines


def _kb(size: int) -> str:
    return f"{size / 1000:,.0f} kB"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
