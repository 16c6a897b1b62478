"""The full slimming ladder on blue_marble with three seeds: the claims of the README, from exported and measured files.

    python benchmarks/ladder.py                 # full: three seeds, all rungs; three to four hours on two cores
    python benchmarks/ladder.py --seeds 0 --steps 40 --out runs/try --result runs/try.json

Resumable: what a killed run had finished is not done again. Writes ``benchmarks/results/ladder.json``.
"""

from __future__ import annotations

import argparse
import operator
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flyweight import files
from flyweight.cli._progress import shown
from flyweight.flow import environment, slim
from flyweight.report.value import Report, Rung

FIRST, CONTROL, LAST = "v0", "control", "v3.2"
RUNTIME = "onnxruntime"


def main(arguments: Sequence[str]) -> int:
    """Run the ladders, collect them, write the result."""
    options = _options(arguments)
    reports = []
    for seed in options.seeds:
        with shown(options.quiet) as progress:
            reports.append(
                slim("blue_marble", options.out / f"seed{seed}", seed=seed, steps=options.steps, progress=progress)
            )
    result = {
        "name": "ladder",
        "command": "python benchmarks/ladder.py" + ("" if not arguments else " " + " ".join(arguments)),
        "date": reports[-1].environment["date"],
        "environment": environment(options.seeds[0]),
        "data": dict(reports[0].data),
        "recipe": dict(reports[0].recipe),
        "claims": claims(reports),
        "rungs": [_row(name, reports) for name in (rung.name for rung in reports[0].rungs)],
    }
    files.write_json(options.result, result)
    for claim in result["claims"]:
        verdict = "holds" if claim["holds"] else "FAILS"
        print(f"{verdict} {claim['claim']}: {claim['value']} {claim['unit']} (goal {claim['goal']})")
    return 0


def claims(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """Return the ladder's claims, each computed from the reports, failing ones included."""
    metric, title = reports[0].headline, reports[0].headline_title
    steps = {rung.name: f"{rung.name}, {rung.total_steps} training steps" for rung in reports[0].rungs}
    faster = [_speedup(report.rung(LAST), 1) for report in reports]
    smaller = [_bytes(report.rung(FIRST)) / _bytes(report.rung(LAST)) for report in reports]
    return [
        _claim("last rung against v0, ONNX Runtime, 1 thread, interleaved: times faster", faster, "x", ">=", 15),
        _claim("last rung against v0: file times smaller", smaller, "x", ">=", 50),
        _claim(
            f"{title}: last rung ({steps[LAST]}) over v0 ({steps[FIRST]})",
            _lead(reports, LAST, FIRST, metric), "points", ">=", 0,
        ),
        _claim(
            f"{title}: v0 with skips ({steps[CONTROL]}) over last rung ({steps[LAST]})",
            _lead(reports, CONTROL, LAST, metric), "points", "<=", 1,
        ),
        _claim(
            f"mIoU of sea, land and lake: v0 with skips ({steps[CONTROL]}) over last rung ({steps[LAST]})",
            _lead(reports, CONTROL, LAST, "miou"), "points", "<=", 1,
        ),
    ]  # fmt: skip


def _lead(reports: Sequence[Report], first: str, second: str, metric: str) -> list[float]:
    """Return by how many points one rung is above another, per seed, as exported files on the test split."""
    return [_points(report, first, metric) - _points(report, second, metric) for report in reports]


COMPARE: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}


def _claim(text: str, values: list[float], unit: str, sign: str, goal: float) -> dict[str, Any]:
    value = round(statistics.fmean(values), 3)
    return {
        "claim": f"{text} (mean of {len(values)} seeds)", "value": value, "unit": unit, "goal": f"{sign} {goal:g}",
        "holds": COMPARE[sign](value, goal), "seeds": [round(v, 4) for v in values],
    }  # fmt: skip


def _row(name: str, reports: Sequence[Report]) -> dict[str, Any]:
    """Return a rung's figures over the seeds: mean, lowest and highest; counted ones once."""
    rungs = [report.rung(name) for report in reports]
    first = rungs[0]
    scores = [rung.artifacts[RUNTIME].metrics for rung in rungs]
    row: dict[str, Any] = {
        "name": name, "title": first.title, "change": first.change, "control": first.control,
        "input": list(first.input_size),
        "macs": first.macs, "params": first.params, "peak_activation_bytes": first.peak_activation_bytes,
        "steps": first.steps, "total_steps": first.total_steps, "bytes": _spread([_bytes(rung) for rung in rungs]),
        "agreement_with_pytorch": _spread([rung.artifacts[RUNTIME].agreement for rung in rungs]),
        "skipped": list(first.skipped),
        "slowest": [[layer.module, layer.time_us] for layer in first.slowest()],
    }  # fmt: skip
    for key in ("grouped_miou", "coast_miou", "miou", "pixel_accuracy"):
        row[key] = _spread([score[key] for score in scores])
    row["iou"] = {k: _spread([score["iou"][k] for score in scores]) for k in scores[0]["iou"]}
    row["timings"] = {
        f"{timing.runtime}_{timing.threads}": {
            "median_ms": _spread([t.median_ms for t in _same(rungs, timing.runtime, timing.threads)]),
            "speedup": _spread([t.speedup for t in _same(rungs, timing.runtime, timing.threads)]),
            "peak_rss_bytes": _spread([t.peak_rss_bytes for t in _same(rungs, timing.runtime, timing.threads)]),
            "p10_ms": min(t.p10_ms for t in _same(rungs, timing.runtime, timing.threads)),
            "p90_ms": max(t.p90_ms for t in _same(rungs, timing.runtime, timing.threads)),
            "n": timing.n, "busy": max(t.busy for t in _same(rungs, timing.runtime, timing.threads)),
        }
        for timing in first.timings
    }  # fmt: skip
    return row


def _same(rungs: Sequence[Rung], runtime: str, threads: int) -> list[Any]:
    return [timing for rung in rungs if (timing := rung.timing(runtime, threads))]


def _spread(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    return {"mean": statistics.fmean(known), "min": min(known), "max": max(known)} if known else None


def _speedup(rung: Rung, threads: int) -> float:
    timing = rung.timing(RUNTIME, threads)
    if timing is None:
        raise SystemExit(f"rung {rung.name} was not timed in {RUNTIME} at {threads} threads")
    return timing.speedup


def _bytes(rung: Rung) -> int:
    return rung.artifacts[RUNTIME].bytes


def _points(report: Report, rung: str, headline: str) -> float:
    return 100.0 * float(report.rung(rung).artifacts[RUNTIME].metrics[headline])


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The full slimming ladder with three seeds.")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds (default 0 1 2)")
    parser.add_argument("--steps", type=int, help="training steps a rung (default: the plan's)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-ladder"), help="folder of the runs")
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/ladder.json"), help="file to write")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
