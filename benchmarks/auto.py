"""``slim --auto`` on blue_marble from v0 to three budgets: is each kept, and is it no worse than the hand-made ladder?

    python -m benchmarks.auto    # after benchmarks/ladder.py, whose runs it compares with; 90 minutes on one core

Each network that ships is measured again in fresh processes: alone, for the budget, and side by side with every rung of
the ladder's first seed, for the ratio of their times. Its accuracy (test split, exported file) stands beside the best
of the rungs that are no slower; a rung's accuracy is the mean of the ladder's seeds. Resumable; what is measured at the
end is measured anew each time. Writes ``benchmarks/results/auto.json``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._claims import claimed
from flyweight import files
from flyweight.auto import AutoResult, Goal, slim_auto
from flyweight.cli._progress import shown
from flyweight.contracts import Artifact, DataSet
from flyweight.data import load_dataset
from flyweight.evaluate import predict_masks, score
from flyweight.flow import environment
from flyweight.measure import measure, measure_pair
from flyweight.report import load_report
from flyweight.report.value import Report, Rung
from flyweight.runtimes import RUNTIMES

GOALS = {
    "4ms": Goal(max_ms=4.0, max_drop=1.0),
    "1.5ms-4MB": Goal(max_ms=1.5, max_bytes=4_000_000, max_drop=1.0),
    "0.8ms-1.2MB": Goal(max_ms=0.8, max_bytes=1_200_000, max_drop=1.0),
}
RUNTIME = "onnxruntime"
N = 60


def main(arguments: Sequence[str]) -> int:
    """Walk to every budget, measure what ships, write and print."""
    options = _options(arguments)
    data = load_dataset("blue_marble")
    ladders = [load_report(folder) for folder in sorted(options.ladder.glob("seed*"))]
    if not ladders:
        raise SystemExit(f"{options.ladder} holds no runs of the ladder: python benchmarks/ladder.py makes them.")
    found = {}
    for name in options.goals.split(","):
        found[name] = walked(options.out, name, GOALS[name], options.steps, options.quiet)
    if options.walk:
        return 0
    first = sorted(options.ladder.glob("seed*"))[0]
    rows = [row(name, found[name], options.out / name, first, ladders, data) for name in found]
    now = environment(0)
    result = {
        "name": "auto",
        "command": "python -m benchmarks.auto" + "".join(f" {argument}" for argument in arguments),
        "date": now["date"],
        "environment": now,
        "data": dict(ladders[0].data),
        "recipe": dict(next(iter(found.values())).report.recipe),
        "ladder_recipe": dict(ladders[0].recipe),
        "budgets": rows,
        "claims": claims(rows),
    }
    files.write_json(options.result, result)
    for claim in result["claims"]:
        print(f"{'holds' if claim['holds'] else 'FAILS'} {claim['claim']}: {claim['value']} {claim['unit']}")
    return 0


def walked(out: Path, name: str, goal: Goal, steps: int | None, quiet: bool) -> AutoResult:
    """Walk to one budget; the first rung, which is the same for all, is trained once."""
    folder = out / name / "rungs" / "v0"
    for other in sorted(out.glob("*/rungs/v0")):
        if not folder.exists() and (other / "rung.json").exists():
            shutil.copytree(other, folder.with_name("v0.part"), dirs_exist_ok=True)
            folder.with_name("v0.part").rename(folder)
    with shown(quiet) as progress:
        return slim_auto(
            "blue_marble", out / name, goal, steps=steps, threads=(1,), runtimes=(RUNTIME,), progress=progress
        )


def row(
    name: str, found: AutoResult, folder: Path, ladder: Path, reports: Sequence[Report], data: DataSet
) -> dict[str, Any]:
    """Return one budget: what shipped, what it measures again, and the ladder's rungs beside it."""
    goal, metric = GOALS[name], found.report.headline
    rung, artifact = found.report.rung(found.chosen), artifact_of(folder, found.chosen)
    alone = measure(artifact, threads=1, n=N)
    lost = validation(artifact_of(folder, "v0"), data, metric) - validation(artifact, data, metric)
    beside = [_beside(step, artifact, ladder, reports, metric) for step in reports[0].rungs if not step.control]
    return {
        "name": name,
        "budget": {"max_ms": goal.max_ms, "max_bytes": goal.max_bytes, "max_drop": goal.max_drop},
        "reached": found.reached, "why": found.why, "chosen": rung.name, "title": rung.title,
        "lineage": [{"name": r.name, "change": r.change} for r in found.report.rungs if not r.control],
        "networks_trained": sum(1 for r in found.report.rungs if r.steps),
        "train_seconds": round(sum(r.train_seconds for r in found.report.rungs)),
        "notes": list(found.report.notes), "input": list(rung.input_size), "macs": rung.macs, "params": rung.params,
        "measured_again": {
            "cpu_median_ms": alone.cpu_median_ms, "median_ms": alone.median_ms, "p10_ms": alone.p10_ms,
            "p90_ms": alone.p90_ms, "n": alone.n, "busy": alone.busy, "doubt": alone.doubt, "bytes": artifact.bytes,
            "drop": lost,
        },
        "points": points(rung, metric),
        "v0_points": points(found.report.rung("v0"), metric),
        "ladder": beside,
    }  # fmt: skip


def _beside(step: Rung, artifact: Artifact, ladder: Path, reports: Sequence[Report], metric: str) -> dict[str, Any]:
    theirs, ours = measure_pair(artifact_of(ladder, step.name), artifact, threads=1, n=N)
    seeds = [points(report.rung(step.name), metric) for report in reports]
    return {
        "rung": step.name, "times_slower": theirs.cpu_median_ms / ours.cpu_median_ms, "ms": theirs.cpu_median_ms,
        "auto_ms": ours.cpu_median_ms, "doubt": theirs.doubt or ours.doubt, "points": sum(seeds) / len(seeds),
        "seeds": seeds, "bytes": step.artifacts[RUNTIME].bytes,
    }  # fmt: skip


def artifact_of(folder: Path, rung: str) -> Artifact:
    """Return a rung's exported file."""
    place = folder / "rungs" / rung / RUNTIME
    return Artifact.from_json(files.read_json(place / "artifact.json"), place)


def validation(artifact: Artifact, data: DataSet, metric: str) -> float:
    """Return an exported file's score on the validation split, in points."""
    masks = predict_masks(RUNTIMES.get(RUNTIME).load(artifact, 1), data.val, artifact.preprocessing)
    return 100 * float(score(masks, data.val, data).to_json()[metric])


def points(rung: Rung, metric: str) -> float:
    """Return an exported file's score on the test split, in points."""
    return 100 * float(rung.artifacts[RUNTIME].metrics[metric])


def rival(row: dict[str, Any]) -> dict[str, Any] | None:
    """Return the most accurate rung of the ladder that is no slower than what shipped; None where all are slower."""
    near = [step for step in row["ladder"] if step["times_slower"] <= 1]
    return max(near, key=lambda step: float(step["points"]), default=None)


def claims(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the claims, failing ones included."""
    made = [claimed("budgets walked to", float(len(rows)), "budgets", f">= {len(GOALS)}")]
    for found in rows:
        again, name = found["measured_again"], found["name"]
        for key, limit, unit in (("cpu_median_ms", "max_ms", "ms"), ("bytes", "max_bytes", "B"),
                                 ("drop", "max_drop", "points")):  # fmt: skip
            if (most := found["budget"][limit]) is not None:
                text = f"budget {name}: {limit} kept by the exported file, measured again in a fresh process"
                made.append(claimed(text, again[key], unit, f"<= {most:g}"))
        step = rival(found)
        if step is None:
            made.append(claimed(f"budget {name}: every rung of the ladder is slower", 0.0, "points", ">= 0"))
            continue
        lead = found["points"] - step["points"]
        text = f"budget {name}: over {step['rung']}, the ladder's most accurate rung that is no slower (test split)"
        made.append(claimed(text, lead, "points", ">= 0"))
        lead = found["points"] - min(step["seeds"])
        text = f"budget {name}: over the lowest of that rung's {len(step['seeds'])} seeds (test split)"
        made.append(claimed(text, lead, "points", ">= 0"))
    return made


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="slim --auto beside the hand-made ladder.")
    parser.add_argument("--steps", type=int, help="training steps a rung (default: the plan's)")
    parser.add_argument("--out", type=Path, default=Path("runs/auto"), help="folder of the runs")
    parser.add_argument(
        "--ladder", type=Path, default=Path("runs/benchmark-ladder"), help="folder of the ladder's runs"
    )
    parser.add_argument("--result", type=Path, default=Path("benchmarks/results/auto.json"), help="file to write")
    parser.add_argument("--goals", default=",".join(GOALS), help="budgets, apart by commas (default: all)")
    parser.add_argument("--walk", action="store_true", help="walk only: measure on another call")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
