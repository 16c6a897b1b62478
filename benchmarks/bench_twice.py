"""Whether two benches of the same files, each in fresh processes, agree within the spread that they print.

    python -m benchmarks.bench_twice [--folder FOLDER] [--part export|first|second]

Three small networks are exported to each runtime that is installed, in float32 and, where there is one, in int8; then
``flyweight bench`` runs twice over the folder of the files. A row agrees where the two medians differ by no more than
the mean of the two spreads, p90 - p10. Without ``--part`` all is done; with it one part, so that a quiet moment can be
chosen for each. Writes ``benchmarks/results/bench_twice.json``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flyweight import files, flow
from flyweight.bench import Settings, bench
from flyweight.errors import FlyweightError
from flyweight.runtimes import RUNTIMES

RESULT = Path("benchmarks/results/bench_twice.json")
NETWORKS = ("mobilenet_v1_0.25_128", "squeezenet_1.1", "shufflenet_v2_0.5")
RUNTIME_NAMES = ("onnxruntime", "ncnn", "openvino", "mnn")
N, GOAL = 100, 0.95
RUNS = ("first", "second")


def main(arguments: Sequence[str]) -> int:
    """Export, bench twice, compare."""
    parser = argparse.ArgumentParser(description="Two benches beside each other.")
    parser.add_argument("--folder", type=Path, help="where files and raw figures lie (default: one that vanishes)")
    parser.add_argument("--part", choices=("export", *RUNS), help="do this alone; the last one writes the result")
    parser.add_argument("--result", type=Path, default=RESULT, help="file to write")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        parts = (options.part,) if options.part else ("export", *RUNS)
        if "export" in parts:
            export(folder / "files")
        for run in (part for part in parts if part in RUNS):
            files.write_json(folder / f"{run}.json", bench(models(folder / "files"), Settings(n=N)).to_json())
        if "second" in parts:
            first, second = (files.read_json(folder / f"{run}.json") for run in RUNS)
            result = compared(first, second, folder / "files")
            files.write_json(options.result, result)
            print(result["claims"])
    return 0


def export(folder: Path) -> None:
    """Export every network to every runtime that is there."""
    for network in NETWORKS:
        candidate = flow.open_model(network)
        for runtime in (name for name in RUNTIME_NAMES if not RUNTIMES.get(name).missing()):
            for precision in ("fp32", "int8"):
                try:
                    flow.export(
                        candidate, folder / network / precision, (runtime,), precision=precision, data="blue_marble"
                    )
                except FlyweightError as error:
                    print(f"{network} {runtime} {precision}: {error}", flush=True)


def models(folder: Path) -> list[str]:
    """Return the folders of the networks, as a bench takes them."""
    return sorted(str(path) for path in folder.iterdir() if path.is_dir())


def compared(first: dict[str, Any], second: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the result: a row per file with both medians, and the share of rows that agree."""
    rows = []
    for one, two in zip(first["rows"], second["rows"], strict=True):
        a, b = one["measurement"], two["measurement"]
        if a is None or b is None:
            continue
        spread = (a["p90_ms"] - a["p10_ms"] + b["p90_ms"] - b["p10_ms"]) / 2
        doubts = [m["busy"] > 1.2 for m in (a, b)]
        rows.append({
            "network": Path(one["model"]).relative_to(folder).as_posix(), "runtime": one["runtime"],
            "precision": one["precision"], "median_ms": [a["median_ms"], b["median_ms"]],
            "p10_ms": [a["p10_ms"], b["p10_ms"]], "p90_ms": [a["p90_ms"], b["p90_ms"]], "busy": doubts,
            "agrees": abs(a["median_ms"] - b["median_ms"]) <= spread,
        })  # fmt: skip
    share = sum(row["agrees"] for row in rows) / len(rows)
    environment = {**first["environment"], "command": "python -m benchmarks.bench_twice"}
    return {
        "name": "bench_twice", "command": "python -m benchmarks.bench_twice", "date": environment["date"],
        "environment": environment, "n": N, "rows": rows,
        "claims": [{
            "claim": f"rows of two benches that agree within the printed spread ({len(rows)} rows)", "value": share,
            "unit": "share", "goal": f">= {GOAL}", "holds": share >= GOAL,
        }],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
