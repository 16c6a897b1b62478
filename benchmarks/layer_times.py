"""How much of a runtime's time finds its module, and how the layers' sum compares with the CPU time of a run.

    python -m benchmarks.layer_times [--n 40] [--networks NAME,NAME] [--keep FOLDER] [--stop-after SECONDS]

The cheapest member of every family of the zoo in ONNX Runtime at its fastest optimization level, and a dozen of them in
OpenVINO, one thread each. A measurement during which the machine was busy is repeated, at most so many times; of the
attempts the least busy one counts, and how busy that was is written beside it. Exported files (``--export`` makes
only these) and finished rows are kept in the folder, so that an interrupted run goes on.

Writes ``benchmarks/results/layer_times.json``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flyweight import files, flow
from flyweight.contracts import Artifact, LayerTimes
from flyweight.evaluate import example_input
from flyweight.measure import measure_layers
from flyweight.profile import profile_module
from flyweight.runtimes import RUNTIMES
from flyweight.zoo import ZOO

OPENVINO = (
    "mobilenet_v1", "mobilenet_v2", "mobilenet_v3", "shufflenet_v1", "shufflenet_v2", "squeezenet", "ghostnet",
    "efficientnet", "resnet", "googlenet", "mcunet", "starnet", "ssdlite",
)  # fmt: skip
WANTED = ("onnxruntime", "openvino")
QUIET = 1.05  # wall over CPU time up to which no attempt is repeated
MANY = 150  # kernels above which 10 % are allowed instead of 5


def main(arguments: Sequence[str]) -> int:
    """Export, measure, write, print."""
    parser = argparse.ArgumentParser(description="Time that finds its module.")
    parser.add_argument("--n", type=int, default=40, help="profiled runs per network (default 40)")
    parser.add_argument("--attempts", type=int, default=6, help="measurements at most per network (default 6)")
    parser.add_argument("--networks", help="only these, apart by commas")
    parser.add_argument("--keep", type=Path, default=Path("runs/layer_times"), help="folder of what is done already")
    parser.add_argument("--export", action="store_true", help="only export, measure nothing")
    parser.add_argument("--stop-after", type=float, default=float("inf"), help="seconds after which none begins")
    parser.add_argument(
        "--result", type=Path, default=Path("benchmarks/results/layer_times.json"), help="file to write"
    )
    options = parser.parse_args(arguments)
    names = options.networks.split(",") if options.networks else cheapest()
    end = time.monotonic() + options.stop_after
    rows: list[dict[str, Any]] = []
    for name, runtime in [(name, runtime) for runtime in WANTED for name in names if wanted(name, runtime)]:
        if time.monotonic() > end:
            print(f"{len(rows)} rows done; the same command goes on")
            return 0
        if options.export:
            exported(name, runtime, options.keep)
        else:
            rows.append(row_of(name, runtime, options))
            print(rows[-1], flush=True)
    if not options.export:
        write(options, rows)
    return 0


def write(options: argparse.Namespace, rows: Sequence[dict[str, Any]]) -> None:
    """Write the result and print its claims."""
    now = flow.environment(0)
    given = f" --networks {options.networks}" if options.networks else ""
    result = {
        "name": "layer_times",
        "command": f"python -m benchmarks.layer_times --n {options.n} --attempts {options.attempts}{given}",
        "date": now["date"],
        "environment": now,
        "networks": rows,
        "claims": claims(rows),
    }
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print(claim)


def cheapest() -> list[str]:
    """Return of every file of the zoo the name with fewest published MACs; the first where none are."""
    files_of: dict[str, list[str]] = {}
    for name, origin in ZOO.origins.items():
        files_of.setdefault(origin, []).append(name)
    return [min(names, key=lambda name: ZOO.get(name).macs or float("inf")) for names in files_of.values()]


def wanted(name: str, runtime: str) -> bool:
    """Return whether a network is measured in a runtime."""
    if runtime == "openvino" and ZOO.origins[name].rpartition(".")[2] not in OPENVINO:
        return False
    return RUNTIMES.get(runtime).missing() is None


def exported(name: str, runtime: str, keep: Path) -> tuple[Artifact, set[str]]:
    """Return a network's file, and the modules that the network's own graph knows."""
    place = keep / runtime / name
    if (place / "done.json").exists():
        done = files.read_json(place / "done.json")
        return Artifact.from_json(done["artifact"], place), set(done["modules"])
    candidate = flow.open_model(name)
    ran = {node.module for node in profile_module(candidate.module, example_input(candidate)).graph.nodes}
    artifact = RUNTIMES.get(runtime).export(candidate, place)
    files.write_json(place / "done.json", {"artifact": artifact.to_json(), "modules": sorted(ran)})
    return artifact, ran


def row_of(name: str, runtime: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return what was measured of one network in one runtime; from the folder if it is done."""
    done = options.keep / "rows" / f"{name}.{runtime}.json"
    if done.is_file():
        found: dict[str, Any] = files.read_json(done)
        return found
    artifact, ran = exported(name, runtime, options.keep)
    found = {"network": name, **row(quietest(artifact, options.n, options.attempts), ran)}
    files.write_json(done, found)
    return found


def quietest(artifact: Artifact, n: int, attempts: int) -> LayerTimes:
    """Measure until the machine was quiet, and return the quietest measurement."""
    found: list[LayerTimes] = []
    while len(found) < attempts and not (found and found[-1].busy <= QUIET):
        times = measure_layers(artifact, threads=1, n=n)
        assert times is not None  # both runtimes time their layers
        found.append(times)
    return min(found, key=lambda times: times.busy)


def row(times: LayerTimes, ran: set[str]) -> dict[str, Any]:
    """Return the figures of one measurement; ``ran`` are the modules that the network's own graph knows."""
    known = sum(kernel.median_us for kernel in times.rows if kernel.module in ran)
    return {
        "runtime": times.runtime, "runtime_version": times.runtime_version, "n": times.n, "kernels": len(times.rows),
        "attributed": known / times.kernels_us, "kernels_us": times.kernels_us, "cpu_us": times.cpu_us,
        "run_us": times.run_us, "busy": times.busy, "sum_over_cpu": times.kernels_us / times.cpu_us,
        "not_attributed": [[k.name, k.op, k.median_us] for k in times.rows if k.module not in ran][:20],
    }  # fmt: skip


def claims(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the rows show."""
    found = []
    for runtime, least in (("onnxruntime", 99.5), ("openvino", 97.0)):
        own = [row for row in rows if row["runtime"] == runtime]
        if not own:
            continue
        share = round(100 * min(row["attributed"] for row in own), 3)
        what = f"{runtime}: least share of a network's kernel time that found its module, {len(own)} networks"
        found.append({"claim": what, "value": share, "unit": "%", "goal": f">= {least:g}", "holds": share >= least})
        few = [row for row in own if row["kernels"] <= MANY]
        many = [row for row in own if row["kernels"] > MANY]
        for group, limit, words in ((few, 5, f"up to {MANY} kernels"), (many, 10, f"more than {MANY} kernels")):
            if group:
                worst = round(100 * max(abs(row["sum_over_cpu"] - 1) for row in group), 2)
                what = f"{runtime}: layer times against a run's CPU time, worst of {len(group)} networks of {words}"
                found.append(
                    {"claim": what, "value": worst, "unit": "%", "goal": f"<= {limit}", "holds": worst <= limit}
                )
    return found


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
